"""The Document Image Transformer as a backbone (Li et al. 2022, arXiv:2203.02378).

It is a BEiT (arXiv:2106.08254) trained on scanned pages.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F
from transformers import BeitConfig, BeitModel
from transformers import logging as transformers_logging

from detfinetune.errors import WeightsError, first_line
from detfinetune.models.vit.backbones.transformer import STRIDE, TransformerBackbone
from detfinetune.models.vit.settings import VitSettings


class DocumentBackbone(TransformerBackbone):
    """The first blocks of a BEiT."""

    def __init__(self, model: BeitModel) -> None:
        super().__init__(model.config.hidden_size)
        self.model = model
        if model.embeddings.mask_token is not None:
            # Used in pretraining only.
            model.embeddings.mask_token.requires_grad_(False)

    @property
    def body(self) -> nn.Module:
        """The transformer."""
        return self.model  # type: ignore[no-any-return]

    @property
    def blocks(self) -> Sequence[nn.Module]:
        """Its blocks up to the tap."""
        return self.model.layers  # type: ignore[no-any-return]

    def load(self, folder: Path) -> None:
        """Load the weights of a folder of transformers.

        Raises:
            WeightsError: they cannot be read, or do not fit the configuration.
        """
        try:
            whole, report = _quietly(
                BeitModel.from_pretrained, str(folder), add_pooling_layer=False,
                output_loading_info=True, local_files_only=True,
            )  # fmt: skip
            missing = report["missing_keys"]
            self.model.load_state_dict(_trimmed(whole, len(self.blocks)).state_dict())
        except Exception as error:  # transformers raises many kinds, from OSError to RuntimeError
            reason = first_line(error)
            raise WeightsError(
                f"{folder} cannot be loaded as the BEiT that model.architecture describes: "
                f"{reason}. Check model.pretrained and model.weights."
            ) from error
        # Pages are pretrained without the last norm, which is not used here.
        if lacking := [name for name in missing if not name.startswith("layernorm.")]:
            raise WeightsError(
                f"{folder}: the file of weights lacks {len(lacking)} tensors, such as "
                f"{lacking[0]}: it belongs to another config.json, or is damaged."
            )

    def tokens(self, images: Tensor) -> Tensor:
        """Return the output of the tapped block for each patch, without the class token."""
        patch = self.model.config.patch_size
        if patch != STRIDE:
            images = F.interpolate(images, scale_factor=patch / STRIDE, mode="bilinear")
        hidden: Tensor = self.model(images, interpolate_pos_encoding=True).last_hidden_state
        return hidden[:, 1:]


def build(settings: VitSettings) -> DocumentBackbone:
    """Build the backbone with random weights."""
    if settings.tap_block is None:
        raise ValueError("the configuration is not one that the recipe of this family resolved")
    config = BeitConfig(**settings.architecture)
    config.num_hidden_layers = settings.tap_block
    return DocumentBackbone(
        _trimmed(BeitModel(config, add_pooling_layer=False), settings.tap_block)
    )


def _trimmed(model: BeitModel, blocks: int) -> BeitModel:
    """Return `model` with its first blocks only, in place."""
    del model.layers[blocks:]
    model.layernorm = nn.Identity()
    return model


def _quietly(load: Any, *arguments: Any, **options: Any) -> Any:
    """Call `load` without a progress bar or warnings about layers that are not used."""
    level, bar = (
        transformers_logging.get_verbosity(),
        transformers_logging.is_progress_bar_enabled(),
    )
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        return load(*arguments, **options)
    finally:
        transformers_logging.set_verbosity(level)
        if bar:
            transformers_logging.enable_progress_bar()
