"""Plain vision transformers of timm as backbones: ViT, DeiT, DINOv2, DINOv3, MAE, CLIP, EVA."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from detfinetune.errors import ModelError, WeightsError, did_you_mean, first_line
from detfinetune.models.vit.backbones.transformer import STRIDE, TransformerBackbone
from detfinetune.models.vit.names import TIMM_PREFIX, timm_name
from detfinetune.models.vit.settings import VitSettings
from detfinetune.models.weight_files import read_state_dict


class TimmBackbone(TransformerBackbone):
    """The first blocks of a timm model.

    Where a patch is not 16 pixels wide (14 in DINOv2), images are resized so that it covers 16.
    """

    def __init__(self, name: str, model: Any) -> None:
        super().__init__(model.embed_dim)
        self.model = model
        config = timm.get_pretrained_cfg(name)
        self.pixel_mean = tuple(255.0 * value for value in config.mean)
        self.pixel_std = tuple(255.0 * value for value in config.std)
        self._name = name

    @property
    def body(self) -> nn.Module:
        """The transformer."""
        return self.model  # type: ignore[no-any-return]

    @property
    def blocks(self) -> Sequence[nn.Module]:
        """Its blocks up to the tap."""
        return self.model.blocks  # type: ignore[no-any-return]

    def load(self, path: Path | None) -> None:
        """Load timm's own weights, or a file with timm's names.

        Raises:
            WeightsError: they cannot be loaded.
        """
        whole = load_pretrained(self._name, path)
        self.model.load_state_dict(_trimmed(whole, len(self.blocks)).state_dict())

    def tokens(self, images: Tensor) -> Tensor:
        """Return the output of the tapped block for each patch, without class tokens."""
        patch = self.model.patch_embed.patch_size[0]
        if patch != STRIDE:
            images = F.interpolate(images, scale_factor=patch / STRIDE, mode="bilinear")
        return _last_map(self.model, images).flatten(2).transpose(1, 2)


def load_pretrained(name: str, path: Path | None = None) -> Any:
    """Return a whole model with timm's own weights, or those of a file with timm's names.

    Raises:
        WeightsError: they cannot be loaded; the text lists alternatives.
    """
    state = None if path is None else read_state_dict(path)
    overlay = {} if state is None else {"state_dict": dict(state)}
    try:
        model = _create(name, pretrained=True, pretrained_cfg_overlay=overlay)
    except Exception as error:  # timm and its hub raise any error of their network library
        reason = first_line(error)
        raise WeightsError(
            f"{path or 'The pretrained weights'}: timm cannot load them into {name}: {reason}\n"
            "Alternatives:\n"
            "  - model.weights=FILE with a state dict of this model\n"
            "  - model.name=efficientnet_lite0_fpn, whose ImageNet weights are installed\n"
            "  - model.weights=random to train from scratch (needs far more data and time)"
        ) from error
    if state is not None:
        _check_loaded(name, model, state, path)
    return model


def _check_loaded(name: str, model: Any, state: Mapping[str, Tensor], path: Path | None) -> None:
    """Raise an error if a file has less than half of the weights: timm leaves the rest random.

    timm renames weights and changes a few, so they are recognized by their sums.
    """
    given = {(value.numel(), float(value.double().sum())) for value in state.values()}
    own = [value.detach() for value in model.parameters() if value.ndim > 1]
    found = sum((value.numel(), float(value.double().sum())) in given for value in own)
    if 2 * found < len(own):
        raise WeightsError(
            f"{path} has {found} of the {len(own)} weights of {name}, so it belongs to another "
            "model. Check model.name and model.weights."
        )


def build(settings: VitSettings) -> TimmBackbone:
    """Build the backbone with random weights.

    Raises:
        ModelError: the name is unknown, or not that of a plain vision transformer.
    """
    name = timm_name(settings.name)
    count_blocks(name)
    if settings.tap_block is None:
        raise ValueError("the configuration is not one that the recipe of this family resolved")
    return TimmBackbone(name, _trimmed(_create(name), settings.tap_block))


@lru_cache(maxsize=16)
def count_blocks(name: str) -> int:
    """Return the number of blocks of a plain vision transformer.

    It is one if timm lists the same stride for all its feature maps, that of its patches, and if it
    takes images of any size; it is run without arithmetic (torch's meta device) to see that.

    Raises:
        ModelError: the name is unknown, or that of another model.
    """
    if not timm.is_model(name):
        hint = did_you_mean(name, timm.list_models()).replace("'", f"'{TIMM_PREFIX}", 1)
        raise ModelError(
            f"model.name={TIMM_PREFIX}{name}: timm {timm.__version__} has no such model.{hint} "
            "timm.list_models('*vit*') lists many."
        )
    with torch.device("meta"):
        try:
            model = _create(name)
            blocks, patch = len(model.blocks), model.patch_embed.patch_size[0]
            strides = {stage["reduction"] for stage in model.feature_info}
            images = torch.zeros(1, 3, 6 * patch, 10 * patch)
            size = tuple(_last_map(_trimmed(model, 1).eval(), images).shape[2:])
        except Exception as error:  # from inside timm: attributes, assertions, shapes
            reason = first_line(error)
            raise ModelError(_refusal(name, reason)) from error
    if strides != {patch} or size != (6, 10):
        raise ModelError(
            _refusal(name, f"its feature maps have strides {sorted(strides)}, its patches {patch}")
        )
    return blocks


def _refusal(name: str, reason: str) -> str:
    return (
        f"model.name={TIMM_PREFIX}{name} is not a plain vision transformer for images of any size "
        f"({reason}). Use one, such as vit/vit_small_patch14_dinov2 or "
        f"vit/vit_base_patch16_224, or model.name=timm/{name} if it has feature maps of several "
        "strides."
    )


def _create(name: str, **options: Any) -> Any:
    try:
        return timm.create_model(name, num_classes=0, dynamic_img_size=True, **options)
    except TypeError as error:
        if "dynamic_img_size" not in str(error):
            raise
        return timm.create_model(name, num_classes=0, **options)


def _trimmed(model: Any, blocks: int) -> Any:
    """Return `model` with its first blocks only, in place."""
    model.prune_intermediate_layers([blocks - 1], prune_norm=True)
    return model


def _last_map(model: Any, images: Tensor) -> Tensor:
    """Return the output of the last block, [N, C, h, w]."""
    maps: list[Tensor] = model.forward_intermediates(
        images, indices=[len(model.blocks) - 1], intermediates_only=True
    )
    return maps[0]
