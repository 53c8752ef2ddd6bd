"""The `<OD>` answer that a sample should get: class names and locations, as token ids."""

from __future__ import annotations

from typing import Literal

import numpy as np

from detfinetune.data.sample import Sample
from detfinetune.labels.formats.location_bins import quantize
from detfinetune.models.florence2.vocabulary import Vocabulary

Order = Literal["raster", "shuffled"]


def answer_tokens(
    sample: Sample, vocabulary: Vocabulary, order: Order, max_tokens: int
) -> list[int]:
    """Return the tokens of an answer: of an image without objects, only its start and end.

    Objects that do not fit are left out. The answer then has no end, which would teach the model to
    stop there.

    Args:
        sample: augmented.
        vocabulary: of the model.
        order: `raster`: by the top of the box, then by its left; `shuffled`: drawn from numpy's
            global generator, which the loader seeds for each sample.
        max_tokens: of an answer.
    """
    height, width = sample.image.shape[:2]
    bins = quantize(sample.boxes, (width, height))
    numbers = (
        np.lexsort((bins[:, 0], bins[:, 1]))
        if order == "raster"
        else np.random.permutation(len(bins))
    )
    tokens = [vocabulary.start]
    for number in numbers:
        name = vocabulary.names[sample.class_ids[number]]
        added = [*name, *vocabulary.locations[bins[number]].tolist()]
        if len(tokens) + len(added) + 1 > max_tokens:
            return tokens
        tokens += added
    return [*tokens, vocabulary.end]
