"""Constrained decoding: whatever a network prefers, an answer is a list of objects."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from answers import END, START, VOCABULARY, box
from torch import Tensor

from detfinetune.models.florence2.decode import decode
from detfinetune.models.florence2.parse import parse_answer

SIZE = 2000


class Scripted:
    """A network whose preferences are given for each step; (steps, images, tokens)."""

    config = SimpleNamespace(text_config=SimpleNamespace(decoder_start_token_id=END))

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits
        self.inputs: list[list[int]] = []

    def __call__(self, decoder_input_ids: Tensor, **_: Any) -> Any:
        step = len(self.inputs)
        self.inputs.append(decoder_input_ids[:, 0].tolist())
        return SimpleNamespace(logits=self.logits[step][:, None], past_key_values=None)


def preferring(*answers: list[int]) -> Scripted:
    logits = torch.zeros(max(map(len, answers)), len(answers), SIZE)
    for image, answer in enumerate(answers):
        for step, token in enumerate(answer):
            logits[step, image, token] = 20.0
    return Scripted(logits)


def test_an_answer_in_the_grammar_is_not_changed() -> None:
    answer = [START, 10, *box(0, 0, 1, 1), 10, 11, *box(998, 998, 999, 999), 12, 13,
              *box(3, 4, 5, 6), END]  # fmt: skip
    network = preferring(answer)
    decoded = decode(network, torch.zeros(1, 1, 1), VOCABULARY, 50)
    assert decoded.tokens == [answer]
    assert decoded.probabilities[0] == pytest.approx([1.0] * len(answer), abs=1e-4)
    # Each step gets the token before.
    assert [tokens[0] for tokens in network.inputs] == [END, *answer[:-1]]


def test_answers_of_a_batch_may_end_at_different_steps() -> None:
    first, second = [START, END], [START, 10, *box(0, 0, 1, 1), END]
    decoded = decode(preferring(first, second), torch.zeros(2, 1, 1), VOCABULARY, 50)
    assert decoded.tokens == [[START, END, END, END, END, END, END], second]


@pytest.mark.parametrize(
    ("wanted", "forbidden", "written"),
    [
        ([START], 11, "no class begins like this"),
        ([START], 1005, "a box without class"),
        ([START, 10], END, "a class without box"),
        ([START, 12], 1005, "half a name"),
        ([START, 10, 1005, 1006], 1005, "x2 = x1"),
        ([START, 10, 1005, 1006, 1007], 1003, "y2 < y1"),
        ([START, 10], 1999, "x1 in the last bin"),
        ([START, 10, 1005], 1999, "y1 in the last bin"),
        ([START, 10, 1005, 1006, 1007, 1008], 1009, "a fifth location"),
        ([], END, "no start"),
    ],
)
def test_what_is_not_in_the_grammar_is_not_written(
    wanted: list[int], forbidden: int, written: str
) -> None:
    network = preferring([*wanted, forbidden])
    decoded = decode(network, torch.zeros(1, 1, 1), VOCABULARY, len(wanted) + 1)
    assert decoded.tokens[0][: len(wanted)] == wanted
    assert decoded.tokens[0][-1] != forbidden, written


def test_probabilities_are_among_what_the_grammar_allows() -> None:
    logits = torch.full((2, 1, SIZE), 5.0)
    # After the start, 10, 12 and the end are allowed.
    logits[1, 0, [10, 12, END]] = torch.tensor([0.5, 0.2, 0.3]).log()
    decoded = decode(Scripted(logits), torch.zeros(1, 1, 1), VOCABULARY, 2)
    assert decoded.tokens == [[START, 10]]
    assert decoded.probabilities[0] == pytest.approx([1.0, 0.5])


@pytest.mark.parametrize("seed", range(20))
def test_random_networks_write_only_valid_objects(seed: int) -> None:
    logits = torch.randn(200, 2, SIZE, generator=torch.Generator().manual_seed(seed))
    decoded = decode(Scripted(logits), torch.zeros(2, 1, 1), VOCABULARY, 200)
    for tokens, probabilities in zip(decoded.tokens, decoded.probabilities, strict=True):
        parsed = parse_answer(tokens, probabilities, VOCABULARY, 640, 480)
        assert parsed.invalid == 0
        assert ((parsed.scores > 0) & (parsed.scores <= 1)).all()
        assert parsed.cut_off or END in tokens or len(tokens) == 200
