"""Where a data set of one label file an image keeps its images and labels, and its splits.

These layouts are known, tried in this order, first in the data root, then in the folders below it
that hold a split's folder or list; nested folders below any of them are fine:

    data.yaml with train/val/test entries
    images/train  labels/train          train/images  train/labels
    train_images/ train_labels/         train/        images and labels side by side
    images/       labels/train          one image folder; lists or the labels say which split
    images/       labels/               one split, or lists such as ImageSets/Main/train.txt
    .             images and labels side by side in one folder

Folder names may be in any case; `folders` has the names that are known.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from detfinetune.config.schema import DataConfig
from detfinetune.errors import DataError
from detfinetune.labels.dataset.split_names import SPLIT_NAMES, names_on_disk, split_in, split_words
from detfinetune.labels.discovery.class_names import YAML_FILES, read_yaml
from detfinetune.labels.discovery.configured_layout import configured_layout
from detfinetune.labels.discovery.discovered import shown_path
from detfinetune.labels.discovery.folders import (
    IMAGE_FOLDERS,
    LABEL_FOLDERS,
    children,
    has_images,
    has_labels,
    is_label_name,
    labels_folder_for,
    names_below,
)
from detfinetune.labels.discovery.split_sources import (
    Layout,
    SplitSource,
    mark_shared_images,
    refuse_missing_splits,
    split_folders,
    undivided_if_only_train,
)
from detfinetune.labels.discovery.unsupported import refuse_unsupported
from detfinetune.labels.images.sizes import is_image_name

LIST_FOLDERS = ("ImageSets/Main", "ImageSets", "splits", "")


def find_layout(data: DataConfig, root: Path, suffix: str = ".txt") -> Layout:
    """Find images and labels below `root`.

    Raises:
        ConfigError: a pattern of the configuration matches nothing, or a split of
            `data.splits` is missing.
        DataError: no known layout matches.
    """
    layout = _find_layout(data, root, suffix)
    refuse_missing_splits(data, root, layout.splits)
    return replace(layout, splits=undivided_if_only_train(layout.splits))


def _find_layout(data: DataConfig, root: Path, suffix: str) -> Layout:
    if data.images or data.labels or data.image_list:
        return configured_layout(data, root, suffix)
    if data.image_sizes is not None:
        labels = next((f for f in children(root, LABEL_FOLDERS) if has_labels(f, suffix)), root)
        folders = split_folders(data, labels, lambda folder: has_labels(folder, suffix))
        if has_labels(labels, suffix):
            splits = {s: SplitSource(folder, None) for s, folder in folders.items()} or {
                "all": SplitSource(labels, None)
            }
            return Layout(mark_shared_images(splits), f"labels in {shown_path(labels, root)}/")
    if data.splits:
        return _named_layout(data, root, suffix)
    layout = (
        _divided_layout(data, root, suffix)
        or _one_pair(data, root, suffix)
        or _one_folder(data, root, suffix)
    )
    if layout is None:
        refuse_unsupported(root)
        raise DataError(_nothing_found(root, suffix))
    return replace(layout, notes=tuple(_yaml_notes(root, suffix)))


def _named_layout(data: DataConfig, root: Path, suffix: str) -> Layout:
    """Return the layout with most of the splits that `data.splits` names."""
    found = Layout({}, "")
    for base in (root, *_bases(data, root)):
        layout = _layout_of(data, base, suffix)
        if layout is not None and len(layout.splits) > len(found.splits):
            found = replace(layout, found=layout.found + _place(base, root))
    return found


def _divided_layout(data: DataConfig, root: Path, suffix: str) -> Layout | None:
    """Return the layout with splits of the data root, or else of the one folder that has any."""
    layout = _layout_of(data, root, suffix)
    if layout is not None and (not _is_lone_train(layout) or _has_list(layout)):
        return layout
    # A lone `train` may be one class of several, and a folder below may hold a few images only.
    labelled = _labelled_images(root, root, suffix)
    for base in (root, *_bases(data, root)):
        layout = _layout_of(data, base, suffix)
        if layout is not None and 2 * _covered(layout, suffix) > labelled:
            return replace(layout, found=layout.found + _place(base, root))
    return None


def _place(base: Path, root: Path) -> str:
    return "" if base == root else f" in {shown_path(base, root)}/"


def _layout_of(data: DataConfig, base: Path, suffix: str) -> Layout | None:
    found = [layout for find in _DIVIDED if (layout := find(data, base, suffix)) is not None]
    words = split_words(data)

    def is_vague(layout: Layout) -> bool:
        """Whether it is a lone folder with `train` in its name, such as obj_train_data."""
        images = layout.splits["train"].images if _is_lone_train(layout) else None
        if images is None or _has_list(layout) or not images.is_relative_to(base):
            return False
        return words.isdisjoint(part.lower() for part in images.relative_to(base).parts)

    return min(found, key=is_vague, default=None)


def _is_lone_train(layout: Layout) -> bool:
    return set(layout.splits) == {"train"}


def _has_list(layout: Layout) -> bool:
    return any(source.image_list for source in layout.splits.values())


def _bases(data: DataConfig, root: Path) -> list[Path]:
    """Return the folders below `root` that hold a split's folder, list or data.yaml, by depth."""
    names, words = names_on_disk(data), split_words(data)
    found: set[str] = set()
    for name in names_below(root):
        *folders, file = name.split("/")
        for depth, folder in enumerate(folders):
            if split_in(folder, names) or folder in ("ImageSets", "splits"):
                found.add("/".join(folders[:depth]))
                if depth and folders[depth - 1].lower() in (*IMAGE_FOLDERS, *LABEL_FOLDERS):
                    found.add("/".join(folders[: depth - 1]))
                break
        stem, _, ending = file.rpartition(".")
        if (ending == "txt" and stem.lower() in words) or file in YAML_FILES:
            found.add("/".join(folders))
    return [root / place for place in sorted(found, key=lambda p: (p.count("/"), p)) if place]


