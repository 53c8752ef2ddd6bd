"""Constrained decoding: an answer can only be a list of objects of the known classes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from detfinetune.labels.formats.location_bins import BINS, COORDINATES
from detfinetune.models.florence2.vocabulary import Vocabulary


@dataclass
class _Names:
    """A node of the trie of class names."""

    longer: dict[int, _Names] = field(default_factory=dict)
    """By next token."""

    whole: bool = False
    """Whether a name ends here."""


def _trie(vocabulary: Vocabulary) -> _Names:
    root = _Names()
    for name in vocabulary.names:
        node = root
        for token in name:
            node = node.longer.setdefault(token, _Names())
        node.whole = True
    return root


class _Answer:
    """One answer so far: start, then objects (class name, x1, y1, x2 > x1, y2 > y1), then end."""

    def __init__(self, vocabulary: Vocabulary, names: _Names) -> None:
        self._vocabulary = vocabulary
        self._names = names
        self._node: _Names | None = None
        self._box: list[int] = []
        self.tokens: list[int] = []
        self.probabilities: list[float] = []
        self.ended = False

    def take(self, token: int, probability: float) -> None:
        """Append a token that is allowed; after the end, it is the end again."""
        self.tokens.append(token)
        self.probabilities.append(probability)
        bin_ = self._vocabulary.bins.get(token)
        if bin_ is not None:
            self._box.append(bin_)
        elif token == self._vocabulary.end:
            self.ended = True
        elif self._node is not None and not self.ended:
            self._node = self._node.longer[token]
        if self._node is None or len(self._box) == COORDINATES:
            self._node, self._box = self._names, []

    def allowed(self) -> list[int]:
        """Return the tokens that may follow."""
        if self.ended:
            return [self._vocabulary.end]
        if self._node is None:
            return [self._vocabulary.start]
        if self._box:
            # Of x1 and y1, the last bin would leave none for x2 and y2.
            first = 0 if len(self._box) == 1 else self._box[len(self._box) - 2] + 1
            last = BINS - 1 if len(self._box) == 1 else BINS
            return self._locations(first, last)
        tokens = list(self._node.longer)
        if self._node.whole:
            tokens += self._locations(0, BINS - 1)
        if self._node is self._names:
            tokens.append(self._vocabulary.end)
        return tokens

    def _locations(self, first: int, last: int) -> list[int]:
        found: list[int] = self._vocabulary.locations[first:last].tolist()
        return found


@dataclass(frozen=True)
class Decoded:
    """The answers of a batch."""

    tokens: list[list[int]]
    """By image, all equally long: after the end of an answer, it is repeated."""

    probabilities: list[list[float]]
    """Of each token, among those that the grammar allows."""


def decode(network: Any, hidden: Tensor, vocabulary: Vocabulary, max_tokens: int) -> Decoded:
    """Write answers: at each step the most probable token that the grammar allows.

    `generate` of `transformers` would add what else the published settings have: beams, forced
    tokens, and that three tokens never repeat, as those of two objects of a class may.

    Args:
        network: `Florence2ForConditionalGeneration`.
        hidden: the encoder's output; (b, t, width).
        vocabulary: tokens of answers.
        max_tokens: of an answer.
    """
    from transformers.modeling_outputs import BaseModelOutput

    names = _trie(vocabulary)
    answers = [_Answer(vocabulary, names) for _ in range(len(hidden))]
    encoded = BaseModelOutput(last_hidden_state=hidden)
    first = network.config.text_config.decoder_start_token_id
    last = torch.full((len(hidden), 1), first, device=hidden.device)
    cache = None
    for _ in range(max_tokens):
        if all(answer.ended for answer in answers):
            break
        output = network(
            encoder_outputs=encoded,
            decoder_input_ids=last,
            past_key_values=cache,
            use_cache=True,
        )
        cache = output.past_key_values
        scores = output.logits[:, -1].float()
        forbidden = torch.ones_like(scores, dtype=torch.bool)
        for row, answer in enumerate(answers):
            forbidden[row, answer.allowed()] = False
        chances, last = scores.masked_fill(forbidden, -torch.inf).softmax(-1).max(-1, keepdim=True)
        taken = zip(answers, last[:, 0].tolist(), chances[:, 0].tolist(), strict=True)
        for answer, token, chance in taken:
            answer.take(token, chance)
    return Decoded(
        [answer.tokens for answer in answers], [answer.probabilities for answer in answers]
    )
