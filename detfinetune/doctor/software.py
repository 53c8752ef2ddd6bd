"""Whether the libraries are there and can be imported, and which Detectron2 it is."""

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

# Module to import, and what does not work without it.
_MODULES = {
    "torch": "Nothing can be trained.",
    "torchvision": "NMS and ROIAlign come from it; nothing can be trained.",
    "timm": "efficientnet_lite0_fpn and timm/<backbone> cannot be built.",
    "numpy": "Nothing can be trained.",
    "scipy": "ROIAlign's quick form for CPUs cannot be built.",
    "cv2": "Images cannot be read.",
    "PIL": "Images cannot be read.",
    "pycocotools.mask": "AP cannot be measured.",
    "hydra": "The configuration cannot be read.",
    "omegaconf": "The configuration cannot be read.",
    "pydantic": "The configuration cannot be checked.",
}


def check_python() -> Iterator[Finding]:
    """Report the Python version."""
    version = platform.python_version()
    if sys.version_info >= (3, 10):  # noqa: UP036 - an older one would get as far as here
        yield Finding("python", "ok", f"{version} ({sys.executable})")
    else:
        yield Finding("python", "problem", version, "detfinetune needs Python 3.10 or later.")


def check_modules() -> Iterator[Finding]:
    """Import what training needs, and report each version or what is wrong."""
    for name, loss in _MODULES.items():
        subject = name.partition(".")[0]
        try:
            import_module(name)
        except ModuleNotFoundError as error:
            missing = "not installed" if error.name == subject else first_line(error)
            yield Finding(subject, "problem", missing, loss)
        except Exception as error:  # broken: whatever a half-installed library raises
            advice = f"{loss} {_repair(name, str(error))}".strip()
            yield Finding(subject, "problem", first_line(error), advice)
        else:
            yield Finding(subject, "ok", _version(subject))


def _version(module: str) -> str:
    """Return the version of an imported module."""
    written = getattr(sys.modules[module], "__version__", None)
    return str(written) if written else metadata.version(module)


def _repair(name: str, error: str) -> str:
    """Return what mends a library that is there but cannot be imported, where that is known."""
    if name == "cv2" and ".so" in error:
        return (
            "This machine has no display libraries. Take the build without them: "
            "pip uninstall -y opencv-python && pip install opencv-python-headless"
        )
    if name == "torchvision" and "torchvision::nms" in error:
        return (
            "torch and torchvision do not belong together. Install the pair anew: "
            "pip install --upgrade torch torchvision"
        )
    return ""


def check_detectron2() -> Iterator[Finding]:
    """Report which Detectron2 is used and what it lacks."""
    origin = detectron2_origin()
    if origin is None:
        yield Finding("detectron2", "problem", "not installed", "There are no models to train.")
        return
    try:
        module = import_module("detectron2")
    except Exception as error:  # broken, or what it needs is missing
        advice = f"The {origin} Detectron2 is there but cannot be imported."
        yield Finding("detectron2", "problem", first_line(error), advice)
        return
    folder = Path(module.__file__ or "").parent
    yield Finding("detectron2", "ok", f"{detectron2_version()}, {origin} ({folder})")
    if lacks_pkg_resources():
        advice = (
            "detfinetune does without it, but `import detectron2.model_zoo` in your own scripts "
            'fails with this Detectron2. For that: pip install "setuptools<81"'
        )
        yield Finding("pkg_resources", "note", "not there", advice)
    if has_compiled_ops():
        yield Finding("detectron2._C", "ok", "there")
    else:
        advice = (
            "Rotated boxes, Detectron2's deformable convolution and its quicker COCO evaluation "
            "are missing; Faster R-CNN and Mask R-CNN do without them. If you need one of them, "
            "build an official Detectron2 in this environment: it is then used instead."
        )
        yield Finding("detectron2._C", "note", "not there", advice)
