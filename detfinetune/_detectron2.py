"""Which Detectron2 there is: an official build when one is installed, else the packaged one.

The packaged one (packaging/detectron2) lies in a folder of its own inside site-packages, so that
installing or removing it never touches an official build. It is put at the end of the import path
only when no other `detectron2` can be found. Nothing here imports torch or Detectron2.
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
PACKAGED_DISTRIBUTION = "detfinetune-detectron2"

# Detectron2 and the fvcore below it call functions that torch has deprecated. They are others'
# to mend and tell a user nothing; pyproject.toml ignores the same ones in the tests.
KNOWN_WARNINGS: tuple[tuple[str, type[Warning]], ...] = (
    (r"`torch\.jit\.script", FutureWarning),
    (r"`torch\.jit\.script", DeprecationWarning),
    (r"torch\.meshgrid: in an upcoming release", UserWarning),
    (r"`torch\.cuda\.amp\.", FutureWarning),
    (r"The given NumPy array is not writable", UserWarning),
)


def add_packaged_detectron2() -> None:
    """Make the packaged Detectron2 importable when no other one is; harmless when called again."""
    if _find("detectron2") is not None:
        return
    folder = _packaged_folder()
    if folder is not None and str(folder) not in sys.path:
        sys.path.append(str(folder))


def detectron2_origin() -> Literal["official", "packaged"] | None:
    """Say which Detectron2 an import would give; None when there is none."""
    folder = _find("detectron2")
    if folder is None:
        return None
    return "packaged" if folder.parent == _packaged_folder() else "official"


def detectron2_version() -> str | None:
    """Return the version of the Detectron2 that an import would give, without importing it."""
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
    """Say whether Detectron2's compiled operators (`detectron2._C`) can be imported.

    This imports Detectron2 and torch.
    """
    try:
        import_module("detectron2._C")
    except ImportError:
        return False
    return True


def lacks_pkg_resources() -> bool:
    """Say whether `detectron2.model_zoo` would fail for want of `pkg_resources`.

    Official builds import it there, and setuptools no longer has it since version 81. detfinetune
    itself uses nothing of that module.
    """
    folder = _find("detectron2")
    source = folder / "model_zoo" / "model_zoo.py" if folder else None
    if source is None or not source.is_file() or find_spec("pkg_resources") is not None:
        return False
    text = source.read_text(encoding="utf-8")
    return re.search(r"^import pkg_resources", text, re.MULTILINE) is not None


def ignore_known_warnings() -> None:
    """Keep the `KNOWN_WARNINGS` off a user's screen; for the command line, not for a library."""
    for message, category in KNOWN_WARNINGS:
        warnings.filterwarnings("ignore", message=message, category=category)
    logging.getLogger("torch.fx._symbolic_trace").addFilter(_is_news)


def _is_news(record: logging.LogRecord) -> bool:
    """Drop the one line that torch logs because Detectron2's poolers ask whether fx is tracing."""
    return "is_fx_tracing" not in record.getMessage()


def _packaged_folder() -> Path | None:
    return _find(PACKAGED_FOLDER)


def _find(package: str) -> Path | None:
    """Return the folder of a top-level package, without importing it; None when there is none.

    A folder that merely has the name, such as a checkout in the current directory, is a namespace
    package without an `__init__.py` and does not count.
    """
    module = sys.modules.get(package)
    try:
        spec = find_spec(package) if module is None else module.__spec__
    except (ImportError, ValueError):
        return None
    return Path(spec.origin).parent if spec is not None and spec.origin is not None else None
