"""Documents, classes and revisions on disk."""

from __future__ import annotations

import json
import multiprocessing
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from detfinetune.annotate.start import open_store
from detfinetune.annotate.store import Conflict, InvalidEdit, LabelImage, LabelStore
from detfinetune.config.schema import DataConfig
from detfinetune.errors import DataError
from detfinetune.labels.formats.json.label_store import (
    ImageDocument,
    Proposal,
    Shape,
    document_text,
    parse_document,
)

CAR = Shape(id="s1", class_id=0, box=(10, 20, 40, 60))
DOG = Shape(id="s2", class_id=1, box=(50, 10, 75, 45))


def edit(revision: int = 0, *shapes: Shape, **values: Any) -> ImageDocument:
    return ImageDocument(width=100, height=80, revision=revision, shapes=shapes, **values)


def journal(store: LabelStore) -> list[dict[str, Any]]:
    return [{k: v for k, v in event.items() if k != "time"} for event in store.events()]


def test_a_document_is_written_beside_the_images_a_shape_a_line(
    store: LabelStore, image: LabelImage
) -> None:
    store.save(image, edit(0, CAR, DOG, state="done"), writer="w", seconds=2.5, inputs=7)
    path = store.root / ".detfinetune" / "labels" / "a.jpg.json"
    assert path.read_text() == (
        '{"version":1,"width":100,"height":80,"state":"done","split":null,"revision":1,"shapes":[\n'
        '{"id":"s1","class":0,"box":[10.0,20.0,40.0,60.0]},\n'
        '{"id":"s2","class":1,"box":[50.0,10.0,75.0,45.0]}\n'
        "]}\n"
    )
    assert journal(store) == [
        {
            "event": "save", "writer": "w", "id": image.id, "image": "a.jpg", "revision": 1,
            "was": "todo", "state": "done", "shapes": 2, "seconds": 2.5, "inputs": 7,
            "accepted": 0, "edited": 0, "deleted": 0, "added": 2,
        }
    ]  # fmt: skip


def test_names_of_sub_folders_are_mirrored(store: LabelStore) -> None:
    deep = next(image for image in store.images.values() if image.name == "sub/c.png")
    store.save(deep, edit())
    assert (store.folder / "labels" / "sub" / "c.png.json").is_file()


def test_all_that_a_shape_holds_comes_back() -> None:
    shape = Shape(
        id="x-1", class_id=3, box=(1, 2, 9, 8), polygons=((1, 2, 9, 2, 9, 8),), origin="model",
        score=0.25, accepted=False, crowd=True, mask={"size": [8, 9], "counts": [72]},
    )  # fmt: skip
    proposal = Proposal(model="m", round=2, shapes=(shape,))
    document = edit(4, shape, CAR, state="proposed", split="test", proposal=proposal)
    assert parse_document(document_text(document)) == document
    assert json.loads(document_text(document))["shapes"][0]["mask"]["counts"] == [72]


def test_a_stale_edit_is_a_conflict_and_changes_nothing(
    store: LabelStore, image: LabelImage
) -> None:
    saved = store.save(image, edit(0, CAR))
    with pytest.raises(Conflict):
        store.save(image, edit(0, DOG))
    assert store.document(image) == saved
    assert store.save(image, edit(1, DOG)).revision == 2


def test_an_edit_whose_answer_was_lost_may_be_sent_again(
    store: LabelStore, image: LabelImage
) -> None:
    first = store.save(image, edit(0, CAR, state="done"))
    assert store.save(image, edit(0, CAR, state="done")) == first
    assert len(store.events()) == 1


