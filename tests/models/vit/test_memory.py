"""The estimate of memory against the measured peak of a step."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from detectron2.utils.events import EventStorage
from tiny_transformers import TIMM_NAME, built, resolved
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from detfinetune.data.sample import Sample
from detfinetune.models.rcnn.pack import pack
from detfinetune.models.vit.memory import estimate_memory

SIDE = 384


class PeakMemory(TorchDispatchMode):
    """Adds up the bytes of all tensors that are made inside, as long as they live."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self.seen: set[int] = set()

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        made = function(*args, **(kwargs or {}))
        for leaf in tree_leaves(made):
            if isinstance(leaf, torch.Tensor):
                self.note(leaf.untyped_storage())
        return made

    def note(self, storage: torch.UntypedStorage) -> None:
        if storage._cdata not in self.seen:
            self.seen.add(storage._cdata)
            self.now += storage.nbytes()
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self.forget, storage._cdata, storage.nbytes())

    def forget(self, key: int, size: int) -> None:
        self.seen.discard(key)
        self.now -= size


def peak_of_two_steps(model: Any, batch: int, masks: bool) -> int:
    """Return the bytes at the peak, weights included."""
    triangle = [[np.array([9.0, 9, 90, 9, 90, 90])]] if masks else None
    pixels = np.zeros((SIDE, SIDE, 3), dtype=np.uint8)
    one = Sample(pixels, np.array([[9.0, 9, 90, 90]]), np.array([1]), triangle, SIDE, SIDE)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad])
    weights = sum(4 * p.numel() for p in model.parameters())
    if (vae := getattr(model.backbone, "vae", None)) is not None:
        weights += sum(4 * p.numel() for p in vae.parameters())
    with EventStorage(), PeakMemory() as memory:
        for _ in range(2):
            optimizer.zero_grad()
            sum(model(pack([one] * batch)).values()).backward()
            optimizer.step()
    return weights + memory.peak


@pytest.mark.parametrize("words", [(), ("model.head=faster_rcnn",), ("task=segm",),
                                   ("model.freeze_blocks=0",), ("fpn_channels",)])  # fmt: skip
@pytest.mark.parametrize("name", ["dit_diffusion", "dit_document", TIMM_NAME])
def test_the_estimate_is_on_the_high_side_of_the_peak(
    name: str, words: tuple[str, ...], dit_folder: Path, beit_folder: Path
) -> None:
    weights = {"dit_diffusion": dit_folder, "dit_document": beit_folder}.get(name, "random")
    config = resolved(
        f"model.name={name}", f"model.weights={weights}", f"augment.image_size={SIDE}",
        f"augment.max_size={SIDE}", "augment.scale_jitter=[1,1]", "solver.images_per_batch=2",
        *("model.fpn_channels=16" if word == "fpn_channels" else word for word in words),
    )  # fmt: skip
    estimated = estimate_memory(config, 2).total
    measured = peak_of_two_steps(built(config).train(), 2, config.task == "segm")
    assert measured < estimated < 2.5 * measured
