"""Depthwise convolutions: more of them, and faster, for detectors on CPUs."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from fvcore.nn import weight_init
from torch import Tensor, nn


def use_separable_convs(model: Any) -> None:
    """Replace the 3x3 convolutions of the FPN's outputs and of the RPN's head, in place.

    On feature maps of stride 4 these few layers cost more than the whole backbone. A depthwise 3x3
    convolution followed by a 1x1 one (Howard et al. 2017, arXiv:1704.04861) needs an eighth of
    their multiplications, as in EfficientDet's pyramid (Tan et al. 2020, arXiv:1911.09070).

    Args:
        model: Detectron2's `GeneralizedRCNN` on an FPN, with an RPN of one 3x3 convolution.
    """
    pyramid, head = model.backbone, model.proposal_generator.rpn_head
    for name, layer in list(pyramid.named_children()):
        if name.startswith("fpn_output"):
            setattr(pyramid, name, _separable(layer))
    # The FPN also has its layers in a list, coarsest first.
    outputs = [name for name, _ in pyramid.named_children() if name.startswith("fpn_output")]
    pyramid.output_convs = [getattr(pyramid, name) for name in reversed(outputs)]
    head.conv = nn.Sequential(*_separable(head.conv), nn.ReLU())


def _separable(conv: nn.Conv2d) -> nn.Sequential:
    channels = conv.in_channels
    depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
    pointwise = nn.Conv2d(channels, conv.out_channels, 1)
    for layer in (depthwise, pointwise):
        weight_init.c2_xavier_fill(layer)
    return nn.Sequential(depthwise, pointwise)


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
