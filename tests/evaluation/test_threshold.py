"""The best threshold, worked out by hand."""

from __future__ import annotations

import pytest
from coco_cases import found, make_truth

from detfinetune.evaluation.metrics import score_detections
from detfinetune.evaluation.threshold import best_threshold, figures_at

BOXES = [[0.0, 0.0, 30.0, 30.0], [50.0, 0.0, 30.0, 30.0], [100.0, 0.0, 30.0, 30.0]]
NOWHERE = [0.0, 150.0, 30.0, 30.0]


def test_the_threshold_lies_between_the_last_true_positive_kept_and_the_next_score() -> None:
    truth = make_truth([(1, 1, box) for box in BOXES])
    detections = [
        found(1, BOXES[0], 0.9),
        found(1, BOXES[1], 0.7),
        found(1, NOWHERE, 0.5),
        found(1, [50, 150, 30, 30], 0.4),
        found(1, BOXES[2], 0.1),
    ]
    # F1 after each: 2/4, 4/5, 4/6, 4/7, 6/8. The best is the second.
    best = best_threshold(score_detections(truth, detections))
    assert best is not None
    assert best.score == pytest.approx(0.6)
    assert best.f1 == pytest.approx(0.8)
    assert best.precision == 1.0
    assert best.recall == pytest.approx(2 / 3)


def test_equal_scores_are_kept_or_dropped_together() -> None:
    truth = make_truth([(1, 1, BOXES[0])])
    detections = [found(1, BOXES[0], 0.8), found(1, NOWHERE, 0.8)]
    best = best_threshold(score_detections(truth, detections))
    assert best is not None
    assert best.score == 0.8
    assert best.precision == 0.5


def test_each_class_has_its_own() -> None:
    truth = make_truth([(1, 1, BOXES[0]), (1, 2, BOXES[1])], names=("sure", "unsure", "absent"))
    detections = [
        found(1, BOXES[0], 0.9, 1),
        found(1, NOWHERE, 0.5, 1),
        found(1, BOXES[1], 0.3, 2),
        found(1, NOWHERE, 0.1, 2),
    ]
    best = best_threshold(score_detections(truth, detections))
    assert best is not None
    assert {name: entry.score for name, entry in best.by_class.items()} == pytest.approx(
        {"sure": 0.7, "unsure": 0.2}
    )
    # Together: F1 2/3, 2/4, 4/5, 4/6 after each, so the first three are kept.
    assert best.score == pytest.approx(0.2)
    assert best.to_json()["by_class"]["sure"]["f1"] == 1.0


def test_a_detection_on_a_crowd_is_not_a_false_positive() -> None:
    truth = make_truth([(1, 1, BOXES[0]), (1, 1, [0.0, 100.0, 200.0, 100.0])])
    truth["annotations"][1]["iscrowd"] = 1
    detections = [found(1, NOWHERE, 0.9), found(1, BOXES[0], 0.6)]
    best = best_threshold(score_detections(truth, detections))
    assert best is not None
    assert (best.score, best.precision) == (0.6, 1.0)


def test_none_without_true_positives_or_objects() -> None:
    truth = make_truth([(1, 1, BOXES[0])])
    assert best_threshold(score_detections(truth, [found(1, NOWHERE, 0.9)])) is None
    assert best_threshold(score_detections(truth, [])) is None
    assert best_threshold(score_detections(make_truth([]), [found(1, NOWHERE, 0.9)])) is None


def test_figures_at_a_threshold_from_val() -> None:
    truth = make_truth(
        [(1, 1, box) for box in BOXES[:2]] + [(1, 2, BOXES[2])], names=("a", "b", "c")
    )
    detections = [
        found(1, BOXES[0], 0.9),
        found(1, BOXES[1], 0.5),
        found(1, NOWHERE, 0.5),
        found(1, [50, 150, 30, 30], 0.4),
    ]
    metrics = score_detections(truth, detections)
    at = figures_at(metrics, 0.5)
    assert at is not None
    assert (at.score, at.chosen_on) == (0.5, "val")
    assert (at.precision, at.recall, at.f1) == pytest.approx((2 / 3, 2 / 3, 2 / 3))
    assert {name: entry.recall for name, entry in at.by_class.items()} == {"a": 1.0, "b": 0.0}
    nothing = figures_at(metrics, 0.95)
    assert nothing is not None
    assert (nothing.precision, nothing.recall, nothing.f1) == (0.0, 0.0, 0.0)
    assert figures_at(score_detections(make_truth([]), detections), 0.5) is None
