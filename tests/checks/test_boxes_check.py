"""Boxes that were kept and are hardly meant."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from table_cases import (
    CLASSES,
    REAL_SETS,
    Records,
    add,
    by_kind,
    clean_records,
    real_tables,
    tables_of,
    wheres,
)

from detfinetune.checks.findings import Finding
from detfinetune.checks.objects.box_pairs import near_pairs
from detfinetune.checks.objects.boxes import check_boxes
from detfinetune.checks.objects.polygons import check_polygons
from detfinetune.checks.places import MOST_PLACES
from detfinetune.labels.dataset.records import Annotation, Box, RleMask

_SQUARE = (100.0, 100.0, 180.0, 100.0, 180.0, 180.0, 100.0, 180.0)


def findings_of(records: Records) -> dict[str, Finding]:
    tables = tables_of(records)
    return by_kind([*check_boxes(tables, CLASSES), *check_polygons(tables, CLASSES)])


def test_clean_labels_raise_nothing() -> None:
    assert findings_of(clean_records()) == {}


def test_no_labels_raise_nothing() -> None:
    assert check_boxes({}, CLASSES) == []
    assert findings_of(clean_records({"train": 0})) == {}


@pytest.mark.parametrize(
    ("kind", "box"),
    [
        ("thin_box", (300.0, 200.0, 2.0, 90.0)),
        ("thin_box", (300.0, 200.0, 90.0, 2.9)),
        ("tiny_box", (300.0, 200.0, 1.9, 2.0)),
        ("box_covers_image", (1.0, 2.0, 638.0, 477.0)),
    ],
)
def test_one_odd_box_is_found_where_it_is(kind: str, box: Box) -> None:
    records, planted = add(clean_records(), "val", 7, Annotation(1, box))
    finding = findings_of(records)[kind]
    assert wheres(finding) == planted == ["labels/val_007.txt:7"]
    assert finding.severity == "warning"
    place = finding.places[0]
    assert (place.split, place.image, place.box, place.category) == ("val", "val_007.jpg", box, 1)


@pytest.mark.parametrize("box", [(300.0, 200.0, 3.0, 90.0), (300.0, 200.0, 2.0, 15.0)])
def test_small_or_long_alone_is_not_thin(box: Box) -> None:
    records, _ = add(clean_records(), "val", 7, Annotation(1, box))
    assert "thin_box" not in findings_of(records)


def test_a_class_of_wires_may_be_thin() -> None:
    wires = [Annotation(1, (20.0, 20.0 + 9 * i, 150.0 + i, 2.0)) for i in range(30)]
    records = clean_records()
    cats_only = {
        split: [
            replace(r, annotations=tuple(a for a in r.annotations if a.category != 1))
            for r in images
        ]
        for split, images in records.items()
    }
    records, _ = add(cats_only, "train", 0, *wires)
    assert "thin_box" not in findings_of(records)


def test_a_thin_box_at_the_edge_is_called_what_a_crop_left() -> None:
    records, _ = add(clean_records(), "train", 3, Annotation(0, (638.0, 100.0, 2.0, 80.0)))
    finding = findings_of(records)["thin_box"]
    assert "left by a crop" in finding.places[0].detail
    assert finding.figures["at_edge"] == 1


def test_boxes_that_cover_every_image_are_noted() -> None:
    records = {
        split: [
            replace(r, annotations=(Annotation(0, (0.0, 0.0, 640.0, 480.0), line=1),))
            for r in images
        ]
        for split, images in clean_records({"train": 12}).items()
    }
    finding = findings_of(records)["box_covers_image"]
    assert (finding.severity, len(finding.places)) == ("note", 12)


def test_a_class_of_all_sizes_may_fill_the_image() -> None:
    generator = np.random.default_rng(2)
    images = [
        replace(
            r,
            annotations=tuple(
                replace(a, bbox=(1.0, 1.0, *(np.array((630, 470)) * scale).tolist()))
                for a, scale in zip(
                    r.annotations, np.exp(generator.uniform(-3, 0, 6)).tolist(), strict=True
                )
            ),
        )
        for r in clean_records({"train": 30})["train"]
    ]
    records, planted = add({"train": images}, "train", 7, Annotation(1, (0.0, 0.0, 640.0, 480.0)))
    finding = findings_of(records)["box_covers_image"]
    assert (finding.severity, wheres(finding)) == ("note", planted)


def test_an_object_labelled_twice_names_both_lines() -> None:
    records = clean_records()
    x, y, w, h = records["train"][5].annotations[2].bbox
    duplicate = Annotation(records["train"][5].annotations[2].category, (x + 0.5, y, w, h))
    records, planted = add(records, "train", 5, duplicate)
    finding = findings_of(records)["near_duplicate_box"]
    assert wheres(finding) == planted == ["labels/train_005.txt:7"]
    other = finding.places[0].other
    assert other is not None
    assert other.where == "labels/train_005.txt:3"
    assert finding.figures["pairs"] == 1


def test_one_box_under_two_classes() -> None:
    records = clean_records()
    original = records["train"][5].annotations[2]
    duplicate = Annotation((original.category + 1) % 3, original.bbox)
    records, planted = add(records, "train", 5, duplicate)
    finding = findings_of(records)["same_box_two_classes"]
    assert wheres(finding) == planted
    names = sorted((CLASSES[original.category], CLASSES[duplicate.category]), key=CLASSES.index)
    assert finding.figures["by_classes"] == {" / ".join(names): 1}
    assert "subclass" not in finding.advice


def test_a_class_that_is_a_kind_of_another_is_said_so() -> None:
    records = clean_records({"train": 40})
    for image, record in enumerate(list(records["train"])):
        doubles = [replace(a, category=1) for a in record.annotations if a.category == 0]
        records, _ = add(records, "train", image, *doubles)
    finding = findings_of(records)["same_box_two_classes"]
    assert "cat / dog: so many coincide" in finding.advice


def test_pairs_equal_those_of_every_box_against_every_other() -> None:
    generator = np.random.default_rng(3)
    boxes = generator.integers(1, 6, (400, 4)).astype(float)
    images = generator.integers(0, 4, 400)
    ignored = generator.random(400) < 0.1
    pairs, ious = near_pairs(boxes, images, ignored, threshold=0.7)
    expected = []
    for i in range(400):
        for j in range(i + 1, 400):
            if images[i] != images[j] or ignored[i] or ignored[j]:
                continue
            (ax, ay, aw, ah), (bx, by, bw, bh) = boxes[i], boxes[j]
            iw = max(min(ax + aw, bx + bw) - max(ax, bx), 0)
            ih = max(min(ay + ah, by + bh) - max(ay, by), 0)
            iou = iw * ih / (aw * ah + bw * bh - iw * ih)
            if iou >= 0.7:
                expected.append((i, j, iou))
    assert len(expected) > 50
    assert pairs.tolist() == [[i, j] for i, j, _ in expected]
    assert ious == pytest.approx([iou for _, _, iou in expected])


def test_labels_cut_at_right_and_bottom_only_belong_to_a_larger_image() -> None:
    records = clean_records({"train": 60})
    cut = []
    for image in range(0, 40, 2):
        right = Annotation(0, (600.0, 180.0 + image, 40.0, 60.0))
        below = Annotation(1, (200.0 + image, 430.0, 60.0, 50.0))
        records, places = add(records, "train", image, right, below)
        cut += places
    finding = findings_of(records)["boxes_at_edge"]
    assert set(cut) <= set(wheres(finding))
    assert "at the right" in finding.title
    assert "but not at the left" in finding.title
    assert (finding.figures["right"], finding.figures["bottom"]) == (20, 20)


def test_far_more_boxes_at_the_edges_than_chance_puts_there() -> None:
    records = clean_records({"train": 60})
    for image in range(60):
        glued = [Annotation(0, (0.0, 60.0 * i, 30.0, 50.0)) for i in range(5)] + [
            Annotation(1, (610.0, 60.0 * i, 30.0, 50.0)) for i in range(5)
        ]
        records, _ = add(records, "train", image, *glued)
    finding = findings_of(records)["boxes_at_edge"]
    assert finding.figures["objects"] >= 600
    assert finding.figures["share"] > 1.5 * finding.figures["expected_share"]


def test_a_polygon_of_another_place_than_its_box() -> None:
    good = Annotation(0, (100.0, 100.0, 80.0, 80.0), (_SQUARE,))
    half_size = replace(good, bbox=(50.0, 50.0, 40.0, 40.0))
    records, planted = add(clean_records(), "train", 2, good, half_size)
    finding = findings_of(records)["polygon_box_mismatch"]
    assert wheres(finding) == planted[1:] == ["labels/train_002.txt:8"]
    assert "90 px off" in finding.places[0].detail


def test_a_mask_of_another_place_than_its_box() -> None:
    # 480 pixels a column: columns 100 to 179, rows 100 to 179.
    counts = (100 * 480 + 100, *((80, 400) * 79), 80, 640 * 480 - 179 * 480 - 180)
    assert sum(counts) == 640 * 480
    good = Annotation(0, (100.0, 100.0, 80.0, 80.0), mask=RleMask((480, 640), counts))
    records, planted = add(
        clean_records(), "train", 2, good, replace(good, category=1, bbox=(300.0, 99.0, 80.0, 80.0))
    )
    finding = findings_of(records)["polygon_box_mismatch"]
    assert wheres(finding) == planted[1:]
    assert "200 px off" in finding.places[0].detail


def test_a_polygon_that_fills_hardly_any_or_too_much_of_its_box() -> None:
    sliver = (100.0, 100.0, 180.0, 178.0, 180.0, 180.0, 100.0, 101.0)
    good = Annotation(0, (100.0, 100.0, 80.0, 80.0), (_SQUARE,))
    records, planted = add(
        clean_records(), "train", 2, good,
        replace(good, category=1, polygons=(sliver,)),
        replace(good, category=2, polygons=(_SQUARE, _SQUARE)),
    )  # fmt: skip
    finding = findings_of(records)["polygon_fill"]
    assert wheres(finding) == planted[1:]
    assert [place.detail for place in finding.places] == [
        "dog: fills 1.9 % of its box", "horse: fills 200 % of its box",
    ]  # fmt: skip


def test_a_polygon_that_crosses_itself_but_not_one_that_touches_itself() -> None:
    crossing = (100.0, 100.0, 180.0, 180.0, 180.0, 100.0, 100.0, 170.0)
    touching = (100.0, 100.0, 140.0, 140.0, 180.0, 100.0, 180.0, 180.0, 140.0, 140.0, 100.0, 180.0)
    records, planted = add(
        clean_records(), "val", 4,
        Annotation(0, (100.0, 100.0, 80.0, 80.0), (_SQUARE,)),
        Annotation(1, (100.0, 100.0, 80.0, 80.0), (crossing,)),
        Annotation(2, (100.0, 100.0, 80.0, 80.0), (touching,)),
    )  # fmt: skip
    finding = findings_of(records)["self_intersecting_polygon"]
    assert wheres(finding) == planted[1:2]
    assert finding.figures == {"objects": 1, "touching_only": 1}
    assert "self-intersection" in finding.places[0].detail


def test_crowds_are_noted_and_left_out_of_other_checks() -> None:
    crowd = Annotation(0, (0.0, 0.0, 640.0, 480.0), crowd=True)
    records, planted = add(clean_records(), "train", 9, crowd)
    found = findings_of(records)
    assert list(found) == ["crowd_regions"]
    assert wheres(found["crowd_regions"]) == planted
    assert found["crowd_regions"].severity == "note"


def test_mostly_crowds_is_a_warning() -> None:
    records = clean_records({"train": 5})
    for image in range(5):
        boxes = [(float(10 * i), 0.0, 100.0, 50.0) for i in range(8)]
        records, _ = add(
            records, "train", image, *(Annotation(0, box, crowd=True) for box in boxes)
        )
    assert findings_of(records)["crowd_regions"].severity == "warning"


def test_places_are_capped_but_counted() -> None:
    tiny = [
        Annotation(0, (float(i % 600), float(i // 600), 1.0, 1.0)) for i in range(MOST_PLACES + 5)
    ]
    records, _ = add(clean_records(), "train", 0, *tiny)
    finding = findings_of(records)["tiny_box"]
    assert len(finding.places) == MOST_PLACES
    assert finding.figures["objects"] == MOST_PLACES + 5
    assert finding.title.startswith("10,005 boxes have")


@pytest.mark.benchmark_data
@pytest.mark.parametrize("name", REAL_SETS)
def test_real_sets(shared_data: Path, name: str) -> None:
    found = by_kind(check_boxes(*real_tables(shared_data / name)))
    # One airplane cut off by a tile's edge: 23x2 px.
    assert set(found) == ({"thin_box"} if name == "airport" else set())
    if found:
        assert found["thin_box"].figures == {"objects": 1, "at_edge": 1, "below_px": 3.0}
