"""Calibrated scores: hand-made fits, scores whose truth is known, and the order of all scores."""

from __future__ import annotations

from dataclasses import replace
from math import log
from typing import Any

import numpy as np
import pytest
from coco_cases import found, make_truth
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from detfinetune.evaluation.calibrate import calibration_error, fit_calibration
from detfinetune.evaluation.metrics import Matches, score_detections
from detfinetune.evaluation.result import EvaluationResult
from detfinetune.evaluation.threshold import best_threshold, figures_at
from detfinetune.models.calibration import UNCALIBRATED, Calibration

BOXES = [[0.0, 0.0, 30.0, 30.0], [50.0, 0.0, 30.0, 30.0], [100.0, 0.0, 30.0, 30.0]]
NOWHERE = [0.0, 150.0, 30.0, 30.0]


def matches(scores: Any, right: Any) -> Matches:
    """Detections of one class, right or wrong as told."""
    scores, zeros = np.array(scores, np.float64), np.zeros(len(scores), np.int64)
    annotation = np.where(np.array(right, np.bool_), 0, -1)
    return Matches(zeros, zeros, zeros, scores, annotation, zeros.astype(np.bool_), {0: 1})


def test_two_detections() -> None:
    """Platt's targets are 2/3 and 1/3, and two parameters reach both."""
    fit = fit_calibration(matches([0.9, 0.8], [True, False]))
    assert fit.a == pytest.approx(2 * log(2) / (log(9) - log(4)))
    assert fit([0.9, 0.8]) == pytest.approx([2 / 3, 1 / 3], abs=1e-6)


def test_two_scores() -> None:
    """3 of 4 right at 0.6 and 1 of 4 at 0.2: in each half the mean of its targets is reached."""
    right = [True] * 3 + [False] + [True] + [False] * 3
    fit = fit_calibration(matches([0.6] * 4 + [0.2] * 4, right))
    yes, no = 5 / 6, 1 / 6
    expected = [(3 * yes + no) / 4, (yes + 3 * no) / 4]
    assert fit([0.6, 0.2]) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("a", "b"), [(0.5, -1.0), (1.0, 0.0), (2.5, 1.5)])
def test_known_parameters_are_found_again(a: float, b: float) -> None:
    rng = np.random.default_rng(0)
    scores = rng.uniform(size=200_000)
    right = rng.uniform(size=len(scores)) < 1 / (1 + np.exp(-b) * (1 / scores - 1) ** a)
    found_again = matches(scores, right)
    fit = fit_calibration(found_again)
    assert (fit.a, fit.b) == pytest.approx((a, b), abs=0.03)
    after = replace(found_again, score=fit(scores))
    assert calibration_error(after) < 0.005
    if (a, b) != (1.0, 0.0):
        assert calibration_error(found_again) > 0.05


@pytest.mark.parametrize(
    ("scores", "right"),
    [([], []), ([0.7], [True]), ([0.7], [False]), ([0.9, 0.1], [True, True]),
     ([0.9, 0.1], [False, False]), ([0.9, 0.1], [False, True])],
)  # fmt: skip
def test_scores_stay_where_nothing_can_be_fitted(scores: list[float], right: list[bool]) -> None:
    """None, one, all right, all wrong, and worse than chance."""
    assert fit_calibration(matches(scores, right)) == UNCALIBRATED


SINGLE = st.floats(0, 1, width=32)


@given(st.lists(st.tuples(SINGLE, st.booleans())))
def test_any_detections_can_be_fitted(rows: list[tuple[float, bool]]) -> None:
    fit = fit_calibration(matches([score for score, _ in rows], [right for _, right in rows]))
    assert fit.a > 0
    calibrated = fit([score for score, _ in rows])
    assert ((calibrated >= 0) & (calibrated <= 1)).all()


def test_detections_on_crowds_do_not_count() -> None:
    truth = make_truth([(1, 1, BOXES[0]), (1, 1, [0.0, 100.0, 200.0, 100.0])])
    truth["annotations"][1]["iscrowd"] = 1
    right, elsewhere = found(1, BOXES[0], 0.9), found(1, BOXES[2], 0.8)
    crowded = score_detections(truth, [right, elsewhere, found(1, NOWHERE, 0.99)]).matches
    expected = matches([0.9, 0.8], [True, False])
    assert fit_calibration(crowded) == fit_calibration(expected)
    assert calibration_error(crowded) == calibration_error(expected)


