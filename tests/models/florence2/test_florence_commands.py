"""Fine-tuning a tiny Florence-2 by the public commands, as a user does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from quick_runs import settings

from detfinetune.inference.predictor import Predictor


class Commands:
    """Runs commands in a folder of their own."""

    def __init__(self, repo: Path, folder: Path) -> None:
        self.folder = folder
        self.environment = {**os.environ, "PYTHONPATH": str(repo), "HF_HUB_OFFLINE": "1"}

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "detfinetune", *words], cwd=self.folder, env=self.environment,
            text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def __call__(self, *words: str) -> str:
        process = self.start(*words)
        output, errors = process.communicate(timeout=300)
        assert process.returncode == 0, f"{output}\n{errors}"
        return output + errors


@pytest.fixture
def commands(repo: Path, tmp_path: Path) -> Commands:
    return Commands(repo, tmp_path)


def metrics(run: Path, split: str) -> dict[str, float]:
    text = (run / "evaluation" / split / "metrics.json").read_text(encoding="utf-8")
    bbox: dict[str, float] = json.loads(text)["bbox"]
    return bbox


@pytest.mark.slow  # 60 s: it trains a tiny model fully, then with LoRA
def test_lora_learns_eight_images(commands: Commands, trained_base: Path, eight: Path) -> None:
    data = f"data.root={eight}"
    common = settings(trained_base, data, "solver.base_lr=3e-3")
    commands("train", *common, "solver.base_lr=1e-9", "solver.max_iter=1", "output_dir=before")
    assert metrics(commands.folder / "before", "val")["AP"] < 30
    output = commands(
        "train", *common, "solver.max_iter=60", "evaluation.eval_period=0", "output_dir=run"
    )
    assert output.count("MIT") == 1
    assert "trained: 499,712 of 2,066,944 parameters (24.2 %)" in output
    run = commands.folder / "run"
    assert metrics(run, "val")["AP"] >= 90

    stored = torch.load(run / "checkpoints" / "best.pth", weights_only=True)
    assert sum(value.numel() for value in stored["model"].values()) == 499_712 + 32
    commands("evaluate", "run=run", "split=train", "hardware=cpu")
    assert metrics(run, "train")["AP"] >= 90
    commands(
        "predict", "run=run", f"input={eight / 'images' / 'val'}", "output=out", "hardware=cpu"
    )
    assert len(list((commands.folder / "out").rglob("*.jpg"))) == 8
    commands("merge", "run=run", "output=merged")
    merged = [word for word in common if not word.startswith("model.weights")]
    commands(
        "train", *merged, "model.weights=merged", "solver.base_lr=1e-9", "solver.max_iter=1",
        "output_dir=again",
    )  # fmt: skip
    assert metrics(commands.folder / "again", "val")["AP"] >= 90
    found = Predictor(run)(eight / "images" / "val" / "0.png")
    labels = (eight / "labels" / "val" / "0.txt").read_text(encoding="utf-8").splitlines()
    assert len(found) == len(labels)


@pytest.mark.slow  # 40 s: three processes train
def test_killed_and_resumed_adapters_are_bit_equal(
    commands: Commands, random_base: Path, eight: Path
) -> None:
    words = settings(
        random_base, f"data.root={eight}", "solver.max_iter=24", "solver.checkpoint_period=4",
        "evaluation.eval_period=0", "evaluation.pictures=0", "hardware.num_workers=2",
        "model.order=shuffled", "augment=default", "solver.ema_decay=0.9", "solver.accumulate=2",
    )  # fmt: skip
    commands("train", *words, "output_dir=whole")
    process = commands.start("train", *words, "output_dir=killed")
    last = commands.folder / "killed" / "checkpoints" / "last.pth"
    for _ in range(1200):
        if last.is_file() and torch.load(last, weights_only=True)["iteration"] >= 8:
            break
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert torch.load(last, weights_only=True)["iteration"] < 24
    commands("train", "resume=killed")
    for part in ("model", "ema"):
        whole = torch.load(commands.folder / "whole/checkpoints/last.pth", weights_only=True)[part]
        resumed = torch.load(last, weights_only=True)[part]
        assert whole.keys() == resumed.keys()
        assert all(torch.equal(whole[name], resumed[name]) for name in whole)
