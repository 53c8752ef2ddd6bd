"""Where transformers come from: folders, the Hugging Face hub, timm, and our own checkpoints."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from detfinetune.errors import CheckpointError, WeightsError, first_line
from detfinetune.files import sha256
from detfinetune.models.family import BaseWeights
from detfinetune.models.vit.names import PUBLISHED, backbone_kind, timm_name
from detfinetune.models.vit.settings import VitSettings

_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_WEIGHT_FILES = (".pth", ".pt", ".bin", ".safetensors")
_FILES = {
    "dit_diffusion": ["transformer/*", "vae/*", "scheduler/*"],
    "dit_document": ["*.json", "*.safetensors", "*.bin"],
}
_CONFIG = {"dit_diffusion": "transformer/config.json", "dit_document": "config.json"}
_WEIGHTS_FOLDER = {"dit_diffusion": "transformer", "dit_document": "."}
_DIT_LICENCE = "CC-BY-NC-4.0"


@dataclass(frozen=True)
class VitWeights(BaseWeights):
    """Weights from which training starts."""

    kind: Literal["random", "pretrained", "checkpoint"] = "random"
    """pretrained: of a transformer; checkpoint: a `.pth` of a whole detector."""

    classes: tuple[str, ...] | None = None
    """Class names of a checkpoint, in order."""


def choose_pretrained(name: str, weights: str) -> tuple[str, str]:
    """Return the folder or hub name of a `dit_*` model's configuration, and the reason.

    Raises:
        WeightsError: `weights` is not a folder, a file or a hub name.
    """
    if weights in ("auto", "random"):
        return PUBLISHED[name], "the published one"
    path = Path(weights).expanduser()
    if path.is_dir():
        return str(path.absolute()), "model.weights"
    if path.is_file():
        of_run = _settings_of(path).pretrained
        if of_run is None:
            raise WeightsError(
                f"model.weights={weights}: the checkpoint is of another model than {name}."
            )
        return of_run, "that of the checkpoint"
    if not _HUB_NAME.fullmatch(weights):
        raise WeightsError(
            f"model.weights={weights} is not a folder, a checkpoint or a name on the Hugging Face "
            f"hub. Use {_expected(name)}, or random."
        )
    return weights, "model.weights"


def checkpoint_timestep(weights: str) -> int | None:
    """Return the timestep that a run's checkpoint was trained with; None if it is not one."""
    path = Path(weights).expanduser()
    try:
        return _settings_of(path).timestep if path.is_file() else None
    except CheckpointError:
        return None


def read_json(name: str, pretrained: str, file: str) -> dict[str, Any]:
    """Return a file of configuration, such as `vae/config.json`, of a folder or from the hub.

    Raises:
        WeightsError: there is none.
    """
    path = Path(pretrained).expanduser() / file
    if not path.is_file():
        if not _on_hub(pretrained):
            raise WeightsError(
                f"{pretrained}: {file} is missing. A folder for model.name={name} is "
                f"{_expected(name)}."
            )
        path = Path(_from_hub(name, pretrained, file))
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path} cannot be read as JSON ({error}).") from error
    if not isinstance(content, dict):
        raise WeightsError(f"{path} should contain an object, as diffusers and transformers write.")
    # Names starting with an underscore are about the file, such as the library that wrote it.
    return {key: value for key, value in content.items() if not key.startswith("_")}


def read_architecture(name: str, pretrained: str) -> dict[str, Any]:
    """Return the configuration of the transformer of a `dit_*` model.

    Raises:
        WeightsError: it cannot be found.
    """
    return read_json(name, pretrained, _CONFIG[name])


def model_folder(name: str, pretrained: str) -> Path:
    """Return the folder with the files of a `dit_*` model, downloaded if it is on the hub.

    Raises:
        WeightsError: it cannot be found; the text lists alternatives.
    """
    folder = Path(pretrained).expanduser()
    if folder.is_dir():
        return folder
    if not _on_hub(pretrained):
        raise WeightsError(
            f"{pretrained}: there is no such folder. model.name={name} needs it: restore it, "
            "because a run does not copy it."
        )
    return Path(_from_hub(name, pretrained))


