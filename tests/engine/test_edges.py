"""Runs at the edges: one step, no held-out images, stops at awkward moments, other folders."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from PIL import Image
from test_train import QUICK, TINY, break_pixels

from detfinetune import evaluate, predict
from detfinetune.config.load import load_train_config
from detfinetune.config.schema import EvaluateConfig, HardwareConfig, PredictConfig
from detfinetune.engine.job import TrainingJob
from detfinetune.engine.run_folder import RunFolder, locked
from detfinetune.engine.train import TrainResult, train
from detfinetune.errors import DataError, DetFinetuneError, OutputExistsError
from detfinetune.models.checkpoint import load_detector

CPU = {"name": "cpu", "num_workers": 0}


@pytest.fixture(autouse=True)
def _in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*overrides: str) -> TrainResult:
    return train(load_train_config([*QUICK, *TINY, "evaluation.pictures=2", *overrides]))


def stored(result: TrainResult, name: str = "last") -> dict[str, Any]:
    return torch.load(result.run / "checkpoints" / f"{name}.pth", weights_only=True)


def evaluated(run: Path, split: str) -> Any:
    return evaluate(EvaluateConfig.model_validate({"run": run, "split": split, "hardware": CPU}))


def predicted(run: Path, images: Path, output: Path) -> Any:
    return predict(
        PredictConfig.model_validate(
            {"run": run, "input": images, "output": output, "hardware": CPU}
        )
    )


def test_one_step(toy_dataset: Path) -> None:
    result = run(f"data.root={toy_dataset}", "solver.max_iter=1", "solver.warmup_iters=null")
    assert (result.finished, result.iteration) == (True, 1)
    assert set(result.evaluations) == {"val", "test"}
    assert stored(result)["iteration"] == 1


def test_no_held_out_images(
    toy_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for kind in ("images", "labels"):
        shutil.copytree(toy_dataset / kind / "train", tmp_path / "data" / kind)
    shutil.copy(toy_dataset / "classes.txt", tmp_path / "data")
    result = run("data.root=data", "data.val_fraction=0", "data.test_fraction=0",
                 "solver.max_iter=12")  # fmt: skip
    output = capsys.readouterr().out
    assert result.finished
    assert result.evaluations == {}
    assert result.best is None
    assert not (result.run / "checkpoints" / "best.pth").exists()
    assert "best checkpoint" not in output
    assert stored(result)["score_threshold"] is None
    assert evaluated(result.run, "train").num_images == 24
    with pytest.raises(DataError, match="has no split 'val'"):
        evaluated(result.run, "val")
    predicted(result.run, tmp_path / "data" / "images", tmp_path / "found")
    assert any((tmp_path / "found").iterdir())


def test_very_long_images_are_trained_evaluated_and_predicted_on(
    toy_dataset: Path, tmp_path: Path
) -> None:
    """Resized to a longer side of 160 pixels, the shorter one would round to 0."""
    shutil.copytree(toy_dataset, tmp_path / "data")
    for split in ("train", "val"):
        for kind, size in (("wide", (20_000, 10)), ("tall", (10, 20_000))):
            Image.new("RGB", size).save(tmp_path / "data" / "images" / split / f"{kind}.png")
            label = tmp_path / "data" / "labels" / split / f"{kind}.txt"
            label.write_text("0 0.5 0.5 0.2 0.8\n", encoding="utf-8")
    # Every image of train is in one of the batches.
    result = run("data.root=data", "solver.max_iter=7")
    assert result.evaluations["val"].num_images == 10
    found = predicted(result.run, tmp_path / "data" / "images" / "val", tmp_path / "found")
    assert (found.num_images, found.skipped) == (10, ())


def test_a_test_split_alone_is_evaluated_with_the_last_checkpoint(
    toy_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for kind in ("images", "labels"):
        for split in ("train", "test"):
            shutil.copytree(toy_dataset / kind / split, tmp_path / "data" / kind / split)
    shutil.copy(toy_dataset / "classes.txt", tmp_path / "data")
    result = run("data.root=data", "data.val_fraction=0", "solver.max_iter=2")
    assert list(result.evaluations) == ["test"]
    assert "test, last checkpoint" in capsys.readouterr().out


def test_validation_images_without_labels(
    toy_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(toy_dataset, tmp_path / "data")
    for label in (tmp_path / "data" / "labels" / "val").iterdir():
        label.write_text("", encoding="utf-8")
    result = run("data.root=data", "solver.max_iter=2", "evaluation.eval_period=1")
    assert result.finished
    assert result.best is None
    assert result.evaluations["val"].ap is None
    assert result.evaluations["test"].ap is not None
    assert "no labelled objects for validation" in capsys.readouterr().err


def test_evaluation_only_at_the_end(toy_dataset: Path) -> None:
    result = run(f"data.root={toy_dataset}", "solver.max_iter=6", "evaluation.eval_period=0")
    lines = (result.run / "train_metrics.jsonl").read_text(encoding="utf-8").splitlines()
    figures = [line for line in map(json.loads, lines) if "val/bbox/AP" in line]
    assert [line["iteration"] for line in figures] == [6]
    assert stored(result, "best")["iteration"] == 6
    assert stored(result)["best"] == stored(result, "best")["best"]


def stop_in_evaluation(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Send SIGTERM to this process in the evaluation with that number, from 1."""
    evaluate_really, seen = TrainingJob._validate, []

    def evaluate_and_stop(job: TrainingJob) -> dict[str, float]:
        seen.append(1)
        if len(seen) == number:
            os.kill(os.getpid(), signal.SIGTERM)
        return evaluate_really(job)

    monkeypatch.setattr(TrainingJob, "_validate", evaluate_and_stop)


