"""Convert labels to another format: `python tools/convert_labels.py --help`."""

from detfinetune.cli import main

if __name__ == "__main__":
    main("convert")
