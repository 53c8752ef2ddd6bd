"""Builds Detectron2's `CfgNode` from resolved settings. No other file writes one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import detectron2
from detectron2.config import CfgNode, get_cfg

from detfinetune.config.anchors import (
    DEFAULT_ASPECT_RATIOS,
    AnchorSizes,
    anchor_size_problems,
    anchors_per_level,
)
from detfinetune.config.resolved import RunConfig
from detfinetune.config.schema import Task
from detfinetune.errors import ConfigError, ModelError
from detfinetune.models.rcnn.passthrough import apply_passthrough
from detfinetune.models.rcnn.settings import RcnnSettings
from detfinetune.models.rcnn.zoo import PACKAGED_MODEL, check_model_name, model_kind, timm_backbone


@dataclass(frozen=True)
class ModelSettings:
    """All settings of a detector, resolved."""

    name: str
    """A name that `models.zoo.check_model_name` accepts."""

    task: Task
    """bbox builds Faster R-CNN or RetinaNet, segm Mask R-CNN."""

    num_classes: int

    freeze_at: int = 2
    """Number of frozen backbone stages: 1 is the stem, n all layers up to stride 2**n."""

    freeze_norm: bool = True
    """Freeze BatchNorm. False trains it, which only training from scratch needs."""

    anchor_sizes: AnchorSizes | None = None
    """Anchor side in pixels of the resized image for each of `anchor_strides(name)`, or several.
    None: eight times the stride, or those of the zoo entry."""

    anchor_ratios: tuple[float, ...] = DEFAULT_ASPECT_RATIOS
    """Height over width of the anchors."""

    fpn_channels: int = 128
    """Channels of FPN and RPN of a timm model; zoo entries have their own."""

    box_head_dim: int = 256
    """Width of the box head's two fully connected layers of a timm model."""

    rois_per_image: int = 128
    """RoIs sampled from an image to train the ROI heads of a timm model."""

    image_size: int = 320
    """Shorter side after resizing, pixels."""

    max_size: int = 533
    """Limit of the longer side after resizing, pixels."""

    detections_per_image: int = 100

    detectron2: Mapping[str, Any] = field(default_factory=dict)
    """Raw Detectron2 keys, nested or dotted, set last."""


def model_settings(config: RunConfig, num_classes: int) -> ModelSettings:
    """Return the model's settings from the configuration of a run."""
    model, augment = config.model, config.augment
    if not isinstance(model, RcnnSettings) or model.freeze_at is None:
        raise ValueError("the configuration is not one that the recipe of this family resolved")
    return ModelSettings(
        name=model.name,
        task=config.task,
        num_classes=num_classes,
        freeze_at=model.freeze_at,
        anchor_sizes=model.anchor_sizes,
        # Runs of older versions have no ratios.
        anchor_ratios=tuple(model.anchor_ratios or DEFAULT_ASPECT_RATIOS),
        fpn_channels=model.fpn_channels,
        box_head_dim=model.box_head_dim,
        rois_per_image=model.rois_per_image,
        image_size=augment.image_size,
        max_size=augment.max_size,
        detections_per_image=config.evaluation.detections_per_image,
        # Random weights have no BatchNorm statistics to freeze.
        freeze_norm=model.weights != "random",
        detectron2=config.detectron2,
    )


def build_cfg(settings: ModelSettings) -> CfgNode:
    """Return the frozen `CfgNode` that `build_detector` builds.

    `MODEL.WEIGHTS` and `DATASETS` are empty (see `load_base_weights`); the training loop uses
    neither of them, nor `SOLVER`.

    Raises:
        ModelError: unknown name, unsupported task, or a timm backbone without a pyramid.
        ConfigError: wrong number of anchor sizes, or wrong keys in `settings.detectron2`; lists all
            problems.
    """
    check_model_name(settings.name, settings.task)
    cfg = _timm_cfg(settings) if model_kind(settings.name) == "timm" else _zoo_cfg(settings)
    _set_common(cfg, settings)
    strides = anchor_strides(settings.name)
    problems = anchor_size_problems(settings.name, settings.anchor_sizes, strides)
    if not problems:
        _set_anchors(cfg, settings)
    problems += apply_passthrough(cfg, settings.detectron2)
    if problems:
        raise ConfigError.from_problems(problems)
    cfg.freeze()
    return cfg


def anchor_strides(name: str) -> tuple[int, ...]:
    """Return the stride, in pixels, of each anchor size's feature level, finest first.

    Models with a single level (C4, DC5) have all sizes on it, so the stride is repeated.
    """
    if model_kind(name) == "timm":
        from detfinetune.models.rcnn.backbones.timm_fpn import feature_levels

        strides = [level.stride for level in feature_levels(timm_backbone(name))]
        return (*strides, 2 * strides[-1])
    if "retinanet" in name:
        return (8, 16, 32, 64, 128)
    if "_FPN" in name:
        return (4, 8, 16, 32, 64)
    return (16,) * 5


