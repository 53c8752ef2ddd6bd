"""DOTA's lines: four corners, a class that may hold anything, and a mark that may be missing."""

from __future__ import annotations

import pytest

from detfinetune.labels.formats.lines.dota import detect_dota, is_dota_header, parse_dota_line
from detfinetune.labels.formats.raw_labels import BadLabel, RawLabel

CORNERS = "10.0 20.5 30 22 28 40 8 38.5"
POINTS = (10.0, 20.5, 30.0, 22.0, 28.0, 40.0, 8.0, 38.5)


@pytest.mark.parametrize(
    ("rest", "name"),
    [
        ("plane 0", "plane"),
        ("small-vehicle 1", "small-vehicle"),
        ("ground track field 2", "ground track field"),
        ("plane", "plane"),
        ("ground track field", "ground track field"),
        ("3 1", "3"),
        ("3", "3"),
        ("container  crane\t0 ", "container  crane"),
    ],
)
def test_classes(rest: str, name: str) -> None:
    assert parse_dota_line(f"{CORNERS} {rest}") == RawLabel(
        name, (8.0, 20.5, 30.0, 40.0), polygons=(POINTS,), has_box=False
    )


def test_commas_part_values_too() -> None:
    label = parse_dota_line("10.0,20.5, 30,22,28,40,8,38.5,small vehicle,1")
    assert (label.class_token, label.polygons) == ("small vehicle", (POINTS,))


@pytest.mark.parametrize("mark", ["", ",", ";"])
def test_decimal_commas(mark: str) -> None:
    numbers = "10,0 20,5 30 22 28 40 8 38,5".replace(" ", f"{mark} ")
    label = parse_dota_line(f"{numbers}{mark} small vehicle 0")
    assert (label.class_token, label.polygons) == ("small vehicle", (POINTS,))


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("", "too few columns"),
        ("1 2 3 4 plane 0", "too few columns"),
        (CORNERS, "too few columns"),
        ("1 2 3 4 5 6 7 plane 0", "not a number"),
        ("1 2 3 4 5 6 7 nan plane 0", "not finite"),
        ("1 2 3 4 5 6 7 1e999 plane 0", "not finite"),
        (f"{CORNERS} ''", "no class"),
    ],
)
def test_wrong_lines(line: str, kind: str) -> None:
    with pytest.raises(BadLabel) as caught:
        parse_dota_line(line)
    assert caught.value.kind == kind


def test_headers() -> None:
    assert is_dota_header("imagesource:GoogleEarth")
    assert is_dota_header("gsd:0.146343590398")
    assert is_dota_header(" GSD : null")
    assert not is_dota_header(f"{CORNERS} plane 0")
    assert not is_dota_header("gsdx:1")


@pytest.mark.parametrize(
    ("lines", "known"),
    [
        (["imagesource:GoogleEarth", "gsd:0.1"], True),
        ([f"{CORNERS} plane 0", f"{CORNERS} ground track field 0", "junk"], True),
        (["", f"{CORNERS} plane"], True),
        (["0 0.1 0.1 0.2 0.1 0.2 0.2 0.1 0.2"], False),
        ([f"{CORNERS} 3 0"], False),
        (["plane 1 2 3 4"], False),
        ([], False),
        (["", ""], False),
    ],
)
def test_recognition(lines: list[str], known: bool) -> None:
    assert bool(detect_dota(lines)) is known
