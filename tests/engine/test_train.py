"""Real runs on a toy dataset: training, resuming after a kill, and stopping."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
import yaml

from detfinetune import evaluate
from detfinetune.config.load import load_train_config
from detfinetune.engine.train import train
from detfinetune.evaluation.calibrate import fit_calibration
from detfinetune.models.calibration import UNCALIBRATED, Calibration

# Small, quick, and still every part of a real run.
QUICK = [
    "hardware=cpu", "augment.image_size=96", "solver.images_per_batch=4",
    "hardware.num_workers=0", "solver.warmup_iters=4", "model.rois_per_image=32",
]  # fmt: skip
TINY = ["model.name=timm/test_efficientnet", "model.weights=random", "model.fpn_channels=32",
        "model.box_head_dim=32"]  # fmt: skip


def break_pixels(image: Path) -> None:
    """Overwrite pixels of a PNG; its header and its end stay, so that reading finds it sound."""
    content = bytearray(image.read_bytes())
    third = len(content) // 3
    content[third : 2 * third] = bytes(third)
    image.write_bytes(content)


class Tool:
    """Runs `detfinetune train` as a user would, in a folder of its own."""

    def __init__(self, repo: Path, folder: Path) -> None:
        self.command = [sys.executable, "-m", "detfinetune", "train"]
        self.folder = folder
        self.environment = {**os.environ, "PYTHONPATH": str(repo)}

    def start(self, *overrides: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*self.command, *overrides], cwd=self.folder, env=self.environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def __call__(self, *overrides: str, code: int = 0) -> str:
        process = self.start(*overrides)
        output, errors = process.communicate(timeout=300)
        assert process.returncode == code, f"{output}\n{errors}"
        return output + errors


@pytest.fixture
def tool(repo: Path, tmp_path: Path) -> Tool:
    return Tool(repo, tmp_path)


@pytest.fixture(scope="module")
def trained(
    repo: Path, toy_dataset: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, str]:
    """A finished run and what it printed."""
    folder = tmp_path_factory.mktemp("trained")
    output = Tool(repo, folder)(
        "+experiment=custom", f"data.root={toy_dataset}", *QUICK, "solver.max_iter=80",
        "evaluation.eval_period=20",
    )  # fmt: skip
    return folder / "runs" / "custom", output


def metric_lines(run: Path) -> list[dict[str, float]]:
    text = (run / "train_metrics.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def test_losses_fall_and_ap_rises(trained: tuple[Path, str]) -> None:
    lines = metric_lines(trained[0])
    losses = [line["total_loss"] for line in lines if "total_loss" in line]
    assert sum(losses[-3:]) < 0.6 * sum(losses[:3])
    aps = [line["val/bbox/AP"] for line in lines if "val/bbox/AP" in line]
    assert len(aps) >= 3
    assert aps[-1] > aps[0] + 10
    test = json.loads((trained[0] / "evaluation/test/metrics.json").read_text(encoding="utf-8"))
    assert test["bbox"]["AP50"] > 60


def test_the_run_folder_is_complete(trained: tuple[Path, str]) -> None:
    run, output = trained
    for name in (
        "config.yaml", "environment.json", "classes.txt", "data.json", "log.txt",
        "checkpoints/best.pth", "checkpoints/last.pth", "evaluation/val/metrics.json",
        "evaluation/test/metrics.json", "pictures/test_worst_first.jpg",
    ):  # fmt: skip
        assert (run / name).stat().st_size > 0, name
    assert list((run / "tensorboard").glob("events.*"))
    config = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    assert config["model"]["name"] == "efficientnet_lite0_fpn"
    assert (run / "classes.txt").read_text(encoding="utf-8") == "disc\nsquare\n"
    assert "reason" in output
    assert "fast on a CPU" in output


def test_checkpoints_hold_classes_best_value_and_threshold(trained: tuple[Path, str]) -> None:
    best = torch.load(trained[0] / "checkpoints/best.pth", weights_only=True)
    last = torch.load(trained[0] / "checkpoints/last.pth", weights_only=True)
    assert best["classes"] == ["disc", "square"]
    assert last["iteration"] == 80
    assert last["best"] == best["best"]
    assert last["calibration"] == best["calibration"]
    assert 0 < best["score_threshold"] < 1
    aps = [line["val/bbox/AP"] for line in metric_lines(trained[0]) if "val/bbox/AP" in line]
    assert best["best"]["value"] == pytest.approx(max(aps))
    for split, chosen_on in (("val", "this split"), ("test", "val")):
        path = trained[0] / "evaluation" / split / "metrics.json"
        written = json.loads(path.read_text(encoding="utf-8"))
        at = written["score_threshold"]
        assert (at["score"], at["chosen_on"]) == (best["score_threshold"], chosen_on)
        assert best["calibration"].items() <= written["calibration"].items()


def test_scores_are_calibrated_on_val(trained: tuple[Path, str], tmp_path: Path) -> None:
    """Against the same weights in a checkpoint without calibration, as older versions wrote it."""
    run, output = trained
    best = torch.load(run / "checkpoints/best.pth", weights_only=True)
    calibration = Calibration(**best.pop("calibration"))
    torch.save({**best, "score_threshold": None}, tmp_path / "older.pth")
    for split in ("val", "test"):
        again = evaluate(run, split=split, output=str(tmp_path / split), hardware="cpu")
        own = evaluate(
            tmp_path / "older.pth", split=split, output=str(tmp_path / "older"), hardware="cpu"
        )
        ended = json.loads((run / "evaluation" / split / "detections.json").read_text())
        assert again.detections == ended == own.calibrated(calibration).detections
        assert again.detections != own.detections
        assert again.metrics["bbox"].figures == own.metrics["bbox"].figures
        before, after = again.calibration_errors
        assert own.calibration_errors == (before, before)
        assert after < before
        if split == "val":
            assert fit_calibration(own.metrics["bbox"].matches) == calibration
            assert calibration(own.score_threshold) == again.score_threshold
    assert output.count("scores are calibrated on val: ") == 2


def test_a_finished_run_says_so_and_can_be_trained_further(
    trained: tuple[Path, str], capsys: pytest.CaptureFixture[str]
) -> None:
    train(load_train_config([f"resume={trained[0]}"]))
    output = capsys.readouterr().out
    assert "this run is finished (80 of 80 steps)" in output
    assert "solver.max_iter=160" in output


def weights(run: Path) -> dict[str, torch.Tensor]:
    return torch.load(run / "checkpoints" / "last.pth", weights_only=True)["model"]


def calibration(run: Path) -> dict[str, float]:
    return torch.load(run / "checkpoints" / "last.pth", weights_only=True)["calibration"]


def wait_for_step(run: Path, process: subprocess.Popen[str], step: int) -> None:
    """Wait until a run has saved at least `step` steps."""
    checkpoint = run / "checkpoints" / "last.pth"
    for _ in range(1200):
        # The file is always whole: it is renamed into place.
        if checkpoint.is_file() and torch.load(checkpoint, weights_only=True)["iteration"] >= step:
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    raise AssertionError(f"step {step} was not reached")


@pytest.mark.parametrize(
    # Each resumed run takes 5 s to import torch; with workers there is more that can differ.
    "workers",
    [pytest.param(0, marks=pytest.mark.slow), 2],
)
def test_killed_three_times_and_resumed_the_weights_are_bit_equal(
    tool: Tool, toy_dataset: Path, workers: int
) -> None:
    common = [
        "+experiment=custom", f"data.root={toy_dataset}", *QUICK, *TINY, "solver.max_iter=33",
        "evaluation.eval_period=10", "solver.checkpoint_period=3", "evaluation.pictures=0",
        f"hardware.num_workers={workers}",
    ]  # fmt: skip
    whole, killed = tool.folder / "whole", tool.folder / "killed"
    train(load_train_config([*common, f"output_dir={whole}"]))
    arguments = [*common, f"output_dir={killed}"]
    for step, delay in ((3, 0.3), (9, 0.0), (18, 0.55)):
        process = tool.start(*arguments)
        wait_for_step(killed, process, step)
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        arguments = [f"resume={killed}"]
    assert train(load_train_config(arguments)).finished
    one, other = weights(whole), weights(killed)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert calibration(whole) == calibration(killed) != asdict(UNCALIBRATED)
    for name in ("val/detections.json", "test/detections.json"):
        assert (killed / "evaluation" / name).read_bytes() == (
            whole / "evaluation" / name
        ).read_bytes()
    assert [line["iteration"] for line in metric_lines(killed)] == sorted(
        {line["iteration"] for line in metric_lines(whole)}
    )
    assert not list(killed.rglob("*.part"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_saves_and_says_how_to_resume(
    tool: Tool, toy_dataset: Path, number: signal.Signals
) -> None:
    process = tool.start(
        "+experiment=custom", f"data.root={toy_dataset}", *QUICK, *TINY, "solver.max_iter=5000",
        "solver.checkpoint_period=2", "output_dir=stopped",
    )  # fmt: skip
    wait_for_step(tool.folder / "stopped", process, 2)
    process.send_signal(number)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + number, errors
    assert "the checkpoint is saved. Resume with:" in output
    assert "detfinetune train resume=stopped" in output
    assert "Traceback" not in output + errors
