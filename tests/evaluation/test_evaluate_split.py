"""evaluate_split on a real, tiny Detectron2-style model whose detections are known."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from detectron2.data import MetadataCatalog
from detectron2.evaluation import COCOEvaluator
from detectron2.structures import Boxes, Instances
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from run_configs import run_config
from torch import nn

from detfinetune.config.schema import DataConfig
from detfinetune.data.loaders import build_test_loader
from detfinetune.data.pipeline import build_test_pipeline
from detfinetune.data.sample import Sample
from detfinetune.errors import CheckpointError, DataError
from detfinetune.evaluation.ground_truth import GroundTruth, ground_truth
from detfinetune.evaluation.report import print_result
from detfinetune.evaluation.score_split import evaluate_split
from detfinetune.labels.prepare import prepare_dataset
from detfinetune.models.calibration import Calibration
from detfinetune.models.detection_model import DetectionModel
from detfinetune.models.rcnn.model import RcnnModel
from detfinetune.models.rcnn.pack import pack

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


class KnownOutputs(nn.Module):
    """Gives fixed boxes for each image, as Detectron2's detectors do; in training, a loss."""

    def __init__(self, boxes: dict[int, list[tuple[int, tuple[float, ...], float]]]) -> None:
        super().__init__()
        self.boxes = boxes
        self.modes: list[bool] = []

    def forward(self, inputs: list[dict[str, Any]]) -> Any:
        self.modes.append(self.training)
        if self.training:
            return {
                "loss_one": torch.tensor(float(inputs[0]["image_id"])),
                "loss_two": torch.ones(()),
            }
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


def known_detections(
    boxes: dict[int, list[tuple[int, tuple[float, ...], float]]],
    classes: tuple[str, ...] = CLASSES,
) -> RcnnModel:
    """A detector that predicts fixed boxes for each image id."""
    return RcnnModel(KnownOutputs(boxes), classes)


def _truth(names: tuple[str, ...] = CLASSES, first_id: int = 1) -> GroundTruth:
    """Return OBJECTS as ground truth, annotation ids from 0."""
    annotations: list[dict[str, Any]] = []
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
    content = {
        "info": {},
        "images": [
            {"id": image, "file_name": f"{image}.png", "width": 200, "height": 150}
            for image in OBJECTS
        ],
        "annotations": annotations,
        "categories": [{"id": at + first_id, "name": name} for at, name in enumerate(names)],
    }
    return GroundTruth("objects", content, Path("images"))


@pytest.fixture
def truth() -> GroundTruth:
    return _truth()


def _loader() -> list[tuple[list[int], list[dict[str, Any]]]]:
    return [([image], [{"image_id": image, "height": 150, "width": 200}]) for image in OBJECTS]


def _pack_with_ids(samples: list[Sample]) -> list[dict[str, Any]]:
    packed = zip(pack(samples), samples, strict=True)
    return [{**item, "image_id": sample.image_id} for item, sample in packed]


HITS = {
    1: [(0, (10.0, 10.0, 40.0, 40.0), 0.9)],
    2: [(0, (20.0, 20.0, 50.0, 30.0), 0.8), (1, (80.0, 80.0, 20.0, 20.0), 0.7)],
    3: [(1, (0.0, 0.0, 30.0, 30.0), 0.4)],
}


def _evaluate(truth: GroundTruth, model: DetectionModel, **options: Any) -> Any:
    return evaluate_split(model, truth, _loader(), task="bbox", classes=CLASSES, **options)


def test_figures_threshold_and_files(truth: GroundTruth, tmp_path: Path) -> None:
    model = known_detections(HITS)
    model.train()
    result = _evaluate(truth, model, output_dir=tmp_path / "out", provenance={"iteration": 7})

    # Cars: 2 of 3 found without a false alarm, so precision 1 at the recalls 0, 0.01, ..., 0.66:
    # 67 of 101 steps. Trees: all found.
    assert result.ap == pytest.approx(100 * (67 / 101 + 1) / 2)
    assert [entry.ap for entry in result.metrics["bbox"].classes] == pytest.approx(
        [100 * 67 / 101, 100.0]
    )
    # Three true positives at 0.7 and above, one false negative; the false positive scores 0.4.
    assert result.score_threshold == pytest.approx(0.55)
    assert result.threshold.precision == 1.0
    assert result.threshold.recall == 0.75
    assert result.diagnosis == ()
    assert result.notes == ("APl is '-': the split has no large (96x96 px and more) objects",)
    assert model.model.modes == [False, False, False]
    assert model.training
    assert model.model.training
    assert result.losses == {}

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


