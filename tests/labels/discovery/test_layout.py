"""Layouts are found by themselves: a table of folders and the splits they make."""

from __future__ import annotations

import pytest

from detfinetune.config.schema import DataConfig
from detfinetune.errors import ConfigError, DataError
from detfinetune.labels.discovery.discover import discover_dataset
from detfinetune.labels.discovery.match_images import match_labels
from detfinetune.labels.read import read_dataset

LINE = "0 0.5 0.5 0.2 0.2\n"

LAYOUTS = {
    "images/split, labels/split": (
        ["images/train/a.jpg", "images/val/b.jpg"],
        ["labels/train/a.txt", "labels/val/b.txt"],
        {"train": ["a.jpg"], "val": ["b.jpg"]},
    ),
    "other names and cases": (
        ["Images/Train/a.JPG", "Images/Valid/b.jpeg", "Images/Testing/c.png"],
        ["Labels/Train/a.txt", "Labels/Valid/b.txt", "Labels/Testing/c.txt"],
        {"train": ["a.JPG"], "val": ["b.jpeg"], "test": ["c.png"]},
    ),
    "split/images, split/labels": (
        ["train/images/a.jpg", "valid/images/b.jpg"],
        ["train/labels/a.txt", "valid/labels/b.txt", "README.txt"],
        {"train": ["a.jpg"], "val": ["b.jpg"]},
    ),
    "side by side in split folders": (
        ["train/a.jpg", "val/b.jpg"],
        ["train/a.txt", "val/b.txt", "train/classes.txt"],
        {"train": ["a.jpg"], "val": ["b.jpg"]},
    ),
    "nested": (
        ["images/train/x/a.jpg", "images/train/y/a.jpg", "images/val/x/b.jpg"],
        ["labels/train/x/a.txt", "labels/train/y/a.txt", "labels/val/x/b.txt"],
        {"train": ["x/a.jpg", "y/a.jpg"], "val": ["x/b.jpg"]},
    ),
    "one image folder, lists": (
        ["JPEGImages/a.jpg", "JPEGImages/b.jpg", "JPEGImages/c.jpg", "JPEGImages/unlisted.jpg"],
        ["labels/train/a.txt", "labels/val/b.txt"],
        {"train": ["a.jpg", "c.jpg"], "val": ["b.jpg"]},
        {"ImageSets/Main/train.txt": "a\nc\n", "ImageSets/Main/val.txt": "b\n",
         "ImageSets/Main/trainval.txt": "a\nb\nc\n"},
    ),
    "one image folder, labels say which": (
        ["images/a.jpg", "images/b.jpg", "images/c.jpg"],
        ["labels/train/a.txt", "labels/val/b.txt"],
        {"train": ["a.jpg"], "val": ["b.jpg"]},
    ),
    "one pair, lists of paths": (
        ["images/a.jpg", "images/b c.jpg", "images/d.jpg"],
        ["labels/a.txt", "labels/b c.txt", "labels/d.txt"],
        {"train": ["a.jpg", "d.jpg"], "val": ["b c.jpg"]},
        {"train.txt": "data/images/a.jpg\n./images/d.jpg\n", "val.txt": "C:\\x\\b c.jpg\n"},
    ),
    "trainval and test": (
        ["images/trainval/a.jpg", "images/trainval/b.jpg", "images/test/c.jpg"],
        ["labels/trainval/a.txt", "labels/trainval/b.txt", "labels/test/c.txt"],
        {"train": ["a.jpg"], "val": ["b.jpg"], "test": ["c.jpg"]},
    ),
    "train beside trainval": (
        ["images/trainval/a.jpg", "images/train/a.jpg", "images/val/b.jpg"],
        ["labels/trainval/a.txt", "labels/train/a.txt", "labels/val/b.txt"],
        {"train": ["a.jpg"], "val": ["b.jpg"]},
    ),
    "data.yaml": (
        ["pics/one/images/a.jpg", "pics/two/images/b.jpg"],
        ["pics/one/labels/a.txt", "pics/two/labels/b.txt"],
        {"train": ["a.jpg"], "val": ["b.jpg"]},
        {"data.yaml": "path: pics\ntrain: one/images\nval: two/images\nnames: [x]\n"},
    ),
    "data.yaml that points outside": (
        ["train/images/a.jpg", "valid/images/b.jpg"],
        ["train/labels/a.txt", "valid/labels/b.txt"],
        {"train": ["a.jpg"], "val": ["b.jpg"]},
        {"data.yaml": "train: ../train/images\nval: ../valid/images\nnames: [x]\n"},
    ),
    "data.yaml of Windows": (
        ["pics/one/images/a.jpg", "pics/two/images/b.jpg"],
        ["pics/one/labels/a.txt", "pics/two/labels/b.txt"],
        {"train": ["a.jpg"], "val": ["b.jpg"]},
        {"data.yaml": "path: .\\pics\ntrain: [one\\images]\nval: two\\images\nnames: [x]\n"},
    ),
    "a split without labels is left out": (
        ["images/train/a.jpg", "images/val/b.jpg", "images/test/c.jpg"],
        ["labels/train/a.txt", "labels/val/b.txt"],
        {"train": ["a.jpg"], "val": ["b.jpg"]},
    ),
}  # fmt: skip


