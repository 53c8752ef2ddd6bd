"""Small changes to Detectron2's Python files, each an exact replacement of text.

A patch whose text is not found as often as it says stops the build: a change that silently no
longer applies would be found only by a user.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class PatchError(Exception):
    """A patch does not fit the file it is for."""


class Patch(NamedTuple):
    """Replace `old`, which stands exactly once in `path`, by `new`."""

    path: str
    reason: str
    old: str
    new: str


PATCHES = (
    Patch(
        "detectron2/model_zoo/model_zoo.py",
        "pkg_resources is gone from setuptools 81 on",
        "import os\nfrom typing import Optional\nimport pkg_resources\nimport torch\n",
        "import os\nfrom typing import Optional\nimport torch\n",
    ),
    Patch(
        "detectron2/model_zoo/model_zoo.py",
        "pkg_resources is gone from setuptools 81 on",
        "    cfg_file = pkg_resources.resource_filename(\n"
        '        "detectron2.model_zoo", os.path.join("configs", config_path)\n'
        "    )\n",
        '    cfg_file = os.path.join(os.path.dirname(__file__), "configs", config_path)\n',
    ),
    Patch(
        "detectron2/modeling/anchor_generator.py",
        "torch.meshgrid wants its indexing named",
        "torch.meshgrid(shifts_y, shifts_x)",
        'torch.meshgrid(shifts_y, shifts_x, indexing="ij")',
    ),
    Patch(
        "detectron2/modeling/backbone/swin.py",
        "torch.meshgrid wants its indexing named",
        "torch.meshgrid([coords_h, coords_w])",
        'torch.meshgrid([coords_h, coords_w], indexing="ij")',
    ),
    Patch(
        "detectron2/projects/panoptic_deeplab/post_processing.py",
        "torch.meshgrid wants its indexing named",
        "        torch.arange(width, dtype=offsets.dtype, device=offsets.device),\n    )\n",
        "        torch.arange(width, dtype=offsets.dtype, device=offsets.device),\n"
        '        indexing="ij",\n    )\n',
    ),
    Patch(
        "detectron2/engine/train_loop.py",
        "torch.cuda.amp is deprecated",
        "            from torch.cuda.amp import GradScaler\n\n"
        "            grad_scaler = GradScaler()\n",
        "            from torch.amp import GradScaler\n\n"
        '            grad_scaler = GradScaler("cuda")\n',
    ),
    Patch(
        "detectron2/engine/train_loop.py",
        "torch.cuda.amp is deprecated",
        "        from torch.cuda.amp import autocast\n",
        "        from torch.amp import autocast\n",
    ),
    Patch(
        "detectron2/engine/train_loop.py",
        "torch.cuda.amp is deprecated",
        "        with autocast(dtype=self.precision):\n",
        '        with autocast("cuda", dtype=self.precision):\n',
    ),
    Patch(
        "detectron2/data/benchmark.py",
        "numpy 2.4 no longer knows interpolation=",
        'np.percentile(all_times, k, interpolation="nearest")',
        'np.percentile(all_times, k, method="nearest")',
    ),
)


def patched(files: dict[str, bytes], patches: Iterable[Patch] = PATCHES) -> dict[str, bytes]:
    """Return `files` (path -> content) with `patches` applied.

    Each changed file opens with a line that says so and why, as its licence asks.

    Raises:
        PatchError: a file is missing, or a text does not stand in it exactly once.
    """
    result = dict(files)
    reasons: dict[str, list[str]] = {}
    for patch in patches:
        if patch.path not in result:
            raise PatchError(f"{patch.path} is not in the wheel, but is to be patched.")
        text = result[patch.path].decode("utf-8")
        found = text.count(patch.old)
        if found != 1:
            raise PatchError(
                f"{patch.path}: the text to replace stands there {found} times instead of once "
                f"({patch.reason}):\n{patch.old}"
            )
        result[patch.path] = text.replace(patch.old, patch.new).encode("utf-8")
        noted = reasons.setdefault(patch.path, [])
        if patch.reason not in noted:
            noted.append(patch.reason)
    for path, why in reasons.items():
        notice = f"# Changed when detfinetune packaged it: {'; '.join(why)}.\n"
        result[path] = notice.encode("utf-8") + result[path]
    return result
