"""Checks of classes: empty, rare, duplicate names, ids off by one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
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
from detfinetune.checks.objects.classes import check_classes, rejected_class_numbers
from detfinetune.labels.dataset.ledger import Ledger, LedgerEntry
from detfinetune.labels.dataset.records import Annotation


def findings_of(
    records: Records, classes: Sequence[str] = CLASSES, **options: object
) -> dict[str, Finding]:
    return by_kind(check_classes(tables_of(records), classes, **options))  # type: ignore[arg-type]


def recoloured(records: Records, old: int, new: int) -> Records:
    """Return the records with one class replaced by another."""
    return {
        split: [
            replace(
                record,
                annotations=tuple(
                    replace(a, category=new) if a.category == old else a for a in record.annotations
                ),
            )
            for record in images
        ]
        for split, images in records.items()
    }


def test_clean_labels_raise_nothing() -> None:
    assert findings_of(clean_records(), classes_from="classes.txt") == {}


def test_a_class_without_objects_is_named_by_its_line() -> None:
    finding = findings_of(clean_records(), [*CLASSES, "sheep"], classes_from="labels/classes.txt")[
        "empty_class"
    ]
    assert wheres(finding) == ["labels/classes.txt:4"]
    assert finding.figures["classes"] == ["sheep"]
    assert "first_class" not in finding.advice


def test_an_empty_first_class_may_mean_that_ids_count_from_one() -> None:
    finding = findings_of(recoloured(clean_records(), 0, 1))["empty_class"]
    assert "data.first_class=1" in finding.advice


def test_a_rare_class_shows_its_training_objects() -> None:
    records, train = add(clean_records(), "train", 4, Annotation(3, (300.0, 300.0, 50.0, 40.0)))
    records, _ = add(records, "val", 4, Annotation(3, (300.0, 300.0, 50.0, 40.0)))
    finding = findings_of(records, [*CLASSES, "sheep"])["rare_class"]
    assert wheres(finding) == train == ["labels/train_004.txt:7"]
    assert finding.figures["objects"] == {"sheep": 1}
    assert finding.severity == "warning"


def test_ten_objects_are_not_rare() -> None:
    boxes = [Annotation(3, (60.0 * i, 300.0, 50.0, 40.0)) for i in range(10)]
    records, _ = add(clean_records(), "train", 4, *boxes)
    assert set(findings_of(records, [*CLASSES, "sheep"])) == {"class_imbalance"}


@pytest.mark.parametrize(("images", "severity"), [(17, None), (60, "note"), (400, "warning")])
def test_imbalance_by_ratio(images: int, severity: str | None) -> None:
    records = recoloured(recoloured(clean_records({"train": images}), 1, 0), 2, 0)
    boxes = [Annotation(1, (50.0 * i, 300.0, 40.0, 40.0)) for i in range(12)]
    records, _ = add(records, "train", 0, *boxes)
    found = findings_of(records, CLASSES[:2])
    assert (found["class_imbalance"].severity if found else None) == severity
    if severity:
        assert found["class_imbalance"].figures == {
            "ratio": images / 2, "objects": {"cat": images * 6, "dog": 12},
        }  # fmt: skip
        assert f"{images * 6:,} and 12" in found["class_imbalance"].title


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (("Plane", "plane"), "duplicate_class_name"),
        (("air_plane", "air plane"), "duplicate_class_name"),
        (("AirPlane", "air-plane"), "duplicate_class_name"),
        (("café", "cafe"), "duplicate_class_name"),
        (("plane", "planes"), "duplicate_class_name"),
        (("Traffic_Lights", "traffic light"), "duplicate_class_name"),
        (("helicopter", "helicoptor"), "class_name_typo"),
        (("helicopter", "helicoper"), "class_name_typo"),
        (("helicopter", "heilcopter"), "class_name_typo"),
        (("red helicopter", "red helicoptter"), "class_name_typo"),
        (("class_1", "class_2"), None),
        (("class_11", "class_1_1"), None),
        (("defect_a", "defect_b"), None),
        (("RBC", "WBC"), None),
        (("white-pawn", "white-king"), None),
        (("white_king", "black_king"), None),
        (("monkey", "donkey"), None),
        (("glass", "glasses"), None),
        (("A+", "A-"), None),
        (("cat", "car"), None),
        (("infected", "uninfected"), None),
        (("bus", "bu"), None),
        (("defect_1", "defect_2"), None),
    ],
)
def test_spellings(names: tuple[str, str], kind: str | None) -> None:
    objects = Annotation(0, (0.0, 0.0, 50.0, 40.0)), Annotation(1, (50.0, 0.0, 50.0, 40.0))
    few = {"train": [replace(r, annotations=objects[:1]) for r in clean_records()["train"]]}
    few, _ = add(few, "train", 0, objects[1])
    for order in (names, names[::-1]):
        found = {"duplicate_class_name", "class_name_typo"} & set(findings_of(few, order))
        assert found == ({kind} if kind else set())


def test_one_class_in_three_spellings_is_one_group_with_the_objects_to_fix() -> None:
    classes = [*CLASSES, "Cat", "cats"]
    records, first = add(clean_records(), "train", 4, Annotation(3, (300.0, 300.0, 50.0, 40.0)))
    records, second = add(records, "val", 2, Annotation(4, (300.0, 300.0, 50.0, 40.0)))
    finding = findings_of(records, classes, classes_from="classes.txt")["duplicate_class_name"]
    assert finding.severity == "warning"
    assert finding.figures["groups"] == [["cat", "Cat", "cats"]]
    assert wheres(finding) == ["classes.txt:4", "classes.txt:5", *first, *second]
    assert "'Cat' here, 'cat' elsewhere" in finding.places[2].detail


def test_a_typo_counts_only_if_one_spelling_is_far_rarer() -> None:
    classes = ("giraffe", "girafe", "horse")
    assert "class_name_typo" not in findings_of(clean_records(), classes)
    few = recoloured(clean_records(), 1, 0)
    few, planted = add(few, "train", 8, Annotation(1, (300.0, 300.0, 50.0, 40.0)))
    finding = findings_of(few, classes)["class_name_typo"]
    assert (finding.severity, wheres(finding)[1:]) == ("note", planted)


def test_names_that_are_numbers_are_noted() -> None:
    finding = findings_of(clean_records(), ("class_0", "1", "horse"), classes_from="obj.names")[
        "numeric_class_name"
    ]
    assert finding.severity == "note"
    assert wheres(finding) == ["obj.names:1", "obj.names:2"]


@pytest.mark.parametrize("name", ["unknown", "TODO", "none", "N/A", "??", "__background__"])
def test_names_that_name_nothing(name: str) -> None:
    records, planted = add(clean_records(), "train", 4, Annotation(3, (300.0, 300.0, 50.0, 40.0)))
    finding = findings_of(records, [*CLASSES, name])["placeholder_class"]
    assert finding.severity == "warning"
    assert wheres(finding)[1:] == planted
    unused = findings_of(clean_records(), [*CLASSES, name])["placeholder_class"]
    assert unused.severity == "note"


def out_of_range(number: int, first: int, last: int, line: int) -> LedgerEntry:
    reason = (
        f"class {number} is out of range: the {last - first + 1} classes are numbered "
        f"{first} to {last}"
    )
    return LedgerEntry(
        "train", "labels/a.txt", line, "rejected", "class out of range", reason, f"{number} .5 .5"
    )


def test_ids_that_count_from_one_are_an_error_at_the_lines_rejected() -> None:
    records = recoloured(recoloured(clean_records(), 0, 1), 1, 2)
    ledger = Ledger([out_of_range(3, 0, 2, line) for line in (2, 5)])
    found = findings_of(records, ledger=ledger)
    finding = found["class_ids_off_by_one"]
    assert finding.severity == "error"
    assert "data.first_class=1" in finding.advice
    assert "objects called 'horse' are 'dog'" in finding.advice
    assert wheres(finding) == ["labels/a.txt:2", "labels/a.txt:5"]
    assert "empty_class" not in found


def test_ids_that_count_from_zero_read_as_from_one() -> None:
    records = recoloured(clean_records(), 2, 1)
    finding = findings_of(records, ledger=Ledger([out_of_range(0, 1, 3, 7)]))[
        "class_ids_off_by_one"
    ]
    assert "data.first_class=0" in finding.advice
    assert finding.figures["should_be_numbered_from"] == 0


@pytest.mark.parametrize("number", [3, 4, -1])
def test_numbers_out_of_range_alone_do_not_shift_a_full_list(number: int) -> None:
    assert findings_of(clean_records(), ledger=Ledger([out_of_range(number, 0, 2, 7)])) == {}


def test_shifted_ids_come_out_of_a_real_conversion(tmp_path: Path) -> None:
    from detfinetune.config.schema import DataConfig
    from detfinetune.labels.convert import convert_dataset

    for number in range(4):
        folder = tmp_path / "data"
        (folder / "images").mkdir(parents=True, exist_ok=True)
        (folder / "labels").mkdir(exist_ok=True)
        Image.new("RGB", (100, 80)).save(folder / f"images/{number}.png")
        lines = "1 0.5 0.5 0.2 0.2\n2 0.3 0.3 0.2 0.2\n2 0.7 0.3 0.2 0.2\n3 0.6 0.6 0.1 0.1\n"
        (folder / f"labels/{number}.txt").write_text(lines)
    data = DataConfig(
        root=folder, classes=list(CLASSES), first_class=0, val_fraction=0, test_fraction=0
    )
    ledger = convert_dataset(data, tmp_path / "out", contact_sheet=0).ledger
    assert {number: len(found) for number, found in rejected_class_numbers(ledger).items()} == {
        3: 4
    }
    records = recoloured(clean_records(), 0, 1)
    finding = findings_of(records, ledger=ledger)["class_ids_off_by_one"]
    assert wheres(finding) == [f"labels/{number}.txt:4" for number in range(4)]


@pytest.mark.benchmark_data
@pytest.mark.parametrize("name", REAL_SETS)
def test_real_sets(shared_data: Path, name: str) -> None:
    found = by_kind(check_classes(*real_tables(shared_data / name)))
    assert set(found) == ({"class_imbalance"} if name == "bccd" else set())
    if found:
        assert found["class_imbalance"].severity == "note"
        assert found["class_imbalance"].figures["ratio"] == 11.4
