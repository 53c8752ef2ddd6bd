"""Detectors are built, filled with base weights, and train."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from detectron2.structures import Boxes, Instances, PolygonMasks
from detectron2.utils.events import EventStorage
from torch import Tensor, nn

from detfinetune.errors import WeightsError
from detfinetune.models.detection_model import PredictOptions
from detfinetune.models.rcnn.build import build_detector, load_base_weights
from detfinetune.models.rcnn.d2_cfg import ModelSettings, build_cfg
from detfinetune.models.rcnn.model import RcnnModel
from detfinetune.models.rcnn.roi_align import SparseROIAlign
from detfinetune.models.rcnn.weights import RcnnWeights, find_base_weights, packaged_weights_file
from detfinetune.models.rcnn.zoo import detector_names

TINY = "timm/test_efficientnet"


def detector(name: str = TINY, task: str = "bbox", classes: int = 2, **options: Any) -> nn.Module:
    build = {
        key: options.pop(key) for key in ("channels_last", "sparse_roi_align") if key in options
    }
    settings = ModelSettings(name=name, task=task, num_classes=classes, **options)  # type: ignore[arg-type]
    torch.manual_seed(0)
    return build_detector(build_cfg(settings), **build)


def training_image(task: str = "bbox") -> dict[str, Any]:
    """A grey image with a bright square of class 1."""
    image = torch.full((3, 96, 128), 90, dtype=torch.uint8)
    image[:, 20:60, 30:80] = 220
    instances = Instances((96, 128))
    instances.gt_boxes = Boxes(torch.tensor([[30.0, 20.0, 80.0, 60.0]]))
    instances.gt_classes = torch.tensor([1])
    if task == "segm":
        polygon = torch.tensor([30.0, 20, 80, 20, 80, 60, 30, 60]).double().numpy()
        instances.gt_masks = PolygonMasks([[polygon]])
    return {"image": image, "instances": instances, "height": 96, "width": 128}


def losses(model: nn.Module, batch: list[dict[str, Any]]) -> dict[str, Tensor]:
    torch.manual_seed(1)  # the samplers of RPN and ROI heads draw at random
    with EventStorage(0):
        found: dict[str, Tensor] = model.train()(batch)
    return found


@pytest.mark.parametrize("task", ["bbox", "segm"])
def test_losses_fall_when_the_tiny_model_trains(task: str) -> None:
    model = detector(task=task, channels_last=True, freeze_norm=False, freeze_at=0)
    batch = [training_image(task), training_image(task)]
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=2e-3)
    totals = []
    for _ in range(12):
        found = losses(model, batch)
        total = torch.stack(list(found.values())).sum()
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(total.item())
    assert ("loss_mask" in found) is (task == "segm")
    assert sum(totals[-3:]) < 0.7 * sum(totals[:3])


def test_sparse_roi_align_changes_nothing_but_time() -> None:
    batch = [training_image()]
    sparse, plain = detector(sparse_roi_align=True), detector(sparse_roi_align=False)
    assert any(isinstance(module, SparseROIAlign) for module in sparse.modules())
    assert not any(isinstance(module, SparseROIAlign) for module in plain.modules())
    ours, theirs = losses(sparse, batch), losses(plain, batch)
    for name, loss in theirs.items():
        assert ours[name].item() == pytest.approx(loss.item(), abs=1e-5)


def packaged_classifier() -> nn.Module:
    """timm's classifier with the packaged tensors, loaded in order by this test itself."""
    classifier = timm.create_model("efficientnet_lite0")
    tensors = torch.load(packaged_weights_file(), weights_only=True)
    assert len(tensors) == 296
    names = list(classifier.state_dict())
    classifier.load_state_dict(dict(zip(names, tensors.values(), strict=True)))
    return classifier.eval()


@pytest.mark.parametrize("channels_last", [False, True])
def test_packaged_weights_give_the_classifiers_feature_maps(channels_last: bool) -> None:
    model = detector("efficientnet_lite0_fpn", channels_last=channels_last).eval()
    report = load_base_weights(model, find_base_weights("efficientnet_lite0_fpn", "auto", "bbox"))
    assert report.other_shape == ()
    assert report.loaded > 200
    assert not [name for name in report.missing if "bottom_up" in name]
    images = torch.randn(2, 3, 96, 160, generator=torch.Generator().manual_seed(3))
    wanted = packaged_classifier().forward_intermediates(
        images, indices=[1, 2, 3, 4], intermediates_only=True
    )
    found = model.backbone.bottom_up(images)
    assert [tuple(value.shape) for value in found.values()] == [
        (2, 24, 24, 40),
        (2, 40, 12, 20),
        (2, 112, 6, 10),
        (2, 320, 3, 5),
    ]
    for ours, theirs in zip(found.values(), wanted, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-4, atol=1e-3 * theirs.abs().max().item())


