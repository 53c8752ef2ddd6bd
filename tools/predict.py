"""Predict: python tools/predict.py run=RUN input=PATH (image, folder or video; --help)."""

from detfinetune.cli import main

if __name__ == "__main__":
    main("predict")
