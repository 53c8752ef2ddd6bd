"""Label images in the browser: `python tools/label.py --help`."""

from detfinetune.cli import main

if __name__ == "__main__":
    main("label")