def _labelled_images(images: Path, labels: Path, suffix: str) -> int:
    """Return how many images below a folder have the name of a label file below another."""
    stems = {
        name.rpartition("/")[2][: -len(suffix)]
        for name in names_below(labels) if is_label_name(name, suffix)
    }  # fmt: skip
    names = (name.rpartition("/")[2] for name in names_below(images) if is_image_name(name))
    return sum(name.rpartition(".")[0] in stems for name in names)


def _covered(layout: Layout, suffix: str) -> int:
    """Return how many labelled images the folders of a layout hold."""
    folders = {(source.images, source.labels) for source in layout.splits.values()}
    return sum(_labelled_images(images, labels, suffix) for images, labels in folders if images)


# --- the known layouts, with splits -----------------------------------------------------------


def _from_yaml(data: DataConfig, root: Path, suffix: str) -> Layout | None:
    """`train:`, `val:`, `test:` of a YOLO data.yaml, each a folder of images or a list."""
    if data.splits:
        return None
    path, base, found = _yaml_sources(root, suffix)
    splits = {split: source for split, source in found.items() if isinstance(source, SplitSource)}
    layout = _layout(splits, f"the folders named in {path.name}")
    labelled = _labelled_images(root, root, suffix) if len(splits) < len(found) else 0
    for split, entry in found.items():
        if split in splits:
            continue
        # Where nothing of it is there, as in many downloads, it is ignored.
        is_there = isinstance(entry, list) and any(
            isinstance(part, str) and _yaml_source(root, base, part, suffix) for part in entry
        )
        if is_there or (layout and split != "test" and _covered(layout, suffix) < labelled):
            raise DataError(
                f"{path}: '{split}: {entry}' cannot be followed: it is neither one folder with "
                "images and labels nor one list of images. Correct it. Several folders can be "
                "given as one text file that lists the paths of their images."
            )
    return layout


