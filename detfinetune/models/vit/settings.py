"""The keys of `model.*` for detectors on transformer features."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from detfinetune.config.schema import (
    AnchorSides,
    ModelConfig,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
)


class VitSettings(ModelConfig):
    """Settings of detectors on the features of a diffusion or vision transformer."""

    head: Literal["retinanet", "faster_rcnn"] | None = None
    """Detector on a transformer's features: retinanet (convolutions that give boxes and classes for
    each anchor), or faster_rcnn, with masks for task=segm. null: by the task."""

    loss: Literal["focal", "cross_entropy"] | None = None
    """Loss of the classes: focal (retinanet only, against the many anchors on background) or
    cross_entropy. null: focal for retinanet."""

    box_loss: Literal["smooth_l1", "giou"] = "smooth_l1"
    """Loss of the boxes of a head on a transformer: differences of their coordinates, or GIoU."""

    tap_block: PositiveInt | None = None
    """Number of transformer blocks that are used: the features are the output of the last of them,
    and those after it are deleted. null: 12 of 28 in a diffusion transformer, all in others."""

    timestep: Annotated[int, Field(ge=0, lt=1000)] | None = None
    """Noise step at which a diffusion transformer sees the image, of 1000; 0: nearly no noise."""

    freeze_blocks: NonNegativeInt | None = None
    """Number of transformer blocks that are frozen, counted from the first, with the embeddings
    before them; 0 trains all. null: half of those used."""

    anchor_sizes: AnchorSides | None = None
    """Anchor side in pixels for each feature level, finest first, or a list of several a level.
    null: the fewest that fit 95 % of the boxes in the training data."""

    anchor_ratios: list[PositiveFloat] | None = None
    """Height over width of the anchors. null: 0.5, 1, 2, or more if the boxes need them."""

    fpn_channels: PositiveInt = 128
    """Channels of the pyramid of a timm model or a transformer, and of the head on it."""

    pretrained: str | None = None
    """Folder or name on the Hugging Face hub with the configuration of a `dit_*` model, and the VAE
    of a diffusion transformer. null: model.weights, or the published one."""

    architecture: dict[str, Any] = Field(default_factory=dict)
    """Configuration of the transformer of a `dit_*` model, kept by the run. Empty: config.json of
    `pretrained`."""
