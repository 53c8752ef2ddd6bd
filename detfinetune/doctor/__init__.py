"""What this machine has and lacks for training, what each lack means, and what to do about it.

These modules and what they import at the top need nothing but Python, so that they can still speak
when the installation is broken. Whatever a check raises becomes a finding.
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

_INSTALL = "Install everything again: `pip install -e .` in the checkout, or `make setup`."


def examine(offline: bool = False) -> list[Finding]:
    """Look at everything; `offline` leaves out whether the model zoo can be reached."""
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
    return [finding for check in checks for finding in _gather(check)]


def can_train(findings: list[Finding]) -> bool:
    """Say whether training can work."""
    return all(finding.state != "problem" for finding in findings)


def as_json(findings: list[Finding]) -> dict[str, Any]:
    """Return the findings in a form that can be written as JSON."""
    return {
        "detfinetune": __version__,
        "can_train": can_train(findings),
        "findings": [asdict(finding) for finding in findings],
    }


def as_text(findings: list[Finding]) -> str:
    """Return the findings as lines to be read, each lack followed by its advice."""
    width = max(len(finding.subject) for finding in findings)
    marks = {"ok": "ok", "note": "note", "problem": "LACK"}
    lines = [f"detfinetune {__version__}"]
    for finding in findings:
        lines.append(f"  {marks[finding.state]:<4}  {finding.subject:<{width}}  {finding.value}")
        lines += textwrap.wrap(
            finding.advice, 98, initial_indent=" " * 8, subsequent_indent=" " * 8
        )
    lacks = [finding.subject for finding in findings if finding.state == "problem"]
    if lacks:
        lines.append(f"Training cannot work yet. To mend first: {', '.join(lacks)}. {_INSTALL}")
    else:
        lines.append("Training can work here.")
    return "\n".join(lines)


def _gather(check: Callable[[], Iterator[Finding]]) -> list[Finding]:
    """Run a check; an exception that it lets through is a finding too."""
    findings: list[Finding] = []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for finding in check():
                findings.append(finding)
    except Exception as error:  # a broken installation may raise anything, and none may stop us
        subject = check.__name__.removeprefix("check_").replace("_", " ")
        findings.append(Finding(subject, "note", first_line(error), "This check did not finish."))
    return findings
