"""Where a data set keeps its images and labels, found by itself or as the configuration says.

These arrangements are known, tried in this order; nested folders below any of them are fine:

    data.yaml with train/val/test entries
    images/train  labels/train          train/images  train/labels
    train/        images and labels side by side
    images/       labels/train          one image folder; lists or the labels say which split
    images/       labels/               one split, or lists such as ImageSets/Main/train.txt
    .             images and labels side by side in one folder

Folder names may be in any case; `folders` has the names that are known. Where
`train` and `trainval` are both there, `trainval` is passed over.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from detfinetune.config.schema import DataConfig
from detfinetune.errors import ConfigError, DataError, did_you_mean
from detfinetune.labels.discovery.class_names import YAML_FILES, read_yaml
from detfinetune.labels.discovery.configured_layout import configured_layout
from detfinetune.labels.discovery.folders import (
    IMAGE_FOLDERS,
    LABEL_FOLDERS,
    SPLIT_NAMES,
    children,
    has_images,
    has_labels,
    is_label_name,
    labels_folder_for,
    names_below,
    subfolders,
)
from detfinetune.labels.discovery.split_sources import (
    Layout,
    SplitSource,
    disk_names,
    lone_train_is_all,
    split_folders,
    told_apart,
)
from detfinetune.labels.images.sizes import is_image_name

LIST_FOLDERS = ("ImageSets/Main", "ImageSets", "splits", "")


def find_layout(data: DataConfig, root: Path, suffix: str = ".txt") -> Layout:
    """Find images and labels below `root`.

    Raises:
        ConfigError: a pattern of the configuration that leads nowhere, or a split that
            `data.splits` names and that is not there.
        DataError: no known arrangement fits.
    """
    layout = _find_layout(data, root, suffix)
    # A lone split, whatever it is called, is all there is, and is told apart later.
    wanted = {} if set(layout.splits) == {"all"} and len(data.splits or {}) == 1 else data.splits
    missing = [name for split, name in (wanted or {}).items() if split not in layout.splits]
    if missing:
        folders = subfolders(root)
        folders += [inner for folder in folders for inner in subfolders(folder)]
        there = sorted({folder.name for folder in folders})
        raise ConfigError(
            f"data.splits: nothing was found for '{missing[0]}' in {root}."
            f"{did_you_mean(missing[0], there)} There are: {', '.join(there) or 'no folders'}. "
            "Name the splits that you have, or leave data.splits out to have them found."
        )
    return layout


def _find_layout(data: DataConfig, root: Path, suffix: str) -> Layout:
    if data.images or data.labels or data.image_list:
        return configured_layout(data, root, suffix)
    if data.image_sizes is not None:
        labels = next((f for f in children(root, LABEL_FOLDERS) if has_labels(f, suffix)), root)
        folders = _label_folders(data, labels, suffix)
        if has_labels(labels, suffix):
            splits = {s: SplitSource(folder, None) for s, folder in folders.items()} or {
                "all": SplitSource(labels, None)
            }
            return Layout(told_apart(splits), f"labels in {_shown(labels, root)}/")
    layouts = [layout for find in _KNOWN if (layout := find(data, root, suffix)) is not None]
    if not layouts:
        raise DataError(_nothing_found(root, suffix))
    first, others = layouts[0], layouts[1:]
    notes = list(first.notes)
    rivals = [other for other in others if _is_elsewhere(other, first)]
    if rivals:
        notes.append(
            f"also possible: {'; '.join(other.found for other in rivals)}. To choose, give "
            "data.images and data.labels, with {split} where the split's name stands"
        )
    return replace(first, notes=tuple(notes))


def _is_elsewhere(layout: Layout, taken: Layout) -> bool:
    """Whether a layout means other images, and not the same ones more coarsely."""
    folders = [source.images for source in taken.splits.values() if source.images]
    return any(
        source.images is not None
        and not any(source.images.resolve() in (f.resolve(), *f.resolve().parents) for f in folders)
        for source in layout.splits.values()
    )


# --- the known arrangements -----------------------------------------------------------------


def _from_yaml(data: DataConfig, root: Path, suffix: str) -> Layout | None:
    """`train:`, `val:`, `test:` of a YOLO data.yaml, each a folder of images."""
    path = next((root / name for name in YAML_FILES if (root / name).is_file()), None)
    if path is None:
        return None
    content = read_yaml(path)
    base = root / str(content.get("path") or "")
    splits = {}
    for split in SPLIT_NAMES:
        entry = content.get(split, content.get("valid") if split == "val" else None)
        if not isinstance(entry, str):
            continue
        inside = entry.lstrip("./") if entry.startswith("..") else entry
        for images in (base / entry, root / entry, root / inside):
            if images.is_dir() and has_images(images):
                labels = labels_folder_for(images, suffix)
                if labels is not None:
                    splits[split] = SplitSource(labels.resolve(), images.resolve())
                break
    return _layout(splits, f"the folders named in {path.name}", root)


def _split_inside(data: DataConfig, root: Path, suffix: str) -> Layout | None:
    """images/train and labels/train."""
    for images in children(root, IMAGE_FOLDERS):
        for labels in children(root, LABEL_FOLDERS):
            splits = {}
            notes = []
            for split, (image_dir, label_dir) in _common_splits(
                data, images, labels, suffix
            ).items():
                if image_dir and label_dir:
                    splits[split] = SplitSource(label_dir, image_dir)
                elif image_dir:
                    notes.append(f"{_shown(image_dir, root)}/ has no label folder; it was left out")
            shape = f"{images.name}/{{split}} and {labels.name}/{{split}}"
            if layout := _layout(splits, shape, root, notes):
                return layout
    return None


def _split_outside(data: DataConfig, root: Path, suffix: str) -> Layout | None:
    """train/images and train/labels."""
    splits = {}
    notes = []
    for split, folder in split_folders(data, root).items():
        pairs = [
            (images, labels)
            for images in children(folder, IMAGE_FOLDERS)
            for labels in children(folder, LABEL_FOLDERS)
            if has_images(images) and has_labels(labels, suffix)
        ]
        if pairs:
            splits[split] = SplitSource(pairs[0][1], pairs[0][0])
        elif any(has_images(images) for images in children(folder, IMAGE_FOLDERS)):
            notes.append(f"{_shown(folder, root)}/ has no labels; it was left out")
    return _layout(splits, "{split}/images and {split}/labels", root, notes)


def _split_side_by_side(data: DataConfig, root: Path, suffix: str) -> Layout | None:
    """train/ with images and labels beside each other."""
    splits = {}
    notes = []
    for split, folder in split_folders(data, root).items():
        if has_images(folder) and has_labels(folder, suffix):
            splits[split] = SplitSource(folder, folder)
        elif has_images(folder):
            notes.append(f"{_shown(folder, root)}/ has no labels; it was left out")
    return _layout(splits, "{split}/ with images and labels side by side", root, notes)


def _one_image_folder(data: DataConfig, root: Path, suffix: str) -> Layout | None:
    """images/ for all, and labels/train, labels/val, ...; lists say what belongs to a split."""
    for images in children(root, IMAGE_FOLDERS):
        if not has_images(images):
            continue
        for labels in children(root, LABEL_FOLDERS):
            folders = {
                s: f for s, f in split_folders(data, labels).items() if has_labels(f, suffix)
            }
            lists = _image_lists(root, {split: folder.name for split, folder in folders.items()})
            splits = {
                split: SplitSource(folder, images, lists.get(split), split not in lists)
                for split, folder in folders.items()
            }
            shape = f"{images.name}/ and {labels.name}/{{split}}" + _lists_shown(lists, root)
            if layout := _layout(splits, shape, root):
                return layout
    return None


def _one_pair(data: DataConfig, root: Path, suffix: str) -> Layout | None:
    """images/ and labels/, divided by lists where there are any."""
    for images in children(root, IMAGE_FOLDERS):
        for labels in children(root, LABEL_FOLDERS):
            if has_images(images) and has_labels(labels, suffix):
                return _single(data, root, labels, images, f"{images.name}/ and {labels.name}/")
    return None


def _one_folder(data: DataConfig, root: Path, suffix: str) -> Layout | None:
    """Images and labels side by side, in `root` or below it."""
    if has_images(root) and has_labels(root, suffix):
        return _single(data, root, root, root, "images and labels side by side")
    return None


_KNOWN: tuple[Callable[[DataConfig, Path, str], Layout | None], ...] = (
    _from_yaml, _split_inside, _split_outside, _split_side_by_side, _one_image_folder, _one_pair,
    _one_folder,
)  # fmt: skip


def _single(data: DataConfig, root: Path, labels: Path, images: Path, shape: str) -> Layout:
    lists = _image_lists(root, disk_names(data))
    if lists:
        splits = {split: SplitSource(labels, images, path) for split, path in lists.items()}
    else:
        splits = {"all": SplitSource(labels, images)}
    return Layout(lone_train_is_all(splits), shape + _lists_shown(lists, root))


def _layout(
    splits: dict[str, SplitSource], shape: str, root: Path, notes: list[str] | None = None
) -> Layout | None:
    """Return the layout when any split was found; a lone train folder is still to be split."""
    if not splits:
        return None
    return Layout(lone_train_is_all(splits), shape, tuple(notes or ()))


def _label_folders(data: DataConfig, labels: Path, suffix: str) -> dict[str, Path]:
    """Return the split folders below `labels` that hold label files."""
    folders = split_folders(data, labels)
    return {split: folder for split, folder in folders.items() if has_labels(folder, suffix)}


def _common_splits(
    data: DataConfig, images: Path, labels: Path, suffix: str
) -> dict[str, tuple[Path | None, Path | None]]:
    image_dirs = {s: f for s, f in split_folders(data, images).items() if has_images(f)}
    label_dirs = _label_folders(data, labels, suffix)
    return {
        split: (image_dirs.get(split), label_dirs.get(split))
        for split in SPLIT_NAMES
        if split in image_dirs or split in label_dirs
    }


def _image_lists(root: Path, disk_names: dict[str, str]) -> dict[str, Path]:
    """Return the list files of the splits, from the first folder that holds any."""
    for place in LIST_FOLDERS:
        lists = {}
        for split, disk_name in disk_names.items():
            for name in dict.fromkeys((disk_name, split, *SPLIT_NAMES[split])):
                path = root / place / f"{name}.txt"
                if path.is_file():
                    lists[split] = path
                    break
        if lists:
            return lists
    return {}


def _lists_shown(lists: dict[str, Path], root: Path) -> str:
    shown = ", ".join(_shown(path, root) for path in lists.values())
    return f", divided by {shown}" if lists else ""


def _shown(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def _nothing_found(root: Path, suffix: str) -> str:
    files = list(names_below(root))
    images = sum(map(is_image_name, files))
    labels = sum(is_label_name(name, suffix) for name in files)
    content = ", ".join(sorted(path.name for path in root.iterdir())[:12]) or "nothing"
    if images and not labels:
        problem = f"there are images but no label files ({suffix})"
    elif labels and not images:
        problem = (
            "there are label files but no images (of types jpg, png, bmp, tif, webp); give "
            "data.images=FOLDER, or the sizes alone with data.image_sizes=FILE"
        )
    else:
        problem = "no known arrangement of images and labels was recognised"
    return (
        f"{root}: {problem}. Found {images} images and {labels} {suffix} files; the folder holds "
        f"{content}. Say where they are, with {{split}} where the split's name stands, such as "
        "data.images=images/{split} data.labels=labels/{split}."
    )
