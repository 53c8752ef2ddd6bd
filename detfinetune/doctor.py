"""What this machine has and lacks for training, what each lack means, and what to do about it.

This module and what it imports at the top need nothing but Python, so that it can still speak when
the installation is broken. Whatever a check raises becomes a finding.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import textwrap
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib import import_module, metadata
from pathlib import Path
from typing import Any, Literal

from detfinetune import __version__
from detfinetune._detectron2 import (
    detectron2_origin,
    detectron2_version,
    has_compiled_ops,
    lacks_pkg_resources,
)

_GIB = 1 << 30
_INSTALL = "Install everything again: `pip install -e .` in the checkout, or `make setup`."
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


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    subject: str
    """What it is, in one or two words."""

    state: Literal["ok", "note", "problem"]
    """note: something is missing that training can do without; problem: training cannot work."""

    value: str
    """What was found: a version, a size, a path."""

    advice: str = ""
    """What it means for the user and what to do; empty when the state is ok."""


def examine(offline: bool = False) -> list[Finding]:
    """Look at everything; `offline` leaves out whether the model zoo can be reached."""
    checks: list[Callable[[], Iterator[Finding]]] = [
        _python,
        _modules,
        _detectron2,
        _device,
        _machine,
        _packaged_weights,
        _zoo_cache,
    ]
    if not offline:
        checks.append(_zoo_server)
    return [finding for check in checks for finding in _gather(check)]


def can_train(findings: list[Finding]) -> bool:
    """Say whether training can work."""
    return all(finding.state != "problem" for finding in findings)


def as_json(findings: list[Finding]) -> dict[str, Any]:
    """Return the findings in a form that can be written as JSON."""
    return {
        "detfinetune": __version__,
        "can_train": can_train(findings),
        "findings": [asdict(finding) for finding in findings],
    }


def as_text(findings: list[Finding]) -> str:
    """Return the findings as lines to be read, each lack followed by its advice."""
    width = max(len(finding.subject) for finding in findings)
    marks = {"ok": "ok", "note": "note", "problem": "LACK"}
    lines = [f"detfinetune {__version__}"]
    for finding in findings:
        lines.append(f"  {marks[finding.state]:<4}  {finding.subject:<{width}}  {finding.value}")
        lines += textwrap.wrap(
            finding.advice, 98, initial_indent=" " * 8, subsequent_indent=" " * 8
        )
    lacks = [finding.subject for finding in findings if finding.state == "problem"]
    if lacks:
        lines.append(f"Training cannot work yet. To mend first: {', '.join(lacks)}. {_INSTALL}")
    else:
        lines.append("Training can work here.")
    return "\n".join(lines)


def _gather(check: Callable[[], Iterator[Finding]]) -> list[Finding]:
    """Run a check; an exception that it lets through is a finding too."""
    findings: list[Finding] = []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for finding in check():
                findings.append(finding)
    except Exception as error:  # a broken installation may raise anything, and none may stop us
        subject = check.__name__.strip("_").replace("_", " ")
        findings.append(Finding(subject, "note", _first_line(error), "This check did not finish."))
    return findings


def _python() -> Iterator[Finding]:
    version = platform.python_version()
    if sys.version_info >= (3, 10):  # noqa: UP036 - an older one would get as far as here
        yield Finding("python", "ok", f"{version} ({sys.executable})")
    else:
        yield Finding("python", "problem", version, "detfinetune needs Python 3.10 or later.")


def _modules() -> Iterator[Finding]:
    for name, loss in _MODULES.items():
        subject = name.partition(".")[0]
        try:
            import_module(name)
        except ModuleNotFoundError as error:
            missing = "not installed" if error.name == subject else _first_line(error)
            yield Finding(subject, "problem", missing, loss)
        except Exception as error:  # broken: whatever a half-installed library raises
            advice = f"{loss} {_repair(name, str(error))}".strip()
            yield Finding(subject, "problem", _first_line(error), advice)
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


def _detectron2() -> Iterator[Finding]:
    origin = detectron2_origin()
    if origin is None:
        yield Finding("detectron2", "problem", "not installed", "There are no models to train.")
        return
    try:
        module = import_module("detectron2")
    except Exception as error:  # broken, or what it needs is missing
        advice = f"The {origin} Detectron2 is there but cannot be imported."
        yield Finding("detectron2", "problem", _first_line(error), advice)
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


def _device() -> Iterator[Finding]:
    if sys.modules.get("torch") is None:
        return  # said already
    import torch

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        usable = torch.cuda.is_available()
    driver = _nvidia_driver()
    if usable:
        for index in range(torch.cuda.device_count()):
            properties = torch.cuda.get_device_properties(index)
            memory = properties.total_memory / _GIB
            found = f"{properties.name}, {memory:.0f} GiB (CUDA {torch.version.cuda}, {driver})"
            yield Finding(f"cuda:{index}", "ok", found)
        return
    if driver is None:
        advice = (
            "Training runs on the CPU with a recipe made for it: minutes for hundreds of small "
            "images, not for thousands of large ones."
        )
        yield Finding("device", "note", "CPU, no GPU", advice)
        return
    reason = str(caught[0].message).splitlines()[0] if caught else "torch does not say why"
    built = f"CUDA {torch.version.cuda}" if torch.version.cuda else "the CPU only"
    advice = (
        f"This torch is built for {built}: {reason}. Training would run on the CPU. Update the "
        "driver, or install the torch that suits it."
    )
    yield Finding("device", "note", f"a GPU that torch cannot use ({driver})", advice)


def _nvidia_driver() -> str | None:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    query = [tool, "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        run = subprocess.run(query, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = run.stdout.split()
    return f"driver {lines[0]}" if run.returncode == 0 and lines else None


def _machine() -> Iterator[Finding]:
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    yield Finding("cores", "ok", str(cores))
    if hasattr(os, "sysconf"):
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / _GIB
        advice = "Lower solver.images_per_batch or augment.image_size if training is killed."
        few = memory < 6
        yield Finding("memory", "note" if few else "ok", f"{memory:.0f} GiB", advice if few else "")
    free = shutil.disk_usage(Path.cwd()).free / _GIB
    advice = "A run's checkpoints may not fit. Free some space, or set output_dir to another disk."
    little = free < 3
    yield Finding(
        "free disk", "note" if little else "ok", f"{free:.1f} GiB", advice if little else ""
    )


def _packaged_weights() -> Iterator[Finding]:
    from detfinetune.errors import WeightsError
    from detfinetune.models.weights import packaged_weights_file

    try:
        yield Finding("packaged weights", "ok", str(packaged_weights_file()))
    except WeightsError as error:
        loss = "The models that need no download have no pretrained weights."
        yield Finding("packaged weights", "note", "not there", f"{loss} {error}")


def _zoo_cache() -> Iterator[Finding]:
    from detfinetune.models.weights import zoo_weights_cached
    from detfinetune.models.zoo import zoo_names

    where = "FVCORE_CACHE" if os.environ.get("FVCORE_CACHE") else "~/.torch/iopath_cache"
    cached = [name for name in zoo_names() if zoo_weights_cached(name) is not None]
    if cached:
        yield Finding("weights cache", "ok", f"{', '.join(cached)} (in {where})")
    else:
        advice = (
            "A model of Detectron2's zoo downloads its weights when it is first used. FVCORE_CACHE "
            "sets another folder for them."
        )
        yield Finding("weights cache", "note", f"no zoo weights in {where}", advice)


def _zoo_server() -> Iterator[Finding]:
    from detfinetune.models.weights import zoo_reachable

    if zoo_reachable():
        yield Finding("model zoo", "ok", "can be reached")
    else:
        advice = (
            "Zoo models whose weights are not in the cache cannot start. Use "
            "model.name=efficientnet_lite0_fpn, give a file with model.weights=FILE, or mend the "
            "network (HTTPS_PROXY is honoured)."
        )
        yield Finding("model zoo", "note", "cannot be reached", advice)


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0]}" if text else type(error).__name__
