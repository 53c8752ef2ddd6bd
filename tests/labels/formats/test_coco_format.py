"""COCO JSON as a document: ids, crowds, masks, and every annotation accounted for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from detfinetune.labels.dataset.records import RleMask
from detfinetune.labels.formats.json.coco import detect_coco, parse_coco
from detfinetune.labels.formats.json.label_studio import detect_label_studio
from detfinetune.labels.formats.json.labelme import detect_labelme, parse_labelme
from detfinetune.labels.formats.json.rle import encode_mask, read_rle, tight_box
from detfinetune.labels.formats.json.via import detect_via
from detfinetune.labels.formats.raw_labels import BadFile, BadLabel, Document, RawLabel

IMAGES = [{"id": 7, "file_name": "a.jpg", "width": 10, "height": 8}]
CATEGORIES = [{"id": 3, "name": "cat"}]


def annotation(**values: Any) -> dict[str, Any]:
    return {"id": 17, "image_id": 7, "category_id": 3, "bbox": [1, 2, 3, 4.5]} | values


def coco(*annotations: Any, **lists: Any) -> str:
    content = {"images": IMAGES, "annotations": list(annotations), "categories": CATEGORIES}
    return json.dumps(content | lists)


def only_label(document: Document) -> RawLabel:
    assert not document.problems
    assert [problem for image in document.images for problem in image.problems] == []
    (label,) = (label for image in document.images for label in image.labels)
    return label


def test_a_box_keeps_its_numbers_its_class_and_its_line() -> None:
    text = """{"categories": [{"id": 9, "name": "dog"}, {"id": 3, "name": "cat"}],
 "annotations": [
  {"id": 17, "image_id": 7, "category_id": 3, "bbox": [1, 2, 3, 4.5]}
 ],
 "images": [
  {"id": 7, "file_name": "sub\\\\a.jpg", "width": 10, "height": 8}]}"""
    document = parse_coco(text)
    assert document.classes == ("cat", "dog")
    assert not document.normalized
    (image,) = document.images
    assert (image.name, image.size, image.line) == ("sub/a.jpg", (10, 8), 6)
    assert only_label(document) == RawLabel(
        "cat",
        (1.0, 2.0, 4.0, 6.5),
        form="xywh",
        line=3,
        text="annotation 17: 1 2 3 4.5",
        identity=17,
        exact_xywh=(1.0, 2.0, 3.0, 4.5),
    )
    assert image.identity == 7
    assert document.category_ids == {"dog": 9, "cat": 3}


def test_ids_may_be_strings_with_gaps_and_classes_follow_their_order() -> None:
    categories = [{"id": i, "name": f"c{i}"} for i in ("10", "9", "x", "a")]
    images = [{"id": "img-1", "file_name": "1.jpg"}, {"id": 20180000001, "file_name": "2.jpg"}]
    document = parse_coco(
        coco(
            annotation(image_id="img-1", category_id="x"),
            annotation(image_id="20180000001", category_id=9),
            images=images,
            categories=categories,
        )
    )
    assert document.classes == ("c9", "c10", "ca", "cx")
    assert [[label.class_token for label in image.labels] for image in document.images] == [
        ["cx"],
        ["c9"],
    ]
    assert document.images[0].size is None


def test_polygons_without_a_box_are_their_own_box() -> None:
    outline = [[0, 0, 4, 0, 4, 4], [6, 1, 8, 1, 8, 5]]
    label = only_label(parse_coco(coco(annotation(bbox=None, segmentation=outline, area=12))))
    assert not label.has_box
    assert label.xyxy == (0, 0, 8, 5)
    assert label.polygons == ((0, 0, 4, 0, 4, 4), (6, 1, 8, 1, 8, 5))
    assert label.area == 12
    flat = parse_coco(coco(annotation(segmentation=outline[0])))
    assert only_label(flat).polygons == ((0, 0, 4, 0, 4, 4),)
    assert only_label(flat).has_box
    assert flat.notes == [
        "segmentations that are a flat list of numbers, each read as one polygon: 1"
    ]


def test_run_lengths_of_both_kinds_are_kept_and_boxed() -> None:
    pixels = np.zeros((8, 10), dtype=bool)
    pixels[2:5, 3:7] = True
    mask = encode_mask(pixels)
    counts = [3 * 8 + 2, 3, 5, 3, 5, 3, 5, 3, 3 + 3 * 8]
    for given in (mask.counts, counts):
        segmentation = {"size": [8, 10], "counts": given}
        label = only_label(
            parse_coco(coco(annotation(bbox=[], segmentation=segmentation, iscrowd=1)))
        )
        assert label.crowd
        assert label.xyxy == (3, 2, 7, 5)
        assert label.mask == RleMask((8, 10), given if isinstance(given, str) else tuple(counts))


def test_a_string_of_lengths_reads_as_pycocotools_reads_it() -> None:
    # 0 empty pixels, then 80 set ones: all of the image.
    assert tight_box(read_rle({"size": [8, 10], "counts": "0`2"})) == (0, 0, 10, 8)


@pytest.mark.parametrize("seed", range(60))
def test_tight_boxes_and_checks_agree_with_pycocotools(seed: int) -> None:
    random = np.random.default_rng(seed)
    height, width = random.integers(1, 40, 2).tolist()
    pixels = random.random((height, width)) < random.choice([0.02, 0.3, 0.9, 1.0])
    mask = encode_mask(pixels)
    read = read_rle({"size": [height, width], "counts": mask.counts})
    code = {"size": [height, width], "counts": str(mask.counts).encode()}
    if not pixels.any():
        with pytest.raises(BadLabel, match="no pixel"):
            tight_box(read)
        return
    x, y, w, h = coco_mask.toBbox(code).tolist()
    assert tight_box(read) == (x, y, x + w, y + h)
    # The same mask as plain lengths.
    flat = pixels.T.ravel()
    edges = np.flatnonzero(np.diff(np.concatenate(([False], flat)).astype(int)))
    lengths = np.diff(np.concatenate(([0], edges, [flat.size]))).tolist()
    plain = read_rle({"size": [height, width], "counts": lengths})
    assert tight_box(plain) == tight_box(read)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ({"bbox": [1, 2, 3]}, "wrong number of values"),
        ({"bbox": "1 2 3 4"}, "wrong number of values"),
        ({"bbox": [1, 2, None, 4]}, "missing value"),
        ({"bbox": [1, 2, "3", 4]}, "not a number"),
        ({"bbox": [1, 2, True, 4]}, "not a number"),
        ({"bbox": [1, 2, float("nan"), 4]}, "not finite"),
        ({"bbox": [1, 2, 10**400, 4]}, "not finite"),
        ({"bbox": [1e308, 2, 1e308, 4]}, "not finite"),
        ({"bbox": None}, "not a box or polygon"),
        ({"bbox": None, "keypoints": [1, 2, 2]}, "not a box or polygon"),
        ({"segmentation": [[1, 2, 3, 4, 5]]}, "wrong number of values"),
        ({"segmentation": [[1, 2, 3, 4, 5, "6"]]}, "not a number"),
        ({"segmentation": [{"x": 1}]}, "not a number"),
        ({"segmentation": "x"}, "not a number"),
        ({"segmentation": {"counts": [80]}}, "bad mask"),
        ({"segmentation": {"size": [8, 10], "counts": [79]}}, "bad mask"),
        ({"segmentation": {"size": [8, 10], "counts": [90, -10]}}, "bad mask"),
        ({"segmentation": {"size": [8, 10], "counts": [80.0]}}, "bad mask"),
        ({"segmentation": {"size": [8, 10], "counts": "no mask"}}, "bad mask"),
        ({"segmentation": {"size": [8, 10], "counts": ""}}, "bad mask"),
        # 0 in far too many digits, then 80: pycocotools would shift beyond its words.
        ({"segmentation": {"size": [8, 10], "counts": "P" * 14 + "0`2"}}, "bad mask"),
        ({"segmentation": {"size": [2**20, 2**20], "counts": [2**40]}}, "bad mask"),
        ({"segmentation": {"size": [10, 8], "counts": [80]}}, "bad mask"),  # sides swapped
        ({"bbox": None, "segmentation": {"size": [8, 10], "counts": [80]}}, "empty mask"),
        ({"iscrowd": "yes"}, "not a number"),
        ({"category_id": 4}, "unknown class"),
        ({"category_id": None}, "unknown class"),
        ({"category_id": [3]}, "unknown class"),
    ],
)
def test_what_cannot_be_used_is_a_problem_of_its_image(values: dict[str, Any], kind: str) -> None:
    document = parse_coco(coco(annotation(), annotation(**values)))
    (image,) = document.images
    assert len(image.labels) == 1
    (problem,) = image.problems
    assert (problem.kind, problem.line) == (kind, 1)
    assert problem.text.startswith("annotation 17")


@pytest.mark.parametrize("item", [None, 3, "x", [], {}, annotation(image_id=None)])
def test_annotations_of_no_image_are_problems_of_the_file(item: Any) -> None:
    document = parse_coco(coco(item, annotation(image_id=8)))
    assert len(document.problems) == 2
    assert document.problems[-1].reason == "image_id 8 is not among the images"


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("[]", 1, "the JSON is a list"),
        ('[{"image_id": 1,\n "bbox": [1, 2, 3, 4], "score": 0.5}]', 1, "a list of detections"),
        ("3", 1, "the JSON is a number"),
        ("{}", 1, "no keys, but not 'images' or 'annotations' or 'categories'"),
        (coco(images={"id": 1}), 1, "'images' is an object; COCO has a list there"),
        ('{"images": [{"id": 1, "file_name": "a"},\n{"id": 1, "file_name": "b"}]}', 2, "the id 1"),
        ('{"categories": [{"id": 1, "name": "a"},\n{"id": 1, "name": "b"}]}', 2, "the id 1"),
        ('{"annotations": [{"image_id": 1, "caption": "A cat."}]}', 1, "captions"),
        (coco({"image_id": 7, "segments_info": []}), 1, "panoptic"),
    ],
)
def test_other_kinds_of_json_are_refused_by_name(text: str, line: int, words: str) -> None:
    with pytest.raises(BadFile) as caught:
        parse_coco(text)
    assert words in str(caught.value)
    assert caught.value.line == line


def test_entries_that_are_no_images_and_names_given_twice_are_noted() -> None:
    images = [*IMAGES, {"id": 8}, None, {"id": 9, "file_name": "a.jpg"}]
    categories = [*CATEGORIES, {"id": 4, "name": "cat"}]
    document = parse_coco(
        coco(
            annotation(),
            annotation(image_id=9, category_id=4),
            images=images,
            categories=categories,
        )
    )
    assert document.classes == ("cat",)
    assert [image.name for image in document.images] == ["a.jpg", "a.jpg"]
    assert [len(image.labels) for image in document.images] == [1, 1]
    assert document.notes == [
        "entries of 'images' without id or name, ignored (the annotations that need them are "
        "listed as problems): 2, first on line 1",
        "categories of one name were taken as one class: 2 categories have 1 different names",
    ]


def test_names_can_always_be_written_and_be_part_of_a_path() -> None:
    images = [{"id": 7, "file_name": "a\0\ud800\U0001f600.jpg"}]
    document = parse_coco(
        coco(annotation(), images=images, categories=[{"id": 3, "name": "\udc00"}])
    )
    assert document.images[0].name == "a\ufffd\ufffd\U0001f600.jpg"
    assert document.classes == ("\ufffd",)


@pytest.mark.parametrize("keys", ["iac", "ica", "aic", "aci", "cia", "cai"])
def test_it_is_recognised_whatever_comes_first(keys: str) -> None:
    many = {
        "i": ("images", [{"id": i, "file_name": f"{i}.jpg"} for i in range(500)]),
        "a": ("annotations", [annotation(id=i, image_id=i) for i in range(500)]),
        "c": ("categories", [{"id": i, "name": f"c{i}"} for i in range(500)]),
    }
    head = json.dumps(dict(many[key] for key in keys))[:4000]
    assert detect_coco(head) == f"JSON with {many[keys[0]][0]}"
    assert not detect_labelme(head)
    assert not detect_via(head)
    assert not detect_label_studio(head)


@pytest.mark.parametrize(
    "text",
    [
        json.dumps([{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}]),
        json.dumps({"info": {}, "categories": {"label": {"labels": []}}, "items": []}),
        json.dumps([{"image": "a.jpg", "annotations": [{"label": "a", "coordinates": {}}]}]),
        json.dumps({"asset": {"name": "a.jpg"}, "regions": [{"id": 1}]}),
        json.dumps({"AP": 1.0, "classes": ["a"]}),
        "",
        "text",
    ],
)
def test_other_json_is_nobodys(text: str) -> None:
    for detect in (detect_coco, detect_labelme, detect_via, detect_label_studio):
        assert detect(text) == ""


@pytest.mark.benchmark_data
def test_the_same_boxes_come_from_both_coco_styles_and_from_labelme(shared_data: Path) -> None:
    folder = shared_data / "label_formats" / "gts"
    documents = [
        parse_coco((folder / name).read_text())
        for name in ("coco_format_v1/instances_default.json", "coco_format_v2/instances_v2.json")
    ]
    single = [parse_labelme(p.read_text()) for p in sorted((folder / "labelme_format").glob("*"))]
    documents.append(Document(images=[image for document in single for image in document.images]))
    first, *others = (
        {
            image.name: sorted((label.class_token, *label.xyxy) for label in image.labels)
            for image in document.images
        }
        for document in documents
    )
    assert sum(map(len, first.values())) == 273
    assert len(first) == 100
    for other in others:
        assert other.keys() == first.keys()
        for name, boxes in first.items():
            assert [box[0] for box in other[name]] == [box[0] for box in boxes]
            for one, two in zip(boxes, other[name], strict=True):
                assert one[1:] == pytest.approx(two[1:], abs=0.5)
    sizes = [{image.name: image.size for image in document.images} for document in documents]
    assert sizes[0] == sizes[1] == sizes[2]


@pytest.mark.benchmark_data
@pytest.mark.parametrize(
    ("name", "images", "objects", "classes", "crowds", "outlines"),
    [
        ("coco_tiny/annotations/instances_train2017.json", 80, 705, 80, 6, 699),
        ("coco_tiny/annotations/instances_val2017.json", 80, 815, 80, 11, 804),
        ("nuclei/train.json", 120, 3317, 1, 0, 3317),
        ("coco_eval_reference/gts/sampled_gts_bbox_area.json", 100, 830, 80, 0, 0),
        ("vhr10_labels/annotations.json", 650, 3921, 10, 0, 3921),
    ],
)
def test_real_files_lose_nothing(
    shared_data: Path,
    name: str,
    images: int,
    objects: int,
    classes: int,
    crowds: int,
    outlines: int,
) -> None:
    text = (shared_data / name).read_text()
    document = parse_coco(text)
    labels = [label for image in document.images for label in image.labels]
    assert (len(document.images), len(labels), len(document.classes)) == (images, objects, classes)
    assert document.problems == []
    assert [image.problems for image in document.images if image.problems] == []
    assert sum(label.crowd for label in labels) == crowds
    assert sum(bool(label.polygons) for label in labels) == outlines
    lines = text.split("\n")
    assert all("{" in lines[label.line - 1] for label in labels)
