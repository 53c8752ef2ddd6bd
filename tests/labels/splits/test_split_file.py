"""Split files: written whole and sorted, read back equal, every wrong line named."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detfinetune.errors import ConfigError, DataError
from detfinetune.labels.dataset.records import SplitRow
from detfinetune.labels.splits.assign import HELD_OUT, fold_splits
from detfinetune.labels.splits.split_file import (
    listed_splits,
    read_split_file,
    split_rows,
    write_split_file,
)

NAMES = ["b/1.jpg", "a/1.jpg", "a/2.jpg", "c.jpg"]


def test_the_file_is_sorted_and_plain(tmp_path: Path) -> None:
    path = tmp_path / "splits" / "split.csv"
    write_split_file(path, split_rows(NAMES, {"train": [0, 1], "val": [2], "test": [3]}))
    assert path.read_bytes() == (
        b"file_name,split\na/1.jpg,train\na/2.jpg,val\nb/1.jpg,train\nc.jpg,test\n"
    )
    rows = split_rows(
        NAMES, {"train": [0, 1, 2], "test": [3]}, fold_of=[0, 1, 1, HELD_OUT], groups=list("baac")
    )
    write_split_file(path, rows)
    assert path.read_text() == (
        "file_name,split,fold,group\n"
        "a/1.jpg,train,1,a\n"
        "a/2.jpg,train,1,a\n"
        "b/1.jpg,train,0,b\n"
        "c.jpg,test,,c\n"
    )
    assert read_split_file(path) == tuple(sorted(rows, key=lambda row: row.file_name))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([SplitRow("a\\1.jpg", "train"), SplitRow("a/1.jpg", "val")], "'a/1.jpg' .*listed twice"),
        ([SplitRow("a\n1.jpg", "train")], "holds a line end"),
        ([SplitRow("a\udc80.jpg", "train")], "not valid Unicode"),
    ],
)
def test_what_cannot_be_listed_leaves_the_old_file(
    tmp_path: Path, rows: list[SplitRow], message: str
) -> None:
    path = tmp_path / "split.csv"
    path.write_text("old")
    with pytest.raises(DataError, match=message):
        write_split_file(path, rows)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_words_and_separators_that_people_use(tmp_path: Path) -> None:
    path = tmp_path / "split.csv"
    text = (
        "Split; Filename\nTraining; .\\a\\1.jpg\n\nvalid;b.jpg\nvalidation;c.jpg\ntesting;d.jpg\n"
    )
    path.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    assert read_split_file(path) == (
        SplitRow("a/1.jpg", "train"),
        SplitRow("b.jpg", "val"),
        SplitRow("c.jpg", "val"),
        SplitRow("d.jpg", "test"),
    )
    assert [row.line for row in read_split_file(path)] == [2, 4, 5, 6]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file_name,split\na.jpg,trian", r":2: unknown split 'trian'\. Did you mean 'train'\?"),
        ("file_name,split\na.jpg,", r":2: unknown split ''\. Splits are train, val and test"),
        (
            "file_name,split\na.jpg,train\nb.jpg,val\n./a.jpg,test",
            r":4: 'a\.jpg' is in test here and in train in line 2\. Leave one",
        ),
        (
            "file_name,split,fold,group\na.jpg,train,0,x\na.jpg,train,1,x",
            r":3: 'a\.jpg' is in train, fold 1, group x here and in train, fold 0, group x in",
        ),
        ("file_name,split,fold\na.jpg,train,1.5", r":2: fold '1\.5' should be a whole number"),
        ("file_name,split,fold\na.jpg,train,²", r":2: fold '²' should be a whole number"),
        (
            "file_name,split,gruop\na.jpg,train,",
            r":1: unknown column 'gruop'\. Did you mean 'group'",
        ),
        (
            "file_name,part\na.jpg,train",
            ":1: there is no column 'split'.*file_name,split,fold,group",
        ),
        ("file_name,split,split\na.jpg,train,val", ":1: column 'split' is there twice"),
        ("file_name,split\na.jpg", r":2: 1 cells, and the heading has 2 \(file_name,split\)"),
        ("file_name,split\n,train", ":2: the file name is empty"),
        ('file_name,split\n"a.jpg,train\nb.jpg,val', ":2: a quote opens here"),
        ('"file_name,split\na.jpg,train', ":1: a quote opens here"),
        ("file_name,split\n", "it lists no images"),
        ("", ":1: there is no column 'file_name'"),
    ],
)
def test_wrong_lines_are_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "split.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=rf"split\.csv:? ?{message}"):
        read_split_file(path)


def test_every_wrong_line_is_told_of_at_once(tmp_path: Path) -> None:
    path = tmp_path / "split.csv"
    path.write_text("file_name,split\n" + "".join(f"{i}.jpg,x{i}\n" for i in range(14)))
    with pytest.raises(DataError) as caught:
        read_split_file(path)
    lines = str(caught.value).splitlines()
    assert [line.split(": ")[0] for line in lines[:10]] == [f"{path}:{i}" for i in range(2, 12)]
    assert lines[10:] == ["... and 4 more."]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"split\.csv: cannot be read \(No such file"):
        read_split_file(tmp_path / "split.csv")


# --- against the images that are there ------------------------------------------------------------


def test_both_sides_say_what_the_other_lacks(tmp_path: Path) -> None:
    path = tmp_path / "split.csv"
    path.write_text("file_name,split\na/1.jpg,train\ngone.jpg,val\na/2.jpg,val\n")
    found = listed_splits(read_split_file(path), NAMES)
    assert found.splits == {"train": [1], "val": [2]}
    assert found.missing == (SplitRow("gone.jpg", "val"),)
    assert found.unlisted == ("b/1.jpg", "c.jpg")
    assert found.notes(path) == [
        f"{path}: 1 listed images are missing, such as 'gone.jpg' on line 3",
        f"{path} does not list 2 images, which are ignored, such as 'b/1.jpg'",
    ]


def test_names_without_their_folder_count_where_they_are_alone() -> None:
    rows = [
        SplitRow("c", "train"),
        SplitRow("images/2.jpg", "val"),
        SplitRow("1.jpg", "test"),  # which of a/1.jpg and b/1.jpg?
    ]
    found = listed_splits(rows, NAMES)
    assert found.splits == {"train": [3], "val": [2]}
    assert found.missing == (SplitRow("1.jpg", "test"),)
    assert found.unlisted == ("b/1.jpg", "a/1.jpg")
    # The whole path is what counts first, and then leaves only one of the two.
    found = listed_splits([*rows, SplitRow("a/1.jpg", "train")], NAMES)
    assert found.splits == {"train": [1, 3], "val": [2], "test": [0]}


def test_a_fold_is_val_and_the_others_train() -> None:
    fold_of = [0, 1, 1, HELD_OUT]
    rows = split_rows(NAMES, {"train": [0, 1, 2], "test": [3]}, fold_of=fold_of)
    for fold in (0, 1):
        assert listed_splits(rows, NAMES, fold=fold).splits == fold_splits(fold_of, fold)
    assert listed_splits(rows, NAMES).splits == {"train": [0, 1, 2], "test": [3]}
    with pytest.raises(ConfigError, match=r"data\.fold=2: .*no such fold; its folds are 0, 1"):
        listed_splits(rows, NAMES, fold=2)
    with pytest.raises(ConfigError, match=r"data\.fold=0: .*no such fold; it has no folds"):
        listed_splits([SplitRow("c.jpg", "val")], NAMES, fold=0)


def test_a_split_of_other_data() -> None:
    with pytest.raises(DataError, match=r"None of the 1 images .*'x\.jpg'.* has 'b/1\.jpg'"):
        listed_splits([SplitRow("x.jpg", "val")], NAMES)


# --- properties ----------------------------------------------------------------------------------

# Whatever a file system takes; a backslash is a separator here, and "./" says nothing.
FILE_NAME = (
    st.text(st.characters(exclude_characters="\\\r\n\0", exclude_categories=("Cs",)), min_size=1)
    .filter(lambda name: not name.startswith("./"))
)  # fmt: skip
ROWS = st.lists(
    st.builds(
        SplitRow,
        FILE_NAME,
        st.sampled_from(["train", "val", "test"]),
        st.one_of(st.none(), st.integers(0, 20)),
        st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=("Cs",))).map(
            str.strip
        ),
    ),
    min_size=1,
    unique_by=lambda row: row.file_name,
)


@given(ROWS)
def test_any_rows_come_back(rows: list[SplitRow]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "split.csv"
        write_split_file(path, rows)
        assert list(read_split_file(path)) == sorted(rows, key=lambda row: row.file_name)


@given(st.one_of(st.binary(), st.text().map(lambda text: f"file_name,split\n{text}".encode())))
def test_any_bytes_are_read_or_refused_by_name(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "split.csv"
        path.write_bytes(content)
        said, rows = "", ()
        try:
            rows = read_split_file(path)
        except DataError as error:
            said = str(error)
        assert said.startswith(str(path)) != bool(rows)
        assert all(row.split in {"train", "val", "test"} for row in rows)
