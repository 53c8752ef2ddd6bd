"""The training step: gradients in parts, and the moving average of weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from detectron2.utils.events import EventStorage
from torch import nn

from detfinetune.engine.ema import averaged_model
from detfinetune.engine.trainer import Trainer

RATE = 0.1


class Line(nn.Module):
    """Learns y = 2 x - 1 from records with `x`; the loss is the mean over a batch."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(0.5))
        self.register_buffer("batches", torch.tensor(0))

    def forward(self, batch: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        self.batches += 1
        xs = torch.tensor([record["x"] for record in batch])
        return {"loss": ((self.weight * xs - (2 * xs - 1)) ** 2).mean()}


def trained(steps: int, **options: Any) -> Trainer:
    model = options.pop("model", None) or Line()
    batches = [[{"x": float(step + i) / 4} for i in range(4)] for step in range(steps)]
    trainer = Trainer(
        model, iter(batches), torch.optim.SGD(model.parameters(), lr=1.0),
        learning_rate=lambda step: RATE, device="cpu", precision="fp32", seed=0, clip_norm=0,
        **options,
    )  # fmt: skip
    with EventStorage():
        trainer.train(0, steps)
    return trainer


@pytest.mark.parametrize("parts", [2, 4])
def test_gradients_in_parts_are_those_of_the_whole_batch(parts: int) -> None:
    whole, divided = trained(5), trained(5, accumulate=parts)
    assert divided.model.batches == 5 * parts
    torch.testing.assert_close(divided.model.weight, whole.model.weight)


def test_the_average_is_the_one_computed_by_hand() -> None:
    model = Line()
    averaged = averaged_model(model, 0.25)
    seen = []
    real = averaged.update_parameters
    averaged.update_parameters = lambda m: (seen.append(float(m.weight.detach())), real(m))[1]
    trained(6, model=model, averaged=averaged)
    expected = seen[0]
    for step, weight in enumerate(seen[1:], start=1):
        decay = min(0.25, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * weight
    assert float(averaged.module.weight.detach()) == pytest.approx(expected, abs=1e-6)
    assert not torch.isclose(averaged.module.weight, model.weight, atol=1e-4)
    # Buffers are those of the model.
    assert averaged.module.batches == model.batches == 6


def test_groups_have_their_own_learning_rate() -> None:
    model = Line()
    optimizer = torch.optim.SGD([{"params": [model.weight], "lr_factor": 0.1}], lr=1.0)
    with EventStorage():
        Trainer(
            model, iter([[{"x": 1.0}]]), optimizer, learning_rate=lambda step: RATE, device="cpu",
            precision="fp32", seed=0, clip_norm=0,
        ).train(0, 1)  # fmt: skip
    assert optimizer.param_groups[0]["lr"] == pytest.approx(RATE * 0.1)
    # The gradient of (w - 1)^2 at 0.5 is -1.
    assert float(model.weight.detach()) == pytest.approx(0.5 + RATE * 0.1)
