"""OpenImages' box tables and its class descriptions."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from detfinetune.labels.formats.raw_labels import BadFile
from detfinetune.labels.formats.tables.csv_table import detect_csv
from detfinetune.labels.formats.tables.openimages import (
    detect_openimages,
    parse_openimages,
    read_class_descriptions,
)

HEADING = (
    "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,"
    "IsDepiction,IsInside"
)


def test_rows_become_normalized_with_their_lines() -> None:
    text = (
        f"{HEADING}\n"
        "0001eeaf4aed83f9,xclick,/m/0cmf2,1,0.022673,0.964201,0.071038,0.800546,0,0,0,0,0\n"
        "000595fe6fee6369,xclick,/m/02wbm,1,0.0,1.0,0.0,1.0,0,0,1,0,0\n"
        "000595fe6fee6369,xclick,/m/02wbm,1,0.1,0.2,0.3,0.4,-1,-1,-1,-1,-1\n"
    )
    document = parse_openimages(text)
    assert document.normalized is True
    assert [(i.name, i.line) for i in document.images] == [
        ("0001eeaf4aed83f9", 2), ("000595fe6fee6369", 3),
    ]  # fmt: skip
    found = [label for image in document.images for label in image.labels]
    assert [(label.class_token, label.xyxy, label.crowd, label.line) for label in found] == [
        ("/m/0cmf2", (0.022673, 0.071038, 0.964201, 0.800546), False, 2),
        ("/m/02wbm", (0.0, 0.0, 1.0, 1.0), True, 3),
        ("/m/02wbm", (0.1, 0.3, 0.2, 0.4), False, 4),
    ]
    assert document.notes == [
        "columns ignored: Source, IsOccluded, IsTruncated, IsDepiction, IsInside"
    ]


def test_any_order_and_case() -> None:
    text = 'ymax;YMIN;xMax;xmin;labelname;IMAGEID\n0,4;"0,3";0,2;0,1;cat;sub\\a.jpg\n'
    assert detect_openimages(text)
    (image,) = parse_openimages(text).images
    assert (image.name, image.labels[0].xyxy) == ("sub/a.jpg", (0.1, 0.3, 0.2, 0.4))


def test_rows_of_what_is_verified_to_be_absent_are_counted() -> None:
    text = "ImageID,LabelName,Confidence,XMin,XMax,YMin,YMax\na,cat,0,0,1,0,1\na,dog,,0,1,0,1\n"
    document = parse_openimages(text)
    assert [label.class_token for label in document.images[0].labels] == ["dog"]
    assert document.notes == [
        "rows of confidence 0 (verified absent), which are not objects: 1",
    ]


def test_wrong_rows_are_problems() -> None:
    text = "ImageID,LabelName,XMin,XMax,YMin,YMax\na,cat,0,1,0\na,,0,1,0,1\na,cat,0,x,0,1\n"
    document = parse_openimages(text)
    (image,) = document.images
    assert [(p.line, p.kind) for p in (*document.problems, *image.problems)] == [
        (2, "too few columns"), (3, "no class"), (4, "not a number"),
    ]  # fmt: skip


def test_tables_without_boxes_are_refused() -> None:
    with pytest.raises(BadFile, match="labels of whole images and no boxes"):
        parse_openimages("ImageID,Source,LabelName,Confidence\na,verification,/m/0k4j,0\n")
    with pytest.raises(BadFile, match=r"columns ImageID,XMin: no LabelName, XMax, YMin, YMax"):
        parse_openimages("ImageID,XMin\na,0\n")


def test_the_same_names_over_pixels_are_a_plain_table() -> None:
    text = "ImageID,LabelName,XMin,XMax,YMin,YMax\na.jpg,cat,10,50,20,60\n"
    assert detect_openimages(text) == ""
    assert detect_csv(text)


def test_class_descriptions() -> None:
    text = 'LabelName,DisplayName\n/m/011k07,Tortoise\n/m/0ph39,"Canoe, open"\n\n'
    assert read_class_descriptions(text) == {"/m/011k07": "Tortoise", "/m/0ph39": "Canoe, open"}
    assert read_class_descriptions("/m/011k07,Tortoise\n") == {"/m/011k07": "Tortoise"}


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("", 1, "empty"),
        ("/m/1,Cat\n/m/2\n", 2, "is not a class id and its name"),
        ("/m/1,Cat\n/m/1,Dog\n", 2, "is 'Cat' above and 'Dog' here"),
        ('/m/1,Cat\n"/m/2,Dog\n/m/3,Cow\n', 2, "quote"),
    ],
)
def test_wrong_class_descriptions(text: str, line: int, reason: str) -> None:
    with pytest.raises(BadFile, match=reason) as caught:
        read_class_descriptions(text)
    assert caught.value.line == line


@pytest.mark.benchmark_data
def test_the_real_table_has_the_boxes_of_its_coco_twin(shared_data: Path) -> None:
    folder = shared_data / "label_formats" / "gts"
    text = (folder / "openimages_format" / "all_bounding_boxes.csv").read_text(encoding="utf-8")
    assert detect_openimages(text[:4000]).startswith("a heading with ImageID")
    document = parse_openimages(text)
    assert not document.problems
    assert not any(image.problems for image in document.images)
    coco = json.loads((folder / "coco_format_v1" / "instances_default.json").read_text())
    images = {image["id"]: image for image in coco["images"]}
    names = {category["id"]: category["name"] for category in coco["categories"]}
    sizes = {image["file_name"]: (image["width"], image["height"]) for image in coco["images"]}
    expected = Counter()
    for annotation in coco["annotations"]:
        x, y, w, h = annotation["bbox"]
        name = images[annotation["image_id"]]["file_name"]
        box = tuple(round(v) for v in (x, y, x + w, y + h))
        expected[name, names[annotation["category_id"]], box] += 1
    found = Counter()
    for image in document.images:
        width, height = sizes[image.name]
        for label in image.labels:
            box = tuple(round(v * (width, height)[i % 2]) for i, v in enumerate(label.xyxy))
            found[image.name, label.class_token, box] += 1
    assert found.total() == 273
    assert found == expected
