"""Every kind of fault, planted alone into clean data, is found: kind, severity, file and line."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import planted_boxes  # noqa: F401 (enters its faults)
import planted_classes  # noqa: F401
import planted_files  # noqa: F401
import planted_readings  # noqa: F401
import pytest
from fault_list import FAULTS, Spot
from planted import ANCHORS, LabelForm, Planted, Scene, make_scenes, write_clean

from detfinetune.checks.findings import Place
from detfinetune.checks.run import dataset_findings
from detfinetune.config.schema import DataConfig
from detfinetune.labels.read import read_dataset

Scenes = dict[str, list[Scene]]


@pytest.fixture(scope="module")
def scenes() -> Scenes:
    return make_scenes()


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory, scenes: Scenes) -> Path:
    """The clean data set, a folder for each form of labels; read-only."""
    return write_clean(tmp_path_factory.mktemp("clean"), scenes)


def spot_of(place: Place) -> Spot:
    return Spot(place.split, place.image, place.label_file, place.line)


@pytest.mark.parametrize("form", get_args(LabelForm))
def test_clean_data_raises_no_finding_at_all(clean: Path, form: LabelForm) -> None:
    dataset = read_dataset(DataConfig(root=clean / form))
    assert dataset_findings(dataset, ANCHORS, num_workers=0) == []


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_is_found_where_it_is(
    clean: Path, scenes: Scenes, tmp_path: Path, name: str
) -> None:
    fault = FAULTS[name]
    copy = Planted(clean, tmp_path / "data", fault.form, scenes)
    planted = set(fault.plant(copy))
    data = DataConfig(root=copy.root, **dict(fault.options))  # type: ignore[arg-type]
    found = dataset_findings(read_dataset(data), fault.anchors, decode=True, num_workers=0)
    # What is said of splits is said of each by itself; anything else is one finding a kind.
    of_kind = [finding for finding in found if finding.kind == fault.kind]
    assert len(of_kind) == 1
    assert of_kind[0].severity == fault.severity
    spots = {spot_of(place) for place in of_kind[0].places}
    if fault.only_some:
        assert spots
        assert spots <= planted
    else:
        assert spots == planted
    assert all(place.detail for place in of_kind[0].places)
    assert of_kind[0].title
    assert of_kind[0].advice
    others = {other.kind for other in found if other.severity != "note"} - {fault.kind}
    assert others == fault.also


def test_there_are_enough_kinds() -> None:
    assert len({fault.kind for fault in FAULTS.values()}) >= 70


def test_the_clean_data_was_left_alone(clean: Path) -> None:
    for form in get_args(LabelForm):
        dataset = read_dataset(DataConfig(root=clean / form))
        assert sum(table.num_objects for table in dataset.tables.values()) == 480
        assert dataset.ledger.entries == []
