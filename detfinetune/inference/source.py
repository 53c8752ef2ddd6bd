"""Which checkpoint the configuration means."""

from __future__ import annotations

from pathlib import Path

from detfinetune.errors import ConfigError
from detfinetune.models.checkpoint import find_checkpoint


def choose_checkpoint(run: Path | None, checkpoint: Path | None) -> Path:
    """Return the checkpoint file that `run=` or `checkpoint=` names.

    Raises:
        ConfigError: neither or both are given.
        CheckpointError: there is no such run, or it has no checkpoint.
    """
    if run is not None and checkpoint is None:
        return find_checkpoint(run)
    if checkpoint is not None and run is None:
        return checkpoint
    said = "neither is" if run is None else "both are"
    raise ConfigError(
        f"run or checkpoint must be given, and {said}. Write run=RUN for a run's best checkpoint, "
        "or checkpoint=FILE for any other."
    )
