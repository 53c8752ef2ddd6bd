"""Exponential moving average (EMA) of a model's weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from detfinetune.models.detection_model import DetectionModel


class AveragedWeights:
    """The average of what a checkpoint holds of a model: everything, or an adapter.

    Attributes:
        state: averaged tensors by name. Those that are not floating-point are copied.
    """

    def __init__(self, model: DetectionModel, decay: float) -> None:
        self._model = model
        self._decay = decay
        self.state = _copied(model)

    @torch.no_grad()
    def update(self, steps: int) -> None:
        """Move the average towards the model, by 1 - `decay`, after `steps` finished steps.

        In the first steps it moves faster, by 9 / (9 + `steps`), as in TensorFlow's
        ExponentialMovingAverage: it would hold the untrained weights for long otherwise.
        """
        share = 1 - min(self._decay, steps / (9 + steps))
        for name, value in self._model.checkpoint_state().items():
            if value.is_floating_point():
                self.state[name].lerp_(value, share)
            else:
                self.state[name].copy_(value)

    def load(self, state: dict[str, Tensor]) -> None:
        """Continue from a stored average."""
        for name, value in state.items():
            self.state[name].copy_(value)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Give the model the averaged weights inside the block, then its own again."""
        own = _copied(self._model)
        self._model.load_checkpoint_state(self.state)
        try:
            yield
        finally:
            self._model.load_checkpoint_state(own)


def _copied(model: DetectionModel) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.checkpoint_state().items()}
