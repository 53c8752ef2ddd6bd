"""Checks of the libraries, and which Detectron2 is used."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator
from importlib import import_module, metadata
from pathlib import Path

from detfinetune._detectron2 import (
    detectron2_origin,
    detectron2_version,
    has_compiled_ops,
    lacks_pkg_resources,
)
from detfinetune.doctor.finding import Finding, first_line

# Modules to import, and what does not work without them.
_MODULES = {
    "torch": "Training needs it.",
    "torchvision": "Training needs its NMS and ROIAlign.",
    "timm": "efficientnet_lite0_fpn and timm/<backbone> cannot be built.",
    "numpy": "Training needs it.",
    "scipy": "The fast ROIAlign for CPUs needs it.",
    "cv2": "Reading images needs it.",
    "PIL": "Reading images needs it.",
    "pycocotools.mask": "Evaluation needs it.",
    "hydra": "Reading the configuration needs it.",
    "omegaconf": "Reading the configuration needs it.",
    "pydantic": "Reading the configuration needs it.",
}


def check_python() -> Iterator[Finding]:
    """Report the Python version."""
    version = platform.python_version()
    if sys.version_info >= (3, 10):  # noqa: UP036 - an older Python runs up to here
        yield Finding("python", "ok", f"{version} ({sys.executable})")
    else:
        yield Finding("python", "problem", version, "detfinetune needs Python 3.10 or later.")


def check_modules() -> Iterator[Finding]:
    """Import what training needs, and report versions or errors."""
    for name, loss in _MODULES.items():
        subject = name.partition(".")[0]
        try:
            import_module(name)
        except ModuleNotFoundError as error:
            missing = "not installed" if error.name == subject else first_line(error)
            yield Finding(subject, "problem", missing, loss)
        except Exception as error:  # a broken library may raise anything
            advice = f"{loss} {_repair(name, str(error))}".strip()
            yield Finding(subject, "problem", first_line(error), advice)
        else:
            yield Finding(subject, "ok", _version(subject))


def _version(module: str) -> str:
    """Return the version of an imported module."""
    written = getattr(sys.modules[module], "__version__", None)
    return str(written) if written else metadata.version(module)


def _repair(name: str, error: str) -> str:
    """Return how to fix a library that is installed but cannot be imported, if known."""
    if name == "cv2" and ".so" in error:
        return (
            "This machine has no display libraries. Use the build without them: "
            "pip uninstall -y opencv-python && pip install opencv-python-headless"
        )
    if name == "torchvision" and "torchvision::nms" in error:
        return (
            "The versions of torch and torchvision do not match. Reinstall both: "
            "pip install --upgrade torch torchvision"
        )
    return ""


def check_detectron2() -> Iterator[Finding]:
    """Report which Detectron2 is used, and what it lacks."""
    origin = detectron2_origin()
    if origin is None:
        yield Finding("detectron2", "problem", "not installed", "Training needs it.")
        return
    try:
        module = import_module("detectron2")
    except Exception as error:  # broken, or what it needs is missing
        advice = f"The {origin} Detectron2 is installed but cannot be imported."
        yield Finding("detectron2", "problem", first_line(error), advice)
        return
    folder = Path(module.__file__ or "").parent
    yield Finding("detectron2", "ok", f"{detectron2_version()}, {origin} ({folder})")
    if lacks_pkg_resources():
        advice = (
            "detfinetune does not need it, but `import detectron2.model_zoo` in your own scripts "
            'fails with this Detectron2. To fix that: pip install "setuptools<81"'
        )
        yield Finding("pkg_resources", "note", "missing", advice)
    if has_compiled_ops():
        yield Finding("detectron2._C", "ok", "installed")
    else:
        advice = (
            "Rotated boxes, Detectron2's deformable convolution and its fast COCO evaluation are "
            "missing. Faster R-CNN and Mask R-CNN do not need them. If you do, build an official "
            "Detectron2 in this environment; it is then used instead."
        )
        yield Finding("detectron2._C", "note", "missing", advice)
