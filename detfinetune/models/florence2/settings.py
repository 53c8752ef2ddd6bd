"""The keys of `model.*` for Florence-2."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import field_validator

from detfinetune.config.schema import Fraction, ModelConfig, NonNegativeInt, PositiveFloat


class Florence2Settings(ModelConfig):
    """Settings of Florence-2 and its fine-tuning."""

    lora_rank: NonNegativeInt = 32
    """Rank of the LoRA adapters on all linear layers (arXiv:2106.09685); 0: train all weights."""

    lora_alpha: PositiveFloat | None = None
    """Scale of the adapters, which are added times `lora_alpha / lora_rank`. null: by the size of
    the model."""

    lora_dropout: Fraction = 0.05
    """Dropout before the adapters."""

    freeze_vision: bool = False
    """Do not train the vision tower."""

    gradient_checkpointing: bool = True
    """Compute activations again in the backward pass: far less memory, a third more time."""

    order: Literal["raster", "shuffled"] = "raster"
    """Order of the objects to answer with: from top to bottom, or another one each time."""

    @field_validator("weights")
    @classmethod
    def _absolute(cls, weights: str) -> str:
        """Keep a folder's whole path: checkpoints need it again, from wherever they are used."""
        folder = Path(weights).expanduser()
        return str(folder.absolute()) if folder.is_dir() else weights
