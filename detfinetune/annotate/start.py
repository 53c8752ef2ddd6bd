"""Open the store of a data set; a new one starts from the labels that are there, in any format."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from detfinetune import files
from detfinetune.annotate.store import LabelImage, LabelStore, unusable_name
from detfinetune.config.schema import DataConfig
from detfinetune.console import name_list, say, warn
from detfinetune.errors import DataError, OutputExistsError
from detfinetune.labels.dataset.labelled_dataset import LabelledDataset
from detfinetune.labels.dataset.records import Annotation
from detfinetune.labels.dataset.table import LabelTable
from detfinetune.labels.discovery.class_names import find_class_names, given_class_names
from detfinetune.labels.discovery.data_root import require_root
from detfinetune.labels.discovery.detect_format import LabelLikeFiles
from detfinetune.labels.discovery.discovered import image_names
from detfinetune.labels.formats.json.label_store import (
    DOCUMENT_SUFFIX,
    DOCUMENTS_FOLDER,
    STORE_FOLDER,
    STORE_NAME,
    ClassList,
    ImageDocument,
    Shape,
    document_text,
)
from detfinetune.labels.images.sizes import IMAGE_SUFFIXES, UnreadableImage, read_image_sizes
from detfinetune.labels.misread import check_misread
from detfinetune.labels.read import read_dataset
from detfinetune.labels.splits.divide import image_groups
from detfinetune.labels.splits.groups import suggest_groups

UNDIVIDED = {
    "val_fraction": 0.0, "test_fraction": 0.0, "folds": None, "fold": None, "split_file": None,
    "split_from": None,
}  # fmt: skip

FEWEST_FOR_TEST = 40
"""Images of a folder from which on some are set aside; of fewer, a test would be too small."""

MOST_FOR_TEST = 50
"""Set aside at most: each is drawn by hand."""


def open_store(data: DataConfig, folder: Path | None = None) -> LabelStore:
    """Open the labels of a data set; where there are none yet, start them.

    Of a new folder without labels, `data.test_fraction` of the images is set aside for test.

    Args:
        data: `root`, and how to read labels that are there in another format.
        folder: of the store; None: beside the images.

    Raises:
        ConfigError, DataError: there are no images, the labels that are there cannot be read, or
            the store is damaged.
        OutputExistsError: the folder of the store cannot be written.
    """
    root = require_root(data)
    folder = root / STORE_FOLDER if folder is None else folder.absolute()
    images = list(_images(root))
    if not images:
        raise DataError(
            f"{root}: the folder has no images ({' '.join(sorted(IMAGE_SUFFIXES))}). Give the "
            "folder that holds them."
        )
    if not (folder / STORE_NAME).is_file():
        _start(data, root, folder, {image.name: image for image in images})
    _check_writable(folder)
    store = LabelStore(root, folder, images)
    if store.resized:
        warn(
            f"{len(store.resized)} images have another size than when they were labelled, such as "
            f"{store.resized[0]}; look at their boxes"
        )
    return store


def _images(root: Path) -> Iterator[LabelImage]:
    names = image_names(root)
    sizes = read_image_sizes([root / name for name in names])
    for name in names:
        size = sizes[root / name]
        if isinstance(size, UnreadableImage):
            yield LabelImage.of(root, name, (0, 0), str(size))
        else:
            yield LabelImage.of(root, name, size, unusable_name(name))


def _check_writable(folder: Path) -> None:
    place = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(place, os.W_OK | os.X_OK):
        raise _not_writable(folder, "no permission")


def _not_writable(folder: Path, reason: str) -> OutputExistsError:
    return OutputExistsError(
        f"{folder}: the labels cannot be written there ({reason}). Keep them elsewhere with "
        "store=FOLDER; training then reads them with data.labels=FOLDER."
    )


def _start(data: DataConfig, root: Path, folder: Path, images: dict[str, LabelImage]) -> None:
    """Write a store that starts from the labels of the data set, all at once or not at all."""
    _check_writable(folder)
    if folder.is_dir() and any(folder.iterdir()):
        raise OutputExistsError(
            f"{folder}: holds other files and no {STORE_NAME}. Give an empty or a new folder with "
            "store=FOLDER."
        )
    classes, documents = _from_labels(data, root, images)
    if not documents:
        documents = _set_aside(data, root, images.values())
    try:
        with files.atomic_folder(folder) as store:
            for name, document in documents.items():
                path = store / DOCUMENTS_FOLDER / f"{name}{DOCUMENT_SUFFIX}"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(document_text(document), encoding="utf-8")
            text = ClassList(classes=classes).model_dump_json(indent=1)
            (store / STORE_NAME).write_text(f"{text}\n", encoding="utf-8")
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise _not_writable(folder, error.strerror or "no permission") from error
        raise


def _from_labels(
    data: DataConfig, root: Path, images: dict[str, LabelImage]
) -> tuple[tuple[str, ...], dict[str, ImageDocument]]:
    """Return the classes and, by image, the documents of a data set's labels."""
    if not _has_labels(data, root):
        found = given_class_names(data, root) or find_class_names(root, [root])
        return (found.names if found else ()), {}
    try:
        dataset = read_dataset(data.model_copy(update=UNDIVIDED))
        check = check_misread(dataset)
        if check.refused:
            raise DataError(f"{root}: {check.refused}. {check.advice}")
    except DataError as error:
        raise DataError(
            f"{error}\nLabelling starts from the labels that are there. Help reading them with "
            "data.format and the like, or move them away to start without."
        ) from None
    documents = {}
    for split, table in dataset.tables.items():
        # Only data that came divided keeps its splits.
        own = None if dataset.split_rows else split
        for number, name in enumerate(_names_below(root, table)):
            # An image without a label file has not been looked at; of one whose labels are all
            # wrong, nothing is known either.
            is_rejected = table.names[number] in dataset.all_rejected[split]
            if table.label_files[number] and name in images and not is_rejected:
                documents[name] = _document(table, number, own)
    _say_what_was_taken(dataset, documents)
    return dataset.classes, documents


