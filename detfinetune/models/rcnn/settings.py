"""The keys of `model.*` for the models of Detectron2."""

from __future__ import annotations

from detfinetune.config.schema import (
    AnchorSides,
    ModelConfig,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
)


class RcnnSettings(ModelConfig):
    """Settings of Faster, Mask and Cascade R-CNN and of RetinaNet."""

    freeze_at: NonNegativeInt | None = None
    """Number of backbone stages that are frozen, counted from the stem; 0 trains all. null: 2."""

    anchor_sizes: AnchorSides | None = None
    """Anchor side in pixels for each feature level, finest first, or a list of several a level.
    null: the fewest that fit 95 % of the boxes in the training data."""

    anchor_ratios: list[PositiveFloat] | None = None
    """Height over width of the anchors. null: 0.5, 1, 2, or more if the boxes need them."""

    fpn_channels: PositiveInt = 128
    """Channels of the FPN of a timm model."""

    box_head_dim: PositiveInt = 256
    """Width of the box head's two fully connected layers of a timm model."""

    rois_per_image: PositiveInt = 128
    """RoIs sampled from each training image for the ROI heads of a timm model."""
