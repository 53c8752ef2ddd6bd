"""The tables and lines that an evaluation prints."""

from __future__ import annotations

from coco_cases import found, make_truth

from detfinetune.evaluation.metrics import score_detections
from detfinetune.evaluation.report import classes_table
from detfinetune.evaluation.result import EvaluationResult


def _result(num_classes: int, num_found: int) -> tuple[EvaluationResult, list[str]]:
    """Evaluate `num_classes` classes of one object each, of which the first ones are found."""
    names = [f"class_{number:04d}" for number in range(num_classes)]
    boxes = [(1, number + 1, [10.0, 10.0, 50.0, 50.0]) for number in range(num_classes)]
    truth = make_truth(boxes, names=tuple(names))
    detections = [found(1, box, 0.9, category) for _, category, box in boxes[:num_found]]
    return EvaluationResult("d", {"bbox": score_detections(truth, detections)}), names


def test_of_a_thousand_classes_the_best_and_the_worst_are_shown() -> None:
    lines = classes_table(*_result(1000, 30)).splitlines()
    shown = [line.split()[0] for line in lines[2:-1]]
    assert shown == [f"class_{n:04d}" for n in (*range(20), *range(980, 1000))]
    assert [lines[2].split()[3], lines[-2].split()[3]] == ["100.0", "0.0"]
    assert lines[-1] == "(40 of 1000 classes, the best and the worst; metrics.json has all)"


def test_forty_classes_are_all_shown_in_their_order() -> None:
    lines = classes_table(*_result(40, 3)).splitlines()
    assert [line.split()[0] for line in lines[2:]] == [f"class_{n:04d}" for n in range(40)]
