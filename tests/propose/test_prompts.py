"""The words with which classes are looked for, and how many at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from detfinetune.errors import ConfigError
from detfinetune.propose.prompts import prompts_of_classes, read_prompts, split_phrases


def test_names_of_classes_become_words() -> None:
    names = ("T-shirt", "japanese_fruit", "fish", "fish tank", "St. John's wort", "Fußgänger")
    prompts = prompts_of_classes(names)
    assert prompts.classes == names
    assert prompts.phrases == (
        "t shirt", "japanese fruit", "fish", "fish tank", "st. john's wort", "fußgänger",
    )  # fmt: skip
    assert prompts.class_ids == (0, 1, 2, 3, 4, 5)


def test_a_file_gives_synonyms(tmp_path: Path) -> None:
    path = tmp_path / "prompts.yaml"
    # Of these, YAML would read a number, false, and nothing.
    path.write_text(
        "car: [car, Vehicle,  estate   car]\n1: [one, 1]\nno: none\nT-shirt:\n", encoding="utf-8"
    )
    prompts = read_prompts(path)
    assert prompts.classes == ("car", "1", "no", "T-shirt")
    assert prompts.phrases == ("car", "vehicle", "estate car", "one", "1", "none", "t shirt")
    assert prompts.class_ids == (0, 0, 0, 1, 1, 2, 3)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("- car\n", "this has no classes. Write a line for each class"),
        ("", "this has no classes"),
        ("car: {a: b}\n", "car: this is no list of phrases"),
        ("car: [[a]]\n", "car: this is no list of phrases"),
        ("car: [a\n", "cannot be read"),
        ("car: ['...']\n", "the class 'car' has no words to look for ('...')"),
        ("car: [auto]\nbus: [Auto]\n", "'Auto' stands for both 'car' and 'bus'"),
        ("a_b:\nA-B:\n", "'A B' stands for both 'a_b' and 'A-B'"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "prompts.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        read_prompts(path)
    assert str(caught.value).startswith(f"prompts={path}: ")
    assert problem in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"missing\.yaml: cannot be read"):
        read_prompts(tmp_path / "missing.yaml")


def test_phrases_are_looked_for_in_parts() -> None:
    assert split_phrases([1] * 45, 100) == [range(20), range(20, 40), range(40, 45)]
    assert split_phrases([4, 4, 4, 10, 1, 9, 9], 10) == [
        range(2), range(2, 3), range(3, 4), range(4, 6), range(6, 7),
    ]  # fmt: skip
    assert split_phrases([10], 10) == [range(1)]
