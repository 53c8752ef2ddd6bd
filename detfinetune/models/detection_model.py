"""What the engine trains: a detector's losses, predictions, parameters and state."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor, nn

from detfinetune.prediction import Prediction

if TYPE_CHECKING:
    from detfinetune.models.family import Batch


@dataclass(frozen=True)
class PredictOptions:
    """How to predict."""

    detections_per_image: int = 100
    """Number of detections with the highest scores to keep."""


@dataclass(frozen=True)
class ParamGroup:
    """Parameters that are trained alike."""

    params: list[nn.Parameter]
    lr_factor: float = 1.0
    decays: bool = True
    """Whether weight decay applies."""


class DetectionModel(nn.Module, ABC):
    """A detector of any family. `train()` leaves what is frozen in eval mode.

    Attributes:
        classes: class names by class id.
        notes: what to tell the user about how it was built, one line each.
    """

    classes: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @abstractmethod
    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Return the losses, which are added up; in eval mode too, for the loss on val."""

    @abstractmethod
    def predict(self, batch: Batch, options: PredictOptions) -> list[Prediction]:
        """Return what is found in each image, in pixels of the image file; in eval mode."""

    def depths(self) -> Mapping[str, int]:
        """Return how many stages lie between a parameter and the head, by name; 0 if not named."""
        return {}

    def param_groups(self, layer_decay: float = 1.0) -> list[ParamGroup]:
        """Return the parameters to train; frozen ones are in no group.

        Weight decay spares norms and biases, which it would drive to zero.

        Args:
            layer_decay: factor of the learning rate for each stage of `depths`.
        """
        depths = self.depths() if layer_decay < 1 else {}
        groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
        for name, parameter in self.named_parameters():
            if parameter.requires_grad:
                key = (layer_decay ** depths.get(name, 0), parameter.ndim > 1)
                groups.setdefault(key, []).append(parameter)
        return [ParamGroup(params, *key) for key, params in groups.items()]

    def checkpoint_state(self) -> dict[str, Tensor]:
        """Return all tensors that a checkpoint must hold, sharing memory with the model."""
        return self.state_dict()

    def load_checkpoint_state(self, state: dict[str, Tensor]) -> None:
        """Load what `checkpoint_state` returned.

        Raises:
            RuntimeError: it does not fit; one difference a line after a heading, as from torch.
            CheckpointError: its base weights are missing or have changed.
        """
        self.load_state_dict(state)
