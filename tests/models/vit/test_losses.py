"""The losses of the two heads, against values computed by hand."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from detectron2.structures import Boxes
from detectron2.utils.events import EventStorage
from tiny_transformers import built, resolved


def retinanet(beit_folder: Path, *words: str) -> Any:
    return built(resolved("model.name=dit_document", f"model.weights={beit_folder}", *words)).model


def losses(model: Any, logits: list[list[float]], deltas: list[list[float]]) -> dict[str, float]:
    """Losses of four anchors of 10 px: class 0 with a box 2 px to the right, background twice, and
    one that is ignored."""
    anchors = Boxes(torch.tensor([[0.0, 0, 10, 10]] * 4))
    labels = torch.tensor([0, 2, 2, -1])
    boxes = torch.tensor([[2.0, 0, 12, 10]] * 4)
    # The moving average of the number of positive anchors becomes 0.9 * 100 + 0.1 * 1.
    model.loss_normalizer = 100.0
    with EventStorage():
        found = model.losses(
            [anchors], [torch.tensor([logits])], [labels], [torch.tensor([deltas])], [boxes]
        )
    return {name: float(value) for name, value in found.items()}


NORMALIZER = 0.9 * 100 + 0.1 * 1
LOGITS = [[0.0, math.log(3)], [-math.log(3), 0.0], [0.0, 0.0], [50.0, 50.0]]
# Their probabilities, by anchor and class, and whether the class is there.
PAIRS = [(0.5, 1), (0.75, 0), (0.25, 0), (0.5, 0), (0.5, 0), (0.5, 0)]


def test_focal_loss(beit_folder: Path) -> None:
    wanted = sum(
        0.25 * (1 - p) ** 2 * -math.log(p) if there else 0.75 * p**2 * -math.log(1 - p)
        for p, there in PAIRS
    )
    model = retinanet(beit_folder, "model.loss=focal")
    found = losses(model, LOGITS, [[0.0] * 4] * 4)
    assert found["loss_cls"] == pytest.approx(wanted / NORMALIZER, rel=1e-5)


def test_cross_entropy(beit_folder: Path) -> None:
    # -ln 0.5 four times, -ln 0.25 and -ln 0.75.
    wanted = sum(-math.log(p) if there else -math.log(1 - p) for p, there in PAIRS)
    assert wanted == pytest.approx(4 * math.log(2) + math.log(4) + math.log(4 / 3))
    model = retinanet(beit_folder, "model.loss=cross_entropy")
    found = losses(model, LOGITS, [[0.0] * 4] * 4)
    assert found["loss_cls"] == pytest.approx(wanted / NORMALIZER, rel=1e-5)


def test_smooth_l1_of_boxes(beit_folder: Path) -> None:
    # The box is 0.2 of the anchor's width to the right; beta is 0.1. Predicted 0, 0.04, 0 and 0.5:
    # 0.2 - 0.05, 0.04^2 / 0.2, 0, and 0.5 - 0.05.
    model = retinanet(beit_folder)
    found = losses(model, LOGITS, [[0.0, 0.04, 0.0, 0.5], *[[9.0] * 4] * 3])
    assert found["loss_box_reg"] == pytest.approx((0.15 + 0.008 + 0.45) / NORMALIZER, rel=1e-5)


def test_giou_of_boxes(beit_folder: Path) -> None:
    # Boxes [0, 10] and [2, 12]: 80 of 120 px in common, which is also their hull.
    model = retinanet(beit_folder, "model.box_loss=giou")
    found = losses(model, LOGITS, [[0.0] * 4] * 4)
    assert found["loss_box_reg"] == pytest.approx((1 - 80 / 120) / NORMALIZER, rel=1e-4)
    # 1.2 of the width to the right: [12, 22], beside [2, 12] with nothing in common and no gap.
    found = losses(model, LOGITS, [[1.2, 0.0, 0.0, 0.0], *[[0.0] * 4] * 3])
    assert found["loss_box_reg"] == pytest.approx(1.0 / NORMALIZER, rel=1e-4)


def test_faster_rcnn_takes_the_loss_of_boxes(beit_folder: Path) -> None:
    model = retinanet(beit_folder, "model.head=faster_rcnn", "model.box_loss=giou")
    assert model.roi_heads.box_predictor.box_reg_loss_type == "giou"
