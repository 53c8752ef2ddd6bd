"""Exponential moving average (EMA) of a model's weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

Tensors = tuple[Tensor, ...] | list[Tensor]


def averaged_model(model: nn.Module, decay: float) -> AveragedModel:
    """Return a copy of a model that `update_parameters` moves towards it, by 1 - `decay` a step.

    In the first steps it moves faster, by 9 / (10 + steps), as in TensorFlow's
    ExponentialMovingAverage: it would hold the untrained weights for long otherwise. Buffers, such
    as BatchNorm's statistics, are copied.
    """

    @torch.no_grad()
    def average(averages: Tensors, weights: Tensors, steps: Tensor | int) -> None:
        step = int(steps)
        torch._foreach_lerp_(averages, weights, 1 - min(decay, (1 + step) / (10 + step)))

    return AveragedModel(model, multi_avg_fn=average)
