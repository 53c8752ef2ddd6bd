"""Which proposals of an image are one object, and which are none."""

from __future__ import annotations

import numpy as np
import torch

from detfinetune.prediction import Prediction
from detfinetune.propose.proposer import merge_boxes

CLASSES = ("car", "bus")


def merged(*rows: tuple[tuple[float, ...], float, int]) -> Prediction:
    """Merge (xyxy, score, class id) in an image of 100 x 80 px."""
    boxes, scores, class_ids = zip(*rows, strict=True)
    return merge_boxes(
        torch.tensor(boxes), torch.tensor(scores), torch.tensor(class_ids), CLASSES, 100, 80
    )


def test_boxes_of_synonyms_and_of_two_classes_are_merged() -> None:
    found = merged(
        ((10.0, 10.0, 30.0, 30.0), 0.5, 0),
        ((10.0, 10.0, 30.0, 28.0), 0.8, 0),  # a synonym: IoU 0.9
        ((10.0, 10.0, 30.0, 27.5), 0.6, 1),  # another class: IoU 0.97
        ((10.0, 10.0, 22.0, 28.0), 0.4, 1),  # another class, IoU 0.6: another object
        ((10.0, 10.0, 22.2, 28.0), 0.3, 0),  # the same class, IoU 0.61
        ((60.0, 10.0, 80.0, 30.0), 0.9, 0),
    )
    assert [round(score, 2) for score in found.scores.tolist()] == [0.9, 0.8, 0.4]
    assert found.class_ids.tolist() == [0, 0, 1]
    assert found.boxes[1].tolist() == [10, 10, 30, 28]
    assert (found.classes, found.width, found.height) == (CLASSES, 100, 80)


def test_boxes_of_the_whole_image_and_of_nothing_are_dropped() -> None:
    found = merged(
        ((0.0, 0.0, 100.0, 80.0), 0.9, 0),
        ((-5.0, 0.0, 96.0, 200.0), 0.9, 1),  # 96 % of the area, inside
        ((0.0, 0.0, 94.0, 80.0), 0.8, 0),  # 94 %
        ((20.0, 20.0, 20.9, 60.0), 0.9, 0),
        ((120.0, 20.0, 140.0, 60.0), 0.9, 0),
        ((40.0, 20.0, 60.0, 60.0), 0.04, 0),
    )
    assert found.boxes.tolist() == [[0, 0, 94, 80]]


def test_nothing_found_is_no_error() -> None:
    found = merge_boxes(
        torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.long), CLASSES, 100, 80
    )
    assert len(found) == 0
    assert found.boxes.shape == (0, 4)
    assert found.class_ids.dtype == np.int64
