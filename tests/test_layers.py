"""What can be imported without torch and Detectron2, and what the package offers."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import detfinetune

LIGHT = [
    "detfinetune",
    "detfinetune.annotate.label",
    "detfinetune.annotate.server",
    "detfinetune.checks.run",
    "detfinetune.cli",
    "detfinetune.config.load",
    "detfinetune.console",
    "detfinetune.doctor",
    "detfinetune.engine.schedule",
    "detfinetune.evaluation.metrics",
    "detfinetune.files",
    "detfinetune.labels.convert",
    "detfinetune.labels.prepare",
    "detfinetune.pictures",
    "detfinetune.propose.edit_cost",
    "detfinetune.report.page",
]
HEAVY = {"torch", "torchvision", "detectron2", "timm", "fvcore"}


@pytest.mark.parametrize("module", LIGHT)
def test_imports_without_torch_and_detectron2(module: str) -> None:
    program = f"import json, sys, {module}; print(json.dumps(sorted(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert HEAVY.isdisjoint(json.loads(run.stdout))


@pytest.mark.parametrize(
    "name", ["Detector", "ask", "check", "convert", "evaluate", "merge", "predict", "train"]
)
def test_package_offers_its_calls(name: str) -> None:
    assert name in dir(detfinetune)
    assert callable(getattr(detfinetune, name))


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'detfinetune' has no attribute 'tarin'"):
        _ = detfinetune.tarin
