"""Puts adapters into the base weights, and writes what `transformers` loads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from detfinetune.config.resolved import RunConfig
from detfinetune.models.florence2.weights import base_folder
from detfinetune.models.pretrained import quiet, read_processor


def write_merged(network: Any, config: RunConfig, folder: Path) -> None:
    """Write the network, whose adapters are merged in place, with processor and tokenizer.

    The processor resizes images to the size of the training.

    Args:
        network: `Florence2ForConditionalGeneration`, with or without adapters.
        config: of its run.
        folder: exists.

    Raises:
        WeightsError: the base weights, which have the tokenizer, are missing.
    """
    processor = read_processor(base_folder(config.model))
    _merge_adapters(network)
    side = config.augment.image_size
    with torch.no_grad():
        pixels = torch.zeros(1, 3, side, side)
        features = network.get_image_features(pixel_values=pixels).pooler_output
    processor.image_processor.size = {"height": side, "width": side}
    processor.image_processor.image_seq_length = features.shape[1]
    with quiet():
        network.save_pretrained(folder)
        processor.save_pretrained(folder)


def _merge_adapters(network: Any) -> None:
    from peft.tuners.tuners_utils import BaseTunerLayer

    for name, module in list(network.named_modules()):
        if isinstance(module, BaseTunerLayer):
            module.merge()
            parent, _, child = name.rpartition(".")
            setattr(network.get_submodule(parent), child, module.get_base_layer())
