"""What the family chooses for the user: features, head, sizes, anchors and rates.

The rules are the same for every data set and never use the test split.
"""

from __future__ import annotations

from typing import Any

from detfinetune.labels.dataset.statistics import DatasetStatistics
from detfinetune.models.anchors import choose_anchor_keys
from detfinetune.models.choices import Choices
from detfinetune.models.vit.anchors import STRIDES
from detfinetune.models.vit.blocks import count_blocks
from detfinetune.models.vit.names import backbone_kind
from detfinetune.models.vit.sources import (
    checkpoint_timestep,
    choose_pretrained,
    read_architecture,
)

_CPU_SIDE, _GPU_SIDE = 256, 512
# First guesses, from what served other tasks; docs/backbones.md says how to find better ones.
_TAP_SHARE = 12 / 28
_TIMESTEP = 100


def choose(choices: Choices, statistics: DatasetStatistics) -> None:
    """Choose all but what the engine's general rules fill.

    Raises:
        ModelError: the name is unknown.
        WeightsError: the configuration of the transformer cannot be found.
    """
    config = choices.config
    name = config.model.name
    diffusion = backbone_kind(name) == "dit_diffusion"
    blocks = count_blocks(name, _find_architecture(choices))
    tap = choices.choose("model.tap_block", lambda: _choose_tap(blocks, diffusion))
    if diffusion:
        choices.choose("model.timestep", lambda: _choose_timestep(config.model.weights))
    choices.choose("model.freeze_blocks", lambda: _choose_freeze(config.model.weights, tap))
    head = choices.choose(
        "model.head",
        lambda: (
            ("faster_rcnn", "task=segm needs its mask head")
            if config.task == "segm"
            else ("retinanet", "for boxes")
        ),
    )
    choices.choose(
        "model.loss",
        lambda: (
            ("focal", "most anchors are background")
            if head == "retinanet"
            else ("cross_entropy", "proposals are sampled, so classes are balanced")
        ),
    )
    size = choices.choose(
        "augment.image_size",
        lambda: (
            (_GPU_SIDE, "memory grows with the square of it")
            if choices.gpu
            else (_CPU_SIDE, "time grows with the square of it")
        ),
    )
    choices.choose("augment.max_size", lambda: (int(size * 5 / 3), "5/3 of image_size"))
    choose_anchor_keys(choices, statistics, head, STRIDES[head])
    choices.choose(
        "solver.images_per_batch",
        lambda: (4, "transformers need much memory") if choices.gpu else (2, "slow on a CPU"),
    )
    choices.choose("solver.optimizer", lambda: ("adamw", "usual for transformers"))
    choices.choose("solver.base_lr", lambda: (1e-4, "as in ViTDet"))
    choices.choose("solver.weight_decay", lambda: (0.1, "as in ViTDet"))


def _find_architecture(choices: Choices) -> dict[str, Any]:
    """Return the configuration of the transformer of a `dit_*` model; found and kept if missing."""
    model, name = choices.values["model"], choices.config.model.name
    if backbone_kind(name) != "timm":
        pretrained = choices.choose(
            "model.pretrained", lambda: choose_pretrained(name, choices.get("model.weights"))
        )
        # Not one of the printed choices: it is long, and nothing to choose.
        model["architecture"] = model["architecture"] or read_architecture(name, pretrained)
    architecture: dict[str, Any] = model["architecture"]
    return architecture


def _choose_tap(blocks: int, diffusion: bool) -> tuple[int, str]:
    if not diffusion:
        return blocks, "all blocks"
    tap = max(round(blocks * _TAP_SHARE), 1)
    return tap, f"of {blocks}: a first guess"


def _choose_timestep(weights: str) -> tuple[int, str]:
    if (trained_with := checkpoint_timestep(weights)) is not None:
        return trained_with, "that of the checkpoint"
    return _TIMESTEP, "of 1000: a first guess"


def _choose_freeze(weights: str, tap: int) -> tuple[int, str]:
    if weights == "random":
        return 0, "random weights: train all blocks"
    return tap // 2, "half of those used, to keep what pretraining taught"
