"""Ask a model: python tools/ask.py model=florence2 prompt_task=caption input=PATH (--help)."""

from detfinetune.cli import main

if __name__ == "__main__":
    main("ask")
