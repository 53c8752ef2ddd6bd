"""Proposes boxes for the images of a folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from detfinetune import console, files
from detfinetune.annotate.start import open_store
from detfinetune.annotate.store import LabelStore
from detfinetune.config.schema import ProposeConfig
from detfinetune.data.window import grey_window
from detfinetune.errors import ConfigError, DataError
from detfinetune.labels.discovery.data_root import require_root
from detfinetune.labels.discovery.discovered import image_names
from detfinetune.labels.formats.json.label_store import STORE_FOLDER, STORE_NAME
from detfinetune.labels.images.sizes import IMAGE_SUFFIXES
from detfinetune.labels.splits import run_split
from detfinetune.prediction import Prediction
from detfinetune.propose.choose import MEASURED_IMAGES, Choice, choose
from detfinetune.propose.images import Images
from detfinetune.propose.labelled import Labelled, held_out, read_labelled
from detfinetune.propose.prompts import Prompts, prompts_of_classes, read_prompts
from detfinetune.propose.proposer import Proposer
from detfinetune.propose.rounds import begin_round
from detfinetune.propose.sources import PUBLISHED, OwnDetector, load_zero_shot
from detfinetune.propose.write import write_file, write_store

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
    """Propose boxes for the images of `data.root`, into the store of its labels or a file.

    Where images are labelled, the first 20 say what correcting the proposals costs: from which
    score on they are shown, by class, and of `model` and `run` which is better. What is done is
    kept in an interruption; when this is called again, it goes on.

    Raises:
        CheckpointError: the run cannot be used.
        ConfigError: a key is missing, or the prompts are wrong.
        DataError: there is no image, or none that can be read.
        MissingExtraError: the model needs packages that are not installed.
        ModelError: the model is unknown, or cannot be loaded.
        OutputExistsError: the output exists and `overwrite` is false, another process is writing
            it, or it was begun with other settings.
    """
    _check(config)
    root = require_root(config.data)
    names = image_names(root)
    if not names:
        raise DataError(
            f"{root}: the folder has no images ({' '.join(sorted(IMAGE_SUFFIXES))}). Give the "
            "folder that holds them."
        )
    store = None
    if config.output is not None:
        files.check_output(config.output, config.overwrite)
    elif ((config.store or root / STORE_FOLDER) / STORE_NAME).is_file():
        store = open_store(config.data, config.store)
    labelled = read_labelled(config.data, root, store)
    prompts = _prompts(config, root, labelled)
    proposers, prompts = _load(config, [root / name for name in names], prompts, store)
    images = Images(root, prompts, 1 if config.hardware.device == "cpu" else _GPU_BATCH)
    choice, known = _choose(config, proposers, labelled, images)
    if config.output is None:
        store = store or open_store(config.data, config.store)
        if config.run is not None:
            begin_round(store, config.run, list(labelled.boxes))
    if all(score is None for score in choice.thresholds):
        counts, place = (0, 0), "no class is worth it, draw by hand"
    elif config.output is not None:
        counts = write_file(config.output, choice, images, names, known, config.overwrite)
        place = f"they are in {config.output}"
    else:
        assert store is not None
        counts = write_store(store, choice, images, config.overwrite, config.images)
        place = f"they are in {store.folder}"
    thresholds = dict(zip(prompts.classes, choice.thresholds, strict=True))
    skipped = tuple(images.skipped.values())
    unread = f", {len(skipped)} could not be read" if skipped else ""
    source = choice.proposer.name
    console.say(f"{counts[1]} proposals of {source} for {counts[0]} images{unread}; {place}")
    return ProposeResult(source, thresholds, *counts, skipped)


def _check(config: ProposeConfig) -> None:
    if config.run is None and config.model is None:
        raise ConfigError(
            f"Say what proposes: model={next(iter(PUBLISHED))} (or {', '.join(PUBLISHED)}, a "
            "folder or a hub name), run=RUN for your own detector, or both for the better one."
        )
    if config.prompts is not None and config.model is None:
        raise ConfigError("prompts are for model=...; a run knows its classes. Remove them.")
    if config.images is not None and config.output is not None:
        raise ConfigError(
            f"images={config.images}: a file has proposals for all images; only in the labels of "
            "`detfinetune label` are some chosen. Remove one of images and output."
        )


def _prompts(config: ProposeConfig, root: Path, labelled: Labelled) -> Prompts | None:
    """Return what a zero-shot model looks for; None if only a run can say.

    Raises:
        ConfigError: nothing says it.
    """
    if config.prompts is not None:
        return read_prompts(config.prompts)
    if config.model is not None and labelled.classes:
        return prompts_of_classes(labelled.classes)
    if config.run is None:
        raise ConfigError(
            f"prompts is missing: nothing in {root} names the classes to look for "
            f"({labelled.missing}). Give prompts=FILE, a YAML file with a line for each class, "
            "such as  car: [car, vehicle]"
        )
    return None


def _load(
    config: ProposeConfig, paths: Sequence[Path], prompts: Prompts | None, store: LabelStore | None
) -> tuple[list[Proposer], Prompts]:
    """Load what is to propose, the run first, and return it with what it looks for.

    A run looks for its classes by the names that the store has for them now.
    """
    proposers: list[Proposer] = []
    if config.run is not None:
        own = OwnDetector(config.run, config.hardware)
        images = config.run / run_split.FILE_NAME
        if store is not None and images.is_file():  # Written when the training began.
            own.classes = store.names_since(images.stat().st_mtime, own.classes)
        proposers.append(own)
        if prompts is None:
            prompts = prompts_of_classes(own.classes) if config.model else Prompts(own.classes)
    if config.model is not None:
        window = grey_window(paths)
        proposers.append(load_zero_shot(config.model, config.hardware.device, window))
    assert prompts is not None
    return proposers, prompts


def _choose(
    config: ProposeConfig, proposers: Sequence[Proposer], labelled: Labelled, images: Images
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
        console.say(f"Nothing is measured ({why}): all proposals from a score of {score:.2f} on.")
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
