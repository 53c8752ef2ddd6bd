"""What training calls: whatever the data is, return a manifest of COCO JSON files.

Labels in txt or YOLO are converted into the cache, under a fingerprint of the labels' content, of
the images' names, sizes and times, and of the options; the user's folder is never written to.
COCO JSON is checked and taken as it is. A folder made by `convert_dataset` is read back.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detfinetune import console, files
from detfinetune.config.schema import DataConfig
from detfinetune.errors import ConfigError, DataError
from detfinetune.labels.coco_check import CocoSummary, check_coco
from detfinetune.labels.convert import convert_discovered
from detfinetune.labels.dataset.manifest import MANIFEST_NAME, fingerprint_files, read_manifest
from detfinetune.labels.dataset.records import DatasetManifest, DatasetSplit
from detfinetune.labels.discovery.annotation_files import (
    CocoSource,
    find_image_root,
    load_coco,
)
from detfinetune.labels.discovery.class_names import given_class_names
from detfinetune.labels.discovery.data_root import require_root
from detfinetune.labels.discovery.detect_format import choose_format
from detfinetune.labels.discovery.discover import discover_dataset
from detfinetune.labels.discovery.discovered import DiscoveredDataset
from detfinetune.labels.discovery.folders import has_labels
from detfinetune.labels.splits.divide import divide_split, refuse_to_divide

_CONVERTER_VERSION = 2
"""To be raised when the same labels would give other JSON than before."""

_CACHED_PICTURES = 16


def prepare_dataset(data: DataConfig) -> DatasetManifest:
    """Return the manifest of a data set, converting labels when they are new or changed.

    Raises:
        ConfigError: `data.root` is missing, or another key leads nowhere.
        DataError: the data cannot be used.
        LabelError: a label is wrong and `data.on_problem` is `stop`.
    """
    root = require_root(data)
    if (root / MANIFEST_NAME).is_file():
        return _converted_before(data, root)
    choice = choose_format(data, root)
    if choice.format is not None and choice.format.name == "coco":
        return _prepare_coco(data, root, dict(choice.files))
    return _prepare_labels(data, root)


# --- labels -------------------------------------------------------------------------------------


def _prepare_labels(data: DataConfig, root: Path) -> DatasetManifest:
    gathered = discover_dataset(data, root)
    if gathered.sizes is not None:
        raise DataError(
            "data.image_sizes gives sizes without images, which cannot be trained on. Give the "
            "images with data.images=FOLDER and leave data.image_sizes out."
        )
    folder = files.cache_dir("datasets") / f"{_safe(data.name)}-{_fingerprint(data, gathered)[:16]}"
    if (folder / MANIFEST_NAME).is_file():
        console.say(f"Labels of {root} are unchanged: using their conversion in {folder}")
        return read_manifest(folder)
    convert_discovered(data, gathered, folder, overwrite=True, contact_sheet=_CACHED_PICTURES)
    console.say(f"\nConverted into {folder} (ledger.csv says what was fixed or rejected)")
    return read_manifest(folder)


def _fingerprint(data: DataConfig, gathered: DiscoveredDataset) -> str:
    """Return a hash that changes with the labels, the images or the options of reading them."""
    digest = hashlib.sha256()

    def add(*parts: object) -> None:
        digest.update(json.dumps([str(part) for part in parts]).encode() + b"\n")

    add("version", _CONVERTER_VERSION, data.model_dump_json(exclude={"root", "source"}))
    add("classes", *given_class_names(data, gathered.root, gathered.label_folders))
    for path in (data.split_file, data.split_groups):
        if path is not None:
            add("split", *(_bytes(base / path) for base in (gathered.root, Path())))
    add(gathered.notes, *(entry.message for entry in gathered.entries))
    labels: dict[str, None] = {}
    for split, source in gathered.splits.items():
        add(split, source.image_root.resolve())
        for image in source.images:
            status = (source.image_root / image.name).stat()
            add(image.name, status.st_size, status.st_mtime_ns)
            if image.label:
                labels[image.label] = None
        labels |= dict.fromkeys(orphan.label for orphan in source.orphans)
    for label in labels:
        # Read as it is: what a program wrote anew with the same content is the same.
        add(label, hashlib.sha256(_bytes(gathered.root / label)).hexdigest())
    return digest.hexdigest()


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""  # reading it for good will say what is the matter


def _safe(name: str) -> str:
    """Return a name fit for a folder."""
    return "".join(c if c.isalnum() or c in "-_" else "_" for c in name)[:40] or "data"


# --- COCO JSON ----------------------------------------------------------------------------------


def _prepare_coco(data: DataConfig, root: Path, json_files: dict[str, Path]) -> DatasetManifest:
    sources = {}
    summaries = {}
    for split, path in json_files.items():
        content = load_coco(path)
        image_root = find_image_root(data, root, split, path, _file_names(content))
        sources[split] = CocoSource(path, image_root, content)
        summaries[split] = check_coco(path, content, image_root)
        if count := summaries[split].degenerate:
            console.warn(f"{path}: {count} boxes have no width or height and teach nothing.")
    classes = _one_class_list(json_files, summaries)
    _check_given_classes(data, classes, ", ".join(map(str, json_files.values())))
    listed = ", ".join(f"{split}: {path}" for split, path in json_files.items())
    console.say(f"Data: COCO JSON, taken as it is ({listed})")
    if data.format == "auto" and has_labels(root):
        console.say("Note: there are .txt files as well; data.format=txt or yolo takes those")
    splits = {
        split: DatasetSplit(
            source.json_file,
            source.image_root.resolve(),
            summaries[split].num_images,
            summaries[split].num_annotations,
        )
        for split, source in sources.items()
    }
    splits = _cut_coco(data, root, sources, splits)
    with_objects = [summary for summary in summaries.values() if summary.num_annotations]
    return DatasetManifest(
        name=data.name,
        classes=classes,
        splits=splits,
        fingerprint=fingerprint_files({name: s.json_file for name, s in splits.items()}),
        has_masks=bool(with_objects) and all(summary.has_masks for summary in with_objects),
        source=str(root.resolve()),
    )


def _file_names(content: dict[str, Any]) -> list[str]:
    images = content.get("images")
    return [
        str(image["file_name"])
        for image in (images if isinstance(images, list) else [])
        if isinstance(image, dict) and "file_name" in image
    ]


def _one_class_list(
    json_files: dict[str, Path], summaries: dict[str, CocoSummary]
) -> tuple[str, ...]:
    """Return the class names in order of the first split's ids.

    Raises:
        DataError: another split has a class that the first lacks, or other ids for its classes.
    """
    first, *others = summaries
    reference = summaries[first].categories
    for split in others:
        categories = summaries[split].categories
        new = sorted(set(categories.values()) - set(reference.values()))
        moved = sorted(
            name for number, name in categories.items()
            if name in reference.values() and reference.get(number) != name
        )  # fmt: skip
        if new or moved:
            what = []
            if new:
                what.append(f"{split} has classes that {first} lacks: {', '.join(new)}")
            if moved:
                what.append(f"these have other ids: {', '.join(moved)}")
            raise DataError(
                f"The splits' class lists differ; {'; '.join(what)}.\n"
                f"  {first} ({json_files[first]}): {_listed(reference)}\n"
                f"  {split} ({json_files[split]}): {_listed(categories)}\n"
                "Give all files the same categories."
            )
    return tuple(name for _, name in sorted(reference.items()))


def _check_given_classes(data: DataConfig, classes: tuple[str, ...], where: str) -> None:
    """Make sure that class names which the user gave are those of the data."""
    if isinstance(data.classes, list) and tuple(data.classes) != classes:
        raise ConfigError(
            "data.classes differs from the classes of the data:\n"
            f"  data.classes: {', '.join(data.classes)}\n"
            f"  {where}: {', '.join(classes)}\n"
            "COCO JSON holds its own class names; leave data.classes out."
        )


def _listed(categories: dict[int, str]) -> str:
    return ", ".join(f"{number} {name}" for number, name in sorted(categories.items()))


def _cut_coco(
    data: DataConfig,
    root: Path,
    sources: dict[str, CocoSource],
    splits: dict[str, DatasetSplit],
) -> dict[str, DatasetSplit]:
    """Split a set that comes in one piece, or without val; image and annotation ids stay."""
    whole = next((name for name in ("all", "train") if name in sources), None)
    if whole is None or "val" in sources:
        refuse_to_divide(data, list(sources))
        return splits
    source = sources[whole]
    images = sorted(source.content["images"], key=lambda image: str(image["file_name"]))
    cut = divide_split(
        data, root, [str(image["file_name"]) for image in images],
        _class_counts(source.content, images), whole=set(sources) == {whole},
    )  # fmt: skip
    parts = {split: [images[i] for i in chosen] for split, chosen in cut.images.items()}
    listed = [(row.file_name, row.split) for row in cut.rows]
    digest = hashlib.sha256(
        f"{files.sha256_file(source.json_file)} {json.dumps(listed)}".encode()
    ).hexdigest()
    folder = files.cache_dir("datasets") / f"{_safe(data.name)}-coco-{digest[:16]}"
    if not folder.is_dir():
        with files.atomic_folder(folder, overwrite=True) as temporary:
            for split, chosen in parts.items():
                files.write_json(
                    temporary / f"{split}.json", _part(source.content, chosen), indent=None
                )
    for note in cut.notes:
        console.say(f"Note: {note}")
    console.say(f"The splits are in {folder}")
    divided = {
        split: DatasetSplit(
            folder / f"{split}.json",
            splits[whole].image_root,
            len(chosen),
            len(_part(source.content, chosen)["annotations"]),
        )
        for split, chosen in parts.items()
    }
    rest = {split: value for split, value in splits.items() if split != whole}
    merged = divided | rest
    return {split: merged[split] for split in ("train", "val", "test") if split in merged}


def _class_counts(content: dict[str, Any], images: list[dict[str, Any]]) -> NDArray[np.int64]:
    """Return the objects of each class in each image; (images, classes)."""
    row = {image["id"]: number for number, image in enumerate(images)}
    column = {category["id"]: number for number, category in enumerate(content["categories"])}
    counts = np.zeros((len(row), len(column)), dtype=np.int64)
    for annotation in content["annotations"]:
        counts[row[annotation["image_id"]], column[annotation["category_id"]]] += 1
    return counts


def _part(content: dict[str, Any], images: list[dict[str, Any]]) -> dict[str, Any]:
    ids = {image["id"] for image in images}
    annotations = [a for a in content["annotations"] if a["image_id"] in ids]
    return {**content, "images": images, "annotations": annotations}


# --- converted before ----------------------------------------------------------------------------


def _converted_before(data: DataConfig, root: Path) -> DatasetManifest:
    """Return the manifest of a converted folder, its hash taken anew in case of edits by hand."""
    manifest = read_manifest(root)
    refuse_to_divide(data, list(manifest.splits))
    for split in manifest.splits.values():
        check_coco(split.json_file, load_coco(split.json_file), split.image_root)
    _check_given_classes(data, manifest.classes, str(root))
    console.say(f"Data: converted before, in {root}")
    json_files = {name: split.json_file for name, split in manifest.splits.items()}
    return replace(manifest, fingerprint=fingerprint_files(json_files))
