"""Settings become Detectron2 configurations, and raw keys are checked."""

from __future__ import annotations

from typing import Any

import pytest

from detfinetune.errors import ConfigError, ModelError
from detfinetune.models.rcnn.d2_cfg import ModelSettings, anchor_strides, build_cfg
from detfinetune.models.rcnn.zoo import detector_names


def settings(**changes: Any) -> ModelSettings:
    values: dict[str, Any] = {"name": "efficientnet_lite0_fpn", "task": "bbox", "num_classes": 3}
    return ModelSettings(**{**values, **changes})


@pytest.mark.parametrize("name", detector_names())
def test_every_detector_gets_the_settings(name: str) -> None:
    task = "segm" if "mask" in name else "bbox"
    cfg = build_cfg(
        settings(name=name, task=task, num_classes=7, freeze_at=3, image_size=256, max_size=400)
    )
    assert cfg.is_frozen()
    assert cfg.MODEL.ROI_HEADS.NUM_CLASSES == cfg.MODEL.RETINANET.NUM_CLASSES == 7
    assert cfg.MODEL.MASK_ON is (task == "segm")
    assert cfg.MODEL.BACKBONE.FREEZE_AT == 3
    assert (cfg.MODEL.WEIGHTS, cfg.MODEL.DEVICE) == ("", "cpu")
    assert cfg.INPUT.MIN_SIZE_TRAIN == (256,)
    assert (cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST) == (256, 400)
    assert cfg.DATASETS.TRAIN == cfg.DATASETS.TEST == ()
    assert cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS is False


def test_a_mask_entry_can_be_trained_on_boxes() -> None:
    cfg = build_cfg(settings(name="COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x"))
    assert cfg.MODEL.MASK_ON is False


def test_packaged_model_has_the_inputs_it_was_pretrained_with() -> None:
    cfg = build_cfg(settings())
    assert cfg.INPUT.FORMAT == "RGB"
    assert cfg.MODEL.PIXEL_MEAN == [127.0] * 3
    assert cfg.MODEL.PIXEL_STD == [128.0] * 3
    assert cfg.MODEL.FPN.IN_FEATURES == ["stride4", "stride8", "stride16", "stride32"]
    assert cfg.MODEL.RPN.IN_FEATURES == ["p2", "p3", "p4", "p5", "p6"]
    assert cfg.MODEL.ANCHOR_GENERATOR.SIZES == [[32.0], [64.0], [128.0], [256.0], [512.0]]


def test_timm_backbones_are_normalised_as_timm_says() -> None:
    cfg = build_cfg(settings(name="timm/resnet18"))
    assert cfg.INPUT.FORMAT == "RGB"
    assert list(cfg.MODEL.PIXEL_MEAN) == pytest.approx([123.675, 116.28, 103.53])
    assert list(cfg.MODEL.PIXEL_STD) == pytest.approx([58.395, 57.12, 57.375])


def test_crowded_images_get_more_proposals() -> None:
    assert build_cfg(settings()).MODEL.RPN.POST_NMS_TOPK_TEST == 300
    assert build_cfg(settings(detections_per_image=400)).MODEL.RPN.POST_NMS_TOPK_TEST == 1200


@pytest.mark.parametrize(
    ("name", "strides"),
    [
        ("efficientnet_lite0_fpn", (4, 8, 16, 32, 64)),
        ("COCO-Detection/faster_rcnn_R_50_FPN_1x", (4, 8, 16, 32, 64)),
        ("COCO-Detection/retinanet_R_50_FPN_1x", (8, 16, 32, 64, 128)),
        ("COCO-Detection/faster_rcnn_R_50_C4_1x", (16, 16, 16, 16, 16)),
        ("COCO-Detection/faster_rcnn_R_50_DC5_1x", (16, 16, 16, 16, 16)),
    ],
)
def test_anchor_sizes_follow_the_levels(name: str, strides: tuple[int, ...]) -> None:
    assert anchor_strides(name) == strides
    sizes = (10.0, 20.0, 40.0, 80.0, 160.0)
    cfg = build_cfg(settings(name=name, anchor_sizes=sizes))
    written = cfg.MODEL.ANCHOR_GENERATOR.SIZES
    if "retinanet" in name:
        assert [level[0] for level in written] == list(sizes)
        assert written[0][1] == pytest.approx(10 * 2 ** (1 / 3))
    elif len(set(strides)) == 1:
        assert written == [list(sizes)]
    else:
        assert written == [[size] for size in sizes]


