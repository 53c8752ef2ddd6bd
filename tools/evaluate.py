"""Evaluate a run: python tools/evaluate.py run=RUN [split=test] (--help lists all keys)."""

from detfinetune.cli import main

if __name__ == "__main__":
    main("evaluate")