def test_a_stop_during_an_evaluation_keeps_its_result(
    toy_dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    common = [f"data.root={toy_dataset}", "solver.max_iter=12", "evaluation.eval_period=4"]
    whole = run(*common, "output_dir=whole")
    stop_in_evaluation(monkeypatch, 2)
    stopped = run(*common, "output_dir=stopped")
    assert (stopped.finished, stopped.iteration) == (False, 8)
    assert stored(stopped)["iteration"] == 8
    assert stopped.best is not None
    assert stored(stopped)["best"]["value"] == stopped.best.value
    resumed = train(load_train_config(["resume=stopped"]))
    assert resumed.finished
    assert resumed.best == whole.best
    one, other = stored(whole)["model"], stored(resumed)["model"]
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_a_stop_in_the_last_evaluation_leaves_out_the_test(
    toy_dataset: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stop_in_evaluation(monkeypatch, 1)
    result = run(f"data.root={toy_dataset}", "solver.max_iter=3", "evaluation.eval_period=3")
    assert (result.finished, result.iteration, result.evaluations) == (False, 3, {})
    assert result.stopped_by == signal.SIGTERM
    assert stored(result)["iteration"] == 3
    assert f"detfinetune train resume={result.run}" in capsys.readouterr().out
    # A resume does what is missing, once.
    made_up = train(load_train_config([f"resume={result.run}"]))
    assert set(made_up.evaluations) == {"val", "test"}
    assert json.loads((result.run / "results.json").read_text())["test"]["bbox"]["AP"] is not None
    assert train(load_train_config([f"resume={result.run}"])).evaluations == {}


def test_a_run_without_a_checkpoint_begins_again(
    toy_dataset: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    common = [f"data.root={toy_dataset}", "solver.max_iter=3"]
    whole = run(*common, "output_dir=whole")
    with monkeypatch.context() as patch:
        patch.setattr(TrainingJob, "_build_model", lambda job: signal.raise_signal(signal.SIGINT))
        with pytest.raises(KeyboardInterrupt):
            run(*common, "output_dir=stopped")
    resumed = train(load_train_config(["resume=stopped"]))
    assert "stopped: stopped before its first checkpoint, so it begins again" in (
        capsys.readouterr().out.replace("stopped stopped", "stopped: stopped")
    )
    one, other = stored(whole)["model"], stored(resumed)["model"]
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_averaged_weights_and_gradients_in_parts_resume_exactly(
    toy_dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    common = [
        f"data.root={toy_dataset}", "solver.max_iter=8", "evaluation.eval_period=4",
        "solver.ema_decay=0.9", "solver.accumulate=2",
    ]  # fmt: skip
    whole = run(*common, "output_dir=whole")
    stop_in_evaluation(monkeypatch, 1)
    stopped = run(*common, "output_dir=stopped")
    assert (stopped.finished, stopped.iteration) == (False, 4)
    resumed = train(load_train_config(["resume=stopped"]))
    for name in ("last", "best"):
        one, other = stored(whole, name), stored(resumed, name)
        for part in ("model", "ema"):
            states = one[part] or {}
            assert all(torch.equal(value, other[part][key]) for key, value in states.items())
    assert resumed.best == whole.best
    last, best = stored(whole), stored(whole, "best")
    assert best["ema"] is None
    average = last["ema"]
    assert average.keys() == last["model"].keys() == best["model"].keys()
    if best["iteration"] == 8:
        assert all(torch.equal(value, average[key]) for key, value in best["model"].items())
    assert any(not torch.equal(value, average[key]) for key, value in last["model"].items())
    # The average is what is evaluated, and what the best AP is of; also by the tool.
    ap = evaluated(whole.run, "test").ap
    assert ap == pytest.approx(whole.evaluations["test"].ap)
    assert evaluated(whole.run, "val").ap == pytest.approx(whole.best.value)
    from_last = load_detector(whole.run / "checkpoints" / "last.pth", HardwareConfig(name="cpu"))
    weights = from_last.model.checkpoint_state()
    assert all(torch.equal(weights[key], value) for key, value in average.items())


def test_a_run_of_an_older_version_goes_on(
    toy_dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has no family, no factors of learning rates, and the average in torch's wrapper."""
    common = [f"data.root={toy_dataset}", "solver.max_iter=4", "evaluation.eval_period=2",
              "solver.ema_decay=0.9", "evaluation.test_at_end=false"]  # fmt: skip
    whole = run(*common, "output_dir=whole")
    stop_in_evaluation(monkeypatch, 1)
    older = run(*common, "output_dir=older")
    content = stored(older)
    assert (content.pop("family"), content["iteration"]) == ("rcnn", 2)
    average = content["ema"]
    content["ema"] = {"n_averaged": torch.tensor(2)}
    content["ema"] |= {f"module.{name}": value for name, value in average.items()}
    for group in content["optimizer"]["param_groups"]:
        assert group.pop("lr_factor") == 1.0
    last = older.run / "checkpoints" / "last.pth"
    torch.save(content, last)
    weights = load_detector(last, HardwareConfig(name="cpu")).model.checkpoint_state()
    assert all(torch.equal(value, average[name]) for name, value in weights.items())
    resumed = train(load_train_config(["resume=older"]))
    assert (resumed.finished, resumed.iteration) == (True, 4)
    for part in ("model", "ema"):
        one, other = stored(whole)[part], stored(resumed)[part]
        assert one.keys() == other.keys()
        assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_splits_whose_images_cannot_be_used(
    toy_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    shutil.copytree(toy_dataset, data)
    for split in ("val", "test"):
        for file in sorted((data / "images" / split).iterdir())[2:]:
            file.unlink()
            (data / "labels" / split / f"{file.stem}.txt").unlink()
    for file in (data / "labels" / "val").iterdir():
        file.write_text("0 0.5 0.5\n")
    for file in (data / "images" / "test").iterdir():
        file.write_bytes(b"")
    result = run(f"data.root={data}", "solver.max_iter=1", "output_dir=out")
    assert (result.finished, result.evaluations) == (True, {})
    errors = capsys.readouterr().err
    assert "split val is left out: none of its images can be used" in errors
    assert "split test is left out" in errors
    with pytest.raises(DataError, match="has no split 'test'"):
        evaluated(Path("out"), "test")


def test_a_missing_best_checkpoint_and_an_edited_configuration_are_said(
    toy_dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = run(f"data.root={toy_dataset}", "solver.max_iter=2")
    (result.run / "checkpoints" / "best.pth").unlink()
    evaluated(result.run, "val")
    assert "best.pth is missing, so last.pth is used" in capsys.readouterr().err
    file = result.run / "config.yaml"
    text = file.read_text().replace("clip_norm: 5.0", "clip_norm: 1.0")
    file.write_text(text)
    train(load_train_config([f"resume={result.run}", "solver.max_iter=3"]))
    assert "config.yaml is not what this run began with" in capsys.readouterr().err
    assert file.read_text() == text


def test_a_run_is_trained_by_one_process_at_a_time(toy_dataset: Path) -> None:
    result = run(f"data.root={toy_dataset}", "solver.max_iter=1")
    with (
        locked(RunFolder(result.run)),
        pytest.raises(OutputExistsError, match="another process is writing to this folder"),
    ):
        train(load_train_config([f"resume={result.run}", "solver.max_iter=2"]))
    assert train(load_train_config([f"resume={result.run}", "solver.max_iter=2"])).iteration == 2


def test_an_image_swapped_for_another_of_its_size_is_noticed(
    toy_dataset: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    shutil.copytree(toy_dataset, data)
    result = run(f"data.root={data}", "solver.max_iter=1")
    further = [f"resume={result.run}", "solver.max_iter=2"]
    train_images = data / "images" / "train"
    shutil.copy(train_images / "train 001.png", train_images / "train 000.png")
    with pytest.raises(DataError, match=r"missing: 1 of the images, such as train 000\.png"):
        train(load_train_config(further))
    Image.new("RGB", (96, 96)).save(train_images / "train 000.png")
    with pytest.raises(DataError, match=r"other content: 1 of the images, such as train 000\.png"):
        train(load_train_config(further))
    shutil.copy(toy_dataset / "images" / "train" / "train 000.png", train_images)
    # New images, and test labels that were corrected, do not keep a run from going on.
    shutil.copy(train_images / "train 000.png", train_images / "new.png")
    Image.new("RGB", (96, 96), "red").save(train_images / "newer.png")
    (data / "labels" / "test" / "test 000.txt").write_text("0 0.5 0.5 0.6 0.6 0.5 0.6\n")
    resumed = train(load_train_config(further))
    assert (resumed.finished, resumed.iteration) == (True, 2)


def test_a_run_goes_on_after_its_data_was_moved(toy_dataset: Path, tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    shutil.copytree(toy_dataset, old)
    result = run(f"data.root={old}", "solver.max_iter=1")
    old.rename(new)
    further = [f"resume={result.run}", "solver.max_iter=2"]
    with pytest.raises(DetFinetuneError, match="old"):
        train(load_train_config(further))
    assert train(load_train_config([*further, f"data.root={new}"])).iteration == 2
    stored_root = yaml.safe_load((result.run / "config.yaml").read_text())["data"]["root"]
    assert stored_root == str(new)
    assert evaluated(result.run, "test").num_images == 8


def test_another_number_of_threads_is_said(
    toy_dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = run(f"data.root={toy_dataset}", "solver.max_iter=1")
    machine = result.run / "environment.json"
    content = json.loads(machine.read_text())
    machine.write_text(json.dumps({**content, "torch_threads": 7}))
    train(load_train_config([f"resume={result.run}", "solver.max_iter=2"]))
    errors = capsys.readouterr().err
    assert "began with 7 threads, now 1 (set OMP_NUM_THREADS=7)" in errors
    assert "not be bit-equal" in errors


def test_an_evaluation_that_fails_at_the_end_loses_no_step(
    toy_dataset: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    shutil.copytree(toy_dataset, data)
    common = [f"data.root={data}", "solver.max_iter=3", "evaluation.eval_period=0"]
    whole = run(*common, "output_dir=whole")
    victim = data / "images" / "val" / "val 003.png"
    sound = victim.read_bytes()
    break_pixels(victim)
    with pytest.raises(DataError, match=r"val 003\.png"):
        run(*common, "output_dir=out")
    assert torch.load("out/checkpoints/last.pth", weights_only=True)["iteration"] == 3
    # A resume makes up for it.
    victim.write_bytes(sound)
    (Path("whole") / "images.csv").replace("out/images.csv")
    resumed = train(load_train_config(["resume=out"]))
    assert (resumed.iteration, resumed.best) == (3, whole.best)
    assert stored(resumed, "best")["iteration"] == 3
    assert train(load_train_config(["resume=out"])).evaluations == {}


def test_resuming_at_the_end_and_before_it(
    toy_dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = run(f"data.root={toy_dataset}", "solver.max_iter=2")
    before = (result.run / "checkpoints" / "last.pth").read_bytes()
    capsys.readouterr()
    again = train(load_train_config([f"resume={result.run}", "solver.max_iter=2"]))
    assert (again.finished, again.iteration, again.best) == (True, 2, result.best)
    assert "this run is finished (2 of 2 steps)" in capsys.readouterr().out
    assert (result.run / "checkpoints" / "last.pth").read_bytes() == before
    further = train(load_train_config([f"resume={result.run}", "solver.max_iter=5"]))
    assert (further.finished, further.iteration) == (True, 5)


def test_masks_from_a_relative_root_are_found_from_another_folder(
    toy_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(toy_dataset, tmp_path / "here" / "data")
    monkeypatch.chdir(tmp_path / "here")
    result = run("data.root=data", "task=segm", "solver.max_iter=40")
    at_end = result.evaluations["test"].metrics["segm"].figures["AP"]
    folder = result.run.absolute()
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path / "there")
    later = evaluated(folder, "test").metrics["segm"].figures["AP"]
    assert later == pytest.approx(at_end, abs=1e-6)
    assert later > 0
    predicted(folder, tmp_path / "here" / "data" / "images" / "test", Path("found"))
    results = next(Path("found").rglob("*.json"))
    text = results.read_text(encoding="utf-8")
    assert "segmentation" in text


def test_a_run_is_the_start_of_one_with_other_classes(
    toy_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = run(f"data.root={toy_dataset}", "solver.max_iter=2", "output_dir=first")
    start = f"model.weights={first.run / 'checkpoints' / 'best.pth'}"
    shutil.copytree(toy_dataset, tmp_path / "renamed")
    (tmp_path / "renamed" / "classes.txt").write_text("coin\ntile\n", encoding="utf-8")
    capsys.readouterr()
    run("data.root=renamed", start, "solver.max_iter=1", "evaluation.test_at_end=false")
    assert (
        "class layers are random, as the weights have other classes: disc, square"
        in capsys.readouterr().out
    )
    run(f"data.root={toy_dataset}", start, "solver.max_iter=1", "evaluation.test_at_end=false")
    assert "are random" not in capsys.readouterr().out
