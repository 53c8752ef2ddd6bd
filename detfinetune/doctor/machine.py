"""Checks of the machine: device, memory, disk, weights, network."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

from detfinetune.doctor.finding import Finding

_GIB = 1 << 30


def check_device() -> Iterator[Finding]:
    """Report the GPUs that torch can use, or why there are none."""
    if sys.modules.get("torch") is None:
        return  # reported by `check_modules`
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
            "Training runs on the CPU with a recipe for CPUs: minutes for hundreds of small "
            "images, but hours for thousands of large ones."
        )
        yield Finding("device", "note", "CPU, no GPU", advice)
        return
    reason = str(caught[0].message).splitlines()[0] if caught else "torch gives no reason"
    built = f"CUDA {torch.version.cuda}" if torch.version.cuda else "the CPU only"
    advice = (
        f"This torch is built for {built}: {reason}. Training would run on the CPU. Update the "
        "driver, or install a torch that supports it."
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


def check_machine() -> Iterator[Finding]:
    """Report CPU cores, how threads wait, memory and free disk."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    yield Finding("cores", "ok", str(cores))
    policy = os.environ.get("OMP_WAIT_POLICY")
    advice = (
        "Threads that wait keep a core busy, which makes training several times as slow on a "
        "machine that others use too. Unset OMP_WAIT_POLICY: the tools then set it to passive."
    )
    busy = policy is not None and policy.lower() == "active"
    shown = f"{policy}, from your environment" if policy else "passive, set by the tools"
    yield Finding("OMP_WAIT_POLICY", "note" if busy else "ok", shown, advice if busy else "")
    if hasattr(os, "sysconf"):
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / _GIB
        advice = "Lower solver.images_per_batch or augment.image_size if training is killed."
        few = memory < 6
        yield Finding("memory", "note" if few else "ok", f"{memory:.0f} GiB", advice if few else "")
    free = shutil.disk_usage(Path.cwd()).free / _GIB
    advice = "Checkpoints may not fit. Free some space, or set output_dir to another disk."
    little = free < 3
    yield Finding(
        "free disk", "note" if little else "ok", f"{free:.1f} GiB", advice if little else ""
    )


def check_packaged_weights() -> Iterator[Finding]:
    """Report the ImageNet weights that are installed with detfinetune."""
    from detfinetune.errors import WeightsError
    from detfinetune.models.rcnn.weights import packaged_weights_file

    try:
        yield Finding("packaged weights", "ok", str(packaged_weights_file()))
    except WeightsError as error:
        loss = "Models that need no download have no pretrained weights."
        yield Finding("packaged weights", "note", "missing", f"{loss} {error}")


def check_zoo_cache() -> Iterator[Finding]:
    """Report which weights of Detectron2's zoo are cached."""
    from detfinetune.models.rcnn.weights import zoo_weights_cached
    from detfinetune.models.rcnn.zoo import ZOO_WEIGHTS

    where = "FVCORE_CACHE" if os.environ.get("FVCORE_CACHE") else "~/.torch/iopath_cache"
    cached = [name for name in ZOO_WEIGHTS if zoo_weights_cached(name) is not None]
    if cached:
        yield Finding("weights cache", "ok", f"{', '.join(cached)} (in {where})")
    else:
        advice = (
            "Models of Detectron2's zoo download their weights when first used. FVCORE_CACHE sets "
            "another cache folder."
        )
        yield Finding("weights cache", "note", f"no zoo weights in {where}", advice)


def check_zoo_server() -> Iterator[Finding]:
    """Report whether the server of Detectron2's zoo can be reached."""
    from detfinetune.models.rcnn.weights import zoo_reachable

    if zoo_reachable():
        yield Finding("model zoo", "ok", "can be reached")
    else:
        advice = (
            "Zoo models need cached weights. Use model.name=efficientnet_lite0_fpn, give a file "
            "with model.weights=FILE, or fix the network (HTTPS_PROXY is supported)."
        )
        yield Finding("model zoo", "note", "cannot be reached", advice)
