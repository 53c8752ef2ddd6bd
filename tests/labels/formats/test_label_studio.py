"""Label Studio: percents, turns, brushes, several annotators, and names of images."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from detfinetune.labels.formats.json.coco import detect_coco
from detfinetune.labels.formats.json.label_studio import detect_label_studio, parse_label_studio
from detfinetune.labels.formats.json.label_studio_brush import read_brush
from detfinetune.labels.formats.json.labelme import detect_labelme
from detfinetune.labels.formats.json.via import detect_via
from detfinetune.labels.formats.raw_labels import BadFile, BadLabel, RawImage, RawLabel

BOX = {"x": 10, "y": 20, "width": 30, "height": 40, "rotation": 0, "rectanglelabels": ["cat"]}


def result(value: Any = None, **values: Any) -> dict[str, Any]:
    return {
        "original_width": 200,
        "original_height": 100,
        "image_rotation": 0,
        "value": BOX if value is None else value,
        "type": "rectanglelabels",
        "from_name": "label",
        "to_name": "image",
    } | values


def annotation(*results: Any, **values: Any) -> dict[str, Any]:
    return {"id": 1, "result": results, "was_cancelled": False, "ground_truth": False} | values


def task(*annotations: Any, image: Any = "/data/upload/1/0a1b2c3d-a.jpg", **values: Any) -> Any:
    return {"id": 5, "annotations": annotations, "data": {"image": image}} | values


def only_image(*tasks: Any) -> RawImage:
    document = parse_label_studio(json.dumps(tasks))
    assert not document.problems
    (image,) = document.images
    return image


def only_label(value: Any, **values: Any) -> RawLabel:
    image = only_image(task(annotation(result(value, **values))))
    assert image.problems == []
    (label,) = image.labels
    return label


def test_a_box_in_percent_becomes_normalized_and_has_its_line() -> None:
    text = """[{"id": 5, "annotations": [{"id": 9, "result": [
    {"original_width": 200, "original_height": 100, "image_rotation": 0, "id": "aB",
     "value": {"x": 10, "y": 20, "width": 30, "height": 40, "rotation": 0,
     "rectanglelabels": ["cat"]}, "type": "rectanglelabels"}
    ]}],
  "predictions": [],
  "data": {"image": "a.jpg"}}]"""
    document = parse_label_studio(text)
    assert document.normalized
    (image,) = document.images
    assert (image.name, image.size, image.line) == ("a.jpg", (200, 100), 1)
    (label,) = image.labels
    assert label.xyxy == pytest.approx((0.1, 0.2, 0.4, 0.6))
    assert (label.class_token, label.form, label.line) == ("cat", "xywh", 2)
    assert label.text == "task 5 region aB: 0.1 0.2 0.3 0.4"
    assert document.notes == []


def test_a_rotated_box_is_rotated_about_its_corner_in_pixels() -> None:
    # 60 x 40 px from (20, 20), a quarter turn clockwise: from (-20, 20) to (20, 80).
    label = only_label(BOX | {"rotation": 90})
    assert label.polygons[0] == pytest.approx((0.1, 0.2, 0.1, 0.8, -0.1, 0.8, -0.1, 0.2))
    assert not label.has_box
    label = only_label(BOX | {"rotation": 30})
    pixels = [(x * 200, y * 100) for x, y in np.reshape(label.polygons[0], (4, 2))]
    cos, sin = math.cos(math.pi / 6), math.sin(math.pi / 6)
    assert np.array(pixels) == pytest.approx(
        np.array(
            [
                (20, 20),
                (20 + 60 * cos, 20 + 60 * sin),
                (20 + 60 * cos - 40 * sin, 20 + 60 * sin + 40 * cos),
                (20 - 40 * sin, 20 + 40 * cos),
            ]
        )
    )
    assert only_label(BOX | {"rotation": 360}).has_box


def test_polygons_and_ellipses() -> None:
    points = {"points": [[0, 0], [50, 0], [50, 100]], "polygonlabels": ["cat"]}
    label = only_label(points, type="polygonlabels")
    assert label.polygons == ((0, 0, 0.5, 0, 0.5, 1),)
    round_ = {"x": 50, "y": 50, "radiusX": 10, "radiusY": 30, "ellipselabels": ["cat"]}
    assert only_label(round_).xyxy == pytest.approx((0.4, 0.2, 0.6, 0.8))
    # Half axes of 20 and 30 px, a quarter turn: 30 px across, 20 px down.
    rotated = only_label(round_ | {"rotation": 90})
    assert rotated.xyxy == pytest.approx((0.35, 0.3, 0.65, 0.7))


def pack(values: list[int], chunks: list[tuple[bool, int]]) -> list[int]:
    """Write bytes in the layout of rle-pack, by hand: (repeated?, how many) chunks."""
    sizes = [3, 4, 8, 16]
    bits = f"{len(values):032b}" + f"{8 - 1:05b}" + "".join(f"{size - 1:04b}" for size in sizes)
    at = 0
    for repeated, length in chunks:
        index = next(i for i, size in enumerate(sizes) if length <= 2**size)
        bits += f"{int(repeated)}{index:02b}" + f"{length - 1:0{sizes[index]}b}"
        words = values[at : at + 1] if repeated else values[at : at + length]
        bits += "".join(f"{word:08b}" for word in words)
        at += length
    assert at == len(values)
    bits += "0" * (-len(bits) % 8)
    return [int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)]


def test_a_brush_becomes_a_mask() -> None:
    mask = np.zeros((6, 7), dtype=np.uint8)
    mask[2:5, 1:4] = 255
    mask[2, 1] = 100  # Covered by less than half.
    values = np.repeat(mask[:, :, None], 4, axis=2).ravel().tolist()
    start = 4 * (2 * 7 + 1)
    rle = pack(values, [(True, start), (False, 60), (True, 4), (False, 20), (False, 24)])
    assert np.array_equal(read_brush(rle, 7, 6), mask >= 128)
    value = {"format": "rle", "rle": rle, "brushlabels": ["cat"]}
    label = only_label(value, type="brushlabels", original_width=7, original_height=6)
    assert label.mask is not None
    counts = str(label.mask.counts).encode()
    assert np.array_equal(coco_mask.decode({"size": [6, 7], "counts": counts}), mask >= 128)
    assert label.xyxy == pytest.approx((1 / 7, 2 / 6, 4 / 7, 5 / 6))
    for broken in (rle[:-9], rle[:3], [], [300], "rle", [*rle[:4], 255, *rle[5:]]):
        with pytest.raises(BadLabel):
            read_brush(broken, 7, 6)
    with pytest.raises(BadLabel, match="168 words of 8 bits; an image of 6x6 has 144"):
        read_brush(rle, 6, 6)


@pytest.mark.parametrize(
    ("address", "upload", "name"),
    [
        ("/data/upload/1/0a1b2c3d-my_picture.jpg", "", "my_picture.jpg"),
        ("/data/upload/0a1b2c3d-a%20b.jpg", "0a1b2c3d-a b.jpg", "a b.jpg"),
        ("/data/local-files/?d=set/sub%20folder/0a1b2c3d-a.jpg", "", "0a1b2c3d-a.jpg"),
        ("/data/local-files/?x=1&d=a%2Fb.png", "", "b.png"),
        ("https://host/pictures/a.jpg?X-Amz=1/2", "", "a.jpg"),
        ("s3://bucket/folder/a.jpg", "", "a.jpg"),
        ("C:\\pictures\\50%25.jpg", "", "50%25.jpg"),
        ("0a1b2c3d-a.jpg", "", "0a1b2c3d-a.jpg"),
        ("0a1b2c3d-a.jpg", "0a1b2c3d-a.jpg", "a.jpg"),
    ],
)
def test_names_of_images(address: str, upload: str, name: str) -> None:
    assert only_image(task(annotation(), image=address, file_upload=upload)).name == name


def test_the_image_is_found_under_any_name_and_regions_without_one_are_problems() -> None:
    entry = task(annotation(), data={"text": "hello", "photo": "x/a.JPG", "other": "b.jpg"})
    assert only_image(entry).name == "a.JPG"
    document = parse_label_studio(json.dumps([task(annotation(result(), None), data={"n": 3})]))
    assert document.images == []
    assert [problem.kind for problem in document.problems] == ["unknown image", "not an object"]


def test_of_several_annotations_one_is_taken_and_the_rest_counted() -> None:
    old = annotation(result(), updated_at="2024-01-01T00:00:00Z")
    new = annotation(result(), result(), updated_at="2024-05-01T00:00:00Z")
    cancelled = annotation(result(), was_cancelled=True, updated_at="2025-01-01T00:00:00Z")
    tasks = [
        task(new, old, cancelled, image="a.jpg"),
        task(new, old | {"ground_truth": True}, image="b.jpg", predictions=[{"result": [1]}]),
        task(cancelled, image="c.jpg"),
        task(image="d.jpg"),
        task(annotation(), image="e.jpg"),
    ]
    document = parse_label_studio(json.dumps(tasks))
    assert {image.name: len(image.labels) for image in document.images} == {
        "a.jpg": 2,
        "b.jpg": 1,
        "e.jpg": 0,  # Looked at, and nothing there.
    }
    assert document.notes == [
        "tasks without an annotation, ignored because they are not labelled yet: 1",
        "tasks that were skipped in Label Studio, ignored: 1",
        "annotations ignored because they were cancelled, or because their task has several; the "
        "one marked ground_truth is read, else the newest: 4",
        "entries in the annotations ignored: 5",
        "predictions of models, ignored: 1",
    ]


def test_labels_apart_from_their_shape_and_entries_that_are_not_regions() -> None:
    shape = {key: value for key, value in BOX.items() if key != "rectanglelabels"}
    entries = [
        result(shape, id="r1", type="rectangle"),
        result(shape | {"labels": ["dog"]}, id="r1", type="labels"),
        result(shape | {"text": ["scratch"]}, id="r1", type="textarea"),
        result({"choices": ["night"]}, type="choices"),
        {"type": "relation", "from_id": "r1", "to_id": "r1"},
    ]
    document = parse_label_studio(json.dumps([task(annotation(*entries))]))
    (image,) = document.images
    assert [label.class_token for label in image.labels] == ["dog"]
    assert image.problems == []
    assert document.notes == [
        "entries that are not regions (choices, texts, relations), ignored: 3",
        "entries that repeat a region under its id, ignored: 1",
    ]


@pytest.mark.parametrize(
    ("item", "kind"),
    [
        ("x", "not an object"),
        (result({"x": 1, "y": 2, "width": 0.5, "keypointlabels": ["a"]}), "not a box or polygon"),
        (result("x"), "not a box or polygon"),
        (result({"start": 1, "labels": ["a"]}, type="labels"), "not a box or polygon"),
        (result(BOX | {"rectanglelabels": []}), "no class"),
        (result(BOX | {"rectanglelabels": [None]}), "no class"),
        (result(BOX | {"rectanglelabels": ["a", "b"]}), "several classes"),
        (result(BOX | {"x": None}), "missing value"),
        (result(BOX | {"x": "1"}), "not a number"),
        (result(BOX | {"height": float("inf")}), "not finite"),
        (result(BOX | {"rotation": "x"}), "not a number"),
        (result(BOX | {"rotation": 5}, original_width=None), "missing value"),
        (result(image_rotation=90), "rotated image"),
        (result({"points": [[1]], "polygonlabels": ["a"]}), "wrong number of values"),
        (result({"rle": [1, 2], "brushlabels": ["a"]}), "bad mask"),
        (result({"rle": [1], "format": "png", "brushlabels": ["a"]}), "bad mask"),
    ],
)
def test_regions_that_cannot_be_used_are_problems(item: Any, kind: str) -> None:
    image = only_image(task(annotation(result(), item)))
    assert len(image.labels) == 1
    assert [(problem.kind, problem.line) for problem in image.problems] == [(kind, 1)]


def test_json_min_is_refused_by_name() -> None:
    entry = {"image": "a.jpg", "id": 5, "annotator": 1, "lead_time": 2.5, "annotation_id": 1}
    text = json.dumps([entry | {"label": [BOX]}, entry])
    assert detect_label_studio(text) == "JSON list with annotation_id and annotator (JSON-MIN)"
    with pytest.raises(BadFile, match="JSON-MIN; export the project as JSON instead"):
        parse_label_studio(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{}", "the JSON is an object"),
        ("[]", "the entries of this list have nothing"),
        ("[1, 2]", "the entries of this list have nothing"),
        ('[{"image_id": 1, "bbox": [1, 2, 3, 4], "score": 1}]', "have image_id, bbox, score"),
        ('[{"image": "a.jpg", "annotations": [{"label": "a"}]}]', "have image; Label Studio"),
        ('[{"id": 1', "ends too soon"),
    ],
)
def test_other_json_is_refused(text: str, words: str) -> None:
    with pytest.raises(BadFile, match=words):
        parse_label_studio(text)


@pytest.mark.parametrize(
    ("tasks", "evidence"),
    [
        ([task(annotation(*[result()] * 50))], "JSON list of tasks with annotations"),
        ([{"data": {"image": "a"}, "annotations": []}], "JSON list of tasks with annotations"),
        (
            [{"image": "a", "annotator": 1, "annotation_id": 1, "lead_time": 1}],
            "JSON list with annotation_id and annotator (JSON-MIN)",
        ),
    ],
)
def test_it_is_detected_from_its_head(tasks: Any, evidence: str) -> None:
    head = json.dumps(tasks)[:4000]
    assert detect_label_studio(head) == evidence
    for other in (detect_coco, detect_labelme, detect_via):
        assert other(head) == ""
