"""Prediction with a real, small detector: pictures, COCO JSON, video, and what goes wrong.

The detector has random weights and a threshold of 0, so that it finds something everywhere; what
is tested is that images, boxes, masks and files fit together.
"""

from __future__ import annotations

import json
import os
import unicodedata
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from run_configs import run_config

from detfinetune.config.schema import HardwareConfig, PredictConfig
from detfinetune.errors import CheckpointError, ConfigError, DataError, OutputExistsError
from detfinetune.inference.picture_names import picture_names
from detfinetune.inference.predict import predict
from detfinetune.inference.predictor import Predictor, read_rgb
from detfinetune.inference.video import VideoFormat
from detfinetune.models.calibration import UNCALIBRATED, Calibration
from detfinetune.models.checkpoint import Checkpoint, write_checkpoint
from detfinetune.models.rcnn.build import build_model

CLASSES = ("disc", "square")
CPU = HardwareConfig(name="cpu", device="cpu")


def _write_run(
    folder: Path,
    score_threshold: float | None = 0.0,
    calibration: Calibration = UNCALIBRATED,
) -> Path:
    config = run_config(
        task="segm",
        model={"name": "efficientnet_lite0_fpn", "weights": "random", "freeze_at": 0},
        augment={"image_size": 64, "max_size": 128},
        evaluation={"detections_per_image": 7},
        detectron2={"MODEL.ROI_HEADS.SCORE_THRESH_TEST": 0.0},
    )
    torch.manual_seed(0)
    write_checkpoint(
        folder / "checkpoints" / "best.pth",
        Checkpoint(
            model=build_model(config, CLASSES, None).checkpoint_state(),
            classes=CLASSES,
            config=config,
            iteration=3,
            score_threshold=score_threshold,
            calibration=calibration,
        ),
    )
    (folder / "config.yaml").write_text("{}")
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder whose detector finds seven objects everywhere."""
    return _write_run(tmp_path_factory.mktemp("run"))


def _save_image(path: Path, width: int = 90, height: int = 60, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path, **options)
    return path


def _image_size(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


def _predict(run: Path, source: Path, output: Path, **options: object) -> dict[str, object]:
    result = predict(
        PredictConfig(run=run, input=source, output=output, hardware=CPU, **options)  # type: ignore[arg-type]
    )
    return {"result": result, **json.loads((output / "predictions.json").read_text())}


def test_a_nested_folder_of_any_type_and_name(run: Path, tmp_path: Path) -> None:
    source = tmp_path / "in"
    _save_image(source / "a b.png")
    _save_image(source / "süd" / "x.JPG", 40, 80)
    _save_image(source / "same.png")
    _save_image(source / "same.bmp")
    (source / "notes.txt").write_text("no image")
    (source / "torn.jpg").write_bytes((source / "süd" / "x.JPG").read_bytes()[:200])
    output = tmp_path / "out"
    written = _predict(run, source, output)

    names = [image["file_name"] for image in written["images"]]
    assert names == ["a b.png", "same.bmp", "same.png", "süd/x.JPG"]
    pictures = sorted(file.relative_to(output).as_posix() for file in output.rglob("*.jpg"))
    assert pictures == ["a b.jpg", "same.bmp.jpg", "same.png.jpg", "süd/x.jpg"]
    assert _image_size(output / "süd" / "x.jpg") == (40, 80)
    assert len(written["info"]["skipped"]) == 1
    assert "torn.jpg: the image cannot be read" in written["info"]["skipped"][0]
    assert written["result"].num_images == 4
    assert written["result"].num_objects == len(written["annotations"]) == 28
    assert written["categories"] == [{"id": 1, "name": "disc"}, {"id": 2, "name": "square"}]

    results = json.loads((output / "coco_results.json").read_text())
    assert {entry["file_name"] for entry in results} == set(names)
    sizes = {image["id"]: image for image in written["images"]}
    for entry in results:
        image = sizes[entry["image_id"]]
        x, y, w, h = entry["bbox"]
        assert -0.01 <= x <= x + w <= image["width"] + 0.02
        assert -0.01 <= y <= y + h <= image["height"] + 0.02
        assert entry["segmentation"]["size"] == [image["height"], image["width"]]
        assert entry["category_id"] in (1, 2)


def test_a_folder_with_links_pipes_and_dangling_links(run: Path, tmp_path: Path) -> None:
    source = tmp_path / "in"
    _save_image(source / "a" / "1.png")
    _save_image(tmp_path / "elsewhere" / "2.png")
    (source / "a" / "up").symlink_to(source)
    (source / "b").symlink_to(source / "a")
    (source / "c").symlink_to(tmp_path / "elsewhere")
    (source / "gone.jpg").symlink_to(source / "nowhere.jpg")
    os.mkfifo(source / "pipe.jpg")
    written = _predict(run, source, tmp_path / "out")
    assert [image["file_name"] for image in written["images"]] == ["a/1.png", "c/2.png"]
    assert [text.removeprefix(f"{source}/") for text in written["info"]["skipped"]] == [
        "gone.jpg: the image cannot be read (No such file or directory).",
        "pipe.jpg: the image cannot be read (not a regular file).",
    ]


def test_no_picture_replaces_another() -> None:
    names = [
        "A.tif",
        "a.jpg",
        "a.jpg.png",
        "a.png",
        "b.bmp",
        "c.png",
        "c.jpg/1.png",
        "É.png",
        "e\u0301.jpg",
    ]
    pictures = picture_names(names)
    assert list(pictures) == names
    assert pictures["b.bmp"] == "b.jpg"
    assert pictures["a.jpg.png"] == "a.jpg.png.jpg"
    folded = {unicodedata.normalize("NFC", name).casefold() for name in pictures.values()}
    assert len(folded) == len(names)
    assert "c.jpg" not in folded


def test_images_of_one_name_have_a_picture_each(run: Path, tmp_path: Path) -> None:
    for number, name in enumerate(("a.jpg", "a.png", "a.jpg.png", "A.png"), start=1):
        _save_image(tmp_path / "in" / name, 40 * number, 40)
    _predict(run, tmp_path / "in", tmp_path / "out")
    widths = sorted(_image_size(path)[0] for path in (tmp_path / "out").glob("*.jpg"))
    assert widths == [40, 80, 120, 160]


def test_an_image_is_rotated_by_its_exif_flag(run: Path, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # rotated by 90 degrees
    source = _save_image(tmp_path / "rotated.jpg", 90, 60, exif=exif)
    written = _predict(run, source, tmp_path / "out")
    assert (written["images"][0]["width"], written["images"][0]["height"]) == (60, 90)
    assert _image_size(tmp_path / "out" / "rotated.jpg") == (60, 90)


def test_a_video_stays_a_video(run: Path, tmp_path: Path) -> None:
    source = tmp_path / "clip.mp4"
    writer = cv2.VideoWriter(str(source), cv2.VideoWriter.fourcc(*"mp4v"), 12.0, (96, 64))
    for number in range(5):
        writer.write(np.full((64, 96, 3), 40 * number, dtype=np.uint8))
    writer.release()
    written = _predict(run, source, tmp_path / "out")
    assert [image["file_name"] for image in written["images"]] == [
        f"clip.mp4#{number}" for number in range(5)
    ]
    capture = cv2.VideoCapture(str(tmp_path / "out" / "clip.mp4"))
    frames = []
    while (read := capture.read())[0]:
        frames.append(read[1])
    assert len(frames) == 5
    assert frames[0].shape == (64, 96, 3)
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(12.0)


def test_a_video_that_ends_early_is_reported(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(source), cv2.VideoWriter.fourcc(*"MJPG"), 12.0, (96, 64))
    noise = np.random.default_rng(0)
    for _ in range(42):
        writer.write(noise.integers(0, 255, (64, 96, 3), dtype=np.uint8))
    writer.release()
    content = source.read_bytes()
    source.write_bytes(content[: len(content) // 20])
    written = _predict(run, source, tmp_path / "out")
    assert len(written["images"]) == 1
    assert (written["info"]["frames_read"], written["info"]["frames_expected"]) == (1, 42)
    assert "only 1 of 42 frames could be read. The video is" in written["info"]["skipped"][0]
    shown = capsys.readouterr()
    assert "clip.avi: only 1 of 42 frames could be read. The video is damaged" in shown.err
    assert "in 1 images (only 1 of 42 frames could be read); pictures" in shown.out


@pytest.mark.parametrize(
    ("header", "read", "lacks"),
    [(None, 1, False), (42, 42, False), (42, 40, False), (42, 39, True), (42, 50, False),
     (1000, 990, False), (1000, 989, True)],
)  # fmt: skip
def test_headers_may_overstate_by_two_frames_or_a_percent(
    header: int | None, read: int, lacks: bool
) -> None:
    assert VideoFormat(96, 64, 12.0, header).lacks_frames(read) is lacks


def test_the_threshold_is_the_runs_unless_one_is_given(run: Path, tmp_path: Path) -> None:
    source = _save_image(tmp_path / "a.png")
    everything = _predict(run, source, tmp_path / "all")
    assert everything["result"].score_threshold == 0.0
    scores = sorted(entry["score"] for entry in everything["annotations"])
    some = _predict(run, source, tmp_path / "some", score_threshold=scores[3])
    assert sorted(entry["score"] for entry in some["annotations"]) == scores[3:]
    assert _predict(run, source, tmp_path / "none", score_threshold=1.0)["annotations"] == []
    fresh = _write_run(tmp_path / "fresh", score_threshold=None)
    assert Predictor(fresh, CPU).score_threshold == 0.5


def test_calibrated_scores_keep_the_same_detections(run: Path, tmp_path: Path) -> None:
    source = _save_image(tmp_path / "a.png")
    own = Predictor(run, CPU)(source)
    calibration = Calibration(3.0, -2.0)
    third = float(own.scores[2])
    calibrated = _write_run(tmp_path / "calibrated", float(calibration(third)), calibration)
    predictor = Predictor(calibrated, CPU)
    found = predictor(source)
    assert np.array_equal(found.boxes, own[:3].boxes)
    assert np.array_equal(found.scores, calibration(own.scores[:3]))
    # A threshold that is given is one of calibrated scores.
    assert len(predictor(source, third)) == int((calibration(own.scores) >= third).sum()) != 3
    written = _predict(calibrated, source, tmp_path / "out")["annotations"]
    assert [entry["score"] for entry in written] == found.scores.tolist()


def test_the_predictor_takes_files_and_arrays(run: Path, tmp_path: Path) -> None:
    source = _save_image(tmp_path / "a.png")
    predictor = Predictor(run, CPU)
    found = predictor(source)
    with Image.open(source) as picture:
        for same in (predictor(np.asarray(picture)), predictor(picture)):
            assert np.array_equal(same.boxes, found.boxes)
            assert np.array_equal(same.scores, found.scores)
            assert same.class_names == found.class_names
    assert (len(found), found.width, found.height) == (7, 90, 60)
    assert found.scores.tolist() == sorted(found.scores.tolist(), reverse=True)
    assert set(found.class_names) <= set(CLASSES)
    assert found.masks is not None
    assert found.masks.shape == (7, 60, 90)
    for number in range(len(found)):
        for polygon in found.polygons(number):
            assert len(polygon) >= 6
            assert max(polygon[0::2]) <= 90
    assert found.plot().size == (90, 60)
    some = found[found.scores >= found.scores[2]]
    assert len(some) == len(predictor(source, float(found.scores[2]))) == 3
    x, y, right, bottom = found.boxes[0].tolist()
    (first, *_) = found.to_coco(image_id=9, category_ids=[5, 6])
    assert first["bbox"] == pytest.approx([x, y, right - x, bottom - y])
    assert (first["image_id"], first["category_id"]) == (9, 5 + int(found.class_ids[0]))
    with pytest.raises(DataError, match=r"not float64 with shape \[60, 90, 3\]"):
        predictor(np.zeros((60, 90, 3)))
    with pytest.raises(DataError, match=r"^the array: the image has more than 8 bits"):
        predictor(np.zeros((60, 90)))


def test_an_output_is_not_overwritten_by_default(run: Path, tmp_path: Path) -> None:
    source = _save_image(tmp_path / "a.png")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("keep")
    with pytest.raises(OutputExistsError, match="overwrite=true"):
        _predict(run, source, tmp_path / "out")
    with pytest.raises(OutputExistsError, match="was not written by this tool"):
        _predict(run, source, tmp_path / "out", overwrite=True)
    with pytest.raises(OutputExistsError, match="which would be removed"):
        _predict(run, source, run, overwrite=True)
    assert (tmp_path / "out" / "mine.txt").read_text() == "keep"
    (tmp_path / "out" / "mine.txt").rename(tmp_path / "mine.txt")
    _predict(run, source, tmp_path / "out")
    _predict(run, source, tmp_path / "out", overwrite=True)
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [
        "a.jpg",
        "coco_results.json",
        "predictions.json",
    ]


def test_a_failure_leaves_no_output(run: Path, tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    (source / "torn.png").write_bytes(b"\x89PNG\r\n")
    with pytest.raises(DataError, match="none of the 1 images can be read"):
        _predict(run, source, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["in"]


def _missing(tmp_path: Path) -> Path:
    return tmp_path / "nowhere"


def _empty_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "empty"
    folder.mkdir()
    return folder


def _text(tmp_path: Path) -> Path:
    file = tmp_path / "a.doc"
    file.write_text("x")
    return file


def _torn_video(tmp_path: Path) -> Path:
    file = tmp_path / "a.mp4"
    file.write_bytes(b"\0" * 100)
    return file


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (_missing, "there is no such file or folder"),
        (_empty_folder, "the folder has no images"),
        (_text, "'.doc' is not a known type. Images: .bmp .jpeg .jpg"),
        (_torn_video, "a.mp4: the video cannot be read"),
    ],
)
def test_inputs_that_cannot_be_used(run: Path, tmp_path: Path, make: object, message: str) -> None:
    with pytest.raises(DataError) as caught:
        _predict(run, make(tmp_path), tmp_path / "out")  # type: ignore[operator]
    assert message in str(caught.value)


def test_models_that_cannot_be_used(run: Path, tmp_path: Path) -> None:
    source = _save_image(tmp_path / "a.png")
    output = tmp_path / "out"
    with pytest.raises(ConfigError, match="Give either run or checkpoint; neither is given"):
        predict(PredictConfig(input=source, output=output))
    checkpoint = run / "checkpoints" / "best.pth"
    with pytest.raises(ConfigError, match="both are given"):
        predict(PredictConfig(run=run, checkpoint=checkpoint, input=source, output=output))
    with pytest.raises(ConfigError, match="input is missing"):
        predict(PredictConfig(run=run, output=output))
    with pytest.raises(CheckpointError, match="there is no such run folder"):
        predict(PredictConfig(run=tmp_path / "no_run", input=source, output=output))
    torn = tmp_path / "torn.pth"
    torn.write_bytes(checkpoint.read_bytes()[:10_000])
    with pytest.raises(CheckpointError, match=r"torn\.pth: the file is broken"):
        predict(PredictConfig(checkpoint=torn, input=source, output=output, hardware=CPU))


def test_a_damaged_image_is_not_predicted_on_in_part(tmp_path: Path) -> None:
    """Detectron2's own reader goes on with the rows above the damage."""
    path = tmp_path / "a.png"
    noise = np.random.default_rng(0).integers(0, 255, (96, 96, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    content = bytearray(path.read_bytes())
    content[9000:18000] = bytes(9000)
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.png: the image cannot be read"):
        read_rgb(path)
