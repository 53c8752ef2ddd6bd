"""Model names: what is known, what it can do, and what is said about the rest."""

from __future__ import annotations

import ast
from pathlib import Path

import detectron2
import pytest

from detfinetune.errors import ModelError
from detfinetune.models.rcnn.zoo import (
    ZOO_WEIGHTS,
    check_model_name,
    detector_names,
    is_own_name,
    mask_sibling,
    model_kind,
    timm_backbone,
    zoo_weights_url,
)

REGIONS, KEYPOINTS = "only proposes regions", "finds keypoints"
SCENES, DEFORMABLE = "segments whole scenes", "has deformable convolutions"
SYNC = "normalizes over the images of several GPUs"
REFUSED = {
    "COCO-Detection/rpn_R_50_C4_1x": REGIONS,
    "COCO-Detection/rpn_R_50_FPN_1x": REGIONS,
    "COCO-Detection/fast_rcnn_R_50_FPN_1x": "needs regions proposed beforehand",
    "COCO-Keypoints/keypoint_rcnn_R_50_FPN_1x": KEYPOINTS,
    "COCO-Keypoints/keypoint_rcnn_R_50_FPN_3x": KEYPOINTS,
    "COCO-Keypoints/keypoint_rcnn_R_101_FPN_3x": KEYPOINTS,
    "COCO-Keypoints/keypoint_rcnn_X_101_32x8d_FPN_3x": KEYPOINTS,
    "COCO-PanopticSegmentation/panoptic_fpn_R_50_1x": SCENES,
    "COCO-PanopticSegmentation/panoptic_fpn_R_50_3x": SCENES,
    "COCO-PanopticSegmentation/panoptic_fpn_R_101_3x": SCENES,
    "Misc/mask_rcnn_R_50_FPN_1x_dconv_c3-c5": DEFORMABLE,
    "Misc/mask_rcnn_R_50_FPN_3x_dconv_c3-c5": DEFORMABLE,
    "Misc/mask_rcnn_R_50_FPN_3x_syncbn": SYNC,
    "Misc/scratch_mask_rcnn_R_50_FPN_9x_syncbn": SYNC,
    "Misc/panoptic_fpn_R_101_dconv_cascade_gn_3x": SCENES,
    "Misc/cascade_mask_rcnn_X_152_32x8d_FPN_IN5k_gn_dconv": DEFORMABLE,
    "Detectron1-Comparisons/keypoint_rcnn_R_50_FPN_1x": KEYPOINTS,
}


def detectron2_table() -> dict[str, str]:
    """The table in Detectron2's source; the module need not be importable for it."""
    source = Path(detectron2.__file__).parent / "model_zoo" / "model_zoo.py"
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
            table: dict[str, str] = ast.literal_eval(node.value)
            return table
    raise LookupError(f"no table in {source}")


def test_table_is_detectron2s() -> None:
    # Python files (lazy configs) describe the new baselines.
    theirs = {
        name: file
        for name, file in detectron2_table().items()
        if not name.startswith("new_baselines/")
    }
    assert theirs == ZOO_WEIGHTS
    assert len(ZOO_WEIGHTS) == 52


def test_address_is_the_zoos() -> None:
    assert zoo_weights_url("COCO-Detection/faster_rcnn_R_50_FPN_3x") == (
        "https://dl.fbaipublicfiles.com/detectron2/COCO-Detection/faster_rcnn_R_50_FPN_3x/"
        "137849458/model_final_280758.pkl"
    )


def test_kinds_and_backbones() -> None:
    assert model_kind("efficientnet_lite0_fpn") == "timm"
    assert model_kind("timm/resnet18") == "timm"
    assert model_kind("COCO-Detection/retinanet_R_50_FPN_1x") == "zoo"
    assert timm_backbone("efficientnet_lite0_fpn") == "efficientnet_lite0"
    assert timm_backbone("timm/resnet18.a1_in1k") == "resnet18.a1_in1k"


