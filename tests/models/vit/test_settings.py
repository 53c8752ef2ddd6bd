"""Names, keys and choices of the family."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tiny_transformers import REPO, STATISTICS, built, resolved

from detfinetune.config.load import load_train_config
from detfinetune.engine.recipe import resolve_recipe
from detfinetune.errors import ConfigError, MissingExtraError
from detfinetune.families import family_of
from detfinetune.models.vit import family as vit_family
from detfinetune.models.vit import memory


def test_whose_name_it_is_is_told_without_torch() -> None:
    code = (
        "import sys; from detfinetune.families import family_of\n"
        "names = ['dit_diffusion', 'dit_document', 'vit/vit_small_patch14_dinov2',\n"
        "         'timm/vit_small_patch14_dinov2', 'auto']\n"
        "print(*(family_of(name).name for name in names))\n"
        "assert not {'torch', 'timm', 'diffusers', 'transformers'} & set(sys.modules)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=REPO, capture_output=True, text=True, check=True
    )
    assert run.stdout.split() == ["vit", "vit", "vit", "rcnn", "rcnn"]


def test_only_models_that_need_the_extra_ask_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vit_family, "find_spec", lambda name: None)
    vit_family.FAMILY.require_extra("vit/test_vit")
    for name in ("dit_diffusion", "dit_document"):
        with pytest.raises(MissingExtraError, match=r"detfinetune\[dit\]"):
            vit_family.FAMILY.require_extra(name)


def test_the_recipe_gives_reasons(dit_folder: Path) -> None:
    words = ["hardware=cpu", "model.name=dit_diffusion", f"model.weights={dit_folder}"]
    config, choices = resolve_recipe(load_train_config(words), STATISTICS)
    model = config.model
    chosen = {choice.key: choice.value for choice in choices}
    assert all(choice.reason for choice in choices)
    assert chosen["model.tap_block"] == 2
    assert chosen["model.freeze_blocks"] == 1
    assert chosen["model.timestep"] == 100
    assert chosen["model.head"] == "retinanet"
    assert chosen["model.loss"] == "focal"
    assert chosen["augment.image_size"] == 256
    assert chosen["solver.images_per_batch"] == 2
    # Objects have 51 to 77 px; the finest level starts at 16 to 32.
    assert chosen["model.anchor_sizes"] == [32, 64, 128, 256, 512]
    assert chosen["model.anchor_ratios"] == [0.5, 1, 2]
    assert model.architecture["num_layers"] == 4  # type: ignore[attr-defined]
    # A run keeps it, so that its checkpoint needs no configuration from elsewhere.
    again = type(config).model_validate(config.model_dump(mode="json"))
    assert again == config


def test_published_sizes_are_tapped_in_the_middle() -> None:
    config = resolved(
        "model.name=dit_diffusion", "model.pretrained=a/b", "model.architecture={num_layers: 28}"
    )
    assert config.model.tap_block == 12  # type: ignore[attr-defined]
    config = resolved("model.name=vit/vit_small_patch14_dinov2", "model.weights=random")
    assert config.model.tap_block == 12  # type: ignore[attr-defined]
    assert config.model.freeze_blocks == 0  # type: ignore[attr-defined]


def test_mistakes_are_listed_together(beit_folder: Path) -> None:
    config = resolved(
        "model.name=dit_document", f"model.weights={beit_folder}", "model.tap_block=9",
        "model.freeze_blocks=10", "model.timestep=5", "model.head=faster_rcnn", "model.loss=focal",
        "model.anchor_sizes=[8,16]", "detectron2.MODEL.MASK_ON=true",
    )  # fmt: skip
    with pytest.raises(ConfigError) as raised:
        family_of("dit_document").check(config, 2)
    said = str(raised.value)
    for part in (
        "model.tap_block=9: the transformer has 3 blocks",
        "model.freeze_blocks=10: only 9 blocks are used",
        "model.timestep is for model.name=dit_diffusion only",
        "model.loss=focal is for model.head=retinanet",
        "model.anchor_sizes has 2 sizes, but faster_rcnn needs 5",
        "detectron2.MODEL has no effect",
    ):
        assert part in said


def test_masks_need_the_other_head(beit_folder: Path) -> None:
    config = resolved(
        "model.name=dit_document", f"model.weights={beit_folder}", "task=segm",
        "model.head=retinanet",
    )  # fmt: skip
    with pytest.raises(ConfigError, match=r"use model\.head=faster_rcnn"):
        family_of("dit_document").check(config, 2)


def test_a_model_that_does_not_fit_is_refused_with_the_ways_out(
    beit_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = resolved(
        "model.name=dit_document", f"model.weights={beit_folder}", "augment.image_size=512",
        "solver.images_per_batch=8",
    )  # fmt: skip
    needed = memory.estimate_memory(config, 2).total
    monkeypatch.setattr(memory, "device_memory", lambda device: needed)
    family_of("dit_document").check(config, 2)
    monkeypatch.setattr(memory, "device_memory", lambda device: needed - 1)
    with pytest.raises(ConfigError) as raised:
        family_of("dit_document").check(config, 2)
    for way in ("solver.accumulate=8", "augment.image_size (now 512)", "model.freeze_blocks",
                "model.tap_block", "hardware.precision=bf16"):  # fmt: skip
        assert way in str(raised.value)
    # What the text advises does need less.
    for word in ("solver.accumulate=8", "augment.image_size=256", "model.freeze_blocks=3",
                 "augment.crop_size=256"):  # fmt: skip
        less = resolved(
            "model.name=dit_document", f"model.weights={beit_folder}", "augment.image_size=512",
            "solver.images_per_batch=8", *([word] if "image_size" not in word else []),
        )  # fmt: skip
        if "image_size" in word:
            less = resolved(
                "model.name=dit_document", f"model.weights={beit_folder}", word,
                "solver.images_per_batch=8",
            )  # fmt: skip
        assert memory.estimate_memory(less, 2).total < needed, word


def test_anchors_are_those_of_the_model(beit_folder: Path) -> None:
    config = resolved("model.name=dit_document", f"model.weights={beit_folder}")
    anchors = family_of("dit_document").anchors(config)
    assert anchors is not None
    generator = built(config).model.anchor_generator
    sides = sorted({round(float(b[2] - b[0]), 2) for b in next(iter(generator.cell_anchors))})
    sizes = anchors.anchor_sizes[0]
    ratios = anchors.aspect_ratios
    wanted = sorted({round(size / ratio**0.5, 2) for size in sizes for ratio in ratios})  # type: ignore[union-attr]
    assert sides == wanted
    assert tuple(generator.strides) == anchors.strides
