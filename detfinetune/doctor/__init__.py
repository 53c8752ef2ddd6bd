"""Checks whether this machine can train: what is missing, what that means, and what to do.

These modules import only the standard library at the top, so that they still work when the
installation is broken. An exception in a check becomes a finding.
"""

from __future__ import annotations

import textwrap
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

from detfinetune import __version__
from detfinetune.doctor import machine, software
from detfinetune.doctor.finding import Finding, first_line

__all__ = ["Finding", "as_json", "as_text", "can_train", "examine"]

_INSTALL = (
    "Reinstall with `pip install -e .` in a checkout, `pip install --force-reinstall` for a wheel."
)


def examine(offline: bool = False) -> list[Finding]:
    """Run all checks; `offline` skips the request to the model zoo."""
    checks: list[Callable[[], Iterator[Finding]]] = [
        software.check_python,
        software.check_modules,
        software.check_detectron2,
        machine.check_device,
        machine.check_machine,
        machine.check_packaged_weights,
        machine.check_zoo_cache,
    ]
    if not offline:
        checks.append(machine.check_zoo_server)
    return [finding for check in checks for finding in _run(check)]


def can_train(findings: list[Finding]) -> bool:
    """Return whether training can work."""
    return all(finding.state != "problem" for finding in findings)


def as_json(findings: list[Finding]) -> dict[str, Any]:
    """Return the findings as JSON values."""
    return {
        "detfinetune": __version__,
        "can_train": can_train(findings),
        "findings": [asdict(finding) for finding in findings],
    }


def as_text(findings: list[Finding]) -> str:
    """Return the findings as text, with advice below each problem."""
    width = max(len(finding.subject) for finding in findings)
    marks = {"ok": "ok", "note": "note", "problem": "FAIL"}
    lines = [f"detfinetune {__version__}"]
    for finding in findings:
        lines.append(f"  {marks[finding.state]:<4}  {finding.subject:<{width}}  {finding.value}")
        lines += textwrap.wrap(
            finding.advice, 98, initial_indent=" " * 8, subsequent_indent=" " * 8
        )
    problems = [finding.subject for finding in findings if finding.state == "problem"]
    if problems:
        lines.append(f"Not ready to train. Fix first: {', '.join(problems)}. {_INSTALL}")
    else:
        lines.append("Ready to train.")
    return "\n".join(lines)


def _run(check: Callable[[], Iterator[Finding]]) -> list[Finding]:
    """Run a check; an exception becomes a finding."""
    findings: list[Finding] = []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for finding in check():
                findings.append(finding)
    except Exception as error:  # a broken installation may raise anything
        subject = check.__name__.removeprefix("check_").replace("_", " ")
        findings.append(Finding(subject, "note", first_line(error), "This check did not finish."))
    return findings
