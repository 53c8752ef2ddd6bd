"""Class names from every place they may stand in, and what class numbers mean."""

from __future__ import annotations

from pathlib import Path

import pytest

from detfinetune.errors import DataError
from detfinetune.labels.discovery.class_names import (
    ClassIndex,
    build_class_index,
    find_class_names,
    read_class_names,
)
from detfinetune.labels.formats.raw_labels import BadLabel


@pytest.mark.parametrize(
    ("name", "text", "names"),
    [
        ("classes.txt", "cat\ndog\n", ("cat", "dog")),
        ("classes.txt", "\ufeffcat\r\nbig dog \r\n\r\n", ("cat", "big dog")),
        ("obj.names", "chien\nélan", ("chien", "élan")),
        ("data.yaml", "nc: 2\nnames: [cat, dog]\n", ("cat", "dog")),
        ("data.yaml", "names:\n  1: dog\n  0: cat\n", ("cat", "dog")),
        ("data.yaml", "names: {'0': cat, '1': dog}\n", ("cat", "dog")),
        ("data.yaml", "names: [1, 2]\n", ("1", "2")),
    ],
)
def test_read_class_names(tmp_path: Path, name: str, text: str, names: tuple[str, ...]) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    assert read_class_names(path) == names


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("classes.txt", "cat\n\ndog\n", "classes.txt:2: empty line among the class names"),
        ("classes.txt", "cat\ndog\ncat\n", "class name 'cat' is repeated (classes 0 and 2)"),
        ("classes.txt", "", "holds no class names"),
        ("data.yaml", "nc: 3\nnames: [cat, dog]\n", "nc is 3, but names holds 2 classes"),
        ("data.yaml", "names: {0: cat, 2: dog}\n", "must run from 0 without a gap, not [0, 2]"),
        ("data.yaml", "train: images\n", "has no `names:` list"),
        ("data.yaml", "names: [cat\n", "cannot be read as YAML"),
        ("data.yaml", "- cat\n", "is not a YAML file of `key: value` lines"),
    ],
)
def test_class_names_that_are_wrong(tmp_path: Path, name: str, text: str, message: str) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError) as raised:
        read_class_names(path)
    assert message in str(raised.value)
    assert str(path) in str(raised.value)


def test_names_nearest_to_the_labels_are_found_first(tmp_path: Path) -> None:
    labels = tmp_path / "labels" / "train"
    labels.mkdir(parents=True)
    (tmp_path / "classes.txt").write_text("far\n", encoding="utf-8")
    assert find_class_names(tmp_path, [labels]).names == ("far",)
    (labels.parent / "obj.names").write_text("near\n", encoding="utf-8")
    assert find_class_names(tmp_path, [labels]).names == ("near",)
    assert find_class_names(labels, [labels]) is None


@pytest.mark.parametrize(
    ("tokens", "names", "given", "first", "settled"),
    [
        (["0", "1"], ("a", "b"), None, 0, ("a", "b")),
        (["1", "2"], ("a", "b"), None, 1, ("a", "b")),
        (["1"], ("a", "b"), None, 0, ("a", "b")),
        (["1", "2"], ("a", "b", "c"), None, 0, ("a", "b", "c")),
        (["0", "1", "2"], ("a", "b"), None, 0, ("a", "b")),
        (["1", "2"], ("a", "b", "c"), 1, 1, ("a", "b", "c")),
        (["0", "2"], None, None, 0, ("class_0", "class_1", "class_2")),
        (["1", "2"], None, None, 1, ("class_1", "class_2")),
        (["dog", "cat"], None, None, 0, ("cat", "dog")),
        ([""], None, None, 0, ("object",)),
    ],
)
def test_numbering(
    tokens: list[str],
    names: tuple[str, ...] | None,
    given: int | None,
    first: int,
    settled: tuple[str, ...],
) -> None:
    index = build_class_index(tokens, names, given)
    assert (index.first_class, index.names) == (first, settled)


def test_contiguous_ids() -> None:
    index = ClassIndex(("cat", "Dog", "big bus"), 1)
    tokens = ["1", "3", "2.0", "cat", "dog", "BIG BUS"]
    assert [index.contiguous_id(token) for token in tokens] == [0, 2, 1, 0, 1, 2]
    for token, message in [
        ("0", "class 0 is out of range: the 3 classes are numbered 1 to 3"),
        ("4", "class 4 is out of range"),
        ("-1", "class -1 is out of range"),
        ("dgo", "unknown class 'dgo'. Did you mean 'Dog'?"),
        ("0.5", "unknown class '0.5'."),
    ]:
        with pytest.raises(BadLabel) as raised:
            index.contiguous_id(token)
        assert message in str(raised.value)


def test_no_class_list_out_of_coordinates() -> None:
    with pytest.raises(DataError, match="Class numbers in the labels reach 20000"):
        build_class_index(["20000"], None, None)