def _yaml_notes(root: Path, suffix: str) -> list[str]:
    path, _, found = _yaml_sources(root, suffix)
    return [
        f"{path.name}: '{split}: {entry}' is ignored: it is neither a folder with images and "
        "labels nor a list of images"
        for split, entry in found.items() if not isinstance(entry, SplitSource)
    ]  # fmt: skip


def _yaml_sources(root: Path, suffix: str) -> tuple[Path, Path, dict[str, SplitSource | object]]:
    """Return a folder's data.yaml, its `path`, and each split's source, or entry if it has none."""
    path = next((root / name for name in YAML_FILES if (root / name).is_file()), None)
    if path is None:
        return root, root, {}
    content = read_yaml(path)
    base = root / str(content.get("path") or "").replace("\\", "/")
    found: dict[str, SplitSource | object] = {}
    for split in SPLIT_NAMES:
        entry = content.get(split, content.get("valid") if split == "val" else None)
        if entry:
            if isinstance(entry, list) and len(entry) == 1:
                entry = entry[0]
            source = _yaml_source(root, base, entry, suffix) if isinstance(entry, str) else None
            found[split] = source or entry
    return path, base, found


def _yaml_source(root: Path, base: Path, entry: str, suffix: str) -> SplitSource | None:
    entry = entry.replace("\\", "/")
    # Roboflow writes `../train/images` for the folder beside data.yaml.
    inside = entry.lstrip("./") if entry.startswith("..") else entry
    for path in (base / entry, root / entry, root / inside):
        images = Path(os.path.normpath(path))
        if images.is_dir() and has_images(images):
            labels = labels_folder_for(images, suffix)
            return SplitSource(labels, images) if labels else None
        if images.is_file() and images.suffix == ".txt":
            return SplitSource(root, root, images)
    return None


def _split_inside(data: DataConfig, root: Path, suffix: str) -> Layout | None:
    """images/train and labels/train."""
    for images in children(root, IMAGE_FOLDERS):
        for labels in children(root, LABEL_FOLDERS):
            image_dirs = split_folders(data, images, has_images)
            label_dirs = split_folders(data, labels, lambda folder: has_labels(folder, suffix))
            splits = _pairs(label_dirs, image_dirs)
            if layout := _layout(splits, f"{images.name}/{{split}} and {labels.name}/{{split}}"):
                return layout
    return None


def _split_outside(data: DataConfig, root: Path, suffix: str) -> Layout | None:
    """train/images and train/labels."""

    def pair(folder: Path) -> SplitSource | None:
        pairs = (
            SplitSource(labels, images)
            for images in children(folder, IMAGE_FOLDERS)
            for labels in children(folder, LABEL_FOLDERS)
            if has_images(images) and has_labels(labels, suffix)
        )
        return next(pairs, None)

    folders = split_folders(data, root, lambda folder: pair(folder) is not None)
    splits = {split: source for split, folder in folders.items() if (source := pair(folder))}
    return _layout(splits, "{split}/images and {split}/labels")


def _split_by_name(data: DataConfig, root: Path, suffix: str) -> Layout | None:
    """train_images/ and train_labels/."""
    image_dirs = split_folders(data, root, lambda f: has_images(f) and not has_labels(f, suffix))
    label_dirs = split_folders(data, root, lambda f: has_labels(f, suffix) and not has_images(f))
    splits = _pairs(label_dirs, image_dirs)
    found = (f"{source.images.name}/" for source in splits.values() if source.images)
    return _layout(splits, f"{', '.join(found)} each with its folder of labels")


def _split_side_by_side(data: DataConfig, root: Path, suffix: str) -> Layout | None:
    """train/ with images and labels beside each other."""
    folders = split_folders(data, root, lambda f: has_images(f) and has_labels(f, suffix))
    return _layout(_pairs(folders, folders), "{split}/ with images and labels side by side")


