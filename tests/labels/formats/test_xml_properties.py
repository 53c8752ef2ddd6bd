"""Broken XML of every kind: nothing but BadFile is raised, and no object is lost in silence.

Expat alone, without the tree that the parsers read, says which objects there are and where.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from xml.parsers import expat

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_cvat import IMAGES, VIDEO
from test_voc import LABELIMG, box

from detfinetune.labels.formats.raw_labels import BadFile, Document, RawLabel, RawProblem
from detfinetune.labels.formats.xml.cvat import detect_cvat, parse_cvat
from detfinetune.labels.formats.xml.voc import detect_voc, parse_voc

ROBOFLOW = f"""<?xml version="1.0"?>
<annotation xmlns:r="urn:r"><filename>a.jpg</filename><size><width>9</width>
<height>9</height></size>
<r:object><name>a</name><polygon><x1>1</x1><y1>2</y1><x2>9</x2><y2>8</y2><x3>1</x3><y3>7</y3>
</polygon>{box()}</r:object>
<object><robndbox><cx>1</cx><cy>2</cy><w>3</w><h>4</h><angle>0.5</angle></robndbox></object>
<object><name>b</name><part><name>c</name>{box()}</part>{box()}</object><!-- <object> -->
</annotation>
"""
MASKS = """<annotations><meta/><image name="a.jpg" width="8" height="6">
<mask label="a" rle="1, 2, 3, 4, 2" left="2" top="1" width="4" height="3"/>
<ellipse label="b" cx="4" cy="3" rx="2" ry="1.5" rotation="30"/>
<box label="c" xtl="1" ytl="2" xbr="3" ybr="4" rotation="12.5">
<attribute name="x">1</attribute></box>
<polygon label="d" points="1,2;3,4;5,1" outside="1"/><cuboid/><tag label="e"/>
</image><image name="b.jpg"><points points="1,2"/></image></annotations>
"""
WORDS = (
    *("nan", "-inf", "1e999", "", " ", "-5", "0", "1e308", "12,5", "99999999999999999999", "car"),
    *("0x10", "\u0663", "1_0", "<object/>", "<box/>", "<image>", "&amp;", "&x;", "<!--", "]]>"),
    *("<![CDATA[<object>]]>", "<!-- <object><box> -->", "\0", "\ud800", "\r", "\x0b", '"'),
    *("<!DOCTYPE annotation>", '<!DOCTYPE a [<!ENTITY x "<object/>">]>', ' xmlns="urn:x"'),
)
SHAPES = ("box", "polygon", "mask", "ellipse", "polyline", "points", "cuboid", "skeleton")
Edit = tuple[str, float, float, str]


def delete(text: str, a: int, b: int, _: str) -> str:
    return text[:a] + text[b:]


def double(text: str, a: int, b: int, _: str) -> str:
    return text[:b] + text[a:]


def swap(text: str, a: int, b: int, _: str) -> str:
    return text[:a] + text[b : b + 9] + text[a + 9 : b] + text[a : a + 9] + text[b + 9 :]


def insert(text: str, a: int, _: int, word: str) -> str:
    return text[:a] + word + text[a:]


def replace_number(text: str, a: int, _: int, word: str) -> str:
    return text[:a] + re.sub(r"-?\d+([.,]\d+)?", lambda _: word, text[a:], count=1)


def replace_value(text: str, a: int, _: int, word: str) -> str:
    """Put a word into the next attribute or text, so that the file stays well-formed."""
    word = re.sub(r'[<&"\0\ud800\x0b]', "", word)
    return text[:a] + re.sub(
        r'(?<==")[^"<]*(?=")|(?<=>)[^<>]+(?=</)', lambda _: word, text[a:], count=1
    )


def drop_tag(text: str, a: int, _: int, __: str) -> str:
    return text[:a] + re.sub(r"<[^<>]*>", "", text[a:], count=1)


def drop_attribute(text: str, a: int, _: int, __: str) -> str:
    return text[:a] + re.sub(r' [\w:]+="[^"]*"', "", text[a:], count=1)


def drop_element(text: str, a: int, _: int, __: str) -> str:
    return text[:a] + re.sub(r"<(\w+)[^<>]*(/>|>.*?</\1>)", "", text[a:], count=1, flags=re.S)


def unwrap_element(text: str, a: int, _: int, __: str) -> str:
    """Take away a start tag and its end tag, so that its children come into its place."""
    pattern = re.compile(r"<(\w+)(?:\s[^<>]*)?(?<!/)>(.*?)</\1>", re.DOTALL)
    return text[:a] + pattern.sub(lambda m: m[2], text[a:], count=1)


def repeat_element(text: str, a: int, b: int, _: str) -> str:
    found = re.compile(r"<(\w+)[^<>]*(/>|>.*?</\1>)", re.DOTALL).search(text, a)
    return text if found is None else text[: found.end()] + found[0] + text[found.end() :]


EDITS = {
    f.__name__: f
    for f in (
        *(delete, double, swap, insert, replace_number, replace_value, drop_tag),
        *(drop_attribute, drop_element, unwrap_element, repeat_element),
    )
}
# Most are such that what comes out is still XML, or nothing but its refusal would be tested.
GENTLE = ("replace_value", "drop_attribute", "drop_element", "unwrap_element", "repeat_element")


def broken(*files: str) -> st.SearchStrategy[str]:
    """Return files after one to five edits at any place."""
    share = st.floats(0, 1, exclude_max=True)
    gentle = st.tuples(
        st.sampled_from((*GENTLE, "replace_number")), share, share, st.sampled_from(WORDS)
    )
    harsh = st.tuples(st.sampled_from(sorted(EDITS)), share, share, st.sampled_from(WORDS))
    edits = st.one_of(
        st.lists(gentle, min_size=1, max_size=5), st.lists(harsh, min_size=1, max_size=3)
    )
    return st.builds(apply, st.sampled_from(files), edits)


def apply(text: str, edits: list[Edit]) -> str:
    for name, first, second, word in edits:
        a = int(first * len(text))
        # Spans of up to sixty characters: longer ones leave little of the file.
        text = EDITS[name](text, a, a + 1 + int(second * 60), word)
    return text


def scraps(*words: str) -> st.SearchStrategy[str]:
    """Return texts put together of pieces of XML, and texts of any characters."""
    pieces = st.lists(st.sampled_from((*words, *WORDS, "<", ">", "/", "=", "\n", "a")), max_size=12)
    return st.one_of(st.text(max_size=40), st.builds("".join, pieces))


@dataclass(frozen=True)
class Tag:
    """A start tag as expat reports it, without its namespace."""

    name: str
    parent: str
    line: int
    outside: bool


def start_tags(text: str) -> list[Tag] | None:
    """Return every element of well-formed XML that declares no entities; None for other text."""
    # A form feed, which no XML may hold, between namespace and name.
    parser = expat.ParserCreate(namespace_separator="\f")
    tags: list[Tag] = []
    open_names = [""]

    def start(name: str, attributes: dict[str, str]) -> None:
        name = name.rpartition("\f")[2]
        outside = attributes.get("outside", "").strip().lower() in ("1", "true")
        tags.append(Tag(name, open_names[-1], parser.CurrentLineNumber, outside))
        open_names.append(name)

    entities: list[object] = []
    parser.EntityDeclHandler = lambda *declared: entities.append(declared)
    parser.StartElementHandler = start
    parser.EndElementHandler = lambda _: open_names.pop()
    try:
        parser.Parse(text, True)
    except (expat.ExpatError, UnicodeEncodeError):
        return None
    return None if entities else tags


def is_voc_object(tag: Tag) -> bool:
    return tag.name == "object"


def is_cvat_object(tag: Tag) -> bool:
    if tag.parent in ("image", "track"):
        gone = tag.outside and tag.parent == "track"
        return tag.name not in ("tag", "attribute", "image", "track") and not gone
    return tag.name in SHAPES and tag.parent != "skeleton" and not tag.outside


def check(
    text: str, parse: Callable[[str], Document], is_object: Callable[[Tag], bool], root: str
) -> bool:
    """Whether `text` could be read; fails where it is read, or refused, wrongly."""
    tags = start_tags(text)
    if tags is None or tags[0].name != root:
        with pytest.raises(BadFile) as caught:
            parse(text)
        assert caught.value.line <= text.count("\n") + text.count("\r") + 1
        return False
    document = parse(text)
    labels = [label for image in document.images for label in image.labels]
    problems = [problem for image in document.images for problem in image.problems]
    problems += document.problems
    lines = sorted(item.line for item in (*labels, *problems))
    # As many as there are, and each on its own line.
    assert lines == sorted(tag.line for tag in tags if is_object(tag))
    check_each(labels, problems)
    return True


def check_each(labels: list[RawLabel], problems: list[RawProblem]) -> None:
    for item in (*labels, *problems):
        assert len(item.text) <= 120
        assert "\n" not in item.text
    for label in labels:
        outlines = [value for polygon in label.polygons for value in polygon]
        assert all(map(math.isfinite, (*label.xyxy, *outlines)))
        assert all(len(polygon) >= 6 and len(polygon) % 2 == 0 for polygon in label.polygons)
        if label.mask is not None:
            assert sum(label.mask.counts) == label.mask.size[0] * label.mask.size[1]
    for problem in problems:
        assert problem.kind
        assert problem.reason
        assert "\n" not in problem.reason


THOROUGH = settings(
    max_examples=1500,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
BRIEF = settings(THOROUGH, max_examples=500)


def test_broken_voc_files() -> None:
    read = []

    @THOROUGH
    @given(broken(LABELIMG, ROBOFLOW))
    def every_object_is_accounted_for(text: str) -> None:
        read.append(check(text, parse_voc, is_voc_object, "annotation"))

    every_object_is_accounted_for()
    assert len(read) >= 1500
    # Both outcomes are common, so that neither property holds for want of examples.
    assert 300 < sum(read) < len(read) - 100


def test_broken_cvat_files() -> None:
    read = []

    @THOROUGH
    @given(broken(IMAGES, VIDEO, MASKS))
    def every_object_is_accounted_for(text: str) -> None:
        read.append(check(text, parse_cvat, is_cvat_object, "annotations"))

    every_object_is_accounted_for()
    assert len(read) >= 1500
    assert 300 < sum(read) < len(read) - 100


@BRIEF
@given(scraps("<annotation>", "</annotation>", "<object>", "</object>", "<object/>", box()))
def test_scraps_as_voc(text: str) -> None:
    check(text, parse_voc, is_voc_object, "annotation")
    check(f"<annotation>{text}</annotation>", parse_voc, is_voc_object, "annotation")
    assert detect_voc(text) in ("", detect_voc(f" {text} "))


@BRIEF
@given(
    scraps("<annotations>", "</annotations>", "<image name='a'>", "</image>", "<box/>", "<mask/>")
)
def test_scraps_as_cvat(text: str) -> None:
    check(text, parse_cvat, is_cvat_object, "annotations")
    check(f"<annotations>{text}</annotations>", parse_cvat, is_cvat_object, "annotations")
    assert detect_cvat(text) in ("", detect_cvat(f" {text} "))
