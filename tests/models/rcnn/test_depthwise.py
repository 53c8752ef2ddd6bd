"""Depthwise convolutions under autocast on a CPU."""

from __future__ import annotations

import torch
from torch import nn

from detfinetune.models.rcnn.backbones.depthwise import use_fp32_depthwise


def test_depthwise_convolutions_stay_in_fp32() -> None:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(4, 8, 1), nn.Conv2d(8, 8, 3, padding=1, groups=8))
    images = torch.rand(1, 4, 16, 16)
    use_fp32_depthwise(layers)
    with torch.autocast("cpu", torch.bfloat16):
        between = layers[0](images)
        output = layers[1](between)
    assert (between.dtype, output.dtype) == (torch.bfloat16, torch.float32)
    layer = layers[1]
    assert isinstance(layer, nn.Conv2d)
    expected = nn.functional.conv2d(between.float(), layer.weight, layer.bias, padding=1, groups=8)
    assert torch.equal(output, expected)
