"""What an experiment tracker is: an observer of a training run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from detfinetune.engine.run_folder import RunFolder

Status = Literal["finished", "stopped", "failed"]
"""How a run, or this part of it, ended; a stopped one can be resumed."""


@dataclass(frozen=True)
class TrackedRun:
    """What a tracker learns of a run, new or resumed, when it starts."""

    folder: RunFolder
    """Where the tracker keeps what it needs to continue the same run after a resume."""

    project: str
    """Name of the data set."""

    parameters: Mapping[str, Any]
    """The resolved configuration by dotted key."""

    start_step: int
    """Steps finished so far, which is the step of the checkpoint that is resumed."""

    logged_step: int
    """The last step logged so far. If it is after `start_step`, those between will be repeated."""


class Tracker(Protocol):
    """Follows one run. Whatever it raises ends the tracking, never the run.

    The constructor imports the library; it raises `MissingExtraError` if that is not installed.
    """

    def start(self, run: TrackedRun) -> None:
        """Begin to track a run, or continue after a resume."""

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Add a point to each curve: losses, learning rate, seconds, validation AP (0-100).

        Args:
            metrics: by name, such as `total_loss` or `val/bbox/AP`.
            step: number of finished steps; never decreases.
        """

    def artifacts(self, files: Sequence[Path]) -> None:
        """Keep the result files of a finished run; all are in its folder."""

    def end(self, status: Status) -> None:
        """Write what is left, and close."""
