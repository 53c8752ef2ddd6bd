"""Curves for TensorBoard, in the run's folder `tensorboard/`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from detfinetune.engine.trackers.tracker import Status, TrackedRun


class TensorBoard:
    """Writes event files; the result files lie beside them."""

    def start(self, run: TrackedRun) -> None:
        """Open an event file that replaces earlier points of the steps that are repeated."""
        from torch.utils.tensorboard import SummaryWriter

        folder = run.folder.path / "tensorboard"
        self._writer = SummaryWriter(str(folder), purge_step=run.start_step + 1)

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Add a point to each curve."""
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, step)

    def artifacts(self, files: Sequence[Path]) -> None:
        """Keep nothing."""

    def end(self, status: Status) -> None:
        """Close the event file."""
        self._writer.close()
