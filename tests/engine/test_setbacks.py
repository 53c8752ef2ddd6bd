"""Runs that go on: after steps that are not finite, full memory, damaged images, a full disk."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from detectron2.utils.events import get_event_storage
from PIL import Image
from test_edges import run, stop_in_evaluation, stored
from test_train import break_pixels, metric_lines

from detfinetune.config.load import load_train_config
from detfinetune.engine.job import TrainingJob
from detfinetune.engine.train import TrainResult, train
from detfinetune.errors import DataError, TrainingError
from detfinetune.evaluation.result import EvaluationResult
from detfinetune.models.rcnn.model import RcnnModel


@pytest.fixture(autouse=True)
def _in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def data(toy_dataset: Path, tmp_path: Path) -> Path:
    """A copy that can be damaged."""
    return Path(shutil.copytree(toy_dataset, tmp_path / "data"))


def same_weights(one: TrainResult, other: TrainResult, name: str = "last") -> bool:
    weights, others = stored(one, name)["model"], stored(other, name)["model"]
    return all(torch.equal(value, others[key]) for key, value in weights.items())


def resumed_after_a_stop(monkeypatch: pytest.MonkeyPatch, *overrides: str) -> TrainResult:
    """Stop a run in its first evaluation, and resume it."""
    with monkeypatch.context() as patch:
        stop_in_evaluation(patch, 1)
        stopped = run(*overrides, "output_dir=stopped")
    assert not stopped.finished
    return train(load_train_config(["resume=stopped"]))


def change_forward(
    monkeypatch: pytest.MonkeyPatch, change: Callable[[list[Any], dict[str, Any]], None]
) -> None:
    """Let training call `change` with a batch and its losses."""
    really = RcnnModel.forward

    def forward(model: RcnnModel, batch: list[Any]) -> dict[str, torch.Tensor]:
        losses = really(model, batch)
        if model.training:
            change(batch, losses)
        return losses

    monkeypatch.setattr(RcnnModel, "forward", forward)


def test_a_batch_whose_loss_is_not_finite_is_kept_and_skipped(
    toy_dataset: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    common = [f"data.root={toy_dataset}", "solver.max_iter=12", "evaluation.eval_period=6",
              "solver.warmup_iters=0", "solver.decay=constant"]  # fmt: skip
    seen: list[list[Any]] = []

    def overflow(batch: list[Any], losses: dict[str, Any]) -> None:
        if get_event_storage().iter == 2:
            losses["loss_cls"] = losses["loss_cls"] * torch.inf
            seen.append(batch)

    change_forward(monkeypatch, overflow)
    whole = run(*common, "output_dir=whole")
    assert whole.finished
    assert len(seen) == 1

    errors = capsys.readouterr().err
    assert "warning: step 3: not finite: loss_cls. The step is skipped" in errors
    kept = torch.load(whole.run / "failed_batch" / "step_3.pt", weights_only=True)
    for image, own in zip(kept["images"], seen[0], strict=True):
        assert f"  {image['file']} ({len(image['boxes'])} boxes" in errors
        assert torch.equal(image["image"].permute(2, 0, 1), own["image"])
        torch.testing.assert_close(image["boxes"].float(), own["instances"].gt_boxes.tensor)
    with Image.open(whole.run / "failed_batch" / "step_3.jpg") as picture:
        assert min(picture.size) > 400

    rates = {line["iteration"]: line["lr"] for line in metric_lines(whole.run) if "lr" in line}
    assert rates[12] == pytest.approx(stored(whole)["config"]["solver"]["base_lr"] / 3)
    assert stored(whole)["setbacks"]["skipped_steps"] == 1
    resumed = resumed_after_a_stop(monkeypatch, *common)
    assert same_weights(whole, resumed)
    assert stored(resumed)["setbacks"] == stored(whole)["setbacks"]


def test_a_batch_that_does_not_fit_into_memory_is_divided(
    toy_dataset: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    common = [f"data.root={toy_dataset}", "solver.max_iter=6", "evaluation.eval_period=3",
              "hardware.num_workers=1"]  # fmt: skip
    divided = run(*common, "solver.accumulate=2", "output_dir=divided")
    attempts: list[int] = []

    def fill(batch: list[Any], losses: dict[str, Any]) -> None:
        attempts.append(len(batch))
        if len(batch) > 2:
            torch.empty(1 << 50)

    change_forward(monkeypatch, fill)
    found = run(*common, "output_dir=found")
    assert attempts == [4, *[2] * 12]
    assert same_weights(divided, found)
    assert "solver.accumulate=2" in capsys.readouterr().err
    attempts.clear()
    resumed = resumed_after_a_stop(monkeypatch, *common)
    assert attempts == [4, *[2] * 12]
    assert same_weights(divided, resumed)


def test_a_single_image_that_does_not_fit_into_memory(
    toy_dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change_forward(monkeypatch, lambda batch, losses: torch.empty(1 << 50))
    with pytest.raises(TrainingError, match="The machine ran out of memory"):
        run(f"data.root={toy_dataset}", "solver.max_iter=2")


def test_a_damaged_training_image_is_left_out_and_resuming_is_exact(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    break_pixels(data / "images" / "train" / "train 004.png")
    common = ["data.root=data", "solver.max_iter=12", "evaluation.eval_period=8"]
    whole = run(*common, "output_dir=whole")
    assert whole.finished
    errors = capsys.readouterr().err
    assert f"warning: {data}/images/train/train 004.png: the image cannot be read" in errors
    assert errors.count("Training goes on with another image in its place") == 1
    assert stored(whole)["setbacks"]["unreadable"] == ("train 004.png",)
    resumed = resumed_after_a_stop(monkeypatch, *common, "hardware.num_workers=2")
    assert same_weights(whole, resumed)


def test_a_run_whose_training_images_are_damaged_and_vanish_can_be_resumed(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    images = data / "images" / "train"
    common = ["data.root=data", "solver.max_iter=12", "evaluation.eval_period=6"]
    evaluate_really = TrainingJob._validate

    def damage_and_stop(job: TrainingJob) -> dict[str, float]:
        if job.trainer.finished_steps == 6:
            # One pass is done, so that each of them is met in the next.
            break_pixels(images / "train 004.png")
            (images / "train 009.png").unlink()
        return evaluate_really(job)

    monkeypatch.setattr(TrainingJob, "_validate", damage_and_stop)
    stop_in_evaluation(monkeypatch, 2)
    stopped = run(*common, "output_dir=run")
    assert (stopped.finished, stopped.iteration) == (False, 12)
    monkeypatch.undo()
    monkeypatch.chdir(data.parent)
    capsys.readouterr()
    resumed = train(load_train_config(["resume=run", "solver.max_iter=14"]))
    assert (resumed.finished, resumed.iteration) == (True, 14)
    assert "training images have vanished since this run began" in capsys.readouterr().err
    # What it does not know of is refused as ever.
    (images / "train 011.png").unlink()
    with pytest.raises(DataError, match=r"missing: 1 of the images, such as train 011\.png"):
        train(load_train_config(["resume=run", "solver.max_iter=16"]))


def test_a_full_disk_costs_no_checkpoint_and_no_best_weights(
    toy_dataset: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    file_size_limit: Callable[[int], None],
) -> None:
    common = [f"data.root={toy_dataset}", "solver.max_iter=8", "evaluation.eval_period=2",
              "solver.checkpoint_period=1"]  # fmt: skip
    # The first evaluation is the best one, and is not written until the third.
    monkeypatch.setattr(EvaluationResult, "ap", 5.0)
    whole = run(*common, "output_dir=whole")
    assert stored(whole)["best"]["iteration"] == 2
    size = (whole.run / "checkpoints" / "best.pth").stat().st_size
    evaluate_really = TrainingJob._validate

    def validate(job: TrainingJob) -> dict[str, float]:
        figures = evaluate_really(job)
        file_size_limit({2: size // 2, 4: size // 2, 6: 1 << 40, 8: 1 << 40}[
            job.trainer.finished_steps
        ])  # fmt: skip
        if job.trainer.finished_steps == 4:
            # Neither is best.pth there, nor has last.pth its better AP.
            assert sorted(path.name for path in checkpoints.iterdir()) == ["last.pth"]
            assert torch.load(checkpoints / "last.pth", weights_only=True)["iteration"] == 1
        return figures

    checkpoints = Path("full/checkpoints")
    monkeypatch.setattr(TrainingJob, "_validate", validate)
    capsys.readouterr()
    full = run(*common, "output_dir=full")
    errors = capsys.readouterr().err
    assert full.finished
    assert "warning: step 2: full/checkpoints/best.pth: the checkpoint cannot be written" in errors
    assert errors.count("The previous checkpoint is unchanged. Free some space. Training goes") == 4
    for name in ("last", "best"):
        assert stored(full, name)["best"] == stored(whole, name)["best"]
        assert stored(full, name)["iteration"] == stored(whole, name)["iteration"]
        assert same_weights(whole, full, name)


def test_a_disk_that_is_full_at_the_end_is_an_error_that_says_what_is_missing(
    toy_dataset: Path,
    monkeypatch: pytest.MonkeyPatch,
    file_size_limit: Callable[[int], None],
) -> None:
    common = [f"data.root={toy_dataset}", "solver.max_iter=4", "evaluation.eval_period=2"]
    whole = run(*common, "output_dir=whole")
    size = (whole.run / "checkpoints" / "best.pth").stat().st_size
    save_really = TrainingJob._save

    def save(job: TrainingJob) -> None:
        save_really(job)
        file_size_limit(size // 2)

    with monkeypatch.context() as patch:
        patch.setattr(TrainingJob, "_save", save)
        with pytest.raises(TrainingError) as caught:
            run(*common, "output_dir=full")
    lines = str(caught.value).splitlines()
    assert "the checkpoint cannot be written" in lines[0]
    assert lines[0].endswith(
        "Step 4 is reached, but only 2 are saved; a resume repeats the others."
    )
    assert lines[1] == "The last checkpoint is saved. Resume with resume=full"
    file_size_limit(1 << 40)
    resumed = train(load_train_config(["resume=full"]))
    assert same_weights(whole, resumed)
    assert resumed.best == whole.best


def test_a_run_whose_ap_does_not_rise_ends_early_if_wanted(
    toy_dataset: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    common = [f"data.root={toy_dataset}", "solver.max_iter=20", "evaluation.eval_period=2",
              "solver.patience=2"]  # fmt: skip
    monkeypatch.setattr(EvaluationResult, "ap", 5.0)
    result = run(*common, "output_dir=whole")
    output = capsys.readouterr().out
    assert "step 6: no better AP in 2 evaluations (solver.patience): the run ends" in output
    assert (result.finished, result.iteration, result.best and result.best.iteration) == (
        True,
        6,
        2,
    )
    assert set(result.evaluations) == {"val", "test"}
    assert json.loads((result.run / "results.json").read_text())["checkpoint"] == "best"
    metrics = json.loads((result.run / "evaluation/val/metrics.json").read_text())
    assert metrics["provenance"]["iteration"] == 2

    again = train(load_train_config([f"resume={result.run}"]))
    assert (again.finished, again.iteration, again.evaluations) == (True, 6, {})
    text = capsys.readouterr().out
    assert "this run is finished (6 of 20 steps)" in text
    assert "a new run from model.weights=whole/checkpoints/best.pth" in text

    # The evaluations before a stop count.
    resumed = resumed_after_a_stop(monkeypatch, *common)
    assert resumed.iteration == 6
    assert same_weights(result, resumed)
    (resumed.run / "results.json").unlink()
    evaluated = train(load_train_config([f"resume={resumed.run}"]))
    assert (evaluated.iteration, set(evaluated.evaluations)) == (6, {"val", "test"})
