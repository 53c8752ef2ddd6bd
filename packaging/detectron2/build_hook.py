"""Build hook of hatchling: adds Detectron2's Python files to detfinetune's wheel.

They go into `_detfinetune_detectron2/detectron2/`, not to the top of site-packages, so that
detfinetune and an official Detectron2 own no file together.
"""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

HERE = Path(__file__).resolve().parent
# hatchling runs this file without its folder on the import path.
sys.path.insert(0, str(HERE))
from patches import patched  # noqa: E402

FOLDER = "_detfinetune_detectron2"
INIT = b'"""Detectron2\'s Python files for detfinetune, kept apart from any official build."""\n'


class DownloadError(Exception):
    """The wheel that Detectron2 is taken from could not be had, or is not the one expected."""


class Detectron2Hook(BuildHookInterface[Any]):
    """Adds the folder `_detfinetune_detectron2` to wheels, editable ones included."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Download, check, patch and add the files."""
        self.folder = TemporaryDirectory()
        tree = Path(self.folder.name, FOLDER)
        files = patched(read_tree(download(HERE / "requirements.txt", Path(self.folder.name))))
        for name, content in {"__init__.py": INIT, **files}.items():
            path = tree / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        build_data["force_include"][str(tree)] = FOLDER
        build_data["force_include_editable"][str(tree)] = FOLDER

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove the temporary files."""
        self.folder.cleanup()


def download(requirements: Path, folder: Path) -> Path:
    """Let pip download the wheel and check its hash, with the user's own pip settings.

    Raises:
        DownloadError: pip could not; the text holds pip's words and what to do.
    """
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    # The wheel has the tag of Python 3.10; its Python files run on any later one.
    command += ["--python-version", "3.10", "--require-hashes", "--requirement", str(requirements)]
    command += ["--dest", str(folder), "--no-input", "--disable-pip-version-check", "--quiet"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if run.returncode != 0 or len(wheels) != 1:
        raise DownloadError(
            "\n\nThe wheel from which Detectron2's files are taken could not be downloaded. "
            f"pip said:\n\n{(run.stderr or run.stdout).strip()}\n\n"
            "What to do:\n"
            "  - Without a network: put that wheel (for Python 3.10) into a folder, set\n"
            "    PIP_FIND_LINKS=FOLDER and install again.\n"
            "  - Behind a proxy or with an index of your own: give them to pip by its\n"
            "    configuration file or as PIP_PROXY, PIP_INDEX_URL; options of the command line\n"
            "    do not reach here.\n"
            "  - With an official Detectron2 already installed: HATCH_BUILD_NO_HOOKS=true leaves\n"
            "    these files out.\n"
        )
    return wheels[0]


def read_tree(wheel: Path) -> dict[str, bytes]:
    """Return Detectron2's files (path -> content) and its licence as `LICENSE`.

    Compiled code is left out, as is the wheel's `tools` package.
    """
    files: dict[str, bytes] = {}
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if name.startswith("detectron2/") and not name.endswith(("/", ".so", ".pyd")):
                files[name] = archive.read(name)
            elif name.endswith(".dist-info/LICENSE"):
                files["LICENSE"] = archive.read(name)
    return files
