"""What the acceptance script does with Florence-2, done with a tiny one."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import acceptance
import pytest
from taught_florence import draw_picture, write_taught_florence


@pytest.mark.slow  # 60 s: it teaches a tiny model, and runs four commands
def test_caption_train_merge_reload(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = write_taught_florence(tmp_path / "base")
    draw_picture().save(tmp_path / "photo.png")
    words = ("model=florence2", f"model.weights={base}", "hardware=cpu")
    monkeypatch.setattr(acceptance, "FLORENCE", words)
    monkeypatch.setattr(acceptance, "FLORENCE_STEPS", 2)
    monkeypatch.setattr(
        acceptance.Acceptance, "picture", lambda self: self.folder.parent / "photo.png"
    )
    monkeypatch.setenv("PYTHONPATH", str(repo))
    (tmp_path / "out").mkdir()
    steps = acceptance.Acceptance(tmp_path / "out", 14, 2)
    assert steps.scenes() == "14 images"
    assert steps.caption() == "Grüner Kreis"
    seen = steps.fine_tune_florence("augment.image_size=96", "evaluation.pictures=0")
    assert seen.startswith("2 of 2 steps (cpu, fp32); loss ")
    assert steps.merge_florence().endswith(" MiB")
    assert steps.reload_florence()


def test_steps_need_what_the_machine_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    need = partial(acceptance.hub_weights, acceptance.FLORENCE_WEIGHTS, "florence")
    assert need("transformers")() == "the weights' hub cannot be reached"
    assert need("transformers_of_tomorrow")() == "the extra 'florence' is not installed"
    steps = acceptance.Acceptance(tmp_path, 14, None).florence_steps()
    assert [step.after for step in steps] == [
        "scenes", "scenes", "Florence-2: train", "Florence-2: merge",
    ]  # fmt: skip
