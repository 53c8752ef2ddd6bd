"""Detectors on transformers as the engine sees them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from detfinetune.errors import CheckpointError
from detfinetune.models.detection_model import PredictOptions
from detfinetune.models.rcnn.model import RcnnModel
from detfinetune.models.vit.backbones.transformer import TransformerBackbone
from detfinetune.prediction import Prediction

_BACKBONE = "model.backbone.net"
_VAE_HASH = "vae_sha256"


class VitModel(RcnnModel):
    """Detectron2's RetinaNet or R-CNN on a `TransformerBackbone`."""

    @property
    def backbone(self) -> TransformerBackbone:
        """The transformer."""
        backbone: Any = self.get_submodule(_BACKBONE)
        return backbone  # type: ignore[no-any-return]

    def predict(self, batch: list[dict[str, Any]], options: PredictOptions) -> list[Prediction]:
        """Return what is found in each image.

        One image at a time: a transformer would see the padding of the smaller images of a batch.
        """
        predict = super().predict
        return [found for image in batch for found in predict([image], options)]

    def depths(self) -> dict[str, int]:
        """Return the blocks from each parameter of the transformer to the head."""
        depths = self.backbone.depths()
        return {f"{_BACKBONE}.{name}": depth for name, depth in depths.items()}

    def checkpoint_state(self) -> dict[str, Tensor]:
        """Return all weights but those of the VAE, of which it has the hash."""
        state = super().checkpoint_state()
        if digest := getattr(self.backbone, _VAE_HASH, ""):
            state[_VAE_HASH] = torch.tensor(list(bytes.fromhex(digest)), dtype=torch.uint8)
        return state

    def load_checkpoint_state(self, state: dict[str, Tensor]) -> None:
        """Load all weights but those of the VAE.

        Raises:
            RuntimeError: names or shapes differ.
            CheckpointError: the VAE is not the one of the checkpoint.
        """
        own = getattr(self.backbone, _VAE_HASH, "")
        if _VAE_HASH in state and bytes(state[_VAE_HASH].tolist()).hex() != own:
            raise CheckpointError(
                "The VAE in the folder model.pretrained is not the one that the model was trained "
                "with, and would give other features. Restore vae/ there."
            )
        super().load_checkpoint_state({n: value for n, value in state.items() if n != _VAE_HASH})
