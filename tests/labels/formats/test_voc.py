"""Pascal VOC: hand-made files with every kind of object, and real ones that say the same boxes."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import pytest

from detfinetune.labels.formats.raw_labels import BadFile, RawImage, RawLabel
from detfinetune.labels.formats.xml.voc import detect_voc, parse_voc

LABELIMG = """<annotation verified="yes">
\t<folder>images</folder>
\t<filename>street.jpg</filename>
\t<path>C:\\data\\images\\street.jpg</path>
\t<size>
\t\t<width>640</width>
\t\t<height>480</height>
\t\t<depth>3</depth>
\t</size>
\t<segmented>0</segmented>
\t<object>
\t\t<name>chair</name>
\t\t<pose>Unspecified</pose>
\t\t<truncated>1</truncated>
\t\t<difficult>0</difficult>
\t\t<bndbox>
\t\t\t<xmin>203</xmin>
\t\t\t<ymin>174</ymin>
\t\t\t<xmax>254</xmax>
\t\t\t<ymax>273</ymax>
\t\t</bndbox>
\t</object>
\t<object>
\t\t<name> traffic
\t\t\tlight </name>
\t\t<difficult>1</difficult>
\t\t<bndbox><ymax>4e1</ymax><xmax>30.5</xmax><ymin> 20 </ymin><xmin>-1</xmin></bndbox>
\t</object>
</annotation>
"""


def box(x1: object = 1, y1: object = 2, x2: object = 3, y2: object = 4) -> str:
    return f"<bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox>"


def read(*objects: str, head: str = "") -> RawImage:
    """Parse a file with one object a line, the first of them on line 2."""
    (image,) = parse_voc("\n".join([f"<annotation>{head}", *objects, "</annotation>"])).images
    return image


def read_one(inside: str) -> RawLabel:
    image = read(f"<object><name>car</name>{inside}</object>")
    assert image.problems == []
    (label,) = image.labels
    return label


def test_labelimg_file() -> None:
    document = parse_voc(LABELIMG)
    (image,) = document.images
    assert (image.name, image.size, image.problems) == ("street.jpg", (640, 480), [])
    assert image.labels == [
        RawLabel("chair", (203, 174, 254, 273), line=11, text="chair 203 174 254 273"),
        RawLabel("traffic light", (-1, 20, 30.5, 40), line=23, text="traffic light -1 20 30.5 4e1"),
    ]
    assert document.tally["objects marked difficult, read like any other"] == 1
    assert (document.problems, document.classes, document.normalized) == ([], (), False)


@pytest.mark.parametrize("ending", ["\r\n", "\r"])
def test_line_numbers_with_any_line_ending(ending: str) -> None:
    (image,) = parse_voc("\ufeff" + LABELIMG.replace("\n", ending)).images
    assert [label.line for label in image.labels] == [11, 23]


def test_line_numbers_where_object_stands_in_comments_and_cdata() -> None:
    """The scan for start tags finds three too many, so that expat has to say the lines."""
    text = (
        "<annotation><!-- <object> -->\n<!--\n<object>\n-->\n"
        f"<object><name>a</name>{box()}</object>\n"
        "<source><![CDATA[\n<object>\n]]></source>\n"
        f"<object\n  id='1'>\n<name>b</name>{box()}</object></annotation>"
    )
    assert [(x.class_token, x.line) for x in parse_voc(text).images[0].labels] == [
        ("a", 5),
        ("b", 9),
    ]


def test_namespaces_make_no_difference() -> None:
    text = (
        '<v:annotation xmlns:v="http://example.org/voc">\n<!-- <object> -->\n'
        f"<v:object>{box().replace('<', '<v:').replace('<v:/', '</v:')}</v:object>"
        "</v:annotation>"
    )
    (label,) = parse_voc(text).images[0].labels
    assert (label.xyxy, label.line) == ((1, 2, 3, 4), 3)


@pytest.mark.parametrize(
    ("value", "expected"),
    [("12", 12), ("12.25", 12.25), (" 12\n", 12), ("12,25", 12.25), ("-,5e0", None), ("1e2", 100)],
)
def test_numbers(value: str, expected: float | None) -> None:
    image = read(f"<object><name>car</name>{box(value, -9, 200, 9)}</object>")
    if expected is None:
        assert [p.kind for p in image.problems] == ["not a number"]
    else:
        assert [label.xyxy for label in image.labels] == [(expected, -9, 200, 9)]


@pytest.mark.parametrize(
    ("inside", "kind", "reason"),
    [
        (box("left"), "not a number", "xmin is 'left', not a number"),
        (box(""), "not a number", "xmin is '', not a number"),
        (box("\u0663"), "not a number", "xmin is '\u0663', not a number"),
        (box(1, 2, "nan"), "not finite", "xmax is 'nan', not a finite number"),
        (box(1, 2, 3, "-inf"), "not finite", "ymax is '-inf', not a finite number"),
        (box("1e999"), "not finite", "xmin is '1e999', not a finite number"),
        (box().replace("ymin", "top"), "no box", "<bndbox> has no <ymin>"),
        (
            box().replace("ymin", "xmin"),
            "several values",
            "<bndbox> gives xmin more than once",
        ),
        (box() + box(), "several boxes", "2 <bndbox> in one <object>"),
        ("", "no box", "the <object> has no <bndbox>, <polygon> or <robndbox>"),
        (
            f"<part><name>head</name>{box()}</part>",
            "no box",
            "the <object> has no <bndbox>, <polygon> or <robndbox>",
        ),
        (
            "<polygon><x1>1</x1><y1>1</y1><x2>2</x2></polygon>",
            "bad polygon",
            "a point of the <polygon> lacks its x or its y",
        ),
        (
            "<polygon><x1>1</x1><y1>1</y1><x2>2</x2><y2>?</y2></polygon>",
            "not a number",
            "y2 of the polygon is '?', not a number",
        ),
        (
            "<polygon><x1>1</x1><y1>1</y1><x2>2</x2><y2>3</y2></polygon>",
            "too few points",
            "the <polygon> has 2 points; it takes 3",
        ),
        ("<robndbox><cx>5</cx></robndbox>", "no box", "<robndbox> has no <cy>"),
    ],
)
def test_objects_that_cannot_be_used(inside: str, kind: str, reason: str) -> None:
    image = read(
        f"<object><name>car</name>{box()}</object>", f"<object><name>bus</name>{inside}</object>"
    )
    assert len(image.labels) == 1
    (problem,) = image.problems
    assert (problem.kind, problem.reason, problem.line) == (kind, reason, 3)
    assert problem.text.startswith("bus")


def test_long_values_are_shortened_for_the_ledger() -> None:
    (problem,) = read(f"<object><name>{'n' * 5000}</name>{box('9x' * 5000)}</object>").problems
    assert len(problem.reason) < 160
    assert len(problem.text) <= 120


def test_roboflow_polygon_beside_its_box() -> None:
    points = "<polygon><x1>1</x1><y1>2,5</y1><x10>9</x10><y10>2</y10><x2>9</x2><y2>8</y2></polygon>"
    label = read_one(points + box(1, 2, 9, 8))
    assert label.polygons == ((1, 2.5, 9, 8, 9, 2),)
    assert (label.xyxy, label.has_box) == ((1, 2, 9, 8), True)
    alone = read_one(points + points.replace("9", "19"))
    assert len(alone.polygons) == 2
    assert (alone.xyxy, alone.has_box) == ((1, 2, 19, 8), False)
    assert read_one("<polygon/>" + box()).polygons == ()


def test_polygon_by_points() -> None:
    points = "".join(f"<pt><x>{x}</x><y>{y}</y></pt>" for x, y in ((1, 1), (5, 1), (5, 9)))
    label = read_one(f"<polygon><username>me</username>{points}</polygon>")
    assert label.polygons == ((1, 1, 5, 1, 5, 9),)


def test_rotated_box_of_rolabelimg() -> None:
    label = read_one(
        "<type>robndbox</type><robndbox><cx>100</cx><cy>50</cy><w>40</w><h>20</h>"
        f"<angle>{math.pi / 2}</angle></robndbox>"
    )
    # A quarter turn clockwise: the top left corner goes to the top right.
    assert label.polygons[0] == pytest.approx((110, 30, 110, 70, 90, 70, 90, 30))
    assert label.xyxy == pytest.approx((90, 30, 110, 70))
    assert not label.has_box
    tilted = read_one(
        f"<robndbox><cx>0</cx><cy>0</cy><w>20</w><h>0.0</h><angle>{math.pi / 6}</angle></robndbox>"
    )
    # The right end of a flat box goes down, for y runs down.
    assert tilted.polygons[0][2:4] == pytest.approx((10 * math.sqrt(3) / 2, 5))


def test_rotated_box_too_far_away_for_a_float() -> None:
    (problem,) = read(
        "<object><robndbox><cx>1.7e308</cx><cy>1.7e308</cy><w>1.7e308</w><h>1.7e308</h><angle>0.8</angle>"
        "</robndbox></object>"
    ).problems
    assert problem.kind == "not finite"


@pytest.mark.parametrize("bad", ["\x01", "\ud800", "\uffff", "]]>", "&", "\x00"])
def test_names_that_are_not_well_formed(bad: str) -> None:
    text = f"<annotation><object><name>d{bad}</name>{box()}</object></annotation>"
    with pytest.raises(BadFile):
        parse_voc(text)


def test_parts_are_counted_and_no_objects() -> None:
    part = f"<part><name>head</name>{box(5, 5, 6, 6)}</part>"
    text = f"<annotation><object><name>person</name>{box()}{part}{part}</object></annotation>"
    document = parse_voc(text)
    assert [label.xyxy for label in document.images[0].labels] == [(1, 2, 3, 4)]
    assert document.tally["<part> of objects ignored"] == 2


def test_objects_at_any_depth_are_read() -> None:
    image = read(
        f"<objects><object><name>a</name>{box()}<object>{box(9)}</object></object></objects>"
    )
    assert [(x.class_token, x.xyxy[0], x.line) for x in image.labels] == [
        ("a", 1, 2),
        ("", 9, 2),
    ]


@pytest.mark.parametrize(
    ("head", "name", "size"),
    [
        ("", "", None),
        ("<filename>a.jpg</filename><size/>", "a.jpg", None),
        ("<filename> C:\\x\\a b.jpg\n</filename>", "a b.jpg", None),
        ("<filename>set/a.jpg</filename>", "a.jpg", None),
        ("<size><width>0</width><height>0</height></size>", "", None),
        ("<size><width>640</width></size>", "", None),
        ("<size><width>wide</width><height>480</height></size>", "", None),
        ("<size><width>nan</width><height>480</height></size>", "", None),
        ("<size><width>-640</width><height>480</height></size>", "", None),
        ("<size><width>640.0</width><height> 480 </height></size>", "", (640, 480)),
    ],
)
def test_name_and_size(head: str, name: str, size: tuple[int, int] | None) -> None:
    image = read(head=head)
    assert (image.name, image.size, image.labels, image.problems) == (name, size, [], [])


@pytest.mark.parametrize(
    ("text", "reason", "line"),
    [
        ("", "the file is empty", 0),
        ("\ufeff \n", "the file is empty", 0),
        (LABELIMG[:290], "not readable as XML: no element found; is the file truncated?", 14),
        (LABELIMG[:300], "not readable as XML: unclosed token; is the file truncated?", 14),
        ("<annotation>\n<object>\n</annotation>", "not readable as XML: mismatched tag", 3),
        ("<annotation>\nTom & Jerry</annotation>", "not readable as XML: not well-formed", 2),
        ("<annotation>\n\0</annotation>", "not readable as XML: not well-formed", 2),
        ("<annotation>\n\ud800</annotation>", "half of a surrogate pair", 2),
        ("{}", "not readable as XML: not well-formed", 1),
        ("<annotation>&file;</annotation>", "not readable as XML: undefined entity", 1),
        ("<!-- x -->\n<annotations/>", "starts with <annotations>; Pascal VOC starts with", 2),
    ],
)
def test_files_that_cannot_be_read(text: str, reason: str, line: int) -> None:
    with pytest.raises(BadFile) as caught:
        parse_voc(text)
    assert reason in str(caught.value)
    assert caught.value.line == line


def test_declared_encoding_does_not_matter_for_text() -> None:
    text = f'<?xml version="1.0" encoding="utf-16"?><annotation><object><name>é</name>{box()}'
    assert parse_voc(text + "</object></annotation>").images[0].labels[0].class_token == "é"


def test_a_billion_laughs_are_refused_at_once() -> None:
    lines = ["<!DOCTYPE annotation [", '<!ENTITY lol0 "lol">']
    lines += [f'<!ENTITY lol{n} "{f"&lol{n - 1};" * 10}">' for n in range(1, 10)]
    lines += ["]>", "<annotation><filename>&lol9;</filename></annotation>"]
    with pytest.raises(BadFile, match="declares entities") as caught:
        parse_voc("\n".join(lines))
    assert caught.value.line == 2


def test_external_entities_are_not_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    declared = f'<!DOCTYPE annotation [<!ENTITY x SYSTEM "{secret.as_uri()}">]>'
    with pytest.raises(BadFile, match="declares entities"):
        parse_voc(f"{declared}<annotation><filename>&x;</filename></annotation>")
    outside = f'<!DOCTYPE annotation SYSTEM "{secret.as_uri()}">'
    with pytest.raises(BadFile, match="undefined entity"):
        parse_voc(f"{outside}<annotation><filename>&x;</filename></annotation>")
    # A document type alone does no harm, nor do the words in a comment.
    assert parse_voc(f"{outside}<annotation/>").images == [RawImage("")]
    assert parse_voc("<annotation><!-- <!ENTITY --></annotation>").images == [RawImage("")]


def test_deep_nesting() -> None:
    depth = 50_000
    image = read("<object>" * depth + "</object>" * depth)
    assert len(image.problems) == depth


@pytest.mark.parametrize(
    ("head", "evidence"),
    [
        (LABELIMG, "<annotation> with <object> and <bndbox>"),
        (LABELIMG[:260], "<annotation> with <filename> and <size>"),
        (
            "<?xml version='1.0'?>\n<!-- a\n-->" + LABELIMG,
            "<annotation> with <object> and <bndbox>",
        ),
        ('\ufeff<!DOCTYPE annotation SYSTEM "a.dtd">' + LABELIMG[:260], "<annotation> with <f"),
        (LABELIMG.replace("bndbox", "robndbox"), "<annotation> with <object> and <robndbox>"),
        ("<annotation><!-- <object><bndbox> --></annotation>", ""),
        (LABELIMG.replace("annotation", "annotations"), ""),
        ("<html><annotation><object><bndbox></html>", ""),
        ("", ""),
        ('{"annotation": 1}', ""),
        ("<", ""),
    ],
)
def test_detect(head: str, evidence: str) -> None:
    found = detect_voc(head)
    assert found.startswith(evidence)
    assert bool(found) == bool(evidence)


def coco_boxes(path: Path) -> dict[str, list[tuple[str, tuple[float, ...]]]]:
    """Return by image the classes and corners of a COCO file."""
    content = json.loads(path.read_text())
    names = {c["id"]: c["name"] for c in content["categories"]}
    files = {i["id"]: i["file_name"] for i in content["images"]}
    boxes: dict[str, list[tuple[str, tuple[float, ...]]]] = {name: [] for name in files.values()}
    for a in content["annotations"]:
        x, y, w, h = a["bbox"]
        boxes[files[a["image_id"]]].append((names[a["category_id"]], (x, y, x + w, y + h)))
    return {name: sorted(found) for name, found in boxes.items()}


def sorted_boxes(images: Sequence[RawImage]) -> dict[str, list[tuple[str, tuple[float, ...]]]]:
    return {i.name: sorted((x.class_token, x.xyxy) for x in i.labels) for i in images}


@pytest.mark.benchmark_data
@pytest.mark.parametrize("folder", ["pascalvoc_format", "imagenet_format/Annotations"])
def test_real_files_say_the_same_boxes_as_coco(shared_data: Path, folder: str) -> None:
    """Equal to the hundredth: no pixel's offset lies between these formats."""
    gts = shared_data / "label_formats" / "gts"
    images = []
    for path in sorted((gts / folder).glob("*.xml")):
        text = path.read_text()
        assert detect_voc(text[:4000])
        document = parse_voc(text)
        images += document.images
        lines = text.split("\n")
        for label in document.images[0].labels:
            assert lines[label.line - 1].strip() == "<object>"
            assert lines[label.line].strip() == f"<name>{label.class_token}</name>"
    assert len(images) == 100
    assert sum(len(image.labels) for image in images) == 273
    assert all(image.problems == [] and image.size for image in images)
    assert sorted_boxes(images) == coco_boxes(gts / "coco_format_v1/instances_default.json")


@pytest.mark.benchmark_data
def test_blood_cells(shared_data: Path) -> None:
    documents = [parse_voc(p.read_text()) for p in (shared_data / "bccd").rglob("*.xml")]
    images = [image for document in documents for image in document.images]
    assert len(images) == 364
    assert sum(len(image.labels) for image in images) == 4888
    assert sum(len(image.problems) for image in images) == 0
    assert {x.class_token for i in images for x in i.labels} == {"RBC", "WBC", "Platelets"}
    assert {image.size for image in images} == {(640, 480)}
