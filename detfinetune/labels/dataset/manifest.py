"""`dataset.json`: what a converted data set holds and where its images are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from detfinetune import files
from detfinetune.errors import DataError

MANIFEST_NAME = "dataset.json"

EXPORT_NAME = "export.json"
"""File that marks a folder of labels written in another format than COCO JSON."""

PREDICTIONS_NAME = "predictions.json"
RESULTS_NAME = "coco_results.json"
"""Both mark the output of a prediction."""

JOURNAL_NAME = "predicted.jsonl"
"""File that marks the unfinished output of a prediction."""

_VERSION = 1


def write_manifest(
    folder: Path,
    *,
    name: str,
    classes: tuple[str, ...],
    source: Path,
    image_roots: dict[str, Path],
    counts: dict[str, tuple[int, int]],
) -> None:
    """Write `dataset.json` into `folder`, beside a `<split>.json` for each split.

    Args:
        folder: of the conversion; it can be moved as long as the images stay.
        name: of the data set.
        classes: names by contiguous class id.
        source: folder that the labels were read from.
        image_roots: folder of the images by split.
        counts: images and annotations by split.
    """
    splits = {
        split: {
            "json": f"{split}.json",
            "image_root": str(root.resolve()),
            "num_images": counts[split][0],
            "num_annotations": counts[split][1],
        }
        for split, root in image_roots.items()
    }
    files.write_json(
        folder / MANIFEST_NAME,
        {
            "version": _VERSION,
            "name": name,
            "classes": list(classes),
            "source": str(source.resolve()),
            "splits": splits,
        },
    )


def converted_image_roots(folder: Path) -> dict[str, Path]:
    """Return the image folders by split of a folder that a conversion wrote; else nothing.

    Raises:
        DataError: its `dataset.json` is damaged, of another version, or its files are gone.
    """
    path = folder / MANIFEST_NAME
    if not path.is_file():
        return {}
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
        version = content["version"]
        splits = {
            str(split): (folder / entry["json"], Path(entry["image_root"]), entry["num_images"])
            for split, entry in content["splits"].items()
        }
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}).") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path}: damaged ({type(error).__name__}: {error}). Convert the labels again."
        ) from error
    if version != _VERSION:
        raise DataError(f"{path}: has version {version}, not {_VERSION}. Convert the labels again.")
    for split, (json_file, image_root, num_images) in splits.items():
        if not json_file.is_file():
            raise DataError(f"{path}: {json_file} of split {split} is gone. Convert again.")
        if num_images and not image_root.is_dir():
            raise DataError(
                f"{path}: the images of split {split} are no longer at {image_root}. "
                "Convert the labels again where the images are now."
            )
    return {split: image_root for split, (_, image_root, _) in splits.items()}
