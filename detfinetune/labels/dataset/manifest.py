"""`dataset.json`: what a converted data set holds and where its images are."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from detfinetune import files
from detfinetune.errors import DataError
from detfinetune.labels.dataset.records import DatasetManifest, DatasetSplit

MANIFEST_NAME = "dataset.json"

EXPORT_NAME = "export.json"
"""File that marks a folder of labels written in another format than COCO JSON."""
_VERSION = 1


def write_manifest(folder: Path, manifest: DatasetManifest) -> Path:
    """Write `dataset.json` into `folder` and return its path.

    JSON files that lie in `folder` are named relative to it, so that the folder can be moved.
    """
    splits = {
        name: {
            "json": str(split.json_file.relative_to(folder))
            if split.json_file.is_relative_to(folder)
            else str(split.json_file.resolve()),
            "image_root": str(split.image_root.resolve()),
            "num_images": split.num_images,
            "num_annotations": split.num_annotations,
        }
        for name, split in manifest.splits.items()
    }
    path = folder / MANIFEST_NAME
    files.write_json(
        path,
        {
            "version": _VERSION,
            "name": manifest.name,
            "classes": list(manifest.classes),
            "has_masks": manifest.has_masks,
            "fingerprint": manifest.fingerprint,
            "source": manifest.source,
            "splits": splits,
        },
    )
    return path


def read_manifest(folder: Path) -> DatasetManifest:
    """Read the `dataset.json` of a converted data set.

    Raises:
        DataError: it is missing, damaged, of another version, or its files are gone.
    """
    path = folder / MANIFEST_NAME
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        manifest = _from_json(folder, content)
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror or error}). Is {folder} a folder made by "
            "tools/convert_labels.py?"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path}: is damaged ({type(error).__name__}: {error}). Convert the labels again."
        ) from error
    if content["version"] != _VERSION:
        raise DataError(
            f"{path}: has version {content['version']}, not {_VERSION}. Convert the labels again."
        )
    for name, split in manifest.splits.items():
        if not split.json_file.is_file():
            raise DataError(f"{path}: {split.json_file} of split {name} is gone. Convert again.")
        if split.num_images and not split.image_root.is_dir():
            raise DataError(
                f"{path}: the images of split {name} are no longer at {split.image_root}. "
                "Convert the labels again where the images are now."
            )
    return manifest


def _from_json(folder: Path, content: dict[str, Any]) -> DatasetManifest:
    splits = {
        name: DatasetSplit(
            json_file=folder / split["json"],
            image_root=Path(split["image_root"]),
            num_images=int(split["num_images"]),
            num_annotations=int(split["num_annotations"]),
        )
        for name, split in content["splits"].items()
    }
    return DatasetManifest(
        name=str(content["name"]),
        classes=tuple(content["classes"]),
        splits=splits,
        fingerprint=str(content["fingerprint"]),
        has_masks=bool(content["has_masks"]),
        source=str(content.get("source", "")),
    )


def fingerprint_files(paths: dict[str, Path]) -> str:
    """Return one hash of files by split name; it changes whenever a byte of them does."""
    digest = hashlib.sha256()
    for name, path in sorted(paths.items()):
        digest.update(f"{name} {files.sha256_file(path)}\n".encode())
    return digest.hexdigest()
