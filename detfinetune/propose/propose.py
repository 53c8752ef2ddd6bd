"""Proposes boxes for the images of a folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from detfinetune import console, files
from detfinetune.annotate.start import open_store
from detfinetune.config.schema import ProposeConfig
from detfinetune.data.window import grey_window
from detfinetune.errors import ConfigError, DataError
from detfinetune.labels.discovery.data_root import require_root
from detfinetune.labels.discovery.discovered import image_names
from detfinetune.labels.images.sizes import IMAGE_SUFFIXES
from detfinetune.prediction import Prediction
from detfinetune.propose.choose import MEASURED_IMAGES, Choice, choose
from detfinetune.propose.images import Images
from detfinetune.propose.labelled import Labelled, held_out, read_labelled
from detfinetune.propose.prompts import Prompts, prompts_of_classes, read_prompts
from detfinetune.propose.proposer import Proposer
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
    root = require_root(config.data)
    names = image_names(root)
    if not names:
        raise DataError(
            f"{root}: the folder has no images ({' '.join(sorted(IMAGE_SUFFIXES))}). Give the "
            "folder that holds them."
        )
    data, store = config.data, None
    if config.output is not None:
        files.check_output(config.output, config.overwrite)
    else:
        store = open_store(data, config.store)
        data = data.model_copy(update={"labels": str(store.folder)})
    labelled = read_labelled(data, root)
    if store is not None:
        labelled = replace(labelled, classes=store.classes().classes)
    proposers, prompts = _load(config, root, names, labelled)
    images = Images(root, prompts, 1 if config.hardware.device == "cpu" else _GPU_BATCH)
    choice, known = _choose(config, proposers, labelled, images)
    counts = 0, 0
    if not any(choice.thresholds):
        console.say("No class is worth proposing: draw by hand.")
    elif store is not None:
        counts = write_store(store, choice, images, config.overwrite)
    elif config.output is not None:
        counts = write_file(config.output, choice, images, names, known, config.overwrite)
    result = ProposeResult(
        choice.proposer.name,
        dict(zip(prompts.classes, choice.thresholds, strict=True)),
        *counts,
        tuple(images.skipped.values()),
    )
    skipped = f", {len(result.skipped)} could not be read" if result.skipped else ""
    console.say(
        f"{result.num_boxes} proposals of {result.source} for {result.num_images} images{skipped}; "
        f"they are in {store.folder if store else config.output}"
    )
    return result


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
