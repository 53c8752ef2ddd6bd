"""One class under two spellings: case, separators, plural, British and American, slips."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

SpellingKind = Literal["case or separators", "plural", "same word", "typing slip"]

# A digit on both sides keeps the separator: class_1_1 is not class_11.
_WORD_BREAK = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_SEPARATORS = re.compile(r"[\s_\-./\\:,'\"()]+")

_SAME_WORD = {
    "aeroplane": "airplane", "plane": "airplane", "aircrafts": "aircraft", "tyre": "tire",
    "grey": "gray", "colour": "color", "coloured": "colored", "centre": "center",
    "metre": "meter", "fibre": "fiber", "theatre": "theater", "harbour": "harbor",
    "armour": "armor", "armoured": "armored", "kerb": "curb", "plough": "plow", "mould": "mold",
    "moustache": "mustache", "axe": "ax", "yoghurt": "yogurt", "doughnut": "donut",
    "catalogue": "catalog", "aluminium": "aluminum", "jewellery": "jewelry",
    "licence": "license", "pyjamas": "pajamas", "tumour": "tumor", "haemorrhage": "hemorrhage",
    "oedema": "edema", "odour": "odor", "vapour": "vapor", "motorbike": "motorcycle",
    "television": "tv", "neighbour": "neighbor", "parlour": "parlor", "sulphur": "sulfur",
    "unlabelled": "unlabeled", "labelled": "labeled", "modelled": "modeled",
    "men": "man", "women": "woman", "children": "child", "mice": "mouse", "feet": "foot",
    "teeth": "tooth", "geese": "goose", "leaves": "leaf", "knives": "knife", "wolves": "wolf",
    "loaves": "loaf", "shelves": "shelf", "calves": "calf",
}  # fmt: skip
"""British and American spellings, short forms and irregular plurals that mean the same."""

# Plurals that are things of their own.
_OWN_PLURALS = frozenset({"glasses", "goods", "arms", "customs", "woods", "boxers", "briefs"})

_SHORTEST_SLIP = 6
"""Letters a word needs for one wrong letter to be a slip rather than another word."""


@dataclass(frozen=True)
class Spelling:
    """Two classes that are probably one."""

    first: int
    second: int
    kind: SpellingKind


def same_classes(names: Sequence[str]) -> list[Spelling]:
    """Return pairs of class names that are probably one class, each pair once, in order.

    Two names are one class when they differ only in case, accents and separators, in the plural
    of a word, or in words of a short list (aeroplane and airplane, tyre and tire). They may be one
    when a single letter of one word of at least six letters is wrong, missing, too many or swapped
    with the next; first letters and digits must agree (class_1, class_2; RBC, WBC; donkey,
    monkey are different).
    """
    words = [_words(name) for name in names]
    found: dict[tuple[int, int], SpellingKind] = {}
    joined = ["".join(w) for w in words]
    for pair in _sharing([{name} for name in joined]):
        found[pair] = "case or separators"
    synonyms = [
        {name, _SAME_WORD.get(name, name), "".join(_SAME_WORD.get(word, word) for word in w)}
        for name, w in zip(joined, words, strict=True)
    ]
    for pair in _sharing(synonyms):
        found.setdefault(pair, "same word")
    singular = [{name, *_singulars(w)} for name, w in zip(joined, words, strict=True)]
    for first, second in _sharing(singular):
        # Two plurals with one would-be singular (such as bases, basis) are not enough.
        if {joined[first], joined[second]} & singular[first] & singular[second]:
            found.setdefault((first, second), "plural")
    for pair in _slips(words):
        found.setdefault(pair, "typing slip")
    return [Spelling(*pair, kind) for pair, kind in sorted(found.items())]


def _words(name: str) -> list[str]:
    """Return the lower-case words of a name, without accents; digits of a number stay apart."""
    plain = unicodedata.normalize("NFKD", name)
    plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
    words = [word for word in _SEPARATORS.split(_WORD_BREAK.sub(" ", plain)) if word]
    apart = [
        f"_{word}" if index and word[0].isdigit() and words[index - 1][-1].isdigit() else word
        for index, word in enumerate(words)
    ]
    return [word.lower() for word in apart] or [name]


def _singulars(words: Sequence[str]) -> Iterator[str]:
    """Yield the joined name with one word in each form it may be the plural of."""
    for index, word in enumerate(words):
        for form in _word_singulars(word):
            yield "".join((*words[:index], form, *words[index + 1 :]))


def _word_singulars(word: str) -> Iterator[str]:
    if len(word) < 4 or word in _OWN_PLURALS or not word.endswith("s") or word.endswith("ss"):
        return
    if not word.endswith(("us", "is")):
        yield word[:-1]
    if word.endswith(("ses", "xes", "zes", "ches", "shes", "oes")):
        yield word[:-2]
    if word.endswith("ies") and len(word) > 4:
        yield word[:-3] + "y"


def _sharing(keys: Sequence[set[str]]) -> Iterator[tuple[int, int]]:
    """Yield each pair of indices that share a key, the lower first."""
    holders: dict[str, list[int]] = defaultdict(list)
    for index, own in enumerate(keys):
        for key in own:
            holders[key].append(index)
    seen = {pair for held in holders.values() for pair in combinations(held, 2)}
    yield from sorted(seen)


def _slips(words: Sequence[Sequence[str]]) -> Iterator[tuple[int, int]]:
    """Yield pairs that differ by one letter in one long word.

    Words at distance 1 have a form in common once a letter of one or both is left out, so only
    names that share such a form are compared (Garbe's symmetric delete).
    """
    shortened = [
        {
            "\n".join((*w[:i], word[:at] + word[at + 1 :], *w[i + 1 :]))
            for i, word in enumerate(w)
            if len(word) >= _SHORTEST_SLIP and word.isalpha()
            for at in range(1, len(word) + 1)
        }
        | {"\n".join(w)}
        for w in words
    ]
    for first, second in _sharing(shortened):
        pairs = [(a, b) for a, b in zip(words[first], words[second], strict=False) if a != b]
        if len(words[first]) == len(words[second]) and len(pairs) == 1:
            a, b = pairs[0]
            if min(len(a), len(b)) >= _SHORTEST_SLIP and a[0] == b[0] and one_slip(a, b):
                yield first, second


def one_slip(first: str, second: str) -> bool:
    """Say whether one letter wrong, missing, too many, or swapped with the next tells them apart.

    Equal words are no slip.
    """
    if len(first) > len(second):
        first, second = second, first
    start = 0
    while start < len(first) and first[start] == second[start]:
        start += 1
    rest, other = first[start:], second[start:]
    if len(first) == len(second):
        swapped = rest[:2] == other[1::-1] and rest[2:] == other[2:]
        return bool(rest) and (rest[1:] == other[1:] or (len(rest) > 1 and swapped))
    return len(second) - len(first) == 1 and rest == other[1:]
