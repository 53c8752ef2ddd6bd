"""Label tables for tests: clean ones made here, and the real data sets as converted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
from label_tables import table_of

from detfinetune.checks.findings import Finding
from detfinetune.config.schema import DataConfig
from detfinetune.labels.dataset.records import Annotation, ImageRecord
from detfinetune.labels.dataset.table import LabelTable
from detfinetune.labels.read import read_dataset

CLASSES = ("cat", "dog", "horse")
Records = dict[str, list[ImageRecord]]

REAL_SETS: dict[str, dict[str, str]] = {
    "airport": {},
    "bccd": {},
    "deeppcb": {"columns": "x1,y1,x2,y2,class"},
    "chess": {},
}


def clean_records(counts: Mapping[str, int] | None = None, seed: int = 0) -> Records:
    """Return images of 640x480 with 6 objects each, of three similar classes, none overlapping."""
    generator = np.random.default_rng(seed)
    counts = {"train": 60, "val": 25} if counts is None else counts
    return {
        split: [_image(generator, split, number) for number in range(count)]
        for split, count in counts.items()
    }


def _image(generator: np.random.Generator, split: str, number: int) -> ImageRecord:
    cells = generator.permutation(12)[:6]
    annotations = []
    for line, cell in enumerate(cells.tolist(), start=1):
        width, height = np.exp(generator.normal(np.log(60), 0.25, 2)).clip(30, 120).round(1)
        x = (cell % 4) * 160 + float(generator.uniform(1, 158 - width))
        y = (cell // 4) * 160 + float(generator.uniform(1, 158 - height))
        box = (round(x, 1), round(y, 1), float(width), float(height))
        annotations.append(Annotation(int(generator.integers(3)), box, line=line))
    name = f"{split}_{number:03}"
    return ImageRecord(f"{name}.jpg", 640, 480, tuple(annotations), f"labels/{name}.txt")


def add(
    records: Records, split: str, image: int, *annotations: Annotation
) -> tuple[Records, list[str]]:
    """Return the records with annotations appended to an image, and `path:line` of each."""
    record = records[split][image]
    first = len(record.annotations) + 1
    added = tuple(replace(a, line=first + i) for i, a in enumerate(annotations))
    changed = list(records[split])
    changed[image] = replace(record, annotations=record.annotations + added)
    return {**records, split: changed}, [f"{record.label_file}:{a.line}" for a in added]


def tables_of(records: Records) -> dict[str, LabelTable]:
    """Return the tables of records."""
    return {split: table_of(Path("images"), images) for split, images in records.items()}


def by_kind(findings: Sequence[Finding]) -> dict[str, Finding]:
    """Return findings by kind; each kind is there once."""
    kinds = [finding.kind for finding in findings]
    assert len(set(kinds)) == len(kinds), kinds
    return dict(zip(kinds, findings, strict=True))


def wheres(finding: Finding) -> list[str]:
    """Return `path:line` of each place."""
    return [place.where for place in finding.places]


@cache
def real_tables(folder: Path) -> tuple[dict[str, LabelTable], tuple[str, ...]]:
    """Read a real data set and return its tables and classes."""
    dataset = read_dataset(DataConfig(root=folder, **REAL_SETS[folder.name]))  # type: ignore[arg-type]
    return dataset.tables, dataset.classes
