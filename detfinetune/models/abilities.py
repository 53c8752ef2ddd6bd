"""What some families can do besides detecting. A command asks for it by `isinstance`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from detfinetune.config.resolved import RunConfig

if TYPE_CHECKING:
    from detfinetune.models.detection_model import DetectionModel


@runtime_checkable
class MergesAdapter(Protocol):
    """A family whose checkpoints are changes to a base model, which can be put into it."""

    def write_merged(self, model: DetectionModel, config: RunConfig, folder: Path) -> None:
        """Write the base model with the changes, so that its own library loads it without us.

        Args:
            model: a trained one of this family, on the CPU; it is changed.
            config: of its run.
            folder: exists, and is empty.

        Raises:
            WeightsError: the base weights are missing.
        """
