"""Answers to any prompt, as text and regions: any tokens can be read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detfinetune.answer import Answer, Region
from detfinetune.labels.formats.location_bins import COORDINATES, dequantize
from detfinetune.models.florence2.parse import Phrase, split_phrases
from detfinetune.models.florence2.tasks import Form
from detfinetune.models.florence2.vocabulary import location_tokens

_QUAD = 8
_SMALLEST_POLYGON = 6


@dataclass(frozen=True)
class AnswerReader:
    """Reads the answers of a model."""

    tokenizer: Any
    bins: Mapping[int, int]
    """By location token."""

    markup: frozenset[int]
    """Locations and all other tokens that are no part of a text."""

    separator: int
    """The token between polygons of one region."""

    start: int
    end: int

    def text(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens; all at once, because letters may have several."""
        kept = [token for token in tokens if token not in self.markup]
        decoded: str = self.tokenizer.decode(kept, clean_up_tokenization_spaces=False)
        return decoded.strip()

    def read(
        self, tokens: Sequence[int], form: Form, width: int, height: int, unnamed: str = ""
    ) -> Answer:
        """Read an answer.

        Args:
            tokens: up to the end, or up to the limit of tokens.
            form: of the answer.
            width: of the image, pixels.
            height: of the image, pixels.
            unnamed: text of polygons that come without one.
        """
        phrases, ended = split_phrases(tokens, self.bins, self.start, self.end)
        if form == "text":
            until = tokens.index(self.end) if ended else len(tokens)
            return Answer(width, height, self.text(tokens[:until]), cut_off=not ended)
        texts: list[str] = []
        shapes: list[list[NDArray[np.float64]]] = []
        invalid = 0
        for phrase in phrases:
            words = [tokens[at] for at in phrase.text]
            text = self.text(words)
            if not text and not phrase.locations:
                continue
            groups, rest = self._groups(phrase, tokens, form)
            kept = [
                dequantize(group, (width, height)) for group in groups if _has_area(group, form)
            ]
            invalid += len(groups) - len(kept) + rest
            if form == "polygons" and words == [self.separator] and shapes:
                shapes[-1] += kept
                continue
            if form == "polygons" and not text:
                text = texts[-1] if texts else unnamed
            texts += [text] * len(kept)
            shapes += [[shape] for shape in kept]
        regions = (_region(*pair, form) for pair in zip(texts, shapes, strict=True))
        return Answer(width, height, regions=tuple(regions), invalid=invalid, cut_off=not ended)

    def _groups(
        self, phrase: Phrase, tokens: Sequence[int], form: Form
    ) -> tuple[list[NDArray[np.int64]], bool]:
        """Return the bins of each shape, and whether there are too few for another."""
        count = len(phrase.locations)
        size = {"boxes": COORDINATES, "quads": _QUAD}.get(form)
        rest = not count or (count % size > 0 if size else count < _SMALLEST_POLYGON)
        size = size or max(_SMALLEST_POLYGON, count // 2 * 2)
        groups = [
            np.array([self.bins[tokens[at]] for at in group]) for group in phrase.groups(size)
        ]
        return groups, rest


def build_answer_reader(tokenizer: Any) -> AnswerReader:
    """Look up the tokens.

    Raises:
        WeightsError: the tokenizer has no locations.
    """
    bins = {int(token): number for number, token in enumerate(location_tokens(tokenizer))}
    added = tokenizer.get_added_vocab()
    return AnswerReader(
        tokenizer,
        bins,
        frozenset([*added.values(), *tokenizer.all_special_ids]),
        added.get("<sep>", -1),
        tokenizer.bos_token_id,
        tokenizer.eos_token_id,
    )


def _has_area(bins: NDArray[np.int64], form: Form) -> bool:
    x, y = bins[::2], bins[1::2]
    if form == "boxes":
        return bool(x[1] > x[0] and y[1] > y[0])
    return bool((x * np.roll(y, -1) - y * np.roll(x, -1)).sum() != 0)


def _region(text: str, shapes: list[NDArray[np.float64]], form: Form) -> Region:
    values = [tuple(shape.tolist()) for shape in shapes]
    return Region(text, values[0]) if form == "boxes" else Region(text, polygons=tuple(values))
