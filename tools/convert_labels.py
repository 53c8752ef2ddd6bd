"""Convert txt or YOLO labels into COCO JSON: `python tools/convert_labels.py --help`."""

from __future__ import annotations

from pathlib import Path

from detfinetune.config.load import load_convert_config
from detfinetune.console import run_tool
from detfinetune.labels.convert import convert_dataset


def main(argv: list[str]) -> None:
    """Convert the data set that the command line names."""
    config = load_convert_config(argv)
    convert_dataset(
        config.data,
        config.output or Path("datasets") / f"{config.data.name}_coco",
        overwrite=config.overwrite,
        num_workers=config.num_workers,
        contact_sheet=config.contact_sheet,
    )


if __name__ == "__main__":
    run_tool(main)
