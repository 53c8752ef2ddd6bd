"""Answers of the model as boxes: any tokens can be read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detfinetune.models.florence2.bins import COORDINATES, dequantize
from detfinetune.models.florence2.vocabulary import Vocabulary


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
    name: list[int] = []
    box: list[int] = []
    name_probability, box_probability = 1.0, 1.0
    named_boxes, invalid, ended = 0, 0, False
    for token, probability in zip(tokens, probabilities, strict=True):
        if token == vocabulary.start:
            continue
        if token == vocabulary.end:
            ended = True
            break
        if token not in vocabulary.bins:
            if box or named_boxes:
                invalid += bool(box)
                name, box, name_probability, named_boxes = [], [], 1.0, 0
            name.append(token)
            name_probability *= probability
            continue
        box_probability = probability * (box_probability if box else 1.0)
        box.append(vocabulary.bins[token])
        if len(box) == COORDINATES:
            class_id = vocabulary.class_ids.get(tuple(name))
            if class_id is None or box[2] <= box[0] or box[3] <= box[1]:
                invalid += 1
            else:
                score = name_probability * box_probability ** (1 / COORDINATES)
                found.append((class_id, box, score))
            box = []
            named_boxes += 1
    pending = bool(box) or (bool(name) and not named_boxes)
    bins = np.array([box for _, box, _ in found], dtype=np.int64).reshape(-1, COORDINATES)
    return ParsedAnswer(
        dequantize(bins, width, height),
        np.array([class_id for class_id, _, _ in found], dtype=np.int64),
        np.array([score for _, _, score in found]),
        cut_off=pending and not ended,
        invalid=invalid + (pending and ended),
    )
