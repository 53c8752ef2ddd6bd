"""Reads images, and has boxes proposed for them in batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from detfinetune import console
from detfinetune.errors import DataError
from detfinetune.inference.predictor import read_rgb
from detfinetune.prediction import Prediction
from detfinetune.propose.prompts import Prompts
from detfinetune.propose.proposer import Proposer


@dataclass
class Images:
    """Images of a folder, and what is looked for in them."""

    root: Path
    prompts: Prompts
    batch: int
    """Images that a model is given at once."""

    skipped: dict[str, str] = field(default_factory=dict)
    """By name: why an image cannot be read."""

    def propose(
        self, proposer: Proposer, names: Sequence[str], description: str, done: int = 0
    ) -> Iterator[tuple[str, Prediction]]:
        """Yield the name and the proposals of each image that can be read.

        Args:
            proposer: the source.
            names: relative to the folder.
            description: of the progress bar.
            done: images that the bar counts as done.
        """
        bar: tqdm[str] = console.progress(
            description=description, total=done + len(names), unit="image", initial=done
        )
        with bar:
            for first in range(0, len(names), self.batch):
                part = names[first : first + self.batch]
                pixels = dict(self._read(part, proposer))
                if pixels:
                    found = proposer.propose(list(pixels.values()), self.prompts)
                    yield from zip(pixels, found, strict=True)
                bar.update(len(part))

    def _read(
        self, names: Sequence[str], proposer: Proposer
    ) -> Iterator[tuple[str, NDArray[np.uint8]]]:
        for name in names:
            try:
                yield name, read_rgb(self.root / name, proposer.window)
            except DataError as error:
                if name not in self.skipped:
                    console.warn(str(error))
                self.skipped[name] = str(error)
