"""Detectron2's models behind the interface of all detectors: losses, predictions, state."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from detectron2.evaluation.coco_evaluation import instances_to_coco_json
from detectron2.utils.events import EventStorage, get_event_storage
from run_configs import run_config
from torch import nn

from detfinetune.config.resolved import RunConfig
from detfinetune.data.sample import Sample
from detfinetune.models.detection_model import PredictOptions
from detfinetune.models.rcnn.build import build_model
from detfinetune.models.rcnn.model import RcnnModel
from detfinetune.models.rcnn.pack import pack

CLASSES = ("disc", "square")
# Detectron2's zoo entries, a tenth as wide.
NARROW = {
    "MODEL.RESNETS.STEM_OUT_CHANNELS": 16,
    "MODEL.RESNETS.WIDTH_PER_GROUP": 16,
    "MODEL.RESNETS.RES2_OUT_CHANNELS": 32,
    "MODEL.FPN.OUT_CHANNELS": 32,
    "MODEL.ROI_BOX_HEAD.FC_DIM": 32,
    "MODEL.ROI_HEADS.SCORE_THRESH_TEST": 0.0,
    "MODEL.RETINANET.SCORE_THRESH_TEST": 0.0,
}
FASTER_RCNN, RETINANET = (
    "COCO-Detection/faster_rcnn_R_50_FPN_1x", "COCO-Detection/retinanet_R_50_FPN_1x",
)  # fmt: skip
MASK_RCNN = "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x"
CASCADE = "Misc/cascade_mask_rcnn_R_50_FPN_1x"
C4 = "COCO-Detection/faster_rcnn_R_50_C4_1x"
NAMES = (FASTER_RCNN, RETINANET, MASK_RCNN, CASCADE, C4, "timm/test_efficientnet")


def config_of(name: str, frozen: bool = True) -> RunConfig:
    """A model that has frozen norms, as with pretrained weights, or BatchNorm."""
    task = "segm" if name in (MASK_RCNN, CASCADE) else "bbox"
    return run_config(
        task=task,
        model={"name": name, "weights": "auto" if frozen else "random", "freeze_at": 0,
               "fpn_channels": 32, "box_head_dim": 32},
        augment={"image_size": 64, "max_size": 128},
        detectron2={} if name.startswith("timm/") else NARROW,
    )  # fmt: skip


def build(name: str, frozen: bool = True) -> RcnnModel:
    torch.manual_seed(0)
    model = build_model(config_of(name, frozen), CLASSES, None)
    for key, value in model.checkpoint_state().items():
        # With random weights, frozen norms let each block add up the ones before.
        if key.endswith("conv3.norm.weight"):
            value.fill_(0.1)
    return model


def batch_of(masks: bool, count: int = 2) -> list[dict[str, Any]]:
    """Noise with two bright squares; the last image has none."""
    generator = np.random.default_rng(0)
    samples = []
    for number in range(count):
        image = generator.integers(0, 90, (64, 96, 3), dtype=np.uint8)
        boxes = np.array([[8.0, 8.0, 40.0, 40.0], [50.0, 20.0, 90.0, 60.0]])
        if number == count - 1:
            boxes = boxes[:0]
        for x1, y1, x2, y2 in boxes.astype(int):
            image[y1:y2, x1:x2] += 150
        outlines = [[box[[0, 1, 2, 1, 2, 3, 0, 3]]] for box in boxes] if masks else None
        samples.append(
            Sample(image, boxes, np.array([0, 1])[: len(boxes)], outlines, 128, 192, number)  # type: ignore[arg-type]
        )
    return pack(samples)


def batch_for(name: str) -> list[dict[str, Any]]:
    return batch_of(masks=name in (MASK_RCNN, CASCADE))


def training_losses(model: RcnnModel, batch: list[dict[str, Any]]) -> dict[str, float]:
    """The losses of Detectron2's own model."""
    torch.manual_seed(3)
    with EventStorage():
        found = model.train().model(batch)
    return {loss: float(value.detach()) for loss, value in found.items()}


def validation_losses(model: RcnnModel, batch: list[dict[str, Any]]) -> dict[str, float]:
    torch.manual_seed(3)
    with torch.no_grad():
        found = model.eval()(batch)
    return {loss: float(value) for loss, value in found.items()}


@pytest.mark.parametrize("name", NAMES)
def test_losses_of_evaluation_are_those_of_training(name: str) -> None:
    """Without BatchNorm and dropout, on the same batch with the same random numbers."""
    model, batch = build(name), batch_for(name)
    normalizer = getattr(model.model, "loss_normalizer", None)
    validation = validation_losses(model, batch)
    assert getattr(model.model, "loss_normalizer", None) == normalizer
    training = training_losses(model, batch)
    assert validation.keys() == training.keys()
    assert len(training) == {MASK_RCNN: 5, RETINANET: 2, CASCADE: 9}.get(name, 4)
    if name == RETINANET:
        # Training divides by a moving average: 0.9 of the one before, 0.1 of this batch's anchors.
        average = model.model.loss_normalizer
        anchors = (average - 0.9 * normalizer) / 0.1
        training = {loss: value * average / anchors for loss, value in training.items()}
    assert validation == pytest.approx(training, rel=1e-5)
    assert sum(value > 0 for value in training.values()) >= min(len(training), 5)
    # Training went on from the same normalizer, and moved it.
    assert (getattr(model.model, "loss_normalizer", None) == normalizer) is (name != RETINANET)


