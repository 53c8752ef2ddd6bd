"""What the doctor says about whole, bare and broken installations."""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from detfinetune.doctor import Finding, as_json, as_text, can_train, examine
from detfinetune.doctor.machine import check_machine

REPO = Path(__file__).resolve().parents[1]
DOCTOR = REPO / "tools" / "doctor.py"


def _by_subject(report: str) -> dict[str, dict[str, str]]:
    return {finding["subject"]: finding for finding in json.loads(report)["findings"]}


def _broken_module(folder: Path, name: str, line: str) -> Path:
    """Put a module that fails with `line` where it is found first."""
    (folder / f"{name}.py").write_text(f"{line}\n", encoding="utf-8")
    return folder


def test_this_installation_can_train() -> None:
    findings = examine(offline=True)
    subjects = [finding.subject for finding in findings]
    assert can_train(findings), as_text(findings)
    assert {"python", "torch", "detectron2", "detectron2._C", "weights cache"} <= set(subjects)
    assert "model zoo" not in subjects
    lacking = [f.subject for f in findings if f.state != "ok" and not f.advice]
    assert lacking == []


@pytest.mark.parametrize(
    ("policy", "state", "value"),
    [
        (None, "ok", "passive, set by the tools"),
        ("PASSIVE", "ok", "PASSIVE, from your environment"),
        ("active", "note", "active, from your environment"),
    ],
)
def test_how_threads_wait(
    monkeypatch: pytest.MonkeyPatch, policy: str | None, state: str, value: str
) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY")
    if policy is not None:
        monkeypatch.setenv("OMP_WAIT_POLICY", policy)
    found = next(f for f in check_machine() if f.subject == "OMP_WAIT_POLICY")
    assert (found.state, found.value, bool(found.advice)) == (state, value, state == "note")


def test_text_has_advice_and_what_to_fix_first() -> None:
    findings = [
        Finding("python", "ok", "3.12.0"),
        Finding("torch", "problem", "not installed", "Training needs it."),
        Finding("device", "note", "CPU", "Slower."),
    ]
    lines = as_text(findings).splitlines()[1:]
    assert lines == [
        "  ok    python  3.12.0",
        "  FAIL  torch   not installed",
        "        Training needs it.",
        "  note  device  CPU",
        "        Slower.",
        "Not ready to train. Fix first: torch. Reinstall with `pip install -e .` in a checkout, "
        "`pip install --force-reinstall` for a wheel.",
    ]
    assert as_json(findings)["can_train"] is False
    assert can_train([findings[0], findings[2]])


@pytest.mark.parametrize("doctor", [[str(DOCTOR)], ["-m", "detfinetune", "doctor"]])
def test_bare_python_gets_findings_and_exit_code_1(tmp_path: Path, doctor: list[str]) -> None:
    venv.create(tmp_path, with_pip=False)
    command = [str(tmp_path / "bin" / "python"), *doctor, "--offline", "--json"]
    run = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, env={"PYTHONPATH": str(REPO)}
    )
    assert run.returncode == 1, run.stderr
    found = _by_subject(run.stdout)
    assert found["torch"]["state"] == "problem"
    assert found["torch"]["value"] == "not installed"
    assert found["detectron2"]["state"] == "problem"
    assert found["python"]["state"] == "ok"
    assert run.stderr == ""


@pytest.mark.parametrize(
    ("module", "line", "value", "advice"),
    [
        (
            "torch",
            "raise OSError('libcudart.so: cannot open shared object file')",
            "OSError: libcudart.so: cannot open shared object file",
            "Training needs it.",
        ),
        (
            "cv2",
            "raise ImportError('libGL.so.1: cannot open shared object file')",
            "ImportError: libGL.so.1: cannot open shared object file",
            "pip install opencv-python-headless",
        ),
        (
            "torchvision",
            "raise RuntimeError('operator torchvision::nms does not exist')",
            "RuntimeError: operator torchvision::nms does not exist",
            "pip install --upgrade torch torchvision",
        ),
        (
            "detectron2",
            "raise ImportError('half a build')",
            "ImportError: half a build",
            "installed",
        ),
    ],
)
def test_broken_library_is_a_finding(
    tmp_path: Path, module: str, line: str, value: str, advice: str
) -> None:
    folder = _broken_module(tmp_path, module, line)
    # The fakes keep the check quick: what is not under test is not imported either.
    for other in {"torch", "torchvision", "timm", "scipy", "hydra"} - {module}:
        _broken_module(tmp_path, other, "__version__ = '1'")
    program = (
        f"import sys; sys.path.insert(0, {str(folder)!r}); import json\n"
        "from detfinetune.doctor import as_json, examine\n"
        "print(json.dumps(as_json(examine(offline=True))))"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    found = _by_subject(run.stdout)[module]
    assert (found["state"], found["value"]) == ("problem", value)
    assert advice in found["advice"]
