"""Detectron2's detectors on a simple feature pyramid (ViTDet, Li et al. 2022, arXiv:2203.16527)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from detectron2.layers import ShapeSpec
from detectron2.modeling.anchor_generator import DefaultAnchorGenerator
from detectron2.modeling.backbone.fpn import LastLevelMaxPool, LastLevelP6P7
from detectron2.modeling.backbone.vit import SimpleFeaturePyramid
from detectron2.modeling.box_regression import Box2BoxTransform
from detectron2.modeling.matcher import Matcher
from detectron2.modeling.meta_arch import GeneralizedRCNN, RetinaNet
from detectron2.modeling.meta_arch.retinanet import RetinaNetHead
from detectron2.modeling.poolers import ROIPooler
from detectron2.modeling.proposal_generator import RPN, StandardRPNHead
from detectron2.modeling.roi_heads import (
    FastRCNNConvFCHead,
    FastRCNNOutputLayers,
    MaskRCNNConvUpsampleHead,
    StandardROIHeads,
)

from detfinetune.models.vit.backbones.transformer import FEATURE, TransformerBackbone

_ROIS_PER_IMAGE = 128
_BOX_HEAD_DIM = 256


@dataclass(frozen=True)
class HeadSettings:
    """Settings of a detector on a transformer."""

    num_classes: int

    loss: str
    """focal or cross_entropy, of the classes."""

    box_loss: str
    """smooth_l1 or giou."""

    channels: int
    """Of the pyramid and of the convolutions on it."""

    anchor_sizes: Sequence[Sequence[float]]
    """Anchor sides in pixels for each level, finest first."""

    anchor_ratios: Sequence[float]
    """Height over width of the anchors."""

    strides: Sequence[int]
    """Stride of each level in pixels, finest first."""

    masks: bool
    detections_per_image: int


class PaddedPyramid(SimpleFeaturePyramid):  # type: ignore[misc]  # Detectron2 has no type hints
    """A simple feature pyramid for images of any size, which are padded to multiples of 32.

    Detectron2's own says so under a misspelt key, and its models then do not pad.
    """

    @property
    def size_divisibility(self) -> int:
        """Stride of the coarsest level that is made of the transformer's features."""
        return int(self._size_divisibility)


def build_retinanet(backbone: TransformerBackbone, settings: HeadSettings) -> RetinaNet:
    """Build RetinaNet (Lin et al. 2017, arXiv:1708.02002) on levels p3 to p7.

    Cross-entropy is the focal loss without its two factors: the sum of the binary cross-entropies
    of all classes at all anchors that are not ignored, over the number of positive anchors.
    """
    channels = settings.channels
    pyramid = PaddedPyramid(
        net=backbone,
        in_feature=FEATURE,
        out_channels=channels,
        scale_factors=(2.0, 1.0, 0.5),
        top_block=LastLevelP6P7(channels, channels, "p5"),
        norm="LN",
    )
    levels = ["p3", "p4", "p5", "p6", "p7"]
    anchors = _anchors(settings)
    shape = pyramid.output_shape()
    focal = settings.loss == "focal"
    return RetinaNet(
        backbone=pyramid,
        head=RetinaNetHead(
            input_shape=[shape[level] for level in levels],
            num_classes=settings.num_classes,
            num_anchors=anchors.num_anchors[0],
            conv_dims=[channels] * 4,
        ),
        head_in_features=levels,
        anchor_generator=anchors,
        box2box_transform=Box2BoxTransform((1.0, 1.0, 1.0, 1.0)),
        anchor_matcher=Matcher([0.4, 0.5], [0, -1, 1], allow_low_quality_matches=True),
        num_classes=settings.num_classes,
        focal_loss_alpha=0.25 if focal else -1.0,
        focal_loss_gamma=2.0 if focal else 0.0,
        smooth_l1_beta=0.1,
        box_reg_loss_type=settings.box_loss,
        max_detections_per_image=settings.detections_per_image,
        pixel_mean=backbone.pixel_mean,
        pixel_std=backbone.pixel_std,
        input_format="RGB",
    )


def build_faster_rcnn(backbone: TransformerBackbone, settings: HeadSettings) -> GeneralizedRCNN:
    """Build Faster R-CNN on levels p2 to p6, or Mask R-CNN if there are masks."""
    channels = settings.channels
    pyramid = PaddedPyramid(
        net=backbone,
        in_feature=FEATURE,
        out_channels=channels,
        scale_factors=(4.0, 2.0, 1.0, 0.5),
        top_block=LastLevelMaxPool(),
        norm="LN",
    )
    anchors = _anchors(settings)
    return GeneralizedRCNN(
        backbone=pyramid,
        proposal_generator=RPN(
            in_features=["p2", "p3", "p4", "p5", "p6"],
            head=StandardRPNHead(in_channels=channels, num_anchors=anchors.num_anchors[0]),
            anchor_generator=anchors,
            anchor_matcher=Matcher([0.3, 0.7], [0, -1, 1], allow_low_quality_matches=True),
            box2box_transform=Box2BoxTransform((1.0, 1.0, 1.0, 1.0)),
            batch_size_per_image=256,
            positive_fraction=0.5,
            pre_nms_topk=(1000, 1000),
            # Images with many objects need more proposals than detections.
            post_nms_topk=(500, min(max(300, 3 * settings.detections_per_image), 3000)),
        ),
        roi_heads=_roi_heads(settings),
        pixel_mean=backbone.pixel_mean,
        pixel_std=backbone.pixel_std,
        input_format="RGB",
    )


def _roi_heads(settings: HeadSettings) -> StandardROIHeads:
    channels = settings.channels
    levels = ["p2", "p3", "p4", "p5"]
    box_head = FastRCNNConvFCHead(
        ShapeSpec(channels=channels, height=7, width=7),
        conv_dims=[],
        fc_dims=[_BOX_HEAD_DIM, _BOX_HEAD_DIM],
    )
    masks = {
        "mask_in_features": levels,
        "mask_pooler": _pooler(14),
        "mask_head": MaskRCNNConvUpsampleHead(
            ShapeSpec(channels=channels, height=14, width=14),
            num_classes=settings.num_classes,
            conv_dims=[channels] * 5,
        ),
    }
    return StandardROIHeads(
        num_classes=settings.num_classes,
        batch_size_per_image=_ROIS_PER_IMAGE,
        positive_fraction=0.25,
        proposal_matcher=Matcher([0.5], [0, 1]),
        box_in_features=levels,
        box_pooler=_pooler(7),
        box_head=box_head,
        box_predictor=FastRCNNOutputLayers(
            box_head.output_shape,
            box2box_transform=Box2BoxTransform((10.0, 10.0, 5.0, 5.0)),
            num_classes=settings.num_classes,
            test_score_thresh=0.05,
            test_topk_per_image=settings.detections_per_image,
            box_reg_loss_type=settings.box_loss,
        ),
        **(masks if settings.masks else {}),
    )


def _pooler(resolution: int) -> ROIPooler:
    # The sparse ROIAlign needs a fixed number of samples per bin.
    return ROIPooler(resolution, (1 / 4, 1 / 8, 1 / 16, 1 / 32), 2, "ROIAlignV2")


def _anchors(settings: HeadSettings) -> DefaultAnchorGenerator:
    return DefaultAnchorGenerator(
        sizes=settings.anchor_sizes,
        aspect_ratios=[settings.anchor_ratios],
        strides=settings.strides,
    )
