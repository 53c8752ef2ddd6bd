"""Heads of a checkpoint are taken over for the same classes by name and order, never by number."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from detfinetune.models.rcnn.build import build_detector, load_base_weights
from detfinetune.models.rcnn.d2_cfg import ModelSettings, build_cfg
from detfinetune.models.rcnn.weights import find_base_weights

TINY = "timm/test_efficientnet"
BOX, MASK = "roi_heads.box_predictor", "roi_heads.mask_head.predictor"
BOX_HEADS = {f"{BOX}.{layer}.{kind}" for layer in ("cls_score", "bbox_pred")
             for kind in ("weight", "bias")}  # fmt: skip
MASK_HEADS = {f"{MASK}.weight", f"{MASK}.bias"}


def detector(name: str = TINY, task: str = "bbox", fill: float | None = None) -> nn.Module:
    settings = ModelSettings(name=name, task=task, num_classes=2)  # type: ignore[arg-type]
    model = build_detector(build_cfg(settings))
    if fill is not None:
        for value in model.state_dict().values():
            value.fill_(fill)
    return model


def checkpoint(folder: Path, model: nn.Module, classes: list[str] | None) -> str:
    path = folder / "best.pth"
    said = {"classes": classes} if classes else {}
    torch.save({"model": model.state_dict(), **said}, path)
    return str(path)


@pytest.mark.parametrize("task", ["bbox", "segm"])
@pytest.mark.parametrize("stored", [["cat", "dog"], ["square", "disc"]], ids=["other", "swapped"])
def test_heads_for_other_names_start_anew(tmp_path: Path, task: str, stored: list[str]) -> None:
    path = checkpoint(tmp_path, detector(task=task, fill=7.0), stored)
    model = detector(task=task)
    report = load_base_weights(model, find_base_weights(TINY, path, task), ["disc", "square"])  # type: ignore[arg-type]
    heads = BOX_HEADS | (MASK_HEADS if task == "segm" else set())
    assert set(report.other_classes) == heads
    assert report.loaded == report.total - len(heads)
    assert report.missing == report.other_shape == ()
    taken = {name for name, value in model.state_dict().items() if bool((value == 7).all())}
    assert taken == model.state_dict().keys() - heads


@pytest.mark.parametrize("stored", [["disc", "square"], None], ids=["same", "not said"])
def test_heads_for_the_same_names_are_taken(tmp_path: Path, stored: list[str] | None) -> None:
    path = checkpoint(tmp_path, detector(fill=7.0), stored)
    model = detector()
    report = load_base_weights(model, find_base_weights(TINY, path, "bbox"), ["disc", "square"])
    assert report.other_classes == ()
    assert report.loaded == report.total
    assert all(bool((value == 7).all()) for value in model.state_dict().values())


def test_a_box_regression_that_all_classes_share_is_kept(tmp_path: Path) -> None:
    name = "COCO-Detection/retinanet_R_50_FPN_1x"
    path = checkpoint(tmp_path, detector(name, fill=7.0), ["cat", "dog"])
    found = find_base_weights(name, path, "bbox")
    report = load_base_weights(detector(name), found, ["disc", "square"])
    assert set(report.other_classes) == {"head.cls_score.weight", "head.cls_score.bias"}
