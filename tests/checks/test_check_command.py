"""`tools/check_dataset.py` from outside: exit codes, files written, the corrected copy."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import planted_boxes  # noqa: F401 (enters its faults)
import planted_classes  # noqa: F401
import planted_files  # noqa: F401
import planted_readings  # noqa: F401
import pytest
from fault_list import FAULTS
from planted import ANCHORS, Planted, encoded, make_scenes, write_clean

from detfinetune.check_dataset import check_dataset
from detfinetune.checks.run import dataset_findings
from detfinetune.config.load import load_check_config
from detfinetune.config.schema import DataConfig
from detfinetune.errors import ConfigError, OutputExistsError
from detfinetune.labels.read import read_dataset

PLANTED = (
    "box wholly outside", "one box under two classes", "class id out of range",
    "empty image file", "label file without image",
)  # fmt: skip
"""The first three are appended to one file, in this order, and become its lines 7 to 9."""

WHERE = {
    "box_outside": {"labels/train/train_005.txt:7"},
    "same_box_two_classes": {"labels/train/train_005.txt:8"},
    "class_id_out_of_range": {"labels/train/train_005.txt:9"},
    "image_empty": {"images/train/train_006.jpg"},
    "label_of_unreadable_image": {f"labels/train/train_006.txt:{line}" for line in range(1, 7)},
    "label_without_image": {"labels/val/zz.txt:1", "labels/val/zz.txt:2"},
    "image_cmyk": {"images/test/test_003.jpg"},
}


@dataclass(frozen=True)
class Checked:
    """A data set with faults, and what the command made of it."""

    folder: Path
    """Where the command ran; holds data, checks and datasets."""

    result: subprocess.CompletedProcess[str]
    before: dict[str, str]

    @property
    def findings(self) -> dict[str, dict[str, Any]]:
        listed = json.loads((self.folder / "checks/custom/findings.json").read_text())["findings"]
        return {finding["kind"]: finding for finding in listed}


def contents(folder: Path) -> dict[str, str]:
    """Return a hash of every file by its path."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def run(repo: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(repo / "tools/check_dataset.py"), *arguments],
        cwd=folder, capture_output=True, text=True, timeout=240, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory, repo: Path) -> Checked:
    """Plant faults, and check and correct the data with the command."""
    folder = tmp_path_factory.mktemp("command")
    scenes = make_scenes()
    clean = write_clean(folder / "clean", scenes)
    copy = Planted(clean, folder / "data", "yolo", scenes)
    for name in PLANTED:
        FAULTS[name].plant(copy)
    copy.write_image("test", 3, encoded(copy.read_image("test", 3).convert("CMYK")))
    before = contents(copy.root)
    return Checked(folder, run(repo, folder, "data.root=data", "--fix"), before)


