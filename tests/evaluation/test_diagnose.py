"""Each known cause of an AP of 0, constructed; and healthy detections, which get no diagnosis."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from coco_cases import Truth, found, make_truth

from detfinetune.evaluation.diagnose import LOW_AP, diagnose, empty_size_ranges, pairwise_iou
from detfinetune.evaluation.metrics import score_detections

NAMES = ("car", "tree", "house")


def _scene() -> Truth:
    """Return 20 images of 400x200 px with three objects each, one of each class."""
    rng = np.random.default_rng(0)
    boxes = []
    for image in range(1, 21):
        for category, column in ((1, 0), (2, 130), (3, 260)):
            x, y = column + rng.uniform(0, 60), rng.uniform(0, 120)
            boxes.append((image, category, [x, y, rng.uniform(30, 70), rng.uniform(20, 60)]))
    truth = make_truth(boxes, num_images=20, names=NAMES)
    for image in truth["images"]:
        image["width"] = 400
    return truth


def _perfect(truth: Truth) -> list[dict[str, Any]]:
    return [
        found(entry["image_id"], list(entry["bbox"]), 0.9, entry["category_id"])
        for entry in truth["annotations"]
    ]


def _diagnose(truth: Truth, detections: list[dict[str, Any]]) -> list[str]:
    return diagnose(truth, detections, score_detections(truth, detections))


def test_healthy_detections_get_none() -> None:
    truth = _scene()
    assert _diagnose(truth, _perfect(truth)) == []


def test_nothing_predicted() -> None:
    causes = _diagnose(_scene(), [])
    assert len(causes) == 1
    assert "predicted nothing on 20 images" in causes[0]


def test_no_objects() -> None:
    causes = _diagnose(make_truth([]), [found(1, [0, 0, 9, 9], 0.9)])
    assert causes == [
        "the split has 2 images but no objects, so AP is undefined. Evaluate a split that has "
        "objects."
    ]


@pytest.mark.parametrize(
    ("step", "words"), [(1, "Predicted class ids are 1 too high"), (-1, "are 1 too low")]
)
def test_category_shift(step: int, words: str) -> None:
    truth = _scene()
    detections = _perfect(truth)
    for entry in detections:
        entry["category_id"] += step
    detections = [entry for entry in detections if 1 <= entry["category_id"] <= 3]
    causes = _diagnose(truth, detections)
    assert len(causes) == 1
    assert "the boxes are correct but their classes are wrong" in causes[0]
    assert words in causes[0]
    expected = "'tree' for 'car' (20 times)" if step == 1 else "'car' for 'tree' (20 times)"
    assert expected in causes[0]
    assert "data.first_class" in causes[0]


def test_classes_in_another_order() -> None:
    truth = _scene()
    detections = _perfect(truth)
    for entry in detections:
        entry["category_id"] = {1: 3, 2: 1, 3: 2}[entry["category_id"]]
    causes = _diagnose(truth, detections)
    assert len(causes) == 1
    assert "'house' for 'car' (20 times)" in causes[0]
    assert "order of the class names" in causes[0]


def _scaled(box: list[float]) -> list[float]:
    return [value * 1.6 for value in box]


def _shrunk(box: list[float]) -> list[float]:
    return [value * 0.4 for value in box]


def _rotated(box: list[float]) -> list[float]:
    # The box in the image before a clockwise rotation by 90 degrees made it 400x200.
    x, y, w, h = box
    return [y, 400 - x - w, h, w]


def _xyxy(box: list[float]) -> list[float]:
    x, y, w, h = box
    return [x, y, x + w, y + h]


def _normalized(box: list[float]) -> list[float]:
    x, y, w, h = box
    return [x / 400, y / 200, w / 400, h / 200]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_scaled, "scaled by about 0.6"),
        (_shrunk, "scaled by about 2.5"),
        (_rotated, "rotated by 90 degrees clockwise"),
        (_xyxy, "read as xyxy"),
        (_normalized, "read as normalized coordinates"),
    ],
)
def test_size_mismatch(spoil: Any, words: str) -> None:
    truth = _scene()
    detections = [{**entry, "bbox": spoil(entry["bbox"])} for entry in _perfect(truth)]
    causes = _diagnose(truth, detections)
    assert len(causes) == 1
    assert "the boxes are misplaced" in causes[0]
    assert words in causes[0]


def test_predictions_outside_the_image_are_counted() -> None:
    truth = _scene()
    detections = [{**entry, "bbox": _scaled(entry["bbox"])} for entry in _perfect(truth)]
    assert "predictions extend beyond their image" in _diagnose(truth, detections)[0]


def test_correct_classes_are_not_reported() -> None:
    """A model that has hardly learnt: loose boxes of the right class under many wrong ones."""
    truth = _scene()
    detections = [
        found(entry["image_id"], [x, y, 0.52 * w, h], 0.1, entry["category_id"])
        for entry in truth["annotations"]
        for x, y, w, h in [entry["bbox"]]
    ]
    detections += [
        found(image, [0.0, 190.0, 5.0, 5.0], 0.9, category)
        for image in range(1, 21)
        for category in (1, 2, 3)
        for _ in range(30)
    ]
    assert score_detections(truth, detections).ap < LOW_AP
    assert not any("classes are wrong" in cause for cause in _diagnose(truth, detections))


@pytest.mark.parametrize(("share", "junk"), [(1.0, 0), (0.4, 33), (0.7, 33)])
def test_only_learnt_boxes_with_a_majority_of_wrong_classes_are_reported(
    share: float, junk: int
) -> None:
    truth = _scene()
    detections = _perfect(truth)
    for entry in detections[: int(share * len(detections))]:
        entry["category_id"] = entry["category_id"] % 3 + 1
    for entry in detections:
        entry["bbox"][2] *= 0.52
    # As in a model that has not learnt: many wrong boxes above each right one.
    detections += [
        found(image, [0.0, 190.0, 5.0, 5.0], 1.0, category)
        for image in range(1, 21)
        for category in (1, 2, 3)
        for _ in range(junk)
    ]
    assert score_detections(truth, detections).ap < LOW_AP
    causes = [cause for cause in _diagnose(truth, detections) if "classes are wrong" in cause]
    assert len(causes) == (junk == 0)
    assert not any(f"'{name}' for '{name}'" in cause for cause in causes for name in NAMES)


def test_a_model_that_has_not_learnt_is_blamed_on_nothing_else() -> None:
    truth = _scene()
    rng = np.random.default_rng(1)
    detections = [
        found(image, [*rng.uniform(0, 150, 2), *rng.uniform(5, 15, 2)], 0.6, 1)
        for image in range(1, 21)
    ]
    causes = _diagnose(truth, detections)
    assert len(causes) == 1
    assert "20 boxes were predicted on 20 images with 60 objects" in causes[0]
    assert "no known error" in causes[0]


def test_an_empty_size_range_is_a_note() -> None:
    truth = make_truth([(1, 1, [0, 0, 50, 50])])
    metrics = score_detections(truth, [found(1, [0, 0, 50, 50], 0.9)])
    assert empty_size_ranges(metrics) == [
        "APs is '-': the split has no small (under 32x32 px) objects",
        "APl is '-': the split has no large (96x96 px and more) objects",
    ]


def test_iou_of_boxes() -> None:
    first = np.array([[0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 0.0, 5.0]])
    second = np.array([[0.0, 0.0, 10.0, 5.0], [20.0, 20.0, 5.0, 5.0]])
    assert pairwise_iou(first, second).tolist() == [[0.5, 0.0], [0.0, 0.0]]
