"""Broken JSON of every kind: only BadFile is raised, and every object is accounted for."""

from __future__ import annotations

import copy
import json
import math
import random
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_label_studio import pack
from test_labelme import png

from detfinetune.labels.formats.json.coco import parse_coco
from detfinetune.labels.formats.json.label_studio import parse_label_studio
from detfinetune.labels.formats.json.labelme import parse_labelme
from detfinetune.labels.formats.json.via import parse_via
from detfinetune.labels.formats.raw_labels import BadFile, Document, RawLabel, RawProblem

EXAMPLES = settings().max_examples
"""For each parser; each breaks a file in three ways, and gives JSON that is no such file."""

COCO = {
    "info": {"description": "d"},
    "images": [
        {"id": 1, "file_name": "a.jpg", "width": 10, "height": 8},
        {"id": "b", "file_name": "b.jpg", "width": 10, "height": 8},
    ],
    "categories": [{"id": 2, "name": "cat"}, {"id": 5, "name": "dog"}],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 2, "bbox": [1, 2, 3, 4], "iscrowd": 0},
        {"id": 2, "image_id": 1, "category_id": 5, "segmentation": [[1, 2, 3, 2, 3, 9]]},
        {
            "id": 3,
            "image_id": "b",
            "category_id": 5,
            "area": 3,
            "segmentation": {"size": [8, 10], "counts": [10, 3, 67]},
            "iscrowd": 1,
        },
        {
            "id": 4,
            "image_id": "b",
            "category_id": 2,
            "segmentation": {"size": [8, 10], "counts": ":3S2"},
        },
        {"id": 5, "image_id": "b", "category_id": 2, "keypoints": [1, 1, 2], "bbox": [0, 0, 1, 1]},
    ],
}
LABELME = {
    "version": "5.5.0",
    "flags": {"night": True},
    "shapes": [
        {"label": "cat", "points": [[1, 2], [3, 4]], "shape_type": "rectangle", "group_id": None},
        {
            "label": "cat",
            "points": [[1, 2], [3, 4], [5, 1]],
            "shape_type": "polygon",
            "group_id": 1,
        },
        {
            "label": "cat",
            "points": [[7, 2], [8, 4], [9, 1]],
            "shape_type": "polygon",
            "group_id": 1,
        },
        {"label": "dog", "points": [[5, 5], [6, 6]], "shape_type": "circle"},
        {
            "label": "dog",
            "points": [[5, 5], [6, 6]],
            "shape_type": "mask",
            "mask": png(np.full((2, 2), 255, dtype=np.uint8)),
        },
        {"label": "dog", "points": [[5, 5]], "shape_type": "point"},
    ],
    "imagePath": "a.jpg",
    "imageData": "AAAA",
    "imageHeight": 8,
    "imageWidth": 10,
}
VIA = {
    "_via_settings": {"ui": {}},
    "_via_img_metadata": {
        "a.jpg1": {
            "filename": "a.jpg",
            "size": 1,
            "regions": [
                {
                    "shape_attributes": {"name": "rect", "x": 1, "y": 2, "width": 3, "height": 4},
                    "region_attributes": {"type": "cat", "id": "1"},
                },
                {
                    "shape_attributes": {
                        "name": "polygon",
                        "all_points_x": [1, 2, 3],
                        "all_points_y": [1, 2, 1],
                    },
                    "region_attributes": {"type": {"cat": True}},
                },
                {
                    "shape_attributes": {"name": "ellipse", "cx": 1, "cy": 2, "rx": 3, "ry": 4},
                    "region_attributes": {"type": "dog"},
                },
            ],
        },
        "b.jpg2": {"filename": "b.jpg", "size": 2, "regions": {"0": {"shape_attributes": {}}}},
    },
    "_via_attributes": {"region": {"type": {"options": {"cat": "", "dog": ""}}}},
}
_SIZE = {"original_width": 2, "original_height": 2}
_RESULTS = [
    _SIZE
    | {
        "id": "r1",
        "type": "rectanglelabels",
        "value": {
            "x": 1,
            "y": 2,
            "width": 3,
            "height": 4,
            "rotation": 10,
            "rectanglelabels": ["cat"],
        },
    },
    _SIZE
    | {
        "id": "r2",
        "type": "polygonlabels",
        "value": {"points": [[1, 2], [3, 4], [5, 1]], "polygonlabels": ["dog"]},
    },
    _SIZE
    | {
        "id": "r3",
        "type": "brushlabels",
        "value": {"format": "rle", "rle": pack([255] * 16, [(True, 16)]), "brushlabels": ["cat"]},
    },
    _SIZE
    | {
        "type": "ellipselabels",
        "value": {"x": 1, "y": 2, "radiusX": 3, "radiusY": 4, "ellipselabels": ["cat"]},
    },
    {"id": "r1", "type": "textarea", "value": {"text": ["x"]}},
]
LABEL_STUDIO = [
    {
        "id": 1,
        "annotations": [
            {"result": _RESULTS, "updated_at": "2024"},
            {"result": _RESULTS[:1], "was_cancelled": True},
        ],
        "predictions": [{"result": []}],
        "data": {"image": "/data/upload/1/0a1b2c3d-a.jpg"},
    },
    {"id": 2, "annotations": [{"result": []}], "data": {"image": "b.jpg"}},
]
ODD: list[Any] = [
    *(None, True, False, 0, -1, 1, 0.5, 2**31, -1e308, 1e308, 10**400, math.nan, math.inf, 3),
    *("", "x", "1", "\ud800", "a\0b\n", "cat", "polygon", "textarea", [], {}, [[]], [None] * 4),
    *(
        [1, 2, 3],
        [1, 2, 3, 4],
        [[0, 0], [1, 1]],
        {"id": 1},
        {"cat": True},
        [{}],
        [1e308, 0, 1e308, 1],
    ),
]
JSON_VALUES = st.recursive(
    st.sampled_from([value for value in ODD if not isinstance(value, list | dict)]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["id", "x", "name", "result", "regions"]), inner, max_size=3
        )
    ),
    max_leaves=6,
)


