"""A real training, started on the page, stopped with the server, resumed, and its proposals."""

from __future__ import annotations

import json
import os
import signal
import urllib.error
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from label_page import OpenWindow, Serve, Window
from toy import write_toy_dataset

pytestmark = pytest.mark.slow  # trains

SETTINGS = """
hardware: cpu
augment: {image_size: 64}
solver: {images_per_batch: 2, warmup_iters: 2, max_iter: 15}
model: {name: timm/test_efficientnet, weights: random, fpn_channels: 32, box_head_dim: 32,
        rois_per_image: 16}
evaluation: {eval_period: 5, pictures: 0}
"""


@pytest.fixture(autouse=True)
def _no_job_is_left(tmp_path: Path) -> Iterator[None]:
    """Jobs outlive their server, so that a test that fails must end them."""
    yield
    for path in tmp_path.glob("toy/.detfinetune/jobs/*.json"):
        job = json.loads(path.read_text())
        if job["ended"] is None:
            with suppress(ProcessLookupError):
                os.kill(job["pid"], signal.SIGKILL)


def wait_for_job(window: Window, selector: str, text: str) -> None:
    """Wait until the panel says something about the job; it takes all cores at low priority."""
    window.page.locator(selector).filter(has_text=text).wait_for(timeout=500_000)


def test_train_stop_resume_and_propose(
    serve: Serve, open_window: OpenWindow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = write_toy_dataset(tmp_path / "toy", {"all": 32})
    for labels in sorted((folder / "labels" / "all").iterdir())[24:]:
        labels.unlink()
    (tmp_path / "settings.yaml").write_text(SETTINGS)
    server = serve(folder, "train=settings.yaml")
    window = open_window(server.address)
    window.press("m")
    window.wait_for_text("#advice", "24 images done: train now.")
    assert window.page.locator("#start-propose").is_disabled()
    window.page.locator("#count").fill("4")
    window.page.locator("#start-train").click()
    window.wait_for_text("#job-title", "Training: running")
    with pytest.raises(urllib.error.HTTPError, match="409"):
        server.api("jobs", {"kind": "train"}, method="POST")
    wait_for_job(window, "#job-text", "Step")
    window.page.locator("#show-log").click()
    window.wait_for_text("#job-log", "base weights: random weights")

    server.process.send_signal(signal.SIGINT)
    run = tmp_path / "runs" / "toy_round_1"
    assert server.process.communicate()[0].splitlines()[-3:] == [
        "Stopped. All labels are saved.",
        "The training saves a checkpoint and stops. Resume it on the page, or with:",
        f"  detfinetune train resume={run}",
    ]
    window.page.close()
    server = serve(folder, "train=settings.yaml")
    window = open_window(server.address)
    window.press("m")
    wait_for_job(window, "#job-title", "Training: stopped")
    window.wait_for_text("#advice", "Resume the training, or start a new one.")
    window.page.locator("#resume").click()
    window.press("Escape")  # labelling goes on
    wait_for_job(window, "#train-button", "Proposing")
    window.press("m")
    wait_for_job(window, "#job-title", "Proposing: finished")
    _, training, _ = server.api("jobs")["jobs"]
    assert [step for step, _ in training["ap"]] == [5, 10, 15]
    assert (run / "results.json").is_file()
    window.wait_for_text("#past", f"AP {training['results']['val']:.1f} on val")
    window.page.locator("#job [data-key=I]").click()
    window.page.locator("#figures[open] svg").first.wait_for()
