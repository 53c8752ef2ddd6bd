"""Which images are worst, and that the sheet shows them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from coco_cases import Truth, found, make_truth
from PIL import Image
from pycocotools import mask as mask_api

from detfinetune.evaluation.ground_truth import GroundTruth
from detfinetune.evaluation.metrics import score_detections
from detfinetune.evaluation.pictures import rank_images, write_comparison

BOX = [40.0, 40.0, 80.0, 80.0]
ELSEWHERE = [130.0, 130.0, 50.0, 50.0]


def _truth() -> Truth:
    # Image 1: no false negatives; 2: one of two; 3: a false positive, no objects; 4: empty.
    return make_truth([(1, 1, BOX), (2, 1, BOX), (2, 1, ELSEWHERE)], num_images=4)


DETECTIONS = [
    found(1, BOX, 0.9),
    found(1, ELSEWHERE, 0.3),
    found(2, BOX, 0.8),
    found(3, BOX, 0.7),
]


def test_images_are_ranked_by_f1_at_the_threshold() -> None:
    truth = _truth()
    ranked = rank_images(truth, score_detections(truth, DETECTIONS), 0.5)
    assert [
        (entry.file_name, entry.true_positives, entry.false_negatives, entry.false_positives)
        for entry in ranked
    ] == [
        ("3.png", 0, 0, 1),
        ("2.png", 1, 1, 0),
        ("1.png", 1, 0, 0),
        ("4.png", 0, 0, 0),
    ]
    assert [entry.f1 for entry in ranked] == pytest.approx([0, 2 / 3, 1, 1])


def test_a_lower_threshold_counts_the_false_positive() -> None:
    truth = _truth()
    ranked = rank_images(truth, score_detections(truth, DETECTIONS), 0.2)
    assert {entry.file_name: entry.false_positives for entry in ranked}["1.png"] == 1


@pytest.fixture
def split(tmp_path: Path) -> GroundTruth:
    truth = _truth()
    for annotation in truth["annotations"]:
        x, y, w, h = annotation["bbox"]
        annotation["segmentation"] = [[x, y, x + w, y, x + w, y + h, x, y + h]]
    for image in truth["images"]:
        Image.new("RGB", (200, 200), (60, 60, 60)).save(tmp_path / image["file_name"])
    return GroundTruth("pictures", truth, tmp_path)


def test_the_sheet_shows_labels_left_and_predictions_right(
    split: GroundTruth, tmp_path: Path
) -> None:
    output = tmp_path / "out" / "sheet.png"
    shown = write_comparison(split, DETECTIONS, output, count=1, score_threshold=0.5)
    assert [entry.file_name for entry in shown] == ["3.png"]
    sheet = np.asarray(Image.open(output).convert("RGB")).astype(int)
    colored = np.abs(sheet - sheet.mean(axis=2, keepdims=True)).max(axis=2) > 30
    rows = colored[sheet.shape[0] // 4 :]  # below title and legend
    left, right = rows[:, : sheet.shape[1] // 2], rows[:, sheet.shape[1] // 2 :]
    # The image has no object, so its left half is grey; the false positive is drawn on the right.
    assert left.sum() == 0
    assert right.sum() > 500


def test_masks_are_filled(split: GroundTruth, tmp_path: Path) -> None:
    mask = np.zeros((200, 200), dtype=np.uint8, order="F")
    mask[40:120, 40:120] = 1
    rle = mask_api.encode(mask)
    detections = [{**found(1, BOX, 0.9), "segmentation": rle}]
    filled, hollow = tmp_path / "filled.png", tmp_path / "hollow.png"
    write_comparison(split, detections, filled, count=4)
    write_comparison(split, [found(1, BOX, 0.9)], hollow, count=4)
    different = np.asarray(Image.open(filled)) != np.asarray(Image.open(hollow))
    # At the least the inside of one box of 192x192 px on its tile.
    assert different.any(axis=2).sum() > 180 * 180


def test_nothing_is_written_for_no_pictures(split: GroundTruth, tmp_path: Path) -> None:
    assert write_comparison(split, DETECTIONS, tmp_path / "none.jpg", count=0) == []
    assert not (tmp_path / "none.jpg").exists()
