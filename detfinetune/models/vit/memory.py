"""Estimates the memory that training needs, before it starts."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from detfinetune.config.resolved import RunConfig
from detfinetune.data.loaders import images_per_process
from detfinetune.errors import ConfigError
from detfinetune.models.memory import largest_image
from detfinetune.models.vit.anchors import head_anchors, head_ratios, head_strides
from detfinetune.models.vit.backbones.transformer import STRIDE
from detfinetune.models.vit.build import build_detector, vit_settings

_GIB = 1 << 30
# Values that are kept for the backward pass; counted in the code of the layers, and measured.
_BLOCK_VALUES = 24
"""For each token and channel of a trained block, with a hidden layer four times as wide."""

_LEVEL_VALUES = {"retinanet": 20, "faster_rcnn": 14}
"""For each cell of the pyramid and channel: its layers, and the convolutions of the head."""

_ANCHOR_VALUES = 10
"""For each anchor and output, in the losses."""

_VAE_VALUES = 8
"""For each pixel and channel of the VAE's first layers; nothing of it is kept."""

_MARGIN = 1.25
"""Allocators hold more than is used."""


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes on the device at the peak of a training step."""

    weights: int
    """Weights, gradients, the optimizer's state and the moving average."""

    activations: int
    """What the forward pass keeps for the backward pass, or the VAE's peak if that is more."""

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.activations


def estimate_memory(config: RunConfig, num_classes: int) -> MemoryEstimate:
    """Estimate the memory of a training step; on the high side.

    The model is built without memory (torch's meta device) to count its parameters. Images are
    taken to be as large as `augment.*` allows.

    Raises:
        ModelError: the model cannot be built.
    """
    settings = vit_settings(config)
    with torch.device("meta"):
        detector = build_detector(config, num_classes)
    backbone: Any = detector.get_submodule("backbone.net")
    parts = config.solver.accumulate
    batch = images_per_process(config.solver.images_per_batch, parts) // parts
    height, width = largest_image(config.augment, 2 * STRIDE)
    # Autocast halves most, but not the norms and the losses.
    width_of_value = 4 if config.hardware.precision == "fp32" else 3

    tokens = (height // STRIDE) * (width // STRIDE)
    channels = backbone.norm.normalized_shape[0]
    trained_blocks = len(backbone.blocks) - backbone.frozen_blocks
    # One more for what a frozen block has at a time.
    values = (trained_blocks + 1) * _BLOCK_VALUES * tokens * channels

    cells = sum((height // stride) * (width // stride) for stride in head_strides(settings))
    anchors = len(head_anchors(settings)[0]) * len(head_ratios(settings))
    outputs = num_classes + 4 if settings.head == "retinanet" else 5
    values += cells * settings.fpn_channels * _LEVEL_VALUES[str(settings.head)]
    values += cells * anchors * outputs * _ANCHOR_VALUES
    # The pyramid's first layers have half of the transformer's channels at stride 8.
    values += 4 * tokens * 4 * channels

    activations = batch * values * width_of_value
    if (vae := getattr(backbone, "vae", None)) is not None:
        first = vae.config.block_out_channels[0]
        activations = max(activations, batch * height * width * first * _VAE_VALUES * 4)
    return MemoryEstimate(_weights(detector, backbone, config), round(_MARGIN * activations))


def check_memory(config: RunConfig, num_classes: int) -> None:
    """Check that training fits into the memory of the device.

    Raises:
        ConfigError: it does not; the text lists what needs less.
    """
    there = device_memory(config.hardware.device)
    if there is None:
        return
    needed = estimate_memory(config, num_classes)
    if needed.total <= there:
        return
    settings = vit_settings(config)
    ways = [
        f"solver.accumulate={config.solver.images_per_batch}: one image at a time",
        f"a smaller augment.image_size (now {config.augment.image_size}) or max_size (now "
        f"{config.augment.max_size}), or augment.crop_size",
        f"a larger model.freeze_blocks (now {settings.freeze_blocks}): frozen blocks need no "
        "gradients",
        f"a smaller model.tap_block (now {settings.tap_block}): later blocks are deleted",
        "hardware.precision=bf16, if the device supports it",
    ]
    listed = "".join(f"\n  - {way}" for way in ways)
    raise ConfigError(
        f"model.name={settings.name} does not fit: a step of training needs about "
        f"{needed.total / _GIB:.1f} GiB ({needed.weights / _GIB:.1f} for weights and optimizer, "
        f"{needed.activations / _GIB:.1f} for the images), and {config.hardware.device} has "
        f"{there / _GIB:.1f} GiB. What needs less:{listed}"
    )


def device_memory(device: str) -> int | None:
    """Return the memory of a device in bytes; None if it cannot be told."""
    if torch.device(device).type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    if not hasattr(os, "sysconf"):
        return None
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _weights(detector: nn.Module, backbone: Any, config: RunConfig) -> int:
    total = sum(parameter.numel() for parameter in detector.parameters())
    trained = sum(p.numel() for p in detector.parameters() if p.requires_grad)
    states = 2 if config.solver.optimizer == "adamw" else 1
    averaged = total if config.solver.ema_decay else 0
    vae = getattr(backbone, "vae", None)
    frozen = sum(p.numel() for p in vae.parameters()) if vae is not None else 0
    return 4 * (total + trained * (1 + states) + averaged + frozen)
