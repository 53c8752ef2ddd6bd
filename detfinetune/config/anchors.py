"""Default anchors, as in Detectron2's FPN configs."""

from __future__ import annotations

from collections.abc import Sequence

DEFAULT_ANCHOR_SIZES = (32.0, 64.0, 128.0, 256.0, 512.0)
"""Anchor sides in pixels of the resized image, one a feature level."""

DEFAULT_ASPECT_RATIOS = (0.5, 1.0, 2.0)
"""Height over width."""

DEFAULT_STRIDES = (4, 8, 16, 32, 64)
"""Strides of the feature levels in pixels, finest first."""


def anchors_per_level(model_name: str, sizes: Sequence[float]) -> list[list[float]]:
    """Return all anchor sides of each level, given one side a level.

    RetinaNet has three sizes an octave at each level (Lin et al. 2017, arXiv:1708.02002).
    """
    steps = 3 if "retinanet" in model_name else 1
    return [[size * 2 ** (step / 3) for step in range(steps)] for size in sizes]
