"""CVAT's XML: hand-made shapes, videos, masks against pycocotools, and a real file."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from test_voc import coco_boxes, sorted_boxes

from detfinetune.labels.formats.raw_labels import BadFile, Document, RawLabel
from detfinetune.labels.formats.shapes import ELLIPSE_POINTS
from detfinetune.labels.formats.xml.cvat import detect_cvat, parse_cvat
from detfinetune.labels.formats.xml.cvat_video import MOST_FRAMES
from detfinetune.labels.parsing.box_rules import polygon_area

IMAGES = """<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <meta>
    <task>
      <mode>annotation</mode>
      <start_frame>0</start_frame>
      <stop_frame>5</stop_frame>
      <labels>
        <label><name>car</name><attributes><attribute><name>colour</name></attribute></attributes></label>
        <label><name>person</name></label>
        <label><name>car</name></label>
        <label><name>knee</name><type>points</type><parent>person</parent></label>
        <label><name></name></label>
      </labels>
    </task>
  </meta>
  <image id="0" name="day\\a.jpg" subset="Train" width="100" height="80">
    <box label="car" occluded="0" xtl="10.50" ytl="20" xbr="30,5" ybr="40.25" z_order="0">
      <attribute name="colour">red</attribute>
    </box>
    <polygon label="person" points="1.5,2;10,2;10,-8.25"
      z_order="1"></polygon>
    <tag label="sunny"></tag>
    <polyline label="car" points="1,2;3,4"/>
    <skeleton label="person"><points label="knee" points="3,4"/></skeleton>
  </image>
  <image id="1" name="b.jpg"/>
