"""Answers of the model as boxes: any tokens can be read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from detfinetune.labels.formats.location_bins import COORDINATES, dequantize
from detfinetune.models.florence2.vocabulary import Vocabulary


@dataclass(frozen=True)
class Phrase:
    """A part of an answer: some text, then locations. Either may be missing."""

    text: list[int]
    """Positions of its tokens in the answer."""

    locations: list[int]
    """Likewise."""

    def groups(self, size: int) -> Iterator[list[int]]:
        """Yield whole groups of `size` locations, as positions."""
        for first in range(0, len(self.locations) - size + 1, size):
            yield self.locations[first : first + size]


def split_phrases(
    tokens: Sequence[int], bins: Mapping[int, int], start: int, end: int
) -> tuple[list[Phrase], bool]:
    """Return the phrases of an answer, and whether it has an end.

    Args:
        tokens: of the answer; what follows its end is ignored.
        bins: by location token.
        start: token that is skipped.
        end: token of the end.
    """
    phrases: list[Phrase] = []
    for at, token in enumerate(tokens):
        if token == end:
            return phrases, True
        if token == start:
            continue
        location = token in bins
        if not phrases or (phrases[-1].locations and not location):
            phrases.append(Phrase([], []))
        (phrases[-1].locations if location else phrases[-1].text).append(at)
    return phrases, False


@dataclass(frozen=True)
class ParsedAnswer:
    """The objects of one answer, in its order."""

    boxes: NDArray[np.float64]
    """x1, y1, x2, y2 in pixels; (n, 4)."""

    class_ids: NDArray[np.int64]
    scores: NDArray[np.float64]
    """Probability of the class name times the geometric mean of those of the locations; (n,)."""

    cut_off: bool
    """Whether the answer ended within an object, which is left out."""

    invalid: int
    """Objects left out: of an unknown class, without area, or with less than four locations."""


def parse_answer(
    tokens: Sequence[int],
    probabilities: Sequence[float],
    vocabulary: Vocabulary,
    width: float,
    height: float,
) -> ParsedAnswer:
    """Read an answer.

    Further groups of four locations after a class name are objects of that class, as Florence-2
    writes them too.

    Args:
        tokens: up to the end, or up to the limit of tokens.
        probabilities: of each token.
        vocabulary: of the model.
        width: of the image, pixels.
        height: of the image, pixels.
    """
    found: list[tuple[int, list[int], float]] = []
    phrases, ended = split_phrases(tokens, vocabulary.bins, vocabulary.start, vocabulary.end)
    for phrase in phrases:
        class_id = vocabulary.class_ids.get(tuple(tokens[at] for at in phrase.text))
        name_probability = prod(probabilities[at] for at in phrase.text)
        for at in phrase.groups(COORDINATES):
            box = [vocabulary.bins[tokens[each]] for each in at]
            if class_id is not None and box[2] > box[0] and box[3] > box[1]:
                box_probability = prod(probabilities[each] for each in at) ** (1 / COORDINATES)
                found.append((class_id, box, name_probability * box_probability))
    whole = sum(len(phrase.locations) // COORDINATES for phrase in phrases)
    partial = [
        not phrase.locations or len(phrase.locations) % COORDINATES > 0 for phrase in phrases
    ]
    cut_off = not ended and partial[-1:] == [True]
    bins = np.array([box for _, box, _ in found], dtype=np.int64).reshape(-1, COORDINATES)
    return ParsedAnswer(
        dequantize(bins, (width, height)),
        np.array([class_id for class_id, _, _ in found], dtype=np.int64),
        np.array([score for _, _, score in found]),
        cut_off=cut_off,
        invalid=whole - len(found) + sum(partial) - cut_off,
    )