def test_training_leaves_frozen_stages_and_statistics_alone() -> None:
    model = detector(freeze_at=3)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    torch.stack(list(losses(model, [training_image()]).values())).sum().backward()
    torch.optim.SGD(trained, lr=0.1).step()
    changed = {
        name for name, value in model.state_dict().items() if not torch.equal(value, before[name])
    }
    body = {name for name in changed if "bottom_up" in name}
    # test_efficientnet reaches stride 4 with blocks 0 and 1, stride 8 with block 2.
    assert body
    assert not [name for name in body if "stem" in name or "blocks.2." in name]
    assert not [name for name in body if "bn" in name or "running" in name]
    assert [name for name in body if "blocks.3." in name]


@pytest.mark.parametrize("freeze_at", [0, 1, 2, 5])
@pytest.mark.parametrize("backbone", ["test_resnet", "test_convnext", "test_efficientnet"])
def test_freezing_counts_stages_of_any_backbone(backbone: str, freeze_at: int) -> None:
    body = detector(f"timm/{backbone}", freeze_at=freeze_at).backbone.bottom_up
    frozen = [not parameter.requires_grad for parameter in body.parameters()]
    assert any(frozen) is (freeze_at > 0)
    assert all(frozen) is (freeze_at == 5)


def test_state_goes_through_a_file(tmp_path: Path) -> None:
    first = detector(channels_last=True)
    path = tmp_path / "model.pth"
    torch.save({"model": first.state_dict(), "iteration": 3}, path)
    second = detector(classes=2)
    for parameter in second.parameters():
        parameter.data.zero_()
    report = load_base_weights(second, find_base_weights(TINY, str(path), "bbox"))
    assert report.loaded == report.total
    assert report.missing == report.other_shape == ()
    batch = [training_image()]
    for name, loss in losses(first, batch).items():
        assert losses(second, batch)[name].item() == pytest.approx(loss.item(), rel=1e-4)


