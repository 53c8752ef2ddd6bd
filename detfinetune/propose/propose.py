"""Proposes boxes for the images of a folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from tqdm import tqdm

from detfinetune import console, files
from detfinetune.config.schema import ProposeConfig
from detfinetune.data.window import grey_window
from detfinetune.errors import ConfigError, DataError
from detfinetune.inference.coco_record import CocoRecord, coco_entry
from detfinetune.inference.journal import resumable_output
from detfinetune.inference.predictor import read_rgb
from detfinetune.labels.discovery.data_root import require_root
from detfinetune.labels.discovery.discovered import image_names
from detfinetune.labels.images.size_cache import file_stamps
from detfinetune.labels.images.sizes import IMAGE_SUFFIXES
from detfinetune.prediction import Prediction
from detfinetune.propose.choose import MEASURED_IMAGES, Choice, choose
from detfinetune.propose.labelled import Labelled, held_out, read_labelled
from detfinetune.propose.prompts import Prompts, prompts_of_classes, read_prompts
from detfinetune.propose.proposer import Proposer
from detfinetune.propose.sources import PUBLISHED, OwnDetector, load_zero_shot

_GPU_BATCH = 8


@dataclass(frozen=True)
class ProposeResult:
    """Summary of proposals."""

    source: str
    """The model or run that they are of."""

    thresholds: dict[str, float | None]
    """Lowest score by class; None: objects of this class are drawn by hand."""

    num_images: int
    num_boxes: int
    skipped: tuple[str, ...]
    """Images that could not be read, each with the reason."""


def propose(config: ProposeConfig) -> ProposeResult:
    """Propose boxes for the images of `data.root`, and write them as a COCO data set with scores.

    Where images are labelled, the first 20 say what correcting the proposals costs: from which
    score on they are shown, by class, and of `model` and `run` which is better. An interrupted run
    is kept in `<output>.partial`, and goes on when it is called again.

    Raises:
        CheckpointError: the run cannot be used.
        ConfigError: a key is missing, or the prompts are wrong.
        DataError: there is no image, or none that can be read.
        MissingExtraError: the model needs packages that are not installed.
        ModelError: the model is unknown, or cannot be loaded.
        OutputExistsError: the output exists and `overwrite` is false, another process is writing
            it, or it was begun with other settings.
    """
    if config.output is None:
        raise ConfigError("output is missing: a file for the proposals, such as output=FILE.json.")
    files.check_output(config.output, config.overwrite)
    root = require_root(config.data)
    names = image_names(root)
    if not names:
        raise DataError(
            f"{root}: the folder has no images ({' '.join(sorted(IMAGE_SUFFIXES))}). Give the "
            "folder that holds them."
        )
    labelled = read_labelled(config.data, root)
    proposers, prompts = _load(config, root, names, labelled)
    batch = 1 if config.hardware.device == "cpu" else _GPU_BATCH
    images = _Images(root, prompts, batch)
    choice, known = _choose(config, proposers, labelled, images)
    if not any(choice.thresholds):
        console.say("No class is worth proposing: draw by hand.")
        return ProposeResult(choice.proposer.name, dict.fromkeys(prompts.classes), 0, 0, ())
    record = _write(config, config.output, choice, names, known, images)
    result = ProposeResult(
        choice.proposer.name,
        dict(zip(prompts.classes, choice.thresholds, strict=True)),
        len(record.images),
        len(record.results),
        tuple(images.skipped.values()),
    )
    skipped = f", {len(result.skipped)} could not be read" if result.skipped else ""
    console.say(
        f"{result.num_boxes} proposals of {result.source} for {result.num_images} images{skipped}; "
        f"they are in {config.output}"
    )
    return result


@dataclass
class _Images:
    """Reads images, and has boxes proposed for them."""

    root: Path
    prompts: Prompts
    batch: int
    skipped: dict[str, str] = field(default_factory=dict)
    """By name: why an image cannot be read."""

    def propose(
        self, proposer: Proposer, names: Sequence[str], description: str, before: int = 0
    ) -> Iterator[tuple[str, Prediction]]:
        """Yield the name and the proposals of each image that can be read.

        Args:
            proposer: the source.
            names: of the images.
            description: of the progress bar.
            before: number of images that are done already.
        """
        total = before + len(names)
        bar: tqdm[str] = console.progress(
            description=description, total=total, unit="image", initial=before
        )
        with bar:
            for first in range(0, len(names), self.batch):
                part = names[first : first + self.batch]
                pixels = dict(self._read(part, proposer))
                if pixels:
                    found = proposer.propose(list(pixels.values()), self.prompts)
                    yield from zip(pixels, found, strict=True)
                bar.update(len(part))

    def _read(self, names: Sequence[str], proposer: Proposer) -> Iterator[tuple[str, Any]]:
        for name in names:
            try:
                yield name, read_rgb(self.root / name, proposer.window)
            except DataError as error:
                if name not in self.skipped:
                    console.warn(str(error))
                self.skipped[name] = str(error)


def _load(
    config: ProposeConfig, root: Path, names: Sequence[str], labelled: Labelled
) -> tuple[list[Proposer], Prompts]:
    """Load what is to propose, the run first, and return it with what it looks for."""
    prompts = None
    if config.prompts is not None:
        if config.model is None:
            raise ConfigError("prompts are for model=...; a run knows its classes. Remove them.")
        prompts = read_prompts(config.prompts)
    elif config.model is not None and labelled.classes:
        prompts = prompts_of_classes(labelled.classes)
    elif config.run is None:
        if config.model is None:
            raise ConfigError(
                f"Say what proposes: model={next(iter(PUBLISHED))} (or {', '.join(PUBLISHED)}, a "
                "folder or a hub name), run=RUN for your own detector, or both for the better one."
            )
        raise ConfigError(
            f"prompts is missing: nothing in {root} names the classes to look for "
            f"({labelled.missing}). Give prompts=FILE, a YAML file with a line for each class, "
            "such as  car: [car, vehicle]"
        )
    proposers: list[Proposer] = []
    if config.run is not None:
        own = OwnDetector(config.run, config.hardware)
        proposers.append(own)
        if prompts is None:
            prompts = prompts_of_classes(own.classes) if config.model else Prompts(own.classes)
    if config.model is not None:
        window = grey_window([root / name for name in names])
        proposers.append(load_zero_shot(config.model, config.hardware.device, window))
    assert prompts is not None
    return proposers, prompts


def _choose(
    config: ProposeConfig, proposers: Sequence[Proposer], labelled: Labelled, images: _Images
) -> tuple[Choice, Mapping[str, Prediction]]:
    """Return what proposes, and what it has proposed for images that it was measured on."""
    classes = images.prompts.classes
    fixed = config.score_threshold
    if fixed is not None and len(proposers) == 1:
        return Choice(proposers[0], (fixed,) * len(classes)), {}
    names, why = list(labelled.boxes), labelled.missing or "no image is labelled"
    if names and config.run is not None:
        names = held_out(config.run, images.root, names)
        why = f"{config.run} was trained or tested on all labelled images"
    found = {
        each.name: dict(images.propose(each, names[:MEASURED_IMAGES], "measure"))
        for each in proposers
        if names
    }
    # Those that all can read.
    measured = set.intersection(*map(set, found.values())) if found else set()
    if not measured:
        score = proposers[0].usual_threshold if fixed is None else fixed
        console.say(f"Proposals of {proposers[0].name} from a score of {score:.2f} on: {why}.")
        return Choice(proposers[0], (score,) * len(classes)), {}
    found = {
        source: {name: each for name, each in own.items() if name in measured}
        for source, own in found.items()
    }
    choice = choose(proposers, found, labelled, classes)
    known = found[choice.proposer.name]
    if fixed is not None:
        choice = Choice(choice.proposer, (fixed,) * len(classes))
    return choice, known


def _write(
    config: ProposeConfig,
    output: Path,
    choice: Choice,
    names: Sequence[str],
    known: Mapping[str, Prediction],
    images: _Images,
) -> CocoRecord:
    """Propose for all images and write the file; thresholds apply at the end, as labels change."""
    prompts, root = images.prompts, images.root
    phrases = dict(zip(prompts.phrases, prompts.class_ids, strict=True))
    made_from = {
        "data.root": str(root),
        "source": choice.proposer.name,
        "classes": list(prompts.classes),
        "phrases": phrases,
    }
    stamps = file_stamps([root / name for name in names])
    sources = {name: {"stamp": list(stamps.get(root / name, ()))} for name in names}
    with resumable_output(output, config.overwrite, [root], made_from, sources) as journal:
        done = len(journal.done)
        if done:
            console.say(f"{done} of {len(names)} images were done before.")
        new = {name: found for name, found in known.items() if name not in journal.done}
        left = [name for name in names if name not in journal.done and name not in new]
        todo = images.propose(choice.proposer, left, "propose", done + len(new))
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
        thresholds = dict(zip(prompts.classes, choice.thresholds, strict=True))
        info = {
            "description": "proposals",
            "source": choice.proposer.name,
            "thresholds": thresholds,
            "skipped": list(images.skipped.values()),
        }
        journal.made = journal.folder / output.name
        files.write_json(journal.made, record.dataset(info), indent=None)
    return record