def test_wrong_number_of_anchor_sizes() -> None:
    with pytest.raises(ConfigError, match=r"anchor_sizes has 2 sizes, .* needs 5, .*\[4, 8, 16"):
        build_cfg(settings(anchor_sizes=(8.0, 16.0)))


def test_raw_keys_are_set_nested_or_dotted() -> None:
    cfg = build_cfg(
        settings(
            detectron2={
                "MODEL.RPN.NMS_THRESH": 0.6,
                "MODEL": {"ROI_HEADS": {"SCORE_THRESH_TEST": 0, "IOU_THRESHOLDS": [0.6]}},
                "INPUT": {"MASK_FORMAT": "bitmask"},
            }
        )
    )
    assert cfg.MODEL.RPN.NMS_THRESH == 0.6
    assert cfg.MODEL.ROI_HEADS.SCORE_THRESH_TEST == 0.0
    assert isinstance(cfg.MODEL.ROI_HEADS.SCORE_THRESH_TEST, float)
    assert cfg.MODEL.ROI_HEADS.IOU_THRESHOLDS == [0.6]
    assert cfg.INPUT.MASK_FORMAT == "bitmask"


def test_all_wrong_raw_keys_are_listed_at_once() -> None:
    raw = {
        "MODEL.RPN.NMS_TRESH": 0.6,
        "MODEL": {"RPN": {"BATCH_SIZE_PER_IMAGE": "many"}, "FPN": 3},
        "SOLVER.BASE_LR": 0.1,
        "TEST": {"DETECTIONS_PER_IMAGE": 5},
        "MODEL.ROI_HEADS.NUM_CLASSES": 2,
    }
    with pytest.raises(ConfigError) as raised:
        build_cfg(settings(detectron2=raw, anchor_sizes=(1.0,)))
    text = str(raised.value)
    assert text.startswith("7 problems in the configuration:")
    for line in (
        "model.anchor_sizes has 1 sizes",
        "detectron2.MODEL.RPN.NMS_TRESH is not a key of Detectron2. "
        "Did you mean 'MODEL.RPN.NMS_THRESH'?",
        "detectron2.MODEL.RPN.BATCH_SIZE_PER_IMAGE: 'many' is a str, but Detectron2 expects a int",
        "detectron2.MODEL.FPN is a group of keys",
        "detectron2.SOLVER.BASE_LR has no effect here: use solver.base_lr instead",
        "detectron2.TEST.DETECTIONS_PER_IMAGE has no effect here: "
        "use evaluation.detections_per_image",
        "detectron2.MODEL.ROI_HEADS.NUM_CLASSES has no effect here: use data.classes",
    ):
        assert line in text


@pytest.mark.parametrize(
    ("backbone", "said"),
    [
        ("test_coatnet", "does not take images of 160x96"),
        ("vit_tiny_patch16_224", "strides [16, 16, 16]"),
        ("vit_tiny_patch16_224", "use model.name=vit/vit_tiny_patch16_224"),
        ("test_maxvit", "does not take images of 160x96"),
    ],
)
def test_backbones_without_a_pyramid_are_refused(backbone: str, said: str) -> None:
    with pytest.raises(ModelError) as raised:
        build_cfg(settings(name=f"timm/{backbone}"))
    assert said in str(raised.value)
    assert "timm/resnet18" in str(raised.value)