def test_heads_for_other_classes_are_left_and_reported(tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    torch.save({"model": detector(classes=5).state_dict()}, path)
    report = load_base_weights(detector(classes=2), find_base_weights(TINY, str(path), "bbox"))
    predictor = "roi_heads.box_predictor"
    assert set(report.other_shape) == {
        f"{predictor}.cls_score.weight",
        f"{predictor}.cls_score.bias",
        f"{predictor}.bbox_pred.weight",
        f"{predictor}.bbox_pred.bias",
    }
    assert report.loaded == report.total - 4


def test_a_backbone_state_dict_of_timm_is_loaded(tmp_path: Path) -> None:
    torch.manual_seed(5)
    classifier = timm.create_model("test_resnet").eval()
    path = tmp_path / "resnet.pth"
    torch.save(classifier.state_dict(), path)
    found = find_base_weights("timm/test_resnet", str(path), "bbox")
    assert found.kind == "backbone"
    model = detector("timm/test_resnet").eval()
    load_base_weights(model, found)
    images = torch.randn(1, 3, 64, 96)
    wanted = classifier.forward_intermediates(images, indices=[4], intermediates_only=True)[0]
    assert torch.allclose(model.backbone.bottom_up(images)["stride32"], wanted, atol=1e-4)


@pytest.mark.parametrize("kind", ["detector", "backbone"])
def test_weights_of_another_model_are_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "other.pth"
    other = detector("timm/test_resnet") if kind == "detector" else timm.create_model("test_resnet")
    torch.save(other.state_dict(), path)
    with pytest.raises(WeightsError, match="belongs to another model"):
        load_base_weights(detector(), find_base_weights(TINY, str(path), "bbox"))


def test_a_zoo_file_fills_a_zoo_model(tmp_path: Path) -> None:
    name = "COCO-Detection/faster_rcnn_R_50_FPN_3x"
    source = detector(name, classes=80)
    arrays = {key: value.numpy() for key, value in source.state_dict().items()}
    path = tmp_path / "model_final.pkl"
    path.write_bytes(pickle.dumps({"model": arrays, "__author__": "Detectron2 Model Zoo"}))
    target = detector(name, classes=3)
    report = load_base_weights(target, find_base_weights(name, str(path), "bbox"))
    assert len(report.other_shape) == 4
    assert report.missing == ()
    assert torch.equal(
        target.state_dict()["backbone.bottom_up.res5.2.conv3.weight"],
        source.state_dict()["backbone.bottom_up.res5.2.conv3.weight"],
    )


def test_a_caffe2_backbone_fills_a_zoo_model(tmp_path: Path) -> None:
    name = "COCO-Detection/faster_rcnn_R_50_FPN_3x"
    model = detector(name)
    rng = torch.Generator().manual_seed(0)
    blobs = {}
    for key, value in model.state_dict().items():
        if "bottom_up" not in key or "running" in key:
            continue
        _, _, rest = key.partition("bottom_up.")
        blobs[_caffe2_name(rest)] = torch.randn(value.shape, generator=rng).numpy()
    path = tmp_path / "R-50.pkl"
    path.write_bytes(pickle.dumps(blobs))
    report = load_base_weights(model, RcnnWeights("R-50", path, kind="detectron2"))
    assert report.loaded == len(blobs)
    stem = model.state_dict()["backbone.bottom_up.stem.conv1.weight"]
    assert torch.equal(stem, torch.from_numpy(blobs["conv1_w"]))


def _caffe2_name(name: str) -> str:
    """Detectron2's name of a ResNet tensor as Caffe2 wrote it, e.g. res2_0_branch2a_w."""
    branches = {
        "conv1": "branch2a",
        "conv2": "branch2b",
        "conv3": "branch2c",
        "shortcut": "branch1",
    }
    parts = name.split(".")
    ending = {"weight": "w", "bias": "b"}[parts[-1]]
    if parts[0] == "stem":
        return f"res_conv1_bn_{'s' if ending == 'w' else 'b'}" if "norm" in parts else "conv1_w"
    base = f"{parts[0]}_{parts[1]}_{branches[parts[2]]}"
    if "norm" in parts:
        return f"{base}_bn_{'s' if ending == 'w' else 'b'}"
    return f"{base}_{ending}"


# One of each kind; all the others take several minutes.
QUICK_ZOO = {
    ("COCO-Detection/faster_rcnn_R_50_DC5_1x", "bbox"),
    ("COCO-Detection/faster_rcnn_R_50_FPN_3x", "bbox"),
    ("COCO-Detection/retinanet_R_50_FPN_3x", "bbox"),
    ("COCO-InstanceSegmentation/mask_rcnn_R_50_C4_1x", "segm"),
    ("COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x", "segm"),
    ("Misc/cascade_mask_rcnn_R_50_FPN_1x", "segm"),
    ("Misc/cascade_mask_rcnn_R_50_FPN_1x", "bbox"),
    ("Misc/scratch_mask_rcnn_R_50_FPN_3x_gn", "segm"),
}
SMALL_HEADS = {
    "MODEL.ROI_BOX_HEAD.FC_DIM": 64,
    "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE": 16,
    "MODEL.RPN.POST_NMS_TOPK_TEST": 20,
    "MODEL.ROI_HEADS.SCORE_THRESH_TEST": -1.0,
    "MODEL.RETINANET.SCORE_THRESH_TEST": -1.0,
}
ZOO_TASKS = [
    (name, task)
    for name in detector_names()
    if "/" in name
    for task in (("segm", "bbox") if "mask_rcnn" in name else ("bbox",))
]


@pytest.mark.parametrize(
    ("name", "task"),
    [
        pytest.param(*case, marks=() if case in QUICK_ZOO else pytest.mark.slow)
        for case in ZOO_TASKS
    ],
)
def test_every_zoo_detector_is_built_trains_a_step_and_predicts(name: str, task: str) -> None:
    model = RcnnModel(detector(name, task=task, classes=3, detectron2=SMALL_HEADS), ("a", "b", "c"))
    for key, value in model.state_dict().items():
        # With random weights, frozen norms let each block add up the ones before.
        if key.endswith("conv3.norm.weight"):
            value.fill_(0.1)
    batch = [training_image(task)]
    with torch.no_grad():
        (prediction,) = model.eval().predict(batch, PredictOptions(detections_per_image=5))
    assert len(prediction) == 5
    assert (prediction.width, prediction.height) == (128, 96)
    assert (prediction.masks is not None) is (task == "segm")
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    before = [parameter.detach().clone() for parameter in trained]
    found = losses(model, batch)
    assert ("loss_mask" in found) is (task == "segm")
    if "cascade" in name:
        assert {f"loss_box_reg_stage{stage}" for stage in range(3)} <= found.keys()
    assert all(torch.isfinite(loss) for loss in found.values())
    torch.stack(list(found.values())).sum().backward()
    torch.optim.SGD(trained, lr=1e-4).step()
    changed = [not torch.equal(*pair) for pair in zip(trained, before, strict=True)]
    assert sum(changed) > 0.9 * len(changed)