def test_every_detector_is_accepted_for_boxes() -> None:
    for name in detector_names():
        check_model_name(name, "bbox")
        if "mask_rcnn" in name:
            check_model_name(name, "segm")
    assert len(detector_names()) == 52 - len(REFUSED) + 1
    assert REFUSED.keys().isdisjoint(detector_names())


@pytest.mark.parametrize("task", ["bbox", "segm"])
@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_fine_tuned_names_the_reason(name: str, task: str) -> None:
    with pytest.raises(ModelError) as raised:
        check_model_name(name, task)  # type: ignore[arg-type]
    text = str(raised.value)
    assert text.startswith(f"model.name={name}: this zoo entry {REFUSED[name]}")
    # What it advises can be used.
    advised = text.rpartition("Use ")[2].removesuffix(" instead.")
    check_model_name(advised, task)  # type: ignore[arg-type]


def test_names_are_those_of_the_family() -> None:
    for name in ("auto", "timm/anything", *detector_names(), *REFUSED):
        assert is_own_name(name)
    for name in ("faster_rcnn_R_50_FPN_3x", "florence2/base", "", "timm"):
        assert not is_own_name(name)


def test_box_models_elsewhere_have_a_mask_sibling_too() -> None:
    for name in detector_names():
        if "mask_rcnn" not in name:
            check_model_name(mask_sibling(name), "segm")


def test_every_faster_rcnn_has_its_mask_sibling() -> None:
    for name in ZOO_WEIGHTS:
        if name.startswith("COCO-Detection/faster_rcnn"):
            assert mask_sibling(name) == name.replace("faster", "mask").replace(
                "COCO-Detection", "COCO-InstanceSegmentation"
            )


@pytest.mark.parametrize(
    ("name", "task", "said"),
    [
        ("COCO-Detection/faster_rcnn_R50_FPN_3x", "bbox", "faster_rcnn_R_50_FPN_3x'?"),
        ("faster_rcnn_R_101_FPN_3x", "bbox", "'COCO-Detection/faster_rcnn_R_101_FPN_3x'?"),
        ("COCO-Detection/faster_rcnn_R_50_C4_1x.yaml", "bbox", "faster_rcnn_R_50_C4_1x'?"),
        ("efficientnet_lite_fpn", "bbox", "'efficientnet_lite0_fpn'?"),
        # Of other families.
        ("florence3", "bbox", "'florence2'?"),
        ("dit_difusion", "bbox", "'dit_diffusion'?"),
        ("yolo", "bbox", "timm/<backbone>:\n  efficientnet_lite0_fpn\n  COCO-Detection/"),
        ("COCO-Detection/fcos_R_50_FPN_1x", "bbox", "lazy configs"),
        ("new_baselines/mask_rcnn_regnetx_4gf_dds_FPN_100ep_LSJ", "segm", "lazy configs"),
        ("new_baselines/mask_rcnn_R_50_FPN_100ep_LSJ", "segm", "is not a known model"),
        ("COCO-Detection/rpn_R_50_FPN_1x", "bbox", "only proposes regions"),
        ("COCO-Detection/fast_rcnn_R_50_FPN_1x", "bbox", "proposed beforehand"),
        (
            "COCO-Detection/faster_rcnn_X_101_32x8d_FPN_3x",
            "segm",
            "Use model.name=COCO-InstanceSegmentation/mask_rcnn_X_101_32x8d_FPN_3x, or task=bbox",
        ),
        ("COCO-Detection/retinanet_R_50_FPN_3x", "segm", "mask_rcnn_R_50_FPN_3x, or task=bbox"),
        ("timm/resnet81", "bbox", "Did you mean 'timm/resnet"),
    ],
)
def test_a_name_that_cannot_be_used_is_explained(name: str, task: str, said: str) -> None:
    with pytest.raises(ModelError) as raised:
        check_model_name(name, task)  # type: ignore[arg-type]
    assert f"model.name={name}" in str(raised.value)
    assert said in str(raised.value)
