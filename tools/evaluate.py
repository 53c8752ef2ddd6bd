"""Evaluate a run: python tools/evaluate.py run=RUN [split=test] (--help lists all keys)."""

from __future__ import annotations

from detfinetune.config.load import load_evaluate_config
from detfinetune.console import run_tool


def main(argv: list[str]) -> None:
    """Parse the configuration, then evaluate."""
    config = load_evaluate_config(argv)
    # Imported here, so that --help and configuration errors do not wait for torch.
    from detfinetune.evaluation.evaluate import evaluate

    evaluate(config)


if __name__ == "__main__":
    run_tool(main)