def test_findings_are_written_with_their_places(checked: Checked) -> None:
    assert checked.result.returncode == 1, checked.result.stderr
    findings = checked.findings
    assert set(findings) == set(WHERE)
    with (checked.folder / "checks/custom/findings.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    for kind, where in WHERE.items():
        assert {row["where"] for row in rows if row["kind"] == kind} == where
        assert {row["severity"] for row in rows if row["kind"] == kind} == {
            findings[kind]["severity"]
        }
    (place,) = findings["same_box_two_classes"]["places"]
    assert (place["split"], place["image"], place["line"]) == ("train", "train_005.jpg", 8)
    assert place["other"]["line"] == 3
    text = json.loads((checked.folder / "checks/custom/findings.json").read_text())
    assert text["counts"] == {"error": 4, "warning": 2, "note": 1}
    assert text["dataset"]["classes"] == ["car", "house", "tree"]


def test_the_screen_says_the_worst_with_its_places(checked: Checked) -> None:
    said = checked.result.stdout
    assert "In all: 4 errors, 2 warnings, 1 note." in said
    assert "    images/train/train_006.jpg: the image file is empty" in said
    assert "    labels/train/train_005.txt:9: class 7 is out of range" in said
    assert "data.root=datasets/custom_fixed" in said
    assert "Traceback" not in checked.result.stderr


def test_the_page_shows_pictures_and_places(checked: Checked) -> None:
    page = (checked.folder / "checks/custom/report.html").read_text(encoding="utf-8")
    # 24 samples, and a thumbnail of what can be shown of the findings.
    assert page.count("data:image/jpeg;base64,") >= 24 + 2
    for place in ("train_005.txt:8", "test_003.jpg", "zz.txt:1"):
        assert place in page


def test_the_data_is_as_it_was(checked: Checked) -> None:
    assert contents(checked.folder / "data") == checked.before


@pytest.mark.parametrize("images", [None, "{folder}/data/images/{{split}}"])
def test_the_corrected_copy_reads_without_a_fault(checked: Checked, images: str | None) -> None:
    copy = checked.folder / "datasets/custom_fixed"
    given = images.format(folder=checked.folder) if images else None
    dataset = read_dataset(DataConfig(root=copy, images=given))
    assert dataset.format == "yolo"
    of_labels = [entry for entry in dataset.ledger.entries if entry.kind != "unreadable image"]
    assert of_labels == []
    # Of 480 the six of the empty image are gone, and the box of two classes is there twice.
    assert sum(table.num_objects for table in dataset.tables.values()) == 480 - 6 + 1
    assert dataset.tables["train"].label_files[5] == "labels/train/train_005.txt"
    errors = [f.kind for f in dataset_findings(dataset, ANCHORS, num_workers=0)
              if f.severity == "error"]  # fmt: skip
    assert errors == ([] if images is None else ["image_empty"])


def test_the_copy_has_its_ledger(checked: Checked) -> None:
    ledger = (checked.folder / "datasets/custom_fixed/ledger.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(ledger.splitlines()))
    messages = {row["message"].partition(": ")[0] for row in rows if row["action"] == "rejected"}
    assert (
        messages
        == WHERE["box_outside"]
        | WHERE["class_id_out_of_range"]
        | WHERE["image_empty"]
        | WHERE["label_of_unreadable_image"]
        | WHERE["label_without_image"]
    )
    assert ledger == (checked.folder / "checks/custom/ledger.csv").read_text(encoding="utf-8")


def test_a_copy_is_never_replaced(checked: Checked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(checked.folder)
    copy = checked.folder / "datasets/custom_fixed"
    before = contents(copy)
    with pytest.raises(OutputExistsError, match="datasets/custom_fixed exists already"):
        check_dataset(load_check_config(["data.root=data", "--fix", "overwrite=true"]))
    assert contents(copy) == before


@pytest.mark.parametrize(("fail_on", "code"), [("never", 0), ("error", 1), ("warning", 1)])
def test_what_it_fails_on(
    checked: Checked, monkeypatch: pytest.MonkeyPatch, fail_on: str, code: int
) -> None:
    monkeypatch.chdir(checked.folder)
    config = load_check_config(
        ["data.root=data", f"fail_on={fail_on}", "quick=true", "samples=0", "output=quick"]
    )
    report = check_dataset(config)
    assert report.exit_code(config.fail_on) == code
    # Without decoding, duplicates and pixel formats are not checked, but header damage is.
    assert {finding.kind for finding in report.findings} == set(WHERE) - {"image_cmyk"}


def test_a_data_set_is_never_replaced_by_its_findings(
    checked: Checked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(checked.folder)
    with pytest.raises(OutputExistsError, match="this contains"):
        check_dataset(load_check_config(["data.root=data", "output=data"]))
    with pytest.raises(OutputExistsError, match=r"was not written by this tool"):
        check_dataset(load_check_config(["data.root=data", "output=clean"]))
    assert contents(checked.folder / "data") == checked.before


def test_help_names_every_key(repo: Path, tmp_path: Path) -> None:
    result = run(repo, tmp_path, "--help")
    assert result.returncode == 0, result.stderr
    for key in ("data.root", "fix", "fixed", "quick", "fail_on", "samples", "augment.image_size"):
        assert f"\n  {key}  [" in result.stdout
    assert "python tools/check_dataset.py data.root=DIR [--fix]" in result.stdout


@pytest.mark.parametrize(
    ("mistake", "meant"), [("data.rot=x", "data.root"), ("fial_on=never", "fail_on")]
)
def test_an_unknown_key_gets_the_nearest_name(mistake: str, meant: str) -> None:
    with pytest.raises(ConfigError, match=f"Did you mean '{meant}'"):
        load_check_config([mistake])


def test_a_mistake_on_the_command_line_is_one_line(repo: Path, tmp_path: Path) -> None:
    result = run(repo, tmp_path, "data.rot=x")
    assert result.returncode == 2
    assert result.stderr.startswith("error: 'data.rot' is not a key. Did you mean 'data.root'?")
    assert list(tmp_path.iterdir()) == []
