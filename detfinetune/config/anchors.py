"""Default anchors, as in Detectron2's FPN configs, and what `model.anchor_sizes` means."""

from __future__ import annotations

from collections.abc import Sequence

AnchorSizes = Sequence[float | Sequence[float]]
"""Anchor sides in pixels for each feature level, finest first: one or several a level."""

DEFAULT_ANCHOR_SIZES = (32.0, 64.0, 128.0, 256.0, 512.0)
"""Anchor sides in pixels of the resized image, one a feature level."""

DEFAULT_ASPECT_RATIOS = (0.5, 1.0, 2.0)
"""Height over width."""

DEFAULT_STRIDES = (4, 8, 16, 32, 64)
"""Strides of the feature levels in pixels, finest first."""


def anchors_per_level(model_name: str, sizes: AnchorSizes) -> list[list[float]]:
    """Return all anchor sides of each level; a single side stands for what the model makes of it.

    RetinaNet has three sizes an octave at each level (Lin et al. 2017, arXiv:1708.02002).
    """
    steps = 3 if "retinanet" in model_name else 1
    return [
        list(size)
        if isinstance(size, Sequence)
        else [size * 2 ** (step / 3) for step in range(steps)]
        for size in sizes
    ]


def anchor_size_problems(
    model: str, sizes: AnchorSizes | None, strides: Sequence[int]
) -> list[str]:
    """Return why a model cannot have these anchor sizes.

    Args:
        model: what the message calls it.
        sizes: of `model.anchor_sizes`.
        strides: of its feature levels in pixels, finest first.
    """
    if sizes is None:
        return []
    if len(sizes) != len(strides):
        return [
            f"model.anchor_sizes has {len(sizes)} sizes, but {model} needs {len(strides)}, one for "
            f"each of the strides {list(strides)}."
        ]
    counts = {len(level) for level in anchors_per_level(model, sizes)}
    if len(counts) > 1 or 0 in counts:
        return ["model.anchor_sizes should have equally many sizes for each level."]
    return []