def test_figures_of_test_are_those_at_the_threshold_of_val(
    truth: GroundTruth, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = _evaluate(
        truth, known_detections(HITS), score_threshold=0.85, output_dir=tmp_path / "out"
    )
    written = json.loads((tmp_path / "out" / "metrics.json").read_text())["score_threshold"]
    assert (written["score"], written["chosen_on"]) == (0.85, "val")
    assert (written["precision"], written["recall"]) == (1.0, 0.25)
    print_result(result, CLASSES, title="test")
    assert (
        "val's best score threshold 0.85: recall 25%, precision 100%, F1 40% at IoU 0.5"
        in capsys.readouterr().out
    )


def test_calibrated_scores(
    truth: GroundTruth, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The threshold is one of calibrated scores; AP and what is kept are the same."""
    own = _evaluate(truth, known_detections(HITS), score_threshold=0.75)
    print_result(own, CLASSES, title="test")
    assert "calibrat" not in capsys.readouterr().out
    assert own.to_json()["calibration"] == {
        "a": 1.0, "b": 0.0, "error_before": pytest.approx(0.25), "error": pytest.approx(0.25),
    }  # fmt: skip
    # The odds are squared: 0.9, 0.8, 0.7 and 0.4 become 81/82, 16/17, 49/58 and 4/13.
    calibration = Calibration(2.0, 0.0)
    result = _evaluate(
        truth, known_detections(HITS), score_threshold=float(calibration(0.75)),
        calibration=calibration, output_dir=tmp_path,
    )  # fmt: skip
    scores = [81 / 82, 16 / 17, 49 / 58, 4 / 13]
    written = json.loads((tmp_path / "detections.json").read_text())
    assert [entry["score"] for entry in written] == pytest.approx(scores, abs=1e-6)
    assert result.metrics["bbox"].matches.score.max() == max(e["score"] for e in written)
    figures = json.loads((tmp_path / "metrics.json").read_text())
    assert figures["bbox"]["AP"] == own.ap
    error = (1 - scores[0] + 1 - scores[1] + 1 - scores[2] + scores[3]) / 4
    assert figures["calibration"] == {
        "a": 2.0, "b": 0.0, "error_before": pytest.approx(0.25),
        "error": pytest.approx(error, abs=1e-6),
    }  # fmt: skip
    at = figures["score_threshold"]
    assert (at["score"], at["chosen_on"]) == (pytest.approx(0.9), "val")
    assert (at["recall"], at["precision"]) == (own.threshold.recall, own.threshold.precision)
    assert at["recall"] == 0.5
    print_result(result, CLASSES, title="test")
    assert (
        "scores are calibrated on val: 13.3% expected calibration error (25.0% before)"
        in capsys.readouterr().out
    )
    best = _evaluate(truth, known_detections(HITS), calibration=calibration).score_threshold
    assert best == calibration(_evaluate(truth, known_detections(HITS)).score_threshold)


def test_agrees_with_detectron2s_own_evaluator(tmp_path: Path) -> None:
    truth = _truth()
    # Ids from 1: with an id of 0, COCOEvaluator itself is wrong (see metrics.py).
    for number, annotation in enumerate(truth.content["annotations"], start=1):
        annotation["id"] = number
    (tmp_path / "truth.json").write_text(json.dumps(truth.content))
    split = f"objects_{tmp_path}"
    MetadataCatalog.get(split).set(
        json_file=str(tmp_path / "truth.json"),
        thing_classes=list(CLASSES),
        thing_dataset_id_to_contiguous_id={1: 0, 2: 1},
    )
    model = known_detections(HITS)
    for limit in (100, 300):
        theirs = COCOEvaluator(
            split, ("bbox",), use_fast_impl=False, max_dets_per_image=limit, distributed=False
        )
        theirs.reset()
        for _, inputs in _loader():
            theirs.process(inputs, model.eval().model(inputs))
        expected = theirs.evaluate()["bbox"]
        ours = _evaluate(truth, model, detections_per_image=limit).metrics["bbox"]
        for key in ("AP", "AP50", "AP75", "APs", "APm"):
            assert ours.figures[key] == pytest.approx(expected[key], abs=1e-9)
    MetadataCatalog.remove(split)


def test_losses_are_means_over_the_images(truth: GroundTruth, tmp_path: Path) -> None:
    """Two batches, of two images and of one, whose losses are 1 and 3 times as large."""
    model = known_detections(HITS)
    (one, (first,)), (two, (second,)), (three, (third,)) = _loader()
    loader = [([*one, *two], [first, second]), (three, [third])]
    result = evaluate_split(
        model, truth, loader, task="bbox", classes=CLASSES, losses=True, output_dir=tmp_path
    )
    assert result.losses == {"loss_one": pytest.approx(5 / 3), "loss_two": 1.0}
    assert json.loads((tmp_path / "metrics.json").read_text())["losses"] == result.losses
    assert model.model.modes == [False, True] * 2
    assert result.ap == _evaluate(truth, known_detections(HITS)).ap
    # A model that is not being trained stays so.
    evaluate_split(model.eval(), truth, loader, task="bbox", classes=CLASSES, losses=True)
    assert not any(module.training for module in model.modules())


def test_detections_of_an_image_are_ordered_by_score(truth: GroundTruth) -> None:
    rows = [(0, (10.0, 10.0, 40.0, 40.0), score) for score in (0.2, 0.9, 0.5)]
    result = _evaluate(truth, known_detections({1: rows}))
    assert [entry["score"] for entry in result.detections] == pytest.approx([0.9, 0.5, 0.2])
    assert {tuple(entry["bbox"]) for entry in result.detections} == {(10.0, 10.0, 40.0, 40.0)}


def test_nothing_predicted_is_an_ap_of_zero_and_says_so(truth: GroundTruth) -> None:
    result = _evaluate(truth, known_detections({}))
    assert result.ap == 0.0
    assert result.score_threshold is None
    assert len(result.diagnosis) == 1
    assert "predicted nothing on 3 images" in result.diagnosis[0]


def test_classes_are_matched_by_name_not_by_position() -> None:
    result = _evaluate(_truth(names=("tree", "car"), first_id=5), known_detections(HITS))
    assert [entry["category_id"] for entry in result.detections] == [6, 6, 5, 5]
    assert result.ap == pytest.approx(100 * (67 / 101 + 1) / 2)


def test_other_classes_are_an_error_that_shows_both_lists(truth: GroundTruth) -> None:
    with pytest.raises(CheckpointError) as caught:
        evaluate_split(
            known_detections(HITS), truth, _loader(), task="bbox", classes=("car", "bush")
        )
    text = str(caught.value)
    assert "model: car, bush" in text
    assert "data:  car, tree" in text
    assert "only in the model: bush" in text
    assert "only in the data: tree" in text


def test_ground_truth_that_fails_its_own_check_stops_before_the_model_runs() -> None:
    truth = _truth()
    truth.content["annotations"][0]["image_id"] = 99
    model = known_detections(HITS)
    with pytest.raises(DataError, match=r"1 annotations have an unknown image_id"):
        _evaluate(truth, model)
    assert model.model.modes == []


def test_detections_score_the_same_against_the_users_own_coco_file(tmp_path: Path) -> None:
    """Ids of the user's file survive, so that bare pycocotools gives the figures we print."""
    rng = np.random.default_rng(0)
    images, annotations = [], []
    for number in range(12):
        name = f"{number:02}.png"
        Image.new("RGB", (200, 150)).save(tmp_path / name)
        images.append({"id": 1000 - 7 * number, "file_name": name, "width": 200, "height": 150})
        for _ in range(number % 4):
            x, y, w, h = rng.uniform([0, 0, 9, 9], [100, 80, 99, 69]).round(2).tolist()
            annotations.append(
                {"id": 90 - len(annotations), "image_id": images[-1]["id"], "iscrowd": 0,
                 "category_id": int(rng.choice([12, 4])), "bbox": [x, y, w, h],
                 "area": round(w * h * 0.7, 3)}
            )  # fmt: skip
    annotations[3]["iscrowd"] = 1
    own = tmp_path / "annotations.json"
    categories = [{"id": 12, "name": "tree"}, {"id": 4, "name": "car"}]
    own.write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": categories})
    )
    dataset = prepare_dataset(DataConfig(root=tmp_path, val_fraction=0.5, test_fraction=0))
    truth = ground_truth(dataset, "val")
    chosen = [image["id"] for image in truth.content["images"]]
    predicted: dict[int, list[Any]] = {}
    for entry in annotations:
        moved = np.add(entry["bbox"], rng.normal(0, 3, 4)).tolist()
        row = ([4, 12].index(entry["category_id"]), tuple(moved), float(rng.uniform()))
        predicted.setdefault(entry["image_id"], []).append(row)
    classes = ("car", "tree")
    # The known outputs want to know which image is which.
    pipeline = replace(build_test_pipeline(run_config(), classes), pack=_pack_with_ids)
    result = evaluate_split(
        known_detections(predicted, classes), truth, build_test_loader(truth.name, pipeline),
        task="bbox", classes=classes, output_dir=tmp_path / "out",
    )  # fmt: skip
    theirs = COCOeval(
        coco := COCO(str(own)), coco.loadRes(str(tmp_path / "out" / "detections.json")), "bbox"
    )
    theirs.params.imgIds = chosen
    theirs.evaluate()
    theirs.accumulate()
    theirs.summarize()
    names = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR", "ARs", "ARm", "ARl")
    ours = [result.metrics["bbox"].figures[name] for name in names]
    assert 0 < ours[0] < 100
    assert [-1 if value is None else value / 100 for value in ours] == pytest.approx(
        theirs.stats.tolist(), abs=1e-12
    )
