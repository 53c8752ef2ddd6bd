"""Florence-2 (arXiv:2311.06242), asked to ground the phrases of a caption."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from detfinetune.errors import ConfigError
from detfinetune.models.florence2.decode import decode
from detfinetune.models.florence2.model import encoder_inputs
from detfinetune.models.florence2.parse import parse_answer
from detfinetune.models.florence2.tasks import TASKS
from detfinetune.models.florence2.vocabulary import Vocabulary, build_vocabulary, plain_name
from detfinetune.models.florence2.weights import ARCHITECTURE, ModelShape
from detfinetune.propose.prompts import split_phrases
from detfinetune.propose.zero_shot import Found, ZeroShotProposer


@dataclass(frozen=True)
class Question:
    """A caption of phrases, and the answers that are possible."""

    tokens: Tensor
    """(t,)."""

    vocabulary: Vocabulary


class Florence2Proposer(ZeroShotProposer[Question]):
    """Writes boxes as text: only the phrases asked for can be in the answer, so that each has one.

    What `transformers` parses of a free answer has no scores, and phrases of its own.
    """

    architecture = ARCHITECTURE
    usual_threshold = 0.3

    def encode(self, phrases: Sequence[str]) -> list[tuple[range, Question]]:
        """Return questions with at most 20 phrases."""
        tokenizer = self.processor.tokenizer
        for phrase in phrases:
            if not plain_name(phrase):
                raise ConfigError(
                    f"prompts: {self.name} knows no word of '{phrase}'. Give English ones with "
                    "prompts=FILE, a YAML file with a line for each class."
                )
        lengths = [len(name) for name in build_vocabulary(tokenizer, phrases).names]
        # The encoder's positions are also for the image, and the decoder's for boxes.
        room = self._positions // 4
        if max(lengths) > room:
            longest = phrases[lengths.index(max(lengths))]
            raise ConfigError(
                f"prompts: '{longest}' is too long for {self.name}. Shorten it with prompts=FILE."
            )
        parts = split_phrases(lengths, room)
        return [(part, self._question([phrases[number] for number in part])) for part in parts]

    @property
    def _positions(self) -> int:
        positions: int = self.network.config.text_config.max_position_embeddings
        return positions

    def _question(self, phrases: list[str]) -> Question:
        tokenizer = self.processor.tokenizer
        vocabulary = build_vocabulary(tokenizer, phrases)
        text = TASKS["phrase_grounding"].question.format(text=", ".join(vocabulary.written))
        tokens = torch.tensor(tokenizer(text).input_ids, device=self.network.device)
        return Question(tokens, vocabulary)

    def find(self, pixels: Tensor, asked: Question) -> list[Found]:
        """Return the boxes of each answer."""
        inputs = encoder_inputs(self.network, pixels, asked.tokens)
        hidden = self.network.get_encoder()(inputs_embeds=inputs).last_hidden_state
        limit = min(self._positions, ModelShape.answer_tokens)
        decoded = decode(self.network, hidden, asked.vocabulary, limit)
        answers = [
            parse_answer(tokens, chances, asked.vocabulary, 1, 1)
            for tokens, chances in zip(decoded.tokens, decoded.probabilities, strict=True)
        ]
        return [
            Found(
                torch.as_tensor(each.boxes, dtype=torch.float32, device=pixels.device),
                torch.as_tensor(each.scores, dtype=torch.float32, device=pixels.device),
                torch.as_tensor(each.class_ids, device=pixels.device),
            )
            for each in answers
        ]
