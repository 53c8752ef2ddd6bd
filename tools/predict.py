"""Predict: python tools/predict.py run=RUN input=PATH (image, folder or video; --help)."""

from __future__ import annotations

from detfinetune.config.load import load_predict_config
from detfinetune.console import run_tool


def main(argv: list[str]) -> None:
    """Parse the configuration, then predict."""
    config = load_predict_config(argv)
    # Imported here, so that --help and configuration errors do not wait for torch.
    from detfinetune.inference.predict import predict

    predict(config)


if __name__ == "__main__":
    run_tool(main)
