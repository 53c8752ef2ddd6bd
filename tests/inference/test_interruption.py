"""A prediction that is interrupted is finished by the same command, and by no other."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from test_predict import CPU, _save_image, _write_run

from detfinetune import files
from detfinetune.config.schema import PredictConfig
from detfinetune.errors import DataError, OutputExistsError
from detfinetune.inference import predict as predict_module
from detfinetune.inference.predict import PredictionResult, predict

COUNT = 14


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _write_run(tmp_path_factory.mktemp("run"))


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for number in range(COUNT):
        _save_image(tmp_path / "in" / f"{number // 5}" / f"{number}.png", 60 + number, 50)
    (tmp_path / "in" / "0" / "torn.png").write_bytes(b"\x89PNG\r\n")
    return tmp_path / "in"


def content(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def predicted(run: Path, source: Path, output: Path, **options: object) -> PredictionResult:
    return predict(
        PredictConfig(run=run, input=source, output=output, hardware=CPU, **options)  # type: ignore[arg-type]
    )


def interrupt(run: Path, source: Path, output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Predict until Ctrl-C in the seventh image."""
    read = predict_module.read_rgb
    calls = iter(range(COUNT))

    def stop_at_the_seventh(path: Path, window: None) -> object:
        if next(calls) == 7:
            raise KeyboardInterrupt
        return read(path, window)

    with monkeypatch.context() as patch:
        patch.setattr(predict_module, "read_rgb", stop_at_the_seventh)
        with pytest.raises(KeyboardInterrupt):
            predicted(run, source, output)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_the_same_command_goes_on_and_gives_the_same_output(
    run: Path, images: Path, tmp_path: Path, repo: Path, number: int
) -> None:
    output, partial = tmp_path / "out", tmp_path / "out.partial"
    command = [sys.executable, str(repo / "tools" / "predict.py"), f"run={run}", f"input={images}",
               f"output={output}", "hardware=cpu"]  # fmt: skip
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path
    )
    journal = partial / "predicted.jsonl"
    deadline = time.monotonic() + 120
    while not journal.is_file() or journal.read_text().count("\n") < 4:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(number)
    shown = process.communicate()[0]
    done = journal.read_text().count("\n") - 1
    assert 3 <= done < COUNT
    assert not output.exists()
    if number == signal.SIGINT:
        assert process.returncode == 130
        assert f"{done} of 15 images are done and kept in {partial}. Rerun the same" in shown
    with journal.open("a") as stream:
        stream.write('{"file_name": "cut')
    (partial / "output" / "0" / "half.jpg").write_bytes(b"half")
    again = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=True)
    assert f"{done} of 15 images were done before." in again.stdout
    assert "torn.png: not an image" in again.stderr
    assert not partial.exists()

    predicted(run, images, tmp_path / "whole")
    assert content(output) == content(tmp_path / "whole")
    assert len(content(output)) == COUNT + 2


def test_images_that_change_meanwhile_are_done_again(
    run: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out"
    interrupt(run, images, output, monkeypatch)
    _save_image(images / "0" / "0.png", 200, 50)
    (images / "0" / "1.png").unlink()
    _save_image(images / "0" / "torn.png", 70, 50)
    # Now the picture of 2.png has another name.
    _save_image(images / "0" / "2.jpg", 80, 50)
    predicted(run, images, output)
    predicted(run, images, tmp_path / "whole")
    assert content(output) == content(tmp_path / "whole")


def test_a_rerun_with_other_settings_is_refused(
    run: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out"
    interrupt(run, images, output, monkeypatch)
    before = content(tmp_path / "out.partial")
    message = r"out\.partial: this holds an unfinished prediction with other settings \({}="
    with pytest.raises(OutputExistsError, match=message.format("score_threshold")):
        predicted(run, images, output, score_threshold=0.3)
    with pytest.raises(OutputExistsError, match=message.format("input")):
        predicted(run, images / "0", output)
    other = _write_run(tmp_path / "other")
    with pytest.raises(OutputExistsError, match=message.format("checkpoint")):
        predicted(other, images, output)
    with pytest.raises(OutputExistsError, match="which would be removed"):
        predicted(run, tmp_path / "out.partial" / "output", output)
    assert content(tmp_path / "out.partial") == before
    os.utime(run / "checkpoints" / "best.pth", (1, 1))
    with pytest.raises(OutputExistsError, match=message.format("checkpoint")):
        predicted(run, images, output)


def test_two_processes_do_not_write_the_same_output(
    run: Path, images: Path, tmp_path: Path
) -> None:
    with files.locked(tmp_path / "out.partial"):
        (tmp_path / "out.partial" / "predicted.jsonl").touch()
        with pytest.raises(OutputExistsError, match="another process is writing"):
            predicted(run, images, tmp_path / "out")


def test_a_folder_of_that_name_is_not_touched(run: Path, images: Path, tmp_path: Path) -> None:
    (tmp_path / "out.partial").mkdir()
    (tmp_path / "out.partial" / "mine.txt").touch()
    with pytest.raises(OutputExistsError, match="was not written by this tool"):
        predicted(run, images, tmp_path / "out")
    assert list(content(tmp_path / "out.partial")) == ["mine.txt"]


def test_outputs_inside_the_input_are_not_predicted_on(
    run: Path, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt(run, images, images / "out", monkeypatch)
    assert predicted(run, images, images / "out").num_images == COUNT
    assert predicted(run, images, images / "more").num_images == COUNT


def test_nothing_is_kept_of_a_failure_before_the_first_image(run: Path, tmp_path: Path) -> None:
    _save_image(tmp_path / "in" / "a.png").write_bytes(b"\x89PNG\r\n")
    with pytest.raises(DataError):
        predicted(run, tmp_path / "in", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