def _set_aside(
    data: DataConfig, root: Path, images: Iterable[LabelImage]
) -> dict[str, ImageDocument]:
    """Return documents that set images aside as split test, by the hashes of their names.

    They get no proposals and are not chosen by a model, so that AP on them is that of any image.
    Groups of `data.split_groups` stay together.
    """
    usable = sorted((image for image in images if not image.error), key=lambda image: image.id)
    share = data.test_fraction
    if len(usable) < FEWEST_FOR_TEST or not share:
        return {}
    names = [image.name for image in usable]
    groups = image_groups(data, root, names)
    together: dict[str, list[LabelImage]] = {}
    for group, image in zip(groups.of if groups else names, usable, strict=True):
        together.setdefault(group, []).append(image)
    most = min(round(share * len(usable)), MOST_FOR_TEST)
    test: list[LabelImage] = []
    for members in together.values():
        if len(test) + len(members) <= most:
            test += members
    if groups is None and (pattern := suggest_groups(names)) is not None:
        warn(
            "by their names, several images may show one scene, video or original: data leakage "
            "into test makes its AP too high. To keep such images together, remove the new "
            f"{STORE_FOLDER} and start again with 'data.split_groups=\"{pattern}\"'"
        )
    say(
        f"{len(test)} of {len(usable)} images are set aside for test (data.test_fraction={share:g})"
    )
    return {
        image.name: ImageDocument(width=image.width, height=image.height, split="test")
        for image in test
    }


def _has_labels(data: DataConfig, root: Path) -> bool:
    seen = LabelLikeFiles(root)
    return bool(
        data.labels
        or data.annotations
        or any(seen.beside.values())
        or any(seen.format_of_most(names) for names in seen.by_suffix.values())
    )


def _names_below(root: Path, table: LabelTable) -> list[str]:
    """Return the names of a table's images relative to the data root.

    Raises:
        DataError: they are elsewhere.
    """
    place = table.image_root.resolve()
    if not place.is_relative_to(root):
        raise DataError(
            f"{place}: these images are not below {root}. Label the folder that holds them."
        )
    inside = place.relative_to(root)
    return [(inside / name).as_posix() for name in table.names]


def _document(table: LabelTable, number: int, split: str | None) -> ImageDocument:
    record = table.record(number)
    return ImageDocument(
        width=record.width,
        height=record.height,
        state="done",
        split=split,
        revision=1,
        shapes=tuple(
            _shape(f"s{place}", annotation)
            for place, annotation in enumerate(record.annotations, start=1)
        ),
    )


def _shape(identity: str, annotation: Annotation) -> Shape:
    x, y, width, height = annotation.bbox
    mask = annotation.mask
    return Shape(
        id=identity,
        class_id=annotation.category,
        box=(x, y, round(x + width, 3), round(y + height, 3)),
        polygons=tuple(polygon for polygon in annotation.polygons if len(polygon) >= 6),
        mask=None if mask is None else {"size": mask.size, "counts": mask.counts},
        crowd=annotation.crowd,
    )


def _say_what_was_taken(dataset: LabelledDataset, documents: dict[str, ImageDocument]) -> None:
    objects = sum(len(document.shapes) for document in documents.values())
    rejected = sum(counts.rejected for counts in dataset.ledger.counts.values())
    left_out = f"; {rejected} labels could not be used (see detfinetune check)" if rejected else ""
    say(
        f"Started from {objects} objects in {len(documents)} images ({dataset.format}; classes: "
        f"{name_list(dataset.classes)}){left_out}"
    )
