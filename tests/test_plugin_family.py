"""A detector family of another package, installed as a plug-in, under the public commands."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

SETTINGS = [
    "+experiment=custom", "model.name=grid", "hardware=cpu", "hardware.num_workers=0",
    "augment.image_size=96", "augment.scale_jitter=[1,1]", "solver.base_lr=0.003",
    "solver.ema_decay=0.8", "solver.accumulate=2", "evaluation.loss=true",
]  # fmt: skip
STEPS = 280


class Commands:
    """Runs `detfinetune COMMAND` in a folder of its own, with or without the plug-in."""

    def __init__(self, repo: Path, folder: Path) -> None:
        self.repo, self.folder = repo, folder

    def start(self, *words: str, plugin: bool = True) -> subprocess.Popen[str]:
        path = [str(self.repo), *([str(self.repo / "tests" / "plugin")] if plugin else [])]
        return subprocess.Popen(
            [sys.executable, "-m", "detfinetune", *words], cwd=self.folder, text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def __call__(self, *words: str, code: int = 0, plugin: bool = True) -> str:
        process = self.start(*words, plugin=plugin)
        output, _ = process.communicate(timeout=300)
        assert process.returncode == code, output
        return output


@pytest.fixture(scope="module")
def commands(repo: Path, tmp_path_factory: pytest.TempPathFactory) -> Commands:
    return Commands(repo, tmp_path_factory.mktemp("plugin"))


@pytest.fixture(scope="module")
def run(commands: Commands, toy_dataset: Path) -> Path:
    """A finished run of the plug-in's detector."""
    commands(
        "train", *SETTINGS, f"data.root={toy_dataset}", f"solver.max_iter={STEPS}",
        "output_dir=whole",
    )  # fmt: skip
    return commands.folder / "whole"


def weights(run: Path) -> dict[str, torch.Tensor]:
    stored = torch.load(run / "checkpoints" / "last.pth", weights_only=True)
    assert stored["family"] == "grid"
    return {**stored["model"], **{f"ema {name}": value for name, value in stored["ema"].items()}}


def test_it_learns(run: Path) -> None:
    results = json.loads((run / "results.json").read_text(encoding="utf-8"))
    assert results["test"]["bbox"]["AP50"] > 60
    lines = (run / "train_metrics.jsonl").read_text(encoding="utf-8").splitlines()
    losses = [line["val/loss_box"] for line in map(json.loads, lines) if "val/loss_box" in line]
    assert losses[-1] < losses[0]


def test_a_stopped_run_resumes_exactly(run: Path, commands: Commands, toy_dataset: Path) -> None:
    process = commands.start(
        "train", *SETTINGS, f"data.root={toy_dataset}", f"solver.max_iter={STEPS}",
        "output_dir=stopped",
    )  # fmt: skip
    metrics = commands.folder / "stopped" / "train_metrics.jsonl"
    while not metrics.is_file() and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 130, output
    assert "resuming" in commands("train", "resume=stopped")
    first, second = weights(run), weights(commands.folder / "stopped")
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_it_is_evaluated_and_predicts(run: Path, commands: Commands, toy_dataset: Path) -> None:
    commands("evaluate", f"run={run}", "split=test", "output=scored")
    scored = json.loads((commands.folder / "scored" / "metrics.json").read_text(encoding="utf-8"))
    results = json.loads((run / "results.json").read_text(encoding="utf-8"))
    assert scored["bbox"]["AP"] == results["test"]["bbox"]["AP"]
    commands("predict", f"run={run}", f"input={toy_dataset / 'images' / 'test'}", "output=found")
    found = json.loads((commands.folder / "found" / "predictions.json").read_text(encoding="utf-8"))
    assert {category["name"] for category in found["categories"]} == {"disc", "square"}
    assert len(found["annotations"]) > 5
    assert len(list((commands.folder / "found").glob("*.jpg"))) + len(
        list((commands.folder / "found").glob("*.png"))
    ) == len(found["images"])


def test_its_keys_belong_to_it(commands: Commands) -> None:
    assert "model.width  [int; default 32]" in commands("train", "--help")
    assert "model.width" not in commands("train", "--help", plugin=False)
    wrong = commands("train", "model.name=grid", "model.freeze_at=1", "data.root=x", code=2)
    assert "model.freeze_at" in wrong


def test_without_the_plugin_the_checkpoint_names_the_family(
    run: Path, commands: Commands, tmp_path: Path
) -> None:
    copy = shutil.copytree(run, tmp_path / "copy")
    said = commands("evaluate", f"run={copy}", code=2, plugin=False)
    assert "belongs to the family 'grid', which is not installed" in said
