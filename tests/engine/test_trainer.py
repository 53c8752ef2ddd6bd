"""The training step: gradients in parts, and the moving average of weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from detfinetune.engine.ema import AveragedWeights
from detfinetune.engine.trainer import Trainer
from detfinetune.models.detection_model import DetectionModel, PredictOptions
from detfinetune.prediction import Prediction

RATE = 0.1


class Line(DetectionModel):
    """Learns y = 2 x - 1 from records with `x`; the loss is the mean over a batch."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(0.5))
        self.register_buffer("batches", torch.tensor(0))

    def forward(self, batch: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        self.batches += 1
        xs = torch.tensor([record["x"] for record in batch])
        return {"loss": ((self.weight * xs - (2 * xs - 1)) ** 2).mean()}

    def predict(self, batch: Any, options: PredictOptions) -> list[Prediction]:
        raise NotImplementedError


def trained(steps: int, **options: Any) -> Trainer:
    """Train on four records a step, in as many batches as `accumulate`."""
    model = options.pop("model", None) or Line()
    records = [{"x": float(step + i) / 4} for step in range(steps) for i in range(4)]
    size = 4 // options.get("accumulate", 1)
    batches = [records[first : first + size] for first in range(0, len(records), size)]
    groups = [{"params": list(model.parameters()), "lr_factor": 1.0}]
    trainer = Trainer(
        model, iter(batches), torch.optim.SGD(groups, lr=1.0),
        learning_rate=lambda step: RATE, device="cpu", precision="fp32", seed=0, clip_norm=0,
        **options,
    )  # fmt: skip
    trainer.train(0, steps)
    return trainer


def losses(trainer: Trainer) -> list[float]:
    return [value for value, _ in trainer.storage.history("loss").values()]


@pytest.mark.parametrize("parts", [2, 4])
def test_gradients_in_parts_are_those_of_the_whole_batch(parts: int) -> None:
    whole, divided = trained(5), trained(5, accumulate=parts)
    assert divided.model.batches == 5 * parts
    assert next(divided._iterator, None) is None
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
        model, iter([[{"x": 1.0}]]), optimizer, learning_rate=lambda step: RATE, device="cpu",
        precision="fp32", seed=0, clip_norm=0,
    ).train(0, 1)  # fmt: skip
    assert optimizer.param_groups[0]["lr"] == pytest.approx(RATE * 0.1)
    # The gradient of (w - 1)^2 at 0.5 is -1.
    assert float(model.weight.detach()) == pytest.approx(0.5 + RATE * 0.1)
