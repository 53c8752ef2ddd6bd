"""The commands, for `detfinetune COMMAND`, `python -m detfinetune COMMAND` and `tools/*.py`.

Each imports what it needs when it is called: `doctor` runs with Python alone, and `--help` and
configuration errors do not wait for torch.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from detfinetune import __version__
from detfinetune.errors import did_you_mean


def train(argv: list[str]) -> int:
    """Fine-tune a detector on your own images and labels."""
    from detfinetune.config.load import load_train_config

    config = load_train_config(argv)
    from detfinetune.engine.seeds import train_config

    # 130 or 143 for a run stopped by a signal.
    stopped_by = train_config(config).stopped_by
    return 128 + stopped_by if stopped_by else 0


def check(argv: list[str]) -> int:
    """Find problems in images and labels; --fix writes a corrected copy."""
    from detfinetune.config.load import load_check_config

    config = load_check_config(argv)
    from detfinetune.check_dataset import check_dataset

    return check_dataset(config).exit_code(config.fail_on)


def convert(argv: list[str]) -> None:
    """Convert labels of any format to COCO JSON, YOLO, VOC, txt or Florence-2's JSONL."""
    from detfinetune.config.load import load_convert_config

    config = load_convert_config(argv)
    from detfinetune.labels.export import convert_labels

    convert_labels(config)


def label(argv: list[str]) -> None:
    """Label images in the browser."""
    from detfinetune.config.load import load_label_config

    config = load_label_config(argv)
    from detfinetune.annotate.label import label

    label(config)


def evaluate(argv: list[str]) -> None:
    """Evaluate the AP of a run or a checkpoint."""
    from detfinetune.config.load import load_evaluate_config

    config = load_evaluate_config(argv)
    from detfinetune.evaluation.evaluate import evaluate

    evaluate(config)


def predict(argv: list[str]) -> None:
    """Predict on an image, a folder or a video, and draw the detections."""
    from detfinetune.config.load import load_predict_config

    config = load_predict_config(argv)
    from detfinetune.inference.predict import predict

    predict(config)


def propose(argv: list[str]) -> None:
    """Propose boxes for labelling, by a zero-shot model or your own detector."""
    from detfinetune.config.load import load_propose_config

    config = load_propose_config(argv)
    from detfinetune.propose.propose import propose

    propose(config)


def ask(argv: list[str]) -> None:
    """Ask Florence-2 about images: captions, boxes, polygons, text."""
    from detfinetune.config.load import load_ask_config

    config = load_ask_config(argv)
    from detfinetune.inference.ask import ask

    ask(config)


def merge(argv: list[str]) -> None:
    """Write a fine-tuned Florence-2 as a plain model that transformers loads."""
    from detfinetune.config.load import load_merge_config

    config = load_merge_config(argv)
    from detfinetune.models.merge import merge

    merge(config)


def doctor(argv: list[str]) -> int:
    """Check whether this machine can train; if not, exit with 1."""
    from detfinetune.doctor import as_json, as_text, can_train, examine

    parser = argparse.ArgumentParser("detfinetune doctor", description=doctor.__doc__)
    parser.add_argument("--offline", action="store_true", help="do not contact the model zoo")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(argv)
    try:
        Path.cwd()
    except FileNotFoundError:  # then torch cannot even be imported
        print("error: The working directory has been removed. Change to a folder that exists.")
        return 2
    findings = examine(offline=options.offline)
    print(json.dumps(as_json(findings), indent=2) if options.json else as_text(findings))
    return 0 if can_train(findings) else 1


_COMMANDS: dict[str, Callable[[list[str]], int | None]] = {
    "label": label, "propose": propose, "train": train, "check": check, "convert": convert,
    "evaluate": evaluate, "predict": predict, "ask": ask, "merge": merge, "doctor": doctor,
}  # fmt: skip


def main(name: str | None = None) -> NoReturn:
    """Run the command `name`, or the one that the first argument names, and exit."""
    argv = sys.argv[1:]
    if name is None:
        name, *argv = argv or ["--help"]
    if name in ("-h", "--help"):
        print("usage: detfinetune COMMAND [--help] [key=value ...]\n\ncommands:")
        for command, function in _COMMANDS.items():
            print(f"  {command:<10}{function.__doc__}")
        sys.exit()
    if name == "--version":
        print(f"detfinetune {__version__}")
        sys.exit()
    if name not in _COMMANDS:
        hint, choices = did_you_mean(name, _COMMANDS), ", ".join(_COMMANDS)
        print(f"error: '{name}' is not a command.{hint} Choose from: {choices}.", file=sys.stderr)
        sys.exit(2)
    if name == "doctor":
        sys.exit(doctor(argv))
    # Not needed by the doctor, which runs where nothing is installed.
    from detfinetune.console import run_tool

    run_tool(_COMMANDS[name], argv)
