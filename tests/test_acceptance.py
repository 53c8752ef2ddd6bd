"""The acceptance script: what it reports, and a short run of it without GPU and zoo."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import acceptance
import pytest
from acceptance import Row, Step, StepFailed, run_steps, write_report


def _fails() -> str:
    raise StepFailed("AP 3.0")


def _breaks() -> str:
    raise KeyError("test")


def test_each_step_is_ok_failed_or_skipped(tmp_path: Path) -> None:
    rows = run_steps([
        Step("a", "works", lambda: "worked"),
        Step("b", "works", _fails),
        Step("c", "works", lambda: "worked", after="b"),
        Step("d", "works", _breaks, after="a"),
        Step("e", "works", lambda: "worked", needs=(lambda: "no GPU", lambda: None)),
    ])  # fmt: skip
    assert [(row.state, row.seen) for row in rows] == [
        ("ok", "worked"), ("failed", "AP 3.0"), ("skipped", "without 'b'"),
        ("failed", "KeyError: 'test'"), ("skipped", "no GPU"),
    ]  # fmt: skip
    text = write_report(tmp_path, rows)
    assert [Row(**row) for row in json.loads((tmp_path / "acceptance.json").read_text())] == rows
    for table in (text, (tmp_path / "acceptance.md").read_text()):
        assert "AP 3.0" in table


def test_a_failure_is_the_exit_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acceptance.Acceptance, "all_steps", lambda self: [Step("a", "", _fails)])
    monkeypatch.setattr(sys, "argv", ["acceptance.py", "--output", str(tmp_path / "out")])
    assert acceptance.main() == 1


@pytest.mark.slow  # seven commands that import torch
def test_the_script_runs_without_gpu_and_zoo(repo: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    command = [sys.executable, str(repo / "tests" / "acceptance.py"), "--steps", "8",
               "--scenes", "14", "--output", str(output)]  # fmt: skip
    environment = os.environ | {
        "PYTHONPATH": str(repo), "CUDA_VISIBLE_DEVICES": "", "FVCORE_CACHE": str(tmp_path / "zoo"),
        "HTTPS_PROXY": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9",
    }  # fmt: skip
    run = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=tmp_path)
    assert run.returncode == 0, run.stdout + run.stderr
    rows = {row["step"]: row for row in json.loads((output / "acceptance.json").read_text())}
    seen = {name: row["seen"] for name, row in rows.items()}
    skipped = {name for name, row in rows.items() if row["state"] == "skipped"}
    assert {row["state"] for name, row in rows.items() if name not in skipped} == {"ok"}
    florence = {name for name in skipped if name.startswith("Florence-2")}
    zoo = {name for name in rows if name.startswith(("Faster R-CNN", "Mask R-CNN"))}
    transformers = {name for name in rows if name.startswith(("DINOv2", "DiT"))}
    proposals = {name for name in skipped if name.startswith("Proposals")}
    assert skipped == zoo | florence | transformers | proposals
    assert (len(zoo), len(florence), len(proposals)) == (7, 4, 4)
    assert {seen[name] for name in proposals} == {"the weights' hub cannot be reached"}
    assert {seen[name] for name in zoo} == {"no GPU, the model zoo cannot be reached"}
    assert all(seen[name].startswith("no GPU, ") for name in florence)
    assert seen["scenes"] == "14 images"
    assert seen["check"].startswith("0 errors")
    assert seen["EfficientNet-Lite0: train"] == "240 of 270 tensors loaded; killed"
    assert "of 8; 8 of 8 steps (cpu, " in seen["EfficientNet-Lite0: resume"]
    assert seen["EfficientNet-Lite0: evaluate"].endswith("(bbox)")
    assert seen["EfficientNet-Lite0: predict"].startswith("2 pictures of 2 images")
