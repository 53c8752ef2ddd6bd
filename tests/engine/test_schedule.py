"""The learning rate on hand-worked steps."""

from __future__ import annotations

import pytest

from detfinetune.engine.schedule import Decay, learning_rate_factor


def test_warmup_rises_linearly_from_a_tenth_to_the_peak() -> None:
    factors = [learning_rate_factor(step, 100, 8, "constant") for step in range(9)]
    assert factors == pytest.approx([0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0])


def test_cosine_falls_to_one_percent_at_the_last_step() -> None:
    assert learning_rate_factor(10, 111, 10, "cosine") == 1.0
    assert learning_rate_factor(60, 111, 10, "cosine") == pytest.approx(0.505)
    assert learning_rate_factor(110, 111, 10, "cosine") == pytest.approx(0.01)


def test_linear_and_step() -> None:
    assert learning_rate_factor(50, 101, 0, "linear") == pytest.approx(0.505)
    assert [learning_rate_factor(step, 100, 0, "step") for step in (69, 70, 89, 90)] == [
        1.0,
        0.1,
        0.1,
        0.01,
    ]


def test_cooldown_is_constant_until_the_last_fifth() -> None:
    factors = [learning_rate_factor(step, 101, 10, "cooldown") for step in (10, 80, 90, 100, 150)]
    assert factors == pytest.approx([1.0, 1.0, 0.505, 0.01, 0.01])


@pytest.mark.parametrize("decay", ["cosine", "linear", "step", "constant", "cooldown"])
@pytest.mark.parametrize("max_iter", [1, 2, 3, 7])
@pytest.mark.parametrize("warmup", [0, 1, 5, 20])
def test_very_short_schedules_stay_in_range(decay: Decay, max_iter: int, warmup: int) -> None:
    for step in range(max_iter + 2):
        assert 0 < learning_rate_factor(step, max_iter, warmup, decay) <= 1
