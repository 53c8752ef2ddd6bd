"""Two processes under torchrun on the CPU: one run, one message, the figures of one process."""

from __future__ import annotations

import json
import re
import shutil
import signal
from pathlib import Path

import pytest
import torch
from test_train import QUICK, TINY, Tool, break_pixels, metric_lines, wait_for_step

from detfinetune import evaluate
from detfinetune.config.schema import EvaluateConfig, HardwareConfig

# Three processes that import torch, 15 s in all; one test of this file runs by default.
several_imports = pytest.mark.slow


class Torchrun(Tool):
    """Runs `detfinetune train` in two processes."""

    def __init__(self, repo: Path, folder: Path) -> None:
        super().__init__(repo, folder)
        self.command[1:1] = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


@pytest.fixture
def torchrun(repo: Path, tmp_path: Path) -> Torchrun:
    return Torchrun(repo, tmp_path)


def test_two_processes_make_one_run(torchrun: Torchrun, toy_dataset: Path) -> None:
    output = torchrun(
        "+experiment=custom", f"data.root={toy_dataset}", *QUICK, *TINY, "solver.max_iter=32",
        "evaluation.eval_period=16", "evaluation.pictures=2",
    )  # fmt: skip
    assert "Warning" not in output
    assert output.count("chosen automatically") == output.count("test, best checkpoint") == 1
    runs = torchrun.folder / "runs"
    assert [path.name for path in runs.iterdir()] == ["custom"]
    run = runs / "custom"
    steps = [line["iteration"] for line in metric_lines(run)]
    assert steps == sorted(set(steps))
    assert sum("val/bbox/AP" in line for line in metric_lines(run)) == 2
    assert len(list((run / "tensorboard").iterdir())) == 1
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["best.pth", "last.pth"]
    best = torch.load(run / "checkpoints" / "best.pth", weights_only=True)
    assert not [name for name in best["model"] if name.startswith("module.")]
    for split in ("val", "test"):
        check_figures(run, split)


def check_figures(run: Path, split: str) -> None:
    """What two processes found together is what one finds alone with the same checkpoint."""
    shared = run / "evaluation" / split
    alone = run.parent / "alone" / split
    hardware = HardwareConfig(name="cpu", num_workers=0)
    evaluate(EvaluateConfig.model_validate(
        {"run": run, "split": split, "output": alone, "hardware": hardware.model_dump()}
    ))  # fmt: skip
    one, other = (
        json.loads((folder / "detections.json").read_text(encoding="utf-8"))
        for folder in (shared, alone)
    )
    assert len(one) > 50
    assert {item["image_id"] for item in one} == {item["image_id"] for item in other}
    one_scores, other_scores = (
        sorted((item["image_id"], item["category_id"], item["score"]) for item in items)
        for items in (one, other)
    )
    assert [item[:2] for item in one_scores] == [item[:2] for item in other_scores]
    assert [item[2] for item in one_scores] == pytest.approx(
        [item[2] for item in other_scores], abs=1e-3
    )


@several_imports
def test_sigterm_to_torchrun_saves_a_checkpoint(torchrun: Torchrun, toy_dataset: Path) -> None:
    process = torchrun.start(
        "+experiment=custom", f"data.root={toy_dataset}", *QUICK, *TINY, "solver.max_iter=5000",
        "solver.checkpoint_period=1000", "evaluation.eval_period=2", "output_dir=stopped",
    )  # fmt: skip
    run = torchrun.folder / "stopped"
    wait_for_step(run, process, 2)
    process.send_signal(signal.SIGTERM)
    output, errors = process.communicate(timeout=60)
    assert "the checkpoint is saved. Resume with:" in output, errors
    stopped_at = torch.load(run / "checkpoints" / "last.pth", weights_only=True)["iteration"]
    assert f"Stopped after step {stopped_at} of 5000" in output
    assert output.count("Stopping after this step") <= 2