class Pairs(list[tuple[str, Any]]):
    """An object with all its keys, the repeated ones too."""


def pairs_of(text: str) -> Any:
    return json.loads(text, object_pairs_hook=Pairs)


def lists_in(value: Any, *keys: str) -> list[list[Any]]:
    """Return the lists (not objects) under any of some keys of an object."""
    found = [item for key, item in value if key in keys] if isinstance(value, Pairs) else []
    return [item for item in found if isinstance(item, list) and not isinstance(item, Pairs)]


def count_coco(value: Any) -> int:
    return sum(map(len, lists_in(value, "annotations")))


def count_labelme(value: Any) -> int:
    return sum(map(len, lists_in(value, "shapes")))


def count_via(value: Any) -> int:
    entries = [item for key, item in value if not key.startswith("_via_")]
    for key, item in value:
        if key == "_via_img_metadata" and isinstance(item, Pairs):
            entries += [entry for _, entry in item]
    return sum(
        len(item)
        for entry in entries
        if isinstance(entry, Pairs)
        for key, item in entry
        if key == "regions" and isinstance(item, list)
    )


def count_label_studio(value: Any) -> int:
    return sum(
        len(result)
        for task in value
        for entries in lists_in(task, "annotations")
        for entry in entries
        for result in lists_in(entry, "result")
    )


def entries_of(document: Document) -> tuple[list[RawLabel], list[RawProblem]]:
    labels = [label for image in document.images for label in image.labels]
    problems = [problem for image in document.images for problem in image.problems]
    return labels, problems + document.problems


def accounted(document: Document) -> int:
    """Objects that became labels or problems, or are counted by a note."""
    labels, problems = entries_of(document)
    noted = re.findall(
        r"^entries (?:that are not regions|that repeat|in the annotations).*: (\d+)$",
        "\n".join(document.notes),
        re.MULTILINE,
    )
    return len(labels) + len(problems) + sum(map(int, noted))


def accounted_labelme(document: Document) -> int:
    """Shapes: an object of several polygons took one for each."""
    labels, problems = entries_of(document)
    return sum(max(1, len(label.polygons)) for label in labels) + len(problems)


def check_sound(document: Document, lines: int) -> None:
    """Whatever went in, what comes out can be computed with, and written to a file."""
    labels, problems = entries_of(document)
    for label in labels:
        assert all(map(math.isfinite, label.xyxy))
        for polygon in label.polygons:
            assert len(polygon) >= 2
            assert len(polygon) % 2 == 0
            assert all(map(math.isfinite, polygon))
        if label.mask is not None:
            assert label.mask.size[0] * label.mask.size[1] < 2**31
        assert label.area is None or 0 < label.area < math.inf
    for entry in (*labels, *problems):
        assert 1 <= entry.line <= lines
        assert "\n" not in entry.text
    for problem in problems:
        assert problem.kind
        assert problem.reason
    words = [*document.classes, *document.notes, *(image.name for image in document.images)]
    words += [text for label in labels for text in (label.class_token, label.text)]
    words += [text for problem in problems for text in (problem.reason, problem.text)]
    for word in words:
        word.encode("utf-8")
        assert "\0" not in word
        assert len(word) < 500
    for image in document.images:
        assert image.size is None or min(image.size) > 0


