"""Builds the detector: base weights, adapters, gradient checkpointing."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import chain
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint

from detfinetune.config.resolved import RunConfig
from detfinetune.models.family import BaseWeights
from detfinetune.models.florence2.model import Florence2Model
from detfinetune.models.florence2.settings import Florence2Settings
from detfinetune.models.florence2.vocabulary import Vocabulary, build_vocabulary
from detfinetune.models.florence2.weights import ARCHITECTURE, find_base_weights, folder_shape
from detfinetune.models.pretrained import read_network, read_processor

# What `<OD>` stands for; the model never sees the task's name.
_QUESTION = "Locate the objects with category name in the image."
_VISION = r".*vision_tower\..*"


def build_model(
    config: RunConfig, classes: tuple[str, ...], base: BaseWeights | None
) -> Florence2Model:
    """Build the detector of a run on the CPU; a checkpoint needs its base weights too.

    Raises:
        WeightsError: the base weights are missing, or not Florence-2's.
    """
    settings = config.model
    assert isinstance(settings, Florence2Settings)
    weights = base or find_base_weights(settings)
    assert weights.path is not None
    assert weights.sha256 is not None
    processor = read_processor(weights.path)
    vocabulary = build_vocabulary(processor.tokenizer, classes)
    network = read_network(weights.path, ARCHITECTURE)
    if settings.freeze_vision:
        network.model.vision_tower.requires_grad_(False)
    if settings.lora_rank:
        add_adapters(network, settings)
    if settings.gradient_checkpointing:
        checkpoint_activations(network)
    model = Florence2Model(
        network,
        vocabulary,
        torch.tensor(processor.tokenizer(_QUESTION).input_ids),
        torch.tensor(processor.image_processor.image_mean),
        torch.tensor(processor.image_processor.image_std),
        classes,
        weights.sha256,
        folder_shape(weights.path).answer_tokens,
    )
    model.notes = (
        f"base weights: {weights.description}",
        f"  licence of the published weights: {weights.licence}",
        _trained_share(model),
        *_aliases(classes, vocabulary),
    )
    return model


def add_adapters(network: Any, settings: Florence2Settings) -> None:
    """Add LoRA to all linear layers but the head, in place, and freeze all other weights."""
    from peft import LoraConfig, inject_adapter_in_model

    adapters = LoraConfig(
        r=settings.lora_rank,
        lora_alpha=settings.lora_alpha,
        lora_dropout=settings.lora_dropout,
        target_modules="all-linear",
        exclude_modules=_VISION if settings.freeze_vision else None,
    )
    inject_adapter_in_model(adapters, network)


def checkpoint_activations(network: Any) -> None:
    """Compute activations again in the backward pass.

    What `transformers` offers for this covers only the language model, not the vision tower.
    """
    language = network.model.language_model
    stages = network.model.vision_tower.blocks
    for block in (*chain.from_iterable(stages), *language.encoder.layers, *language.decoder.layers):
        block.forward = partial(_forward_twice, block.forward)


def _forward_twice(forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    if not torch.is_grad_enabled():
        return forward(*args, **kwargs)
    return checkpoint(forward, *args, use_reentrant=False, **kwargs)


def _trained_share(model: Florence2Model) -> str:
    trained = sum(value.numel() for value in model.parameters() if value.requires_grad)
    total = sum(value.numel() for value in model.parameters())
    return f"  trained: {trained:,} of {total:,} parameters ({100 * trained / total:.1f} %)"


def _aliases(classes: tuple[str, ...], vocabulary: Vocabulary) -> list[str]:
    pairs = [
        f"{name} as {written}"
        for name, written in zip(classes, vocabulary.written, strict=True)
        if name != written
    ]
    return [f"  class names that the model writes in another way: {', '.join(pairs)}"][: len(pairs)]
