"""Chooses anchors for boxes: one rule, for the recipe and for the advice of the check."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detfinetune.checks.anchor_fit import AnchorSettings, anchor_recall
from detfinetune.config.anchors import DEFAULT_ASPECT_RATIOS, AnchorSizes

ENOUGH = 0.95
"""Share of objects that anchors have to fit; more would cost every position more anchors."""

CLEARLY_MORE = 0.05
"""Further share of objects for which other anchors are worth a change."""

# Where no candidate fits enough, this much less than the best is as good.
_SLACK = 0.01

_PER_LEVEL = (1, 2, 3)
# With several sizes a level, levels can lie farther apart than the strides do.
_GROWTHS = (2.0, 2.5, 3.0)
_SMALL_QUANTILE = 0.05
# Of how long boxes are, for three and for five aspect ratios.
_LONG_QUANTILES = ((0.8,), (0.6, 0.95))
# Candidates are compared on so many boxes, which tells shares of 95 % apart by 0.4 %.
_MOST_BOXES = 3_000


@dataclass(frozen=True)
class AnchorSet:
    """A candidate: what `model.anchor_sizes` and `model.anchor_ratios` would be."""

    sizes: AnchorSizes
    """Anchor sides in pixels for each feature level, finest first."""

    ratios: tuple[float, ...]
    """Height over width."""

    @property
    def per_position(self) -> int:
        """Anchors at each position of a feature map."""
        first = self.sizes[0]
        return len(self.ratios) * (len(first) if isinstance(first, Sequence) else 1)


def anchor_candidates(
    boxes: NDArray[np.float64], strides: Sequence[int], *, octaves: bool = False
) -> list[AnchorSet]:
    """Return sets of anchors in a fixed order, those with the fewest anchors first.

    Equally many are ordered by aspect ratios (the usual first), by the factor between levels (2
    first) and by the smallest size: powers of two times the stride before those between them, and
    of these the nearest to what 95 % of the boxes exceed.

    Args:
        boxes: xywh in pixels of the resized image; (n, 4).
        strides: of the feature levels in pixels, finest first.
        octaves: whether the model itself makes three sizes of each (RetinaNet).
    """
    sides = np.sqrt(np.prod(boxes[:, 2:], axis=1))
    small = float(np.quantile(sides, _SMALL_QUANTILE)) if len(sides) else 0.0
    small = max(small, 1.0)
    # From twice to eight times the stride; as RetinaNet's octaves go up, its first to four times.
    halves = range(2, 5 if octaves else 7)
    firsts = sorted(
        halves, key=lambda half: (half % 2, abs(math.log(strides[0] * 2 ** (half / 2) / small)))
    )
    counts = _PER_LEVEL[: 1 if octaves else None]
    kinds = sorted(
        ((count, ratios) for ratios in aspect_ratios(boxes) for count in counts),
        key=lambda kind: kind[0] * len(kind[1]),
    )
    return [
        AnchorSet(_sizes(strides[0] * 2 ** (half / 2), growth, count, len(strides)), ratios)
        for count, ratios in kinds
        for growth in _GROWTHS[: 1 if count == 1 else None]
        for half in firsts
    ]


def aspect_ratios(boxes: NDArray[np.float64]) -> list[tuple[float, ...]]:
    """Return sets of height over width: the usual ones, and longer ones if the boxes are.

    Those have three and five ratios, each with its inverse: augmentation may rotate images by 90
    degrees.

    Args:
        boxes: xywh in pixels of the resized image; (n, 4).
    """
    kinds: list[tuple[float, ...]] = [DEFAULT_ASPECT_RATIOS]
    if len(boxes):
        long = np.abs(np.log(boxes[:, 3] / boxes[:, 2]))
        for quantiles in _LONG_QUANTILES:
            shapes = np.exp(np.quantile(long, quantiles))
            both = [1.0, *shapes.tolist(), *(1 / shapes).tolist()]
            ratios = tuple(sorted({float(f"{ratio:.2g}") for ratio in both}))
            if ratios[-1] > DEFAULT_ASPECT_RATIOS[-1]:
                kinds.append(ratios)
    return kinds


def choose_anchors(
    boxes: NDArray[np.float64],
    images: NDArray[np.float64],
    candidates: Sequence[AnchorSettings],
) -> tuple[int, float]:
    """Return the first candidate that fits 95 % of the boxes, and the share that it fits.

    If none does, it is the first that comes within 1 % of the best.

    Args:
        boxes: xywh in pixels of the resized image; (n, 4), at least one.
        images: width and height of the resized image of each box; (n, 2).
        candidates: the cheapest first.
    """
    step = max(1, len(boxes) // _MOST_BOXES)
    recalls: list[float] = []
    for candidate in candidates:
        recalls.append(anchor_recall(boxes[::step], images[::step], candidate))
        if recalls[-1] >= ENOUGH:
            break
    wanted = ENOUGH if recalls[-1] >= ENOUGH else max(recalls) - _SLACK
    chosen = next(index for index, recall in enumerate(recalls) if recall >= wanted)
    return chosen, anchor_recall(boxes, images, candidates[chosen])


def _sizes(first: float, growth: float, count: int, levels: int) -> AnchorSizes:
    """Return whole sizes that start at `first`, evenly spaced up to the next level's."""
    sizes = [
        [float(round(first * growth ** (level + step / count))) for step in range(count)]
        for level in range(levels)
    ]
    return [level[0] for level in sizes] if count == 1 else sizes
