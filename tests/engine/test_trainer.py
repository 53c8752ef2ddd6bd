"""The training step: gradients in parts, the moving average, full memory, what is not finite."""

from __future__ import annotations

import itertools
import math
from collections.abc import Generator
from typing import Any

import pytest
import torch
from torch import nn

from detfinetune.engine.ema import AveragedWeights
from detfinetune.engine.trainer import Trainer
from detfinetune.errors import DivergedError
from detfinetune.models.detection_model import DetectionModel, PredictOptions
from detfinetune.prediction import Prediction

RATE = 0.1


class Line(DetectionModel):
    """Learns y = 2 x - 1 from records with `x`; the loss is the mean over a batch.

    With more than `fitting` records at once, memory is full.
    """

    def __init__(self, fitting: int = 4) -> None:
        super().__init__()
        self.fitting = fitting
        self.weight = nn.Parameter(torch.tensor(0.5))
        self.register_buffer("batches", torch.tensor(0))

    def forward(self, batch: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        self.batches += 1
        if len(batch) > self.fitting:
            torch.empty(1 << 50)
        xs = torch.tensor([record["x"] for record in batch])
        return {"loss": ((self.weight * xs - (2 * xs - 1)) ** 2).mean()}

    def predict(self, batch: Any, options: PredictOptions) -> list[Prediction]:
        raise NotImplementedError


class Records:
    """Four records a step."""

    images_per_process = 4

    def __init__(self, **special: float) -> None:
        """Let `x` of all records of a step, such as step_2 (from 0), be another number."""
        self.special = special
        self.opened: list[tuple[int, int]] = []

    def batches(self, start_iter: int, accumulate: int) -> Generator[Any, None, None]:
        self.opened.append((start_iter, accumulate))
        for step in itertools.count(start_iter):
            xs = [self.special.get(f"step_{step}", float(step + i) / 4) for i in range(4)]
            size = 4 // accumulate
            yield from ([{"x": x} for x in xs[i : i + size]] for i in range(0, 4, size))


def new_trainer(
    model: Line | None = None, records: Records | None = None, precision: str = "fp32",
    **options: Any,
) -> Trainer:  # fmt: skip
    model = model or Line()
    groups = [{"params": list(model.parameters()), "lr_factor": 1.0}]
    return Trainer(
        model, records or Records(), torch.optim.SGD(groups, lr=1.0),
        learning_rate=lambda step: RATE, device="cpu", precision=precision, seed=0, clip_norm=0,
        **options,
    )  # fmt: skip


def trained(steps: int, **options: Any) -> Trainer:
    """Train on four records a step, in as many batches as `accumulate`."""
    trainer = new_trainer(**options)
    trainer.train(0, steps)
    return trainer


def losses(trainer: Trainer) -> list[float]:
    return [value for value, _ in trainer.storage.history("loss").values()]


@pytest.mark.parametrize("parts", [2, 4])
def test_gradients_in_parts_are_those_of_the_whole_batch(parts: int) -> None:
    whole, divided = trained(5), trained(5, accumulate=parts)
    assert divided.model.batches == 5 * parts
    assert next(divided._batches)[0]["x"] == 5 / 4
    torch.testing.assert_close(divided.model.weight, whole.model.weight)
    assert losses(divided) == pytest.approx(losses(whole))
    assert losses(whole)[0] == pytest.approx(0.3671875)


def test_the_average_is_the_one_computed_by_hand() -> None:
    model = Line()
    averaged = AveragedWeights(model, 0.25)
    expected = float(model.weight.detach())
    seen = []
    real = averaged.update
    averaged.update = lambda step: (seen.append((step, float(model.weight.detach()))), real(step))[
        1
    ]
    trained(6, model=model, averaged=averaged)
    assert [step for step, _ in seen] == [1, 2, 3, 4, 5, 6]
    for step, weight in seen:
        decay = min(0.25, step / (9 + step))
        expected = decay * expected + (1 - decay) * weight
    assert float(averaged.state["weight"]) == pytest.approx(expected, abs=1e-6)
    assert not torch.isclose(averaged.state["weight"], model.weight, atol=1e-4)
    # What is no number with decimals is that of the model.
    assert averaged.state["batches"] == model.batches == 6


def test_the_average_is_applied_inside_a_block_and_undone_after_errors() -> None:
    model = Line()
    averaged = AveragedWeights(model, 0.9)
    trained(3, model=model, averaged=averaged)
    own, average = float(model.weight.detach()), float(averaged.state["weight"])
    assert own != average
    with averaged.applied():
        assert float(model.weight.detach()) == average
    assert float(model.weight.detach()) == own
    with pytest.raises(KeyError), averaged.applied():
        raise KeyError
    assert float(model.weight.detach()) == own
    # Neither shares memory with the other.
    with torch.no_grad():
        model.weight.fill_(7)
    assert float(averaged.state["weight"]) == average


def test_the_average_continues_from_a_stored_one() -> None:
    model = Line()
    averaged = AveragedWeights(model, 0.9)
    averaged.load({"weight": torch.tensor(3.0), "batches": torch.tensor(5)})
    averaged.update(1000)
    assert float(averaged.state["weight"]) == pytest.approx(0.9 * 3 + 0.1 * 0.5)
    assert averaged.state["batches"] == 0


def test_groups_have_their_own_learning_rate() -> None:
    model = Line()
    optimizer = torch.optim.SGD([{"params": [model.weight], "lr_factor": 0.1}], lr=1.0)
    Trainer(
        model, Records(step_0=1.0), optimizer, learning_rate=lambda step: RATE, device="cpu",
        precision="fp32", seed=0, clip_norm=0,
    ).train(0, 1)  # fmt: skip
    assert optimizer.param_groups[0]["lr"] == pytest.approx(RATE * 0.1)
    # The gradient of (w - 1)^2 at 0.5 is -1.
    assert float(model.weight.detach()) == pytest.approx(0.5 + RATE * 0.1)


@pytest.mark.parametrize("fitting", [1, 2, 3])
def test_a_step_that_does_not_fit_into_memory_is_repeated_in_parts(
    fitting: int, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = trained(5)
    model, records = Line(), Records()
    trainer = new_trainer(model, records)
    trainer.train(0, 2)
    model.fitting = fitting
    trainer.train(2, 5)
    parts = {1: 4, 2: 2, 3: 2}[fitting]
    assert trainer.accumulate == parts
    # From the step on that did not fit, with the same images.
    assert records.opened[0] == (0, 1)
    assert records.opened[-1] == (2, parts)
    torch.testing.assert_close(model.weight, whole.model.weight)
    assert losses(trainer) == pytest.approx(losses(whole)[2:])
    # Nothing is left of the attempts.
    assert model.batches == 2 + 3 * parts
    assert "warning: step 3: memory is full. From this step on" in capsys.readouterr().err


def test_one_image_that_does_not_fit_into_memory_is_the_end() -> None:
    trainer = new_trainer(Line(fitting=0))
    with pytest.raises(MemoryError, match="allocate"):
        trainer.train(0, 2)
    assert (trainer.accumulate, trainer.finished_steps) == (4, 0)


class FullInBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, loss: torch.Tensor) -> torch.Tensor:
        return loss.clone()

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        return torch.empty(1 << 50)


def test_memory_may_be_full_in_the_backward_pass_too() -> None:
    class Deep(Line):
        def forward(self, batch: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
            found = super().forward(batch)
            return found if len(batch) < 4 else {"loss": FullInBackward.apply(found["loss"])}

    trainer = trained(3, model=Deep())
    assert trainer.accumulate == 2
    torch.testing.assert_close(trainer.model.weight, trained(3).model.weight)


def test_a_step_that_is_not_finite_is_skipped_and_lowers_the_rate(
    capsys: pytest.CaptureFixture[str],
) -> None:
    kept: list[int] = []

    def keep(step: int) -> str:
        kept.append(step)
        return "\nKept."

    # Its square is beyond the largest number.
    trainer = new_trainer(records=Records(step_1=1e30), keep_batch=keep)
    expected, weights = 0.5, []
    for step, rate in ((0, RATE), (2, RATE / 3), (3, RATE / 3)):
        xs = [(step + i) / 4 for i in range(4)]
        expected -= rate * sum(2 * x * (expected * x - (2 * x - 1)) for x in xs) / 4
        weights.append(expected)
    trainer.train(0, 2)
    assert float(trainer.model.weight.detach()) == pytest.approx(weights[0])
    assert (trainer.finished_steps, trainer.skipped_steps, kept) == (2, 1, [2])
    assert trainer.model.batches == 1
    text = capsys.readouterr().err
    assert text.startswith("warning: step 2: not finite: loss. The step is skipped")
    assert text.endswith("Kept.\n")
    trainer.train(2, 4)
    assert float(trainer.model.weight.detach()) == pytest.approx(weights[-1])
    assert losses(trainer) == pytest.approx(losses(trained(4))[2:], abs=0.2)


def test_the_fourth_step_that_is_not_finite_ends_training() -> None:
    bad = Records(**{f"step_{step}": 1e30 for step in (1, 2, 4, 6)})
    trainer = new_trainer(records=bad)
    with pytest.raises(DivergedError, match=r"^step 7: not finite: loss\. 3 steps were skipped"):
        trainer.train(0, 10)
    assert (trainer.finished_steps, trainer.diverged) == (6, True)
    assert math.isfinite(float(trainer.model.weight.detach()))


def test_gradients_that_fp16_does_not_hold(capsys: pytest.CaptureFixture[str]) -> None:
    class Steep(Line):
        """Has a finite loss with an infinite gradient for x = 0."""

        def forward(self, batch: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
            xs = torch.tensor([record["x"] for record in batch])
            return {"loss": (xs + 0 * self.weight).sqrt().mean() + self.weight**2}

    trainer = new_trainer(Steep(), Records(step_0=0.0, step_1=0.0), precision="fp16")
    trainer.scaler = torch.amp.GradScaler("cpu", init_scale=1.0)
    # The scaler's own way first: it skips a step and halves its scale.
    trainer.train(0, 1)
    assert (trainer.scaler.get_scale(), trainer.skipped_steps) == (0.5, 0)
    trainer.train(1, 2)
    assert (trainer.scaler.get_scale(), trainer.skipped_steps) == (0.25, 1)
    assert "not finite: the gradients" in capsys.readouterr().err
    assert float(trainer.model.weight.detach()) == 0.5
    trainer.train(2, 3)
    # The gradient of w^2 at 0.5 is 1.
    assert float(trainer.model.weight.detach()) == pytest.approx(0.5 - RATE / 3)
