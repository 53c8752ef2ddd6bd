"""Check whether this machine can train: python tools/doctor.py [--offline] [--json]

The exit code is 0 if it can, otherwise 1.
"""

from __future__ import annotations

import argparse
import json
import sys
from importlib.util import find_spec
from pathlib import Path

if find_spec("detfinetune") is None:
    # Not installed: run from the checkout, and report what is missing.
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from detfinetune.doctor import as_json, as_text, can_train, examine


def main(argv: list[str]) -> int:
    """Print the findings; return the exit code."""
    parser = argparse.ArgumentParser(description="Check whether this machine can train.")
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


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
