"""LabelMe: shapes of every type, groups, masks, and pictures inside the file."""

from __future__ import annotations

import base64
import io
import json
import math
import time
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from detfinetune.labels.formats.json.coco import detect_coco
from detfinetune.labels.formats.json.label_studio import detect_label_studio
from detfinetune.labels.formats.json.labelme import detect_labelme, parse_labelme
from detfinetune.labels.formats.json.via import detect_via
from detfinetune.labels.formats.raw_labels import BadFile, RawLabel


def shape(**values: Any) -> dict[str, Any]:
    return {
        "label": "cat",
        "points": [[1, 2], [5, 2], [5, 8]],
        "group_id": None,
        "shape_type": "polygon",
        "flags": {},
    } | values


def labelme(*shapes: Any, **values: Any) -> str:
    content = {"version": "5.5.0", "flags": {}, "shapes": shapes, "imagePath": "a.jpg"}
    return json.dumps(content | {"imageData": None, "imageHeight": 20, "imageWidth": 30} | values)


def png(pixels: np.ndarray) -> str:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return base64.b64encode(stream.getvalue()).decode()


def only_label(text: str) -> RawLabel:
    (image,) = parse_labelme(text).images
    assert image.problems == []
    (label,) = image.labels
    return label


def test_a_rectangle_is_any_two_corners_and_has_its_line() -> None:
    text = """{"version": "5.5.0", "flags": {},
 "shapes": [
  {"label": "cat", "points": [[5.5, 8], [1, 2]], "group_id": null,
   "shape_type": "rectangle", "flags": {}},
  {"label": "dog",
   "points": [[5, 8], [7, 8], [7, 9], [5, 9]], "shape_type": "rectangle"}],
 "imagePath": "..\\\\pictures\\\\a.jpg", "imageData": null, "imageHeight": 20, "imageWidth": 30}"""
    (image,) = parse_labelme(text).images
    assert (image.name, image.size) == ("a.jpg", (30, 20))
    assert image.labels == [
        RawLabel("cat", (1, 2, 5.5, 8), line=3, text="shape 1 cat: 1 2 4.5 6"),
        RawLabel("dog", (5, 8, 7, 9), line=5, text="shape 2 dog: 5 8 2 1"),
    ]


def test_four_corners_askew_are_an_polygon() -> None:
    xyxy = [[5, 0], [10, 5], [5, 10], [0, 5]]
    label = only_label(labelme(shape(points=xyxy, shape_type="rectangle")))
    assert label.polygons == ((5, 0, 10, 5, 5, 10, 0, 5),)
    assert (label.has_box, label.xyxy) == (False, (0, 0, 10, 10))


def test_a_circle_is_an_polygon_of_32_points_on_it() -> None:
    label = only_label(labelme(shape(points=[[10, 9], [13, 13]], shape_type="circle")))
    assert label.xyxy == pytest.approx((5, 4, 15, 14))
    (outline,) = label.polygons
    assert len(outline) == 64
    radii = [math.dist((x, y), (10, 9)) for x, y in zip(outline[::2], outline[1::2], strict=True)]
    assert radii == pytest.approx([5] * 32)


def test_a_mask_is_put_into_its_image_at_its_corners() -> None:
    part = np.array([[0, 255, 255], [255, 0, 0]], dtype=np.uint8)
    label = only_label(labelme(shape(points=[[4, 6], [6, 7]], shape_type="mask", mask=png(part))))
    assert label.mask is not None
    counts = str(label.mask.counts).encode()
    pixels = coco_mask.decode({"size": list(label.mask.size), "counts": counts})
    whole = np.zeros((20, 30), dtype=np.uint8)
    whole[6:8, 4:7] = part > 0
    assert np.array_equal(pixels, whole)
    assert (label.xyxy, label.has_box, label.polygons) == ((4, 6, 7, 8), False, ())


def test_a_mask_that_reaches_out_of_its_image_is_cut() -> None:
    part = np.full((4, 4), 255, dtype=np.uint8)
    for left, top, xyxy in ((-2, -1, (0, 0, 2, 3)), (28, 18, (28, 18, 30, 20))):
        points = [[left, top], [left + 3, top + 3]]
        label = only_label(labelme(shape(points=points, shape_type="mask", mask=png(part))))
        assert label.xyxy == xyxy


