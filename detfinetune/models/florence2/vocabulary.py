"""The token ids that `<OD>` answers are made of."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detfinetune.errors import WeightsError
from detfinetune.labels.formats.location_bins import BINS, COORDINATES


@dataclass(frozen=True)
class Vocabulary:
    """Token ids of class names, locations and ends."""

    written: tuple[str, ...]
    """What stands for each class in an answer, by class id."""

    names: tuple[tuple[int, ...], ...]
    """Tokens of that, by class id."""

    locations: NDArray[np.int64]
    """Tokens of `<loc_0>` to `<loc_999>`; (1000,)."""

    start: int
    end: int

    @property
    def longest_object(self) -> int:
        """Tokens of an object with the longest class name."""
        return max(map(len, self.names)) + COORDINATES

    @cached_property
    def bins(self) -> dict[int, int]:
        """Bins by location token."""
        return {int(token): number for number, token in enumerate(self.locations)}

    @cached_property
    def class_ids(self) -> dict[tuple[int, ...], int]:
        """Class ids by the tokens of their names."""
        return {name: class_id for class_id, name in enumerate(self.names)}


def build_vocabulary(tokenizer: Any, classes: Sequence[str]) -> Vocabulary:
    """Look up the tokens.

    Args:
        tokenizer: of Florence-2's processor.
        classes: class names by class id.

    Raises:
        WeightsError: the tokenizer has no locations.
    """
    written = written_names(classes)
    names = [tuple(tokenizer(name, add_special_tokens=False).input_ids) for name in written]
    return Vocabulary(
        written,
        tuple(names),
        location_tokens(tokenizer),
        tokenizer.bos_token_id,
        tokenizer.eos_token_id,
    )


def location_tokens(tokenizer: Any) -> NDArray[np.int64]:
    """Return the tokens of `<loc_0>` to `<loc_999>`; (1000,).

    Raises:
        WeightsError: the tokenizer does not have them.
    """
    tokens = tokenizer.convert_tokens_to_ids([f"<loc_{number}>" for number in range(BINS)])
    if len(set(tokens) - {tokenizer.unk_token_id}) < BINS:
        raise WeightsError(
            "The tokenizer of model.weights lacks the tokens <loc_0> to <loc_999>, so it is not "
            "Florence-2's. Copy the tokenizer of the published model into the folder."
        )
    return np.array(tokens, dtype=np.int64)


def written_names(classes: Sequence[str]) -> tuple[str, ...]:
    """Return what stands for each class in an answer: its name, or an alias in plain ASCII.

    Angle brackets would be read as special tokens; letters beyond ASCII are many tokens each, and
    `transformers` drops them from the answers of a merged model.
    """
    kept = {name for name in classes if _is_plain(name)}
    written: list[str] = []
    for class_id, name in enumerate(classes):
        if name not in kept:
            name = plain_name(name) or f"class {class_id}"
            while name in kept or name in written:
                name = f"{name} {class_id}"
        written.append(name)
    return tuple(written)


def _is_plain(name: str) -> bool:
    return bool(name) and plain_name(name) == name


def plain_name(name: str) -> str:
    """Return a name in plain ASCII, without angle brackets; empty if nothing is left."""
    decomposed = unicodedata.normalize("NFKD", name.replace("ß", "ss"))
    return " ".join(re.sub(r"[^ -~]|[<>]", "", decomposed).split())
