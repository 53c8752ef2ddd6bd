"""Reads files of weights without executing code in them."""

from __future__ import annotations

import pickle
import re
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from detfinetune.errors import WeightsError, first_line

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


class CodeInFile(Exception):
    """A file that could run code when loaded."""

    def __init__(self, name: str) -> None:
        super().__init__(f"this file contains code ({name}) and was not loaded")


class DamagedFile(Exception):
    """A file that is not what was written, or was written by a run that diverged."""


class _ArraysOnly(pickle.Unpickler):
    """Unpickles only numpy arrays and plain values."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("_codecs", "encode"):
            return super().find_class(module, name)
        if (module, name) not in _ALLOWED:
            raise CodeInFile(f"{module}.{name}")
        return _ALLOWED[module, name]


_TENSORS_ONLY = (
    "Save only its tensors (torch.save(model.state_dict(), FILE)), or give another file with "
    "model.weights=FILE."
)


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
    except CodeInFile as error:
        raise WeightsError(f"{path}: {error}. {_TENSORS_ONLY}") from error
    except Exception as error:  # a broken pickle raises almost anything
        raise WeightsError(
            f"{path} cannot be read as a weights file of Detectron2's zoo ({first_line(error)}). "
            "It may be truncated: remove it to download it again."
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


def load_torch_file(path: Path) -> Any:
    """Load a PyTorch file without executing code in it, and check its checksums.

    `torch.load` compares no checksums: it loads flipped bytes.

    Raises:
        CodeInFile: it contains more than tensors and plain values.
        DamagedFile: a checksum is wrong.
        Exception: zip, pickle and header errors of many kinds.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if (part := archive.testzip()) is not None:
                raise DamagedFile(f"the checksum of its part {part} is wrong")
            if any(name.endswith("/constants.pkl") for name in archive.namelist()):
                raise CodeInFile("TorchScript")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # torch's own text advises to load the file with code in it.
        if found := re.search(r"GLOBAL (\S+)", str(error)):
            raise CodeInFile(found[1]) from error
        if "weights_only" in str(error):
            raise DamagedFile("not a file of tensors") from error
        raise


def check_finite(content: Any) -> None:
    """Check that all weights in nested dicts and lists are finite.

    Raises:
        DamagedFile: names the first tensor that is not.
    """
    for name, tensor in _named_tensors(content, ""):
        if not tensor.is_floating_point() or not tensor.numel():
            continue
        # Faster than isfinite on every value; NaN is both minimum and maximum.
        if not bool(torch.stack(tensor.aminmax()).isfinite().all()):
            raise DamagedFile(f"{name} has values that are NaN or infinite")


def _named_tensors(content: Any, name: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(content, Tensor):
        yield name, content
    elif isinstance(content, Mapping):
        for key, value in content.items():
            yield from _named_tensors(value, f"{name}.{key}" if name else str(key))
    elif isinstance(content, (list, tuple)):
        for index, value in enumerate(content):
            yield from _named_tensors(value, f"{name}[{index}]")


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
            content = load_torch_file(path)
        check_finite(content)
    except CodeInFile as error:
        raise WeightsError(f"{path}: {error}. {_TENSORS_ONLY}") from error
    except Exception as error:  # zip, pickle and header errors of many kinds
        raise WeightsError(
            f"{path} cannot be read as weights ({first_line(error)}). It may be truncated, damaged "
            "or of another type: download it again, or give another with model.weights=FILE."
        ) from error
    classes = content.get("classes") if isinstance(content, Mapping) else None
    # Averaged weights first: they are what evaluation and prediction take.
    for wrapper in ("ema", "model", "state_dict", "model_state"):
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
