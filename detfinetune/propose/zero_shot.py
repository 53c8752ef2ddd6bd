"""What zero-shot models have in common: phrases in parts, images in batches of one size."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from detfinetune.data.window import Window
from detfinetune.models.pretrained import read_network, read_processor
from detfinetune.prediction import Prediction
from detfinetune.propose.prompts import Prompts
from detfinetune.propose.proposer import merge_boxes

T = TypeVar("T")


@dataclass(frozen=True)
class Found:
    """Boxes of one image for some phrases."""

    boxes: Tensor
    """x1, y1, x2, y2 as shares of the image's sides; (n, 4)."""

    scores: Tensor
    """0-1, of the phrase that fits best; (n,)."""

    phrases: Tensor
    """Number of that phrase among those that were looked for; (n,)."""


class ZeroShotProposer(ABC, Generic[T]):
    """A model of `transformers` that finds what phrases name; `T` is what it makes of phrases."""

    architecture: str
    usual_threshold: float

    def __init__(self, folder: Path, name: str, device: str, window: Window | None) -> None:
        """Load the model.

        Args:
            folder: in the format of `transformers`.
            name: for the user.
            device: of torch.
            window: for grey levels of more than 8 bits.

        Raises:
            WeightsError: it cannot be loaded.
        """
        self.name = name
        self.window = window
        self.processor: Any = read_processor(folder)
        self.network: Any = read_network(folder, self.architecture).to(device).eval()

    @abstractmethod
    def encode(self, phrases: Sequence[str]) -> list[tuple[range, T]]:
        """Return what the model is asked, in parts, and the phrases that each part is for.

        Raises:
            ConfigError: a phrase has no tokens, or too many.
        """

    @abstractmethod
    def find(self, pixels: Tensor, asked: T) -> list[Found]:
        """Return what is found in each image.

        Args:
            pixels: as the processor makes them; (b, 3, h, w).
            asked: of `encode`.
        """

    def scale(self, width: int, height: int) -> tuple[int, int]:
        """Return the sides that boxes are shares of, pixels."""
        return width, height

    @torch.no_grad()
    def propose(self, images: Sequence[NDArray[np.uint8]], prompts: Prompts) -> list[Prediction]:
        """Return what is found of the classes in each image; see `Proposer`."""
        parts = self.encode(prompts.phrases)
        device = self.network.device
        class_ids = torch.tensor(prompts.class_ids, device=device)
        # Padding changes what Grounding DINO finds, though it is masked: the norms of its pyramid
        # are taken over it.
        batches: dict[torch.Size, list[tuple[int, Tensor]]] = defaultdict(list)
        for number, image in enumerate(images):
            # As a picture: of an array with a side of 3 px, the processor would guess the channels.
            pixels = self.processor.image_processor(
                images=[Image.fromarray(image)], return_tensors="pt"
            )
            batches[pixels.pixel_values.shape].append((number, pixels.pixel_values))
        found: dict[int, Prediction] = {}
        for batch in batches.values():
            pixels = torch.cat([values for _, values in batch]).to(device)
            answers = [(phrases, self.find(pixels, asked)) for phrases, asked in parts]
            for at, (number, _) in enumerate(batch):
                height, width = images[number].shape[:2]
                own = [(phrases, answer[at]) for phrases, answer in answers]
                sides = torch.tensor(self.scale(width, height) * 2, device=device)
                found[number] = merge_boxes(
                    torch.cat([each.boxes for _, each in own]) * sides,
                    torch.cat([each.scores for _, each in own]),
                    torch.cat([class_ids[each.phrases + phrases.start] for phrases, each in own]),
                    prompts.classes,
                    width,
                    height,
                )
        return [found[number] for number in range(len(images))]
