"""Reading answers: whole ones exactly, and any others without failing."""

from __future__ import annotations

import numpy as np
import pytest
from answers import END, START, VOCABULARY, box
from hypothesis import given
from hypothesis import strategies as st

from detfinetune.models.florence2.parse import ParsedAnswer, parse_answer


def parse(*tokens: int, probabilities: list[float] | None = None) -> ParsedAnswer:
    return parse_answer(tokens, probabilities or [1.0] * len(tokens), VOCABULARY, 2000, 1000)


def test_a_whole_answer() -> None:
    found = parse(
        START, 10, *box(0, 10, 500, 20), 10, 11, *box(1, 2, 3, 4), END, END,
        probabilities=[1.0, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 1.0, 1.0, 0.0625, 1.0, 0.1, 0.1],
    )  # fmt: skip
    expected = [[1, 10.5, 1001, 20.5], [3, 2.5, 7, 4.5]]
    np.testing.assert_allclose(found.boxes, expected, rtol=1e-12)
    assert found.class_ids.tolist() == [0, 1]
    assert found.scores.tolist() == pytest.approx([0.25, 0.125])
    assert (found.cut_off, found.invalid) == (False, 0)


def test_an_empty_answer() -> None:
    found = parse(START, END)
    assert found.boxes.shape == (0, 4)
    assert len(found.scores) == len(found.class_ids) == 0
    assert not found.cut_off


def test_several_boxes_of_one_name() -> None:
    found = parse(START, 12, 13, *box(0, 0, 9, 9), *box(5, 5, 7, 7), END)
    assert found.class_ids.tolist() == [2, 2]


@pytest.mark.parametrize("length", range(1, 7))
def test_a_box_that_the_limit_cuts_off_is_dropped(length: int) -> None:
    whole = [10, *box(0, 0, 9, 9)]
    last = [12, 13, *box(5, 5, 7, 7)]
    found = parse(START, *whole, *last[:length])
    assert found.class_ids.tolist() == ([0, 2] if length == 6 else [0])
    assert found.cut_off == (length < 6)
    assert found.invalid == 0


@pytest.mark.parametrize(
    "broken",
    [
        [11, *box(0, 0, 9, 9)],
        box(0, 0, 9, 9),
        [10, *box(9, 0, 9, 9)],
        [10, *box(0, 9, 9, 3)],
        [10, *box(0, 9, 9)],
    ],
    ids=["unknown class", "no class", "no width", "upside down", "three locations"],
)
def test_broken_objects_are_counted_and_the_next_is_read(broken: list[int]) -> None:
    found = parse(START, *broken, 12, 13, *box(0, 0, 9, 9), END)
    assert (found.class_ids.tolist(), found.invalid) == ([2], 1)


def test_a_name_without_a_box_is_counted() -> None:
    assert parse(START, 10, END).invalid == 1


@given(
    tokens=st.lists(
        st.one_of(st.sampled_from([START, END, 10, 11, 12, 13, 999]), st.integers(995, 2005)),
        max_size=60,
    )
)
def test_any_tokens_can_be_read(tokens: list[int]) -> None:
    found = parse(*tokens)
    assert len(found.boxes) == len(found.class_ids) == len(found.scores)
    assert (found.boxes[:, 2:] > found.boxes[:, :2]).all()
    assert 4 * len(found.boxes) <= sum(token >= 1000 for token in tokens)
