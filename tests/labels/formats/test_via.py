"""VIA: projects and exports, shapes, and where the class is."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from detfinetune.labels.formats.json.coco import detect_coco
from detfinetune.labels.formats.json.label_studio import detect_label_studio
from detfinetune.labels.formats.json.labelme import detect_labelme
from detfinetune.labels.formats.json.via import detect_via, parse_via
from detfinetune.labels.formats.raw_labels import BadFile, RawLabel

RECT = {"name": "rect", "x": 1, "y": 2, "width": 3, "height": 4.5}


def region(shape: Any = RECT, **attributes: Any) -> dict[str, Any]:
    return {"shape_attributes": shape, "region_attributes": attributes}


def via(*regions: Any, filename: str = "a.jpg") -> str:
    entry = {"filename": filename, "size": 123, "regions": regions, "file_attributes": {}}
    return json.dumps({f"{filename}123": entry})


def project(*regions: Any, options: dict[str, str] | None = None) -> str:
    return json.dumps(
        {
            "_via_settings": {"ui": {}},
            "_via_img_metadata": json.loads(via(*regions)),
            "_via_attributes": {"region": {"kind": {"type": "dropdown", "options": options}}},
            "_via_data_format_version": "2.0.10",
            "_via_image_id_list": ["a.jpg123"],
        }
    )


def test_boxes_come_with_their_class_and_line() -> None:
    text = """{"sub/a.jpg123": {"filename": "sub\\\\a.jpg", "size": 123, "regions": [
   {"shape_attributes": {"name": "rect", "x": 1, "y": 2, "width": 3, "height": 4.5},
    "region_attributes": {"Label": "cat"}},
   {"shape_attributes": {"name": "rect", "x": 0, "y": 0, "width": 1, "height": 1},
    "region_attributes": {"Label": " dog "}}]},
 "http://x/b.jpg": {"filename": "http://x/pictures/b.jpg", "regions": []}}"""
    document = parse_via(text)
    assert [(image.name, image.size) for image in document.images] == [
        ("sub/a.jpg", None),
        ("b.jpg", None),
    ]
    assert [image.line for image in document.images] == [1, 6]
    assert document.images[0].labels == [
        RawLabel("cat", (1, 2, 4, 6.5), form="xywh", line=2, text="region 1: 1 2 3 4.5"),
        RawLabel("dog", (0, 0, 1, 1), form="xywh", line=4, text="region 2: 0 0 1 1"),
    ]
    assert document.classes == ()
    assert document.notes == []


def test_regions_by_number_are_those_of_version_1() -> None:
    text = json.dumps(
        {"a": {"fileref": "", "filename": "a.jpg", "regions": {"0": region(), "1": region()}}}
    )
    (image,) = parse_via(text).images
    assert [label.xyxy for label in image.labels] == [(1, 2, 4, 6.5)] * 2
    # No region of the file has an attribute: there is one class, without a name.
    assert [label.class_token for label in image.labels] == ["", ""]


def test_polygons_circles_and_ellipses() -> None:
    polygon = {"name": "polygon", "all_points_x": [0, 4, 4], "all_points_y": [1, 1, 3]}
    circle = {"name": "circle", "cx": 10, "cy": 9, "r": 5}
    upright = {"name": "ellipse", "cx": 10, "cy": 9, "rx": 5, "ry": 2}
    rotated = upright | {"theta": math.pi / 2}
    text = via(*(region(shape, type="a") for shape in (polygon, circle, upright, rotated)))
    (image,) = parse_via(text).images
    assert image.labels[0].polygons == ((0, 1, 4, 1, 4, 3),)
    assert [label.xyxy for label in image.labels] == [
        (0, 1, 4, 3),
        pytest.approx((5, 4, 15, 14)),
        pytest.approx((5, 7, 15, 11)),
        pytest.approx((8, 4, 12, 14)),
    ]
    assert not any(label.has_box for label in image.labels)


def test_a_project_gives_the_class_list_and_checkboxes_one_class() -> None:
    document = parse_via(
        project(
            region(kind={"cat": True}),
            region(kind={"dog": True, "cat": False}),
            region(kind={"dog": True, "cat": True}),
            region(kind={}),
            options={"dog": "", "cat": ""},
        )
    )
    (image,) = document.images
    assert document.classes == ("dog", "cat")
    assert [label.class_token for label in image.labels] == ["cat", "dog"]
    assert [problem.kind for problem in image.problems] == ["several classes", "no class"]


@pytest.mark.parametrize(
    ("attributes", "classes", "taken"),
    [
        ([{"id": "1", "Class": "a"}, {"id": "2", "Class": "b"}], ["a", "b"], "'Class'"),
        (
            [{"name": "Rex", "type": "dog"}, {"name": "Tom", "type": "cat"}],
            ["dog", "cat"],
            "'type'",
        ),
        # No usual name: remarks all differ, species repeat.
        ([{"remark": f"r{i}", "species": "ab"[i % 2]} for i in range(4)], [*"abab"], "'species'"),
    ],
)
def test_the_class_is_found_among_attributes(
    attributes: list[dict[str, str]], classes: list[str], taken: str
) -> None:
    document = parse_via(via(*(region(**values) for values in attributes)))
    assert [label.class_token for label in document.images[0].labels] == classes
    (note,) = document.notes
    assert note.startswith(f"the class is taken from the attribute {taken}; ignored:")


@pytest.mark.parametrize(
    ("item", "kind"),
    [
        (None, "not an object"),
        ({}, "missing value"),
        (region({"name": "point", "cx": 1, "cy": 2}, type="a"), "not a box or polygon"),
        (region({"name": "polyline"}, type="a"), "not a box or polygon"),
        (region({"name": None}, type="a"), "not a box or polygon"),
        (region({"name": ["rect"]}, type="a"), "not a box or polygon"),
        (region(), "no class"),
        (region(type=""), "no class"),
        (region(type=[1]), "no class"),
        (region({"name": "rect", "x": 1}, type="a"), "missing value"),
        (region(RECT | {"x": "1"}, type="a"), "not a number"),
        (region(RECT | {"x": float("nan")}, type="a"), "not finite"),
        (
            region({"name": "polygon", "all_points_x": [1], "all_points_y": [1, 2]}, type="a"),
            "wrong number of values",
        ),
        (
            region({"name": "polygon", "all_points_x": [], "all_points_y": []}, type="a"),
            "wrong number of values",
        ),
    ],
)
def test_regions_that_cannot_be_used_are_problems(item: Any, kind: str) -> None:
    (image,) = parse_via(via(region(type="a"), item)).images
    assert len(image.labels) == 1
    assert [(problem.kind, problem.text) for problem in image.problems] == [(kind, "region 2")]


def test_entries_that_are_not_images_are_noted_and_images_without_name_listed() -> None:
    content = json.loads(via(region(type="a")))
    content |= {"x": 3, "y": {"regions": "none"}, "z": {"regions": [region(type="a")]}}
    document = parse_via(json.dumps(content))
    assert len(document.images) == 1
    assert [problem.kind for problem in document.problems] == ["unknown image"]
    assert document.notes == ["entries without filename and regions, ignored: 2, first on line 1"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[]", "the JSON is a list"),
        ('{"images": [], "annotations": []}', "this JSON has images, annotations; VIA has"),
        (
            json.dumps(
                dict.fromkeys(("project", "config", "attribute", "file", "metadata", "view"))
            ),
            "a project of VIA 3",
        ),
        ('{"_via_img_metadata": {', "ends too soon"),
    ],
)
def test_other_json_is_refused(text: str, words: str) -> None:
    with pytest.raises(BadFile, match=words):
        parse_via(text)


@pytest.mark.parametrize(
    ("text", "evidence"),
    [
        (project(region(type="a")), "JSON with _via_attributes"),
        (via(*[region(type="a")] * 200), "JSON with regions and shape_attributes"),
        (via(), "JSON with filename and regions"),
        (
            json.dumps({"project": {"pid": "x", "data_format_version": "3.1.0"}, "config": {}}),
            "JSON with project and data_format_version (version 3)",
        ),
    ],
)
def test_it_is_detected_from_its_head(text: str, evidence: str) -> None:
    head = text[:4000]
    assert detect_via(head) == evidence
    for other in (detect_coco, detect_labelme, detect_label_studio):
        assert other(head) == ""
