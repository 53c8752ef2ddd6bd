"""The folders of images and labels that the configuration names."""

from __future__ import annotations

from pathlib import Path

from detfinetune.config.schema import DataConfig
from detfinetune.errors import ConfigError
from detfinetune.labels.dataset.split_names import names_on_disk
from detfinetune.labels.discovery.folders import (
    IMAGE_FOLDERS,
    LABEL_FOLDERS,
    children,
    has_images,
    has_labels,
    images_folder_for,
    labels_folder_for,
)
from detfinetune.labels.discovery.split_sources import (
    Layout,
    SplitSource,
    mark_shared_images,
    split_folders,
)


def configured_layout(data: DataConfig, root: Path, suffix: str) -> Layout:
    patterns = {"images": data.images, "labels": data.labels, "image_list": data.image_list}
    by_split = any("{split}" in (pattern or "") for pattern in patterns.values())
    found: dict[str, SplitSource] = {}
    tried: list[str] = []
    for split, names in names_on_disk(data).items() if by_split else [("all", ("",))]:
        for name in names:
            source = _configured_source(data, root, suffix, split, name, tried)
            if source is not None:
                found[split] = source
                break
    given = ", ".join(f"data.{key}={value}" for key, value in patterns.items() if value)
    if not found:
        listed = "\n".join(f"  {path}" for path in dict.fromkeys(tried))
        raise ConfigError(
            f"{given} matches nothing under {root}. Missing or without files:\n{listed}"
        )
    return Layout(mark_shared_images(found), given)


def _configured_source(
    data: DataConfig, root: Path, suffix: str, split: str, name: str, tried: list[str]
) -> SplitSource | None:
    def path(pattern: str) -> Path:
        return root / Path(pattern.replace("{split}", name)).expanduser()

    images = path(data.images) if data.images else None
    labels = path(data.labels) if data.labels else None
    image_list = path(data.image_list) if data.image_list else None
    if images is None and labels is not None and data.image_sizes is None:
        images = images_folder_for(labels, root)
    if images is None and labels is None:
        images = next((f for f in children(root, IMAGE_FOLDERS) if has_images(f)), root)
    if labels is None and images is not None:
        labels = _labels_for(data, root, suffix, split, images)
    missing = [
        str(folder)
        for folder, is_good in (
            (images, images is None or has_images(images)),
            (labels or root / "labels", labels is not None and has_labels(labels, suffix)),
            (image_list, image_list is None or image_list.is_file()),
        )
        if not is_good
    ]
    tried.extend(missing)
    if missing or labels is None:
        return None
    return SplitSource(labels, images, image_list)


def _labels_for(data: DataConfig, root: Path, suffix: str, split: str, images: Path) -> Path | None:
    """Return the label folder that goes with a folder of images.

    For images outside `root`, labels below `root` come first: those beside the images may be an
    older version.
    """
    below = []
    for folder in children(root, LABEL_FOLDERS):
        below += [split_folders(data, folder).get(split), folder]
    own = next((f for f in below if f is not None and has_labels(f, suffix)), None)
    inside = images.is_relative_to(root) and ".." not in images.relative_to(root).parts
    beside = labels_folder_for(images, suffix)
    return beside or own if inside else own or beside
