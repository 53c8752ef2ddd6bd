"""Splits at any depth, and what is said of folders, lists and images that make none."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import MakeDataset

from detfinetune.checks.from_ledger import ledger_findings
from detfinetune.config.schema import DataConfig
from detfinetune.labels.dataset.labelled_dataset import LabelledDataset
from detfinetune.labels.dataset.split_names import split_in
from detfinetune.labels.misread import refuse_misread
from detfinetune.labels.read import read_dataset
from detfinetune.labels.summary import dataset_summary

LINE = "0 0.5 0.5 0.2 0.2\n"
VOC = (
    "<annotation><object><name>cat</name><bndbox><xmin>10</xmin><ymin>10</ymin><xmax>30</xmax>"
    "<ymax>40</ymax></bndbox></object></annotation>"
)


def read(root: Path) -> LabelledDataset:
    return read_dataset(DataConfig(root=root, val_fraction=0, test_fraction=0))


def splits_of(dataset: LabelledDataset) -> dict[str, list[str]]:
    return {
        split: sorted(Path(name).stem for name in table.names)
        for split, table in dataset.tables.items()
    }


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train", "train"), ("Validation", "val"), ("train2017", "train"), ("test_images", "test"),
        ("VisDrone2019-DET-val", "val"), ("VisDrone2019-DET-test-dev", "test"),
        ("trainings", None), ("instances_default", None),
    ],
)  # fmt: skip
def test_split_in(name: str, split: str | None) -> None:
    assert split_in(name) == split


@pytest.mark.parametrize(
    ("images", "labels", "suffix"),
    [
        ("images/{split}/{name}.jpg", "images/{split}/{name}{suffix}", ".xml"),
        ("images/{split}/{name}.jpg", "images/{split}/{name}{suffix}", ".txt"),
        ("{split}/{name}.jpg", "{split}/{name}{suffix}", ".xml"),
        ("a/b/{split}/images/{name}.jpg", "a/b/{split}/labels/{name}{suffix}", ".txt"),
        ("a/images/{split}/{name}.jpg", "a/labels/{split}/{name}{suffix}", ".txt"),
        ("Set-2019-{split}/images/{name}.jpg", "Set-2019-{split}/annotations/{name}{suffix}",
         ".xml"),
        ("{split}_images/{name}.jpg", "{split}_labels/{name}{suffix}", ".txt"),
    ],
)  # fmt: skip
def test_split_folders_at_any_depth(
    make_dataset: MakeDataset, images: str, labels: str, suffix: str
) -> None:
    parts = {"train": ["a", "b"], "val": ["c"], "test": ["d"]}
    places = [(split, name) for split, names in parts.items() for name in names]
    root = make_dataset(
        [images.format(split=split, name=name) for split, name in places],
        {
            labels.format(split=split, name=name, suffix=suffix): VOC if suffix == ".xml" else LINE
            for split, name in places
        },
    )
    dataset = read(root)
    assert splits_of(dataset) == parts
    assert not dataset.notes


@pytest.mark.parametrize("above", ["", "VOC2007/", "VOCdevkit/VOC2007/"])
def test_image_sets_above_which_the_root_lies(make_dataset: MakeDataset, above: str) -> None:
    parts = {"train": ["a", "b"], "val": ["c"], "test": ["d"]}
    names = [name for part in parts.values() for name in part]
    texts = {f"{above}Annotations/{name}.xml": VOC for name in names}
    for split, part in {**parts, "trainval": ["a", "b", "c"]}.items():
        texts[f"{above}ImageSets/Main/{split}.txt"] = "\n".join(part)
    dataset = read(make_dataset([f"{above}JPEGImages/{name}.jpg" for name in names], texts))
    assert splits_of(dataset) == parts
    assert not dataset.notes


def test_labelled_images_that_no_list_names(
    make_dataset: MakeDataset, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [f"{number:02}" for number in range(14)]
    texts = {f"{name}.txt": LINE for name in names}
    texts |= {"train.txt": "00.jpg\n01.jpg\n02.jpg\n99.jpg\n", "test.txt": "03.jpg\n"}
    dataset = read(make_dataset([f"{name}.jpg" for name in names], texts))
    assert splits_of(dataset) == {"train": ["00", "01", "02"], "test": ["03"]}
    lost = [entry for entry in dataset.ledger.entries if entry.kind == "in no split"]
    assert [entry.image for entry in lost] == [f"{name}.jpg" for name in names[4:]]
    assert lost[0].message == (
        "04.jpg: ignored: it has labels (04.txt), but train.txt, test.txt do not list it"
    )
    assert "(labelled, in no split)        10" in dataset_summary(dataset)
    findings = {finding.kind: finding for finding in ledger_findings(dataset.ledger)}
    assert findings["labelled_image_in_no_split"].title == (
        "10 images: labelled, but in no split (ignored)."
    )
    refuse_misread(dataset)
    assert "10 labelled images are in no split and are ignored" in capsys.readouterr().err


def test_labelled_images_outside_of_the_split_folders(make_dataset: MakeDataset) -> None:
    images = ["train/a.jpg", "val/b.jpg", "more/c.jpg", "more/not_labelled.jpg"]
    dataset = read(make_dataset(images, {f"{name[:-4]}.txt": LINE for name in images[:3]}))
    assert splits_of(dataset) == {"train": ["a"], "val": ["b"]}
    lost = [entry.image for entry in dataset.ledger.entries if entry.kind == "in no split"]
    assert lost == ["more/c.jpg"]


def test_a_class_called_train_is_not_a_split(make_dataset: MakeDataset) -> None:
    images = ["bus/a.jpg", "car/b.jpg", "train/c.jpg"]
    dataset = read(make_dataset(images, {f"{name[:-4]}.txt": LINE for name in images}))
    assert splits_of(dataset) == {"train": ["a", "b", "c"]}
    assert any("train/ (1 images) is not used as split train" in note for note in dataset.notes)


def test_split_folders_that_are_not_used_are_named(make_dataset: MakeDataset) -> None:
    texts = {"images/train/a.txt": LINE, "images/val/b.txt": LINE, "val.txt": "b.jpg\n"}
    images = ["images/train/a.jpg", "images/val/b.jpg", "images/test/c.jpg"]
    said = read(make_dataset(images, texts)).notes
    assert "images/test/ (1 images) is not used as split test: it holds no labels" in said
    assert any(note.startswith("val.txt is not used as an image list: ") for note in said)


def test_several_divided_folders_are_not_merged_in_silence(make_dataset: MakeDataset) -> None:
    images = [f"{kind}/{split}/{kind}.jpg" for kind in "abc" for split in ("train", "test")]
    said = "\n".join(
        read(make_dataset(images, {f"{name[:-4]}.txt": LINE for name in images})).notes
    )
    for name in images:
        place = name.rpartition("/")[0]
        split = place.rpartition("/")[2]
        assert f"{place}/ (1 images) is not used as split {split}" in said
    assert "give data.images=FOLDER and data.labels=FOLDER" in said


def test_a_yaml_entry_without_images_is_named(make_dataset: MakeDataset) -> None:
    texts = {"train/images/a.txt": LINE, "data.yaml": "train: train/images\nval: gone\nnames: [x]"}
    said = read(make_dataset(["train/images/a.jpg"], texts)).notes
    assert any("data.yaml: 'val: gone' is ignored" in note for note in said)
    texts["data.yaml"] = "train: [gone, lost]\nnames: [x]"
    said = read(make_dataset(["train/images/a.jpg"], texts)).notes
    assert any("data.yaml: 'train: ['gone', 'lost']' is ignored" in note for note in said)


def test_a_yaml_that_names_lists(make_dataset: MakeDataset) -> None:
    texts = {f"labels/{name}.txt": LINE for name in "ab"}
    texts |= {
        "lists/one.txt": "./images/a.jpg\n", "lists/two.txt": "./images/b.jpg\n",
        "data.yaml": "train: lists/one.txt\nval: lists/two.txt\nnames: [x]",
    }  # fmt: skip
    dataset = read(make_dataset(["images/a.jpg", "images/b.jpg"], texts))
    assert splits_of(dataset) == {"train": ["a"], "val": ["b"]}


def test_a_label_file_for_images_in_folders_of_several_splits(make_dataset: MakeDataset) -> None:
    rows = "train/a.jpg,1,1,20,20,cat\ntest/b.jpg,1,1,20,20,cat\n"
    root = make_dataset(
        ["train/a.jpg", "test/b.jpg", "val/c.jpg"],
        {"boxes.csv": f"filename,xmin,ymin,xmax,ymax,class\n{rows}"},
    )
    said = "\n".join(read(root).notes)
    for split in ("train", "test"):
        assert f"{split}/ (1 images) is not used as split {split}: boxes.csv lists its" in said
    assert "val/ (1 images) is not used as split val: no label file lists its images" in said


def test_a_lone_train_folder_comes_before_its_list(make_dataset: MakeDataset) -> None:
    texts = {"Annotations/train/a.xml": VOC, "ImageSets/Main/train.txt": "train/a\n"}
    dataset = read(make_dataset(["JPEGImages/train/a.jpg"], texts))
    assert dataset.tables["train"].names == ("a.jpg",)
