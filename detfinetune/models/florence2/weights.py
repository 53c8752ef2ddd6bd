"""Finds the base weights: the published ones in the hub's cache, or a folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from detfinetune.config.schema import ModelConfig
from detfinetune.console import command_line
from detfinetune.errors import WeightsError
from detfinetune.files import sha256
from detfinetune.models.family import BaseWeights
from detfinetune.models.pretrained import hub_folder, read_model_config

ARCHITECTURE = "Florence2ForConditionalGeneration"
"""Class of `transformers`."""

_HUB_NAMES = {
    "florence2": "florence-community/Florence-2-base",
    "florence2_large": "florence-community/Florence-2-large",
}
_ALTERNATIVES = (
    "model.weights=FOLDER\n"
    "  - model.name=efficientnet_lite0_fpn, whose ImageNet weights are installed"
)


@dataclass(frozen=True)
class ModelShape:
    """What is known of a model before it is loaded."""

    width: int = 768
    """Of the language model: 768 in base, 1,024 in large."""

    answer_tokens: int = 1024
    """Tokens that an answer can have."""


def model_shape(model: ModelConfig) -> ModelShape:
    """Return the shape of the model that the weights are of, without downloading them.

    Raises:
        WeightsError: `model.weights` is neither a name nor a folder with Florence-2.
    """
    if (folder := _given_folder(model)) is not None:
        return folder_shape(folder)
    return ModelShape(width=1024 if "large" in _hub_name(model) else 768)


def folder_shape(folder: Path) -> ModelShape:
    """Return the shape of the model in a folder.

    Raises:
        WeightsError: it has no Florence-2.
    """
    text = _read_config(folder)["text_config"]
    # The defaults are BART's. Longer answers, for which large has positions, were not pretrained.
    positions = text.get("max_position_embeddings", 1024)
    return ModelShape(text.get("d_model", 1024), min(positions, ModelShape.answer_tokens))


def find_base_weights(model: ModelConfig) -> BaseWeights:
    """Find the weights, and download published ones if they are not cached.

    Raises:
        WeightsError: there are none; the text lists alternatives.
    """
    folder = base_folder(model)
    given = str(folder) == str(Path(model.weights).expanduser())
    description = f"the folder {folder}" if given else f"{_hub_name(model)} ({folder})"
    return BaseWeights(
        description, folder, sha256(*sorted(folder.glob("*.safetensors"))), licence="MIT"
    )


def base_folder(model: ModelConfig) -> Path:
    """Return the folder of the base weights, in the format of `transformers`.

    Raises:
        WeightsError: there is none, or it has no Florence-2; the text lists alternatives.
    """
    folder = _given_folder(model) or hub_folder(_hub_name(model), _ALTERNATIVES)
    _read_config(folder)
    if not any(folder.glob("*.safetensors")):
        raise WeightsError(
            f"{folder} has no .safetensors. Save the model with save_pretrained of transformers."
        )
    return folder


def _given_folder(model: ModelConfig) -> Path | None:
    """Return the folder that `model.weights` names, or None if it is a name.

    Raises:
        WeightsError: it is a run or a checkpoint.
    """
    path = Path(model.weights).expanduser()
    key = "checkpoint" if path.suffix == ".pth" else "run"
    if key == "checkpoint" or (path / "checkpoints").is_dir():
        raise WeightsError(
            f"model.weights={path} is a {key}, which holds only what was trained. Merge it into "
            f"its base weights first, and start from the merged model:\n"
            f"  {command_line('merge')} {key}={path} output=merged\n"
            "  model.weights=merged"
        )
    return path if path.is_dir() else None


def _hub_name(model: ModelConfig) -> str:
    if model.weights == "auto":
        return _HUB_NAMES.get(model.name, model.name)
    if model.weights.startswith("florence-community/"):
        return model.weights
    raise WeightsError(
        f"model.weights={model.weights} is neither a folder nor a published name. Use auto, "
        f"{_HUB_NAMES['florence2']}, or a folder that transformers can load; Florence-2 cannot be "
        "trained from random weights."
    )


def _read_config(folder: Path) -> dict[str, dict[str, int]]:
    """Return `config.json`.

    Raises:
        WeightsError: it is missing, or that of another model.
    """
    content = read_model_config(folder)
    if content.get("model_type") != "florence2" or "auto_map" in content:
        raise WeightsError(
            f"{folder} has no native Florence-2 (model_type is {content.get('model_type')!r}"
            f"{', with remote code' if 'auto_map' in content else ''}). Use the weights of "
            "florence-community/Florence-2-base or -large."
        )
    return content
