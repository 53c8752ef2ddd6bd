"""What the acceptance script does with published models, done with a tiny one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import acceptance
import pytest


def test_proposals_for_some_images(
    repo: Path, tiny: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(repo))
    (tmp_path / "out").mkdir()
    steps = acceptance.Acceptance(tmp_path / "out", 20, 2)
    assert steps.scenes() == "20 images"
    monkeypatch.setattr(acceptance, "PROPOSED_IMAGES", 3)
    seen = steps.propose("owlv2_base", f"model={tiny('owlv2')}", "hardware=cpu")
    assert seen.endswith(" tree in 3 images")
