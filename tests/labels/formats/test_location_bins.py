"""Boxes survive as bins: hand-worked cases, and any box within half a bin."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detfinetune.labels.formats.location_bins import dequantize, quantize


def bins_of(*box: float, width: float = 1000, height: float = 500) -> list[int]:
    bins: list[int] = quantize(np.array([box]), (width, height))[0].tolist()
    return bins


def test_bins_are_floored_by_side() -> None:
    assert bins_of(0, 0, 1000, 500) == [0, 0, 999, 999]
    assert bins_of(10.9, 10.9, 20, 20) == [10, 21, 20, 40]
    assert bins_of(-3, 499, 1004, 600) == [0, 998, 999, 999]


@pytest.mark.parametrize(
    ("x1", "x2", "expected"),
    [(10.1, 10.3, (9, 10)), (10.6, 10.9, (10, 11)), (0.1, 0.2, (0, 1)), (999.7, 999.9, (998, 999))],
)
def test_a_box_within_a_bin_gets_the_nearer_neighbour(
    x1: float, x2: float, expected: tuple[int, int]
) -> None:
    bins = bins_of(x1, 0, x2, 500)
    assert (bins[0], bins[2]) == expected


def test_boxes_are_the_centres_of_bins() -> None:
    boxes = dequantize(np.array([[0, 499, 10, 999]]), (2000, 1000))
    assert boxes.tolist() == [[1, 499.5, 21, 999.5]]


def test_no_boxes() -> None:
    assert quantize(np.zeros((0, 4)), (10, 10)).shape == (0, 4)
    assert dequantize(np.zeros((0, 4), dtype=np.int64), (10, 10)).shape == (0, 4)


@given(
    width=st.integers(1, 6000),
    height=st.integers(1, 6000),
    edges=st.lists(st.floats(0, 1), min_size=4, max_size=4),
)
def test_the_round_trip_keeps_boxes_within_half_a_bin(
    width: int, height: int, edges: list[float]
) -> None:
    bin_sides = np.array([width, height, width, height]) / 1000
    low, high = np.sort(np.array(edges).reshape(2, 2), axis=0)
    box = np.array([[*low, *high]]) * [width, height, width, height]
    bins = quantize(box, (width, height))
    assert bins.min() >= 0
    assert bins.max() <= 999
    assert (bins[:, 2:] > bins[:, :2]).all()
    error = np.abs(dequantize(bins, (width, height)) - box) / bin_sides
    flat = np.floor(np.minimum(high * 1000, 999)) == np.floor(np.minimum(low * 1000, 999))
    limits = np.where(flat, 1.5, 0.5)
    assert (error[0] <= np.tile(limits, 2) + 1e-6).all()
