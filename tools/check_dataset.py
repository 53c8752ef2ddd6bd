"""Find what is wrong with a data set before training: `python tools/check_dataset.py --help`."""

from __future__ import annotations

from detfinetune.check_dataset import check_dataset
from detfinetune.config.load import load_check_config
from detfinetune.console import run_tool


def main(argv: list[str]) -> int:
    """Check the data set that the command line names; 1 when there are findings to fail on."""
    config = load_check_config(argv)
    return check_dataset(config).exit_code(config.fail_on)


if __name__ == "__main__":
    run_tool(main)
