"""OWLv2 (arXiv:2306.09683)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torchvision.ops import box_convert

from detfinetune.errors import ConfigError
from detfinetune.propose.zero_shot import Found, ZeroShotProposer

_PROMPT = "a photo of a {}"


class Owlv2Proposer(ZeroShotProposer[Tensor]):
    """Compares a vector of each phrase with one of each patch of the image."""

    architecture = "Owlv2ForObjectDetection"
    usual_threshold = 0.2

    def encode(self, phrases: Sequence[str]) -> list[tuple[range, Tensor]]:
        """Return the vectors of all phrases, (phrases, width): they do not depend on each other."""
        tokenizer, limit = self.processor.tokenizer, self._most_tokens
        prompts = [_PROMPT.format(phrase) for phrase in phrases]
        for phrase, tokens in zip(phrases, tokenizer(prompts).input_ids, strict=True):
            if len(tokens) > limit:
                raise ConfigError(
                    f"prompts: '{phrase}' is {len(tokens) - limit} tokens too long for "
                    f"{self.name}. Shorten it with prompts=FILE."
                )
        inputs = tokenizer(prompts, padding="max_length", max_length=limit, return_tensors="pt")
        inputs = inputs.to(self.network.device)
        vectors = self.network.owlv2.get_text_features(
            input_ids=inputs.input_ids, attention_mask=inputs.attention_mask
        ).pooler_output
        return [(range(len(phrases)), vectors)]

    @property
    def _most_tokens(self) -> int:
        limit: int = self.network.config.text_config.max_position_embeddings
        return limit

    def scale(self, width: int, height: int) -> tuple[int, int]:
        """Return the side of the square to which the image is padded."""
        return max(width, height), max(width, height)

    def find(self, pixels: Tensor, asked: Tensor) -> list[Found]:
        """Return a box for each patch, with the phrase that fits best."""
        features, _ = self.network.image_embedder(pixels)
        patches = features.flatten(1, 2)
        logits, _ = self.network.class_predictor(patches, asked.expand(len(pixels), -1, -1))
        boxes = box_convert(self.network.box_predictor(patches, features), "cxcywh", "xyxy")
        scores, phrases = logits.sigmoid().max(-1)
        return [Found(*each) for each in zip(boxes, scores, phrases, strict=True)]
