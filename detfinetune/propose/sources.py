"""Where proposals come from: published models, folders of `transformers`, and runs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from detfinetune.config.schema import HardwareConfig
from detfinetune.console import say
from detfinetune.data.window import Window
from detfinetune.errors import MissingExtraError, ModelError, WeightsError, did_you_mean
from detfinetune.inference.predictor import Predictor
from detfinetune.models.checkpoint import check_device, find_checkpoint
from detfinetune.models.pretrained import hub_folder, read_model_config
from detfinetune.prediction import Prediction
from detfinetune.propose.prompts import Prompts
from detfinetune.propose.proposer import LEAST_SCORE, Proposer

EXTRA = "propose"
PUBLISHED = {
    "grounding_dino_tiny": "IDEA-Research/grounding-dino-tiny",
    "grounding_dino_base": "IDEA-Research/grounding-dino-base",
    "mm_grounding_dino_tiny": "openmmlab-community/mm_grounding_dino_tiny_o365v1_goldg_v3det",
    "mm_grounding_dino_base": "openmmlab-community/mm_grounding_dino_base_all",
    "owlv2_base": "google/owlv2-base-patch16-ensemble",
    "owlv2_large": "google/owlv2-large-patch14-ensemble",
    "florence2": "florence-community/Florence-2-base",
    "florence2_large": "florence-community/Florence-2-large",
}
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_ALTERNATIVES = "model=FOLDER\n  - run=RUN, proposals of your own detector"
_KINDS = ("grounding-dino", "mm-grounding-dino", "owlv2", "florence2")
"""Values of `model_type` in `config.json`."""


def load_zero_shot(model: str, device: str, window: Window | None = None) -> Proposer:
    """Load a zero-shot model, downloaded if it is published and not in the hub's cache.

    Args:
        model: a name of `PUBLISHED`, a name on the Hugging Face hub, or a folder.
        device: of torch.
        window: for grey levels of more than 8 bits.

    Raises:
        ConfigError: the device is missing.
        MissingExtraError: transformers is not installed.
        ModelError: nobody knows the model.
        WeightsError: it cannot be loaded.
    """
    if find_spec("transformers") is None:
        raise MissingExtraError(EXTRA, f"model={model}")
    check_device(device)
    folder = _folder(model)
    kind = read_model_config(folder).get("model_type")
    if kind not in _KINDS:
        raise WeightsError(
            f"model={model}: {folder} has a model of the type {kind!r}, which finds no boxes for "
            f"phrases. Give one of the types {', '.join(_KINDS)}, such as "
            "model=grounding_dino_tiny, or a run with run=RUN."
        )
    if model in PUBLISHED:
        licence = "MIT" if kind == "florence2" else "Apache-2.0"
        say(f"proposals of {PUBLISHED[model]} (licence of the weights: {licence})")
    if kind == "owlv2":
        from detfinetune.propose.owlv2 import Owlv2Proposer

        return Owlv2Proposer(folder, model, device, window)
    if kind == "florence2":
        from detfinetune.propose.florence2 import Florence2Proposer

        return Florence2Proposer(folder, model, device, window)
    from detfinetune.propose.grounding_dino import GroundingDinoProposer

    return GroundingDinoProposer(folder, model, device, window)


def _folder(model: str) -> Path:
    path = Path(model).expanduser()
    if (path / "checkpoints").is_dir():
        raise ModelError(f"model={model}: this is a run. Give run={model} for its proposals.")
    if model not in PUBLISHED and path.is_dir():
        return path
    if model in PUBLISHED or _HUB_NAME.fullmatch(model):
        return hub_folder(PUBLISHED.get(model, model), _ALTERNATIVES)
    raise ModelError(
        f"model={model} is neither a folder nor a known name.{did_you_mean(model, PUBLISHED)} "
        f"Choose from {', '.join(PUBLISHED)}, or give a name on the Hugging Face hub."
    )


class OwnDetector:
    """A trained detector as a source of proposals.

    Attributes:
        classes: what it knows, by class id.
    """

    def __init__(self, run: Path, hardware: HardwareConfig) -> None:
        """Load a run's best checkpoint.

        Raises:
            CheckpointError: it cannot be read.
            ConfigError: the device is missing.
        """
        self._predictor = Predictor(find_checkpoint(run), hardware)
        self.name = str(run)
        self.classes = self._predictor.classes
        self.usual_threshold = self._predictor.score_threshold
        self.window = self._predictor.window

    def propose(self, images: Sequence[NDArray[np.uint8]], prompts: Prompts) -> list[Prediction]:
        """Return what is found of those classes that the detector knows, by their names."""
        ids = {name: class_id for class_id, name in enumerate(prompts.classes)}
        known = np.array([ids.get(name, -1) for name in self.classes])
        predictions = []
        for image in images:
            found = self._predictor(image, LEAST_SCORE)
            found = found[known[found.class_ids] >= 0]
            class_ids = known[found.class_ids]
            predictions.append(replace(found, class_ids=class_ids, classes=prompts.classes))
        return predictions
