"""A hand-made vocabulary, whose tokens can be read: names are 10-99, bin b is 1000 + b."""

from __future__ import annotations

import numpy as np

from detfinetune.models.florence2.vocabulary import Vocabulary

START, END = 0, 2
VOCABULARY = Vocabulary(
    written=("car", "car park", "bus"),
    names=((10,), (10, 11), (12, 13)),
    locations=np.arange(1000, 2000),
    start=START,
    end=END,
)


def box(*bins: int) -> list[int]:
    """Return the tokens of locations."""
    return [1000 + bin_ for bin_ in bins]
