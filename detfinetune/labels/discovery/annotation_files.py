"""Label files that describe many images each: which is which split, and where its images are.

The split is named by the file or its folder, as in `train.json`, `train/_annotations.coco.json` and
`annotations/instances_train2017.json`. Images are beside it, in a folder of the split's name, in
`images/` or wherever below the root the first image is.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from detfinetune.config.schema import DataConfig
from detfinetune.errors import ConfigError, DataError
from detfinetune.labels.dataset.split_names import SPLIT_NAMES, names_on_disk, split_in, split_words
from detfinetune.labels.discovery.folders import IMAGE_FOLDERS, walk
from detfinetune.labels.images.sizes import is_image


def choose_by_split(
    data: DataConfig, root: Path, names: Sequence[str]
) -> tuple[dict[str, Path], dict[str, str]]:
    """Choose one label file a split; those of no split count where no other has one.

    Args:
        data: gives the names of the splits on disk.
        root: the data root.
        names: label files of one format, relative to `root`.

    Returns:
        The files by split, and why each of the others was not chosen.

    Raises:
        DataError: two files are equally likely to be the same split.
    """
    not_chosen: dict[str, str] = {}
    boxes = [name for name in names if not holds_other_annotations(name)]
    if boxes:
        reason = "by its name it holds other annotations than objects"
        not_chosen = dict.fromkeys(set(names) - set(boxes), reason)
    by_split: dict[str, list[str]] = {}
    for name in boxes or names:
        by_split.setdefault(split_of(Path(name), data), []).append(name)
    undivided = by_split.pop("all", []) if len(by_split) > 1 else []
    chosen = {}
    for split, candidates in by_split.items():
        (depth, kind), best = min((_rank(data, name), name) for name in candidates)
        if sum(_rank(data, name) == (depth, kind) for name in candidates) > 1:
            what = f"split '{split}'" if split != "all" else "the data set"
            raise DataError(
                f"{root}: several label files could be {what}: {', '.join(candidates)}. Choose "
                "with data.annotations=FILE ({split} stands for the split's name); or, if all "
                "belong to it, merge them into one file."
            )
        chosen[split] = root / best
        for name in candidates:
            other = _rank(data, name)
            if name != best:
                why = "is nearer to data.root" if depth < other[0] else _WHY_KIND[kind]
                what = f" for split {split}" if split != "all" else ""
                not_chosen[name] = f"{best} is read{what}, as it {why}"
    for name in undivided:
        listed = ", ".join(path.relative_to(root).as_posix() for path in chosen.values())
        not_chosen[name] = f"its name has no split, and {listed} are read"
    return {split: chosen[split] for split in (*SPLIT_NAMES, "all") if split in chosen}, not_chosen


_OTHER_ANNOTATIONS = ("captions", "panoptic", "person_keypoints", "stuff", "image_info")
_WHY_KIND = ("is named instances*", "has just the split's name", "")


def holds_other_annotations(name: str) -> bool:
    """Whether a file has the name of COCO's captions, keypoints and the like."""
    return Path(name).name.lower().startswith(_OTHER_ANNOTATIONS)


def _rank(data: DataConfig, name: str) -> tuple[int, int]:
    """Return depth and kind of a file's name; the smallest is chosen."""
    stem = Path(name).stem.lower()
    is_split = stem in split_words(data)
    return name.count("/"), 0 if stem.startswith("instances") else 1 if is_split else 2


def split_of(relative: Path, data: DataConfig) -> str:
    """Return the split that a path's words name, the file's own words first, or `all`."""
    names = names_on_disk(data)
    parts = reversed(relative.with_suffix("").parts)
    return next((split for part in parts if (split := split_in(part, names))), "all")


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
    found = {}
    tried = []
    for split, options in names_on_disk(data).items():
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


def find_image_root(
    data: DataConfig, root: Path, split: str, label_file: Path, names: Sequence[str]
) -> Path:
    """Return the folder to which the image names of a label file are relative.

    Raises:
        DataError: none holds any of the first images.
    """
    names = names[:20]
    if data.images:
        candidates = [
            root / Path(data.images.replace("{split}", name)).expanduser()
            for name in names_on_disk(data).get(split) or SPLIT_NAMES.get(split, ("",))
        ]
    else:
        candidates = _image_root_candidates(root, split, label_file)
    for folder in candidates:
        if any((folder / name).is_file() for name in names):
            return folder
    if not names:
        return candidates[0]
    found = (
        _with_file_names(candidates, names) if data.images else _searched(root, names, split, data)
    )
    if found is not None:
        return found
    listed = ", ".join(str(folder) for folder in dict.fromkeys(candidates))
    raise DataError(
        f"{label_file}: its images, such as '{names[0]}', were not found. Looked in {listed}. Give "
        "the folder with data.images=FOLDER ({split} stands for the split's name)."
    )


def _searched(root: Path, names: Sequence[str], split: str, data: DataConfig) -> Path | None:
    """Return the folder below `root` to which image names are relative.

    Of several, it is the one named as the split, or else the folder that contains them all: the
    matching then rejects a name that could mean two images.
    """
    wanted = {Path(name).name: name for name in names}
    known_names = _file_names(names)
    exact: dict[Path, None] = {}
    near: dict[Path, None] = {}
    for path in walk(root):
        if not is_image(path):
            continue
        if path.name in wanted:
            folder = path.parents[len(Path(wanted[path.name]).parts) - 1]
            if folder.is_relative_to(root) and folder / wanted[path.name] == path:
                exact[folder] = None
        if not known_names.isdisjoint((path.name.casefold(), path.stem.casefold())):
            near[path.parent] = None
    folders = list(exact or near)
    of_split = [f for f in folders if split_of(f.relative_to(root) / "_", data) == split]
    return _around(of_split or folders) if folders else None


def _around(folders: Sequence[Path]) -> Path:
    """Return the folder that holds all of `folders` (at least one), or is the only one."""
    return Path(os.path.commonpath(folders))


def _with_file_names(folders: Sequence[Path], names: Sequence[str]) -> Path | None:
    known_names = _file_names(names)
    for folder in folders:
        if folder.is_dir() and any(
            is_image(path)
            and not known_names.isdisjoint((path.name.casefold(), path.stem.casefold()))
            for path in walk(folder)
        ):
            return folder
    return None


def _file_names(names: Sequence[str]) -> set[str]:
    """Return file names in lower case, with and without suffix, for any operating system."""
    last = {Path(name.replace("\\", "/")).name.casefold() for name in names}
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
    # The exact spelling comes first.
    return sorted(there, key=lambda p: (place[p.name.lower()], p.name not in names, p.name))
