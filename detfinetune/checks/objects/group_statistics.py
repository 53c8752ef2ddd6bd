"""Medians and robust standard deviations by group."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

NORMAL_MAD = 1.4826
"""The standard deviation of a normal distribution in units of its median absolute deviation."""


def grouped_median(
    values: NDArray[np.float64], groups: NDArray[np.integer], num_groups: int
) -> NDArray[np.float64]:
    """Return the median of `values` in each group; NaN for an empty group.

    Args:
        values: (n,).
        groups: from 0 to `num_groups` - 1; (n,).
    """
    medians = np.full(num_groups, np.nan)
    if not len(values):
        return medians
    order = np.lexsort((values, groups))
    ordered = values[order]
    counts = np.bincount(groups, minlength=num_groups)
    starts = np.cumsum(counts) - counts
    full = counts > 0
    low = starts[full] + (counts[full] - 1) // 2
    high = starts[full] + counts[full] // 2
    medians[full] = (ordered[low] + ordered[high]) / 2
    return medians


def grouped_spread(
    values: NDArray[np.float64], groups: NDArray[np.integer], num_groups: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return each group's median and its robust standard deviation (1.4826 x MAD).

    Both withstand outliers in up to half of a group (Rousseeuw and Croux 1993, Alternatives to the
    median absolute deviation).
    """
    medians = grouped_median(values, groups, num_groups)
    distances = np.abs(values - medians[groups])
    return medians, NORMAL_MAD * grouped_median(distances, groups, num_groups)