def splits_of(data: DataConfig) -> dict[str, list[str]]:
    return {split: list(table.names) for split, table in read_dataset(data).tables.items()}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layout(make_dataset, layout: str) -> None:
    images, labels, expected, *more = LAYOUTS[layout]
    texts = dict.fromkeys(labels, LINE) | (more[0] if more else {})
    found = splits_of(DataConfig(root=make_dataset(images, texts), val_fraction=0.5))
    if layout == "trainval and test":  # which of the two goes to val is the seed's choice
        assert sorted(found["train"] + found["val"]) == ["a.jpg", "b.jpg"]
        assert len(found["val"]) == 1
        assert found["test"] == ["c.jpg"]
    else:
        assert found == expected


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        ("images/{}.jpg", "labels/{}.txt"),
        ("{}.jpg", "{}.txt"),
        ("images/train/{}.jpg", "labels/train/{}.txt"),
        ("train/images/{}.jpg", "train/labels/{}.txt"),
        ("images/{}.jpg", "images/{}.txt"),
        ("batch 1/{}.png", "batch 1/{}.txt"),
        ("imgs/{}.jpg", "groundtruth/{}.txt"),
        ("images/{}.jpg", "images/{}.jpg.txt"),
    ],
)
def test_one_folder_is_split_by_seed(make_dataset, images: str, labels: str) -> None:
    names = [f"é{n:02}" for n in range(20)]
    root = make_dataset(
        [images.format(name) for name in names], {labels.format(name): LINE for name in names}
    )

    def sizes(seed: int) -> dict[str, list[str]]:
        dataset = read_dataset(DataConfig(root=root, split_seed=seed))
        assert all(label for table in dataset.tables.values() for label in table.label_files)
        return {split: list(table.names) for split, table in dataset.tables.items()}

    first = sizes(0)
    assert {split: len(part) for split, part in first.items()} == {
        "train": 14, "val": 3, "test": 3,
    }  # fmt: skip
    assert len({name for part in first.values() for name in part}) == 20
    assert sizes(0) == first
    assert sizes(1) != first


