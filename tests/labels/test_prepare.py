"""What training gets: manifests from labels through the cache, and from COCO JSON as it is."""

from __future__ import annotations

import copy
import json
import os
from pathlib import Path

import pytest

from detfinetune.config.schema import DataConfig
from detfinetune.errors import ConfigError, DataError
from detfinetune.files import cache_dir
from detfinetune.labels.convert import convert_dataset
from detfinetune.labels.dataset.records import DatasetManifest
from detfinetune.labels.prepare import prepare_dataset


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


def test_labels_are_converted_once_and_never_beside_the_data(labelled: Path, capsys) -> None:
    before = tree(labelled)
    data = DataConfig(root=labelled, name="cats")
    first = prepare_dataset(data)
    assert "Converted into" in capsys.readouterr().out
    again = prepare_dataset(data)
    assert "are unchanged: using their conversion" in capsys.readouterr().out
    assert again == first
    assert tree(labelled) == before
    assert first.classes == ("cat",)
    assert {name: split.num_images for name, split in first.splits.items()} == {
        "train": 7, "val": 2, "test": 1,
    }  # fmt: skip
    assert first.splits["train"].json_file.is_relative_to(cache_dir("datasets"))
    assert first.splits["train"].image_root == labelled / "images"


@pytest.mark.parametrize(
    "change",
    [
        lambda root: (root / "labels/3.txt").write_text("0 0.5 0.5 0.2 0.2\n"),
        lambda root: (root / "labels/3.txt").unlink(),
        lambda root: (root / "images/3.jpg").unlink(),
        lambda root: os.utime(root / "images/3.jpg", (1, 1)),
        lambda root: (root / "classes.txt").write_text("dog\n"),
    ],
    ids=["label", "label gone", "image gone", "image touched", "class name"],
)
def test_a_change_of_the_data_is_noticed(labelled: Path, change, capsys) -> None:
    prepare_dataset(DataConfig(root=labelled))
    change(labelled)
    capsys.readouterr()
    prepare_dataset(DataConfig(root=labelled))
    assert "Converted into" in capsys.readouterr().out


def test_a_change_of_the_options_is_noticed(labelled: Path) -> None:
    first = prepare_dataset(DataConfig(root=labelled))
    other = prepare_dataset(DataConfig(root=labelled, split_seed=1))
    assert first.fingerprint != other.fingerprint
    assert first.splits["val"].json_file != other.splits["val"].json_file


