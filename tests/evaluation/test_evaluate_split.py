"""evaluate_split on a real, tiny Detectron2-style model whose detections are known."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.evaluation import COCOEvaluator
from detectron2.structures import Boxes, Instances
from torch import nn

from detfinetune.errors import CheckpointError, DataError
from detfinetune.evaluation.score_split import evaluate_split

CLASSES = ("car", "tree")
# XYWH of the objects of each image; the second car of image 2 is never predicted.
OBJECTS = {
    1: [("car", (10.0, 10.0, 40.0, 40.0))],
    2: [
        ("car", (20.0, 20.0, 50.0, 30.0)),
        ("car", (120.0, 20.0, 50.0, 30.0)),
        ("tree", (80, 80, 20, 20)),
    ],
    3: [],
}


class KnownDetections(nn.Module):
    """Predicts fixed boxes for each image id, as Detectron2's detectors return them."""

    def __init__(self, boxes: dict[int, list[tuple[int, tuple[float, ...], float]]]) -> None:
        super().__init__()
        self.boxes = boxes
        self.modes: list[bool] = []

    def forward(self, inputs: list[dict[str, Any]]) -> list[dict[str, Instances]]:
        self.modes.append(self.training)
        outputs = []
        for entry in inputs:
            rows = self.boxes.get(entry["image_id"], [])
            found = Instances((entry["height"], entry["width"]))
            xywh = torch.tensor([row[1] for row in rows]).reshape(-1, 4)
            found.pred_boxes = Boxes(torch.cat([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], dim=1))
            found.scores = torch.tensor([row[2] for row in rows])
            found.pred_classes = torch.tensor([row[0] for row in rows], dtype=torch.int64)
            outputs.append({"instances": found})
        return outputs


def _write_truth(path: Path, names: tuple[str, ...] = CLASSES, first_id: int = 1) -> Path:
    annotations = []
    for image_id, objects in OBJECTS.items():
        for name, box in objects:
            annotations.append(
                {
                    "id": len(annotations),
                    "image_id": image_id,
                    "category_id": names.index(name) + first_id,
                    "bbox": list(box),
                    "area": box[2] * box[3],
                    "iscrowd": 0,
                }
            )
    path.write_text(
        json.dumps(
            {
                "info": {},
                "images": [
                    {"id": image, "file_name": f"{image}.png", "width": 200, "height": 150}
                    for image in OBJECTS
                ],
                "annotations": annotations,
                "categories": [
                    {"id": number + first_id, "name": name} for number, name in enumerate(names)
                ],
            }
        )
    )
    return path


@pytest.fixture
def split(tmp_path: Path) -> Iterator[str]:
    """Name of a registered split over OBJECTS."""
    yield from _register(_write_truth(tmp_path / "truth.json"))


def _register(json_file: Path) -> Iterator[str]:
    """Register as data.register does: the classes in order, ids mapped to them by name."""
    name = f"evaluate_split_{json_file}"
    categories = json.loads(json_file.read_text())["categories"]
    DatasetCatalog.register(name, list)
    MetadataCatalog.get(name).set(
        json_file=str(json_file),
        thing_classes=[category["name"] for category in categories],
        thing_dataset_id_to_contiguous_id={
            category["id"]: position for position, category in enumerate(categories)
        },
    )
    yield name
    DatasetCatalog.remove(name)
    MetadataCatalog.remove(name)


def _loader() -> list[list[dict[str, Any]]]:
    return [[{"image_id": image, "height": 150, "width": 200}] for image in OBJECTS]


HITS = {
    1: [(0, (10.0, 10.0, 40.0, 40.0), 0.9)],
    2: [(0, (20.0, 20.0, 50.0, 30.0), 0.8), (1, (80.0, 80.0, 20.0, 20.0), 0.7)],
    3: [(1, (0.0, 0.0, 30.0, 30.0), 0.4)],
}


def _evaluate(split: str, model: nn.Module, **options: Any) -> Any:
    return evaluate_split(model, split, _loader(), task="bbox", classes=CLASSES, **options)


