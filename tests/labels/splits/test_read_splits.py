"""How data in one piece is divided on its way in: by shares, groups, folds, or a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import MakeDataset
from hand_made import coco, plain_csv

from detfinetune.config.schema import DataConfig
from detfinetune.errors import ConfigError, DataError
from detfinetune.labels.convert import convert_dataset, write_converted
from detfinetune.labels.dataset.labelled_dataset import LabelledDataset
from detfinetune.labels.export import export_read
from detfinetune.labels.prepare import prepare_dataset
from detfinetune.labels.read import read_dataset
from detfinetune.labels.splits.split_file import read_split_file

LAKES = ("oak", "elm", "ash", "fir", "bay", "yew")
FRAMES = [f"{lake}_{number:03d}.jpg" for lake in LAKES for number in range(4)]
BY_LAKE = r"^([a-z]+)_\d+\.jpg$"


@pytest.fixture
def films(make_dataset: MakeDataset) -> Path:
    """Six films of four frames; cars in every frame, dogs in the first two frames of each."""
    scene = {
        name: [("car", 10, 10, 20, 20)]
        + [("dog", 40, 40, 20, 20)] * (int(name.rpartition("_")[2][:3]) < 2)
        for name in FRAMES
    }
    return make_dataset(FRAMES, {"boxes.csv": plain_csv(scene)})


@pytest.fixture
def films_as_coco(make_dataset: MakeDataset) -> Path:
    scene = {name: [("car", 10, 10, 20, 20), ("dog", 40, 40, 20, 20)] for name in FRAMES}
    return make_dataset([f"images/{name}" for name in FRAMES], {"boxes.json": coco(scene)})


def read(root: Path, **options: Any) -> LabelledDataset:
    return read_dataset(DataConfig(root=root, **options))


def names(dataset: LabelledDataset) -> dict[str, tuple[str, ...]]:
    return {split: table.names for split, table in dataset.tables.items()}


def lakes(images: tuple[str, ...]) -> set[str]:
    return {name.partition("_")[0] for name in images}


def test_groups_stay_whole(films: Path) -> None:
    split = names(read(films, split_groups=BY_LAKE))
    assert sorted(sum(split.values(), ())) == sorted(FRAMES)
    owners = [lakes(images) for images in split.values()]
    assert sum(map(len, owners)) == len(set.union(*owners)) == len(LAKES)
    assert {part: len(images) for part, images in split.items()} == {
        "train": 16, "val": 4, "test": 4,
    }  # fmt: skip
    # Without groups, frames of one film are on both sides.
    torn = names(read(films))
    assert lakes(torn["train"]) & lakes(torn["val"])


def test_groups_from_a_table(films: Path) -> None:
    rows = [f"{name},{'wet' if name[0] in 'ofy' else 'dry'}" for name in FRAMES]
    (films / "groups.csv").write_text("\n".join(["file_name,group", *rows]) + "\n")
    split = names(
        read(films, split_groups="groups.csv", annotations="boxes.csv", test_fraction=0,
             val_fraction=0.4)
    )  # fmt: skip
    # Two groups only: what is wet is on one side, what is dry on the other.
    assert {frozenset(lakes(images)) for images in split.values()} == {
        frozenset(("oak", "fir", "yew")), frozenset(("elm", "ash", "bay")),
    }  # fmt: skip


def test_each_class_gets_its_share(films: Path) -> None:
    dataset = read(films, val_fraction=0.25, test_fraction=0.25)
    dogs = {
        split: int((table.categories == dataset.classes.index("dog")).sum())
        for split, table in dataset.tables.items()
    }
    assert sum(dogs.values()) == 12
    assert min(dogs.values()) >= 2
    sizes = ", ".join(f"{table.num_images} {split}" for split, table in dataset.tables.items())
    assert f"balanced by class (seed 0: {sizes})" in dataset.notes[0]
    plain = read(films, val_fraction=0.25, test_fraction=0.25, stratify=False)
    assert "balanced" not in plain.notes[0]


def test_folds_take_turns(films: Path) -> None:
    options = {"folds": 3, "test_fraction": 0.0, "split_groups": BY_LAKE}
    validated: list[str] = []
    for fold in range(3):
        split = names(read(films, fold=fold, **options))
        assert not lakes(split["train"]) & lakes(split["val"])
        assert (len(split["train"]), len(split["val"])) == (16, 8)
        validated += split["val"]
    assert sorted(validated) == sorted(FRAMES)
    assert names(read(films, **options)) == names(read(films, fold=0, **options))


def test_a_fold_without_folds_is_refused() -> None:
    with pytest.raises(ValueError, match="fold needs folds, or a split_file with folds"):
        DataConfig(fold=1)


def test_a_fold_that_is_not_there(films: Path) -> None:
    with pytest.raises(ConfigError, match=r"data\.fold=3"):
        read(films, folds=3, fold=3)


WRITERS: dict[str, Callable[[LabelledDataset, Path], object]] = {
    "coco": write_converted,
    "yolo": lambda dataset, output: export_read(dataset, output, "yolo"),
    "voc": lambda dataset, output: export_read(dataset, output, "voc"),
    "txt": lambda dataset, output: export_read(dataset, output, "txt"),
}


@pytest.mark.parametrize("written", WRITERS)
def test_the_split_that_was_written_gives_itself_again(
    films: Path, tmp_path: Path, written: str
) -> None:
    first = read(films, split_groups=BY_LAKE, split_seed=3)
    WRITERS[written](first, tmp_path / "out")
    file = tmp_path / "out" / "split.csv"
    assert file.read_text().startswith("file_name,split,group\nash_000.jpg,")
    again = read(films, split_file=file, split_seed=9)
    assert names(again) == names(first)
    assert again.notes == (f"images were divided by {file} (16 train, 4 val, 4 test)",)
    # What is written from it is the same file: groups are not lost on the way.
    WRITERS[written](again, tmp_path / "again")
    assert (tmp_path / "again/split.csv").read_bytes() == file.read_bytes()


def test_folds_that_were_written_give_every_fold_again(films: Path, tmp_path: Path) -> None:
    options = {"folds": 3, "split_groups": BY_LAKE, "split_seed": 5}
    write_converted(read(films, **options), tmp_path / "out")
    file = tmp_path / "out" / "split.csv"
    rows = read_split_file(file)
    assert {row.fold for row in rows} == {0, 1, 2, None}
    for fold in range(3):
        assert names(read(films, split_file=file, fold=fold)) == names(
            read(films, fold=fold, **options)
        )
    assert names(read(films, split_file=file)) == names(read(films, fold=0, **options))


def test_a_split_file_is_found_below_the_data_or_the_current_folder(
    films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "file_name,split\n" + "".join(
        f"{name},{'val' if name.startswith('yew') else 'train'}\n" for name in FRAMES
    )
    (films / "mine.txt").write_text(text)
    below = read(films, split_file="mine.txt")
    assert lakes(names(below)["val"]) == {"yew"}
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ours.txt").write_text(text)
    assert names(read(films, split_file="ours.txt")) == names(below)
    with pytest.raises(ConfigError, match=r"data\.split_file: there is no file .*none\.csv"):
        read(films, split_file="none.csv")


def test_what_a_split_file_lacks_is_said(films: Path, tmp_path: Path) -> None:
    listed = [name for name in FRAMES if not name.startswith("yew")]
    file = tmp_path / "part.csv"
    rows = [f"{name},{'val' if name.startswith('oak') else 'train'}" for name in listed]
    file.write_text("\n".join(["file_name,split", *rows, "gone.jpg,test"]) + "\n")
    dataset = read(films, split_file=file)
    assert sorted(sum(names(dataset).values(), ())) == sorted(listed)
    assert dataset.notes == (
        f"images were divided by {file} (16 train, 4 val)",
        f"{file}: 1 listed images are missing, such as 'gone.jpg' on line 22",
        f"{file} does not list 4 images, which are ignored, such as 'yew_000.jpg'",
    )
    # Labels of images that are left out are no labels of the data set.
    assert sum(counts.lines for counts in dataset.ledger.counts.values()) == 30


def test_a_split_file_of_other_folders_keeps_groups_and_folds(films: Path, tmp_path: Path) -> None:
    file = tmp_path / "split.csv"
    rows = [f"old/{name},train,{number % 2},{name[:3]}" for number, name in enumerate(FRAMES)]
    file.write_text("\n".join(["file_name,split,fold,group", *rows]) + "\n")
    found = read(films, split_file=file, fold=1).split_rows
    assert sorted((row.file_name, row.fold, row.group) for row in found) == sorted(
        (name, number % 2, name[:3]) for number, name in enumerate(FRAMES)
    )


def test_a_split_file_puts_no_training_image_into_a_split_on_disk(
    make_dataset: MakeDataset,
) -> None:
    images = ["train/images/a.jpg", "train/images/b.jpg", "test/images/c.jpg"]
    texts = {name.replace("images", "labels")[:-4] + ".txt": "0 .5 .5 .2 .2\n" for name in images}
    root = make_dataset(images, texts | {"split.csv": "file_name,split\na.jpg,train\nb.jpg,test\n"})
    with pytest.raises(ConfigError, match=r"data\.split_file: it puts training images into test"):
        read(root, split_file="split.csv")
    (root / "split.csv").write_text("file_name,split\na.jpg,train\nb.jpg,val\n")
    assert names(read(root, split_file="split.csv")) == {
        "train": ("a.jpg",), "val": ("b.jpg",), "test": ("c.jpg",),
    }  # fmt: skip


# --- what training calls --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["films", "films_as_coco"])
def test_a_changed_split_file_is_noticed(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    root: Path = request.getfixturevalue(kind)
    file = tmp_path / "split.csv"
    data = DataConfig(root=root, split_file=file)

    def prepared(val: str) -> tuple[dict[str, int], str]:
        rows = [f"{name},{'val' if name.startswith(val) else 'train'}" for name in FRAMES]
        file.write_text("\n".join(["file_name,split", *rows]) + "\n")
        dataset = prepare_dataset(data)
        return (
            {split: table.num_images for split, table in dataset.tables.items()},
            dataset.fingerprint,
        )

    sizes, first = prepared("oak")
    assert sizes == {"train": 20, "val": 4}
    second = prepared("elm")
    assert second[0] == sizes
    assert second[1] != first
    assert prepared("oak") == (sizes, first)


def test_training_reads_the_same_split_as_converting(films: Path, tmp_path: Path) -> None:
    data = DataConfig(root=films, split_groups=BY_LAKE)
    result = convert_dataset(data, tmp_path / "out", contact_sheet=0)
    assert prepare_dataset(data).fingerprint == result.dataset.fingerprint
    converted = prepare_dataset(DataConfig(root=tmp_path / "out"))
    assert names(converted) == names(result.dataset)


def test_coco_is_divided_alike_by_reading_and_by_training(films_as_coco: Path) -> None:
    data = DataConfig(root=films_as_coco, split_groups=BY_LAKE, split_seed=2)
    assert names(prepare_dataset(data)) == names(read_dataset(data))


def test_a_conversion_in_one_piece_stays_so(films: Path, tmp_path: Path) -> None:
    write_converted(read(films, val_fraction=0, test_fraction=0), tmp_path / "out")
    again = read(tmp_path / "out")
    assert {split: len(images) for split, images in names(again).items()} == {"train": 24}
    assert set(prepare_dataset(DataConfig(root=tmp_path / "out")).tables) == {"train"}


@pytest.mark.parametrize("option", [{"folds": 3}, {"split_file": "split.csv"}])
def test_what_is_divided_is_not_divided_anew(
    films: Path, tmp_path: Path, option: dict[str, Any]
) -> None:
    converted = tmp_path / "out"
    write_converted(read(films), converted)
    message = f"data.{next(iter(option))}: the data is divided into train, val, test already"
    for take in (prepare_dataset, read_dataset):
        with pytest.raises((ConfigError, DataError), match=message):
            take(DataConfig(root=converted, **option))


def test_a_conversion_shows_how_even_its_splits_are(make_dataset, tmp_path: Path, capsys) -> None:
    names = [f"{number:02}" for number in range(20)]
    root = make_dataset(
        [f"images/{name}.jpg" for name in names],
        {f"labels/{name}.txt": "0 0.5 0.5 0.2 0.2\n" for name in names} | {"classes.txt": "cat\n"},
    )
    convert_dataset(DataConfig(root=root), tmp_path / "out", contact_sheet=0)
    shown = capsys.readouterr().out
    assert "% (70)" in shown
    assert "(images)" in shown
    assert "objects of class" not in shown
    whole = DataConfig(root=root, val_fraction=0, test_fraction=0)
    convert_dataset(whole, tmp_path / "whole", contact_sheet=0)
    assert "objects of class" in capsys.readouterr().out
