"""The ground truth scored against itself: real datasets score 100, errors are reported."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from coco_cases import make_truth
from PIL import Image

from detfinetune.config.schema import DataConfig
from detfinetune.errors import DataError
from detfinetune.evaluation.ground_truth import ground_truth
from detfinetune.evaluation.metrics import score_detections
from detfinetune.evaluation.self_check import check_ground_truth
from detfinetune.labels.read import read_dataset


@pytest.mark.benchmark_data
@pytest.mark.parametrize("task", ["bbox", "segm"])
@pytest.mark.parametrize(
    ("file", "objects"),
    [
        ("nuclei/val.json", 1120),
        ("coco_tiny/annotations/instances_train2017.json", 699),
        ("coco_tiny/annotations/instances_val2017.json", 804),
    ],
)
def test_real_sets_score_100(shared_data: Path, file: str, objects: int, task: str) -> None:
    truth = json.loads((shared_data / file).read_text())
    result = check_ground_truth(truth, "segm" if task == "segm" else "bbox")
    assert result.ap == pytest.approx(100.0)
    assert result.num_checked == objects
    assert result.warning() is None


@pytest.mark.benchmark_data
def test_a_mask_without_a_pixel_is_named_and_left_out(shared_data: Path) -> None:
    truth = json.loads((shared_data / "nuclei" / "train.json").read_text())
    result = check_ground_truth(truth, "segm")
    assert result.ap == pytest.approx(100.0)
    assert result.num_checked == 3316
    assert result.unmatchable == ("annotation 551 (a1777737270c.png): its mask is empty",)


def test_more_objects_than_the_usual_limit_still_score_100() -> None:
    boxes = [(1, 1, [float(x * 10), float(y * 10), 8.0, 8.0]) for x in range(20) for y in range(12)]
    result = check_ground_truth(make_truth(boxes))
    assert result.num_checked == 240
    assert result.ap == pytest.approx(100.0)


def test_boxes_that_cannot_match_are_named() -> None:
    truth = make_truth(
        [(1, 1, [0, 0, 30, 30]), (1, 1, [5, 5, 0, 30]), (2, 1, [float("nan"), 5, 9, 9])]
    )
    result = check_ground_truth(truth)
    assert result.num_checked == 1
    assert result.ap == pytest.approx(100.0)
    assert result.unmatchable == (
        "annotation 2 (1.png): its box [5, 5, 0, 30] has no area",
        "annotation 3 (2.png): its box [nan, 5, 9, 9] has non-finite coordinates",
    )
    assert str(result.warning()).startswith("2 annotations cannot be matched by any prediction")


def test_a_split_without_objects_has_nothing_to_check() -> None:
    result = check_ground_truth(make_truth([]))
    assert (result.ap, result.num_checked) == (None, 0)


def test_inconsistent_ids_are_an_error() -> None:
    truth = make_truth([(1, 1, [0, 0, 30, 30]), (7, 1, [0, 0, 30, 30]), (1, 5, [0, 0, 9, 9])])
    truth["images"].append(truth["images"][0])
    with pytest.raises(DataError) as caught:
        check_ground_truth(truth)
    text = str(caught.value)
    assert text.startswith("the ground truth has inconsistent ids")
    assert "images have duplicate ids [1]" in text
    assert "1 annotations have an unknown image_id (annotation ids [2])" in text
    assert "1 annotations have an unknown category_id (annotation ids [3])" in text


def test_an_object_that_cannot_be_matched_is_an_error() -> None:
    truth = make_truth([(1, 1, [0, 0, 30, 30]), (1, 1, [100, 100, 30, 30])])
    # COCO ignores objects of an area outside 0 to 1e10, so no model could ever find this one.
    truth["annotations"][1]["area"] = -1.0
    with pytest.raises(DataError, match=r"matches only 1 of 2 objects .* annotation ids \[2\]"):
        check_ground_truth(truth)


def test_a_crowd_region_without_a_mask_is_its_box(tmp_path: Path) -> None:
    corners = [10.0, 10.0, 40.0, 10.0, 40.0, 40.0, 10.0, 40.0]
    shared = {"image_id": 1, "category_id": 1, "area": 900}
    content = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 100, "height": 100}],
        "categories": [{"id": 1, "name": "cell"}],
        "annotations": [
            {"id": 1, "bbox": [10, 10, 30, 30], "iscrowd": 0, "segmentation": [corners], **shared},
            {"id": 2, "bbox": [50, 50, 30, 30], "iscrowd": 1, "segmentation": [], **shared},
        ],
    }
    Image.new("RGB", (100, 100)).save(tmp_path / "a.jpg")
    (tmp_path / "cells.json").write_text(json.dumps(content))
    dataset = read_dataset(DataConfig(root=tmp_path, val_fraction=0, test_fraction=0))
    truth = ground_truth(dataset, "train").content
    assert check_ground_truth(truth, "segm").unmatchable == ()
    assert score_detections(truth, [], "segm").ap == 0
