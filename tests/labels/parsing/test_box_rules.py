"""Geometry: exact figures on boxes and outlines made by hand, in an image of 100x80 pixels."""

from __future__ import annotations

import pytest

from detfinetune.labels.formats.raw_labels import BadLabel
from detfinetune.labels.parsing.box_rules import check_box, check_polygon, polygon_area

Four = tuple[float, float, float, float]


@pytest.mark.parametrize(
    ("xyxy", "bbox", "kinds"),
    [
        ((10, 20, 30, 50), (10, 20, 20, 30), []),
        ((0, 0, 100, 80), (0, 0, 100, 80), []),
        ((-0.4, -0.4, 100.4, 80.4), (0, 0, 100, 80), []),  # rounding, no fix
        ((-0.5, 10, 20, 20), (0, 10, 20, 10), ["clipped"]),
        ((90, 70, 120, 90), (90, 70, 10, 10), ["clipped"]),
        ((30, 50, 10, 20), (10, 20, 20, 30), ["swapped corners"]),
        ((30, 20, 10, 50), (10, 20, 20, 30), ["swapped corners"]),
        ((120, 20, 90, 50), (90, 20, 10, 30), ["swapped corners", "clipped"]),
        ((10.1234567, 20, 30, 50), (10.123, 20, 19.877, 30), []),
    ],
)
def test_box(xyxy: Four, bbox: Four, kinds: list[str]) -> None:
    checked = check_box(xyxy, 100, 80)
    assert checked.bbox == bbox
    assert [kind for kind, _ in checked.fixes] == kinds


@pytest.mark.parametrize(
    ("xyxy", "sized", "kind"),
    [
        ((10, 20, 10, 50), False, "zero size"),
        ((10, 20, 30, 20), False, "zero size"),
        ((30, 20, 10, 50), True, "negative size"),
        ((100, 20, 130, 50), False, "outside"),
        ((-30, 20, 0, 50), False, "outside"),
        ((10, 80, 30, 90), False, "outside"),
        ((10, -20, 30, -1), False, "outside"),
        ((99.995, 20, 130, 50), False, "zero size"),
    ],
)
def test_box_that_cannot_be_used(xyxy: Four, sized: bool, kind: str) -> None:
    with pytest.raises(BadLabel) as raised:
        check_box(xyxy, 100, 80, sized=sized)
    assert raised.value.kind == kind


def test_polygon_keeps_its_shape_and_its_tight_box() -> None:
    checked = check_polygon((10, 10, 30, 10, 30, 40), 100, 80)
    assert checked.polygons[0] == (10, 10, 30, 10, 30, 40)
    assert checked.bbox == (10, 10, 20, 30)
    assert checked.fixes == ()
    assert polygon_area(checked.polygons[0]) == 300


def test_polygon_is_cut_at_the_edge_and_not_squashed() -> None:
    # A triangle whose tip lies 20 px right of the image: cut, it has four corners.
    checked = check_polygon((80, 10, 120, 30, 80, 50), 100, 80)
    assert checked.bbox == (80, 10, 20, 40)
    assert polygon_area(checked.polygons[0]) == 600  # 800 less the tip of 200
    assert [kind for kind, _ in checked.fixes] == ["clipped"]


@pytest.mark.parametrize(
    ("polygon", "kind"),
    [
        ((10, 10, 30, 10, 10, 10), "zero size"),
        ((10, 10, 20, 10, 30, 10), "zero size"),
        ((10, 10, 20, 20, 30, 30), "zero size"),
        ((110, 10, 120, 10, 120, 30), "outside"),
    ],
)
def test_polygon_that_cannot_be_used(polygon: tuple[float, ...], kind: str) -> None:
    with pytest.raises(BadLabel) as raised:
        check_polygon(polygon, 100, 80)
    assert raised.value.kind == kind


def test_area_does_not_depend_on_the_direction() -> None:
    assert polygon_area((0, 0, 4, 0, 4, 3)) == polygon_area((4, 3, 4, 0, 0, 0)) == 6
