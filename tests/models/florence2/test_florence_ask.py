"""Asking a tiny Florence-2 by the command, before and after training, and what goes wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from quick_runs import resolved, write_rcnn_checkpoint
from taught_florence import ANSWERS, SIZE, WORDS, draw_picture, write_taught_florence

import detfinetune
from detfinetune.cli import ask
from detfinetune.errors import ConfigError, DataError, DetFinetuneError, MissingExtraError
from detfinetune.models.checkpoint import Checkpoint, write_checkpoint
from detfinetune.models.florence2.build import build_model
from detfinetune.models.florence2.family import FAMILY
from detfinetune.models.florence2.tasks import TASKS


@pytest.fixture(scope="session")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny Florence-2 that knows an answer to each task; treat it as read-only."""
    return write_taught_florence(tmp_path_factory.mktemp("taught") / "base")


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    draw_picture().save(path)
    return path


def boxes_of(answer: str) -> list[list[float]]:
    """Return the pixels of an answer's locations, in groups of four."""
    bins = [int(part.split(">")[0]) for part in answer.split("<loc_")[1:]]
    values = [(bin_ + 0.5) / 1000 * SIZE[at % 2] for at, bin_ in enumerate(bins)]
    return [values[first : first + 4] for first in range(0, len(values), 4)]


@pytest.mark.slow  # 40 s: it teaches a tiny model
@pytest.mark.parametrize("name", TASKS)
def test_each_task(taught: Path, photo: Path, tmp_path: Path, name: str) -> None:
    text = [f"text={WORDS}"] if TASKS[name].takes_text else []
    output = tmp_path / "out"
    ask(["model=florence2", f"model.weights={taught}", f"prompt_task={name}", f"input={photo}",
         f"output={output}", "hardware=cpu", *text])  # fmt: skip
    written = json.loads((output / "answers.json").read_text(encoding="utf-8"))
    (image,) = written["images"]
    assert (written["prompt_task"], written["text"]) == (name, WORDS if text else None)
    assert (image["width"], image["height"], image["cut_off"]) == (*SIZE, False)
    answer, regions = ANSWERS[name], image["regions"]
    if "<loc_" not in answer:
        assert (image["text"], regions) == (answer, [])
    elif name in ("referring_segmentation", "ocr_with_region"):
        (region,) = regions
        assert region["text"] == (answer.split("<")[0] or WORDS)
        expected = [value for box in boxes_of(answer) for value in box]
        assert region["polygons"] == [pytest.approx(expected, abs=0.01)]
    else:
        expected_boxes = boxes_of(answer)
        assert len(regions) == len(expected_boxes)
        for region, box in zip(regions, expected_boxes, strict=True):
            assert region["box"] == pytest.approx(box, abs=0.01)
            assert region["text"] in answer
    with Image.open(output / image["picture"]) as picture:
        # The words stand below the picture, which is enlarged.
        assert picture.size == (480, 240 + (30 if image["text"] else 0))


@pytest.mark.slow  # it needs the same model
def test_a_run_a_merged_model_and_python(taught: Path, photo: Path, tmp_path: Path) -> None:
    config = resolved(taught, "augment.image_size=96")
    state = build_model(config, ("disc",), None).checkpoint_state()
    checkpoint = tmp_path / "best.pth"
    write_checkpoint(checkpoint, Checkpoint(state, ("disc",), config, 1))
    detfinetune.merge(checkpoint, tmp_path / "merged")
    sources: list[dict[str, Any]] = [
        {"checkpoint": checkpoint},
        {"model": {"name": "florence2", "weights": str(tmp_path / "merged")}},
    ]
    for number, source in enumerate(sources):
        result = detfinetune.ask(
            photo, "caption", output=tmp_path / str(number), hardware="cpu", **source
        )
        assert result.answers["photo.png"].text == ANSWERS["caption"]


