"""timm backbones for Detectron2's feature pyramid network.

A timm model gives feature maps of stride 4, 8, 16 and 32; Detectron2's FPN (Lin et al. 2017,
arXiv:1612.03144) turns them into p2..p5, and a max pool adds p6. ImageNet's BatchNorm statistics
stay frozen, because a detection batch has too few images to estimate them.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

import timm
import torch
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, FPN, Backbone
from detectron2.modeling.backbone.fpn import LastLevelMaxPool
from timm.layers import freeze_batch_norm_2d
from torch import nn

from detfinetune.errors import ModelError, first_line
from detfinetune.models.rcnn.backbones.fold_norm import fold_frozen_norms

FPN_BUILDER = "build_timm_fpn_backbone"

# Detectron2's FPN, anchors and poolers need levels that halve in size, none coarser than 32.
_STRIDES = (4, 8, 16, 32)
# Not square, and not a multiple of the windows of attention models.
_TRIAL_SIZE = (96, 160)


@dataclass(frozen=True)
class FeatureLevel:
    """One feature map of a timm backbone."""

    index: int
    """Position among all feature maps of the backbone (timm's `out_indices`)."""

    stride: int
    """Input pixels for each feature pixel."""

    channels: int

    @property
    def name(self) -> str:
        """Name in Detectron2's configuration."""
        return f"stride{self.stride}"


@lru_cache(maxsize=16)
def feature_levels(backbone: str) -> tuple[FeatureLevel, ...]:
    """Return the feature maps of a timm backbone that an FPN can use, finest first.

    The backbone is run without memory or arithmetic (torch's meta device) on an image that is not
    square, to find those that only take one image size.

    Raises:
        ModelError: it has no pyramid (plain vision transformers), or only takes one image size.
    """
    advice = (
        "Use one with feature maps of several strides for any image size, such as timm/resnet18, "
        "timm/convnext_atto, timm/regnety_002 or timm/mobilenetv3_large_100."
    )
    try:
        with torch.device("meta"):
            body = timm.create_model(backbone, features_only=True, pretrained=False)
    except Exception as error:  # timm raises many kinds, from ValueError to AttributeError
        raise ModelError(
            f"model.name=timm/{backbone}: timm cannot build it as a feature extractor "
            f"({first_line(error)}). {advice}"
        ) from error
    info = body.feature_info
    found = {
        stride: FeatureLevel(index, stride, channels)
        for index, (stride, channels) in enumerate(
            zip(info.reduction(), info.channels(), strict=True)
        )
    }
    levels = tuple(found[stride] for stride in _STRIDES if stride in found)
    strides = [level.stride for level in levels]
    if len(levels) < 2 or any(b != 2 * a for a, b in pairwise(strides)):
        if len(found) == 1:
            advice += f" If it is a plain vision transformer, use model.name=vit/{backbone}."
        raise ModelError(
            f"model.name=timm/{backbone}: its feature maps have strides {info.reduction()}, and a "
            f"feature pyramid needs at least two of 4, 8, 16, 32 in a row. {advice}"
        )
    try:
        with torch.device("meta"):
            maps = body.eval()(torch.zeros(1, 3, *_TRIAL_SIZE))
    except Exception as error:  # assertions and shape errors of all kinds come from inside timm
        raise ModelError(
            f"model.name=timm/{backbone}: it does not take images of {_TRIAL_SIZE[1]}x"
            f"{_TRIAL_SIZE[0]} pixels ({first_line(error)}), but detection needs any size. "
            f"{advice}"
        ) from error
    for level in levels:
        _channels_first(maps[level.index], level)
    return levels


def _channels_first(features: torch.Tensor, level: FeatureLevel) -> torch.Tensor:
    """Return `features` as [N, C, H, W]; some timm models give [N, H, W, C]."""
    if features.shape[1] == level.channels:
        return features
    if features.shape[-1] == level.channels:
        return features.permute(0, 3, 1, 2)
    raise ModelError(
        f"A feature map of stride {level.stride} has shape {tuple(features.shape)} and not "
        f"{level.channels} channels: this timm backbone cannot be used."
    )


class TimmBody(Backbone):  # type: ignore[misc]  # Detectron2 has no type hints
    """A timm backbone as the bottom-up part of an FPN.

    Args:
        backbone: timm's name.
        freeze_at: number of frozen stages, as Detectron2 counts them: 1 is the layers before
            stride 4, 2 also those up to stride 4, 3 up to stride 8, and so on; 0 trains all.
        freeze_norm: freeze BatchNorm statistics and scales. False trains them, which only
            training from scratch needs.

    The forward pass takes images [N, 3, H, W] and returns a feature map [N, C, H/s, W/s] for each
    level by name, such as `stride8`.
    """

    def __init__(self, backbone: str, freeze_at: int, freeze_norm: bool = True) -> None:
        super().__init__()
        self.backbone = backbone
        self.levels = feature_levels(backbone)
        body = timm.create_model(backbone, features_only=True, pretrained=False)
        for parameter in frozen_parameters(body, freeze_at):
            parameter.requires_grad_(False)
        self.body = freeze_batch_norm_2d(body) if freeze_norm else body
        if freeze_norm:
            fold_frozen_norms(self.body)
        self._out_features = [level.name for level in self.levels]

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        maps = self.body(images)
        return {level.name: _channels_first(maps[level.index], level) for level in self.levels}

    def output_shape(self) -> dict[str, ShapeSpec]:
        return {
            level.name: ShapeSpec(channels=level.channels, stride=level.stride)
            for level in self.levels
        }


def frozen_parameters(body: Any, freeze_at: int) -> list[nn.Parameter]:
    """Return the parameters of the first `freeze_at` stages of a timm feature extractor.

    timm's models have no common names for their stages. Instead, a stage is all parameters that a
    feature map depends on, found by differentiating it.

    Args:
        body: result of `timm.create_model(..., features_only=True)`.
        freeze_at: number of stages; 0 freezes nothing, 1 the stem, n all that stride 2**n needs.
    """
    if freeze_at == 0:
        return []
    wanted = [
        index
        for index, stride in enumerate(body.feature_info.reduction())
        if stride <= 2**freeze_at
    ]
    if not wanted:  # a stem that goes straight to stride 4
        stem = next(child for child in body.children() if any(True for _ in child.parameters()))
        return list(stem.parameters())
    shadow = _meta_copy(body)
    maps = shadow(torch.zeros(1, 3, *_TRIAL_SIZE, device="meta"))
    total = sum(maps[index].sum() for index in wanted)
    gradients = torch.autograd.grad(total, list(shadow.parameters()), allow_unused=True)
    return [
        parameter
        for parameter, gradient in zip(body.parameters(), gradients, strict=True)
        if gradient is not None
    ]


def _meta_copy(body: nn.Module) -> nn.Module:
    """Return a copy on the meta device, in evaluation mode, of which nothing is frozen."""
    return copy.deepcopy(body).to("meta").eval().requires_grad_()


@BACKBONE_REGISTRY.register()  # type: ignore[untyped-decorator]
def build_timm_fpn_backbone(cfg: Any, input_shape: ShapeSpec) -> Backbone:
    """Build the backbone of `cfg.MODEL.TIMM` and `cfg.MODEL.FPN`; called by Detectron2."""
    body = TimmBody(
        cfg.MODEL.TIMM.NAME, cfg.MODEL.BACKBONE.FREEZE_AT, cfg.MODEL.TIMM.NORM == "FrozenBN"
    )
    pool = LastLevelMaxPool()
    # Detectron2 assumes that the coarsest level is p5; a backbone may end earlier.
    pool.in_feature = f"p{body.levels[-1].stride.bit_length() - 1}"
    return FPN(
        bottom_up=body,
        in_features=cfg.MODEL.FPN.IN_FEATURES,
        out_channels=cfg.MODEL.FPN.OUT_CHANNELS,
        norm=cfg.MODEL.FPN.NORM,
        top_block=pool,
        fuse_type=cfg.MODEL.FPN.FUSE_TYPE,
    )
