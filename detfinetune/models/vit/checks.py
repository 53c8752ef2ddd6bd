"""Mistakes in a configuration of this family, before anything is written."""

from __future__ import annotations

from detfinetune.config.anchors import anchor_size_problems
from detfinetune.config.resolved import RunConfig
from detfinetune.errors import ConfigError
from detfinetune.models.vit.anchors import head_strides
from detfinetune.models.vit.blocks import count_blocks
from detfinetune.models.vit.settings import VitSettings


def check_settings(config: RunConfig) -> VitSettings:
    """Return `model.*` of a resolved configuration if its keys go together.

    Raises:
        ConfigError: lists all that do not.
    """
    model = config.model
    if not isinstance(model, VitSettings) or model.tap_block is None or model.freeze_blocks is None:
        raise ValueError("the configuration is not one that the recipe of this family resolved")
    problems = []
    blocks = count_blocks(model.name, model.architecture)
    if model.tap_block > blocks:
        problems.append(f"model.tap_block={model.tap_block}: the transformer has {blocks} blocks.")
    if model.freeze_blocks > model.tap_block:
        problems.append(
            f"model.freeze_blocks={model.freeze_blocks}: only {model.tap_block} blocks are used "
            "(model.tap_block)."
        )
    if model.timestep is not None and model.name != "dit_diffusion":
        problems.append("model.timestep is for model.name=dit_diffusion only: remove it.")
    if config.task == "segm" and model.head != "faster_rcnn":
        problems.append("task=segm needs masks: use model.head=faster_rcnn.")
    if model.loss == "focal" and model.head == "faster_rcnn":
        problems.append(
            "model.loss=focal is for model.head=retinanet: faster_rcnn samples its proposals. Use "
            "model.loss=cross_entropy."
        )
    problems += anchor_size_problems(str(model.head), model.anchor_sizes, head_strides(model))
    if config.detectron2:
        problems.append(
            f"detectron2.{next(iter(config.detectron2))} has no effect on {model.name}: raw keys "
            "are for models of Detectron2's zoo and timm/... only."
        )
    if problems:
        raise ConfigError.from_problems(problems)
    return model