def test_patterns_of_the_configuration(make_dataset) -> None:
    images = ["shots/A/pic/a.jpg", "shots/B/pic/b.jpg", "images/c.jpg"]
    labels = ["marks/A/a.txt", "marks/B/b.txt", "labels/c.txt"]
    root = make_dataset(images, dict.fromkeys(labels, LINE))
    data = DataConfig(
        images="shots/{split}/pic", labels="marks/{split}", splits={"train": "A", "val": "B"}
    )
    gathered = discover_dataset(data, root)
    assert {s: f.images[0].name for s, f in gathered.splits.items()} == {
        "train": "a.jpg",
        "val": "b.jpg",
    }
    with pytest.raises(ConfigError, match=r"matches nothing under .*\n.*shot/train"):
        discover_dataset(DataConfig(images="shot/{split}"), root)


def test_two_layouts_at_once_are_named(make_dataset) -> None:
    images = ["images/train/a.jpg", "images/val/b.jpg", "train/images/c.jpg"]
    labels = ["labels/train/a.txt", "labels/val/b.txt", "train/labels/c.txt"]
    gathered = discover_dataset(DataConfig(), make_dataset(images, dict.fromkeys(labels, LINE)))
    assert gathered.found == "images/{split} and labels/{split}"
    said = "\n".join(gathered.notes)
    assert "train/ (1 images) is not used as split train: other folders or lists" in said
    assert [entry.path for entry in gathered.entries] == ["train/images/c.jpg"]


def test_images_in_two_splits_are_named(make_dataset) -> None:
    texts = {"labels/a.txt": LINE, "labels/b.txt": LINE, "train.txt": "a\nb\n", "val.txt": "b\n"}
    gathered = discover_dataset(DataConfig(), make_dataset(["images/a.jpg", "images/b.jpg"], texts))
    assert any("1 images are in both train and val" in note for note in gathered.notes)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (["images/a.jpg"], [], "there are images but no label files"),
        ([], ["labels/a.txt"], "there are label files but no images"),
        ([], ["README.txt"], "no known layout"),
        (["images/a.jpg"], ["labels/b.txt"], "no label file has the name of an image"),
    ],
)
def test_nothing_usable(make_dataset, images, labels, message: str) -> None:
    root = make_dataset(images, dict.fromkeys(labels, LINE))
    with pytest.raises(DataError) as raised:
        discover_dataset(DataConfig(), root)
    assert message in str(raised.value)


def test_match_labels() -> None:
    matched = match_labels(
        ["a.jpg", "a.png", "sub/b.jpg", "c.x.jpg", "twice/d.jpg", "other/d.jpg", "e.jpg"],
        ["a", "b", "c.x", "d", "e.jpg"],
    )
    assert matched.label_of == {
        "a.jpg": "a", "sub/b.jpg": "b", "c.x.jpg": "c.x", "e.jpg": "e.jpg",
    }  # fmt: skip
    assert matched.sharing == {"a.png": "a.jpg"}


def test_a_named_split_that_is_not_there_is_no_reason_to_split_at_random(make_dataset) -> None:
    root = make_dataset(
        ["images/train/a.jpg", "images/val/b.jpg"],
        {"labels/train/a.txt": "0 0.5 0.5 0.2 0.2", "labels/val/b.txt": "0 0.5 0.5 0.2 0.2",
         "classes.txt": "cat"},
    )  # fmt: skip
    with pytest.raises(ConfigError, match=r"nothing was found for 'trian' in .* Did you mean 'tra"):
        discover_dataset(DataConfig(root=root, splits={"train": "trian", "val": "val"}), root)


def test_a_lone_split_may_be_named(make_dataset) -> None:
    names = [f"images/A/{number}.jpg" for number in range(10)]
    texts = {f"labels/A/{number}.txt": "0 0.5 0.5 0.2 0.2" for number in range(10)}
    root = make_dataset(names, {**texts, "classes.txt": "cat"})
    gathered = discover_dataset(DataConfig(root=root, splits={"train": "A"}), root)
    assert sum(len(files.images) for files in gathered.splits.values()) == 10


