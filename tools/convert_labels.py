"""Convert labels to another format: `python tools/convert_labels.py --help`."""

from __future__ import annotations

from pathlib import Path

from detfinetune.config.load import load_convert_config
from detfinetune.console import run_tool
from detfinetune.labels.convert import convert_dataset
from detfinetune.labels.export import export_dataset


def main(argv: list[str]) -> None:
    """Convert a data set."""
    config = load_convert_config(argv)
    name = config.output_format
    output = config.output or Path("datasets") / f"{config.data.name}_{name}"
    if name == "coco":
        convert_dataset(
            config.data, output, overwrite=config.overwrite,
            contact_sheet=config.contact_sheet,
        )  # fmt: skip
    else:
        export_dataset(
            config.data, output, name, overwrite=config.overwrite, images=config.images,
            contact_sheet=config.contact_sheet,
        )  # fmt: skip


if __name__ == "__main__":
    run_tool(main)
