"""Images with more than 8 bits: one window for a run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from detfinetune.config.load import load_train_config
from detfinetune.data.load import decode_image
from detfinetune.data.window import apply_window, grey_window
from detfinetune.engine.train import train
from detfinetune.errors import DataError
from detfinetune.inference.predictor import Predictor

RAMP = np.arange(1000, 61_000, 60, dtype=np.uint16).reshape(20, 50)


@pytest.mark.parametrize(("suffix", "kind"), [("png", np.uint16), ("tif", np.uint16),
                                              ("tif", np.float32)])  # fmt: skip
def test_window_is_of_all_images(tmp_path: Path, suffix: str, kind: type) -> None:
    for number, part in enumerate((RAMP[:10], RAMP[10:])):
        Image.fromarray(part.astype(kind)).save(tmp_path / f"{number}.{suffix}")
    Image.fromarray(RAMP.astype(np.uint8)).save(tmp_path / "eight.png")
    low, high = grey_window(sorted(tmp_path.iterdir())) or (0, 0)
    assert (low, high) == pytest.approx((1000 + 0.005 * 59_940, 1000 + 0.995 * 59_940))
    pixels = decode_image(tmp_path / f"1.{suffix}", "BGR", (low, high))
    assert pixels.shape == (10, 50, 3)
    assert (pixels[:, :, 0] == pixels[:, :, 2]).all()
    assert (pixels.min(), pixels.max()) == (128, 255)


@pytest.mark.parametrize("nothing", [np.nan, np.inf, -np.inf])
def test_pixels_without_data_do_not_count(tmp_path: Path, nothing: float) -> None:
    values = RAMP.astype(np.float32) - 100_000
    Image.fromarray(values).save(tmp_path / "whole.tif")
    wanted = grey_window([tmp_path / "whole.tif"])
    Image.fromarray(np.vstack([np.full((5, 50), nothing, np.float32), values])).save(
        tmp_path / "part.tif"
    )
    Image.fromarray(np.full((5, 5), nothing, np.float32)).save(tmp_path / "none.tif")
    assert grey_window([tmp_path / "part.tif", tmp_path / "none.tif"]) == wanted
    assert grey_window([tmp_path / "none.tif"]) is None


def test_eight_bits_need_no_window(tmp_path: Path) -> None:
    Image.fromarray(RAMP.astype(np.uint8)).save(tmp_path / "a.png")
    assert grey_window([tmp_path / "a.png", tmp_path / "missing.png"]) is None
    assert decode_image(tmp_path / "a.png", "RGB")[0, 1, 0] == RAMP.astype(np.uint8)[0, 1]


def test_levels_by_hand() -> None:
    values = np.array([[-5.0, 10.0, 15.0, 20.0, 99.0, np.nan]])
    assert apply_window(values, (10, 20), "x")[0, :, 1].tolist() == [0, 0, 128, 255, 255, 0]
    below_zero = np.array([[np.nan, -np.inf, -10.0, 10.0, np.inf]])
    assert apply_window(below_zero, (-10, 10), "x")[0, :, 1].tolist() == [0, 0, 0, 255, 255]
    with pytest.raises(DataError, match=r"^x: the image has more than 8 bits.*augment.window"):
        apply_window(values, None, "x")


def test_a_run_keeps_its_window(toy_dataset: Path, tmp_path: Path) -> None:
    """Deep copies of grey images, with other black and white levels, train to the same weights."""
    plain, deep = tmp_path / "plain", tmp_path / "deep"
    for image in sorted(toy_dataset.glob("images/*/*.png")):
        grey = np.asarray(Image.open(image).convert("L"))
        for folder, values in ((plain, grey), (deep, grey.astype(np.uint16) * 200 + 900)):
            target = folder / image.relative_to(toy_dataset)
            target.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(values).save(target)
            label = toy_dataset / "labels" / target.parent.name / f"{image.stem}.txt"
            copy = folder / label.relative_to(toy_dataset)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_text(label.read_text())
    settings = [
        "hardware=cpu", "hardware.num_workers=0", "model.name=timm/test_efficientnet",
        "model.weights=random", "augment.image_size=96", "solver.max_iter=2",
        "solver.images_per_batch=2",
    ]  # fmt: skip
    losses = []
    for folder, window in ((plain, []), (deep, ["augment.window=[900,51900]"])):
        run = tmp_path / f"run_{folder.name}"
        train(load_train_config([*settings, *window, f"data.root={folder}", f"output_dir={run}"]))
        lines = (run / "train_metrics.jsonl").read_text().splitlines()
        losses.append([json.loads(line)["total_loss"] for line in lines if "total_loss" in line])
    assert losses[0] == losses[1]
    image = next(iter(sorted(deep.glob("images/test/*"))))
    predictor = Predictor(tmp_path / "run_deep")
    from_file = predictor(image, 0.0)
    from_array = predictor(np.asarray(Image.open(image)), 0.0)
    assert from_file.image is not None
    assert from_array.image is not None
    assert (from_file.image == from_array.image).all()
    assert (from_file.boxes == from_array.boxes).all()
    with pytest.raises(DataError, match="more than 8 bits"):
        Predictor(tmp_path / "run_plain")(image)
    chosen = tmp_path / "run_auto"
    train(load_train_config([*settings, f"data.root={deep}", f"output_dir={chosen}"]))
    low, high = Predictor(chosen).window or (0, 0)
    assert 900 <= low < high <= 51_900
