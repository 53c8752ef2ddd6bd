"""Check a data set before training: `python tools/check_dataset.py --help`."""

from detfinetune.cli import main

if __name__ == "__main__":
    main("check")
