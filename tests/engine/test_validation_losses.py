"""Losses on val, if wanted, are written at each evaluation and change nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from detectron2.utils.events import EventStorage
from test_edges import run, stop_in_evaluation, stored
from test_train import metric_lines

from detfinetune import evaluate
from detfinetune.config.load import load_train_config
from detfinetune.config.schema import DataConfig, EvaluateConfig, HardwareConfig
from detfinetune.data.loaders import build_test_loader
from detfinetune.data.pipeline import build_test_pipeline
from detfinetune.data.register import register_split
from detfinetune.engine.train import train
from detfinetune.labels.prepare import prepare_dataset
from detfinetune.models.checkpoint import load_detector

CPU = HardwareConfig(name="cpu", num_workers=0)
# A tenth as wide as the zoo's; with random weights, its BatchNorm is trained.
RETINANET = [
    "model.name=COCO-Detection/retinanet_R_50_FPN_1x", "detectron2.MODEL.FPN.OUT_CHANNELS=32",
    "detectron2.MODEL.RESNETS.STEM_OUT_CHANNELS=16", "detectron2.MODEL.RESNETS.WIDTH_PER_GROUP=16",
    "detectron2.MODEL.RESNETS.RES2_OUT_CHANNELS=32",
]  # fmt: skip
LOSSES = {
    "faster_rcnn": {"loss_cls", "loss_box_reg", "loss_rpn_cls", "loss_rpn_loc"},
    "retinanet": {"loss_cls", "loss_box_reg"},
}
MODEL = {"faster_rcnn": [], "retinanet": RETINANET}


@pytest.fixture(autouse=True)
def _in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def metrics(run: Path, split: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((run / "evaluation" / split / "metrics.json").read_text())
    return content


def val_lines(run: Path) -> list[dict[str, float]]:
    """What was written of each evaluation on val."""
    lines = [
        {key: value for key, value in line.items() if key.startswith("val/")}
        for line in metric_lines(run)
    ]
    return [line for line in lines if line]


def by_hand(checkpoint: Path, data: Path, split: str) -> dict[str, float]:
    """Mean losses of Detectron2's own model, one image at a time, with the heads in training."""
    detector = load_detector(checkpoint, CPU)
    dataset = prepare_dataset(DataConfig(root=data))
    steps = build_test_pipeline(detector.config, detector.classes, labels=True)
    loader = build_test_loader(register_split(dataset, split), steps, labels=True)
    model = detector.model.model
    before = model.loss_normalizer
    model.training = True  # not its BatchNorm
    sums: dict[str, float] = {}
    for ids, batch in loader:
        assert len(ids) == len(batch) == 1
        model.loss_normalizer = before
        with EventStorage(), torch.no_grad():
            losses = model(batch)
        # The new one is 0.9 of the one before and 0.1 of the anchors on objects, at least one.
        positive = (model.loss_normalizer - 0.9 * before) / 0.1
        for name, loss in losses.items():
            sums[name] = sums.get(name, 0.0) + float(loss) * model.loss_normalizer / positive / 8
    return sums


@pytest.mark.parametrize("kind", MODEL)
def test_losses_on_val_are_written_and_change_nothing(toy_dataset: Path, kind: str) -> None:
    common = [f"data.root={toy_dataset}", *MODEL[kind], "solver.max_iter=4",
              "evaluation.eval_period=2"]  # fmt: skip
    without = run(*common, "output_dir=without")
    found = run(*common, "evaluation.loss=true", "output_dir=with")

    names = {f"val/{name}" for name in LOSSES[kind]}
    lines = val_lines(found.run)
    assert len(lines) == 2
    for line in lines:
        assert {key for key in line if "loss" in key} == names
        assert all(0 < line[name] < 100 for name in names)
        assert "val/bbox/AP" in line
    assert lines[0] != lines[1]
    assert not any("loss" in key for line in val_lines(without.run) for key in line)

    on_val, on_test = metrics(found.run, "val"), metrics(found.run, "test")
    best = lines[on_val["provenance"]["iteration"] // 2 - 1]
    assert on_val["losses"] == {name.removeprefix("val/"): best[name] for name in names}
    assert on_test["losses"].keys() == on_val["losses"].keys()
    assert on_test["losses"] != on_val["losses"]
    assert "losses" not in metrics(without.run, "val")

    one, other = stored(without), stored(found)
    assert one["model"].keys() == other["model"].keys()
    assert all(torch.equal(value, other["model"][name]) for name, value in one["model"].items())
    for number, state in one["optimizer"]["state"].items():
        for name, value in state.items():
            assert torch.equal(value, other["optimizer"]["state"][number][name])
    assert one["best"] == other["best"]
    assert metrics(without.run, "val")["bbox"] == on_val["bbox"]

    if kind == "retinanet":  # which draws no regions at random
        checkpoint = found.run / "checkpoints" / "best.pth"
        for split in ("val", "test"):
            expected = by_hand(checkpoint, toy_dataset, split)
            assert metrics(found.run, split)["losses"] == pytest.approx(expected, rel=1e-4)
        again = evaluate(
            EvaluateConfig.model_validate(
                {"run": found.run, "split": "val", "hardware": CPU.model_dump(),
                 "evaluation": {"loss": True}, "output": "again"}
            )
        )  # fmt: skip
        assert again.losses == pytest.approx(on_val["losses"], rel=1e-4)


def test_retinanet_resumes_exactly_with_an_average(
    toy_dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    common = [f"data.root={toy_dataset}", *RETINANET, "solver.max_iter=4", "solver.ema_decay=0.9",
              "evaluation.eval_period=2", "evaluation.test_at_end=false",
              "evaluation.loss=true"]  # fmt: skip
    whole = run(*common, "output_dir=whole")
    stop_in_evaluation(monkeypatch, 1)
    stopped = run(*common, "output_dir=stopped")
    assert (stopped.finished, stopped.iteration) == (False, 2)
    at_two = float(stored(stopped)["model"]["loss_normalizer"])
    assert 0 < at_two != 100
    older = stored(stopped)
    resumed = train(load_train_config(["resume=stopped"]))
    one, other = stored(whole), stored(resumed)
    for part in ("model", "ema"):
        assert "loss_normalizer" in one[part]
        assert one[part].keys() == other[part].keys()
        assert all(torch.equal(value, other[part][name]) for name, value in one[part].items())
    assert float(one["model"]["loss_normalizer"]) != at_two
    assert len(val_lines(whole.run)) == 2
    assert val_lines(whole.run) == val_lines(resumed.run)
    # Runs of older versions have none: they go on, from Detectron2's first value.
    for part in ("model", "ema"):
        older[part].pop("loss_normalizer")
    torch.save(older, "stopped/checkpoints/last.pth")
    Path("stopped/results.json").unlink()
    again = train(load_train_config(["resume=stopped"]))
    assert (again.finished, again.iteration) == (True, 4)
    assert float(stored(again)["model"]["loss_normalizer"]) != float(
        one["model"]["loss_normalizer"]
    )
