"""The checks on real data sets: what they find as they are, and no error once that is removed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from detfinetune.checks.anchors import AnchorSettings
from detfinetune.checks.findings import Finding, Severity
from detfinetune.checks.run import dataset_findings
from detfinetune.config.load import load_check_config
from detfinetune.config.schema import DataConfig
from detfinetune.labels.dataset.labelled_dataset import LabelledDataset
from detfinetune.labels.export import export_read
from detfinetune.labels.read import read_dataset

ANCHORS = AnchorSettings(640, 1066, (16.0, 32.0, 64.0, 128.0, 256.0))
OVERRIDES: dict[str, list[str]] = {
    "airport": ["data=airport"],
    "bccd": [],
    "deeppcb": ["data.columns='x1,y1,x2,y2,class'"],
    "chess": [],
}
ERRORS = {
    "airport": {},
    "bccd": {
        "box_empty": {
            "labels/train/BloodImage_00343.txt:4", "labels/val/BloodImage_00338.txt:13",
        }
    },
    "deeppcb": {},
    "chess": {},
}  # fmt: skip
WARNINGS = {
    "airport": {"thin_box"},
    "bccd": {"near_duplicate_images_across_splits"},
    "deeppcb": set(),
    "chess": {"split_too_small"},
}

pytestmark = pytest.mark.benchmark_data

# 1,500 images to decode: 8 s on one core, and as many again for nothing else.
SETS = [pytest.param(name, marks=pytest.mark.slow if name == "deeppcb" else ()) for name in ERRORS]


def data_of(folder: Path) -> DataConfig:
    return load_check_config([*OVERRIDES[folder.name], f"data.root={folder}"]).data


def find(dataset: LabelledDataset, decode: bool = True) -> list[Finding]:
    return dataset_findings(dataset, ANCHORS, decode=decode, num_workers=0)


def of_severity(findings: list[Finding], severity: Severity) -> dict[str, Any]:
    return {
        finding.kind: {place.where for place in finding.places}
        for finding in findings
        if finding.severity == severity
    }


@pytest.mark.parametrize("name", SETS)
def test_a_real_set_as_it_is_and_without_what_was_rejected(
    shared_data: Path, tmp_path: Path, name: str
) -> None:
    dataset = read_dataset(data_of(shared_data / name))
    found = find(dataset)
    assert of_severity(found, "error") == ERRORS[name]
    assert set(of_severity(found, "warning")) == WARNINGS[name]
    copy = tmp_path / "copy"
    export_read(dataset, copy, "txt" if dataset.format == "txt" else "yolo", images="link")
    corrected = read_dataset(DataConfig(root=copy))
    assert corrected.ledger.entries == []
    assert {split: table.num_objects for split, table in corrected.tables.items()} == {
        split: table.num_objects for split, table in dataset.tables.items()
    }
    # The pictures are the same, and were decoded above.
    again = find(corrected, decode=False)
    assert of_severity(again, "error") == {}
    of_pictures = {"near_duplicate_images_across_splits"}
    assert set(of_severity(again, "warning")) == WARNINGS[name] - of_pictures


def test_deeppcb_read_in_the_wrong_order_gets_its_columns(shared_data: Path) -> None:
    dataset = read_dataset(DataConfig(root=shared_data / "deeppcb"))
    (misread,) = [f for f in find(dataset, decode=False) if f.kind == "labels_misread"]
    assert misread.severity == "error"
    assert "data.columns=x1,y1,x2,y2,class" in misread.advice
