"""Florence-2 as the engine sees it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from detfinetune.console import warn
from detfinetune.errors import CheckpointError
from detfinetune.models.detection_model import DetectionModel, PredictOptions
from detfinetune.models.florence2.decode import decode
from detfinetune.models.florence2.pack import IGNORED, Florence2Batch
from detfinetune.models.florence2.parse import ParsedAnswer, parse_answer
from detfinetune.models.florence2.vocabulary import Vocabulary
from detfinetune.prediction import Prediction

_BASE_HASH = "base_sha256"


class Florence2Model(DetectionModel):
    """A network of `transformers`, with or without adapters, that answers the prompt `<OD>`.

    Attributes:
        cut_off: answers so far that ended within a box, at the limit of tokens.
    """

    _prompt: Tensor
    _mean: Tensor
    _std: Tensor

    def __init__(
        self,
        network: nn.Module,
        vocabulary: Vocabulary,
        prompt: Tensor,
        pixel_mean: Tensor,
        pixel_std: Tensor,
        classes: tuple[str, ...],
        base_sha256: str,
        max_tokens: int,
    ) -> None:
        """Initialize the detector.

        Args:
            network: `Florence2ForConditionalGeneration`; its trainable parameters are what a
                checkpoint holds.
            vocabulary: tokens of answers.
            prompt: tokens of the question; (t,).
            pixel_mean: of RGB, 0-1; (3,).
            pixel_std: likewise.
            classes: class names by class id.
            base_sha256: hash of the weights that the network was loaded from.
            max_tokens: of an answer.
        """
        super().__init__()
        self.network: Any = network
        self.vocabulary = vocabulary
        self.classes = classes
        self.max_tokens = max_tokens
        self.cut_off = 0
        self._base_hash = torch.frombuffer(bytearray.fromhex(base_sha256), dtype=torch.uint8)
        self.register_buffer("_prompt", prompt, persistent=False)
        self.register_buffer("_mean", 255 * pixel_mean.view(3, 1, 1), persistent=False)
        self.register_buffer("_std", 255 * pixel_std.view(3, 1, 1), persistent=False)

    def forward(self, batch: Florence2Batch) -> dict[str, Tensor]:
        """Return the cross-entropy of the answers' tokens.

        In training a mean over the tokens of the batch; in eval mode over those of each image, then
        over the images, so that it does not depend on the batches.
        """
        inputs = self._inputs(batch.pixels)
        labels = batch.labels.to(inputs.device)
        output = self.network(inputs_embeds=inputs, labels=labels)
        if self.training:
            return {"loss_tokens": output.loss}
        losses = cross_entropy(output.logits.float().mT, labels, reduction="none")
        return {"loss_tokens": (losses.sum(1) / (labels != IGNORED).sum(1)).mean()}

    def predict(self, batch: Florence2Batch, options: PredictOptions) -> list[Prediction]:
        """Return what is found in each image."""
        inputs = self._inputs(batch.pixels)
        hidden = self.network.get_encoder()(inputs_embeds=inputs).last_hidden_state
        wanted = 2 + options.detections_per_image * self.vocabulary.longest_object
        limit = min(wanted, self.max_tokens)
        decoded = decode(self.network, hidden, self.vocabulary, limit)
        predictions = []
        for tokens, probabilities, (width, height) in zip(
            decoded.tokens, decoded.probabilities, batch.sizes, strict=True
        ):
            parsed = parse_answer(tokens, probabilities, self.vocabulary, width, height)
            self._count(parsed)
            predictions.append(self._prediction(parsed, width, height, options))
        return predictions

    def _inputs(self, pixels: Tensor) -> Tensor:
        pixels = (pixels.to(self._prompt.device) - self._mean) / self._std
        return encoder_inputs(self.network, pixels, self._prompt)

    def _count(self, parsed: ParsedAnswer) -> None:
        if parsed.cut_off and not self.cut_off:
            warn(
                "an answer was cut off within a box by the limit of tokens; such boxes are left "
                "out. evaluation.detections_per_image raises the limit, up to what the model has."
            )
        self.cut_off += parsed.cut_off

    def _prediction(
        self, parsed: ParsedAnswer, width: int, height: int, options: PredictOptions
    ) -> Prediction:
        best = np.argsort(-parsed.scores, kind="stable")[: options.detections_per_image]
        return Prediction(
            boxes=parsed.boxes[best].astype(np.float32),
            scores=parsed.scores[best].astype(np.float32),
            class_ids=parsed.class_ids[best],
            classes=self.classes,
            width=width,
            height=height,
        )

    def checkpoint_state(self) -> dict[str, Tensor]:
        """Return what is trained: adapters, or all weights; and the hash of the base weights."""
        return {**self._trained(), _BASE_HASH: self._base_hash}

    def load_checkpoint_state(self, state: dict[str, Tensor]) -> None:
        """Load what `checkpoint_state` returned.

        Raises:
            RuntimeError: names or shapes differ.
            CheckpointError: it was trained from other base weights.
        """
        stored = {name: value for name, value in state.items() if name != _BASE_HASH}
        if not torch.equal(state.get(_BASE_HASH, self._base_hash[:0]), self._base_hash):
            raise CheckpointError(
                "The base weights of this checkpoint have changed since it was trained, or are "
                "others: their hash differs. Put the original ones back; config.yaml of the run "
                "says which under model.weights."
            )
        own = self._trained()
        differences = [f"{name} is missing or unknown" for name in sorted(own.keys() ^ stored)]
        differences += [
            f"{name} has the shape {list(stored[name].shape)}, not {list(value.shape)}"
            for name, value in own.items()
            if name in stored and stored[name].shape != value.shape
        ]
        if differences:
            raise RuntimeError("\n".join(["the adapters differ:", *differences]))
        for name, value in own.items():
            value.copy_(stored[name])

    def _trained(self) -> dict[str, Tensor]:
        return {
            name: parameter.detach()
            for name, parameter in self.named_parameters()
            if parameter.requires_grad
        }


def encoder_inputs(network: Any, pixels: Tensor, prompt: Tensor) -> Tensor:
    """Return the encoder's input: the image's features, then the prompt; (b, t, width).

    The processor of `transformers` instead reserves tokens for one size of images.

    Args:
        network: `Florence2ForConditionalGeneration`.
        pixels: normalized RGB; (b, 3, h, w).
        prompt: tokens; (t,).
    """
    features = network.get_image_features(pixel_values=pixels).pooler_output
    words = network.get_input_embeddings()(prompt)
    return torch.cat([features.to(words), words.expand(len(features), -1, -1)], dim=1)