def test_an_interrupted_conversion_leaves_nothing(labelled: Path, monkeypatch) -> None:
    def interrupted(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("detfinetune.labels.convert.write_manifest", interrupted)
        with pytest.raises(KeyboardInterrupt):
            prepare_dataset(DataConfig(root=labelled))
    assert list(cache_dir("datasets").iterdir()) == []
    assert prepare_dataset(DataConfig(root=labelled)).splits["train"].num_images == 7


def test_a_converted_folder_is_taken_as_it_is(labelled: Path) -> None:
    made = convert_dataset(DataConfig(root=labelled, name="cats"), labelled.parent / "coco")
    manifest = prepare_dataset(DataConfig(root=labelled.parent / "coco"))
    assert manifest == made.manifest
    labelled.rename(labelled.parent / "moved")
    with pytest.raises(DataError, match=r"images of split train are no longer at .*data/images"):
        prepare_dataset(DataConfig(root=labelled.parent / "coco"))


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


def counts(manifest: DatasetManifest) -> dict[str, tuple[int, int]]:
    return {name: (s.num_images, s.num_annotations) for name, s in manifest.splits.items()}


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
    manifest = prepare_dataset(DataConfig(root=root))
    assert manifest.classes == ("cat", "dog")
    assert counts(manifest) == {"train": (2, 2), "val": (1, 1)}
    assert manifest.has_masks
    assert manifest.splits["train"].json_file == root / train_json
    assert manifest.splits["train"].image_root == root / train_images
    assert manifest.splits["val"].image_root == root / val_images


def test_coco_in_one_piece_is_split_and_keeps_its_ids(make_dataset) -> None:
    files = [f"{n}.jpg" for n in range(10)]
    content = coco(files)
    content["annotations"][0]["iscrowd"] = 1
    root = make_dataset(
        [f"images/{name}" for name in files], {"annotations.json": json.dumps(content)}
    )
    manifest = prepare_dataset(DataConfig(root=root))
    assert counts(manifest) == {"train": (7, 7), "val": (2, 2), "test": (1, 1)}
    parts = [json.loads(split.json_file.read_text()) for split in manifest.splits.values()]
    assert sorted(i["id"] for part in parts for i in part["images"]) == [
        image["id"] for image in content["images"]
    ]
    assert sum(a["iscrowd"] for part in parts for a in part["annotations"]) == 1
    assert prepare_dataset(DataConfig(root=root)) == manifest
    other = prepare_dataset(DataConfig(root=root, split_seed=3))
    assert other.fingerprint != manifest.fingerprint


def test_coco_without_val_takes_it_from_train(make_dataset) -> None:
    files = [f"{n}.jpg" for n in range(8)]
    root = make_dataset(
        [f"images/{name}" for name in [*files, "t.jpg"]],
        {"train.json": json.dumps(coco(files)), "test.json": json.dumps(coco(["t.jpg"]))},
    )
    manifest = prepare_dataset(DataConfig(root=root))
    assert counts(manifest) == {"train": (7, 7), "val": (1, 1), "test": (1, 1)}
    assert manifest.splits["test"].json_file == root / "test.json"


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
    ("damage", "message"),
    [
        (change("categories", None), "1 x 'categories' is missing or no list"),
        (change("images", {}), "1 x 'images' is missing or no list"),
        (change("annotations.0.bbox", None), "1 x annotations without 'bbox': annotations[0]"),
        (change("images.1.width", None), "1 x images without 'width': images[1]"),
        (change("annotations.0", 3), "annotations with something else than objects"),
        (change("annotations.0.image_id", 99),
         "1 x annotations of an image that is not in 'images': annotation 50: image_id 99"),
        (change("annotations.1.category_id", 0),
         "1 x annotations of a category that is not in 'categories': annotation 52: category_id 0"),
        (change("images.1.id", 7), "1 x images with the same id: 7 (2 times)"),
        (change("annotations.0.bbox", [1, 2, 3]), "bbox is not four finite numbers: annotation 50"),
        (change("annotations.0.bbox", [1, 2, 3, float("nan")]), "bbox is not four finite numbers"),
        (change("categories.1.name", "cat"), "categories with the same name: 'cat' (2 times)"),
        (change("images.0.file_name", "gone.jpg"), "1 x images missing in"),
        (change("images.0.width", 80), "a.jpg is 100x80, not 80x80"),
        (change("annotations.0.segmentation", {"size": [80, 100], "counts": [5, 6]}),
         "masks whose 'counts' do not add up to height x width: annotation 50: 11, not 8000"),
        (change("annotations.0.segmentation", {"size": [100, 80], "counts": [8000]}),
         "masks whose 'size' is not [height, width] of their image: annotation 50: [100, 80]"),
    ],
)  # fmt: skip
def test_coco_that_cannot_be_used(make_dataset, damage, message: str) -> None:
    content = coco(["a.jpg", "b.jpg"])
    damage(content)
    root = make_dataset(["images/a.jpg", "images/b.jpg"], {"train.json": json.dumps(content)})
    data = DataConfig(root=root, format="coco", annotations="train.json")
    with pytest.raises(DataError) as raised:
        prepare_dataset(data)
    assert message in str(raised.value)
    assert str(root / "train.json") in str(raised.value)


def test_all_problems_of_a_coco_file_come_at_once(make_dataset) -> None:
    content = coco(["a.jpg", "b.jpg", "c.jpg"])
    content["annotations"][0]["image_id"] = 99
    content["annotations"][1]["category_id"] = 99
    root = make_dataset(["images/a.jpg"], {"train.json": json.dumps(content)})
    with pytest.raises(DataError) as raised:
        prepare_dataset(DataConfig(root=root))
    text = str(raised.value)
    assert "cannot be used as it is, 4 problems" in text
    assert f"2 x images missing in {root / 'images'}: b.jpg, c.jpg" in text