@pytest.mark.parametrize("name", [FASTER_RCNN, RETINANET, MASK_RCNN, C4, "timm/test_efficientnet"])
def test_losses_of_evaluation_change_nothing(name: str) -> None:
    """BatchNorm's statistics and RetinaNet's normalizer are those of training alone."""
    model, batch = build(name, frozen=False), batch_for(name)
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    assert norms
    training_losses(model, batch)  # to have statistics that are not those of the start
    before = copy.deepcopy(model.checkpoint_state())
    with torch.no_grad():
        outputs = model.eval().predict(batch, PredictOptions())
    validation_losses(model, batch)
    after = model.checkpoint_state()
    assert after.keys() == before.keys()
    assert all(torch.equal(value, before[key]) for key, value in after.items())
    assert ("loss_normalizer" in after) is (name == RETINANET)
    assert not any(module.training for module in model.modules())
    with torch.no_grad():
        again = model.predict(batch, PredictOptions())
    for one, other in zip(outputs, again, strict=True):
        assert len(one) > 0
        assert np.array_equal(one.boxes, other.boxes)
        assert np.array_equal(one.scores, other.scores)
    # The statistics are used: those of a batch give other losses.
    other = validation_losses(model, batch)
    assert training_losses(model, batch) != pytest.approx(other, rel=1e-5)


def test_dropout_is_off_in_the_losses_of_evaluation() -> None:
    model, batch = build(FASTER_RCNN), batch_of(masks=False)
    plain = validation_losses(model, batch)
    head = model.model.roi_heads.box_head
    head.add_module("dropout", nn.Dropout(0.5))
    assert validation_losses(model, batch) == plain
    assert training_losses(model, batch) != pytest.approx(plain, rel=1e-3)


def test_losses_of_evaluation_write_no_training_metrics() -> None:
    model, batch = build(FASTER_RCNN), batch_of(masks=False)
    with EventStorage() as storage:
        validation_losses(model, batch)
        assert get_event_storage() is storage
    assert not storage.histories()


def test_a_failure_leaves_the_model_in_eval_mode() -> None:
    model = build(RETINANET).eval()
    normalizer = model.model.loss_normalizer
    with pytest.raises(KeyError):
        model([{"height": 3, "width": 3}])
    assert not any(module.training for module in model.modules())
    assert model.model.loss_normalizer == normalizer


@pytest.mark.parametrize("name", [FASTER_RCNN, MASK_RCNN, RETINANET])
def test_predictions_are_detectron2s_instances(name: str) -> None:
    model, batch = build(name).eval(), batch_for(name)
    with torch.no_grad():
        predictions = model.predict(batch, PredictOptions(detections_per_image=6))
        outputs = model.model(batch)
    assert [len(prediction) for prediction in predictions] == [6, 6]
    for prediction, output, entry in zip(predictions, outputs, batch, strict=True):
        instances = output["instances"]
        order = torch.argsort(instances.scores, descending=True, stable=True)
        instances = instances[order]
        assert prediction.scores.tolist() == sorted(prediction.scores.tolist(), reverse=True)
        assert np.array_equal(prediction.scores, instances.scores)
        assert np.array_equal(prediction.boxes, instances.pred_boxes.tensor)
        assert np.array_equal(prediction.class_ids, instances.pred_classes)
        assert prediction.class_ids.dtype == np.int64
        assert prediction.classes == CLASSES
        assert (prediction.width, prediction.height) == (entry["width"], entry["height"])
        assert prediction.boxes.max() > 96  # in pixels of the file, twice the image's
        expected = instances_to_coco_json(instances, 5)
        found = prediction.to_coco(5, category_ids=[0, 1])
        for ours, theirs in zip(found, expected, strict=True):
            assert ours == {**theirs, "bbox": pytest.approx(theirs["bbox"])}
        assert (prediction.masks is not None) is (name == MASK_RCNN)


@pytest.mark.parametrize("name", NAMES)
def test_the_limit_of_detections_is_that_of_the_call(name: str) -> None:
    model, batch = build(name).eval(), batch_for(name)
    with torch.no_grad():
        counts = [
            len(model.predict(batch, PredictOptions(detections_per_image=limit))[0])
            for limit in (3, 1, 4)
        ]
    assert counts == [3, 1, 4]


def gradients(model: RcnnModel, batch: list[dict[str, Any]]) -> list[torch.Tensor]:
    with EventStorage():
        found = model.train()(batch)
    model.zero_grad()
    torch.stack(list(found.values())).sum().backward()
    trained = (parameter for parameter in model.parameters() if parameter.requires_grad)
    return [parameter.grad.clone() for parameter in trained if parameter.grad is not None]


def compare_first_step_with_another() -> None:
    """Called in a new process, in which nothing was compiled yet."""
    model, batch = build(RETINANET), batch_of(masks=False)
    normalizer = model.model.loss_normalizer
    first = gradients(model, batch)
    model.model.loss_normalizer = normalizer
    assert len(first) > 50
    for one, other in zip(first, gradients(model, batch), strict=True):
        assert torch.equal(one, other)


def test_the_first_step_of_a_process_is_like_any_other() -> None:
    """Otherwise a run that resumes would not be that which went on."""
    here = Path(__file__)
    path = os.pathsep.join(
        [str(here.parent), str(here.parents[2]), os.environ.get("PYTHONPATH", "")]
    )
    program = f"import detfinetune, {here.stem} as this; this.compare_first_step_with_another()"
    subprocess.run(
        [sys.executable, "-c", program], check=True, env={**os.environ, "PYTHONPATH": path}
    )


def test_notes_tell_of_base_weights() -> None:
    from detfinetune.models.rcnn.weights import RcnnWeights

    config = config_of("timm/test_efficientnet")
    assert build_model(config, CLASSES, None).notes == ()
    (first, second) = build_model(config, CLASSES, RcnnWeights("random, as requested")).notes
    assert first == "base weights: random, as requested"
    assert second.startswith("  0 of ")
    assert second.endswith(" tensors loaded, the rest are random")