@pytest.mark.parametrize("below", ["", "data set/"])
def test_only_the_splits_that_are_named_are_used(make_dataset, below: str) -> None:
    names = [f"train/{n}" for n in range(2)] + [f"{s}/{n}" for s in ("val", "test") for n in "abcd"]
    texts = {f"{below}labels/{name}.txt": LINE for name in names}
    texts |= {f"{below}data.yaml": "train: images/val\nval: images/test\nnames: [x]\n"}
    root = make_dataset([f"{below}images/{name}.jpg" for name in names], texts)
    gathered = discover_dataset(DataConfig(splits={"train": "train"}), root)
    assert [image.name for image in gathered.splits["all"].images] == ["0.jpg", "1.jpg"]
    assert set(gathered.splits) == {"all"}
    gathered = discover_dataset(DataConfig(splits={"test": "val"}), root)
    assert {s: len(files.images) for s, files in gathered.splits.items()} == {"test": 4}
    with pytest.raises(ConfigError, match=r"nothing was found for 'trian' in .* Did you mean 'tra"):
        discover_dataset(DataConfig(splits={"train": "trian"}), root)


@pytest.mark.parametrize(
    "texts",
    [
        {"images/a.txt": LINE, "images/b.txt": LINE, "train.txt": "a\n", "val.txt": "b\n"},
        {"boxes.csv": "filename,xmin,ymin,xmax,ymax,class\na.jpg,1,1,9,9,x\nb.jpg,1,1,9,9,x\n"},
    ],
)
def test_a_split_that_is_named_and_not_there_is_refused(make_dataset, texts) -> None:
    root = make_dataset(["images/a.jpg", "images/b.jpg"], texts)
    with pytest.raises(ConfigError, match="nothing was found for 'trian'"):
        discover_dataset(DataConfig(splits={"train": "trian"}), root)


@pytest.mark.parametrize(
    "entries",
    ["train: A/images\nval: [B/images, C/images]\n", "train: [A/images, B/images]\nval: C/images\n",
     "train: [A/images, B/images]\nval: [C/images, D]\n", "train: A/images\nval: typo/images\n"],
)  # fmt: skip
@pytest.mark.parametrize("below", ["", "data set/"])
def test_data_yaml_that_cannot_be_followed_is_refused(make_dataset, entries, below: str) -> None:
    texts = {f"{below}{name}/labels/{name}.txt": LINE for name in "ABC"}
    texts[f"{below}data.yaml"] = f"{entries}names: [x]\n"
    root = make_dataset([f"{below}{name}/images/{name}.jpg" for name in "ABC"], texts)
    with pytest.raises(DataError, match=r"data.yaml: '(train|val): .*' cannot be followed: .*"):
        discover_dataset(DataConfig(), root)


def test_what_data_yaml_names_and_is_not_there_is_noted(make_dataset) -> None:
    texts = {
        "train/labels/a.txt": LINE,
        "data.yaml": "train: ../train/images\nval: ../valid/images",
    }
    gathered = discover_dataset(DataConfig(), make_dataset(["train/images/a.jpg"], texts))
    assert any("'val: ../valid/images' is ignored" in note for note in gathered.notes)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ({"a.txt": "0 0.5 0.5 0.2 0.2 0.9\n"}, r"order .* data.columns=class,cx,cy,w,h,-\."),
        ({"boxes.json": ""}, r"/boxes.json: the file is empty\."),
        (
            {"boxes.csv": "filename,xmin,ymin,xmax,ymax,class,split\na.jpg,1,1,9,9,x,train\n"
             "b.jpg,1,1,9,9,x,holdout\n"},
            r"/boxes.csv:3: subset 'holdout' is not a split",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_named(make_dataset, texts, message: str) -> None:
    root = make_dataset(["a.jpg", "b.jpg"], texts)
    with pytest.raises(DataError, match=message):
        read_dataset(DataConfig(root=root))
    if "boxes.json" in texts:
        with pytest.raises(DataError, match=message):
            read_dataset(DataConfig(root=root, annotations="boxes.json"))
