"""The family: names, recipe, checks and what is wrong with base weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from label_tables import statistics_of
from quick_runs import STATISTICS, resolved, settings
from safetensors.torch import load_file, save_file

from detfinetune.config.load import load_train_config
from detfinetune.engine.recipe import resolve_recipe
from detfinetune.errors import ConfigError, MissingExtraError, ModelError, WeightsError
from detfinetune.families import family_of
from detfinetune.models.florence2.build import build_model
from detfinetune.models.florence2.family import FAMILY
from detfinetune.models.florence2.weights import base_folder


@pytest.mark.parametrize(
    "name", ["florence2", "florence2_large", "florence-community/Florence-2-base-ft"]
)
def test_names(name: str) -> None:
    assert family_of(name) is FAMILY


@pytest.mark.parametrize("name", ["auto", "timm/resnet18", "florence", "microsoft/Florence-2-base"])
def test_names_of_others(name: str) -> None:
    assert family_of(name) is not FAMILY


def test_the_recipe_of_the_base_model() -> None:
    overrides = ["+experiment=florence2_lora", "hardware=cpu"]
    config, choices = resolve_recipe(load_train_config(overrides), STATISTICS)
    chosen = {choice.key: choice.value for choice in choices}
    assert (chosen["augment.image_size"], chosen["model.lora_alpha"]) == (768, 64)
    assert (config.solver.base_lr, config.solver.decay) == (2e-4, "cooldown")
    assert all(choice.reason for choice in choices)
    large, _ = resolve_recipe(
        load_train_config([*overrides, "model.name=florence2_large"]), STATISTICS
    )
    assert large.solver.base_lr == 1e-4
    assert large.model.model_dump()["lora_alpha"] == 32
    full, _ = resolve_recipe(load_train_config([*overrides, "model.lora_rank=0"]), STATISTICS)
    assert full.solver.base_lr == 1e-5


def test_images_with_too_many_objects_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    config = load_train_config(["+experiment=florence2_lora", "hardware=cpu"])
    image = (64, 64)
    crowded = [count * [(0, 13.0, 13.0)] for count in (3, 146, 147, 400)]
    resolve_recipe(config, statistics_of(crowded[:2], image))
    assert "more objects" not in capsys.readouterr().err
    resolve_recipe(config, statistics_of(crowded, image))
    assert "about 146: 2 of 4, with up to 400" in capsys.readouterr().err


def test_what_does_not_fit_the_family(random_base: Path) -> None:
    wrong = resolved(
        random_base, "augment.image_size=1024", "detectron2.MODEL.RPN.NMS_THRESH=0.6",
        "solver.layer_decay=0.9",
    )  # fmt: skip
    with pytest.raises(ConfigError) as caught:
        FAMILY.check(wrong, 2)
    assert "augment.image_size=1024" in str(caught.value)
    assert "no model of Detectron2" in str(caught.value)
    assert "solver.layer_decay has no effect" in str(caught.value)
    FAMILY.check(resolved(random_base), 2)
    with pytest.raises(ModelError, match="cannot be trained for task=segm"):
        resolved(random_base, "task=segm")
    with pytest.raises(ConfigError, match="freeze_at"):
        load_train_config(settings(random_base, "model.freeze_at=2"))


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FAMILY, "requires", ("transformers_of_tomorrow",), raising=False)
    with pytest.raises(MissingExtraError, match=r"detfinetune\[florence\]"):
        resolve_recipe(load_train_config(["model=florence2"]), STATISTICS)


def test_a_folder_is_kept_with_its_whole_path(
    random_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(random_base.parent)
    config = load_train_config(["model=florence2", "model.weights=random"])
    assert config.model.weights == str(random_base)


def copied(base: Path, folder: Path) -> Path:
    return Path(shutil.copytree(base, folder / "copy"))


def refusal(folder: Path) -> str:
    with pytest.raises(WeightsError) as caught:
        build_model(resolved(folder), ("disc",), None)
    return str(caught.value)


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}), encoding="utf-8")


def test_folders_that_are_no_native_florence(random_base: Path, tmp_path: Path) -> None:
    folder = copied(random_base, tmp_path)
    edit(folder / "config.json", auto_map={"AutoConfig": "code.py"})
    assert "with remote code" in refusal(folder)
    edit(folder / "config.json", model_type="bart")
    assert "model_type is 'bart'" in refusal(folder)
    (folder / "config.json").unlink()
    assert "config.json is missing" in refusal(folder)


def test_folders_that_lack_something(random_base: Path, tmp_path: Path) -> None:
    folder = copied(random_base, tmp_path)
    tensors = load_file(folder / "model.safetensors")
    lost = next(name for name in tensors if "fc1.weight" in name)
    rest = {name: value for name, value in tensors.items() if name != lost}
    save_file(rest, folder / "model.safetensors", metadata={"format": "pt"})
    assert f"1 are missing or have another shape, such as {lost}" in refusal(folder)
    (folder / "model.safetensors").write_bytes(b"torn")
    assert "transformers cannot load its model" in refusal(folder)
    (folder / "model.safetensors").unlink()
    assert "has no .safetensors" in refusal(folder)
    (folder / "tokenizer.json").unlink()
    torch.save({}, folder / "pytorch_model.bin")
    assert "has no .safetensors" in refusal(folder)


def test_names_that_are_no_weights(
    random_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(WeightsError, match="neither a folder nor a published name"):
        resolved(Path("random"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    config = load_train_config(["model=florence2"])
    with pytest.raises(WeightsError, match=r"hf download florence-community/Florence-2-base"):
        base_folder(config.model)
