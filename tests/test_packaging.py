"""How Detectron2 is packed into the wheel, and that an official one is never replaced."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from collections.abc import Iterator
from email.parser import HeaderParser
from pathlib import Path
from types import ModuleType

import pytest
from core_alone import extras

from detfinetune import __version__

REPO = Path(__file__).resolve().parents[1]
NO_INDEX = {"PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull}


@pytest.fixture(scope="module")
def patches() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(REPO / "packaging" / "detectron2")
        yield importlib.import_module("patches")


def test_patch_replaces_text_once_and_says_so_in_the_file(patches: ModuleType) -> None:
    patch = patches.Patch("a.py", "b is gone", "import b\n", "import c\n")
    changed = patches.patched({"a.py": b"import b\nx = 1\n", "z.py": b"import b\n"}, [patch])
    assert changed == {
        "a.py": b"# Changed when detfinetune packaged it: b is gone.\nimport c\nx = 1\n",
        "z.py": b"import b\n",
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"import bb\n", "a.py: the text to replace stands there 0 times instead of once"),
        (b"import b\nimport b\n", "a.py: the text to replace stands there 2 times instead of once"),
    ],
)
def test_patch_that_does_not_fit_stops(patches: ModuleType, text: bytes, message: str) -> None:
    patch = patches.Patch("a.py", "b is gone", "import b\n", "import c\n")
    with pytest.raises(patches.PatchError, match=message):
        patches.patched({"a.py": text}, [patch])


def test_patch_of_a_missing_file_stops(patches: ModuleType) -> None:
    patch = patches.Patch("a.py", "b is gone", "import b\n", "import c\n")
    with pytest.raises(patches.PatchError, match=r"a\.py is not in the wheel"):
        patches.patched({}, [patch])


def _write_wheel(folder: Path, name: str, version: str, files: dict[str, str], tag: str) -> Path:
    """Write a wheel that pip takes, without a RECORD's hashes."""
    info = f"{name}-{version}.dist-info"
    files = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n",
    }
    record = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
    path = folder / f"{name}-{version}-{tag}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in {**files, f"{info}/RECORD": record}.items():
            archive.writestr(file, text)
    return path


