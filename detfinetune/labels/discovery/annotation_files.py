"""Where a COCO data set keeps its JSON files and images.

Known: `train.json`, `annotations/instances_train2017.json`, `train/_annotations.coco.json` and
any other JSON in COCO shape whose name or folder holds a split's name; images beside it, in a
folder of the split's name, in `images/` or wherever below the root the first image is.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detfinetune.config.schema import DataConfig
from detfinetune.errors import ConfigError, DataError
from detfinetune.labels.discovery.folders import IMAGE_FOLDERS, SPLIT_NAMES, names_below, walk
from detfinetune.labels.images.sizes import is_image

_DEEPEST = 3
_HEAD_BYTES = 4096
_COCO_KEYS = (b'"images"', b'"annotations"', b'"categories"')
_LABELME_KEYS = (b'"shapes"', b'"imagePath"', b'"imageData"')


@dataclass(frozen=True)
class CocoSource:
    """A COCO JSON and the folder of its images."""

    json_file: Path
    image_root: Path
    content: dict[str, Any]


def find_coco_files(data: DataConfig, root: Path) -> dict[str, Path]:
    """Return the COCO JSON files of `root` by split, `all` where there is but one without a name.

    Raises:
        ConfigError: `data.annotations` leads nowhere.
        DataError: several files could be the same split.
    """
    if data.annotations:
        return configured_annotations(data, root)
    found: dict[str, list[Path]] = {}
    damaged: list[Path] = []
    for name in names_below(root):
        if not name.lower().endswith(".json") or name.count("/") >= _DEEPEST:
            continue
        path, relative = root / name, Path(name)
        if is_coco(path):
            found.setdefault(split_of(relative, data), []).append(path)
        elif _is_named_as_coco(path, data):
            damaged.append(path)
    damaged = [path for path in damaged if split_of(path.relative_to(root), data) not in found]
    if found and damaged:
        # Passing over it would split another file's images at random in its place.
        raise DataError(
            f"{damaged[0]}: by its name this is a split's COCO JSON, but it is cut short or lacks "
            "images, annotations or categories. Mend, rename or remove it, or name the files with "
            "data.annotations."
        )
    return choose_by_split(root, found)


def choose_by_split(root: Path, found: dict[str, list[Path]]) -> dict[str, Path]:
    """Return one label file a split; those of no split count where no other has one.

    Raises:
        DataError: several files could be the same split.
    """
    named = {split: paths for split, paths in found.items() if split != "all"}
    chosen = named or found
    for split, paths in chosen.items():
        depth = min(len(path.parts) for path in paths)
        nearest = [path for path in paths if len(path.parts) == depth]
        preferred = [p for p in nearest if p.name.startswith("instances")] or nearest
        if len(preferred) > 1:
            listed = ", ".join(path.relative_to(root).as_posix() for path in paths)
            what = f"split '{split}'" if split != "all" else "the data set"
            raise DataError(
                f"{root}: several label files could be {what}: {listed}. Say which with "
                "data.annotations=FILE, with {split} where the split's name stands."
            )
        chosen[split] = preferred
    return {split: chosen[split][0] for split in (*SPLIT_NAMES, "all") if split in chosen}


def _is_named_as_coco(path: Path, data: DataConfig) -> bool:
    """Whether a JSON file has just the name that a split's COCO JSON usually has."""
    names = {split: (name,) for split, name in (data.splits or {}).items()} or SPLIT_NAMES
    stem = path.stem.lower()
    known = {name.lower() for options in names.values() for name in options}
    return stem in known or stem.startswith(("instances_", "_annotations.coco"))


def is_coco(path: Path) -> bool:
    """Whether a JSON file has the keys of a COCO data set; its structure is checked later."""
    try:
        with path.open("rb") as stream:
            data = stream.read(_HEAD_BYTES)
            if any(k in data for k in _LABELME_KEYS) and not any(k in data for k in _COCO_KEYS):
                # There may be as many of these as images, each with its image inside.
                return False
            data += stream.read()
    except OSError:
        return False
    return data.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"{") and all(
        k in data for k in _COCO_KEYS
    )


def split_of(relative: Path, data: DataConfig) -> str:
    """Return the split that a path's words name, the file's own words first, or `all`."""
    names = {split: (name,) for split, name in (data.splits or {}).items()} or SPLIT_NAMES
    for part in reversed(relative.with_suffix("").parts):
        words = re.findall(r"[^\W\d_]+", part.lower())
        for split, known in names.items():
            if part.lower() in known or any(word in known for word in words):
                return split
    return "all"


