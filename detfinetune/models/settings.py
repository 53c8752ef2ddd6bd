"""Converts a resolved configuration to `ModelSettings`."""

from __future__ import annotations

from detfinetune.config.schema import TrainConfig
from detfinetune.models.d2_cfg import ModelSettings


def model_settings(config: TrainConfig, num_classes: int, device: str) -> ModelSettings:
    """Return the model's settings from a resolved configuration.

    Raises:
        ValueError: a value that the recipe chooses is still null.
    """
    model, augment, evaluation = config.model, config.augment, config.evaluation
    if (
        model.freeze_at is None
        or augment.image_size is None
        or augment.max_size is None
        or evaluation.detections_per_image is None
    ):
        raise ValueError("the configuration must be resolved first (engine.recipe)")
    return ModelSettings(
        name=model.name,
        task=config.task,
        num_classes=num_classes,
        freeze_at=model.freeze_at,
        anchor_sizes=tuple(model.anchor_sizes) if model.anchor_sizes else None,
        fpn_channels=model.fpn_channels,
        box_head_dim=model.box_head_dim,
        rois_per_image=model.rois_per_image,
        image_size=augment.image_size,
        max_size=augment.max_size,
        detections_per_image=evaluation.detections_per_image,
        # Random weights have no BatchNorm statistics to freeze.
        freeze_norm=model.weights != "random",
        device=device,
        detectron2=config.detectron2,
    )