def test_a_conversion_mends_what_cannot_be_taken_as_it_is(make_dataset, tmp_path: Path) -> None:
    content = coco(["a.jpg", "b.jpg", "c.jpg"])
    content["annotations"][0]["category_id"] = 99
    root = make_dataset(
        ["images/a.jpg", "images/b.jpg", "images/c.jpg"], {"train.json": json.dumps(content)}
    )
    data = DataConfig(root=root, val_fraction=0, test_fraction=0)
    with pytest.raises(DataError, match="A conversion keeps what is right and lists the rest"):
        prepare_dataset(data)
    result = convert_dataset(data, tmp_path / "out", contact_sheet=0)
    counts = result.ledger.counts["train"]
    assert (counts.images, counts.kept, counts.rejected) == (3, len(content["annotations"]) - 1, 1)
    assert prepare_dataset(DataConfig(root=tmp_path / "out")).splits["train"].num_images == 3


def test_json_that_is_cut_off(make_dataset) -> None:
    text = json.dumps(coco(["a.jpg"]))
    root = make_dataset(["images/a.jpg"], {"train.json": text[:-20]})
    with pytest.raises(DataError, match=r"train\.json: is not valid JSON .* downloaded whole\?"):
        prepare_dataset(DataConfig(root=root))


def test_class_lists_that_differ_are_both_shown(make_dataset) -> None:
    train, val = coco(["a.jpg"]), coco(["b.jpg"], names=("cat", "cow"))
    root = make_dataset(
        ["images/a.jpg", "images/b.jpg"],
        {"train.json": json.dumps(train), "val.json": json.dumps(val)},
    )
    with pytest.raises(DataError) as raised:
        prepare_dataset(DataConfig(root=root))
    text = str(raised.value)
    assert "val has classes that train lacks: cow" in text
    assert "5 cat, 8 dog" in text
    assert "5 cat, 8 cow" in text


def test_same_classes_under_other_ids_are_an_error(make_dataset) -> None:
    val = copy.deepcopy(coco(["b.jpg"]))
    val["categories"] = [{"id": 8, "name": "cat"}, {"id": 5, "name": "dog"}]
    root = make_dataset(
        ["images/a.jpg", "images/b.jpg"],
        {"train.json": json.dumps(coco(["a.jpg"])), "val.json": json.dumps(val)},
    )
    with pytest.raises(DataError, match="these have other ids: cat, dog"):
        prepare_dataset(DataConfig(root=root))


def test_val_may_lack_a_class(make_dataset) -> None:
    val = coco(["b.jpg"], names=("cat",))
    root = make_dataset(
        ["images/a.jpg", "images/b.jpg"],
        {"train.json": json.dumps(coco(["a.jpg"])), "val.json": json.dumps(val)},
    )
    assert prepare_dataset(DataConfig(root=root)).classes == ("cat", "dog")


def test_given_classes_that_differ_from_those_of_the_json(make_dataset) -> None:
    root = make_dataset(["images/a.jpg"], {"train.json": json.dumps(coco(["a.jpg"]))})
    with pytest.raises(ConfigError, match=r"data\.classes: dog, cat\n.*train\.json: cat, dog"):
        prepare_dataset(DataConfig(root=root, classes=["dog", "cat"]))


def test_several_files_that_could_be_meant(make_dataset) -> None:
    text = json.dumps(coco(["a.jpg"]))
    root = make_dataset(["images/a.jpg"], {"one.json": text, "two.json": text})
    with pytest.raises(DataError, match=r"one\.json, two\.json\. Choose with data\.annotations"):
        prepare_dataset(DataConfig(root=root))
    manifest = prepare_dataset(DataConfig(root=root, annotations="one.json"))
    assert counts(manifest) == {"train": (1, 1)}


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
    assert set(prepare_dataset(DataConfig(root=root)).splits) == {"train", "val"}
