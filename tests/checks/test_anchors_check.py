"""Boxes against anchors and input size."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

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

from detfinetune.checks.anchor_fit import AnchorSettings, best_ious, cell_anchors, resize_scales
from detfinetune.checks.anchors import check_anchors
from detfinetune.checks.findings import Finding
from detfinetune.labels.dataset.records import Annotation

SETTINGS = AnchorSettings(480, 800, (32, 64, 128, 256, 512))


def findings_of(records: Records, **changed: Any) -> dict[str, Finding]:
    return by_kind(check_anchors(tables_of(records), CLASSES, replace(SETTINGS, **changed)))


def shrunk(records: Records, factor: float) -> Records:
    return {
        split: [
            replace(
                r,
                annotations=tuple(
                    replace(a, bbox=(*a.bbox[:2], a.bbox[2] * factor, a.bbox[3] * factor))
                    for a in r.annotations
                ),
            )
            for r in images
        ]
        for split, images in records.items()
    }


def test_objects_that_anchors_fit_raise_nothing() -> None:
    assert findings_of(clean_records()) == {}
    assert check_anchors({}, CLASSES, SETTINGS) == []


def test_small_objects_are_named_smallest_first_with_the_size_that_helps() -> None:
    records, planted = add(
        shrunk(clean_records(), 0.15), "train", 5, Annotation(1, (300.0, 300.0, 2.0, 2.0))
    )
    finding = findings_of(records)["small_after_resizing"]
    assert finding.severity == "note"
    assert wheres(finding)[0] == planted[0] == "labels/train_005.txt:7"
    assert finding.places[0].detail == "dog: 2.0 px after resizing"
    sides = [(a.bbox[2] * a.bbox[3]) ** 0.5 for r in records["train"] for a in r.annotations]
    assert finding.figures["objects"] == sum(side < 8 for side in sides) == len(finding.places)
    median = float(np.median(sides))
    assert finding.figures["median_px"] == pytest.approx(median, abs=0.005)
    # In steps of 32 px, the first at which the median object has 16 px.
    size = finding.figures["image_size_suggested"]
    assert size % 32 == 0
    assert 16 <= median * size / 480 < 16 + median * 32 / 480
    assert f"augment.image_size={size} augment.max_size=" in finding.advice


def test_mostly_small_objects_are_a_warning() -> None:
    records = shrunk(clean_records(), 0.1)
    assert findings_of(records)["small_after_resizing"].severity == "warning"
    assert "small_after_resizing" not in findings_of(records, image_size=960, max_size=1600)


def test_only_training_objects_count() -> None:
    records = clean_records()
    records["val"] = shrunk(records, 0.1)["val"]
    assert findings_of(records) == {}


def test_long_objects_get_aspect_ratios_that_fit() -> None:
    records = {
        split: [
            replace(
                r,
                annotations=tuple(
                    replace(a, bbox=(a.bbox[0], 20.0 + n * 70, 20.0 + n, 160.0))
                    for n, a in enumerate(r.annotations[:4])
                ),
            )
            for r in images
        ]
        for split, images in clean_records().items()
    }
    finding = findings_of(records)["anchor_recall"]
    assert finding.severity == "warning"
    assert finding.figures["recall"] == 0
    assert len(finding.places) == 240
    assert "model.anchor_ratios=[0.13,1,8]: those" in finding.advice
    ratios = finding.figures["aspect_ratios_suggested"]
    sizes = finding.figures["anchor_sizes_suggested"]
    assert finding.figures["suggested_recall"] > 0.95
    assert findings_of(records, anchor_sizes=sizes, aspect_ratios=ratios) == {}


def test_anchors_too_large_get_sizes_that_fit() -> None:
    finding = findings_of(clean_records(), anchor_sizes=(128, 256, 512, 512, 512))["anchor_recall"]
    assert "anchor_ratios" not in finding.advice
    suggested = finding.figures["anchor_sizes_suggested"]
    assert findings_of(clean_records(), anchor_sizes=suggested) == {}


def test_the_worst_fit_comes_first() -> None:
    records, planted = add(clean_records(), "train", 5, Annotation(1, (300.0, 300.0, 1.0, 100.0)))
    finding = findings_of(records, anchor_sizes=(16, 16, 16, 16, 200))["anchor_recall"]
    assert wheres(finding)[0] == planted[0]


def test_several_sizes_a_level_and_a_single_level_are_taken() -> None:
    octave = [[size * 2 ** (step / 3) for step in range(3)] for size in (32, 64, 128, 256, 512)]
    assert findings_of(clean_records(), anchor_sizes=octave, strides=(8, 16, 32, 64, 128)) == {}
    assert findings_of(clean_records(), strides=(16,) * 5) == {}
    with pytest.raises(ValueError, match="argument 2 is longer"):
        findings_of(clean_records(), anchor_sizes=(32, 64))


def test_best_iou_equals_a_search_over_all_positions() -> None:
    generator = np.random.default_rng(5)
    size = (150, 110)
    corner = generator.uniform(0, (120, 80), (60, 2))
    sides = np.minimum(generator.uniform(2, 90, (60, 2)), np.array(size) - corner)
    boxes = np.concatenate([corner, sides], axis=1)
    anchors = cell_anchors(AnchorSettings(0, 0, (12, [24, 60]), strides=(8, 32)))
    assert len(anchors) == 9
    expected = np.zeros(60)
    for width, height, stride in anchors:
        for cx in np.arange(0, size[0], stride):
            for cy in np.arange(0, size[1], stride):
                for i, (x, y, w, h) in enumerate(boxes):
                    iw = min(x + w, cx + width / 2) - max(x, cx - width / 2)
                    ih = min(y + h, cy + height / 2) - max(y, cy - height / 2)
                    shared = max(iw, 0) * max(ih, 0)
                    expected[i] = max(expected[i], shared / (w * h + width * height - shared))
    images = np.tile(np.array(size, dtype=float), (60, 1))
    assert best_ious(boxes, images, anchors) == pytest.approx(expected)


def test_sizes_and_anchors_are_those_of_training() -> None:
    pytest.importorskip("detectron2")
    from detectron2.modeling.anchor_generator import DefaultAnchorGenerator

    from detfinetune.data.resize import ResizeShortestEdge

    sizes = np.array([[640, 480], [480, 640], [600, 600], [1999, 333], [37, 1001], [20_000, 10]])
    scaled = sizes * resize_scales(sizes, AnchorSettings(320, 533, ()))
    for (width, height), ours in zip(sizes.tolist(), scaled.tolist(), strict=True):
        image = np.zeros((height, width, 3), dtype=np.uint8)
        resize = ResizeShortestEdge(320, 533).get_transform(image)
        assert ours == pytest.approx((resize.new_w, resize.new_h))
    generator = DefaultAnchorGenerator(
        sizes=[[32], [64]], aspect_ratios=[[0.5, 1.0, 2.0]], strides=[4, 8]
    )
    theirs = [
        (x2 - x1, y2 - y1, stride)
        for cell, stride in zip(generator.cell_anchors, (4, 8), strict=True)
        for x1, y1, x2, y2 in cell.tolist()
    ]
    ours = cell_anchors(AnchorSettings(0, 0, (32, 64), strides=(4, 8)))
    assert ours == pytest.approx(np.array(theirs), abs=1e-3)


@pytest.mark.benchmark_data
@pytest.mark.parametrize(
    ("name", "image_size", "first"),
    [("airport", 864, 16), ("bccd", 320, 32), ("deeppcb", 576, 32), ("chess", 352, 16)],
)
def test_real_sets_at_the_sizes_that_the_recipe_chooses_for_them(
    shared_data: Path, name: str, image_size: int, first: int
) -> None:
    assert name in REAL_SETS
    sizes = [first * 2**level for level in range(5)]
    tables, classes = real_tables(shared_data / name)
    anchors = AnchorSettings(image_size, image_size * 5 // 3, sizes)
    assert check_anchors(tables, classes, anchors) == []


@pytest.mark.benchmark_data
def test_airplanes_are_small_in_small_images(shared_data: Path) -> None:
    tables, classes = real_tables(shared_data / "airport")
    anchors = AnchorSettings(320, 533, (32, 64, 128, 256, 512))
    found = by_kind(check_anchors(tables, classes, anchors))
    assert found["small_after_resizing"].figures["share"] == 0.2248
    assert found["anchor_recall"].severity == "warning"