@pytest.mark.slow  # it needs the same model
def test_a_folder_with_a_broken_image(taught: Path, photo: Path, tmp_path: Path) -> None:
    (tmp_path / "in" / "sub").mkdir(parents=True)
    photo.rename(tmp_path / "in" / "sub" / "photo.png")
    (tmp_path / "in" / "torn.png").write_bytes(b"torn")
    result = detfinetune.ask(
        tmp_path / "in", "ocr", model={"name": "florence2", "weights": str(taught)},
        output=tmp_path / "out", hardware="cpu",
    )  # fmt: skip
    assert list(result.answers) == ["sub/photo.png"]
    assert "torn.png" in result.skipped[0]
    assert (tmp_path / "out" / "sub" / "photo.jpg").is_file()


def test_a_run_keeps_its_window(random_base: Path, photo: Path, tmp_path: Path) -> None:
    with Image.open(photo) as picture:
        grey = np.asarray(picture.convert("L"))
    eight, deep = tmp_path / "in" / "eight.png", tmp_path / "in" / "deep.png"
    eight.parent.mkdir()
    Image.fromarray(grey).save(eight)
    Image.fromarray(grey.astype(np.uint16) * 200 + 900).save(deep)
    config = resolved(random_base, "augment.window=[900,51900]")
    state = build_model(config, ("disc",), None).checkpoint_state()
    write_checkpoint(tmp_path / "best.pth", Checkpoint(state, ("disc",), config, 1))
    result = detfinetune.ask(
        tmp_path / "in", "caption", checkpoint=tmp_path / "best.pth", output=tmp_path / "out",
        hardware="cpu",
    )  # fmt: skip
    assert result.skipped == ()
    assert result.answers["deep.png"] == result.answers["eight.png"]


def refusal(photo: Path, *words: str) -> str:
    output = photo.parent / "out"
    with pytest.raises(DetFinetuneError) as caught:
        ask([f"input={photo}", f"output={output}", "hardware=cpu", *words])
    assert not output.exists()
    return str(caught.value)


BASE = ["model=florence2", "model.weights=nowhere"]


def test_tasks_and_texts_that_do_not_fit(photo: Path) -> None:
    assert "Did you mean 'caption'?" in refusal(photo, *BASE, "prompt_task=captoin")
    missing = refusal(photo, *BASE)
    assert "prompt_task is missing" in missing
    assert all(name in missing for name in TASKS)
    for name, task in TASKS.items():
        words = ["text=x"] if not task.takes_text else ['text=" "']
        expected = "takes none" if not task.takes_text else "text is missing"
        assert expected in refusal(photo, *BASE, f"prompt_task={name}", *words)
    assert "text is missing" in refusal(photo, *BASE, "prompt_task=phrase_grounding")


def test_models_that_do_not_fit(photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "Say which model to ask" in refusal(photo, "prompt_task=caption")
    assert "cannot be combined" in refusal(photo, *BASE, "run=x", "prompt_task=caption")
    other = refusal(photo, "model=faster_rcnn_r50_fpn", "prompt_task=caption")
    assert "cannot answer prompts" in other
    assert "florence2" in other
    checkpoint = write_rcnn_checkpoint(photo.parent / "best.pth")
    assert "cannot answer prompts" in refusal(photo, f"checkpoint={checkpoint}")
    assert "neither a folder nor" in refusal(photo, *BASE, "prompt_task=caption")
    monkeypatch.setattr(FAMILY, "requires", ("transformers_of_tomorrow",), raising=False)
    with pytest.raises(MissingExtraError, match=r"detfinetune\[florence\]"):
        ask([f"input={photo}", "prompt_task=caption", *BASE])


def test_inputs_that_do_not_fit(photo: Path, random_base: Path) -> None:
    base = ["model=florence2", f"model.weights={random_base}", "hardware=cpu"]
    video = photo.with_suffix(".mp4")
    video.touch()
    with pytest.raises(DataError, match="videos cannot be asked about"):
        ask([f"input={video}", *base, "prompt_task=caption"])
    long = "prompt_task=phrase_grounding", f"text={'long ' * 200}"
    with pytest.raises(ConfigError, match=r"text: it is \d+ tokens too long"):
        ask([f"input={photo}", f"output={photo.parent / 'out'}", *base, *long])
