"""Weights of the real servers; `make acceptance` runs these."""

from __future__ import annotations

from pathlib import Path

import pytest

from detfinetune.models.download import reachable
from detfinetune.models.rcnn.build import build_detector, load_base_weights
from detfinetune.models.rcnn.d2_cfg import ModelSettings, build_cfg
from detfinetune.models.rcnn.weights import find_base_weights, zoo_reachable, zoo_weights_cached

pytestmark = pytest.mark.network


@pytest.mark.parametrize(
    "name",
    [
        "COCO-Detection/faster_rcnn_R_50_FPN_3x",
        "COCO-Detection/retinanet_R_50_FPN_3x",
        "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x",
    ],
)
def test_zoo_weights_fill_their_model(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not zoo_reachable():
        pytest.skip("the model zoo cannot be reached")
    monkeypatch.setenv("FVCORE_CACHE", str(tmp_path))
    task = "segm" if "mask" in name else "bbox"
    found = find_base_weights(name, "auto", task)
    assert found.path is not None
    assert found.path == zoo_weights_cached(name)
    # COCO's 80 classes, so that the heads fit too.
    model = build_detector(build_cfg(ModelSettings(name=name, task=task, num_classes=80)))
    report = load_base_weights(model, found)
    assert (report.loaded, report.missing, report.other_shape) == (report.total, (), ())
    found.path.unlink()  # pytest keeps the folder


def test_timm_weights_fill_their_backbone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not reachable("https://huggingface.co/timm/resnet18.a1_in1k", timeout_s=5):
        pytest.skip("the Hugging Face hub cannot be reached")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    name = "timm/resnet18"
    model = build_detector(build_cfg(ModelSettings(name=name, task="bbox", num_classes=2)))
    report = load_base_weights(model, find_base_weights(name, "auto", "bbox"))
    assert not [tensor for tensor in report.missing if "bottom_up" in tensor]
    assert list(tmp_path.glob("models--timm--resnet18*"))