@pytest.mark.parametrize(
    ("shapes", "reason"),
    [
        ([{"box": (-5, 0, 10, 10)}], r"shape s0: box -5.0,0.0 to 10.0,10.0 extends outside the"),
        ([{"box": (60, 60, 110, 70)}], r"extends outside the 100x80 image"),
        ([{"box": (200, 10, 220, 20)}], r"lies entirely outside the 100x80 image"),
        ([{"box": (10, 10, 10, 20)}], r"width 0 and height 10 px: no area"),
        ([{"box": (20, 10, 10, 20)}], r"corners are swapped"),
        ([{"polygons": ((0, 0, 200, 0, 0, 70),), "box": (0, 0, 99, 70)}], r"outside the 100x80"),
        ([{"class_id": 2}], r"shape s0: there is no class 2"),
        ([{}, {"id": "s0"}], r"shape s0: the id is there twice"),
        ([{"accepted": False}], r"shape s0: neither accepted nor rejected; a done image holds no"),
    ],
)
def test_wrong_shapes_are_refused_with_the_reason(
    store: LabelStore, image: LabelImage, shapes: list[dict[str, Any]], reason: str
) -> None:
    wrong = [
        Shape(**{"id": f"s{n}", "class_id": 0, "box": (1, 1, 9, 9), **values})
        for n, values in enumerate(shapes)
    ]
    with pytest.raises(InvalidEdit, match=reason):
        store.save(image, edit(0, *wrong, state="done"))
    assert store.document(image).revision == 0
    assert store.events() == []


def test_rounding_at_the_border_is_cut(store: LabelStore, image: LabelImage) -> None:
    shape = Shape(id="s", class_id=0, box=(-0.2, -1e-9, 100.4, 80))
    assert store.save(image, edit(0, shape)).shapes[0].box == (0, 0, 100, 80)


# --- proposals ------------------------------------------------------------------------------------

PROPOSED = Shape(id="p1", class_id=1, box=(50, 10, 75, 45), score=0.9)


def test_proposals_are_not_accepted_and_keep_what_a_person_drew(
    store: LabelStore, image: LabelImage
) -> None:
    store.save(image, edit(0, CAR))
    assert store.propose(image, Proposal(model="dino", round=1, shapes=(PROPOSED,)))
    document = store.document(image)
    assert (document.state, document.revision) == ("proposed", 2)
    marked = PROPOSED.model_copy(update={"origin": "model", "accepted": False})
    assert document.shapes == (CAR, marked)
    better = PROPOSED.model_copy(update={"id": "p2"})
    assert store.propose(image, Proposal(model="own", round=2, shapes=(better,)))
    assert [shape.id for shape in store.document(image).shapes] == ["s1", "p2"]
    assert [event["writer"] for event in store.events()] == ["", "dino", "own"]


@pytest.mark.parametrize(
    "values", [{"state": "done"}, {"state": "unsure"}, {"split": "test"}], ids=str
)
def test_finished_images_and_the_blind_test_slice_get_no_proposals(
    store: LabelStore, image: LabelImage, values: dict[str, Any]
) -> None:
    saved = store.save(image, edit(0, **values))
    assert not store.propose(image, Proposal(model="m", round=1, shapes=(PROPOSED,)))
    assert store.document(image) == saved


def test_corrections_of_a_proposal_are_in_the_journal(store: LabelStore, image: LabelImage) -> None:
    shapes = (PROPOSED, Shape(id="p2", class_id=0, box=(1, 1, 9, 9)))
    store.propose(image, Proposal(model="m", round=1, shapes=shapes))
    kept = store.document(image).shapes[0].model_copy(update={"accepted": True})
    store.save(image, edit(1, kept, CAR, state="done"))
    last = store.events()[-1]
    assert {k: last[k] for k in ("was", "accepted", "edited", "deleted", "added")} == {
        "was": "proposed", "accepted": 1, "edited": 0, "deleted": 1, "added": 1,
    }  # fmt: skip


# --- classes --------------------------------------------------------------------------------------


def test_a_renamed_class_keeps_its_objects_without_a_document_being_written(
    store: LabelStore, image: LabelImage
) -> None:
    store.save(image, edit(0, CAR))
    before = (store.folder / "labels" / "a.jpg.json").stat().st_mtime_ns
    assert store.rename_class(0, "  van ", 0).classes == ("van", "dog")
    assert (store.folder / "labels" / "a.jpg.json").stat().st_mtime_ns == before
    assert store.classes().revision == 1
    assert store.rename_class(0, "van", 0).revision == 1
    with pytest.raises(Conflict):
        store.rename_class(1, "cat", 0)
    with pytest.raises(InvalidEdit, match="another class is named 'van'"):
        store.rename_class(1, "van", 1)
    with pytest.raises(InvalidEdit, match="there is no class 2"):
        store.rename_class(2, "cat", 1)