def break_value(value: Any, junk: Any, dice: random.Random) -> Any:
    """Replace, drop, double or swap a few things anywhere in a JSON value."""
    value = copy.deepcopy(value)
    for _ in range(dice.choice((1, 1, 2, 3, 6))):
        place = value
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            key = dice.choice(keys)
            inside = place[key]
            if isinstance(inside, dict | list) and inside and dice.random() < 0.8:
                place = inside
                continue
            change(place, key, dice.choice((junk, dice.choice(ODD))), dice)
            break
    return value


def change(place: Any, key: Any, junk: Any, dice: random.Random) -> None:
    how = dice.randrange(4)
    if how == 0:
        del place[key]
    elif how == 1 and isinstance(place, list):
        place.insert(key, copy.deepcopy(place[key]))
    elif how == 2:
        other = dice.choice(list(place) if isinstance(place, dict) else range(len(place)))
        place[key], place[other] = place[other], place[key]
    else:
        place[key] = copy.deepcopy(junk)


def dump_doubling(value: Any, dice: random.Random) -> str:
    """Write a value as JSON in which some members of objects are there twice."""
    if isinstance(value, list):
        return f"[{', '.join(dump_doubling(item, dice) for item in value)}]"
    if not isinstance(value, dict):
        return json.dumps(value)
    members = [f"{json.dumps(key)}: {dump_doubling(item, dice)}" for key, item in value.items()]
    if members and dice.random() < 0.2:
        members.insert(dice.randrange(len(members) + 1), dice.choice(members))
    return f"{{{', '.join(members)}}}"


def break_text(text: str, dice: random.Random) -> str:
    """Delete, double or exchange characters; cut; exchange keys; make numbers huge."""
    how = dice.randrange(6)
    at, end = sorted((dice.randrange(len(text)), dice.randrange(len(text))))
    end = min(end, at + dice.choice((1, 2, 8, 60)))
    if how == 0:
        return text[:at] + text[end:]
    if how == 1:
        return text[:end] + text[at:]
    if how == 2:
        return text[:at] + dice.choice('{}[]",:0-e.\\\n\ud800\0é') + text[at + 1 :]
    if how == 3:
        return text[:at]
    if how == 4:
        keys = re.findall(r'"[A-Za-z_]+"(?=:)', text) or ['"id"']
        old, new = dice.choice(keys), dice.choice(keys)
        return text.replace(old, new, dice.choice((1, 1, 100)))
    digits = "9" * dice.choice((1, 30, 310, 5000))
    return re.sub(r"\d+", digits, text[at:], count=1).join((text[:at], ""))


def read_or_refuse(parse: Callable[[str], Document], text: str) -> Document | BadFile:
    try:
        return parse(text)
    except BadFile as problem:
        return problem


@pytest.mark.parametrize(
    ("parse", "bases", "count", "accounted_for", "whole"),
    [
        (parse_coco, [COCO], count_coco, accounted, [(5, 0)]),
        (parse_labelme, [LABELME], count_labelme, accounted_labelme, [(4, 1)]),
        (parse_via, [VIA, VIA["_via_img_metadata"]], count_via, accounted, [(3, 1)] * 2),
        (parse_label_studio, [LABEL_STUDIO], count_label_studio, accounted, [(4, 0)]),
    ],
    ids=["coco", "labelme", "via", "label_studio"],
)
def test_broken_files_raise_bad_file_or_lose_nothing(
    parse: Callable[[str], Document],
    bases: list[Any],
    count: Callable[[Any], int],
    accounted_for: Callable[[Document], int],
    whole: list[tuple[int, int]],
) -> None:
    read: list[Document] = []
    refused: list[BadFile] = []

    def check(text: str) -> None:
        lines = text.count("\n") + 1
        document = read_or_refuse(parse, text)
        if isinstance(document, BadFile):
            assert 1 <= document.line <= lines
            assert len(str(document)) < 400
            refused.append(document)
            return
        assert accounted_for(document) == count(pairs_of(text))
        check_sound(document, lines)
        read.append(document)

    for base in bases:
        check(json.dumps(base, indent=1))
    assert [tuple(map(len, entries_of(document))) for document in read] == whole

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(seed=st.integers(0, 2**32), junk=JSON_VALUES)
    def run(seed: int, junk: Any) -> None:
        dice = random.Random(seed)
        base = dice.choice(bases)
        broken = break_value(base, junk, dice)
        check(json.dumps(broken, indent=dice.choice((None, 1))))
        check(break_text(json.dumps(base, indent=dice.choice((None, 1))), dice))
        check(dump_doubling(base, dice))
        check(json.dumps(junk))

    run()
    # Not all may be refused, else nothing is said of sums; nor may all be read.
    assert len(read) > EXAMPLES // 2
    assert len(refused) > EXAMPLES // 4
    labels = sum(len(entries_of(document)[0]) for document in read)
    problems = sum(len(entries_of(document)[1]) for document in read)
    assert min(labels, problems) > EXAMPLES // 2