def test_polygons_of_one_group_are_one_object() -> None:
    document = parse_labelme(
        labelme(
            shape(group_id=1),
            shape(group_id=1, label="dog"),
            shape(group_id=1, points=[[11, 2], [15, 2], [15, 9]]),
            shape(group_id=2),
            shape(),
            shape(),
            shape(group_id=1, shape_type="point", points=[[1, 1]]),
        )
    )
    (image,) = document.images
    assert [label.class_token for label in image.labels] == ["cat", "dog", "cat", "cat", "cat"]
    assert image.labels[0].polygons == ((1, 2, 5, 2, 5, 8), (11, 2, 15, 2, 15, 9))
    assert image.labels[0].xyxy == (1, 2, 15, 9)
    assert [problem.kind for problem in image.problems] == ["not a box or polygon"]
    assert document.tally == {"polygons joined into one object by label and group_id": 2}


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ({"shape_type": "point", "points": [[1, 1]]}, "not a box or polygon"),
        ({"shape_type": "line"}, "not a box or polygon"),
        ({"shape_type": "linestrip"}, "not a box or polygon"),
        ({"shape_type": ["polygon"]}, "not a box or polygon"),
        ({"label": None}, "no class"),
        ({"label": " "}, "no class"),
        ({"label": ["cat"]}, "no class"),
        ({"points": []}, "missing value"),
        ({"points": None}, "missing value"),
        ({"points": [[1, 2], [3]]}, "wrong number of values"),
        ({"points": [[1, 2], {"x": 1}]}, "wrong number of values"),
        ({"points": [[1, 2], [3, "4"]]}, "not a number"),
        ({"points": [[1, 2], [3, float("inf")]]}, "not finite"),
        ({"shape_type": "rectangle"}, "wrong number of values"),
        ({"shape_type": "circle"}, "wrong number of values"),
        ({"shape_type": "circle", "points": [[1e308, 0], [-1e308, 0]]}, "not finite"),
        ({"shape_type": "mask", "points": [[1, 1], [2, 2]]}, "bad mask"),
        ({"shape_type": "mask", "points": [[1, 1], [2, 2]], "mask": "!"}, "bad mask"),
        ({"shape_type": "mask", "points": [[1, 1], [2, 2]], "mask": "AAAA"}, "bad mask"),
        ({"shape_type": "mask", "points": [[1, 1], [1e300, 2]], "mask": "AAAA"}, "bad mask"),
    ],
)
def test_shapes_that_cannot_be_used_are_problems(values: dict[str, Any], kind: str) -> None:
    (image,) = parse_labelme(labelme(shape(), shape(**values))).images
    assert len(image.labels) == 1
    assert [(problem.kind, problem.line) for problem in image.problems] == [(kind, 1)]
    assert image.problems[0].text.startswith("shape 2")


def test_masks_of_another_size_or_damaged_are_problems() -> None:
    code = png(np.full((2, 3), 255, dtype=np.uint8))
    damaged = base64.b64encode(base64.b64decode(code)[:-20]).decode()
    empty = png(np.zeros((2, 3), dtype=np.uint8))
    right = [[4, 6], [6, 7]]
    (image,) = parse_labelme(
        labelme(
            shape(points=[[4, 6], [7, 7]], shape_type="mask", mask=code),
            shape(points=right, shape_type="mask", mask=damaged),
            shape(points=right, shape_type="mask", mask=empty),
        )
    ).images
    assert [problem.reason for problem in image.problems] == [
        "a mask of 3x2 pixels between corners 4x2 apart",
        "the PNG of the mask is damaged",
        "no pixel of the mask is set",
    ]
    (image,) = parse_labelme(
        labelme(shape(points=right, shape_type="mask", mask=code), imageWidth=None)
    ).images
    assert image.size is None
    assert [problem.reason for problem in image.problems] == [
        "a mask needs imageWidth and imageHeight in the file"
    ]


def test_old_files_without_types_hold_polygons_and_flags_are_noted() -> None:
    old = shape()
    del old["shape_type"]
    text = labelme(old, flags={"blurred": True, "night": False}, imagePath=None)
    assert only_label(text).polygons == ((1, 2, 5, 2, 5, 8),)
    document = parse_labelme(text)
    assert document.images[0].name == ""
    assert document.tally == {"flags of whole images ignored": 1}


def test_shapes_that_are_given_twice_all_count() -> None:
    once = json.dumps([shape()])
    text = f'{{"shapes": {once}, "imagePath": "a.jpg",\n"shapes": {once}}}'
    (image,) = parse_labelme(text).images
    assert [label.line for label in image.labels] == [1, 2]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[]", "the JSON is a list"),
        ('{"images": [], "annotations": []}', "has images, annotations, but not 'shapes'"),
        ('{"shapes": {}}', "'shapes' is an object"),
        ('{"shapes": [', "ends too soon"),
    ],
)
def test_other_json_is_refused(text: str, words: str) -> None:
    with pytest.raises(BadFile, match=words):
        parse_labelme(text)


def test_megabytes_of_picture_cost_little() -> None:
    text = labelme(shape(), imageData="A" * 50_000_000)
    start = time.perf_counter()
    label = only_label(text)
    # 50 MB of base64 in well under a second, also on a busy machine; 0.03 s on a quiet one.
    assert time.perf_counter() - start < 2
    assert label.polygons == ((1, 2, 5, 2, 5, 8),)


@pytest.mark.parametrize(
    ("text", "evidence"),
    [
        (labelme(*[shape()] * 100), "JSON with shapes"),
        (labelme(shape()), "JSON with shapes and imagePath"),
        (
            json.dumps({"imagePath": "a.jpg", "imageData": "A" * 9000, "shapes": []}),
            "JSON with imagePath and imageData",
        ),
        (json.dumps({"version": "5", "imageData": "A" * 9000}), "JSON with imageData"),
    ],
)
def test_it_is_recognised_from_its_head(text: str, evidence: str) -> None:
    head = text[:4000]
    assert detect_labelme(head) == evidence
    for other in (detect_coco, detect_via, detect_label_studio):
        assert other(head) == ""
