"""Class names from every place they may stand in, and what class numbers mean."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from conftest import MakeDataset

from detfinetune.config.schema import DataConfig
from detfinetune.errors import DataError
from detfinetune.labels.dataset.labelled_dataset import LabelledDataset
from detfinetune.labels.discovery.class_names import (
    ClassIndex,
    build_class_index,
    find_class_names,
    read_class_names,
)
from detfinetune.labels.formats.raw_labels import BadLabel
from detfinetune.labels.read import read_dataset


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


SPLITS = ["train/a.jpg", "train/b.jpg", "val/c.jpg"]


def read(root: Path, **options: Any) -> LabelledDataset:
    return read_dataset(DataConfig(root=root, val_fraction=0, test_fraction=0, **options))


def label_texts(images: list[str]) -> dict[str, str]:
    return {f"{name[:-4]}.txt": f"{i % 2} 0.5 0.5 0.2 0.2\n" for i, name in enumerate(images)}


CONTRADICTION = {"train/classes.txt": "cat\ndog\n", "val/classes.txt": "dog\ncat\n"}


def test_lists_that_contradict_each_other_are_refused(make_dataset: MakeDataset) -> None:
    root = make_dataset(SPLITS, label_texts(SPLITS) | CONTRADICTION)
    with pytest.raises(DataError) as raised:
        read(root)
    assert str(raised.value).startswith(
        f"{root}/val/classes.txt: its classes (dog, cat) contradict those of "
        f"{root}/train/classes.txt (cat, dog)"
    )
    assert read(root, classes=["cat", "dog"]).classes == ("cat", "dog")


def test_folders_of_label_files_have_lists_of_their_own(make_dataset: MakeDataset) -> None:
    texts = label_texts(["labels/x/a.jpg", "labels/y/b.jpg"])
    texts |= {"labels/x/classes.txt": "cat\ndog\n", "labels/y/classes.txt": "dog\ncat\n"}
    with pytest.raises(DataError, match=r"y/classes.txt: its classes \(dog, cat\) contradict"):
        read(make_dataset(["images/x/a.jpg", "images/y/b.jpg"], texts))


def test_a_list_may_hold_only_the_first_classes_of_another(make_dataset: MakeDataset) -> None:
    lists = {"train/classes.txt": "cat\n", "val/classes.txt": "cat\ndog\n"}
    assert read(make_dataset(SPLITS, label_texts(SPLITS) | lists)).classes == ("cat", "dog")


def test_words_need_no_list(make_dataset: MakeDataset) -> None:
    texts = {f"{name[:-4]}.txt": "cat 10 10 40 40\n" for name in SPLITS}
    assert read(make_dataset(SPLITS, texts | CONTRADICTION)).ledger.counts["train"].kept == 2


def test_other_lists_are_named(make_dataset: MakeDataset) -> None:
    names = ["images/a.jpg", "images/b.jpg"]
    texts = label_texts(["labels/a.jpg", "labels/b.jpg"])
    texts |= {
        "labels/classes.txt": "dog\ntv\n", "data.yaml": "names: [cat, dog]\n",
        "names.txt": "a\n\nb",
    }  # fmt: skip
    root = make_dataset(names, texts)
    dataset = read(root)
    assert dataset.classes == ("dog", "tv")
    assert [note.partition(":")[0] for note in dataset.notes[:2]] == [
        f"{root}/names.txt is not used", f"{root}/data.yaml is not used",
    ]  # fmt: skip
    (root / "data.yaml").write_text("names: [dog, tv]\n")
    assert not any("data.yaml" in note for note in read(root).notes)


def test_a_list_beside_labels_outside_of_the_root(make_dataset: MakeDataset) -> None:
    labels = make_dataset([], label_texts(["sub/a.jpg"]) | {"classes.txt": "cat\ndog\n"}, "marks")
    dataset = read(make_dataset(["images/sub/a.jpg"], {}), images="images", labels=str(labels))
    assert dataset.classes == ("cat", "dog")


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


def test_class_numbers_of_a_table_may_have_a_decimal_point(make_dataset: MakeDataset) -> None:
    rows = "".join(f"a.jpg,{n}1,1,{n}9,9,{n % 2}.0\n" for n in range(1, 5))
    texts = {"boxes.csv": f"filename,xmin,ymin,xmax,ymax,class\n{rows}", "classes.txt": "cat\ndog"}
    dataset = read_dataset(DataConfig(root=make_dataset(["a.jpg"], texts)))
    assert dataset.classes == ("cat", "dog")
    assert sum(table.num_objects for table in dataset.tables.values()) == 4
