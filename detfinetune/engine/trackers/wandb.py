"""Runs in Weights & Biases, in the project `detfinetune` or `WANDB_PROJECT`.

With `WANDB_MODE=offline` they stay in the run's folder `wandb/` until `wandb sync`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from detfinetune.engine.trackers.tracker import Status, TrackedRun
from detfinetune.errors import MissingExtraError
from detfinetune.files import write_text

# W&B's own for a run that Ctrl-C stopped is 255.
_EXIT_CODE = {"finished": 0, "stopped": 255, "failed": 1}


class WandB:
    """Tracks with a `wandb.Run`."""

    def __init__(self) -> None:
        try:
            # A folder `wandb/` in the working directory could be imported too.
            from wandb import init  # noqa: F401
        except ImportError as error:
            raise MissingExtraError("wandb", "trackers=[wandb]") from error

    def start(self, run: TrackedRun) -> None:
        """Create a run, or continue the one whose id is in wandb_id.txt."""
        import wandb

        self._tracked = run
        id_file = run.folder.path / "wandb_id.txt"
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "detfinetune"),
            name=run.folder.path.name,
            dir=run.folder.path,
            id=id_file.read_text(encoding="utf-8").strip() if id_file.is_file() else None,
            resume="allow",
            config=dict(run.parameters),
        )
        write_text(id_file, self._run.id + "\n")

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Add a point to each curve, unless they have one: W&B's steps can only increase."""
        if step > self._tracked.logged_step:
            self._run.log(dict(metrics), step=step, commit=True)

    def artifacts(self, files: Sequence[Path]) -> None:
        """Upload the files as one artifact."""
        import wandb

        artifact = wandb.Artifact(f"run-{self._run.id}", type="run")
        for file in files:
            artifact.add_file(str(file), str(file.relative_to(self._tracked.folder.path)))
        self._run.log_artifact(artifact)

    def end(self, status: Status) -> None:
        """Upload what is left."""
        self._run.finish(exit_code=_EXIT_CODE[status])
