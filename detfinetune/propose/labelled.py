"""The labels that people have drawn, against which proposals are measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from detfinetune.annotate.start import UNDIVIDED
from detfinetune.annotate.store import LabelStore
from detfinetune.config.schema import DataConfig
from detfinetune.errors import DataError, first_line
from detfinetune.labels.dataset.labelled_dataset import LabelledDataset
from detfinetune.labels.discovery.class_names import find_class_names, given_class_names
from detfinetune.labels.images.hashes import hash_images
from detfinetune.labels.read import read_dataset
from detfinetune.labels.splits.run_split import read_run_split
from detfinetune.propose.edit_cost import Boxes


@dataclass(frozen=True)
class Labelled:
    """What is known of a folder of images."""

    classes: tuple[str, ...]
    """Class names; none where nothing gives them."""

    boxes: dict[str, Boxes]
    """Labels by image, relative to the data root with forward slashes, in order; not of the split
    test, from which nothing is chosen. Class ids are those of `classes`."""

    missing: str = ""
    """Why there are no labels."""


def read_labelled(data: DataConfig, root: Path, store: LabelStore | None = None) -> Labelled:
    """Return the class names and labels of a folder, which may have neither.

    Args:
        data: the folder, and how to read its labels.
        root: the folder.
        store: what is read instead, if it has been started.

    Raises:
        ConfigError: the configuration does not fit the data.
        DataError: the class list is wrong.
    """
    changes = UNDIVIDED if store is None else {**UNDIVIDED, "labels": str(store.folder)}
    try:
        dataset = read_dataset(data.model_copy(update=changes))
    except DataError as error:
        reason = first_line(error).partition(". ")[0]
        if store is not None:
            return Labelled(store.classes().classes, {}, reason)
        names = given_class_names(data, root) or find_class_names(root, [root])
        return Labelled(names.names if names else (), {}, reason)
    return Labelled(dataset.classes, dict(_boxes(dataset, root.resolve())))


def _boxes(dataset: LabelledDataset, root: Path) -> Iterator[tuple[str, Boxes]]:
    for split, table in dataset.tables.items():
        place = table.image_root.resolve()
        if split == "test" or not place.is_relative_to(root):
            continue
        for image, name in enumerate(table.names):
            # As in labelling: an image without a label file has not been looked at; of one whose
            # labels are all wrong, nothing is known.
            if not table.label_files[image] or name in dataset.all_rejected[split]:
                continue
            own = slice(table.starts[image], table.starts[image + 1])
            solid = ~table.crowd[own]
            boxes, kinds = table.boxes[own][solid], table.categories[own][solid]
            path = (place.relative_to(root) / name).as_posix()
            yield path, Boxes(boxes, kinds, np.ones(len(kinds)))


def held_out(run: Path, root: Path, names: Sequence[str]) -> list[str]:
    """Return the images that a run was neither trained nor tested on, by their content.

    Raises:
        DataError: the run's list of images cannot be read.
    """
    split = read_run_split(run)
    if split is None:
        return []
    used = {image.content for image in split.images if image.split != "val"}
    contents = hash_images([root / name for name in names])
    return [name for name, content in zip(names, contents, strict=True) if content not in used]