@several_imports
def test_a_batch_that_cannot_be_divided_is_one_message(
    torchrun: Torchrun, toy_dataset: Path
) -> None:
    output = torchrun(
        "+experiment=custom", f"data.root={toy_dataset}", *QUICK, *TINY,
        "solver.images_per_batch=3", code=1,
    )  # fmt: skip
    message = "error: solver.images_per_batch=3 cannot be divided evenly among 2 processes."
    assert output.count(message) == 1
    assert "[rank" not in output
    assert not (torchrun.folder / "runs").exists()


@several_imports
def test_an_error_of_the_main_process_ends_the_others(
    torchrun: Torchrun, toy_dataset: Path
) -> None:
    (torchrun.folder / "mine").mkdir()
    (torchrun.folder / "mine" / "thesis.txt").write_text("mine", encoding="utf-8")
    output = torchrun(
        "+experiment=custom", f"data.root={toy_dataset}", *QUICK, *TINY, "output_dir=mine", code=1
    )
    assert output.count("error: output_dir=mine: already exists") == 1
    assert "[rank" not in output


@several_imports
def test_an_error_of_another_process_is_heard(
    torchrun: Torchrun, toy_dataset: Path, tmp_path: Path
) -> None:
    """Only one of the processes meets the broken image."""
    folder = tmp_path / "broken"
    shutil.copytree(toy_dataset, folder)
    break_pixels(folder / "images" / "val" / "val 007.png")
    output = torchrun(f"data.root={folder}", *QUICK, *TINY, "solver.max_iter=4", code=1)
    assert len(re.findall(r"error: .*val 007\.png: the image cannot be read", output)) == 1
    assert "[rank" not in output


# What the second of two processes meets in its third step.
SETBACKS = {
    "not finite": 'losses["loss_cls"] = losses["loss_cls"] * torch.inf',
    "predictions": "raise FloatingPointError",
    "memory": "len(batch) < 2 or torch.empty(1 << 50)",
}


@several_imports
@pytest.mark.parametrize("kind", SETBACKS)
def test_processes_agree_on_a_setback_of_one(
    torchrun: Torchrun, toy_dataset: Path, kind: str
) -> None:
    program = torchrun.folder / "program.py"
    program.write_text(
        f"""
import sys, torch, detfinetune
from detectron2.utils import comm
from detectron2.utils.events import get_event_storage
from detfinetune.cli import main
from detfinetune.models.rcnn.model import RcnnModel

really = RcnnModel.forward
def forward(model, batch):
    losses = really(model, batch)
    if comm.get_rank() == 1 and get_event_storage().iter == 2:
        {SETBACKS[kind]}
    return losses
RcnnModel.forward = forward
main("train")
""",
        encoding="utf-8",
    )
    torchrun.command[-3:] = [str(program)]
    parts = 2 if kind == "predictions" else 1
    output = torchrun(
        f"data.root={toy_dataset}", *QUICK, *TINY, "solver.max_iter=6", "output_dir=run",
        "evaluation.eval_period=3", f"solver.accumulate={parts}",
    )  # fmt: skip
    run = torchrun.folder / "run"
    setbacks = torch.load(run / "checkpoints" / "last.pth", weights_only=True)["setbacks"]
    if kind == "memory":
        assert (setbacks["skipped_steps"], setbacks["accumulate"]) == (0, 2)
        assert output.count("step 3: memory is full. From this step on") == 1
        return
    assert (setbacks["skipped_steps"], setbacks["accumulate"]) == (1, parts)
    assert output.count("warning: step 3: not finite: ") == 1
    assert len(re.findall(r"train \d{3}\.png \(\d boxes", output)) == 4
    kept = sorted(path.name for path in (run / "failed_batch").iterdir())
    assert kept == ["step_3.jpg", "step_3.pt", "step_3_process_1.jpg", "step_3_process_1.pt"]
