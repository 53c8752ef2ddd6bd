"""How Detectron2 is packed, and that an official one is never replaced."""

from __future__ import annotations

import hashlib
import importlib.util
import subprocess
import sys
import venv
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

REPO = Path(__file__).resolve().parents[1]
PACKAGING = REPO / "packaging" / "detectron2"


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, PACKAGING / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def patches(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = _load("patches")
    monkeypatch.setitem(sys.modules, "patches", module)
    return module


@pytest.fixture
def backend(patches: ModuleType) -> ModuleType:
    if sys.version_info < (3, 11):
        pytest.importorskip("tomli", reason="the backend's own environment brings tomli")
    return _load("backend")


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


def test_wheel_that_differs_from_the_pinned_one_is_refused(
    backend: ModuleType, tmp_path: Path
) -> None:
    wheel = tmp_path / "other.whl"
    wheel.write_bytes(b"something else")
    actual = hashlib.sha256(b"something else").hexdigest()
    with pytest.raises(backend.SourceError, match=rf"(?s)other\.whl.*{actual}.*{'0' * 64}"):
        backend.check_sha256(wheel, "0" * 64)
    backend.check_sha256(wheel, actual)


def test_failed_download_names_the_ways_out(
    backend: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # pip itself runs, and finds nothing in an empty folder.
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    destination = tmp_path / "to"
    destination.mkdir()
    with pytest.raises(backend.SourceError) as caught:
        backend.download_source(backend.read_settings(), destination)
    message = str(caught.value)
    assert "No matching distribution found for sal-detectron2==0.7.2" in message
    assert "PIP_FIND_LINKS=FOLDER" in message
    assert "pip install --no-deps -e ." in message


def _source_wheel(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("detectron2/__init__.py", '__version__ = "0.7.2"\n')
        archive.writestr("detectron2/_C.cpython-310-x86_64-linux-gnu.so", b"\x7fELF")
        archive.writestr("tools/__init__.py", "")
        archive.writestr("sal_detectron2-0.7.2.dist-info/LICENSE", "Apache\n")


def test_tree_leaves_compiled_code_and_tools_out(backend: ModuleType, tmp_path: Path) -> None:
    _source_wheel(tmp_path / "source.whl")
    assert sorted(backend.read_tree(tmp_path / "source.whl")) == [
        "LICENSE",
        "detectron2/__init__.py",
    ]


def _build_small_wheel(backend: ModuleType, source: Path, wheel: Path) -> None:
    """Pack the stand-in source as the backend packs the real one."""
    project = backend.read_settings()["project"]
    stem = backend.dist_stem(project)
    files = backend.package_files(backend.read_tree(source), project, stem)
    backend.write_wheel(wheel, stem, files)


def test_wheel_is_reproducible_and_owns_nothing_named_detectron2(
    backend: ModuleType, tmp_path: Path
) -> None:
    _source_wheel(tmp_path / "source.whl")
    for name in ("one.whl", "two.whl"):
        _build_small_wheel(backend, tmp_path / "source.whl", tmp_path / name)
    assert (tmp_path / "one.whl").read_bytes() == (tmp_path / "two.whl").read_bytes()
    with zipfile.ZipFile(tmp_path / "one.whl") as archive:
        tops = {name.partition("/")[0] for name in archive.namelist()}
        metadata = archive.read("detfinetune_detectron2-0.7.2.dist-info/METADATA").decode()
    assert tops == {"_detfinetune_detectron2", "detfinetune_detectron2-0.7.2.dist-info"}
    assert "Name: detfinetune-detectron2\nVersion: 0.7.2\n" in metadata
    assert "Requires-Dist: omegaconf>=2.1,<2.4\n" in metadata


def test_metadata_is_had_without_a_download(backend: ModuleType, tmp_path: Path) -> None:
    name = backend.prepare_metadata_for_build_wheel(str(tmp_path))
    text = (tmp_path / name / "METADATA").read_bytes()
    assert text == backend.metadata_text(backend.read_settings()["project"])


@pytest.fixture(scope="module")
def light_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The python of a virtual environment that sees detfinetune's sources and nothing else."""
    folder = tmp_path_factory.mktemp("light")
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    site = next(folder.glob("lib/python*/site-packages"))
    (site / "detfinetune.pth").write_text(f"{REPO}\n", encoding="utf-8")
    return python


_REPORT = (
    "import detfinetune, sys; from detfinetune._detectron2 import detectron2_origin as origin,"
    " detectron2_version as version; import detectron2;"
    " print(origin(), version(), detectron2.__version__, 'torch' in sys.modules)"
)


def _pip(python: Path, *arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--python", str(python), "--no-input"]
    command += ["--disable-pip-version-check", *arguments]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


def _official_wheel(backend: ModuleType, folder: Path) -> Path:
    """A tiny distribution that is named, and owns, `detectron2`, as an official build does."""
    wheel = folder / "detectron2-0.6-py3-none-any.whl"
    content = {
        "detectron2/__init__.py": b'__version__ = "0.6"\n',
        "detectron2-0.6.dist-info/METADATA": b"Metadata-Version: 2.1\nName: detectron2\n"
        b"Version: 0.6\n",
        "detectron2-0.6.dist-info/WHEEL": backend.wheel_text(),
    }
    backend.write_wheel(wheel, "detectron2-0.6", content)
    return wheel


@pytest.mark.parametrize("first", ["official", "packaged"])
def test_official_detectron2_stays_and_is_used_in_either_order(
    backend: ModuleType, light_python: Path, tmp_path: Path, first: str
) -> None:
    _source_wheel(tmp_path / "source.whl")
    packaged = tmp_path / "detfinetune_detectron2-0.7.2-py3-none-any.whl"
    _build_small_wheel(backend, tmp_path / "source.whl", packaged)
    wheels = [_official_wheel(backend, tmp_path), packaged]
    for wheel in wheels if first == "official" else reversed(wheels):
        _pip(light_python, "install", "--no-deps", "--no-index", str(wheel))
    site = next(light_python.parents[1].glob("lib/python*/site-packages"))

    def reported() -> str:
        command = [str(light_python), "-c", _REPORT]
        return subprocess.run(
            command, capture_output=True, text=True, check=True, cwd=tmp_path
        ).stdout.strip()

    assert (site / "detectron2" / "__init__.py").read_bytes() == b'__version__ = "0.6"\n'
    assert reported() == "official 0.6 0.6 False"
    _pip(light_python, "uninstall", "--yes", "detectron2")
    assert reported() == "packaged 0.7.2 0.7.2 False"
    _pip(light_python, "uninstall", "--yes", "detfinetune-detectron2")


@pytest.mark.slow  # downloads 6 MB and packs Detectron2
def test_real_wheel_is_built_and_patched(backend: ModuleType, tmp_path: Path) -> None:
    try:
        name = backend.build_wheel(str(tmp_path))
    except backend.SourceError as error:
        if "could not be downloaded" in str(error):
            pytest.skip("the source wheel cannot be downloaded here")
        raise
    with zipfile.ZipFile(tmp_path / name) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        folder = "_detfinetune_detectron2/detectron2"
        sources = {n: archive.read(n).decode() for n in names if n.endswith(".py")}
    assert f"{folder}/model_zoo/configs/COCO-Detection/faster_rcnn_R_50_FPN_3x.yaml" in names
    assert not [n for n in names if n.endswith(".so")]
    assert not [n for n, text in sources.items() if "pkg_resources" in text.partition("\n")[2]]
    for name, text in sources.items():
        compile(text, name, "exec")