def _zoo_cfg(settings: ModelSettings) -> CfgNode:
    cfg = get_cfg()
    configs = Path(detectron2.__file__).parent / "model_zoo" / "configs"
    path = configs / f"{settings.name}.yaml"
    if not path.is_file():
        raise ModelError(
            f"model.name={settings.name}: the installed Detectron2 lacks its configuration "
            f"({path}). Reinstall Detectron2, or use model.name={PACKAGED_MODEL}."
        )
    # RetinaNet's base config computes its anchors with a YAML expression; the file is Detectron2's
    # own, so evaluating it is safe.
    cfg.merge_from_file(str(path), allow_unsafe=True)
    if not settings.freeze_norm and cfg.MODEL.RESNETS.NORM == "FrozenBN":
        cfg.MODEL.RESNETS.NORM = "BN"
    return cfg


def _timm_cfg(settings: ModelSettings) -> CfgNode:
    from detfinetune.models.rcnn.backbones.timm_fpn import FPN_BUILDER, feature_levels

    cfg = get_cfg()
    backbone = timm_backbone(settings.name)
    levels = feature_levels(backbone)
    stages = [level.stride.bit_length() - 1 for level in levels]
    pyramid = [f"p{stage}" for stage in stages]

    model = cfg.MODEL
    model.META_ARCHITECTURE = "GeneralizedRCNN"
    model.BACKBONE.NAME = FPN_BUILDER
    model.TIMM = CfgNode({"NAME": backbone, "NORM": "FrozenBN" if settings.freeze_norm else "BN"})
    model.FPN.IN_FEATURES = [level.name for level in levels]
    model.FPN.OUT_CHANNELS = settings.fpn_channels
    cfg.INPUT.FORMAT = "RGB"
    model.PIXEL_MEAN, model.PIXEL_STD = _pixel_statistics(settings.name)

    model.RPN.IN_FEATURES = [*pyramid, f"p{stages[-1] + 1}"]
    # Half of Detectron2's values for 800-pixel images: a 320-pixel image has a sixth of the
    # anchors, and the time of NMS on a CPU is proportional to them.
    model.RPN.PRE_NMS_TOPK_TRAIN = 1000
    model.RPN.POST_NMS_TOPK_TRAIN = 500
    model.RPN.PRE_NMS_TOPK_TEST = 1000
    # Images with many objects need more proposals than detections.
    model.RPN.POST_NMS_TOPK_TEST = min(max(300, 3 * settings.detections_per_image), 3000)

    model.ROI_HEADS.NAME = "StandardROIHeads"
    model.ROI_HEADS.IN_FEATURES = pyramid
    model.ROI_HEADS.BATCH_SIZE_PER_IMAGE = settings.rois_per_image
    head = model.ROI_BOX_HEAD
    head.NAME = "FastRCNNConvFCHead"
    head.NUM_FC = 2
    head.FC_DIM = settings.box_head_dim
    head.POOLER_RESOLUTION = 7
    # The sparse ROIAlign needs a fixed number of samples per bin.
    head.POOLER_SAMPLING_RATIO = 2
    mask = model.ROI_MASK_HEAD
    mask.NAME = "MaskRCNNConvUpsampleHead"
    mask.NUM_CONV = 4
    mask.CONV_DIM = settings.fpn_channels
    mask.POOLER_RESOLUTION = 14
    mask.POOLER_SAMPLING_RATIO = 2
    return cfg


def _pixel_statistics(name: str) -> tuple[list[float], list[float]]:
    """Return mean and standard deviation of R, G, B (0-255) used in pretraining."""
    if name == PACKAGED_MODEL:
        return [127.0] * 3, [128.0] * 3
    import timm

    pretrained = timm.get_pretrained_cfg(timm_backbone(name))
    return (
        [255.0 * value for value in pretrained.mean],
        [255.0 * value for value in pretrained.std],
    )


def _set_common(cfg: CfgNode, settings: ModelSettings) -> None:
    model = cfg.MODEL
    model.WEIGHTS = ""
    # The engine moves the model.
    model.DEVICE = "cpu"
    model.MASK_ON = settings.task == "segm"
    model.ROI_HEADS.NUM_CLASSES = settings.num_classes
    model.RETINANET.NUM_CLASSES = settings.num_classes
    model.BACKBONE.FREEZE_AT = settings.freeze_at
    cfg.INPUT.MIN_SIZE_TRAIN = (settings.image_size,)
    cfg.INPUT.MAX_SIZE_TRAIN = settings.max_size
    cfg.INPUT.MIN_SIZE_TEST = settings.image_size
    cfg.INPUT.MAX_SIZE_TEST = settings.max_size
    cfg.DATASETS.TRAIN = ()
    cfg.DATASETS.TEST = ()
    cfg.DATASETS.PROPOSAL_FILES_TRAIN = ()
    cfg.DATASETS.PROPOSAL_FILES_TEST = ()
    cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS = False
    cfg.TEST.DETECTIONS_PER_IMAGE = settings.detections_per_image


def _set_anchors(cfg: CfgNode, settings: ModelSettings) -> None:
    generator = cfg.MODEL.ANCHOR_GENERATOR
    strides = anchor_strides(settings.name)
    generator.ASPECT_RATIOS = [list(settings.anchor_ratios)]
    sizes = settings.anchor_sizes
    if sizes is None:
        if model_kind(settings.name) == "zoo":
            return
        sizes = [8.0 * stride for stride in strides]
    levels = anchors_per_level(settings.name, sizes)
    # A model with a single level has all of them on it.
    generator.SIZES = (
        levels if len(set(strides)) > 1 else [[side for level in levels for side in level]]
    )
