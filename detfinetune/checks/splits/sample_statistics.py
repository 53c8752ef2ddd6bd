"""Statistics for comparing two splits, with effect sizes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Comparison:
    """Result of a two-sample Kolmogorov-Smirnov test."""

    distance: float
    """Effect size D: the largest difference of the two cumulative distributions, 0 to 1."""

    p_value: float
    medians: tuple[float, float]


def compare_samples(
    first: NDArray[np.float64],
    second: NDArray[np.float64],
    independent: tuple[int, int] | None = None,
) -> Comparison:
    """Compare two samples of at least one value each.

    Args:
        first: values; (n,).
        second: values; (m,).
        independent: number of independent values in each sample, if fewer: objects of one image
            are similar, so the number of images is the safe choice.
    """
    # Imported here because it takes 0.1 s.
    from scipy.special import kolmogorov

    first, second = np.sort(first), np.sort(second)
    values = np.concatenate([first, second])
    below_first = np.searchsorted(first, values, side="right") / len(first)
    below_second = np.searchsorted(second, values, side="right") / len(second)
    distance = float(np.abs(below_first - below_second).max())
    n, m = independent or (len(first), len(second))
    root = math.sqrt(n * m / (n + m))
    return Comparison(
        distance,
        # Stephens 1970's correction for small samples.
        float(kolmogorov((root + 0.12 + 0.11 / root) * distance)),
        (float(np.median(first)), float(np.median(second))),
    )


def share_z(first: tuple[int, int], second: tuple[int, int]) -> float:
    """Return by how many standard errors two shares differ, each given as (hits, total)."""
    (a, n), (b, m) = first, second
    pooled = (a + b) / (n + m)
    error = math.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
    return abs(a / n - b / m) / error if error else 0.0


def ap_half_width(count: int) -> float:
    """Return the half width, in points, of the 95 % interval of a share near 50 % of `count`.

    AP averages such shares (recalls at given precisions), so it is about as uncertain.
    """
    return 98.0 / math.sqrt(count) if count else 50.0
