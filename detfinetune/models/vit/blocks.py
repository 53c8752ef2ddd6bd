"""How many blocks a transformer has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from detfinetune.models.vit.names import backbone_kind, timm_name

# Key of its configuration, and the number in a configuration without it.
_LAYERS = {"dit_diffusion": ("num_layers", 28), "dit_document": ("num_hidden_layers", 12)}


def count_blocks(name: str, architecture: Mapping[str, Any]) -> int:
    """Return the number of blocks of a transformer before any is deleted.

    Args:
        name: of the model.
        architecture: configuration of a `dit_*` model.

    Raises:
        ModelError: timm does not know the name, or the model is not a plain vision transformer.
    """
    if backbone_kind(name) == "timm":
        from detfinetune.models.vit.backbones.timm_vit import count_blocks

        return count_blocks(timm_name(name))
    key, usual = _LAYERS[name]
    return int(architecture.get(key, usual))