def configured_annotations(data: DataConfig, root: Path) -> dict[str, Path]:
    """Return the label files that `data.annotations` names, by split.

    Raises:
        ConfigError: it leads nowhere.
    """
    pattern = data.annotations or ""
    if "{split}" not in pattern:
        path = root / Path(pattern).expanduser()
        if not path.is_file():
            raise ConfigError(f"data.annotations: there is no file {path}.")
        return {"all": path}
    names = {split: (name,) for split, name in (data.splits or {}).items()} or SPLIT_NAMES
    found = {}
    tried = []
    for split, options in names.items():
        for name in options:
            path = root / Path(pattern.replace("{split}", name)).expanduser()
            tried.append(str(path))
            if path.is_file():
                found[split] = path
                break
    if not found:
        raise ConfigError(
            f"data.annotations={pattern} names no file that is there. Tried: {', '.join(tried)}."
        )
    return found


def load_coco(path: Path) -> dict[str, Any]:
    """Read a COCO JSON file.

    Raises:
        DataError: it is no JSON object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}).") from error
    except ValueError as error:
        raise DataError(
            f"{path}: is not valid JSON ({error}). Was it copied or downloaded whole?"
        ) from error
    if not isinstance(content, dict):
        raise DataError(
            f"{path}: is a JSON {type(content).__name__}, not an object with images, annotations "
            "and categories."
        )
    return content


def find_image_root(
    data: DataConfig, root: Path, split: str, label_file: Path, names: Sequence[str]
) -> Path:
    """Return the folder to which the image names of a label file are relative.

    Raises:
        DataError: none holds any of the first images.
    """
    names = names[:20]
    if data.images:
        options = (data.splits or {}).get(split) if split in SPLIT_NAMES else None  # type: ignore[call-overload]
        candidates = [
            root / Path(data.images.replace("{split}", name)).expanduser()
            for name in ((options,) if options else SPLIT_NAMES.get(split, ("",)))
        ]
    else:
        candidates = _image_root_candidates(root, split, label_file)
    for folder in candidates:
        if any((folder / name).is_file() for name in names):
            return folder
    if not names:
        return candidates[0]
    found = (
        _with_alike_names(candidates, names) if data.images else _searched(root, names, split, data)
    )
    if found is not None:
        return found
    listed = ", ".join(str(folder) for folder in dict.fromkeys(candidates))
    raise DataError(
        f"{label_file}: its images, such as '{names[0]}', were not found. Looked in {listed}. Give "
        "the folder with data.images=FOLDER ({split} stands for the split's name)."
    )


def _searched(root: Path, names: Sequence[str], split: str, data: DataConfig) -> Path | None:
    """Return the folder below `root` that image names fit to.

    Where they fit to several, that is one of the split's name, or the folder around them: which of
    two images of a name is meant is not for the alphabet to say.
    """
    wanted = {Path(name).name: name for name in names}
    alike = _alike(names)
    exact: dict[Path, None] = {}
    near: dict[Path, None] = {}
    for path in walk(root):
        if not is_image(path):
            continue
        if path.name in wanted:
            folder = path.parents[len(Path(wanted[path.name]).parts) - 1]
            if folder.is_relative_to(root) and folder / wanted[path.name] == path:
                exact[folder] = None
        if not alike.isdisjoint((path.name, path.stem)):
            near[path.parent] = None
    folders = list(exact or near)
    of_split = [f for f in folders if split_of(f.relative_to(root) / "_", data) == split]
    return _around(of_split or folders) if folders else None


def _around(folders: Sequence[Path]) -> Path:
    """Return the folder that holds all of `folders` (at least one), or is the only one."""
    return Path(os.path.commonpath(folders))


def _with_alike_names(folders: Sequence[Path], names: Sequence[str]) -> Path | None:
    alike = _alike(names)
    for folder in folders:
        if folder.is_dir() and any(
            is_image(path) and not alike.isdisjoint((path.name, path.stem)) for path in walk(folder)
        ):
            return folder
    return None


def _alike(names: Sequence[str]) -> set[str]:
    """Return what images may be called whose names lack an ending or are of another machine."""
    last = {Path(name.replace("\\", "/")).name for name in names}
    return last | {Path(name).stem for name in last}


def _image_root_candidates(root: Path, split: str, json_file: Path) -> list[Path]:
    """Return the folders where the images may be, likeliest first."""
    bases = list(dict.fromkeys((root, json_file.parent, json_file.parent.parent)))
    words = [json_file.stem.split("_", 1)[-1], json_file.stem, *SPLIT_NAMES.get(split, ())]
    found = []
    for base in bases:
        if base != root and not base.is_relative_to(root):
            continue
        image_folders = sorted(_named(base, IMAGE_FOLDERS))
        for folder in (base, *image_folders):
            found += _named(folder, words)
        found += [*image_folders, base]
    return list(dict.fromkeys(found))


def _named(folder: Path, names: Sequence[str]) -> list[Path]:
    """Return the subfolders of some names, in their order, in upper or lower case."""
    place = {name.lower(): number for number, name in reversed(list(enumerate(names)))}
    there = [path for path in folder.iterdir() if path.is_dir() and path.name.lower() in place]
    # What is written as the labels write it comes first.
    return sorted(there, key=lambda p: (place[p.name.lower()], p.name not in names, p.name))
