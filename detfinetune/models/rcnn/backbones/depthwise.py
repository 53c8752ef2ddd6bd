"""Depthwise convolutions on CPUs."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn


def use_fp32_depthwise(model: nn.Module) -> None:
    """Compute depthwise convolutions in fp32 when the rest is in bf16 (autocast), in place.

    oneDNN has no fast bf16 kernel for the gradient of their weights on CPUs: it takes five to ten
    times as long as in fp32. Their own cost is small.
    """
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d) and layer.groups == layer.in_channels > 1:
            vars(layer)["_conv_forward"] = partial(_in_fp32, layer._conv_forward)


def _in_fp32(convolve: Any, images: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    with torch.autocast("cpu", enabled=False):
        output: Tensor = convolve(images.float(), weight, bias if bias is None else bias.float())
    return output
