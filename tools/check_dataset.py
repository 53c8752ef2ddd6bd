"""Check a data set before training: `python tools/check_dataset.py --help`."""

from __future__ import annotations

from detfinetune.config.load import load_check_config
from detfinetune.console import run_tool


def main(argv: list[str]) -> int:
    """Check a data set; return 1 if there are findings of severity `fail_on` or worse."""
    config = load_check_config(argv)
    # Imported here, so that --help and configuration errors do not wait for torch.
    from detfinetune.check_dataset import check_dataset

    return check_dataset(config).exit_code(config.fail_on)


if __name__ == "__main__":
    run_tool(main)