def find_base_weights(settings: VitSettings) -> VitWeights:
    """Find the weights that `model.weights` names, and download them if they are not cached.

    Raises:
        WeightsError: they cannot be loaded; the text lists alternatives.
    """
    weights = settings.weights
    if settings.name == "dit_diffusion":
        # Its VAE is needed in any case.
        model_folder(settings.name, str(settings.pretrained))
        trained_with = checkpoint_timestep(weights)
        if trained_with not in (None, settings.timestep):
            raise WeightsError(
                f"model.timestep={settings.timestep}: the checkpoint {weights} was trained with "
                f"{trained_with}, whose embedding is all that it keeps. Remove model.timestep."
            )
    if weights == "random":
        return VitWeights("random weights, as requested")
    path = Path(weights).expanduser()
    if backbone_kind(settings.name) == "timm":
        return _timm_weights(settings.name, weights, path)
    if path.is_file():
        return _checkpoint(path)
    source = str(settings.pretrained if weights == "auto" else weights)
    folder = model_folder(settings.name, source)
    file = weight_file(folder / _WEIGHTS_FOLDER[settings.name])
    restricted = "facebook/DiT-" in source or folder.name.lower().startswith("dit-xl-2")
    return VitWeights(
        f"{settings.name} of {source}", folder, sha256(file),
        _DIT_LICENCE if restricted else None, "pretrained",
    )  # fmt: skip


def weight_file(folder: Path) -> Path:
    """Return the file of weights in a folder of diffusers or transformers.

    Raises:
        WeightsError: there is none, or it is in several parts.
    """
    for suffix in (".safetensors", ".bin"):
        found = sorted(folder.glob(f"*model{suffix}"))
        if found:
            return found[0]
    raise WeightsError(
        f"{folder}: there is no file of weights (*model.safetensors or *model.bin). Weights in "
        "several parts are not read."
    )


def _timm_weights(name: str, weights: str, path: Path) -> VitWeights:
    import timm

    backbone = timm_name(name)
    if weights == "auto":
        from detfinetune.models.vit.backbones.timm_vit import load_pretrained

        load_pretrained(backbone)
        licence = timm.get_pretrained_cfg(backbone).license
        restricted = licence is not None and "-nc" in licence.lower()
        return VitWeights(
            f"{backbone}, pretrained, from timm",
            licence=licence if restricted else None,
            kind="pretrained",
        )
    if not path.is_file() or path.suffix not in _WEIGHT_FILES:
        raise WeightsError(
            f"model.weights={weights} is not a file of weights. Use auto, random, or the path of "
            f"a {', '.join(_WEIGHT_FILES)} file: a checkpoint of a run, or a state dict of timm's "
            f"{backbone}."
        )
    from detfinetune.models.weight_files import read_torch_file

    if any(tensor.startswith("backbone.") for tensor in read_torch_file(path).tensors):
        return _checkpoint(path)
    return VitWeights(f"the file {path}", path, sha256(path), kind="pretrained")


def _checkpoint(path: Path) -> VitWeights:
    from detfinetune.models.weight_files import read_torch_file

    classes = read_torch_file(path).classes
    return VitWeights(f"the file {path}", path, sha256(path), kind="checkpoint", classes=classes)


def _settings_of(checkpoint: Path) -> VitSettings:
    from detfinetune.models.checkpoint import read_checkpoint

    model = read_checkpoint(checkpoint).config.model
    return model if isinstance(model, VitSettings) else VitSettings()


def _on_hub(pretrained: str) -> bool:
    return not Path(pretrained).expanduser().is_dir() and bool(_HUB_NAME.fullmatch(pretrained))


def _from_hub(name: str, repository: str, file: str | None = None) -> str:
    """Download one file, or all that a model needs, into the hub's own cache."""
    from huggingface_hub import hf_hub_download, snapshot_download

    try:
        if file is not None:
            return str(hf_hub_download(repository, file))
        return str(snapshot_download(repository, allow_patterns=_FILES[name]))
    except Exception as error:  # the hub raises any error of its network library
        reason = first_line(error)
        raise WeightsError(
            f"{repository} is not in the cache of the Hugging Face hub and cannot be downloaded: "
            f"{reason}\nAlternatives:\n"
            f"  - download {repository} on another machine and give its folder with "
            f"model.weights=FOLDER: {_expected(name)}\n"
            "  - another model, such as model.name=efficientnet_lite0_fpn, whose weights are "
            "installed"
        ) from error


def _expected(name: str) -> str:
    if name == "dit_diffusion":
        return "a folder with transformer, vae and scheduler, as diffusers saves them"
    return "a folder with config.json and model.safetensors, as transformers saves them"