def _one_image_folder(data: DataConfig, root: Path, suffix: str) -> Layout | None:
    """images/ for all, and labels/train, labels/val, ...; lists say what belongs to a split."""
    for images in children(root, IMAGE_FOLDERS):
        if not has_images(images):
            continue
        for labels in children(root, LABEL_FOLDERS):
            folders = split_folders(data, labels, lambda folder: has_labels(folder, suffix))
            own = {s: (folder.name, s, *SPLIT_NAMES[s]) for s, folder in folders.items()}
            lists = _image_lists(root, own)
            splits = {
                split: SplitSource(folder, images, lists.get(split), split not in lists)
                for split, folder in folders.items()
            }
            shape = f"{images.name}/ and {labels.name}/{{split}}" + _lists_shown(lists, root)
            if layout := _layout(splits, shape):
                return layout
    return None


def _lists_of_pair(data: DataConfig, root: Path, suffix: str) -> Layout | None:
    """images/ and labels/, or both side by side, divided by lists."""
    lists = _image_lists(root, names_on_disk(data))
    whole = _one_pair(data, root, suffix) or _one_folder(data, root, suffix)
    if whole is None or not ("train" in lists or (data.splits and lists)):
        return None
    source = whole.splits["all"]
    splits = {split: replace(source, image_list=path) for split, path in lists.items()}
    return _layout(splits, whole.found + _lists_shown(lists, root))


_DIVIDED: tuple[Callable[[DataConfig, Path, str], Layout | None], ...] = (
    _from_yaml, _split_inside, _split_outside, _split_by_name, _split_side_by_side,
    _one_image_folder, _lists_of_pair,
)  # fmt: skip


def _pairs(labels: dict[str, Path], images: dict[str, Path]) -> dict[str, SplitSource]:
    return {s: SplitSource(labels[s], images[s]) for s in labels if s in images}


# --- the known layouts of data without splits ------------------------------------------------


def _one_pair(data: DataConfig, root: Path, suffix: str) -> Layout | None:
    """images/ and labels/."""
    for images in children(root, IMAGE_FOLDERS):
        for labels in children(root, LABEL_FOLDERS):
            if has_images(images) and has_labels(labels, suffix):
                source = SplitSource(labels, images)
                return Layout({"all": source}, f"{images.name}/ and {labels.name}/")
    return None


def _one_folder(data: DataConfig, root: Path, suffix: str) -> Layout | None:
    """Images and labels side by side, in `root` or below it."""
    if has_images(root) and has_labels(root, suffix):
        return Layout({"all": SplitSource(root, root)}, "images and labels side by side")
    return None


def _layout(splits: dict[str, SplitSource], shape: str) -> Layout | None:
    """Return the layout when any split was found."""
    order = {split: splits[split] for split in SPLIT_NAMES if split in splits}
    return Layout(order, shape) if order else None


def _image_lists(root: Path, disk_names: Mapping[str, Sequence[str]]) -> dict[str, Path]:
    """Return the list files of the splits, from the first folder that holds any."""
    for place in LIST_FOLDERS:
        lists = {}
        for split, names in disk_names.items():
            for name in names:
                path = root / place / f"{name}.txt"
                if path.is_file():
                    lists[split] = path
                    break
        if lists:
            return lists
    return {}


def _lists_shown(lists: dict[str, Path], root: Path) -> str:
    shown = ", ".join(shown_path(path, root) for path in lists.values())
    return f", divided by {shown}" if lists else ""


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
        problem = "no known layout of images and labels was found"
    return (
        f"{root}: {problem}. Found {images} images and {labels} {suffix} files; the folder holds "
        f"{content}. Give the folders, with {{split}} in place of the split's name, such as "
        "data.images=images/{split} data.labels=labels/{split}."
    )
