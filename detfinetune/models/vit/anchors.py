"""The anchors of the two heads; imports without torch."""

from __future__ import annotations

from detfinetune.config.anchors import DEFAULT_ASPECT_RATIOS, anchors_per_level
from detfinetune.models.vit.settings import VitSettings

STRIDES = {"retinanet": (8, 16, 32, 64, 128), "faster_rcnn": (4, 8, 16, 32, 64)}
"""Stride of each level of the pyramid in pixels, finest first."""


def head_strides(settings: VitSettings) -> tuple[int, ...]:
    """Return the strides of the levels of a resolved model's head."""
    return STRIDES[str(settings.head)]


def head_anchors(settings: VitSettings) -> list[list[float]]:
    """Return the anchor sides of each level of a resolved model, in pixels, finest first."""
    return anchors_per_level(str(settings.head), settings.anchor_sizes or ())


def head_ratios(settings: VitSettings) -> tuple[float, ...]:
    """Return height over width of the anchors; runs of older versions have no such key."""
    return tuple(settings.anchor_ratios or DEFAULT_ASPECT_RATIOS)
