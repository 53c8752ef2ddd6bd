"""Splits that do not belong together, or are too small to measure with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
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
from detfinetune.checks.splits.sample_statistics import ap_half_width, compare_samples, share_z
from detfinetune.checks.splits.split_findings import check_splits
from detfinetune.labels.dataset.records import Annotation, ImageRecord


def findings_of(records: Records, classes: Sequence[str] = CLASSES) -> dict[str, Finding]:
    return by_kind(check_splits(tables_of(records), classes))


def emptied(record: ImageRecord, label_file: str | None = None) -> ImageRecord:
    label = record.label_file if label_file is None else label_file
    return replace(record, annotations=(), label_file=label)


def without(records: list[ImageRecord], category: int) -> list[ImageRecord]:
    return [
        replace(r, annotations=tuple(a for a in r.annotations if a.category != category))
        for r in records
    ]


def test_clean_splits_raise_nothing() -> None:
    assert findings_of(clean_records({"train": 60, "val": 25, "test": 25})) == {}


def test_a_class_only_outside_training_is_an_error_at_its_objects() -> None:
    records, planted = add(
        clean_records(), "val", 3, *(
            Annotation(3, (40.0 * i, 200.0, 30.0, 30.0)) for i in range(2)
        ),
    )  # fmt: skip
    found = findings_of(records, [*CLASSES, "sheep"])
    finding = found["class_missing_from_train"]
    assert finding.severity == "error"
    assert wheres(finding) == planted == ["labels/val_003.txt:7", "labels/val_003.txt:8"]
    assert finding.figures["objects"] == {"sheep": {"train": 0, "val": 2}}


def test_a_class_missing_from_validation_is_a_warning() -> None:
    records = clean_records({"train": 60, "val": 60})
    finding = findings_of({**records, "val": without(records["val"], 1)})["class_not_evaluated"]
    assert finding.severity == "warning"
    assert finding.figures["classes"] == {"val": ["dog"]}
    assert [(place.split, place.category) for place in finding.places] == [("val", 1)]


def test_a_class_without_any_object_is_not_for_this_check() -> None:
    assert findings_of(clean_records(), [*CLASSES, "sheep"]) == {}


@pytest.mark.parametrize(
    ("images", "best", "worst"), [(10, 12.7, 31.0), (16, 10.0, 24.5), (19, 9.2, 22.5)]
)
def test_a_small_split_says_how_uncertain_ap_is(images: int, best: float, worst: float) -> None:
    finding = findings_of(clean_records({"train": 60, "val": images}))["split_too_small"]
    assert finding.places[0].split == "val"
    assert finding.figures == {
        "objects": 6 * images, "images": images, "half_width_best": best,
        "half_width_worst": worst,
    }  # fmt: skip
    assert f"±{best:.0f} points at best" in finding.title


def test_no_validation_split() -> None:
    found = findings_of(clean_records({"train": 60}))
    assert {kind: f.severity for kind, f in found.items()} == {"no_val_split": "warning"}


@pytest.mark.parametrize("records", [{"val": clean_records()["val"]}, {"train": [], **{
    "val": clean_records()["val"]}}])  # fmt: skip
def test_nothing_to_learn_from(records: Records) -> None:
    assert findings_of(records)["no_training_objects"].severity == "error"


@pytest.mark.parametrize(("split", "severity"), [("val", "error"), ("test", "warning")])
def test_a_split_without_objects(split: str, severity: str) -> None:
    records = clean_records({"train": 60, "val": 25, "test": 25})
    records[split] = [emptied(record) for record in records[split]]
    finding = findings_of(records)["empty_split"]
    assert (finding.severity, finding.places[0].split) == (severity, split)


def test_objects_of_another_size() -> None:
    records = clean_records()
    records["val"] = [
        replace(
            r,
            annotations=tuple(
                replace(a, bbox=(*a.bbox[:2], a.bbox[2] / 3, a.bbox[3] / 3)) for a in r.annotations
            ),
        )
        for r in records["val"]
    ]
    found = findings_of(records)
    assert set(found) == {"split_sizes_differ"}
    finding = found["split_sizes_differ"]
    assert finding.severity == "warning"
    assert finding.places[0].split == "val"
    assert finding.figures["distance"] > 0.9
    assert finding.figures["median_train"] == pytest.approx(
        3 * finding.figures["median_val"], rel=0.1
    )


def test_another_number_of_objects() -> None:
    records = clean_records()
    records["val"] = [replace(r, annotations=r.annotations[:4]) for r in records["val"]]
    found = findings_of(records)
    assert found["split_density_differs"].figures["median_val"] == 4
    assert found["split_density_differs"].figures["median_train"] == 6


def test_another_share_of_negatives() -> None:
    records = clean_records({"train": 100, "val": 60})
    records["val"] = [
        emptied(record) if number % 3 == 0 else record
        for number, record in enumerate(records["val"])
    ]
    found = findings_of(records)
    assert found["split_negatives_differ"].figures == {"train": 0.0, "val": 0.3333}


def test_images_mostly_without_label_file() -> None:
    records = clean_records()
    records["train"] = [
        emptied(record, "") if number > 20 else record
        for number, record in enumerate(records["train"])
    ]
    finding = findings_of(records)["split_mostly_unlabelled"]
    assert finding.severity == "warning"
    assert finding.figures == {"unlabelled": 39, "images": 60}
    assert wheres(finding)[0] == "train_021.jpg"


def test_the_comparison_of_samples_is_that_of_scipy() -> None:
    generator = np.random.default_rng(1)
    first, second = generator.normal(0, 1, 300), generator.normal(0.3, 1, 200)
    ours = compare_samples(first, second)
    theirs = stats.ks_2samp(first, second, method="asymp")
    assert ours.distance == pytest.approx(theirs.statistic)
    assert ours.p_value == pytest.approx(theirs.pvalue, rel=0.15)
    assert compare_samples(first, first).p_value == 1.0
    fewer = compare_samples(first, second, independent=(30, 20))
    assert fewer.p_value > 10 * ours.p_value


def test_shares_and_uncertainty() -> None:
    assert share_z((0, 100), (0, 50)) == 0.0
    # Pooled share 0.3: the error is sqrt(0.21 * 0.04) = 0.0917.
    assert share_z((10, 50), (20, 50)) == pytest.approx(0.2 / 0.091652, rel=1e-4)
    assert [ap_half_width(n) for n in (0, 4, 100)] == [50.0, 49.0, 9.8]


@pytest.mark.benchmark_data
@pytest.mark.parametrize("name", REAL_SETS)
def test_real_sets(shared_data: Path, name: str) -> None:
    found = check_splits(*real_tables(shared_data / name))
    assert [(f.kind, f.severity, f.places[0].split) for f in found] == (
        [
            # 11 images each, with 6 to 14 pieces of many kinds.
            ("split_too_small", "warning", "val"),
            ("split_too_small", "warning", "test"),
        ]
        if name == "chess"
        else []
    )
