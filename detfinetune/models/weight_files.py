"""Reads files of weights without executing code in them."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from detfinetune.errors import WeightsError

_REBUILD_ARRAY = np.zeros(1).__reduce__()[0]
_REBUILD_SCALAR = np.float32(0).__reduce__()[0]

# All that a pickle of numpy arrays needs. numpy 2 renamed numpy.core; the zoo's files are older.
_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("numpy.core.multiarray", "_reconstruct"): _REBUILD_ARRAY,
    ("numpy._core.multiarray", "_reconstruct"): _REBUILD_ARRAY,
    ("numpy.core.multiarray", "scalar"): _REBUILD_SCALAR,
    ("numpy._core.multiarray", "scalar"): _REBUILD_SCALAR,
    ("collections", "OrderedDict"): dict,
}


class _ArraysOnly(pickle.Unpickler):
    """Unpickles only numpy arrays and plain values."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("_codecs", "encode"):
            return super().find_class(module, name)
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it contains a {module}.{name}, not only numpy arrays")
        return _ALLOWED[module, name]


@dataclass(frozen=True)
class ZooFile:
    """Content of a `.pkl` file of Detectron2's zoo."""

    tensors: dict[str, Tensor]

    author: str
    """`Caffe2` files need their names translated."""

    match_by_name_ends: bool
    """Whether names are not Detectron2's and must be matched by their ends."""


def read_zoo_pickle(path: Path) -> ZooFile:
    """Read a `.pkl` file of Detectron2's zoo: a detector, or an ImageNet backbone.

    Raises:
        WeightsError: it is not such a file, is truncated, or contains more than arrays.
    """
    try:
        with path.open("rb") as stream:
            content = _ArraysOnly(stream, encoding="latin1").load()
    except Exception as error:  # a broken pickle raises almost anything
        raise WeightsError(
            f"{path} cannot be read as a weights file of Detectron2's zoo ({_reason(error)}). It "
            "may be truncated: remove it to download it again."
        ) from error
    if not isinstance(content, dict):
        raise WeightsError(f"{path} contains a {type(content).__name__}, not named weights.")
    if "model" in content and "__author__" in content:
        arrays, author = content["model"], str(content["__author__"])
        by_ends = bool(content.get("matching_heuristics", False))
    else:  # Caffe2's own files have no author
        arrays, author, by_ends = content.get("blobs", content), "Caffe2", True
    tensors = {
        str(name): torch.from_numpy(np.array(value))
        for name, value in arrays.items()
        if isinstance(value, np.ndarray) and not str(name).endswith("_momentum")
    }
    if not tensors:
        raise WeightsError(f"{path} has no named weights.")
    return ZooFile(tensors, author, by_ends)


@dataclass(frozen=True)
class TorchFile:
    """Content of a PyTorch or safetensors file."""

    tensors: dict[str, Tensor]

    classes: tuple[str, ...] | None
    """Class names, in order, if the file has them, as our checkpoints do."""


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a PyTorch or safetensors file.

    Raises:
        WeightsError: it cannot be read, or has no named tensors.
    """
    return read_torch_file(path).tensors


def read_torch_file(path: Path) -> TorchFile:
    """Read the tensors of a PyTorch or safetensors file, and its class names if it has any.

    Raises:
        WeightsError: it cannot be read, or has no named tensors.
    """
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            content: Any = load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # zip, pickle and header errors of many kinds
        raise WeightsError(
            f"{path} cannot be read as weights ({_reason(error)}). It may be truncated or of "
            "another type: download it again, or give another with model.weights=FILE."
        ) from error
    classes = content.get("classes") if isinstance(content, Mapping) else None
    for wrapper in ("model", "state_dict", "model_state"):
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping):
        raise WeightsError(f"{path} contains a {type(content).__name__}, not named weights.")
    tensors = {
        # DistributedDataParallel adds this prefix to every name.
        str(name).removeprefix("module."): value
        for name, value in content.items()
        if isinstance(value, Tensor)
    }
    if not tensors:
        raise WeightsError(f"{path} has no named weights; give another with model.weights=FILE")
    return TorchFile(tensors, tuple(map(str, classes)) if isinstance(classes, list) else None)


def _reason(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
