"""Names of the models of this family. Nothing here imports torch, timm or diffusers."""

from __future__ import annotations

from typing import Literal

BackboneKind = Literal["dit_diffusion", "dit_document", "timm"]

# Only timm knows which of its models are plain vision transformers, and timm needs torch, which
# must not be imported to find out whose name it is. So these have a prefix of their own, and
# `timm/...` stays with the models that have a pyramid.
TIMM_PREFIX = "vit/"

PUBLISHED = {
    "dit_diffusion": "facebook/DiT-XL-2-256",
    "dit_document": "microsoft/dit-base",
}
"""Where the published weights are, on the Hugging Face hub."""


def is_own_name(name: str) -> bool:
    """Return whether a model name belongs to this family."""
    return name in PUBLISHED or name.startswith(TIMM_PREFIX)


def backbone_kind(name: str) -> BackboneKind:
    """Return which backbone a name of this family has."""
    if name == "dit_diffusion":
        return "dit_diffusion"
    return "dit_document" if name == "dit_document" else "timm"


def timm_name(name: str) -> str:
    """Return timm's name of `vit/<timm's name>`."""
    return name.removeprefix(TIMM_PREFIX)
