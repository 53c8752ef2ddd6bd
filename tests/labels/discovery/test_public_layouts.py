"""Folders as public data sets and tools have them, read at the first try or refused by name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from conftest import MakeDataset

from detfinetune.check_dataset import check_dataset
from detfinetune.config.schema import CheckConfig, DataConfig, HardwareConfig
from detfinetune.errors import DataError
from detfinetune.labels.convert import convert_dataset
from detfinetune.labels.prepare import prepare_dataset
from detfinetune.labels.read import read_dataset

YOLO = "0 0.5 0.5 0.2 0.2\n"
VOC = (
    "<annotation><object><name>cat</name><bndbox><xmin>10</xmin><ymin>10</ymin><xmax>30</xmax>"
    "<ymax>40</ymax></bndbox></object></annotation>"
)
CVAT = (
    '<annotations><version>1.1</version><image id="0" name="a.jpg" width="100" height="80">'
    '<box label="cat" xtl="10" ytl="10" xbr="30" ybr="40"/></image></annotations>'
)
DOTA = "imagesource:GoogleEarth\ngsd:0.14\n10 10 30 10 30 40 10 40 cat 0\n"
OPEN_IMAGES = (
    "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,"
    "IsDepiction,IsInside\n{},xclick,/m/01yrx,1,0.1,0.3,0.1,0.5,0,0,0,0,0\n"
)


def coco(name: str) -> str:
    return json.dumps(
        {
            "images": [{"id": 1, "file_name": name, "width": 100, "height": 80}],
            "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 10, 20, 30]}],
            "categories": [{"id": 1, "name": "cat"}],
        }
    )


def florence(name: str) -> str:
    locations = "<loc_100><loc_125><loc_300><loc_500>"
    return json.dumps({"image": name, "prefix": "<OD>", "suffix": f"cat{locations}"}) + "\n"


TRAIN = {"train": ["a"]}
DIVIDED = {"train": ["a"], "val": ["b"]}

LAYOUTS: Mapping[str, tuple[list[str], dict[str, str], dict[str, list[str]], str]] = {
    "Roboflow, COCO": (
        ["train/a.jpg", "valid/b.jpg"],
        {"train/_annotations.coco.json": coco("a.jpg"),
         "valid/_annotations.coco.json": coco("b.jpg"), "README.roboflow.txt": "x"},
        DIVIDED, "coco",
    ),
    "Roboflow, Florence-2": (
        ["train/a.jpg", "valid/b.jpg"],
        {"train/annotations.jsonl": florence("a.jpg"),
         "valid/annotations.jsonl": florence("b.jpg")},
        DIVIDED, "florence",
    ),
    "Roboflow, JSONL": (
        ["dataset/a.jpg", "dataset/b.jpg"],
        {"dataset/_annotations.train.jsonl": florence("a.jpg"),
         "dataset/_annotations.valid.jsonl": florence("b.jpg")},
        DIVIDED, "florence",
    ),
    "Roboflow, YOLO": (
        ["train/images/a.jpg", "valid/images/b.jpg"],
        {"train/labels/a.txt": YOLO, "valid/labels/b.txt": YOLO, "README.dataset.txt": "x",
         "data.yaml": "train: ../train/images\nval: ../valid/images\nnc: 1\nnames: [cat]\n"},
        DIVIDED, "yolo",
    ),
    "Kaggle, an archive of YOLO labels": (
        ["archive/Dataset/train/images/a.jpg", "archive/Dataset/val/images/b.jpg"],
        {"archive/Dataset/train/labels/a.txt": YOLO, "archive/Dataset/val/labels/b.txt": YOLO},
        DIVIDED, "yolo",
    ),
    "Kaggle, global wheat detection": (
        ["train/a.jpg", "test/z.jpg"],
        {"train.csv": 'image_id,width,height,bbox,source\na,100,80,"[10.0, 10.0, 20.0, 30.0]",x\n',
         "sample_submission.csv": "image_id,PredictionString\nz,1.0 0 0 50 50\n"},
        TRAIN, "csv",
    ),
    "Open Images": (
        ["train/a.jpg", "validation/b.jpg"],
        {"train-annotations-bbox.csv": OPEN_IMAGES.format("a"),
         "validation-annotations-bbox.csv": OPEN_IMAGES.format("b"),
         "class-descriptions-boxable.csv": "/m/0bt9lr,Dog\n/m/01yrx,cat\n"},
        DIVIDED, "openimages",
    ),
    "SKU-110K": (
        ["images/a.jpg", "images/b.jpg"],
        {"annotations/annotations_train.csv": "a.jpg,10,10,30,40,object,100,80\n",
         "annotations/annotations_val.csv": "b.jpg,10,10,30,40,object,100,80\n"},
        DIVIDED, "csv",
    ),
    "DOTA": (
        ["train/images/a.png", "val/images/b.png"],
        {"train/labelTxt/a.txt": DOTA, "val/labelTxt/b.txt": DOTA},
        DIVIDED, "dota",
    ),
    "DOTA, labels in a folder of their version": (
        ["train/images/a.png", "val/images/b.png"],
        {"train/labelTxt-v1.0/labelTxt/a.txt": DOTA, "val/labelTxt-v1.0/labelTxt/b.txt": DOTA},
        DIVIDED, "dota",
    ),
    "LabelImg, Pascal VOC": (["a.jpg"], {"a.xml": VOC}, TRAIN, "voc"),
    "LabelImg, YOLO": (["a.jpg"], {"a.txt": YOLO, "classes.txt": "cat\n"}, TRAIN, "yolo"),
    "CVAT for images 1.1": (["images/a.jpg"], {"annotations.xml": CVAT}, TRAIN, "cvat"),
    "CVAT, COCO 1.0": (
        ["images/default/a.jpg"], {"annotations/instances_default.json": coco("a.jpg")},
        TRAIN, "coco",
    ),
    "CVAT, YOLO 1.1": (
        ["obj_train_data/a.jpg"],
        {"obj_train_data/a.txt": YOLO, "obj.names": "cat\n", "obj.data": "classes = 1\n",
         "train.txt": "data/obj_train_data/a.jpg\n"},
        TRAIN, "yolo",
    ),
    "CVAT, Pascal VOC 1.1": (
        ["JPEGImages/a.jpg"],
        {"Annotations/a.xml": VOC, "ImageSets/Main/default.txt": "a\n", "labelmap.txt": "x\n"},
        TRAIN, "voc",
    ),
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layout(make_dataset: MakeDataset, tmp_path: Path, layout: str) -> None:
    images, texts, splits, format_ = LAYOUTS[layout]
    root = make_dataset(images, texts)
    data = DataConfig(root=root, val_fraction=0, test_fraction=0)
    dataset = read_dataset(data)
    found = {
        split: [name.rpartition("/")[2].partition(".")[0] for name in table.names]
        for split, table in dataset.tables.items()
    }
    assert (found, dataset.format) == (splits, format_)
    for table in dataset.tables.values():
        assert table.num_objects == 1
    if layout != "Kaggle, global wheat detection":
        assert not any("not used" in note or "not read" in note for note in dataset.notes)
    # Training, check and conversion take the same.
    check = CheckConfig(
        data=data, output=tmp_path / "check", quick=True, hardware=HardwareConfig(name="cpu")
    )
    convert_dataset(data, tmp_path / "coco", contact_sheet=0)
    converted = prepare_dataset(DataConfig(root=tmp_path / "coco"))
    for other in (prepare_dataset(data), check_dataset(check).dataset, converted):
        assert other.fingerprint == dataset.fingerprint


VISDRONE = "10,10,20,30,1,4,0,0\n50,10,20,30,0,0,0,0\n"
WIDER = "0--Parade/a.jpg\n1\n10 10 20 30 0 0 0 0 0 0 \n"


@pytest.mark.parametrize(
    ("images", "texts", "message"),
    [
        (["VisDrone2019-DET-train/images/a.jpg"],
         {"VisDrone2019-DET-train/annotations/a.txt": VISDRONE}, "the labels look like those of V"),
        (["WIDER_train/images/0--Parade/a.jpg"],
         {"wider_face_split/wider_face_train_bbx_gt.txt": WIDER},
         "WIDER FACE's list of boxes is not a supported format; convert it to COCO JSON"),
        (["train_images/1.tif"], {"xView_train.geojson": '{"type": "FeatureCollection"}'},
         "GeoJSON (such as xView's) is not a supported format; convert it to COCO JSON"),
    ],
)  # fmt: skip
def test_refused_by_name(
    make_dataset: MakeDataset, images: list[str], texts: dict[str, str], message: str
) -> None:
    root = make_dataset(images, texts)
    with pytest.raises(DataError) as raised:
        read_dataset(DataConfig(root=root))
    assert message in str(raised.value)
    assert next(iter(texts)) in str(raised.value)


def test_visdrone_with_its_columns_reads_no_ignored_region(make_dataset: MakeDataset) -> None:
    root = make_dataset(["images/a.jpg"], {"annotations/a.txt": VISDRONE})
    dataset = read_dataset(
        DataConfig(
            root=root, columns="x,y,w,h,-,class,-,-", classes=["person", "people", "bike", "car"],
            first_class=1, val_fraction=0, test_fraction=0,
        )
    )  # fmt: skip
    table = dataset.tables["train"]
    assert [dataset.classes[i] for i in table.categories] == ["car"]
    assert [entry.kind for entry in dataset.ledger.entries] == ["class out of range"]
