"""COCO JSON in one line: ledger, findings and errors name annotations by their ids."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from detfinetune.checks.places import image_place, object_place
from detfinetune.checks.run import dataset_findings
from detfinetune.config.schema import DataConfig
from detfinetune.errors import LabelError
from detfinetune.labels.read import read_dataset


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Write one good and five bad annotations of one image."""
    Image.new("RGB", (100, 80)).save(tmp_path / "a.png")
    boxes: list[tuple[Any, int, int]] = [
        ([10, 10, 20, 20], 1, 1), ([10, 10, 20, 20], 1, 1), ([90, 10, 20, 20], 1, 1),
        ([10, 40, 20], 1, 1), ([10, 40, 20, 20], 1, 9), ([10, 40, 20, 20], 7, 1),
    ]  # fmt: skip
    content = {
        "images": [{"id": 1, "file_name": "a.png", "width": 100, "height": 80}],
        "categories": [{"id": 1, "name": "cell"}],
        "annotations": [
            {"id": 501 + n, "image_id": image, "category_id": category, "bbox": box}
            for n, (box, image, category) in enumerate(boxes)
        ],
    }
    (tmp_path / "ann.json").write_text(json.dumps(content))
    return tmp_path


def test_the_ledger_and_findings_name_the_annotation(folder: Path) -> None:
    dataset = read_dataset(DataConfig(root=folder))
    entries = {entry.annotation: entry for entry in dataset.ledger.entries if entry.line}
    assert sorted(entries, key=str) == [502, 503, 504, 505, 506]
    assert entries[502].message == "ann.json:1: annotation 502: the same object as annotation 501"
    rows = list(csv.DictReader(io.StringIO(dataset.ledger.to_csv())))
    assert {row["annotation"] for row in rows if row["line"] == "1"} == set(map(str, entries))
    findings = {finding.kind: finding for finding in dataset_findings(dataset, None)}
    for kind, annotation in (("duplicate_label", 502), ("box_partly_outside", 503)):
        (place,) = findings[kind].places
        assert (place.where, place.annotation) == (
            f"ann.json:1: annotation {annotation}",
            annotation,
        )


def test_an_error_names_the_annotation(folder: Path) -> None:
    with pytest.raises(LabelError, match=r"^ann\.json:1: annotation 50\d: "):
        read_dataset(DataConfig(root=folder, on_problem="stop"))


def test_places_of_kept_objects_and_images_have_their_ids(folder: Path) -> None:
    (table,) = read_dataset(DataConfig(root=folder, val_fraction=0)).tables.values()
    assert object_place("train", table, 0).where == "ann.json:1: annotation 501"
    assert image_place("train", table, 0).where == "ann.json: image 1"
