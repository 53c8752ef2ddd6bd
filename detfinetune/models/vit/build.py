"""Builds a detector on a transformer, and loads its base weights."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import torch
from torch import nn

from detfinetune.config.resolved import RunConfig
from detfinetune.models.family import BaseWeights
from detfinetune.models.rcnn.build import load_base_weights
from detfinetune.models.rcnn.roi_align import use_sparse_roi_align
from detfinetune.models.rcnn.weights import RcnnWeights
from detfinetune.models.vit.anchors import head_anchors, head_ratios, head_strides
from detfinetune.models.vit.heads import HeadSettings, build_faster_rcnn, build_retinanet
from detfinetune.models.vit.model import VitModel
from detfinetune.models.vit.names import backbone_kind
from detfinetune.models.vit.settings import VitSettings
from detfinetune.models.vit.sources import VitWeights, model_folder

_MODULES = {
    "dit_diffusion": "dit_diffusion",
    "dit_document": "dit_document",
    "timm": "timm_vit",
}


def vit_settings(config: RunConfig) -> VitSettings:
    """Return `model.*` of a run of this family."""
    if not isinstance(config.model, VitSettings):
        raise ValueError("the configuration is not one of this family")
    return config.model


def build_model(config: RunConfig, classes: tuple[str, ...], base: BaseWeights | None) -> VitModel:
    """Build the model of a run on the CPU, and load base weights into it.

    Raises:
        WeightsError: they do not fit, or the VAE of a checkpoint cannot be found.
    """
    settings = vit_settings(config)
    detector = build_detector(config, len(classes))
    backbone: Any = detector.get_submodule("backbone.net")
    if backbone_kind(settings.name) == "dit_diffusion":
        backbone.load_vae(model_folder(settings.name, str(settings.pretrained)))
    notes = []
    if isinstance(base, VitWeights):
        notes = _load(detector, settings, base, classes)
    if config.hardware.channels_last:
        detector = detector.to(memory_format=torch.channels_last)
    if config.hardware.sparse_roi_align and torch.device(config.hardware.device).type == "cpu":
        use_sparse_roi_align(detector)
    model = VitModel(detector, classes)
    if base is not None:
        model.notes = (*notes, _trained_note(model, settings))
    return model


def build_detector(config: RunConfig, num_classes: int) -> nn.Module:
    """Build the detector of a run with random weights.

    Raises:
        ModelError: the transformer cannot be used.
        WeightsError: its configuration cannot be found.
    """
    settings = vit_settings(config)
    module = import_module(
        f"detfinetune.models.vit.backbones.{_MODULES[backbone_kind(settings.name)]}"
    )
    backbone = module.build(settings)
    backbone.freeze(settings.freeze_blocks or 0)
    head = HeadSettings(
        num_classes=num_classes,
        loss=str(settings.loss),
        box_loss=settings.box_loss,
        channels=settings.fpn_channels,
        anchor_sizes=head_anchors(settings),
        anchor_ratios=head_ratios(settings),
        strides=head_strides(settings),
        masks=config.task == "segm",
        detections_per_image=config.evaluation.detections_per_image,
    )
    build = build_retinanet if settings.head == "retinanet" else build_faster_rcnn
    detector: nn.Module = build(backbone, head)
    return detector


def _load(
    detector: nn.Module, settings: VitSettings, base: VitWeights, classes: tuple[str, ...]
) -> list[str]:
    """Load base weights in place, and return what to tell the user."""
    if base.kind == "checkpoint":
        weights = RcnnWeights(base.description, base.path, kind="checkpoint", classes=base.classes)
        return list(load_base_weights(detector, weights, classes).notes(weights))
    notes = [f"base weights: {base.description}"]
    if base.licence:
        notes.append(
            f"  licence: {base.licence}. They and what is trained from them may not be used "
            "commercially."
        )
    if base.kind == "pretrained":
        backbone: Any = detector.get_submodule("backbone.net")
        if backbone_kind(settings.name) == "dit_diffusion":
            backbone.load_transformer(base.path, settings.timestep)
        else:
            backbone.load(base.path)
    return notes


def _trained_note(model: VitModel, settings: VitSettings) -> str:
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in model.parameters()]
    trained = sum(size for size, needs_gradient in sizes if needs_gradient)
    total = sum(size for size, _ in sizes)
    note = (
        f"  trains {trained / 1e6:.1f} of {total / 1e6:.1f} M parameters; {settings.freeze_blocks} "
        f"of {settings.tap_block} blocks are frozen"
    )
    if (vae := getattr(model.backbone, "vae", None)) is not None:
        frozen = sum(parameter.numel() for parameter in vae.parameters())
        note += f", and the VAE's encoder of {frozen / 1e6:.1f} M"
    return note