@pytest.fixture(scope="module")
def project(patches: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout that takes Detectron2's files from a small stand-in beside it."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("detfinetune", "configs", "packaging"):
        shutil.copytree(REPO / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(REPO / name, folder)
    files = {
        "detectron2/__init__.py": '__version__ = "0.7.2"\n',
        "detectron2/_C.cpython-310-x86_64-linux-gnu.so": "\x7fELF",
        "tools/__init__.py": "",
        "sal_detectron2-0.7.2.dist-info/LICENSE": "Apache\n",
    }
    for patch in patches.PATCHES:
        files[patch.path] = files.get(patch.path, "") + patch.old
    wheel = _write_wheel(folder, "sal_detectron2", "0.7.2", files, "cp310-none-any")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    _requirements(folder).write_text(f"sal-detectron2==0.7.2 --hash=sha256:{digest}\n")
    return folder


def _requirements(project: Path) -> Path:
    return project / "packaging" / "detectron2" / "requirements.txt"


def _build(project: Path, output: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(output)]
    environment = {**os.environ, **NO_INDEX, "PIP_FIND_LINKS": str(project)}
    return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def wheel(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("dist")
    built = _build(project, output)
    assert built.returncode == 0, built.stdout + built.stderr
    return output / f"detfinetune-{__version__}-py3-none-any.whl"


def test_the_wheel_is_whole_and_owns_nothing_named_detectron2(
    patches: ModuleType, wheel: Path
) -> None:
    info = f"detfinetune-{__version__}.dist-info"
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        metadata = archive.read(f"{info}/METADATA").decode()
    tops = {name.partition("/")[0] for name in names}
    assert tops == {
        "detfinetune",
        "_detfinetune_detectron2",
        f"detfinetune-{__version__}.dist-info",
    }
    assert {name for name in names if name.startswith("_detfinetune_detectron2/")} == {
        f"_detfinetune_detectron2/{name}"
        for name in ("__init__.py", "LICENSE", "detectron2/__init__.py",
                     *(patch.path for patch in patches.PATCHES))
    }  # fmt: skip
    assert "detfinetune/_configs/train.yaml" in names
    # A direct reference would be a path of the machine that built the wheel.
    requirements = HeaderParser().parsestr(metadata).get_all("Requires-Dist")
    assert requirements
    assert [name for name in requirements if "@" in name] == []


def test_the_extra_dev_has_all_others(wheel: Path) -> None:
    """So that the tests of every extra run where the development tools are."""
    with zipfile.ZipFile(wheel) as archive:
        metadata = archive.read(f"detfinetune-{__version__}.dist-info/METADATA").decode()
    found = extras(HeaderParser().parsestr(metadata))
    dev = found.pop("dev")  # with what the extras that it names need
    assert "supervision" in found
    lacking = {name: needed - dev for name, needed in found.items()}
    assert lacking == {name: set() for name in found}


def test_the_wheel_is_reproducible(project: Path, wheel: Path, tmp_path: Path) -> None:
    assert _build(project, tmp_path).returncode == 0
    assert (tmp_path / wheel.name).read_bytes() == wheel.read_bytes()


@pytest.mark.parametrize(
    ("requirement", "said"),
    [
        (f"sal-detectron2==0.7.2 --hash=sha256:{'0' * 64}", "DO NOT MATCH THE HASHES"),
        (f"sal-detectron2==9 --hash=sha256:{'0' * 64}", "No matching distribution found"),
    ],
)
def test_another_wheel_or_none_stops_the_build_with_what_to_do(
    project: Path, tmp_path: Path, requirement: str, said: str
) -> None:
    copy = shutil.copytree(project, tmp_path / "project")
    _requirements(copy).write_text(requirement)
    built = _build(copy, tmp_path / "dist")
    assert built.returncode == 1
    assert said in built.stdout + built.stderr
    assert "PIP_FIND_LINKS=FOLDER" in built.stdout + built.stderr
    assert not list((tmp_path / "dist").glob("*.whl"))


_REPORT = (
    "import detfinetune, json, sys; from detfinetune._detectron2 import detectron2_origin as o,"
    " detectron2_version as v; import detectron2;"
    " print(json.dumps([o(), v(), detectron2.__version__, 'torch' in sys.modules]))"
)


def _pip(python: Path, *arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--python", str(python), "--no-input"]
    command += ["--disable-pip-version-check", *arguments]
    run = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **NO_INDEX})
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize("first", ["official", "packaged"])
def test_official_detectron2_stays_and_is_used_in_either_order(
    wheel: Path, tmp_path: Path, first: str
) -> None:
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv" / "bin" / "python"
    init = '__version__ = "0.6"\n'
    files = {"detectron2/__init__.py": init}
    wheels = [_write_wheel(tmp_path, "detectron2", "0.6", files, "py3-none-any"), wheel]
    for path in wheels if first == "official" else reversed(wheels):
        _pip(python, "install", "--no-deps", str(path))
    site = next((tmp_path / "venv").glob("lib/python*/site-packages"))

    def reported() -> list[object]:
        # `-I`: without the checkout that PYTHONPATH may name.
        command = [str(python), "-I", "-c", _REPORT]
        run = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
        report: list[object] = json.loads(run.stdout)
        return report

    assert (site / "detectron2" / "__init__.py").read_text() == init
    assert reported() == ["official", "0.6", "0.6", False]
    _pip(python, "uninstall", "--yes", "detectron2")
    assert reported() == ["packaged", "0.7.2", "0.7.2", False]
    # Only the files that pip wrote are there.
    _pip(python, "uninstall", "--yes", "detfinetune")
    assert not list(site.glob("*detfinetune*"))
