"""Pretrained weights of timm backbones, with the names of `TimmBody`."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import timm
from torch import Tensor

from detfinetune.errors import WeightsError
from detfinetune.models.weight_files import read_state_dict


def backbone_state(backbone: str, path: Path | None) -> dict[str, Tensor]:
    """Return the state dict of timm's feature extractor, filled from a file or timm's cache.

    Args:
        backbone: timm's name.
        path: a state dict of the whole classifier with timm's names or, for EfficientNet-Lite0,
            the packaged file; None for the weights in timm's cache.

    Raises:
        WeightsError: the file does not fit.
    """
    if path is None:
        with _quiet_timm():
            features = timm.create_model(backbone, features_only=True, pretrained=True)
        return dict(features.state_dict())
    state = read_state_dict(path)
    classifier = timm.create_model(backbone, pretrained=False)
    if state.keys() != classifier.state_dict().keys():
        state = rename_in_order(state, classifier.state_dict(), path)
    # timm renames the classifier's tensors for each of its feature extractors.
    with _quiet_timm():
        features = timm.create_model(
            backbone,
            features_only=True,
            pretrained=True,
            pretrained_cfg_overlay={"state_dict": state},
        )
    return dict(features.state_dict())


@contextmanager
def _quiet_timm() -> Iterator[None]:
    """Suppress timm's warning about unused classifier weights."""
    logger = logging.getLogger("timm.models._builder")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def rename_in_order(
    state: Mapping[str, Tensor], wanted: Mapping[str, Tensor], path: Path
) -> dict[str, Tensor]:
    """Return the tensors of `state` with the names of `wanted`, matched by position.

    Other code names the tensors of a network differently, but lists them in the same order. Their
    number, and the last part of the name and the shape of each, must agree.

    Raises:
        WeightsError: they do not agree.
    """
    if len(state) != len(wanted):
        raise WeightsError(
            f"{path} has {len(state)} tensors, but the backbone has {len(wanted)}: it belongs to "
            "another model. Check model.name and model.weights."
        )
    renamed = {}
    for (name, value), (new_name, new_value) in zip(state.items(), wanted.items(), strict=True):
        kinds_agree = name.rpartition(".")[2] == new_name.rpartition(".")[2]
        if value.shape != new_value.shape or not kinds_agree:
            raise WeightsError(
                f"{path}: tensor {name} with shape {tuple(value.shape)} does not match "
                f"{new_name} with shape {tuple(new_value.shape)}: it belongs to another model. "
                "Check model.name and model.weights."
            )
        renamed[new_name] = value
    return renamed
