"""Write a plain model: python tools/merge.py run=RUN output=DIR (--help lists all keys)."""

from detfinetune.cli import main

if __name__ == "__main__":
    main("merge")
