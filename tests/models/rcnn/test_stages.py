"""Layer-wise decay: each stage of any backbone learns more slowly than the one after it."""

from __future__ import annotations

import re

import pytest
import torch
from detectron2.solver.build import get_default_optimizer_params
from run_configs import run_config

from detfinetune.engine.optimizer import build_optimizer
from detfinetune.models.rcnn.build import build_model
from detfinetune.models.rcnn.model import RcnnModel

FASTER_RCNN = "COCO-Detection/faster_rcnn_R_50_FPN_1x"
C4 = "COCO-Detection/faster_rcnn_R_50_C4_1x"
RETINANET = "COCO-Detection/retinanet_R_50_FPN_1x"
GROUP_NORM = "Misc/mask_rcnn_R_50_FPN_3x_gn"
TIMM = ("timm/test_efficientnet", "timm/test_resnet", "timm/test_convnext")
NAMES = (FASTER_RCNN, C4, RETINANET, GROUP_NORM, *TIMM)

RESNET = {r"\.stem\.": 5, r"\.res2\.": 4, r"\.res3\.": 3, r"\.res4\.": 2, r"bottom_up\.res5\.": 1}
# Depths by the beginning of the name in timm, such that the first that fits counts.
DEPTHS = {
    FASTER_RCNN: RESNET,
    RETINANET: RESNET,
    GROUP_NORM: RESNET,
    # C4's last stage is a part of its head.
    C4: RESNET,
    # Strides 2, 4, 8, 16 and 32.
    "timm/test_efficientnet": {
        r"body\.(conv_stem|bn1)\.": 5, r"body\.blocks\.0\.": 5, r"body\.blocks\.1\.": 4,
        r"body\.blocks\.2\.": 3, r"body\.blocks\.3\.": 2, r"body\.blocks\.[45]\.": 1,
    },
    "timm/test_resnet": {
        r"body\.(conv1|bn1)\.": 5, r"body\.layer1\.": 4, r"body\.layer2\.": 3,
        r"body\.layer3\.": 2, r"body\.layer4\.": 1,
    },
    # Its stem goes straight to stride 4, and counts up to its norm.
    "timm/test_convnext": {
        r"body\.stem_0\.": 5, r"body\.(stem_1|stages_0)\.": 4, r"body\.stages_1\.": 3,
        r"body\.stages_2\.": 2, r"body\.stages_3\.": 1,
    },
}  # fmt: skip


def model_of(name: str, freeze_at: int = 0, frozen_norms: bool = False) -> RcnnModel:
    weights = "auto" if frozen_norms else "random"
    config = run_config(model={"name": name, "weights": weights, "freeze_at": freeze_at})
    return build_model(config, ("disc", "square"), None)


def expected_depth(name: str, parameter: str) -> int:
    found = (depth for part, depth in DEPTHS[name].items() if re.search(part, parameter))
    return next(found, 0)


def factors(model: RcnnModel, layer_decay: float) -> dict[str, float]:
    """The factor of each trained parameter by name; each is in exactly one group."""
    names = {id(value): name for name, value in model.named_parameters()}
    found: dict[str, float] = {}
    for group in model.param_groups(layer_decay):
        for parameter in group.params:
            assert names[id(parameter)] not in found
            found[names[id(parameter)]] = group.lr_factor
    trained = [name for name, value in model.named_parameters() if value.requires_grad]
    assert sorted(found) == sorted(trained)
    return found


@pytest.mark.parametrize("name", NAMES)
def test_each_stage_has_half_the_rate_of_the_next(name: str) -> None:
    model = model_of(name)
    found = factors(model, 0.5)
    assert found == {parameter: 0.5 ** expected_depth(name, parameter) for parameter in found}
    wanted = {1.0, 0.5, 0.25, 0.125, 0.0625, 0.03125} - ({0.5} if name == C4 else set())
    assert set(found.values()) == wanted
    # The heads, and the pyramid above the backbone, learn at the full rate.
    heads = [value for parameter, value in found.items()
             if re.search(r"fpn_|head|proposal_generator", parameter)]  # fmt: skip
    assert len(heads) > 10
    assert set(heads) == {1.0}
    assert set(factors(model, 1.0).values()) == {1.0}


@pytest.mark.parametrize("name", [FASTER_RCNN, *TIMM])
@pytest.mark.parametrize("freeze_at", [1, 2, 3, 5])
def test_frozen_stages_are_in_no_group(name: str, freeze_at: int) -> None:
    model = model_of(name, freeze_at, frozen_norms=True)
    found = factors(model, 0.5)
    assert found == {parameter: 0.5 ** expected_depth(name, parameter) for parameter in found}
    assert set(found.values()) == {0.5**depth for depth in range(6 - freeze_at)}


@pytest.mark.parametrize("layer_decay", [1.0, 0.5])
@pytest.mark.parametrize("name", NAMES)
def test_weight_decay_spares_norms_and_biases(name: str, layer_decay: float) -> None:
    model = model_of(name)
    theirs = get_default_optimizer_params(
        model, base_lr=1.0, weight_decay=0.05, weight_decay_norm=0.0, weight_decay_bias=0.0
    )
    decays = {id(value): group["weight_decay"] > 0 for group in theirs for value in group["params"]}
    names = {id(value): parameter for parameter, value in model.named_parameters()}
    groups = model.param_groups(layer_decay)
    assert {group.decays for group in groups} == {True, False}
    for group in groups:
        for value in group.params:
            parameter = names[id(value)]
            if parameter.endswith(".gamma"):  # ConvNeXt's scale of each channel, as of a norm
                assert not group.decays
            else:
                assert decays[id(value)] is group.decays, parameter


def test_the_optimizer_has_the_groups_factors_and_decay() -> None:
    model = model_of("timm/test_resnet")
    solver = run_config(
        solver={"layer_decay": 0.5, "weight_decay": 0.07, "base_lr": 0.2, "optimizer": "adamw"}
    ).solver
    optimizer = build_optimizer(model, solver)
    assert isinstance(optimizer, torch.optim.AdamW)
    groups = model.param_groups(0.5)
    assert [group["lr_factor"] for group in optimizer.param_groups] == [
        group.lr_factor for group in groups
    ]
    assert {group["weight_decay"] for group in optimizer.param_groups} == {0.07, 0.0}
    for group, one in zip(groups, optimizer.param_groups, strict=True):
        assert one["weight_decay"] == (0.07 if group.decays else 0.0)
        assert all(a is b for a, b in zip(one["params"], group.params, strict=True))
    sgd = build_optimizer(model, solver.model_copy(update={"optimizer": "sgd"}))
    assert isinstance(sgd, torch.optim.SGD)
    assert {group["momentum"] for group in sgd.param_groups} == {0.9}
