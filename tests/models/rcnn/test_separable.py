"""Depthwise separable layers, and depthwise convolutions under autocast."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from detfinetune.errors import ConfigError
from detfinetune.families import family_of
from detfinetune.models.rcnn.build import build_detector, load_base_weights
from detfinetune.models.rcnn.d2_cfg import ModelSettings, build_cfg
from detfinetune.models.rcnn.separable import use_fp32_depthwise
from detfinetune.models.rcnn.weights import RcnnWeights
from tests.run_configs import run_config


def detector(separable: bool) -> nn.Module:
    torch.manual_seed(0)
    settings = ModelSettings(name="efficientnet_lite0_fpn", task="bbox", num_classes=2)
    return build_detector(build_cfg(settings), separable_convs=separable).eval()


def test_maps_and_heads_keep_their_shapes() -> None:
    images = torch.rand(1, 3, 64, 96)
    dense, separable = detector(False), detector(True)
    with torch.no_grad():
        maps, other = dense.backbone(images), separable.backbone(images)
    assert {name: value.shape for name, value in maps.items()} == {
        name: value.shape for name, value in other.items()
    }
    # As large as those of the layers that they replace, or training would start from silence.
    for name, value in other.items():
        assert 0.2 < float(value.std() / maps[name].std()) < 5
    assert sum(p.numel() for p in separable.parameters()) < sum(
        p.numel() for p in dense.parameters()
    )
    dense_convs = [
        name
        for part in ("backbone", "proposal_generator")
        for name, layer in getattr(separable, part).named_modules()
        if isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3) and layer.groups == 1
    ]
    assert dense_convs == ["bottom_up.body.conv_stem"]


def test_a_run_keeps_the_layers_of_its_base_weights(tmp_path: Path) -> None:
    for separable in (False, True):
        file = tmp_path / f"{separable}.pth"
        model = detector(separable)
        torch.save(model.state_dict(), file)
        config = run_config(model={"weights": str(file), "name": "efficientnet_lite0_fpn"})
        assert config.model.separable_convs is separable  # type: ignore[attr-defined]
        report = load_base_weights(model, RcnnWeights("", file, kind="checkpoint"))
        assert report.loaded == report.total
    assert run_config().model.separable_convs is True  # type: ignore[attr-defined]


def test_zoo_models_have_none() -> None:
    name = "COCO-Detection/faster_rcnn_R_50_FPN_3x"
    config = run_config(model={"name": name, "separable_convs": True})
    with pytest.raises(ConfigError, match=r"model\.separable_convs=true: COCO-Detection"):
        family_of(name).check(config, 2)


def test_depthwise_convolutions_stay_in_fp32() -> None:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(4, 8, 1), nn.Conv2d(8, 8, 3, padding=1, groups=8))
    images = torch.rand(1, 4, 16, 16)
    use_fp32_depthwise(layers)
    with torch.autocast("cpu", torch.bfloat16):
        between = layers[0](images)
        output = layers[1](between)
    assert (between.dtype, output.dtype) == (torch.bfloat16, torch.float32)
    layer = layers[1]
    assert isinstance(layer, nn.Conv2d)
    expected = nn.functional.conv2d(between.float(), layer.weight, layer.bias, padding=1, groups=8)
    assert torch.equal(output, expected)
