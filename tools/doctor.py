"""Check whether this machine can train: python tools/doctor.py [--offline] [--json]"""

import sys
from importlib.util import find_spec
from pathlib import Path

if find_spec("detfinetune") is None:
    # Not installed: run from the checkout, and report what is missing.
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from detfinetune.cli import main

if __name__ == "__main__":
    main("doctor")
