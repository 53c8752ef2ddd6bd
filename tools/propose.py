"""Propose boxes for labelling: python tools/propose.py data.root=DIR model=MODEL (--help)."""

from detfinetune.cli import main

if __name__ == "__main__":
    main("propose")
