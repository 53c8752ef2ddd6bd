"""Which files are read, how often, and what is said of the others."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import MakeDataset

from detfinetune.config.schema import DataConfig
from detfinetune.errors import DataError
from detfinetune.labels import text
from detfinetune.labels.read import read_dataset

VOC = (
    "<annotation><object><name>cat</name><bndbox><xmin>10</xmin><ymin>10</ymin><xmax>30</xmax>"
    "<ymax>40</ymax></bndbox></object></annotation>"
)
CSV = "filename,xmin,ymin,xmax,ymax,class\n"

COUNT_OPENS = """
import sys
from collections import Counter
from pathlib import Path
from detfinetune.config.schema import DataConfig
from detfinetune.labels.read import read_dataset

root = Path(sys.argv[1])
opened = Counter()

def count(event, arguments):
    if event == "open" and str(arguments[0]).startswith(str(root)):
        opened[Path(str(arguments[0])).name] += 1

sys.addaudithook(count)
dataset = read_dataset(DataConfig(root=root))
print(sorted(dataset.tables), dict(opened))
"""


def coco(*names: str, **more: Any) -> str:
    images = [
        {"id": n, "file_name": name, "width": 100, "height": 80} for n, name in enumerate(names)
    ]
    objects = [
        {"id": n, "image_id": n, "category_id": 1, "bbox": [10, 10, 20, 30]}
        for n in range(len(names))
    ]
    categories = [{"id": 1, "name": "cat"}]
    return json.dumps({"images": images, "annotations": objects, "categories": categories, **more})


def notes(root: Path, **options: Any) -> str:
    options = {"val_fraction": 0, "test_fraction": 0, **options}
    return "\n".join(read_dataset(DataConfig(root=root, **options)).notes)


def test_each_coco_file_is_opened_once_to_detect_it_and_once_to_parse_it(
    make_dataset: MakeDataset,
) -> None:
    texts = {"train.json": coco("a.jpg"), "val.json": coco("b.jpg"), "other.json": "{}"}
    root = make_dataset(["a.jpg", "b.jpg"], texts)
    run = subprocess.run(
        [sys.executable, "-c", COUNT_OPENS, str(root)], capture_output=True, text=True, check=True
    )
    splits, opened = run.stdout.split("] ")
    assert splits == "['train', 'val'"
    counts = {name: count for name, count in json.loads(opened.replace("'", '"')).items()}
    assert counts.pop("train.json") <= 2
    assert counts.pop("val.json") <= 2
    assert counts.pop("other.json") == 1


def test_a_lone_coco_file_is_read_whole_once(
    make_dataset: MakeDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []
    read = text._read
    monkeypatch.setattr(text, "_read", lambda path, size=-1: sizes.append(size) or read(path, size))
    read_dataset(DataConfig(root=make_dataset(["a.jpg"], {"a.json": coco("a.jpg")})))
    assert len(sizes) == 2
    assert sizes.count(-1) == 1


def test_a_file_that_is_not_utf_8_is_noted(make_dataset: MakeDataset) -> None:
    table = f"{CSV}a.jpg,1,1,30,30,Łódź\n".encode("cp1250")
    dataset = read_dataset(DataConfig(root=make_dataset(["a.jpg"], {"boxes.csv": table})))
    assert [entry.message for entry in dataset.ledger.entries] == [
        "boxes.csv: not UTF-8; read as Latin-1"
    ]


def test_a_file_without_boxes_has_no_unit(make_dataset: MakeDataset) -> None:
    texts = {"train.csv": f"{CSV}a.jpg,0.1,0.1,0.3,0.5,cat\n", "val.csv": f"{CSV}b.jpg,,,,,\n"}
    dataset = read_dataset(DataConfig(root=make_dataset(["a.jpg", "b.jpg"], texts)))
    assert dataset.tables["train"].boxes.tolist() == [[10, 8, 20, 32]]
    assert dataset.tables["val"].num_objects == 0


def test_the_file_nearest_to_the_root_is_read_and_the_others_are_named(
    make_dataset: MakeDataset,
) -> None:
    texts = {"train.json": coco("a.jpg"), "old/train.json": coco("a.jpg")}
    said = notes(make_dataset(["a.jpg"], texts))
    assert (
        "old/train.json is not read: train.json is read for split train, as it is nearer to "
        "data.root" in said
    )


def test_instances_are_read_and_captions_are_named(make_dataset: MakeDataset) -> None:
    texts = {
        f"annotations/{name}_train2017.json": coco("a.jpg") for name in ("captions", "instances")
    }
    texts["annotations/image_info_test2017.json"] = coco("c.jpg")
    said = notes(make_dataset(["a.jpg"], texts))
    assert "annotations/captions_train2017.json, annotations/image_info_test2017.json are" in said
    assert "not read: by its name it holds other annotations than objects" in said


def test_a_file_of_no_split_beside_those_of_splits_is_named(make_dataset: MakeDataset) -> None:
    texts = {name: coco("a.jpg") for name in ("train.json", "val.json", "everything.json")}
    said = notes(make_dataset(["a.jpg"], texts))
    assert (
        "everything.json is not read: its name has no split, and train.json, val.json are read"
        in said
    )


def test_a_real_tie_stops(make_dataset: MakeDataset) -> None:
    texts = {"train_a.json": coco("a.jpg"), "train_b.json": coco("a.jpg")}
    with pytest.raises(DataError, match=r"could be split 'train': train_a\.json, train_b\.json"):
        notes(make_dataset(["a.jpg"], texts))


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("boxes.csv", f"{CSV}a.jpg,1,1,20,20,cat\n", "format csv; format coco was chosen"),
        ("more.csv", "what,ever\n1,2\n", "not recognised as labels"),
        ("a.json", "{}", "not recognised as labels"),
        ("a.xml", VOC, "format voc; format coco was chosen"),
        ("rows.jsonl", "{}\n", "JSON Lines other than Florence-2's is not a supported format"),
        ("map.geojson", "{}\n", "GeoJSON (such as xView's) is not a supported format"),
    ],
)
def test_unused_files_are_named_with_the_reason(
    make_dataset: MakeDataset, name: str, text: str, reason: str
) -> None:
    root = make_dataset(["a.jpg"], {"all.json": coco("a.jpg"), name: text})
    assert f"{name} is not read: {reason}" in notes(root)


@pytest.mark.parametrize(("name", "format_"), [("boxes.csv", "csv"), ("cvat.xml", "cvat")])
def test_unused_files_are_named_beside_label_files_of_each_image(
    make_dataset: MakeDataset, name: str, format_: str
) -> None:
    cvat = '<annotations><image name="a.jpg"></image></annotations>'
    text = cvat if format_ == "cvat" else f"{CSV}a.jpg,1,1,20,20,cat\n"
    root = make_dataset(["images/a.jpg"], {"annotations/a.xml": VOC, name: text})
    assert f"{name} is not read: format {format_}; format voc was chosen" in notes(root)


def test_used_files_are_not_named(make_dataset: MakeDataset) -> None:
    texts = {"images/a.xml": VOC, "images/b.xml": VOC, "split.csv": "file_name,split\na.jpg,train"}
    root = make_dataset(["images/a.jpg"], texts)
    assert "not read" not in notes(root, split_file="split.csv")


def test_an_unreadable_table_is_shown_with_its_heading_and_missing_columns(
    make_dataset: MakeDataset,
) -> None:
    root = make_dataset(["a.jpg"], {"boxes.csv": "picture_no,what,where\n1,cat,left\n"})
    with pytest.raises(DataError) as raised:
        notes(root, format="csv")
    assert "data.format=csv, but no .csv file is in this format" in str(raised.value)
    assert "\n  boxes.csv:1: columns picture_no,what,where: no " in str(raised.value)


def test_unsupported_formats_are_refused_by_name(make_dataset: MakeDataset) -> None:
    root = make_dataset(["a.jpg"], {"labels.jsonl": '{"image": "a.jpg"}\n'})
    with pytest.raises(
        DataError, match=r"labels\.jsonl: JSON Lines other than Florence-2's is not a supp"
    ):
        notes(root)


def test_a_coco_file_whose_head_is_one_mask_is_detected(make_dataset: MakeDataset) -> None:
    content = json.loads(coco("a.jpg"))
    content["annotations"][0] = {"segmentation": [[10, 10, 30, 10] * 9000]} | (
        content["annotations"][0]
    )
    ordered = {key: content[key] for key in ("annotations", "images", "categories")}
    root = make_dataset(["a.jpg"], {"all.json": json.dumps(ordered)})
    assert read_dataset(DataConfig(root=root)).format == "coco"


def test_a_coco_file_named_as_an_image_is_read(make_dataset: MakeDataset) -> None:
    root = make_dataset(["a.jpg"], {"a.json": coco("a.jpg")})
    assert read_dataset(DataConfig(root=root)).format == "coco"
