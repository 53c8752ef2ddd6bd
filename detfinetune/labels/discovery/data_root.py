"""The folder of a data set, or an error that helps to find it."""

from __future__ import annotations

from pathlib import Path

from detfinetune.config.schema import DataConfig
from detfinetune.errors import ConfigError, DataError, did_you_mean


def require_root(data: DataConfig) -> Path:
    """Return `data.root` as an absolute path.

    Raises:
        ConfigError: it was not given.
        DataError: there is no such folder.
    """
    if data.root is None:
        source = f" Download '{data.name}' from: {data.source}." if data.source else ""
        raise ConfigError(
            "data.root is missing: the folder with your images and labels. Give it on the "
            f"command line, such as data.root=/path/to/folder.{source}"
        )
    root = Path(data.root).expanduser()
    root = root.resolve()
    if root.is_file():
        raise DataError(f"data.root: {root} is a file; give the folder that holds the data set.")
    if not root.is_dir():
        parent = next(folder for folder in root.parents if folder.is_dir())
        missing = root.relative_to(parent).parts[0]
        siblings = sorted(path.name for path in parent.iterdir() if path.is_dir())
        listed = f" {parent} holds: {', '.join(siblings[:12])}." if siblings else ""
        raise DataError(
            f"data.root: there is no folder {root}.{did_you_mean(missing, siblings)}{listed}"
        )
    return root