</annotations>
"""

VIDEO = """<annotations>
<meta><task><id>7</id><mode>interpolation</mode><start_frame>10</start_frame>
<stop_frame>14</stop_frame><frame_filter></frame_filter>
<original_size><width>640</width><height>480</height></original_size></task></meta>
<track id="0" label="car">
<box frame="11" keyframe="1" outside="0" xtl="1" ytl="2" xbr="3" ybr="4"/>
<box frame="12" keyframe="0" outside="0" xtl="2" ytl="2" xbr="4" ybr="4"/>
<box frame="13" keyframe="1" outside="1" xtl="2" ytl="2" xbr="4" ybr="4"/>
</track>
<track id="1" label="bus">
<polygon frame="12" keyframe="1" outside="0" points="0,0;9,0;9,9"/>
<polygon frame="13" keyframe="1" outside="1" points="0,0;9,0;9,9"/>
<points frame="14" keyframe="1" outside="0" points="5,5"/>
</track>
</annotations>
"""


def read(*shapes: str, image: str = 'name="a.jpg" width="100" height="80"') -> Document:
    """Parse a file with one image, on line 2, and one shape a line, from line 3 on."""
    return parse_cvat(
        "\n".join(["<annotations>", f"<image {image}>", *shapes, "</image>", "</annotations>"])
    )


def read_one(shape: str) -> RawLabel:
    (image,) = read(shape).images
    assert image.problems == []
    (label,) = image.labels
    return label


def test_images() -> None:
    document = parse_cvat(IMAGES)
    assert document.classes == ("car", "person")
    first, second = document.images
    assert (first.name, first.size, first.split, first.line) == (
        "day/a.jpg",
        (100, 80),
        "Train",
        18,
    )
    assert (second.name, second.size, second.split, second.line) == ("b.jpg", None, "", 28)
    assert second.labels == second.problems == document.problems == []
    assert first.labels == [
        RawLabel("car", (10.5, 20, 30.5, 40.25), line=19, text="car 10.50 20 30,5 40.25"),
        RawLabel(
            "person",
            (1.5, -8.25, 10, 2),
            polygons=((1.5, 2, 10, 2, 10, -8.25),),
            has_box=False,
            line=22,
            text="person polygon in 1.5 -8.25 10 2",
        ),
    ]
    assert [(p.kind, p.line) for p in first.problems] == [
        ("not a box or polygon", 25),
        ("not a box or polygon", 26),
    ]
    assert first.problems[0].text == "car polyline label=car points=1,2;3,4"
    assert document.notes == ["1 <tag> of whole images ignored; they have no box"]


def test_lines_where_shapes_stand_in_comments() -> None:
    shape = '<box label="a" xtl="1" ytl="2" xbr="3" ybr="4"/>'
    (image,) = read("<!--\n<box/>\n-->", shape, "<!-- <image> -->" + shape).images
    assert [label.line for label in image.labels] == [6, 7]


@pytest.mark.parametrize(
    ("shape", "kind", "reason"),
    [
        ('<box xtl="1" ytl="2" xbr="3"/>', "no box", "the <box> has no ybr"),
        ('<box xtl="1" ytl="2" xbr="3" ybr=""/>', "not a number", "ybr is '', not a number"),
        ('<box xtl="nan" ytl="2" xbr="3" ybr="4"/>', "not finite", "xtl is 'nan', not a finite"),
        (
            '<box xtl="1" ytl="2" xbr="3" ybr="4" rotation="x"/>',
            "not a number",
            "rotation is 'x', not a number",
        ),
        (
            '<box xtl="-1e308" ytl="2" xbr="1e308" ybr="4" rotation="3"/>',
            "not finite",
            "its numbers are too large",
        ),
        ("<polygon/>", "no box", "the <polygon> has no points"),
        ('<polygon points=""/>', "bad polygon", "point 1 is '', not 'x,y'"),
        ('<polygon points="1,2;3;4,5"/>', "bad polygon", "point 2 is '3', not 'x,y'"),
        ('<polygon points="1,2;3,4,5;6,7"/>', "bad polygon", "point 2 is '3,4,5', not 'x,y'"),
        ('<polygon points="1,2;3,inf;4,5"/>', "not finite", "y of point 2 is 'inf'"),
        ('<polygon points="1,2;3,4"/>', "too few points", "the <polygon> has 2; it takes 3"),
        ('<ellipse cx="1" cy="2" rx="-3" ry="4"/>', "negative size", "half axes of -3 and 4 px"),
        ('<ellipse cx="1" cy="2" rx="3"/>', "no box", "the <ellipse> has no ry"),
        ("<cuboid/>", "not a box or polygon", "a <cuboid> is not a box, a polygon"),
        ('<points points="1,2"/>', "not a box or polygon", "a <points> is not a box"),
        ('<blob label="x"/>', "not a box or polygon", "a <blob> is not a box"),
        ("<mask/>", "no box", "the <mask> has no left"),
    ],
)
def test_shapes_that_cannot_be_used(shape: str, kind: str, reason: str) -> None:
    good = '<box label="car" xtl="1" ytl="2" xbr="3" ybr="4"/>'
    (image,) = read(good, shape).images
    assert [label.line for label in image.labels] == [3]
    (problem,) = image.problems
    assert (problem.kind, problem.line) == (kind, 4)
    assert problem.reason.startswith(reason)


def test_turned_box() -> None:
    label = read_one('<box label="a" xtl="10" ytl="20" xbr="50" ybr="40" rotation="90.00"/>')
    # Clockwise about 30, 30: the top left corner goes to the top right.
    assert label.polygons[0] == pytest.approx((40, 10, 40, 50, 20, 50, 20, 10))
    assert label.xyxy == pytest.approx((20, 10, 40, 50))
    assert not label.has_box
    whole_turn = read_one('<box label="a" xtl="10" ytl="20" xbr="50" ybr="40" rotation="360"/>')
    assert (whole_turn.xyxy, whole_turn.has_box) == ((10, 20, 50, 40), True)


def test_ellipse() -> None:
    label = read_one('<ellipse label="a" cx="50" cy="40" rx="30" ry="10"/>')
    (outline,) = label.polygons
    assert len(outline) == 2 * ELLIPSE_POINTS == 64
    assert label.xyxy == pytest.approx((20, 30, 80, 50))
    assert polygon_area(outline) == pytest.approx(math.pi * 300, rel=0.007)
    assert all(
        ((x - 50) / 30) ** 2 + ((y - 40) / 10) ** 2 == pytest.approx(1)
        for x, y in zip(outline[::2], outline[1::2], strict=True)
    )
    turned = read_one('<ellipse label="a" cx="50" cy="40" rx="30" ry="10" rotation="90"/>')
    assert turned.xyxy == pytest.approx((40, 10, 60, 70))


def row_lengths(window: np.ndarray) -> str:
    """Write a mask as CVAT does: row by row, empty pixels first (their number may be 0)."""
    flat = window.astype(np.int8).ravel()
    edges = np.flatnonzero(np.diff(flat, prepend=0, append=2))
    return ", ".join(map(str, np.diff(edges, prepend=0)))


@pytest.mark.parametrize("seed", range(40))
def test_masks_as_pycocotools_decodes_them(seed: int) -> None:
    rng = np.random.default_rng(seed)
    height, width = rng.integers(1, 12, 2)
    top, left = (int(rng.integers(0, side)) for side in (height, width))
    window = rng.random((rng.integers(1, height - top + 1), rng.integers(1, width - left + 1)))
    # Dense ones too: columns that are set from end to end run into each other.
    window = window < rng.choice([0.2, 0.5, 0.9, 1.0])
    window[0, 0] = True
    expected = np.zeros((height, width), dtype=np.uint8)
    expected[top : top + window.shape[0], left : left + window.shape[1]] = window
    (image,) = read(
        f'<mask label="a" rle="{row_lengths(window)}" left="{left}" top="{top}"'
        f' width="{window.shape[1]}" height="{window.shape[0]}"/>',
        image=f'name="a.jpg" width="{width}" height="{height}"',
    ).images
    (label,) = image.labels
    assert label.mask is not None
    assert label.mask.size == (height, width)
    counts = label.mask.counts
    assert isinstance(counts, tuple)
    assert all(type(count) is int for count in counts)
    assert sum(counts) == height * width
    code = coco_mask.frPyObjects({"size": [height, width], "counts": list(counts)}, height, width)
    np.testing.assert_array_equal(coco_mask.decode(code), expected)
    # The same lengths, one for one, as pycocotools would give the mask.
    assert coco_mask.encode(np.asfortranarray(expected))["counts"] == code["counts"]
    x, y, w, h = coco_mask.toBbox(code)
    assert label.xyxy == (x, y, x + w, y + h)


@pytest.mark.parametrize(
    ("mask", "kind", "reason"),
    [
        ('rle="1,2" left="0" top="0" width="2" height="2"', "bad mask", "adds up to 3 px; the"),
        ('rle="1,2,2" left="0" top="0" width="2" height="2"', "bad mask", "adds up to 5 px; the"),
        ('rle="4" left="0" top="0" width="2" height="2"', "empty mask", "no pixel"),
        ('rle="0" left="0" top="0" width="0" height="9"', "empty mask", "no pixel"),
        (
            'rle="0,4" left="99" top="0" width="2" height="2"',
            "bad mask",
            "is not inside the 100x80",
        ),
        (
            'rle="0,4" left="-1" top="0" width="2" height="2"',
            "bad mask",
            "is not inside the 100x80",
        ),
        ('rle="0,4" left="9" top="9" width="-2" height="-2"', "bad mask", "is not inside"),
        ('rle="" left="0" top="0" width="2" height="2"', "bad mask", "is not a list of run"),
        ('rle="0,-4" left="0" top="0" width="2" height="2"', "bad mask", "is not a list of run"),
        ('rle="0,4" left="x" top="0" width="2" height="2"', "not a number", "left is 'x'"),
        (
            f'rle="0,{10**10 - 1}" left="0" top="0" width="100000" height="100000"',
            "bad mask",
            "too large for a mask",
        ),
    ],
)
def test_masks_that_cannot_be_used(mask: str, kind: str, reason: str) -> None:
    (image,) = read(f'<mask label="a" {mask}/>').images
    (problem,) = image.problems
    assert (problem.kind, problem.line) == (kind, 3)
    assert reason in problem.reason


def test_mask_needs_the_size_of_its_image() -> None:
    mask = '<mask label="a" rle="0,4" left="0" top="0" width="2" height="2"/>'
    (problem,) = read(mask, image='name="a.jpg"').images[0].problems
    assert "width and height" in problem.reason
    vast = 'name="a.jpg" width="99999" height="99999"'
    (problem,) = read(mask, image=vast).images[0].problems
    assert "too large for a mask" in problem.reason


def test_shapes_of_no_image_are_reported() -> None:
    shape = '<box label="a" xtl="1" ytl="2" xbr="3" ybr="4"/>'
    document = parse_cvat(
        f'<annotations>\n{shape}\n<image name="a.jpg">{shape}</image>\n'
        f"<image>\n{shape}</image>\n<x>{shape}</x></annotations>"
    )
    assert [(p.kind, p.line) for p in document.problems] == [
        ("no image name", 5),
        ("belongs to no image", 2),
        ("belongs to no image", 6),
    ]
    assert [len(image.labels) for image in document.images] == [1]
    assert document.notes == ["line 4: an <image> without a name is ignored"]


def test_video() -> None:
    document = parse_cvat(VIDEO)
    assert [(image.name, image.size) for image in document.images] == [
        (f"frame_0000{n}", (640, 480)) for n in (10, 11, 12, 13, 14)
    ]
    found = [[(x.class_token, x.line) for x in image.labels] for image in document.images]
    assert found == [[], [("car", 6)], [("car", 7), ("bus", 11)], [], []]
    assert document.images[2].labels[1].polygons == ((0, 0, 9, 0, 9, 9),)
    assert [[p.kind for p in image.problems] for image in document.images] == [
        *([[]] * 4),
        ["not a box or polygon"],
    ]
    assert document.problems == document.notes == []


def test_video_of_every_third_frame() -> None:
    document = parse_cvat(
        VIDEO.replace("<frame_filter>", "<frame_filter>step=2")
        .replace('frame="11"', 'frame="10"')
        .replace('outside="1"', 'outside="0"', 1)
        .replace('frame="13"', 'frame="14"')
    )
    assert [image.name for image in document.images] == [f"frame_0000{n}" for n in (10, 12, 14)]
    assert document.notes == []


def test_gaps_in_tracks_are_said() -> None:
    document = parse_cvat(VIDEO.replace('<box frame="11"', '<box frame="9"'))
    # Frame 9 is there, although the file says that it starts at 10.
    assert document.images[0].name == "frame_000009"
    assert [note[:16] for note in document.notes] == ["1 gaps in tracks"]


def test_an_object_that_leaves_and_comes_back_is_no_gap() -> None:
    back = '<box frame="14" outside="0" xtl="2" ytl="2" xbr="4" ybr="4"/>'
    document = parse_cvat(VIDEO.replace("</track>", back + "</track>", 1))
    assert len(document.images[4].labels) == 1
    assert document.notes == []
    document = parse_cvat(VIDEO.replace("</track>", back.replace("14", "19") + "</track>", 1))
    assert document.notes == []


@pytest.mark.parametrize(
    ("old", "new", "frames", "note"),
    [
        ("<stop_frame>14</stop_frame>", "", [11, 12, 14], "nowhere how many frames"),
        ("<stop_frame>14</stop_frame>", "<size>3</size>", [0, 1, 2, 11, 12, 14], ""),
        ("<stop_frame>14<", "<stop_frame>999999999<", [11, 12, 14], "999999990 frames"),
        ("<stop_frame>14<", "<stop_frame>3<", [11, 12, 14], "nowhere how many frames"),
    ],
)
def test_claims_of_frames(old: str, new: str, frames: list[int], note: str) -> None:
    assert MOST_FRAMES < 999_999_990
    document = parse_cvat(VIDEO.replace(old, new))
    assert [image.name for image in document.images] == [f"frame_{n:06d}" for n in frames]
    assert len(document.notes) == bool(note)
    assert note in "".join(document.notes)


def test_video_without_objects() -> None:
    text = VIDEO[: VIDEO.index("<track")] + "</annotations>"
    assert [len(image.labels) for image in parse_cvat(text).images] == [0] * 5
    assert parse_cvat(text.replace("interpolation", "annotation")).images == []


def test_frames_that_are_no_numbers() -> None:
    document = parse_cvat(VIDEO.replace('frame="12"', 'frame="twelve"'))
    assert [(p.kind, p.line) for p in document.problems] == [("no frame", 7), ("no frame", 11)]
    assert [len(image.labels) for image in document.images] == [0, 1, 0, 0, 0]


def test_project_of_two_videos() -> None:
    def task(number: int, subset: str) -> str:
        return (
            f"<task><id>{number}</id><name>clip {number}</name><subset>{subset}</subset>"
            "<start_frame>0</start_frame><stop_frame>1</stop_frame></task>"
        )

    def track(number: int) -> str:
        shape = '<box frame="1" xtl="1" ytl="2" xbr="3" ybr="4"/>'
        return f'<track label="a" task_id="{number}">{shape}</track>'

    document = parse_cvat(
        f"<annotations><meta><project><tasks>{task(4, 'Train')}{task(5, 'Test')}</tasks></project>"
        f"</meta>{track(5)}{track(4)}{track(5)}{track(6)}</annotations>"
    )
    assert [(i.name, i.split, len(i.labels)) for i in document.images] == [
        ("clip 4/frame_000000", "Train", 0),
        ("clip 4/frame_000001", "Train", 1),
        ("clip 5/frame_000000", "Test", 0),
        ("clip 5/frame_000001", "Test", 2),
        ("task_6/frame_000001", "", 1),
    ]


@pytest.mark.parametrize(
    ("text", "reason", "line"),
    [
        ("", "the file is empty", 0),
        (IMAGES[:-20], "not readable as XML", 28),
        ("\n<annotation/>", "starts with <annotation>; CVAT starts with <annotations>", 2),
    ],
)
def test_files_that_cannot_be_read(text: str, reason: str, line: int) -> None:
    with pytest.raises(BadFile, match=reason) as caught:
        parse_cvat(text)
    assert caught.value.line == line


@pytest.mark.parametrize(
    ("head", "evidence"),
    [
        (IMAGES, "<annotations> with <image>"),
        (VIDEO, "<annotations> with <track>"),
        (IMAGES[:200], "<annotations> with <meta>"),
        (IMAGES.replace("annotations", "annotation"), ""),
        ("<annotations></annotations>", ""),
        ("", ""),
    ],
)
def test_detect(head: str, evidence: str) -> None:
    assert detect_cvat(head[:4000]) == evidence


@pytest.mark.benchmark_data
def test_real_file_says_the_same_boxes_as_coco(shared_data: Path) -> None:
    gts = shared_data / "label_formats" / "gts"
    text = (gts / "cvat_format" / "annotations.xml").read_text()
    assert detect_cvat(text[:4000]) == "<annotations> with <image>"
    document = parse_cvat(text)
    assert len(document.images) == 100
    assert len(document.classes) == 20
    assert sum(len(image.labels) for image in document.images) == 273
    assert all(image.problems == [] and image.size for image in document.images)
    assert sorted_boxes(document.images) == coco_boxes(
        gts / "coco_format_v1" / "instances_default.json"
    )
    lines = text.split("\n")
    for image in document.images:
        assert f'name="{image.name}"' in lines[image.line - 1]
        for label in image.labels:
            assert f'label="{label.class_token}"' in lines[label.line - 1]
