"""The split of an earlier run on data that has changed: test images stay, new ones train."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from conftest import MakeDataset
from PIL import Image

from detfinetune.config.schema import DataConfig
from detfinetune.errors import ConfigError, DataError
from detfinetune.labels.dataset.labelled_dataset import LabelledDataset
from detfinetune.labels.prepare import prepare_dataset, prepare_run_dataset
from detfinetune.labels.splits.run_split import write_run_split

BOX = "0 0.5 0.5 0.2 0.2\n"


@pytest.fixture
def data(make_dataset: MakeDataset) -> Path:
    """Twenty different images without splits."""
    names = [f"{number:02}" for number in range(20)]
    root = make_dataset(
        [f"images/{name}.png" for name in names],
        {f"labels/{name}.txt": BOX for name in names} | {"classes.txt": "cat\n"},
    )
    for number, name in enumerate(names):
        Image.new("RGB", (100, 80), (number, 0, 0)).save(root / "images" / f"{name}.png")
    return root


@pytest.fixture
def run(data: Path, tmp_path: Path) -> Path:
    """What a run on `data` keeps."""
    folder = tmp_path / "run"
    folder.mkdir()
    dataset = prepare_dataset(DataConfig(root=data))
    write_run_split(folder, dataset.classes, dataset.tables)
    return folder


def add(data: Path, name: str, red: int) -> None:
    Image.new("RGB", (100, 80), (red, 9, 9)).save(data / "images" / f"{name}.png")
    (data / "labels" / f"{name}.txt").write_text(BOX)


def splits(dataset: LabelledDataset) -> dict[str, set[str]]:
    return {split: set(table.names) for split, table in dataset.tables.items()}


def test_new_images_are_for_training_when_asked_for(data: Path, run: Path) -> None:
    before = splits(prepare_dataset(DataConfig(root=data)))
    for number in range(15):
        add(data, f"a new {number}", number)
    held_out = min(before["test"])
    shutil.copy(data / "images" / held_out, data / "images" / "a copy.png")
    (data / "labels" / "a copy.txt").write_text(BOX)
    extended = prepare_dataset(DataConfig(root=data, split_from=run))
    new = {f"a new {number}.png" for number in range(15)}
    assert splits(extended) == {**before, "train": before["train"] | new}
    (note,) = [note for note in extended.notes if "keep their splits" in note]
    assert "15 new ones are for training" in note
    assert "1 copies of its images" in note
    own, changes = prepare_run_dataset(DataConfig(root=data), run)
    assert splits(own) == before
    assert changes is not None
    assert len(changes.new) == 15
    assert changes.changes(own.classes, own.tables, "train", "val", "test") == {}


def test_folders_of_splits_keep_theirs_too(data: Path, tmp_path: Path) -> None:
    names = sorted(path.stem for path in (data / "images").iterdir())
    for number, name in enumerate(names):
        split = "train" if number < 12 else "val" if number < 16 else "test"
        for folder, ending in (("images", "png"), ("labels", "txt")):
            (data / folder / split).mkdir(exist_ok=True)
            file = data / folder / f"{name}.{ending}"
            file.rename(data / folder / split / file.name)
    run = tmp_path / "run"
    run.mkdir()
    first = prepare_dataset(DataConfig(root=data))
    write_run_split(run, first.classes, first.tables)
    before = splits(first)
    for split in ("train", "test"):
        add(data, f"{split}/new", 100 + len(split))
    # Renamed within its folder, and moved from train to test.
    for folder, ending in (("images", "png"), ("labels", "txt")):
        files = data / folder
        (files / "test" / f"16.{ending}").rename(files / "test" / f"renamed.{ending}")
        (files / "train" / f"00.{ending}").rename(files / "test" / f"00.{ending}")
    extended = splits(prepare_dataset(DataConfig(root=data, split_from=run)))
    assert extended == {
        "train": (before["train"] | {"new.png"}) - {"00.png"},
        "val": before["val"],
        "test": (before["test"] | {"renamed.png"}) - {"16.png"},
    }


def test_a_folder_that_is_no_run(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"data\.split_from=.*there is no images\.csv"):
        prepare_dataset(DataConfig(root=data, split_from=tmp_path))
    with pytest.raises(ValueError, match="split_from cannot be combined with folds or split_file"):
        DataConfig(root=data, split_from=tmp_path, folds=3)


def test_a_damaged_list_names_its_line(data: Path, run: Path) -> None:
    text = (run / "images.csv").read_text().splitlines()
    (run / "images.csv").write_text("\n".join([*text[:3], text[3][:5]]))
    with pytest.raises(DataError, match=r"images\.csv:4: 1 cells, and the heading has 4"):
        prepare_run_dataset(DataConfig(root=data), run)


def test_names_that_are_no_line_of_text(data: Path, tmp_path: Path) -> None:
    strange = [data / "images" / os.fsdecode(name) for name in (b"\xe4.png", b"a\nb.png")]
    for number, path in enumerate(strange):
        Image.new("RGB", (100, 80), (number, 99, 0)).save(path)
    first = prepare_dataset(DataConfig(root=data, val_fraction=0, test_fraction=0))
    write_run_split(tmp_path, first.classes, first.tables)
    again, changes = prepare_run_dataset(DataConfig(root=data), tmp_path)
    assert splits(again) == splits(first)
    assert changes is not None
    assert changes.changes(again.classes, again.tables, "train") == {}


def test_an_image_whose_labels_all_became_wrong_is_missing(data: Path, run: Path) -> None:
    (first, second, *_) = sorted(prepare_dataset(DataConfig(root=data)).tables["train"].names)
    (data / "labels" / f"{Path(first).stem}.txt").write_text("0 0.5 0.5\n")
    (data / "labels" / f"{Path(second).stem}.txt").write_text("0 0.5 0.5 0.4 0.4\n")
    dataset, changes = prepare_run_dataset(DataConfig(root=data), run)
    assert changes is not None
    assert changes.changes(dataset.classes, dataset.tables, "train") == {
        "missing": [first], "other labels": [second],
    }  # fmt: skip
