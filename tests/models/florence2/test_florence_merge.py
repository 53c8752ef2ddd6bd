"""Merged models, as `transformers` alone sees them, and as a start for new runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from bright_shapes import CLASSES
from quick_runs import resolved, write_rcnn_checkpoint

from detfinetune.config.load import load_merge_config
from detfinetune.config.schema import HardwareConfig
from detfinetune.errors import ConfigError, ModelError, OutputExistsError, WeightsError
from detfinetune.models.checkpoint import Checkpoint, load_detector, write_checkpoint
from detfinetune.models.florence2.build import build_model
from detfinetune.models.merge import merge

PIXELS = (2, 3, 64, 64)
# Runs without detfinetune on its path.
READER = """
import sys
import torch
from transformers import AutoProcessor, Florence2ForConditionalGeneration

folder, given, result = sys.argv[1:]
model = Florence2ForConditionalGeneration.from_pretrained(folder).eval()
processor = AutoProcessor.from_pretrained(folder)
values = torch.load(given)
images = [torch.zeros(3, 90, 70, dtype=torch.uint8)] * 2
inputs = processor(text=["<OD>"] * 2, images=images, return_tensors="pt")
inputs["pixel_values"] = values["pixels"].reshape(inputs["pixel_values"].shape)
with torch.no_grad():
    torch.save(model(**inputs, labels=values["labels"]).logits, result)
assert not any(name.startswith(("detfinetune", "peft")) for name in sys.modules)
"""


def write_trained(base: Path, path: Path, *overrides: str, seed: int = 0) -> Path:
    """Write a checkpoint whose trained weights, and other averaged ones, differ from the base."""
    config = resolved(base, *overrides)
    model = build_model(config, CLASSES, None)
    generator = torch.Generator().manual_seed(seed)
    averaged = "solver.ema_decay=0.9" in overrides
    states = [
        {
            name: value + 0.02 * torch.randn(value.shape, generator=generator)
            if value.is_floating_point()
            else value
            for name, value in model.checkpoint_state().items()
        }
        for _ in range(2)
    ]
    stored = Checkpoint(states[0], CLASSES, config, 1, ema=states[1] if averaged else None)
    write_checkpoint(path, stored)
    return path


def run_merge(*words: str) -> None:
    merge(load_merge_config(words))


@pytest.mark.parametrize(
    "overrides", [(), ("model.lora_rank=0",), ("solver.ema_decay=0.9", "model.freeze_vision=true")]
)
def test_transformers_alone_gets_equal_logits(
    random_base: Path, tmp_path: Path, overrides: tuple[str, ...]
) -> None:
    checkpoint = write_trained(random_base, tmp_path / "best.pth", *overrides)
    run_merge(f"checkpoint={checkpoint}", f"output={tmp_path / 'merged'}")
    generator = torch.Generator().manual_seed(1)
    given = {
        "pixels": torch.randn(PIXELS, generator=generator),
        "labels": torch.randint(4, 1000, (2, 9), generator=generator),
    }
    torch.save(given, tmp_path / "given.pt")
    subprocess.run(
        [sys.executable, "-c", READER, tmp_path / "merged", tmp_path / "given.pt",
         tmp_path / "logits.pt"],
        check=True, cwd=tmp_path, env={"HF_HUB_OFFLINE": "1"},
    )  # fmt: skip

    model = load_detector(checkpoint, HardwareConfig()).model
    base = build_model(resolved(random_base, *overrides), CLASSES, None).eval()
    logits = []
    for each in (model, base):
        # As bytes, which the detector normalizes itself.
        pixels = given["pixels"] * each.get_buffer("_std") + each.get_buffer("_mean")
        with torch.no_grad():
            inputs = each._inputs(pixels)  # type: ignore[operator]
            network = each.get_submodule("network")
            logits.append(network(inputs_embeds=inputs, labels=given["labels"]).logits)
    merged = torch.load(tmp_path / "logits.pt")
    torch.testing.assert_close(merged, logits[0], rtol=0, atol=1e-4)
    assert (merged - logits[1]).abs().max() > 0.1
    record = json.loads((tmp_path / "merged" / "merged_from.json").read_text(encoding="utf-8"))
    assert record["classes"] == list(CLASSES)


def test_a_merged_model_starts_a_run(random_base: Path, tmp_path: Path) -> None:
    checkpoint = write_trained(random_base, tmp_path / "best.pth")
    run_merge(f"checkpoint={checkpoint}", f"output={tmp_path / 'merged'}")
    model = build_model(resolved(tmp_path / "merged"), CLASSES, None)
    before = load_detector(checkpoint, HardwareConfig()).model
    name = "network.model.language_model.decoder.layers.0.fc1"
    fresh, trained = model.get_submodule(name), before.get_submodule(name)
    trained.merge()  # type: ignore[operator]
    torch.testing.assert_close(fresh.base_layer.weight, trained.base_layer.weight)
    assert not fresh.lora_B["default"].weight.any()  # type: ignore[index, union-attr]


def test_runs_and_checkpoints_are_no_base_weights(random_base: Path, tmp_path: Path) -> None:
    checkpoint = write_trained(random_base, tmp_path / "run" / "checkpoints" / "best.pth")
    with pytest.raises(WeightsError) as caught:
        resolved(checkpoint)
    assert f"  detfinetune merge checkpoint={checkpoint} output=merged\n" in str(caught.value)
    with pytest.raises(WeightsError, match=r"is a run, .*\n  detfinetune merge run=/"):
        resolved(tmp_path / "run")


def test_outputs_are_kept(random_base: Path, tmp_path: Path) -> None:
    checkpoint = write_trained(random_base, tmp_path / "best.pth")
    merged = tmp_path / "merged"
    with pytest.raises(ConfigError, match="output is missing"):
        run_merge(f"checkpoint={checkpoint}")
    run_merge(f"checkpoint={checkpoint}", f"output={merged}")
    before = {path.name: path.read_bytes() for path in merged.iterdir()}
    with pytest.raises(OutputExistsError, match="overwrite=true"):
        run_merge(f"checkpoint={checkpoint}", f"output={merged}")
    other = write_trained(random_base, tmp_path / "other.pth", seed=1)
    run_merge(f"checkpoint={other}", f"output={merged}", "overwrite=true")
    after = {path.name: path.read_bytes() for path in merged.iterdir()}
    assert after.keys() == before.keys()
    assert after["model.safetensors"] != before["model.safetensors"]
    with pytest.raises(OutputExistsError, match="not written by this tool"):
        run_merge(f"checkpoint={checkpoint}", f"output={random_base}", "overwrite=true")
    # A model that was merged is the base of another run.
    second = write_trained(merged, tmp_path / "second.pth")
    with pytest.raises(OutputExistsError, match="which would be removed"):
        run_merge(f"checkpoint={second}", f"output={merged}", "overwrite=true")


def test_an_rcnn_cannot_be_merged(tmp_path: Path) -> None:
    checkpoint = write_rcnn_checkpoint(tmp_path / "best.pth")
    with pytest.raises(ModelError, match=r"efficientnet_lite0_fpn cannot be merged.*: florence2\."):
        run_merge(f"checkpoint={checkpoint}", f"output={tmp_path / 'merged'}")
    assert list(tmp_path.iterdir()) == [checkpoint]


def test_nothing_is_left_when_writing_fails(
    random_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = write_trained(random_base, tmp_path / "best.pth")
    monkeypatch.setattr("detfinetune.files.write_json", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run_merge(f"checkpoint={checkpoint}", f"output={tmp_path / 'out' / 'merged'}")
    assert list((tmp_path / "out").iterdir()) == []
