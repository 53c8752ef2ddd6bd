"""What training and evaluation get: any format, COCO JSON included, as one data set."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from detfinetune.config.schema import DataConfig
from detfinetune.errors import ConfigError, DataError, LabelError
from detfinetune.labels.convert import convert_dataset
from detfinetune.labels.dataset.coco_json import coco_content
from detfinetune.labels.dataset.labelled_dataset import LabelledDataset
from detfinetune.labels.export import export_dataset
from detfinetune.labels.prepare import prepare_dataset, prepare_run_dataset
from detfinetune.labels.read import read_dataset


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    """Return every file below a folder with its size and time."""
    return {
        str(path): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
    }


@pytest.fixture
def labelled(make_dataset) -> Path:
    """Ten images with one box each, in one folder."""
    names = [f"{n}" for n in range(10)]
    texts = {f"labels/{n}.txt": f"0 0.5 0.5 0.2 0.{n}1\n" for n in names}
    return make_dataset([f"images/{n}.jpg" for n in names], texts | {"classes.txt": "cat\n"})


def counts(dataset: LabelledDataset) -> dict[str, tuple[int, int]]:
    return {split: (t.num_images, t.num_objects) for split, t in dataset.tables.items()}


def test_reading_never_writes_beside_the_data(labelled: Path) -> None:
    before = tree(labelled)
    dataset = prepare_dataset(DataConfig(root=labelled, name="cats"))
    assert tree(labelled) == before
    assert dataset.classes == ("cat",)
    assert counts(dataset) == {"train": (8, 8), "val": (1, 1), "test": (1, 1)}
    assert dataset.tables["train"].image_root == labelled / "images"
    assert dataset.tables["train"].image_ids.tolist() == [1, 2, 3, 4, 5, 6, 7, 8]
    assert dataset.tables["val"].category_ids(1) == [1]


@pytest.mark.parametrize(
    "change",
    [
        lambda root: (root / "labels/3.txt").write_text("0 0.5 0.5 0.2 0.2\n"),
        lambda root: (root / "labels/3.txt").unlink(),
        lambda root: (root / "images/3.jpg").unlink(),
        lambda root: (root / "classes.txt").write_text("dog\n"),
    ],
    ids=["label", "label gone", "image gone", "class name"],
)
def test_a_change_of_the_data_changes_the_fingerprint(labelled: Path, change) -> None:
    data = DataConfig(root=labelled)
    before = prepare_dataset(data).fingerprint
    assert prepare_dataset(data).fingerprint == before
    change(labelled)
    assert prepare_dataset(data).fingerprint != before


def test_another_division_changes_the_fingerprint(labelled: Path) -> None:
    first = prepare_dataset(DataConfig(root=labelled))
    assert first.fingerprint != prepare_dataset(DataConfig(root=labelled, split_seed=1)).fingerprint


def test_the_data_of_a_run_is_summed_up_in_one_line(labelled: Path, tmp_path: Path, capsys) -> None:
    prepare_run_dataset(DataConfig(root=labelled), tmp_path)
    (line,) = capsys.readouterr().out.splitlines()
    assert str(labelled) in line
    assert "0 labels fixed, 0 rejected" in line


def test_a_converted_folder_is_read_back(labelled: Path) -> None:
    made = convert_dataset(DataConfig(root=labelled, name="cats"), labelled.parent / "coco")
    again = prepare_dataset(DataConfig(root=labelled.parent / "coco", name="cats"))
    assert again.fingerprint == made.dataset.fingerprint
    assert again.tables["train"].image_root == labelled / "images"
    labelled.rename(labelled.parent / "moved")
    with pytest.raises(DataError, match=r"images of split train are no longer at .*data/images"):
        prepare_dataset(DataConfig(root=labelled.parent / "coco"))


def test_sizes_alone_cannot_be_trained_on(make_dataset) -> None:
    root = make_dataset(
        [],
        {"labels/a.txt": "0 0.5 0.5 0.2 0.2\n", "sizes.csv": "file_name,width,height\na.jpg,9,9\n"},
    )
    with pytest.raises(DataError, match="cannot be trained on"):
        prepare_dataset(DataConfig(root=root, image_sizes="sizes.csv"))


NUMBERED = {"first_class": 0, "classes": ["cat"], "val_fraction": 0, "test_fraction": 0}


@pytest.mark.parametrize("text", ["5 0.5 0.5 0.2 0.2\n", "0 0.5 0.5\n", "\0" * 60])
def test_an_image_without_a_usable_label_is_no_true_negative(
    make_dataset, tmp_path: Path, text: str
) -> None:
    labels = {f"labels/{n}.txt": "0 0.5 0.5 0.2 0.2\n" for n in range(6)} | {"labels/9.txt": ""}
    root = make_dataset(
        [f"images/{n}.jpg" for n in (*range(6), 9)], {**labels, "labels/3.txt": text}
    )
    data = DataConfig(root=root, **NUMBERED)
    trained_on = prepare_dataset(data)
    converted = convert_dataset(data, tmp_path / "coco").dataset
    written = export_dataset(data, tmp_path / "yolo", "yolo").folder
    # The empty label file still makes a true negative.
    names = [f"{n}.jpg" for n in (0, 1, 2, 4, 5, 9)]
    for dataset in (trained_on, converted):
        assert list(dataset.tables["train"].names) == names
        (entry,) = [e for e in dataset.ledger.entries if e.rejects_image]
        assert entry.path == "images/3.jpg"
        counts = dataset.ledger.split("train")
        assert (counts.images, counts.negatives, counts.rejected_images) == (6, 1, 1)
    labels_written = sorted(path.stem for path in written.rglob("labels/**/*.txt"))
    assert labels_written == [Path(name).stem for name in names]


# --- COCO JSON ------------------------------------------------------------------------------------

SQUARE = [[10, 10, 30, 10, 30, 30, 10, 30]]


def coco(files: list[str], first_id: int = 7, names: tuple[str, ...] = ("cat", "dog")) -> dict:
    """Return a COCO data set without `info`, its ids neither contiguous nor from 1."""
    images = [
        {"id": first_id + 3 * n, "file_name": name, "width": 100, "height": 80}
        for n, name in enumerate(files)
    ]
    annotations = [
        {"id": 50 + 2 * n, "image_id": image["id"], "category_id": 5, "bbox": [10, 10, 20, 20],
         "area": 400, "iscrowd": 0, "segmentation": SQUARE}
        for n, image in enumerate(images)
    ]  # fmt: skip
    categories = [{"id": 5 + 3 * n, "name": name} for n, name in enumerate(names)]
    return {"images": images, "annotations": annotations, "categories": categories}


@pytest.mark.parametrize(
    ("train_json", "val_json", "train_images", "val_images"),
    [
        ("train.json", "val.json", "images/train", "images/val"),
        ("train.json", "valid.json", "train", "valid"),
        ("train.json", "val.json", "images", "images"),
        ("annotations/instances_train2017.json", "annotations/instances_val2017.json",
         "train2017", "val2017"),
        ("train/_annotations.coco.json", "valid/_annotations.coco.json", "train", "valid"),
        ("annotations/train.json", "annotations/val.json", "deep/down/there", "deep/down/there"),
    ],
)  # fmt: skip
def test_coco_layouts(
    make_dataset, train_json: str, val_json: str, train_images: str, val_images: str
) -> None:
    root = make_dataset(
        [f"{train_images}/a.jpg", f"{train_images}/b.jpg", f"{val_images}/c.jpg"],
        {train_json: json.dumps(coco(["a.jpg", "b.jpg"])), val_json: json.dumps(coco(["c.jpg"]))},
    )
    dataset = prepare_dataset(DataConfig(root=root))
    assert dataset.classes == ("cat", "dog")
    assert counts(dataset) == {"train": (2, 2), "val": (1, 1)}
    assert dataset.has_masks
    assert dataset.tables["train"].image_root == root / train_images
    assert dataset.tables["val"].image_root == root / val_images


def test_coco_in_one_piece_is_split_and_keeps_its_ids(make_dataset) -> None:
    files = [f"{n}.jpg" for n in range(10)]
    content = coco(files)
    content["annotations"][0]["iscrowd"] = 1
    root = make_dataset(
        [f"images/{name}" for name in files], {"annotations.json": json.dumps(content)}
    )
    dataset = prepare_dataset(DataConfig(root=root))
    assert counts(dataset) == {"train": (8, 8), "val": (1, 1), "test": (1, 1)}
    parts = [coco_content(dataset.classes, table) for table in dataset.tables.values()]
    for key in ("images", "annotations"):
        found = sorted((entry["id"], entry) for part in parts for entry in part[key])
        for (_, entry), given in zip(found, content[key], strict=True):
            assert {name: entry[name] for name in given} == given
    for part in parts:
        assert [(c["id"], c["name"]) for c in part["categories"]] == [(5, "cat"), (8, "dog")]
    assert prepare_dataset(DataConfig(root=root)).fingerprint == dataset.fingerprint
    other = prepare_dataset(DataConfig(root=root, split_seed=3))
    assert other.fingerprint != dataset.fingerprint


def test_numbers_of_a_coco_file_survive_to_the_last_digit(make_dataset) -> None:
    box, area = [10.123456789, 10.1, 20.00000001, 20.3], 123.456789
    polygon = [10.123456789, 10, 30, 10, 30.0000001, 30, 10, 30]
    mask = {"size": [80, 100], "counts": [5, 100, 7895]}
    content = coco(["a.jpg"])
    content["annotations"] = [
        {"id": 0, "image_id": 7, "category_id": 8, "bbox": box, "area": area, "iscrowd": 0,
         "segmentation": [polygon]},
        {"id": 9, "image_id": 7, "category_id": 5, "bbox": [0, 0, 2, 80], "area": 100,
         "iscrowd": 1, "segmentation": mask},
        {"id": 4, "image_id": 7, "category_id": 5, "bbox": [99.6, 0, 0.8, 10], "area": 0,
         "iscrowd": 0},
    ]  # fmt: skip
    root = make_dataset(["a.jpg"], {"train.json": json.dumps(content)})
    dataset = prepare_dataset(DataConfig(root=root, val_fraction=0, test_fraction=0))
    read = coco_content(dataset.classes, dataset.tables["train"])["annotations"]
    for entry, given in zip(read, content["annotations"], strict=True):
        assert {name: entry[name] for name in given} == given


def test_ids_may_differ_between_the_splits_files(make_dataset) -> None:
    val = coco(["b.jpg"], first_id=3)
    val["categories"] = [{"id": 8, "name": "cat"}, {"id": 5, "name": "dog"}]
    root = make_dataset(
        ["images/a.jpg", "images/b.jpg"],
        {"train.json": json.dumps(coco(["a.jpg"])), "val.json": json.dumps(val)},
    )
    dataset = prepare_dataset(DataConfig(root=root))
    assert dataset.classes == ("cat", "dog")
    assert dataset.tables["train"].category_ids(2) == [5, 8]
    assert dataset.tables["val"].category_ids(2) == [8, 5]
    assert dataset.tables["train"].categories.tolist() == [0]
    assert dataset.tables["val"].categories.tolist() == [1]  # its id 5 is the dog
    assert dataset.tables["val"].image_ids.tolist() == [3]


def test_ids_that_are_text_are_numbered_anew(make_dataset, capsys) -> None:
    content = coco(["a.jpg"])
    content["images"][0]["id"] = content["annotations"][0]["image_id"] = "seven"
    root = make_dataset(["a.jpg"], {"train.json": json.dumps(content)})
    dataset = prepare_dataset(DataConfig(root=root, val_fraction=0, test_fraction=0))
    assert dataset.tables["train"].image_ids.tolist() == [1]
    assert "'seven'; results use new numbers" in capsys.readouterr().out


@pytest.mark.parametrize("names", [("2", "1"), ("1", "2")])
def test_classes_named_by_digits_keep_their_names(make_dataset, names: tuple[str, str]) -> None:
    content = coco(["a.jpg"], names=names)
    root = make_dataset(["a.jpg"], {"train.json": json.dumps(content)})
    dataset = prepare_dataset(DataConfig(root=root, val_fraction=0, test_fraction=0))
    (category,) = dataset.tables["train"].categories.tolist()
    assert dataset.classes[category] == names[0]


def test_coco_without_val_takes_it_from_train(make_dataset) -> None:
    files = [f"{n}.jpg" for n in range(8)]
    root = make_dataset(
        [f"images/{name}" for name in [*files, "t.jpg"]],
        {"train.json": json.dumps(coco(files)), "test.json": json.dumps(coco(["t.jpg"]))},
    )
    dataset = prepare_dataset(DataConfig(root=root))
    assert counts(dataset) == {"train": (7, 7), "val": (1, 1), "test": (1, 1)}


def change(path: str, value: object):
    """Return a function that sets `value` at a dotted path of a COCO dict, or deletes it."""

    def apply(content: dict) -> None:
        *way, last = [int(p) if p.isdigit() else p for p in path.split(".")]
        for part in way:
            content = content[part]
        if value is None:
            del content[last]
        else:
            content[last] = value

    return apply


@pytest.mark.parametrize(
    ("damage", "kind"),
    [
        (change("annotations.0.bbox", None), ""),  # the polygon says enough
        (change("annotations.0", 3), "not an object"),
        (change("annotations.0.image_id", 99), "unknown image"),
        (change("annotations.0.category_id", 0), "unknown class"),
        (change("annotations.0.bbox", [1, 2, 3]), "wrong number of values"),
        (change("annotations.0.bbox", [1, 2, 3, float("nan")]), "not finite"),
        (lambda content: content["annotations"][0].update(bbox=[1, 2, 3, -4], segmentation=[]),
         "negative size"),
        (change("annotations.0.segmentation", {"size": [80, 100], "counts": [5, 6]}), "bad mask"),
        (change("annotations.0.segmentation", {"size": [100, 80], "counts": [8000]}), "bad mask"),
    ],
)  # fmt: skip
def test_wrong_annotations_are_rejected_and_the_rest_is_read(
    make_dataset, damage, kind: str
) -> None:
    content = coco(["a.jpg", "b.jpg", "c.jpg"])
    damage(content)
    files = ["images/a.jpg", "images/b.jpg", "images/c.jpg"]
    root = make_dataset(files, {"train.json": json.dumps(content)})
    whole = {"root": root, "val_fraction": 0, "test_fraction": 0}
    dataset = prepare_dataset(DataConfig(**whole))
    # An image without any label that can be used would be trained on as background.
    left_out = bool(kind) and kind not in ("not an object", "unknown image")
    assert counts(dataset) == {"train": (3 - left_out, 3 - bool(kind))}
    assert dataset.ledger.split("train").rejected_images == left_out
    assert list(dataset.ledger.kinds("rejected")) == ([kind] if kind else [])
    if kind:
        with pytest.raises(LabelError, match=r"train\.json:\d+: .*"):
            prepare_dataset(DataConfig(**whole, on_problem="stop"))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (change("categories", None), "not 'categories'"),
        (change("images", {}), "'images' is an object; COCO has a list there"),
        (change("images.1.id", 7), "the id 7 is given to two of 'images'"),
    ],
)
def test_coco_that_cannot_be_used_at_all(make_dataset, damage, message: str) -> None:
    content = coco(["a.jpg", "b.jpg"])
    damage(content)
    root = make_dataset(["images/a.jpg", "images/b.jpg"], {"train.json": json.dumps(content)})
    with pytest.raises(DataError) as raised:
        prepare_dataset(DataConfig(root=root, format="coco", annotations="train.json"))
    assert message in str(raised.value)
    assert str(root / "train.json") in str(raised.value)


def test_a_fix_recomputes_the_area_of_what_it_changed(make_dataset) -> None:
    content = coco(["a.jpg"])
    content["annotations"][0] |= {"bbox": [-10, 10, 20, 20], "segmentation": []}
    root = make_dataset(["a.jpg"], {"train.json": json.dumps(content)})
    whole = {"root": root, "val_fraction": 0, "test_fraction": 0}
    dataset = prepare_dataset(DataConfig(**whole))
    (entry,) = coco_content(dataset.classes, dataset.tables["train"])["annotations"]
    assert (entry["bbox"], entry["area"]) == ([0, 10, 10, 20], 200)
    assert dict(dataset.ledger.kinds("fixed")) == {"clipped": 1}
    with pytest.raises(DataError, match="1 of 1 labels are wrong"):
        prepare_dataset(DataConfig(**whole, on_problem="reject"))


def test_a_size_that_the_image_does_not_have_is_warned_of(make_dataset, capsys) -> None:
    content = coco(["a.jpg", "b.jpg"])
    content["images"][0]["width"] = 60
    root = make_dataset(["a.jpg", "b.jpg"], {"train.json": json.dumps(content)})
    dataset = prepare_dataset(DataConfig(root=root, val_fraction=0, test_fraction=0))
    assert dataset.tables["train"].sizes.tolist() == [[100, 80], [100, 80]]
    assert "says 60x80 px, the image has 100x80" in capsys.readouterr().err


def test_a_negative_width_is_rejected_beside_a_polygon_too(make_dataset) -> None:
    content = coco(["a.jpg", "b.jpg"])
    for entry, polygons in zip(
        content["annotations"], ([], [[30, 30, 50, 30, 50, 50]]), strict=True
    ):
        entry |= {"bbox": [50, 50, -20, -20], "segmentation": polygons}
    root = make_dataset(["a.jpg", "b.jpg"], {"train.json": json.dumps(content)})
    ledger = read_dataset(DataConfig(root=root, val_fraction=0, test_fraction=0)).ledger
    assert ledger.kinds("rejected") == {"negative size": 2}


@pytest.mark.parametrize("first_pixel", [0, 1])
def test_masks_have_no_first_pixel(make_dataset, first_pixel: int) -> None:
    content = coco(["a.jpg"])
    # 10 columns of 80 pixels, then 20 columns that are set from row 20 to row 39.
    counts = [800 + 20, *[20, 60] * 19, 20, 40 + 70 * 80]
    content["annotations"][0] |= {"segmentation": {"size": [80, 100], "counts": counts}}
    del content["annotations"][0]["bbox"]
    root = make_dataset(["a.jpg"], {"train.json": json.dumps(content)})
    options = {"val_fraction": 0, "test_fraction": 0, "first_pixel": first_pixel}
    dataset = read_dataset(DataConfig(root=root, **options))
    assert dataset.tables["train"].boxes.tolist() == [[10, 20, 20, 20]]


def test_a_stated_size_concerns_the_image_of_its_own_split(make_dataset) -> None:
    resized, fitting = coco(["a.jpg"]), coco(["a.jpg"])
    resized["images"][0]["width"] = 60
    texts = {"train.json": json.dumps(resized), "val.json": json.dumps(fitting)}
    root = make_dataset(["images/train/a.jpg", "images/val/a.jpg"], texts)
    assert prepare_dataset(DataConfig(root=root)).stated_sizes == {"train": {"a.jpg": (60, 80)}}


def test_missing_images_are_listed_and_most_missing_is_an_error(make_dataset) -> None:
    text = json.dumps(coco(["a.jpg", "b.jpg", "c.jpg"]))
    root = make_dataset(["images/a.jpg", "images/b.jpg"], {"train.json": text})
    dataset = prepare_dataset(DataConfig(root=root, val_fraction=0, test_fraction=0))
    assert dataset.tables["train"].names == ("a.jpg", "b.jpg")
    assert any("no image 'c.jpg'" in entry.message for entry in dataset.ledger.entries)
    (root / "images/b.jpg").unlink()
    with pytest.raises(DataError, match="2 of its 3 images were not found"):
        prepare_dataset(DataConfig(root=root))


def test_json_that_is_cut_off(make_dataset) -> None:
    text = json.dumps(coco(["a.jpg"]))
    root = make_dataset(["images/a.jpg"], {"train.json": text[:-20]})
    with pytest.raises(DataError, match=r"train\.json"):
        prepare_dataset(DataConfig(root=root))


def test_classes_of_all_splits_make_one_list(make_dataset) -> None:
    train, val = coco(["a.jpg"]), coco(["b.jpg"], names=("cat", "cow"))
    root = make_dataset(
        ["images/a.jpg", "images/b.jpg"],
        {"train.json": json.dumps(train), "val.json": json.dumps(val)},
    )
    dataset = prepare_dataset(DataConfig(root=root))
    assert dataset.classes == ("cat", "dog", "cow")
    assert dataset.tables["val"].category_ids(3) == [5, 9, 8]


def test_val_may_lack_a_class(make_dataset) -> None:
    val = coco(["b.jpg"], names=("cat",))
    root = make_dataset(
        ["images/a.jpg", "images/b.jpg"],
        {"train.json": json.dumps(coco(["a.jpg"])), "val.json": json.dumps(val)},
    )
    assert prepare_dataset(DataConfig(root=root)).classes == ("cat", "dog")


def test_given_classes_decide_their_order(make_dataset) -> None:
    root = make_dataset(["images/a.jpg"], {"train.json": json.dumps(coco(["a.jpg"]))})
    data = DataConfig(root=root, classes=["dog", "cat"], val_fraction=0, test_fraction=0)
    dataset = prepare_dataset(data)
    assert dataset.classes == ("dog", "cat")
    assert dataset.tables["train"].categories.tolist() == [1]
    assert dataset.tables["train"].category_ids(2) == [8, 5]


def test_several_files_that_could_be_meant(make_dataset) -> None:
    text = json.dumps(coco(["a.jpg"]))
    root = make_dataset(["images/a.jpg"], {"one.json": text, "two.json": text})
    with pytest.raises(DataError, match=r"one\.json, two\.json\. Choose with data\.annotations"):
        prepare_dataset(DataConfig(root=root))
    dataset = prepare_dataset(DataConfig(root=root, annotations="one.json"))
    assert counts(dataset) == {"train": (1, 1)}


def test_root_is_asked_for_with_its_source() -> None:
    with pytest.raises(ConfigError, match=r"data\.root is missing.* Download 'bccd' from: x"):
        prepare_dataset(DataConfig(name="bccd", source="x"))


def test_a_damaged_validation_json_is_not_passed_over(make_dataset) -> None:
    coco = {"images": [], "annotations": [], "categories": []}
    root = make_dataset(["a.jpg"], {"train.json": json.dumps(coco), "val.json": '{"images": ['})
    with pytest.raises(
        DataError, match=r"val\.json: the name is that of a label file of split val"
    ):
        prepare_dataset(DataConfig(root=root))


def test_other_json_beside_a_coco_data_set_is_left_alone(make_dataset) -> None:
    coco = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 100, "height": 80}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 9, 9]}],
        "categories": [{"id": 1, "name": "cat"}],
    }
    texts = {
        "annotations/instances_train2017.json": json.dumps(coco),
        "annotations/instances_val2017.json": json.dumps(coco),
        "annotations/captions_train2017.json": '{"images": []}',
        "annotations/image_info_test2017.json": '{"images": []}',
        "train_config.json": "{}",
    }
    root = make_dataset(["train2017/a.jpg", "val2017/a.jpg"], texts)
    assert set(prepare_dataset(DataConfig(root=root)).tables) == {"train", "val"}


# --- labels that could go to the wrong image, class or split --------------------------------------

WHOLE = {"val_fraction": 0, "test_fraction": 0}


def test_a_missing_image_does_not_lend_its_labels_to_another_of_its_name(make_dataset) -> None:
    content = coco(["cam1/1.jpg", "cam2/1.jpg", "cam1/2.jpg"])
    root = make_dataset(["cam1/1.jpg", "cam1/2.jpg"], {"train.json": json.dumps(content)})
    dataset = prepare_dataset(DataConfig(root=root, **WHOLE))
    assert counts(dataset) == {"train": (2, 2)}
    assert any("cam2/1.jpg" in entry.message for entry in dataset.ledger.entries)


def test_of_entries_that_could_mean_one_image_none_gets_it(make_dataset) -> None:
    content = coco(["cam1/1.jpg", "cam2/1.jpg", "2.jpg", "3.jpg", "4.jpg"])
    files = ["1.jpg", "2.jpg", "3.jpg", "4.jpg"]
    root = make_dataset(files, {"train.json": json.dumps(content)})
    dataset = prepare_dataset(DataConfig(root=root, **WHOLE))
    assert dataset.tables["train"].names == ("2.jpg", "3.jpg", "4.jpg")


def test_of_two_categories_of_one_name_the_used_id_counts(make_dataset) -> None:
    content = coco(["a.jpg"], names=("car", "car"))
    content["annotations"][0]["category_id"] = 8
    root = make_dataset(["a.jpg"], {"train.json": json.dumps(content)})
    dataset = prepare_dataset(DataConfig(root=root, **WHOLE))
    assert dataset.tables["train"].category_ids(1) == [8]


def test_numbers_that_are_not_among_the_given_classes_are_rejected(make_dataset) -> None:
    content = coco(["a.jpg", "b.jpg", "c.jpg"], names=("1", "2", "3"))
    for annotation, category in zip(content["annotations"], (5, 8, 11), strict=True):
        annotation["category_id"] = category
    root = make_dataset(["a.jpg", "b.jpg", "c.jpg"], {"train.json": json.dumps(content)})
    dataset = prepare_dataset(DataConfig(root=root, classes=["2", "3"], **WHOLE))
    assert dataset.tables["train"].categories.tolist() == [0, 1]
    assert dataset.tables["train"].category_ids(2) == [8, 11]
    assert dict(dataset.ledger.kinds("rejected")) == {"unknown class": 1}


def test_digits_beside_letters_are_classes(make_dataset) -> None:
    rows = "".join(f"{n}.jpg,1,1,20,20,{name}\n" for n, name in enumerate(["A", "B", "0", "1"]))
    root = make_dataset(
        [f"{n}.jpg" for n in range(4)], {"boxes.csv": f"filename,xmin,ymin,xmax,ymax,class\n{rows}"}
    )
    dataset = prepare_dataset(DataConfig(root=root, **WHOLE))
    names = [dataset.classes[i] for i in dataset.tables["train"].categories.tolist()]
    assert names == ["A", "B", "0", "1"]


@pytest.mark.parametrize(
    "header",
    [
        "filename,class,bbox_x,bbox_y,bbox_width,bbox_height,width,height",
        "filename,class,width,height,bbox_x,bbox_y,bbox_width,bbox_height",
    ],
)
def test_the_images_size_in_a_table_is_not_the_boxes(make_dataset, header: str) -> None:
    values = {"filename": "a.jpg", "class": "cat", "bbox_x": 3, "bbox_y": 4, "bbox_width": 20,
              "bbox_height": 30, "width": 100, "height": 80}  # fmt: skip
    row = ",".join(str(values[name]) for name in header.split(","))
    root = make_dataset(["a.jpg"], {"boxes.csv": f"{header}\n{row}\n"})
    dataset = prepare_dataset(DataConfig(root=root, **WHOLE))
    assert dataset.tables["train"].boxes.tolist() == [[3, 4, 20, 30]]


def test_units_that_differ_between_files_are_an_error(make_dataset) -> None:
    head = "filename,xmin,ymin,xmax,ymax,class\n"
    texts = {
        "train.csv": head + "a.jpg,0.1,0.1,0.5,0.5,cat\n" * 3,
        "val.csv": head + "b.jpg,10,10,50,50,cat\n" * 3,
    }
    root = make_dataset(["a.jpg", "b.jpg"], texts)
    with pytest.raises(DataError, match=r"train\.csv has normalized .* val\.csv has absolute"):
        prepare_dataset(DataConfig(root=root))


def test_a_split_column_decides_before_the_files_name(make_dataset) -> None:
    rows = "".join(f"{n}.jpg,1,1,20,20,cat,{'val' if n == 3 else 'train'}\n" for n in range(4))
    head = "filename,xmin,ymin,xmax,ymax,class,split\n"
    files = [f"{n}.jpg" for n in range(4)]
    root = make_dataset(files, {"train_labels.csv": head + rows})
    assert counts(prepare_dataset(DataConfig(root=root))) == {"train": (3, 3), "val": (1, 1)}
    (root / "train_labels.csv").write_text(head + rows.replace("val", "holdout", 1).replace(
        "0.jpg,1,1,20,20,cat,train", "0.jpg,1,1,20,20,cat,val"))  # fmt: skip
    with pytest.raises(DataError, match="subset 'holdout' is not a split, but others are"):
        prepare_dataset(DataConfig(root=root))


def test_a_link_to_a_folder_above_is_not_followed(make_dataset) -> None:
    root = make_dataset(["images/a.jpg"], {"labels/a.txt": "0 0.5 0.5 0.2 0.2\n"})
    (root / "images" / "loop").symlink_to(root / "images")
    assert counts(prepare_dataset(DataConfig(root=root, **WHOLE))) == {"train": (1, 1)}


def test_a_named_pipe_among_labels_does_not_hang(make_dataset) -> None:
    root = make_dataset(["images/a.jpg", "images/b.jpg"], {"labels/a.txt": "0 0.5 0.5 0.2 0.2\n"})
    os.mkfifo(root / "labels" / "b.txt")
    dataset = prepare_dataset(DataConfig(root=root, **WHOLE))
    assert dataset.tables["train"].names == ("a.jpg",)
    assert any("not a regular file" in entry.message for entry in dataset.ledger.entries)


def test_an_image_listed_twice_gets_the_objects_of_both_entries(make_dataset) -> None:
    content = coco(["a.jpg", "b.jpg"])
    content["images"][1]["file_name"] = "./a.jpg"
    content["annotations"][1]["bbox"] = [5, 5, 9, 9]
    root = make_dataset(["a.jpg"], {"train.json": json.dumps(content)})
    dataset = prepare_dataset(DataConfig(root=root, **WHOLE))
    assert counts(dataset) == {"train": (1, 2)}
    assert any("1 images listed more than once" in note for note in dataset.notes)
