"""A tiny Florence-2: random, and one that was fully trained as the published ones were."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
from bright_shapes import CLASSES, write_bright_shapes
from quick_runs import settings

from detfinetune.config.load import load_hardware, load_train_config
from detfinetune.engine.train import train
from detfinetune.models.checkpoint import load_detector
from detfinetune.models.florence2.family import FAMILY
from detfinetune.models.pretrained import read_processor

if not all(map(find_spec, FAMILY.requires)):
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(scope="session")
def random_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny Florence-2 with random weights; treat it as read-only."""
    from tiny_florence import write_tiny_florence

    return write_tiny_florence(tmp_path_factory.mktemp("florence") / "random")


@pytest.fixture(scope="session")
def eight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data set of eight images; treat it as read-only."""
    return write_bright_shapes(tmp_path_factory.mktemp("shapes") / "eight", images=8, seed=2)


@pytest.fixture(scope="session")
def trained_base(random_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny Florence-2 that can read images, as LoRA alone could not teach it.

    All its weights were trained, on 16 images that are none of `eight`.
    """
    folder = tmp_path_factory.mktemp("pretraining")
    data = write_bright_shapes(folder / "data", images=16, seed=1)
    result = train(
        load_train_config(
            settings(
                random_base, "model.lora_rank=0", f"data.root={data}", "solver.base_lr=1e-3",
                "solver.max_iter=120", "evaluation.eval_period=0", "evaluation.pictures=0",
                f"output_dir={folder / 'run'}",
            )
        )
    )  # fmt: skip
    detector = load_detector(result.run / "checkpoints" / "last.pth", load_hardware("cpu"))
    detector.model.get_submodule("network").save_pretrained(folder / "base")
    read_processor(random_base).save_pretrained(folder / "base")
    assert detector.classes == CLASSES
    return folder / "base"
