"""Grounding DINO (arXiv:2303.05499) and MM-Grounding-DINO (arXiv:2401.02361)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.ops import box_convert

from detfinetune.errors import ConfigError
from detfinetune.propose.prompts import split_phrases
from detfinetune.propose.zero_shot import Found, ZeroShotProposer

# Of BERT: these end a phrase for the model, wherever they stand.
_START, _END, _PERIOD, _QUESTION_MARK = 101, 102, 1012, 1029


@dataclass(frozen=True)
class Caption:
    """Phrases with a period after each."""

    tokens: Tensor
    """(1, t)."""

    shares: Tensor
    """Of each token in the score of each phrase: its own ones share it; (t, phrases)."""


class GroundingDinoProposer(ZeroShotProposer[Caption]):
    """Scores each token of a caption for each box."""

    architecture = "AutoModelForZeroShotObjectDetection"
    usual_threshold = 0.3

    def encode(self, phrases: Sequence[str]) -> list[tuple[range, Caption]]:
        """Return captions with at most 20 phrases."""
        tokens = [self._tokens(phrase) for phrase in phrases]
        # Start and end; and a period after each phrase.
        room = self.network.config.max_text_len - 2
        for phrase, own in zip(phrases, tokens, strict=True):
            if len(own) + 1 > room:
                raise ConfigError(
                    f"prompts: '{phrase}' has {len(own)} tokens, and {self.name} takes {room - 1}. "
                    "Shorten it with prompts=FILE."
                )
        parts = split_phrases([len(own) + 1 for own in tokens], room)
        return [(part, self._caption([tokens[number] for number in part])) for part in parts]

    def _tokens(self, phrase: str) -> list[int]:
        tokenizer = self.processor.tokenizer
        dropped = {_START, _END, _PERIOD, _QUESTION_MARK, tokenizer.unk_token_id}
        found = tokenizer(phrase, add_special_tokens=False).input_ids
        kept = [token for token in found if token not in dropped]
        if not kept:
            raise ConfigError(
                f"prompts: {self.name} knows no word of '{phrase}'. Give English ones with "
                "prompts=FILE, a YAML file with a line for each class."
            )
        return kept

    def _caption(self, phrases: list[list[int]]) -> Caption:
        tokens = [_START]
        spans = []
        for phrase in phrases:
            spans.append(slice(len(tokens), len(tokens) + len(phrase)))
            tokens += [*phrase, _PERIOD]
        shares = torch.zeros(len(tokens) + 1, len(phrases))
        for number, span in enumerate(spans):
            shares[span, number] = 1 / (span.stop - span.start)
        device = self.network.device
        return Caption(torch.tensor([[*tokens, _END]], device=device), shares.to(device))

    def find(self, pixels: Tensor, asked: Caption) -> list[Found]:
        """Return a box for each query: its phrase is the one with the best mean of its tokens.

        So both papers evaluate class names. The best single token would not tell 'white king' from
        'black king', nor 'fish tank' from 'fish'.
        """
        output = self.network(
            pixel_values=pixels, input_ids=asked.tokens.expand(len(pixels), -1), return_dict=True
        )
        scores, phrases = (output.logits[..., : len(asked.shares)].sigmoid() @ asked.shares).max(-1)
        boxes = box_convert(output.pred_boxes, "cxcywh", "xyxy")
        return [Found(*each) for each in zip(boxes, scores, phrases, strict=True)]
