"""Proposals in the labels of `detfinetune label`: only where nobody has finished."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from detfinetune.annotate.figures import round_figures
from detfinetune.annotate.start import open_store
from detfinetune.cli import propose as propose_command
from detfinetune.config.schema import DataConfig
from detfinetune.errors import ConfigError
from detfinetune.labels.formats.json.label_store import ImageDocument, Shape
from detfinetune.labels.images.hashes import hash_images
from detfinetune.propose import images as images_module
from detfinetune.propose import next_images
from detfinetune.propose.rounds import begin_round

Folder = Callable[[str], Path]
NAMES = tuple(f"{letter}.png" for letter in "abcdef")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Six pictures and a broken one, with two classes to look for."""
    folder = tmp_path / "photos"
    folder.mkdir()
    generator = np.random.default_rng(0)
    for name in NAMES:
        noise = generator.integers(0, 255, (60, 90, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / name)
    (folder / "torn.png").write_bytes(b"\x89PNG\r\n")
    (folder / "classes.txt").write_text("disc\nsquare\n")
    return folder


@pytest.fixture
def words(tiny: Folder) -> list[str]:
    return [f"model={tiny('owlv2')}", "hardware=cpu", "score_threshold=0.1"]


def documents(photos: Path) -> dict[str, ImageDocument]:
    store = open_store(DataConfig(root=photos))
    return {image.name: store.document(image) for image in store.images.values() if not image.error}


def edit(photos: Path, name: str, **changes: object) -> None:
    store = open_store(DataConfig(root=photos))
    image = next(image for image in store.images.values() if image.name == name)
    store.save(image, store.document(image).model_copy(update=changes))


def test_images_to_do_get_proposals_and_no_others(
    photos: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    drawn = Shape(id="s1", class_id=1, box=(10, 10, 20, 20))
    edit(photos, "a.png", state="done", shapes=(drawn,))
    edit(photos, "b.png", state="unsure", shapes=(drawn,))
    edit(photos, "c.png", split="test")
    edit(photos, "d.png", shapes=(drawn,))
    before = documents(photos)
    propose_command([f"data.root={photos}", *words])
    after = documents(photos)
    assert [name for name in NAMES if after[name] != before[name]] == ["d.png", "e.png", "f.png"]
    for name in ("d.png", "e.png", "f.png"):
        found = after[name]
        assert (found.state, found.revision) == ("proposed", before[name].revision + 1)
        assert found.proposal is not None
        assert (found.proposal.model, found.proposal.round) == (words[0][6:], 0)
        proposed = found.shapes[len(before[name].shapes) :]
        assert proposed
        assert proposed == found.proposal.shapes
        for shape in proposed:
            assert (shape.origin, shape.accepted) == ("model", False)
            assert shape.class_id in (0, 1)
            assert shape.score is not None
            assert shape.score >= 0.1
    assert after["d.png"].shapes[0] == drawn
    said = capsys.readouterr().out
    total = sum(len(found.shapes) for found in after.values()) - 3
    assert f"{total} proposals of {words[0][6:]} for 3 images" in said
    assert f"they are in {photos / '.detfinetune'}" in said


def test_an_interruption_goes_on(
    photos: Path, words: list[str], monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    read = images_module.read_rgb
    count = 0

    def stop(path: Path, window: None) -> object:
        nonlocal count
        count += 1
        if count == 3:
            raise KeyboardInterrupt
        return read(path, window)

    with monkeypatch.context() as patch:
        patch.setattr(images_module, "read_rgb", stop)
        with pytest.raises(KeyboardInterrupt):
            propose_command([f"data.root={photos}", *words])
    first = documents(photos)
    assert [name for name in NAMES if first[name].proposal] == ["a.png", "b.png"]
    propose_command([f"data.root={photos}", *words])
    assert "2 of 6 images were done before." in capsys.readouterr().out
    second = documents(photos)
    assert all(document.proposal for document in second.values())
    assert second["a.png"] == first["a.png"]
    # Accepted proposals stay and are not proposed again, the others are replaced.
    kept = second["a.png"].shapes[0].model_copy(update={"accepted": True})
    edit(photos, "a.png", state="proposed", shapes=(kept, *second["a.png"].shapes[1:]))
    propose_command([f"data.root={photos}", *words, "overwrite=true"])
    third = documents(photos)["a.png"]
    assert third.shapes[0] == kept
    assert [shape.box for shape in third.shapes] == [s.box for s in second["a.png"].shapes]
    assert not {shape.id for shape in third.shapes[1:]} & {s.id for s in second["a.png"].shapes}


def test_a_new_round_proposes_again(photos: Path, words: list[str]) -> None:
    propose_command([f"data.root={photos}", *words])
    open_store(DataConfig(root=photos)).log("round", round=1, ap=50.0)
    propose_command([f"data.root={photos}", *words])
    rounds = [found.proposal.round for found in documents(photos).values() if found.proposal]
    assert rounds == [1] * 6


def test_thresholds_come_from_finished_images(
    photos: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    propose_command([f"data.root={photos}", *words])
    # A person has found nothing in one image, and all proposals right in another.
    edit(photos, "a.png", state="done", shapes=())
    shapes = tuple(
        shape.model_copy(update={"accepted": True}) for shape in documents(photos)["b.png"].shapes
    )
    edit(photos, "b.png", state="done", shapes=shapes)
    capsys.readouterr()
    propose_command([f"data.root={photos}", *words[:2], "overwrite=true"])
    said = capsys.readouterr().out
    assert "on 2 labelled images (drawing a box 3, adjusting one 2, deleting one 1)" in said
    assert f"{3 * len(shapes)} by hand" in said
    assert "for 4 images" in said


def test_classes_of_the_prompts_are_added(photos: Path, words: list[str], tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.yaml"
    prompts.write_text("bird: [bird, crow]\nsquare: [box]\n")
    store = tmp_path / "labels"
    propose_command([f"data.root={photos}", *words, f"prompts={prompts}", f"store={store}"])
    assert not (photos / ".detfinetune").exists()
    labels = open_store(DataConfig(root=photos), store)
    assert labels.classes().classes == ("disc", "square", "bird")
    found = {kind for _, summary in labels.summaries() for kind in summary.classes or ()}
    assert found
    assert found <= {1, 2}


# --- what is labelled next ------------------------------------------------------------------------


def waiting(photos: Path) -> set[str]:
    return {name for name, found in documents(photos).items() if found.state == "proposed"}


def test_some_images_are_chosen_and_filled_up(photos: Path, words: list[str]) -> None:
    edit(photos, "a.png", state="done")
    edit(photos, "c.png", split="test")
    propose_command([f"data.root={photos}", *words, "images=2"])
    first = waiting(photos)
    assert len(first) == 2
    assert first < {"b.png", "d.png", "e.png", "f.png"}
    before = documents(photos)
    propose_command([f"data.root={photos}", *words, "images=2"])
    assert documents(photos) == before
    # One is finished: another is added, and the one that waits is left alone.
    done, other = sorted(first)
    edit(photos, done, state="done", shapes=())
    propose_command([f"data.root={photos}", *words, "images=2"])
    after = waiting(photos)
    assert len(after) == 2
    assert after - {other} <= {"b.png", "d.png", "e.png", "f.png"} - first
    assert documents(photos)[other] == before[other]
    propose_command([f"data.root={photos}", *words, "images=9"])
    assert waiting(photos) == {"b.png", "d.png", "e.png", "f.png"} - {done}


def test_the_same_images_are_chosen_again(
    photos: Path, words: list[str], tmp_path: Path
) -> None:  # fmt: skip
    copy = shutil.copytree(photos, tmp_path / "copy")
    for folder in (photos, copy):
        propose_command([f"data.root={folder}", *words, "images=3"])
    assert waiting(photos) == waiting(copy)


def test_of_many_images_some_are_looked_at(
    photos: Path, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(next_images, "MOST_CANDIDATES", 2)
    propose_command([f"data.root={photos}", *words, "images=4"])
    assert len(waiting(photos)) == 2


def test_a_file_has_proposals_for_all_images(photos: Path, words: list[str]) -> None:
    with pytest.raises(ConfigError, match="Remove one of images and output"):
        propose_command([f"data.root={photos}", *words, "images=4", "output=p.json"])


# --- rounds ---------------------------------------------------------------------------------------


def run_of(photos: Path, run: Path, names: tuple[str, ...], **results: float) -> Path:
    """Write what a run keeps of its images and results."""
    run.mkdir(exist_ok=True)
    contents = hash_images([photos / name for name in names])
    rows = [f"{name},train,{content},x" for name, content in zip(names, contents, strict=True)]
    (run / "images.csv").write_text("\n".join(["file_name,split,content,labels", *rows]) + "\n")
    figures = {split: {"bbox": {"AP": ap}} for split, ap in results.items()}
    (run / "results.json").write_text(json.dumps({"checkpoint": "best", **figures}))
    return run


def test_each_training_begins_a_round_once(photos: Path, tmp_path: Path) -> None:
    edit(photos, "a.png", state="done")
    store = open_store(DataConfig(root=photos))
    run = run_of(photos, tmp_path / "run", ("a.png",), val=40.0, test=30.0)
    for _ in range(2):
        begin_round(store, run, ["a.png"])
    assert [(f.round, f.ap, f.test_ap) for f in round_figures(store.events())] == [
        (0, 40.0, 30.0), (1, None, None),
    ]  # fmt: skip
    # One of other images begins none.
    begin_round(store, run_of(photos, tmp_path / "other", ("b.png",), val=90.0), ["a.png"])
    begin_round(store, run_of(photos, tmp_path / "run-2", ("a.png",)), ["a.png"])
    # The same folder after more training.
    begin_round(store, run_of(photos, run, ("a.png",), val=50.0), ["a.png"])
    begin_round(store, run, ["a.png"])
    assert [(f.round, f.ap, f.test_ap) for f in round_figures(store.events())] == [
        (0, 40.0, 30.0), (1, None, None), (2, 50.0, None), (3, None, None),
    ]  # fmt: skip
