"""Every format by hand, through `read_dataset` with nothing but a folder given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from conftest import MakeDataset
from hand_made import (
    CLASSES,
    DOCUMENTS,
    FILES,
    SCENE,
    Scene,
    cvat,
    cvat_video,
    dota,
    plain_csv,
    split_csv,
    via,
)

from detfinetune.config.schema import DataConfig
from detfinetune.errors import DataError
from detfinetune.labels.convert import convert_dataset, write_converted
from detfinetune.labels.dataset.labelled_dataset import LabelledDataset
from detfinetune.labels.dataset.ledger import LedgerEntry
from detfinetune.labels.export import export_read
from detfinetune.labels.read import read_dataset

IN_ONE_PIECE = {"val_fraction": 0.0, "test_fraction": 0.0}
NO_NEGATIVES = {"openimages"}
"""Formats that cannot list an image without objects."""


def found(dataset: LabelledDataset, split: str = "train") -> dict[str, list[tuple[Any, ...]]]:
    table = dataset.tables[split]
    scene: dict[str, list[tuple[Any, ...]]] = {name: [] for name in table.names}
    for image, category, box in zip(table.image_of, table.categories, table.boxes, strict=True):
        scene[table.names[image]].append((dataset.classes[category], *box.tolist()))
    return scene


def expected(scene: Scene) -> dict[str, list[tuple[Any, ...]]]:
    return {name: [tuple(entry) for entry in entries] for name, entries in scene.items()}


def sums(dataset: LabelledDataset, split: str = "train") -> tuple[int, ...]:
    """Return images, negatives, images rejected, and labels read, kept, fixed and rejected."""
    counts = dataset.ledger.counts[split]
    return (
        counts.images, counts.negatives, counts.rejected_images,
        counts.lines, counts.kept, counts.fixed, counts.rejected,
    )  # fmt: skip


# --- recognition, with images in a folder ---------------------------------------------------------


@pytest.mark.parametrize("name", DOCUMENTS)
def test_one_file_of_many_images(make_dataset: MakeDataset, name: str) -> None:
    write, file, evidence = DOCUMENTS[name]
    listed = {k: v for k, v in SCENE.items() if v} if name in NO_NEGATIVES else SCENE
    root = make_dataset([f"images/{image}" for image in SCENE], {file: write(SCENE)})
    dataset = read_dataset(DataConfig(root=root, **IN_ONE_PIECE))
    assert (dataset.format, dataset.evidence, dataset.found) == (name, evidence, file)
    assert dataset.classes == CLASSES
    assert found(dataset) == expected(listed)
    assert sums(dataset) == (len(listed), len(listed) - 2, 0, 3, 3, 0, 0)
    assert dataset.ledger.entries == []
    table = dataset.tables["train"]
    assert table.image_root == root / "images"
    assert set(table.label_files) == {file}
    assert min(table.lines.tolist()) >= 1


@pytest.mark.parametrize("name", FILES)
def test_a_file_for_each_image(make_dataset: MakeDataset, name: str) -> None:
    write, suffix, label_format, evidence = FILES[name]
    texts = {
        f"labels/{image.removesuffix('.jpg')}{suffix}": write(objects)
        for image, objects in SCENE.items()
    }
    texts["classes.txt"] = "car\ndog\n"
    root = make_dataset([f"images/{image}" for image in SCENE], texts)
    dataset = read_dataset(DataConfig(root=root, **IN_ONE_PIECE))
    assert (dataset.format, dataset.evidence) == (label_format, evidence)
    assert dataset.classes == CLASSES
    assert found(dataset) == expected(SCENE)
    assert sums(dataset) == (3, 1, 0, 3, 3, 0, 0)
    assert dataset.ledger.entries == []


def test_a_film_of_cvat(make_dataset: MakeDataset) -> None:
    frames = {f"frame_{number:06d}.png": value for number, value in enumerate(SCENE.values())}
    root = make_dataset([f"images/{frame}" for frame in frames], {"film.xml": cvat_video(SCENE)})
    dataset = read_dataset(DataConfig(root=root, **IN_ONE_PIECE))
    assert (dataset.format, dataset.evidence) == ("cvat", "<annotations> with <track>")
    assert dataset.classes == CLASSES
    assert found(dataset) == expected(frames)
    # The frame without objects is a true negative: the file says that the film has it.
    assert sums(dataset) == (3, 1, 0, 3, 3, 0, 0)


def test_turned_boxes_keep_their_corners(make_dataset: MakeDataset) -> None:
    xyxy = (30.0, 10.0, 50.0, 30.0, 30.0, 50.0, 10.0, 30.0)
    text = dota([]) + " ".join(map(str, xyxy)) + " car 1\n"
    root = make_dataset(["a.jpg"], {"a.txt": text})
    dataset = read_dataset(DataConfig(root=root, **IN_ONE_PIECE))
    assert dataset.format == "dota"
    assert found(dataset) == {"a.jpg": [("car", 10.0, 10.0, 40.0, 40.0)]}
    assert dataset.tables["train"].polygons == {0: (xyxy,)}


def test_open_images_are_named_by_its_table_of_classes(make_dataset: MakeDataset) -> None:
    text = DOCUMENTS["openimages"][0](SCENE).replace(",car,", ",/m/0k4j,")
    names = "/m/0k4j,Car\n/m/0bt9lr,Dog\n"
    root = make_dataset(
        [f"images/{image}" for image in SCENE],
        {"boxes/train-annotations-bbox.csv": text, "class-descriptions-boxable.csv": names},
    )
    dataset = read_dataset(DataConfig(root=root, **IN_ONE_PIECE))
    # An id that the table lacks stays as it is.
    assert dataset.classes == ("Car", "dog")
    assert "class names are those of class-descriptions-boxable.csv" in dataset.notes
    assert [len(objects) for objects in found(dataset).values()] == [2, 1]
    (root / "class-descriptions-boxable.csv").write_text("/m/0k4j,Car\n/m/0k4j,Bus\n")
    with pytest.raises(DataError, match=r"class-descriptions-boxable\.csv:2: class /m/0k4j is"):
        read_dataset(DataConfig(root=root))


@pytest.mark.parametrize("name", ["VOC", "LabelMe"])
def test_label_files_that_are_all_broken(make_dataset: MakeDataset, name: str) -> None:
    suffix = FILES[name][1]
    texts = {f"labels/{image[0]}{suffix}": "{<annotation" for image in SCENE}
    root = make_dataset([f"images/{image}" for image in SCENE], texts)
    data = DataConfig(root=root, format=FILES[name][2], classes=list(CLASSES))
    dataset = read_dataset(data)
    assert dataset.tables == {}
    assert [entry.path for entry in dataset.ledger.entries if not entry.line] == [
        f"images/{image}" for image in SCENE
    ]
    assert sums(dataset)[:3] == (0, 0, 3)
    with pytest.raises(DataError, match=r"3 of 3 labels are wrong"):
        convert_dataset(data, root / "out")


# --- images that one side lacks -------------------------------------------------------------------


@pytest.mark.parametrize("name", DOCUMENTS)
def test_unlisted_images_are_left_out_and_missing_ones_rejected(
    make_dataset: MakeDataset, name: str
) -> None:
    write, file, _ = DOCUMENTS[name]
    gone: Scene = {"gone.jpg": [("car", 1, 1, 9, 9), ("dog", 2, 2, 9, 9)]}
    root = make_dataset(
        [*(f"images/{image}" for image in SCENE), "images/extra.jpg"],
        {file: write({**SCENE, **gone})},
    )
    dataset = read_dataset(DataConfig(root=root, **IN_ONE_PIECE))
    listed = {k: v for k, v in SCENE.items() if v} if name in NO_NEGATIVES else SCENE
    assert found(dataset) == expected(listed)
    left = ", ".join(image for image in (*SCENE, "extra.jpg") if image not in listed)
    count = 4 - len(listed)
    assert (
        f"{count} images in images are not in {file} and are ignored, such as {left}"
        in dataset.notes
    )
    assert sums(dataset) == (len(listed), len(listed) - 2, 1, 5, 3, 0, 2)
    whole, *labels = dataset.ledger.entries
    image = "gone" if name == "openimages" else "gone.jpg"
    assert {(e.action, e.kind, e.reason) for e in (whole, *labels)} == {
        ("rejected", "missing image", f"there is no image '{image}'")
    }
    assert len(labels) == 2
    assert all(entry.path == file and entry.line >= 1 and entry.text for entry in labels)


@pytest.mark.parametrize("name", FILES)
def test_label_files_and_images_without_each_other(make_dataset: MakeDataset, name: str) -> None:
    write, suffix, _, _ = FILES[name]
    texts = {f"labels/{image[0]}{suffix}": write(objects) for image, objects in SCENE.items()}
    texts |= {"classes.txt": "car\ndog\n", f"labels/gone{suffix}": write([("car", 1, 1, 9, 9)])}
    root = make_dataset([*(f"images/{image}" for image in SCENE), "images/extra.jpg"], texts)
    dataset = read_dataset(DataConfig(root=root, **IN_ONE_PIECE))
    assert found(dataset) == expected({**SCENE, "extra.jpg": []})
    assert sums(dataset) == (4, 2, 0, 4, 3, 0, 1)
    assert dataset.ledger.counts["train"].unlabelled == 1
    (entry,) = dataset.ledger.entries
    assert (entry.path, entry.kind) == (f"labels/gone{suffix}", "no image")
    assert entry.reason == "there is no image for this label file"


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_file_whose_images_are_elsewhere_is_an_error(
    make_dataset: MakeDataset, name: str
) -> None:
    write, file, _ = DOCUMENTS[name]
    root = make_dataset(["images/x.jpg", "images/y.jpg"], {file: write(SCENE)})
    with pytest.raises(DataError, match=r"its images, such as 'a.*', were not found"):
        read_dataset(DataConfig(root=root))


# --- names of images ------------------------------------------------------------------------------

NAMES: list[tuple[str, str]] = [
    *((name, "shoot/day 1/{}") for name in DOCUMENTS),
    *((name, "C:\\Users\\me\\pictures\\{}") for name in ("csv", "via", "coco", "cvat")),
    *((name, "/home/me/pictures/{}") for name in ("csv", "via", "coco", "cvat", "label_studio")),
    ("via", "https://example.org/pictures/{}"),
    ("label_studio", "https://example.org/pictures/{}?token=1"),
    ("label_studio", "/data/upload/1/0a1b2c3d-{}"),
    ("label_studio", "/data/local-files/?d=shoot/day%201/{}"),
    ("label_studio", "s3://bucket/pictures/{}"),
    ("csv", "https://example.org/pictures/{}"),
    ("coco", "https://example.org/pictures/{}"),
]


@pytest.mark.parametrize(("name", "pattern"), NAMES)
def test_images_are_found_by_what_labels_call_them(
    make_dataset: MakeDataset, name: str, pattern: str
) -> None:
    write, file, _ = DOCUMENTS[name]
    scene = {pattern.format(image): objects for image, objects in SCENE.items() if objects}
    folder = "shoot/day 1" if "day" in pattern else "photos"
    root = make_dataset([f"{folder}/{image}" for image in SCENE], {file: write(scene)})
    dataset = read_dataset(DataConfig(root=root, **IN_ONE_PIECE))
    assert dataset.format == name
    by_name = {image.rpartition("/")[2]: objects for image, objects in found(dataset).items()}
    assert by_name == expected({k: v for k, v in SCENE.items() if v})
    assert dataset.ledger.entries == []


def test_of_images_of_one_name_the_folders_decide(make_dataset: MakeDataset) -> None:
    scene: Scene = {
        "/old/disk/cars/red/a.jpg": [("car", 1, 1, 9, 9)],
        "/old/disk/dogs/red/a.jpg": [("dog", 2, 2, 9, 9)],
        "a.jpg": [("dog", 3, 3, 9, 9)],
    }
    root = make_dataset(["p/cars/red/a.jpg", "p/dogs/red/a.jpg"], {"boxes.csv": plain_csv(scene)})
    dataset = read_dataset(DataConfig(root=root, **IN_ONE_PIECE))
    assert found(dataset) == {
        "cars/red/a.jpg": [("car", 1.0, 1.0, 9.0, 9.0)],
        "dogs/red/a.jpg": [("dog", 2.0, 2.0, 9.0, 9.0)],
    }
    assert dataset.ledger.entries[0].reason == (
        "'a.jpg' could mean any of 2 images, such as cars/red/a.jpg and dogs/red/a.jpg"
    )


def test_images_in_several_folders_are_found_in_all_of_them(make_dataset: MakeDataset) -> None:
    root = make_dataset(["day1/a.jpg", "day2/b.jpg", "day2/c.jpg"], {"boxes.csv": plain_csv(SCENE)})
    dataset = read_dataset(DataConfig(root=root, **IN_ONE_PIECE))
    by_name = {image.rpartition("/")[2]: objects for image, objects in found(dataset).items()}
    assert by_name == expected(SCENE)
    assert dataset.tables["train"].names == ("day1/a.jpg", "day2/b.jpg", "day2/c.jpg")


# --- splits that the labels know of ---------------------------------------------------------------


@pytest.mark.parametrize("name", DOCUMENTS)
def test_annotations_with_a_split_in_its_path(make_dataset: MakeDataset, name: str) -> None:
    write, file, _ = DOCUMENTS[name]
    parts: Mapping[str, Scene] = {
        "train": {"a.jpg": SCENE["a.jpg"]},
        "valid": {"b.jpg": SCENE["b.jpg"]},
    }
    suffix = file.rpartition(".")[2]
    texts = {f"marks/{part}_set.{suffix}": write(scene) for part, scene in parts.items()}
    # Neither another label file nor other images are taken for these.
    texts[f"marks/old.{suffix}"] = write(SCENE)
    root = make_dataset(["photos/train/a.jpg", "photos/valid/b.jpg"], texts)
    dataset = read_dataset(
        DataConfig(
            root=root, annotations=f"marks/{{split}}_set.{suffix}", images="photos/{split}",
            **IN_ONE_PIECE,
        )
    )  # fmt: skip
    assert dataset.format == name
    assert list(dataset.tables) == ["train", "val"]
    assert found(dataset, "train") == expected(parts["train"])
    assert found(dataset, "val") == expected(parts["valid"])
    assert dataset.ledger.entries == []
    assert dataset.split_rows == ()


SPLIT_OF = {"a.jpg": "train", "b.jpg": "validation", "c.jpg": "test"}


@pytest.mark.parametrize("name", ["csv", "cvat"])
def test_a_column_or_attribute_says_the_split(make_dataset: MakeDataset, name: str) -> None:
    write, file = {"csv": (split_csv, "boxes.csv"), "cvat": (cvat, "annotations.xml")}[name]
    root = make_dataset([f"images/{image}" for image in SCENE], {file: write(SCENE, SPLIT_OF)})
    dataset = read_dataset(DataConfig(root=root))
    assert {split: found(dataset, split) for split in dataset.tables} == {
        "train": expected({"a.jpg": SCENE["a.jpg"]}),
        "val": expected({"b.jpg": SCENE["b.jpg"]}),
        "test": {"c.jpg": []},
    }
    assert dataset.notes == ()


def test_subsets_may_hold_images_of_the_same_name(make_dataset: MakeDataset) -> None:
    images = "".join(
        f'<image id="{n}" name="a.jpg" subset="{subset}" width="100" height="80">\n'
        f'<box label="car" xtl="{n}" ytl="1" xbr="30" ybr="40"/></image>\n'
        for n, subset in enumerate(("Train", "Validation"))
    )
    text = f"<annotations><version>1.1</version>\n{images}</annotations>"
    root = make_dataset(
        ["images/Train/a.jpg", "images/Validation/a.jpg"], {"annotations.xml": text}
    )
    dataset = read_dataset(DataConfig(root=root))
    assert {split: found(dataset, split) for split in dataset.tables} == {
        "train": {"a.jpg": [("car", 0.0, 1.0, 30.0, 39.0)]},
        "val": {"a.jpg": [("car", 1.0, 1.0, 29.0, 39.0)]},
    }
    assert [t.image_root.name for t in dataset.tables.values()] == ["Train", "Validation"]


def test_images_of_no_subset_belong_to_training(make_dataset: MakeDataset) -> None:
    text = split_csv(SCENE, SPLIT_OF | {"c.jpg": ""})
    root = make_dataset([f"images/{image}" for image in SCENE], {"boxes.csv": text})
    dataset = read_dataset(DataConfig(root=root, **IN_ONE_PIECE))
    assert {split: table.names for split, table in dataset.tables.items()} == {
        "train": ("a.jpg", "c.jpg"),
        "val": ("b.jpg",),
    }


# --- several formats in one folder ----------------------------------------------------------------


def test_what_else_is_there_is_said(make_dataset: MakeDataset) -> None:
    texts = {f"{image[0]}.txt": dota(objects) for image, objects in SCENE.items()}
    write = FILES["VOC"][0]
    texts |= {f"{image[0]}.xml": write(SCENE[image]) for image in ("a.jpg", "b.jpg")}
    root = make_dataset(list(SCENE), texts)
    dataset = read_dataset(DataConfig(root=root, **IN_ONE_PIECE))
    assert dataset.format == "dota"
    assert any(note.startswith("a.xml, b.xml are not read: format voc;") for note in dataset.notes)
    chosen = read_dataset(DataConfig(root=root, format="voc", **IN_ONE_PIECE))
    assert (chosen.format, chosen.evidence) == ("voc", "data.format=voc")
    assert found(chosen) == expected(SCENE)


def test_two_label_files_that_could_be_meant_are_asked_about(make_dataset: MakeDataset) -> None:
    root = make_dataset(list(SCENE), {"one.csv": plain_csv(SCENE), "two.csv": plain_csv(SCENE)})
    with pytest.raises(DataError, match=r"several label files could be .*one\.csv, two\.csv"):
        read_dataset(DataConfig(root=root))
    dataset = read_dataset(DataConfig(root=root, annotations="two.csv", **IN_ONE_PIECE))
    assert (dataset.found, found(dataset)) == ("two.csv", expected(SCENE))


def test_what_a_conversion_left_in_the_folder_is_no_label_file(
    make_dataset: MakeDataset,
) -> None:
    root = make_dataset(list(SCENE), {"via.json": via(SCENE)})
    before = read_dataset(DataConfig(root=root, **IN_ONE_PIECE))
    write_converted(before, root / "converted")
    export_read(before, root / "exported", "yolo", images="copy")
    after = read_dataset(DataConfig(root=root, **IN_ONE_PIECE))
    assert (after.format, after.notes) == ("via", before.notes)
    assert found(after) == expected(SCENE)


def test_rejections_name_the_image_and_the_line(make_dataset: MakeDataset) -> None:
    text = plain_csv(SCENE) + "b.jpg,100,80,dog,200,1,230,9\na.jpg,100,80,dog,x,1,2,9\n"
    root = make_dataset(list(SCENE), {"boxes.csv": text})
    dataset = read_dataset(DataConfig(root=root, **IN_ONE_PIECE))
    assert dataset.ledger.entries == [
        LedgerEntry("train", "boxes.csv", 7, "rejected", "not a number",
                    "x1 is 'x', not a number", "a.jpg,100,80,dog,x,1,2,9", "a.jpg"),
        LedgerEntry("train", "boxes.csv", 6, "rejected", "outside",
                    "box 200.0,1.0 to 230.0,9.0 lies entirely outside the 100x80 image",
                    "b.jpg,100,80,dog,200,1,230,9", "b.jpg"),
    ]  # fmt: skip
