"""Exact figures: the published twelve, and boxes small enough to work out by hand."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from coco_cases import found, make_truth
from PIL import Image
from pycocotools import mask as mask_api

from detfinetune.config.schema import DataConfig
from detfinetune.errors import DataError
from detfinetune.evaluation.metrics import score_detections
from detfinetune.labels.dataset.coco_json import coco_content
from detfinetune.labels.prepare import prepare_dataset


@pytest.mark.benchmark_data
@pytest.mark.parametrize("read", [False, True], ids=["the file", "the file as read"])
def test_the_reference_gives_its_twelve_figures(
    shared_data: Path, tmp_path: Path, read: bool
) -> None:
    folder = shared_data / "coco_eval_reference"
    detections = json.loads((folder / "cocoapi_results.json").read_text())
    file = folder / "gts" / "sampled_gts_bbox_area.json"
    truth = json.loads(file.read_text())
    if read:
        shutil.copy(file, tmp_path / "annotations.json")
        for image in truth["images"]:
            size = (image["width"], image["height"])
            Image.new("1", size).save(tmp_path / image["file_name"], format="PNG")
        data = DataConfig(root=tmp_path, val_fraction=0, test_fraction=0)
        dataset = prepare_dataset(data)
        truth = coco_content(dataset.classes, dataset.tables["train"])
    metrics = score_detections(truth, detections)
    assert {key: round(value / 100, 6) for key, value in metrics.figures.items() if value} == {
        "AP": 0.503647,
        "AP50": 0.696973,
        "AP75": 0.571667,
        "APs": 0.593252,
        "APm": 0.557991,
        "APl": 0.489363,
        "AR1": 0.386813,
        "AR10": 0.593680,
        "AR": 0.595353,
        "ARs": 0.654764,
        "ARm": 0.603130,
        "ARl": 0.553744,
    }
    assert len(detections) == 734
    assert sum(metrics.matches.num_objects.values()) == 830


def test_iou_decides_at_how_many_thresholds_a_box_counts() -> None:
    truth = make_truth([(1, 1, [0, 0, 100, 100])])
    # IoU 0.72: found at 0.50, 0.55, 0.60, 0.65 and 0.70, so at 5 of 10 thresholds.
    metrics = score_detections(truth, [found(1, [0, 0, 100, 72], 0.9)])
    assert metrics.figures["AP"] == pytest.approx(50.0)
    assert metrics.figures["AP50"] == pytest.approx(100.0)
    assert metrics.figures["AP75"] == 0.0
    assert metrics.figures["APl"] == pytest.approx(50.0)
    assert metrics.figures["APs"] is None
    assert metrics.figures["APm"] is None


def test_a_false_positive_above_a_true_positive_halves_precision() -> None:
    truth = make_truth([(1, 1, [0, 0, 50, 50])])
    detections = [found(1, [100, 100, 50, 50], 0.9), found(1, [0, 0, 50, 50], 0.8)]
    assert score_detections(truth, detections).ap == pytest.approx(50.0)


def test_ap_is_the_mean_precision_over_101_recall_steps() -> None:
    # One of two objects: precision 1 at the recalls 0, 0.01, ..., 0.50, which are 51 of 101.
    truth = make_truth([(1, 1, [0, 0, 50, 50]), (2, 1, [0, 0, 50, 50])])
    assert score_detections(truth, [found(1, [0, 0, 50, 50], 0.9)]).ap == pytest.approx(
        100 * 51 / 101
    )


@pytest.mark.parametrize(("limit", "expected"), [(1, 100 / 150), (150, 100.0), (400, 100.0)])
def test_the_limit_of_detections_is_the_one_that_was_asked_for(limit: int, expected: float) -> None:
    boxes = [[float(x * 12), float(y * 18), 10.0, 14.0] for x in range(15) for y in range(10)]
    truth = make_truth([(1, 1, box) for box in boxes], num_images=1)
    detections = [found(1, box, 0.5) for box in boxes]
    figures = score_detections(truth, detections, "bbox", limit).figures
    assert figures["AR"] == pytest.approx(expected)
    assert figures["AP"] is not None
    assert figures["AP"] > 0


def test_an_annotation_with_id_0_is_found() -> None:
    truth = make_truth([(1, 1, [0, 0, 50, 50])])
    truth["annotations"][0]["id"] = 0
    assert score_detections(truth, [found(1, [0, 0, 50, 50], 0.9)]).ap == pytest.approx(100.0)


def test_nothing_predicted_is_an_ap_of_0_and_no_objects_are_no_ap() -> None:
    truth = make_truth([(1, 1, [0, 0, 50, 50])])
    assert score_detections(truth, []).ap == 0.0
    assert score_detections(make_truth([]), [found(1, [0, 0, 5, 5], 0.9)]).ap is None
    assert score_detections(make_truth([]), []).ap is None


def test_a_class_without_objects_is_left_out_of_the_mean() -> None:
    truth = make_truth([(1, 1, [0, 0, 50, 50])], names=("a", "b"))
    detections = [found(1, [0, 0, 50, 50], 0.9), found(1, [100, 0, 50, 50], 0.9, category=2)]
    metrics = score_detections(truth, detections)
    assert metrics.ap == pytest.approx(100.0)
    assert [(entry.name, entry.ap, entry.num_objects) for entry in metrics.classes] == [
        ("a", pytest.approx(100.0), 1),
        ("b", None, 0),
    ]
    assert metrics.to_json()["classes"]["b"] == {
        "AP": None,
        "AP50": None,
        "objects": 0,
        "detections": 1,
    }


def test_a_detection_on_a_crowd_counts_neither_way() -> None:
    truth = make_truth([(1, 1, [0, 0, 50, 50]), (1, 1, [100, 100, 80, 80])])
    truth["annotations"][1]["iscrowd"] = 1
    detections = [found(1, [110, 110, 20, 20], 0.95), found(1, [0, 0, 50, 50], 0.9)]
    metrics = score_detections(truth, detections)
    assert metrics.ap == pytest.approx(100.0)
    assert metrics.matches.num_objects == {1: 1}
    assert metrics.matches.true_positive.tolist() == [False, True]
    assert metrics.matches.false_positive.tolist() == [False, False]


def test_masks_are_compared_by_their_pixels() -> None:
    truth = make_truth([(1, 1, [0, 0, 20, 20])])
    truth["annotations"][0]["segmentation"] = [[0, 0, 20, 0, 20, 20, 0, 20]]
    # The lower half of the box: 200 of its 400 pixels, so IoU 0.5 of the full mask.
    half = np.zeros((200, 200), dtype=np.uint8, order="F")
    half[10:20, :20] = 1
    detection = {
        **found(1, [0, 0, 20, 20], 0.9),
        "segmentation": mask_api.encode(half),
    }
    assert score_detections(truth, [detection], "bbox").ap == pytest.approx(100.0)
    segm = score_detections(truth, [detection], "segm")
    assert segm.figures["AP50"] == pytest.approx(100.0)
    assert segm.figures["AP"] == pytest.approx(10.0)


def test_inputs_are_left_as_they_were() -> None:
    truth = make_truth([(1, 1, [0, 0, 50, 50])])
    truth["annotations"][0]["segmentation"] = [[0, 0, 50, 0, 50, 50]]
    detections = [found(1, [0, 0, 50, 50], 0.9)]
    before = copy.deepcopy((truth, detections))
    score_detections(truth, detections)
    assert (truth, detections) == before


def test_gaps_in_the_json_are_filled() -> None:
    truth = make_truth([(1, 1, [0, 0, 50, 50])])
    del truth["annotations"][0]["area"], truth["annotations"][0]["iscrowd"]
    figures = score_detections(truth, [found(1, [0, 0, 50, 50], 0.9)]).figures
    assert figures["APm"] == pytest.approx(100.0)


def test_errors_say_what_is_wrong() -> None:
    truth = make_truth([(1, 1, [0, 0, 50, 50])])
    with pytest.raises(DataError, match=r"detection 0 is on image 9, which is not in"):
        score_detections(truth, [found(9, [0, 0, 5, 5], 0.9)])
    with pytest.raises(DataError, match=r"annotation 1 \(image 1\) has no mask"):
        score_detections(truth, [], "segm")
    truth["annotations"] = []
    with pytest.raises(DataError, match=r"detection 0 has no mask"):
        score_detections(truth, [found(1, [0, 0, 5, 5], 0.9)], "segm")
