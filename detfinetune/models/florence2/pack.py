"""Samples as batches of pixels and answers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from detfinetune.config.resolved import RunConfig
from detfinetune.data.sample import Sample
from detfinetune.models.florence2.settings import Florence2Settings
from detfinetune.models.florence2.targets import Order, answer_tokens
from detfinetune.models.florence2.vocabulary import Vocabulary, build_vocabulary
from detfinetune.models.florence2.weights import base_folder, folder_shape
from detfinetune.models.pretrained import read_processor

IGNORED = -100
"""Label of padding."""


@dataclass(frozen=True)
class Florence2Batch:
    """Images of one size, and what to answer."""

    pixels: Tensor
    """uint8, RGB; (b, 3, h, w)."""

    labels: Tensor
    """Tokens of the answers, padded with -100; (b, t)."""

    sizes: tuple[tuple[int, int], ...]
    """Width and height of each image in its file."""


@dataclass(frozen=True)
class Florence2Packer:
    """Makes batches of samples."""

    vocabulary: Vocabulary
    order: Order
    max_tokens: int

    def __call__(self, samples: list[Sample]) -> Florence2Batch:
        """Return a batch; the images must have one size."""
        answers = [
            torch.tensor(answer_tokens(sample, self.vocabulary, self.order, self.max_tokens))
            for sample in samples
        ]
        images = np.stack([sample.image for sample in samples]).transpose(0, 3, 1, 2)
        return Florence2Batch(
            torch.from_numpy(np.ascontiguousarray(images)),
            torch.nn.utils.rnn.pad_sequence(answers, batch_first=True, padding_value=IGNORED),
            tuple((sample.width, sample.height) for sample in samples),
        )


def build_packer(config: RunConfig, classes: tuple[str, ...]) -> Florence2Packer:
    """Return the packer of a run.

    Raises:
        WeightsError: the base weights, which have the tokenizer, are missing.
    """
    settings = config.model
    assert isinstance(settings, Florence2Settings)
    folder = base_folder(settings)
    vocabulary = build_vocabulary(read_processor(folder).tokenizer, classes)
    return Florence2Packer(vocabulary, settings.order, folder_shape(folder).answer_tokens)
