"""Finds Detectron2: an official build if one is installed, otherwise the packaged one.

The packaged one (packaging/detectron2) comes with detfinetune in a folder of its own inside
site-packages, so it never changes an official build. It is added to the end of the import path only
if no other `detectron2` is found. Nothing here imports torch or Detectron2.
"""

from __future__ import annotations

import logging
import re
import sys
import warnings
from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

PACKAGED_FOLDER = "_detfinetune_detectron2"

# Detectron2 and fvcore call functions that torch has deprecated. Users can do nothing about it;
# pyproject.toml ignores the same warnings in the tests.
KNOWN_WARNINGS: tuple[tuple[str, type[Warning]], ...] = (
    (r"`torch\.jit\.script", FutureWarning),
    (r"`torch\.jit\.script", DeprecationWarning),
    (r"torch\.meshgrid: in an upcoming release", UserWarning),
    (r"`torch\.cuda\.amp\.", FutureWarning),
    (r"The given NumPy array is not writable", UserWarning),
    # Pillow's, at half the size that `image_files` allows.
    (r"Image size \(\d+ pixels\) exceeds limit", RuntimeWarning),
)


def add_packaged_detectron2() -> None:
    """Make the packaged Detectron2 importable if there is no other; may be called repeatedly."""
    if _find("detectron2") is not None:
        return
    folder = _packaged_folder()
    if folder is not None and str(folder) not in sys.path:
        sys.path.append(str(folder))


def detectron2_origin() -> Literal["official", "packaged"] | None:
    """Return which Detectron2 would be imported; None if there is none."""
    folder = _find("detectron2")
    if folder is None:
        return None
    return "packaged" if folder.parent == _packaged_folder() else "official"


def detectron2_version() -> str | None:
    """Return the version of the Detectron2 that would be imported, without importing it."""
    folder = _find("detectron2")
    if folder is None:
        return None
    text = (folder / "__init__.py").read_text(encoding="utf-8")
    written = re.search(r"""^__version__\s*=\s*["']([^"']+)["']""", text, re.MULTILINE)
    if written:
        return written[1]
    try:
        return metadata.version("detectron2")
    except metadata.PackageNotFoundError:
        return None


def has_compiled_ops() -> bool:
    """Return whether Detectron2's compiled operators (`detectron2._C`) can be imported.

    This imports Detectron2 and torch.
    """
    try:
        import_module("detectron2._C")
    except ImportError:
        return False
    return True


def lacks_pkg_resources() -> bool:
    """Return whether `detectron2.model_zoo` would fail because `pkg_resources` is missing.

    Official builds import it there, and setuptools 81 removed it. detfinetune does not use that
    module.
    """
    folder = _find("detectron2")
    source = folder / "model_zoo" / "model_zoo.py" if folder else None
    if source is None or not source.is_file() or find_spec("pkg_resources") is not None:
        return False
    text = source.read_text(encoding="utf-8")
    return re.search(r"^import pkg_resources", text, re.MULTILINE) is not None


def ignore_known_warnings() -> None:
    """Suppress `KNOWN_WARNINGS`; for the command line, not for use as a library."""
    for message, category in KNOWN_WARNINGS:
        warnings.filterwarnings("ignore", message=message, category=category)
    logging.getLogger("torch.fx._symbolic_trace").addFilter(_is_news)


def _is_news(record: logging.LogRecord) -> bool:
    """Drop a line that torch logs because Detectron2's poolers check for fx tracing."""
    return "is_fx_tracing" not in record.getMessage()


def _packaged_folder() -> Path | None:
    return _find(PACKAGED_FOLDER)


def _find(package: str) -> Path | None:
    """Return the folder of a top-level package, without importing it; None if there is none.

    A folder without `__init__.py`, such as a checkout in the current directory, is ignored.
    """
    module = sys.modules.get(package)
    try:
        spec = find_spec(package) if module is None else module.__spec__
    except (ImportError, ValueError):
        return None
    return Path(spec.origin).parent if spec is not None and spec.origin is not None else None
