"""Do two samples come from one source? Statistics for comparing splits, with effect sizes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Comparison:
    """How far two samples are apart, and how likely chance alone would put them there."""

    distance: float
    """Kolmogorov and Smirnov's D, the effect size: the largest difference between the two shares
    of values below any limit; 0 to 1."""

    chance: float
    """Probability of a distance as large for two samples from one source; 0 to 1."""

    medians: tuple[float, float]


def compare_samples(
    first: NDArray[np.float64],
    second: NDArray[np.float64],
    independent: tuple[int, int] | None = None,
) -> Comparison:
    """Compare two samples (each at least one value) by the two-sample Kolmogorov-Smirnov test.

    Args:
        first: values; (n,).
        second: values; (m,).
        independent: how many of either sample are independent of each other, where that is fewer
            than all: objects of one image are alike, so the number of images is the safe choice.
    """
    first, second = np.sort(first), np.sort(second)
    values = np.concatenate([first, second])
    below_first = np.searchsorted(first, values, side="right") / len(first)
    below_second = np.searchsorted(second, values, side="right") / len(second)
    distance = float(np.abs(below_first - below_second).max())
    counts = independent or (len(first), len(second))
    return Comparison(
        distance,
        _chance(distance, *counts),
        (float(np.median(first)), float(np.median(second))),
    )


def _chance(distance: float, first: int, second: int) -> float:
    """Return Kolmogorov's limit for n and m values (Stephens 1970's correction for few)."""
    root = math.sqrt(first * second / (first + second))
    scaled = (root + 0.12 + 0.11 / root) * distance
    if scaled < 0.3:  # the series converges slowly there, and is 1 to five digits
        return 1.0
    terms = ((-1) ** (k - 1) * math.exp(-2 * (k * scaled) ** 2) for k in range(1, 101))
    return float(min(max(2 * sum(terms), 0.0), 1.0))


def share_z(first: tuple[int, int], second: tuple[int, int]) -> float:
    """Return by how many standard errors two shares differ, each given as (hits, of how many)."""
    (a, n), (b, m) = first, second
    pooled = (a + b) / (n + m)
    error = math.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
    return abs(a / n - b / m) / error if error else 0.0


def ap_half_width(count: int) -> float:
    """Return the half width, in points, of the 95 % interval of a share near 50 % of `count`.

    AP averages such shares (recalls at given precisions), so it is about as uncertain.
    """
    return 98.0 / math.sqrt(count) if count else 50.0