def test_the_expected_calibration_error() -> None:
    """Bins 0.2-0.3, 0.8-0.9 and 0.9-1: means 0.25, 0.85, 1 and shares of right ones 0, 2/3, 1."""
    scores = [0.25, 0.25, 0.85, 0.85, 0.85, 1.0]
    right = [False, False, True, True, False, True]
    expected = (2 * 0.25 + 3 * (0.85 - 2 / 3) + 0) / 6
    assert calibration_error(matches(scores, right)) == pytest.approx(expected)
    assert calibration_error(matches([], [])) is None


def test_scores_without_calibration_are_the_same_bits() -> None:
    scores = np.array([0.1, 1 / 3, 1.0], np.float32)
    assert UNCALIBRATED(scores) is scores


def neighbours(start: float, end: float) -> NDArray[np.float32]:
    """Return 50,000 numbers of single precision from `start` towards `end`, rising."""
    bits = np.float32(start).view(np.uint32)
    steps = np.arange(50_000) if end > start else -np.arange(50_000)[::-1]
    return (int(bits) + steps).astype(np.uint32).view(np.float32)


@pytest.mark.parametrize("a", [0.05, 0.8, 3.0, 40.0])
@pytest.mark.parametrize("b", [-20.0, 0.0, 20.0])
def test_no_two_scores_become_equal(a: float, b: float) -> None:
    """Not even neighbours in single precision next to 0 and 1, where a sigmoid is flat."""
    for scores in (
        neighbours(0, 1), neighbours(0.5, 1), neighbours(1, 0),
        np.linspace(0, 1, 50_000, dtype=np.float32),
    ):  # fmt: skip
        calibrated = Calibration(a, b)(scores)
        assert (np.diff(calibrated) > 0).all()
        assert 0 <= calibrated[0] < calibrated[-1] <= 1
        # One by one, as thresholds are, they are the same numbers.
        assert [float(Calibration(a, b)(score)) for score in scores[::5000]] == (
            calibrated[::5000].tolist()
        )


def test_a_calibrated_result_differs_in_its_scores_alone() -> None:
    """Scores are so high that single precision would make them equal; images are apart."""
    rng = np.random.default_rng(1)
    boxes = [(image, 1 + image % 2, box) for image in range(1, 41) for box in BOXES]
    truth = make_truth(boxes, num_images=40, names=("a", "b"))
    detections = [
        found(image, box if hit else NOWHERE, float(score), category)
        for (image, category, box), hit, score in zip(
            boxes,
            rng.uniform(size=len(boxes)) < 0.7,
            1 - rng.integers(1, 2**12, len(boxes)) * 2.0**-24,
            strict=True,
        )
    ]
    metrics = score_detections(truth, detections)
    own = EvaluationResult("d", {"bbox": metrics}, detections, best_threshold(metrics))
    result = own.calibrated(Calibration(9.0, -40.0))
    assert own.threshold is not None
    assert result.threshold is not None

    again = score_detections(truth, result.detections)
    assert again.figures == result.metrics["bbox"].figures == metrics.figures
    assert 0 < metrics.figures["AP"] < 100
    for before, after in (
        (own.threshold, result.threshold),
        *((own.threshold.by_class[name], result.threshold.by_class[name]) for name in "ab"),
    ):
        kept = [row["score"] >= before.score for row in detections]
        assert [row["score"] >= after.score for row in result.detections] == kept
        assert 0 < sum(kept) < len(kept)
        assert (after.f1, after.precision, after.recall) == (
            before.f1, before.precision, before.recall,
        )  # fmt: skip
    at = figures_at(again, result.threshold.score)
    assert at is not None
    assert at.f1 == own.threshold.f1
    assert result.to_json()["calibration"] == {
        "a": 9.0, "b": -40.0, "error_before": calibration_error(metrics.matches),
        "error": calibration_error(again.matches),
    }  # fmt: skip
    assert own.calibrated(UNCALIBRATED).detections == detections
