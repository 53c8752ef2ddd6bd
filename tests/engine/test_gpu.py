"""Training on a CUDA device; `make acceptance` runs these."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from test_train import QUICK, TINY, metric_lines

from detfinetune import evaluate
from detfinetune.config.load import load_train_config
from detfinetune.engine.train import TrainResult, train
from detfinetune.models.rcnn.model import RcnnModel

pytestmark = pytest.mark.gpu

SMALL = ["model.name=efficientnet_lite0_fpn", *(item for item in QUICK if item != "hardware=cpu")]


def trained(folder: Path, data: Path, device: str, *overrides: str) -> TrainResult:
    return train(load_train_config([
        "+experiment=custom", f"data.root={data}", f"hardware={device}", *SMALL,
        f"output_dir={folder}", "evaluation.pictures=0", *overrides,
    ]))  # fmt: skip


@pytest.mark.parametrize("task", ["bbox", "segm"])
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_trains(
    toy_dataset: Path, tmp_path: Path, precision: str, task: str
) -> None:
    if precision == "bf16" and not torch.cuda.is_bf16_supported(including_emulation=False):
        pytest.skip("the GPU does not support bf16")
    run = tmp_path / "run"
    result = trained(
        run, toy_dataset, "gpu", f"hardware.precision={precision}", f"task={task}",
        "solver.max_iter=3",
    )  # fmt: skip
    assert result.finished
    losses = [line["total_loss"] for line in metric_lines(run) if "total_loss" in line]
    assert losses
    assert all(math.isfinite(loss) for loss in losses)
    # The weights themselves stay fp32.
    stored = torch.load(run / "checkpoints" / "last.pth", weights_only=True)["model"]
    assert {tensor.dtype for tensor in stored.values()} <= {torch.float32, torch.int64}


@pytest.mark.parametrize(("here", "there"), [("gpu", "cpu"), ("cpu", "gpu")])
def test_what_one_device_learns_the_other_finds(
    toy_dataset: Path, tmp_path: Path, here: str, there: str
) -> None:
    """Two loader processes; AP of the same checkpoint on both devices."""
    run = tmp_path / "run"
    result = trained(run, toy_dataset, here, "solver.max_iter=80", "hardware.num_workers=2")
    device = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))["hardware"]["device"]
    assert device == {"gpu": "cuda", "cpu": "cpu"}[here]
    own = result.evaluations["test"].metrics["bbox"].figures
    assert own["AP50"] > 60
    other = evaluate(run, split="test", hardware=there, output=tmp_path / "there")
    assert other.metrics["bbox"].figures["AP"] == pytest.approx(own["AP"], abs=1)


def test_a_run_resumes_with_its_optimizer(toy_dataset: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    trained(run, toy_dataset, "gpu", *TINY, "hardware.precision=fp32", "solver.max_iter=6")
    assert train(load_train_config([f"resume={run}", "solver.max_iter=12"])).iteration == 12
    stored = torch.load(run / "checkpoints" / "last.pth", weights_only=True)
    assert {state["step"].item() for state in stored["optimizer"]["state"].values()} == {12}
    steps = [line["iteration"] for line in metric_lines(run)]
    assert steps == sorted(set(steps))


def test_a_batch_that_does_not_fit_into_memory_is_divided(
    toy_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    really = RcnnModel.forward

    def forward(model: RcnnModel, batch: list[Any]) -> dict[str, torch.Tensor]:
        losses = really(model, batch)
        if model.training and len(batch) > 1:
            torch.empty(1 << 50, device="cuda")
        return losses

    monkeypatch.setattr(RcnnModel, "forward", forward)
    result = trained(tmp_path / "run", toy_dataset, "gpu", *TINY, "solver.max_iter=3")
    assert result.finished
    stored = torch.load(result.run / "checkpoints" / "last.pth", weights_only=True)
    assert stored["setbacks"]["accumulate"] == 4