def test_names_that_classes_had_before(store: LabelStore) -> None:
    store.rename_class(0, "van", 0)
    assert store.names_since(0, ("dog", "car", "tree")) == ("dog", "van", "tree")
    store.log("classes", revision=2, renamed=["dog", "cat"])
    store.log("classes", revision=3, renamed=["van", "dog"])
    assert store.names_since(0, ("dog", "car")) == ("cat", "dog")
    assert store.names_since(time.time() + 1, ("dog", "car")) == ("dog", "car")


def test_adding_a_class_twice_adds_it_once(store: LabelStore) -> None:
    assert store.add_class("T-shirt", writer="w")[0] == 2
    number, classes = store.add_class("T-shirt")
    assert (number, classes.revision, classes.classes) == (2, 1, ("car", "dog", "T-shirt"))
    assert journal(store) == [{"event": "classes", "writer": "w", "revision": 1}]
    with pytest.raises(InvalidEdit, match="a class needs a name"):
        store.add_class(" \t")


# --- several processes ----------------------------------------------------------------------------


def test_changes_by_another_process_are_seen(store: LabelStore, image: LabelImage) -> None:
    other = open_store(DataConfig(root=store.root))
    assert [summary.revision for _, summary in store.summaries()] == [0, 0, 0]
    other.save(image, edit(0, CAR, DOG, state="unsure"))
    found = {each.name: summary for each, summary in store.summaries()}
    assert (found["a.jpg"].state, found["a.jpg"].shapes, found["a.jpg"].revision) == (
        "unsure",
        2,
        1,
    )
    with pytest.raises(Conflict):
        store.save(image, edit(0, CAR))


def _save_often(root: Path, number: int) -> None:
    store = open_store(DataConfig(root=root))
    image = next(iter(store.images.values()))
    for attempt in range(10):
        while True:
            stored = store.document(image)
            mark = Shape(id=f"w{number}-{attempt}", class_id=0, box=(1, 1, 9, 9))
            try:
                store.save(image, stored.model_copy(update={"shapes": (*stored.shapes, mark)}))
                break
            except Conflict:
                continue


def test_processes_that_write_at_once_lose_nothing(store: LabelStore) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_save_often, args=(store.root, n)) for n in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    document = store.document(next(iter(store.images.values())))
    assert document.revision == len(document.shapes) == len(store.events()) == 30
    assert len({shape.id for shape in document.shapes}) == 30


# --- what goes wrong ------------------------------------------------------------------------------


def test_a_full_disk_leaves_what_was_stored(
    store: LabelStore, image: LabelImage, file_size_limit: Callable[[int], None]
) -> None:
    saved = store.save(image, edit(0, CAR))
    file_size_limit(0)
    with pytest.raises(OSError, match="File too large"):
        store.save(image, edit(1, DOG))
    file_size_limit(resource.RLIM_INFINITY)
    assert store.document(image) == saved
    assert store.save(image, edit(1, DOG)).revision == 2
    assert [path.name for path in (store.folder / "labels").iterdir()] == ["a.jpg.json"]


def test_a_damaged_document_is_named(store: LabelStore, image: LabelImage) -> None:
    store.save(image, edit(0, CAR))
    path = store.folder / "labels" / "a.jpg.json"
    path.write_text(path.read_text()[:-20])
    with pytest.raises(DataError, match=r"a\.jpg\.json: damaged .* Restore it, or remove it"):
        open_store(DataConfig(root=store.root))


def test_a_document_of_a_newer_version_is_refused(store: LabelStore, image: LabelImage) -> None:
    store.save(image, edit(0, CAR))
    path = store.folder / "labels" / "a.jpg.json"
    path.write_text(path.read_text().replace('"version":1', '"version":2'))
    with pytest.raises(DataError, match=r"damaged \(version: Input should be 1\)"):
        store.document(image)
