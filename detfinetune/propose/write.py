"""Writes proposals: a COCO data set with scores, or the store of labels."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
from pycocotools import mask as mask_api

from detfinetune import console, files
from detfinetune.annotate.figures import round_figures
from detfinetune.annotate.store import InvalidEdit, LabelImage, LabelStore
from detfinetune.errors import DataError
from detfinetune.inference.coco_record import CocoRecord, coco_entry
from detfinetune.inference.journal import resumable_output
from detfinetune.labels.formats.json.label_store import ImageDocument, Proposal, Shape
from detfinetune.labels.images.size_cache import file_stamps
from detfinetune.prediction import Prediction
from detfinetune.propose.choose import Choice
from detfinetune.propose.images import Images
from detfinetune.propose.next_images import choose_next
from detfinetune.propose.proposer import SAME_CLASS_IOU


def write_file(
    output: Path,
    choice: Choice,
    images: Images,
    names: Sequence[str],
    known: Mapping[str, Prediction],
    overwrite: bool,
) -> tuple[int, int]:
    """Propose for all images and write a COCO data set; return its numbers of images and boxes.

    All proposals are kept while this goes on, so that thresholds may change in an interruption.

    Args:
        output: the file.
        choice: source and thresholds.
        images: what is looked for in them.
        names: of all images.
        known: proposals of some of them.
        overwrite: whether the output may be replaced.

    Raises:
        DataError: no image can be read.
        OutputExistsError: the output may not be written, or was begun with other settings.
    """
    prompts, root = images.prompts, images.root
    made_from = {
        "data.root": str(root),
        "source": choice.proposer.name,
        "classes": list(prompts.classes),
        "phrases": dict(zip(prompts.phrases, prompts.class_ids, strict=True)),
    }
    stamps = file_stamps([root / name for name in names])
    sources = {name: {"stamp": list(stamps.get(root / name, ()))} for name in names}
    with resumable_output(output, overwrite, [root], made_from, sources) as journal:
        _say_done(len(journal.done), len(names))
        new = {name: found for name, found in known.items() if name not in journal.done}
        left = [name for name in names if name not in journal.done and name not in new]
        todo = images.propose(choice.proposer, left, "propose", len(names) - len(left))
        for name, found in chain(new.items(), todo):
            journal.add({**coco_entry(name, found), "source": sources[name]})
        if not journal.done:
            first = next(iter(images.skipped.values()))
            raise DataError(f"{root}: none of {len(names)} images can be read; the first: {first}")
        record = CocoRecord(prompts.classes)
        for entry in (journal.done[name] for name in names if name in journal.done):
            shown = [
                result
                for result in entry["results"]
                if choice.shows(result["category_id"] - 1, result["score"])
            ]
            record.add({**entry, "results": shown})
        info = {
            "description": "proposals",
            "source": choice.proposer.name,
            "thresholds": dict(zip(prompts.classes, choice.thresholds, strict=True)),
            "skipped": list(images.skipped.values()),
        }
        journal.made = journal.folder / output.name
        files.write_json(journal.made, record.dataset(info), indent=None)
    return len(record.images), len(record.results)


def write_store(
    store: LabelStore, choice: Choice, images: Images, overwrite: bool, count: int | None = None
) -> tuple[int, int]:
    """Propose for the images that nobody has finished; return the numbers of images and boxes.

    Those of the split test get none. Those that the same source has proposed for in this round of
    training are left as they are. What a person has drawn or accepted is not proposed again.

    Args:
        store: the labels; classes that it lacks are added.
        choice: source and thresholds.
        images: what is looked for in them.
        overwrite: whether to propose again for those as well.
        count: how many images are to wait with proposals afterwards; None: all.
    """
    model, number = choice.proposer.name, round_figures(store.events())[-1].round
    ids = [store.add_class(name, writer=model)[0] for name in images.prompts.classes]
    summaries = [
        (image, summary)
        for image, summary in store.summaries()
        if summary.state in ("todo", "proposed") and summary.split != "test" and not image.error
    ]
    open_images = {image.name: image for image, _ in summaries}
    chosen: dict[str, Prediction] = {}
    if count is not None:
        todo = [image.name for image, summary in summaries if summary.state == "todo"]
        wanted = count - (len(open_images) - len(todo))
        if wanted > 0:
            chosen = choose_next(images, choice.proposer, todo, wanted, seed=number)
        for name in set(todo) - set(chosen):
            del open_images[name]
    documents = {name: store.document(image) for name, image in open_images.items()}
    proposals = {name: document.proposal for name, document in documents.items()}
    left = [
        name
        for name, earlier in proposals.items()
        if overwrite or earlier is None or (earlier.model, earlier.round) != (model, number)
    ]
    done = len(open_images) - len(left)
    _say_done(done, len(open_images))
    rest = [name for name in left if name not in chosen]
    proposed = images.propose(choice.proposer, rest, "propose", len(open_images) - len(rest))
    num_images = num_boxes = 0
    for name, found in chain(chosen.items(), proposed):
        shapes = _shapes(_without_drawn(found, documents[name]), choice, ids)
        proposal = Proposal(model=model, round=number, shapes=shapes)
        if _into_store(store, open_images[name], proposal):
            num_images += 1
            num_boxes += len(shapes)
    return num_images, num_boxes


def _without_drawn(found: Prediction, document: ImageDocument) -> Prediction:
    drawn = np.array([shape.box for shape in document.shapes if shape.accepted])
    if not len(drawn) or not len(found):
        return found
    drawn[:, 2:] -= drawn[:, :2]
    ious = mask_api.iou(found.xywh.astype(np.float64), drawn, np.zeros(len(drawn), dtype=np.uint8))
    return found[ious.max(axis=1) < SAME_CLASS_IOU]


def _shapes(found: Prediction, choice: Choice, ids: Sequence[int]) -> tuple[Shape, ...]:
    # Accepted shapes of earlier proposals keep their ids.
    mark = secrets.token_hex(4)
    rows = zip(found.boxes.tolist(), found.class_ids.tolist(), found.scores.tolist(), strict=True)
    return tuple(
        Shape(
            id=f"{mark}-{number}", class_id=ids[class_id], box=tuple(box), origin="model",
            score=score, accepted=False,
        )
        for number, (box, class_id, score) in enumerate(rows)
        if choice.shows(class_id, score)
    )  # fmt: skip


def _into_store(store: LabelStore, image: LabelImage, proposal: Proposal) -> bool:
    try:
        return store.propose(image, proposal)
    except InvalidEdit as problem:  # the image was replaced by one of another size
        console.warn(f"{image.path}: {problem}")
        return False


def _say_done(done: int, total: int) -> None:
    if done:
        console.say(f"{done} of {total} images were done before.")