def test_figures_threshold_and_files(split: str, tmp_path: Path) -> None:
    model = KnownDetections(HITS)
    model.train()
    result = _evaluate(split, model, output_dir=tmp_path / "out", provenance={"iteration": 7})

    # Cars: 2 of 3 found without a false alarm, so precision 1 at the recalls 0, 0.01, ..., 0.66:
    # 67 of 101 steps. Trees: all found.
    assert result.ap == pytest.approx(100 * (67 / 101 + 1) / 2)
    assert [entry.ap for entry in result.metrics["bbox"].classes] == pytest.approx(
        [100 * 67 / 101, 100.0]
    )
    # Three hits at 0.7 and above, one object missed; the false alarm scores 0.4.
    assert result.score_threshold == pytest.approx(0.55)
    assert result.threshold.precision == 1.0
    assert result.threshold.recall == 0.75
    assert result.diagnosis == ()
    assert result.notes == ("APl is '-': the split holds no large (96x96 px and more) object",)
    assert model.modes == [False, False, False]
    assert model.training

    written = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert written["bbox"]["AP"] == result.ap
    assert written["bbox"]["APl"] is None
    assert written["provenance"] == {"iteration": 7}
    detections = json.loads((tmp_path / "out" / "detections.json").read_text())
    assert [(entry["image_id"], entry["category_id"]) for entry in detections] == [
        (1, 1),
        (2, 1),
        (2, 2),
        (3, 2),
    ]
    assert detections[0]["bbox"] == [10.0, 10.0, 40.0, 40.0]


def test_agrees_with_detectron2s_own_evaluator(tmp_path: Path) -> None:
    # Ids from 1: with an id of 0, COCOEvaluator itself is wrong (see metrics.py).
    json_file = _write_truth(tmp_path / "truth.json")
    content = json.loads(json_file.read_text())
    for number, annotation in enumerate(content["annotations"], start=1):
        annotation["id"] = number
    json_file.write_text(json.dumps(content))
    for split in _register(json_file):
        model = KnownDetections(HITS)
        for limit in (100, 300):
            theirs = COCOEvaluator(
                split, ("bbox",), use_fast_impl=False, max_dets_per_image=limit, distributed=False
            )
            theirs.reset()
            for inputs in _loader():
                theirs.process(inputs, model(inputs))
            expected = theirs.evaluate()["bbox"]
            ours = _evaluate(split, model, detections_per_image=limit).metrics["bbox"]
            for key in ("AP", "AP50", "AP75", "APs", "APm"):
                assert ours.figures[key] == pytest.approx(expected[key], abs=1e-9)


def test_nothing_predicted_is_an_ap_of_zero_and_says_so(split: str) -> None:
    result = _evaluate(split, KnownDetections({}))
    assert result.ap == 0.0
    assert result.score_threshold is None
    assert len(result.diagnosis) == 1
    assert "predicted nothing on 3 images" in result.diagnosis[0]


def test_classes_are_matched_by_name_not_by_position(tmp_path: Path) -> None:
    for split in _register(_write_truth(tmp_path / "t.json", names=("tree", "car"), first_id=5)):
        result = _evaluate(split, KnownDetections(HITS))
        assert [entry["category_id"] for entry in result.detections] == [6, 6, 5, 5]
        assert result.ap == pytest.approx(100 * (67 / 101 + 1) / 2)


def test_other_classes_are_an_error_that_shows_both_lists(split: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        evaluate_split(
            KnownDetections(HITS), split, _loader(), task="bbox", classes=("car", "bush")
        )
    text = str(caught.value)
    assert "model: car, bush" in text
    assert "data:  car, tree" in text
    assert "only in the model: bush" in text
    assert "only in the data: tree" in text


def test_ground_truth_that_fails_its_own_check_stops_before_the_model_runs(tmp_path: Path) -> None:
    json_file = _write_truth(tmp_path / "truth.json")
    content = json.loads(json_file.read_text())
    content["annotations"][0]["image_id"] = 99
    json_file.write_text(json.dumps(content))
    for split in _register(json_file):
        model = KnownDetections(HITS)
        with pytest.raises(DataError, match=r"1 annotations have no listed image_id"):
            _evaluate(split, model)
        assert model.modes == []
