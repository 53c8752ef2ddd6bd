"""Outliers in size, shape and number of objects."""

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
from detfinetune.checks.objects.group_statistics import grouped_median, grouped_spread
from detfinetune.checks.objects.outliers import MOST_LISTED, check_outliers
from detfinetune.labels.dataset.records import Annotation


def findings_of(records: Records) -> dict[str, Finding]:
    return by_kind(check_outliers(tables_of(records), CLASSES))


def test_clean_labels_raise_nothing() -> None:
    assert findings_of(clean_records()) == {}
    assert check_outliers({}, CLASSES) == []


@pytest.mark.parametrize(
    ("box", "detail"),
    [
        ((20.0, 20.0, 600.0, 440.0), "times larger than usual"),
        ((20.0, 20.0, 5.0, 5.0), "times smaller than usual"),
    ],
)
def test_an_object_of_another_size(box: tuple[float, float, float, float], detail: str) -> None:
    records, planted = add(clean_records(), "val", 3, Annotation(2, box))
    found = findings_of(records)
    assert set(found) == {"unusual_size"}
    finding = found["unusual_size"]
    assert wheres(finding) == planted == ["labels/val_003.txt:7"]
    assert finding.severity == "note"
    assert detail in finding.places[0].detail
    assert finding.places[0].detail.startswith("horse")


def test_an_object_of_another_shape() -> None:
    records, planted = add(clean_records(), "train", 3, Annotation(2, (20.0, 20.0, 600.0, 6.0)))
    found = findings_of(records)
    assert set(found) == {"unusual_shape"}
    assert wheres(found["unusual_shape"]) == planted
    assert "width / height 1e+02, usually 1" in found["unusual_shape"].places[0].detail


def test_truncated_objects_may_have_any_shape() -> None:
    records, _ = add(clean_records(), "train", 3, Annotation(2, (0.0, 20.0, 600.0, 6.0)))
    assert findings_of(records) == {}


def test_an_image_with_far_more_objects() -> None:
    boxes = [Annotation(i % 3, (9.0 * i, 200.0, 60.0 + i % 9, 60.0)) for i in range(60)]
    records, _ = add(clean_records(), "val", 3, *boxes)
    found = findings_of(records)
    assert set(found) == {"unusual_count"}
    assert wheres(found["unusual_count"]) == ["labels/val_003.txt"]
    assert found["unusual_count"].places[0].detail == "66 objects, usually 6"


def test_an_image_with_far_fewer_objects() -> None:
    records = clean_records({"train": 60})
    for image in range(60):
        boxes = [Annotation(i % 3, (10.0 * i, 200.0, 60.0, 60.0)) for i in range(50)]
        records, _ = add(records, "train", image, *boxes)
    images = list(records["train"])
    images[7] = replace(images[7], annotations=images[7].annotations[:2])
    found = findings_of({"train": images})
    assert wheres(found["unusual_count"]) == ["labels/train_007.txt"]
    assert found["unusual_count"].title == "1 image has far fewer objects than the usual 56."


def test_two_usual_sizes_are_not_outliers() -> None:
    records = clean_records()
    for image in range(0, 60, 2):
        records, _ = add(records, "train", image, Annotation(0, (1.0, 1.0, 638.0, 478.0)))
    assert "unusual_size" not in findings_of(records)


def test_classes_with_few_objects_are_not_checked() -> None:
    records = clean_records({"train": 9})
    records, _ = add(records, "train", 0, Annotation(0, (20.0, 20.0, 600.0, 440.0)))
    assert findings_of(records) == {}


def test_the_farthest_come_first_and_at_most_fifty() -> None:
    records = clean_records({"train": 600})
    for image in range(60):
        side = 4.0 - image / 20
        records, _ = add(records, "train", image, Annotation(0, (20.0, 20.0, side, side)))
    finding = findings_of(records)["unusual_size"]
    assert len(finding.places) == MOST_LISTED
    assert finding.figures["objects"] == 60
    assert wheres(finding)[:2] == ["labels/train_059.txt:7", "labels/train_058.txt:7"]


def test_medians_and_spreads_by_group() -> None:
    values = np.array([1.0, 5.0, 2.0, 10.0, 3.0, 30.0])
    groups = np.array([0, 2, 0, 2, 0, 2])
    medians = grouped_median(values, groups, 4)
    assert medians[[0, 2]].tolist() == [2.0, 10.0]
    assert np.isnan(medians[[1, 3]]).all()
    assert grouped_median(np.array([1.0, 4.0]), np.array([0, 0]), 1).tolist() == [2.5]
    _, spread = grouped_spread(values, groups, 4)
    assert spread[[0, 2]] == pytest.approx([1.4826 * 1, 1.4826 * 5])
    assert np.isnan(grouped_median(np.empty(0), np.empty(0, dtype=int), 2)).all()


@pytest.mark.benchmark_data
@pytest.mark.parametrize("name", REAL_SETS)
def test_real_sets(shared_data: Path, name: str) -> None:
    found = by_kind(check_outliers(*real_tables(shared_data / name)))
    expected = {
        "airport": {"unusual_shape": 1},
        # Thirteen images of which the red cells were not labelled.
        "bccd": {"unusual_size": 1, "unusual_shape": 4, "unusual_count": 13},
        "deeppcb": {"unusual_size": 5, "unusual_shape": 3, "unusual_count": 11},
        "chess": {},
    }[name]
    assert {
        kind: f.figures.get("objects", f.figures.get("images")) for kind, f in found.items()
    } == expected
    assert all(finding.severity == "note" for finding in found.values())
