"""Transforms of albumentations move boxes and masks with the image, the same at every try."""

from __future__ import annotations

import os
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml
from coloured_images import Kind, as_bitmap, check_objects_are_their_pixels, coloured
from loading import grey_copies, same, train_batches
from run_configs import run_config

from detfinetune.config.load import load_train_config
from detfinetune.config.resolved import RunConfig
from detfinetune.data.albumentations import build_albumentations, check_albumentations
from detfinetune.data.loaders import seed_everything
from detfinetune.data.sample import Sample
from detfinetune.engine.train import train
from detfinetune.errors import ConfigError, DataError, MissingExtraError
from detfinetune.models.family import InputSpec

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
A = pytest.importorskip("albumentations", reason="needs the extra albumentations")

KINDS: tuple[Kind, ...] = ("boxes", "polygons", "bitmaps")
BOXES = [(10, 10, 40, 30), (60, 20, 100, 60), (110, 70, 150, 100), (0, 60, 50, 120)]


def config(transforms: Any, **augment: Any) -> RunConfig:
    return run_config(augment={"albumentations": transforms, **augment})


def applied(sample: Sample, transforms: Any, seed: int = 0, **augment: Any) -> Sample:
    step = build_albumentations(config(transforms, **augment), InputSpec())
    assert step is not None
    seed_everything(seed)
    return step(sample)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("transform", [
    {"name": "HorizontalFlip"}, {"name": "Transpose"},
    {"name": "RandomCrop", "height": 90, "width": 90},
    {"name": "RandomScale", "scale_limit": [0.5, 0.5]},
    {"name": "Pad", "padding": 20}, {"name": "Affine", "translate_px": 30},
    {"name": "OneOf", "transforms": [{"name": "VerticalFlip"}, {"name": "Transpose"}]},
], ids=lambda transform: transform["name"])  # fmt: skip
def test_boxes_and_masks_enclose_what_is_seen(kind: Kind, transform: dict[str, Any]) -> None:
    for seed in range(4):
        sample = coloured(120, 160, BOXES, kind)
        found = applied(sample, [{**transform, "p": 1.0}], seed, min_visible=0.0)
        assert not np.array_equal(found.image, sample.image)
        assert check_objects_are_their_pixels(found) >= 2
        assert (found.height, found.width) == (120, 160)


@pytest.mark.parametrize("kind", KINDS)
def test_what_changes_only_colours_leaves_objects_exact(kind: Kind) -> None:
    sample = coloured(120, 160, BOXES, kind)
    sample.boxes[0] += 1 / 3
    found = applied(sample, [{"name": "InvertImg", "p": 1.0}])
    assert np.array_equal(found.image, 255 - sample.image)
    assert found.boxes is sample.boxes
    assert found.masks is sample.masks


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("min_visible", "kept"), [(0.0, [0, 1, 2]), (0.4, [0, 1]), (0.6, [0])])
def test_objects_of_which_too_little_is_left_are_dropped(
    kind: Kind, min_visible: float, kept: list[int]
) -> None:
    boxes = [(60, 10, 70, 20), (40, 30, 60, 40), (32, 50, 52, 60), (10, 70, 50, 80)]
    crop = {"name": "Crop", "x_min": 50, "y_min": 0, "x_max": 160, "y_max": 120, "p": 1.0}
    found = applied(coloured(120, 160, boxes, kind), [crop], min_visible=min_visible)
    assert found.class_ids.tolist() == kept
    wanted = [[10, 10, 20, 20], [0, 30, 10, 40], [0, 50, 2, 60]]
    np.testing.assert_allclose(found.boxes, [wanted[number] for number in kept], atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_an_object_that_an_edge_mirrors_becomes_two(kind: Kind) -> None:
    sample = coloured(120, 160, [(10, 40, 30, 60)], kind)
    pad = {"name": "Pad", "padding": [40, 0, 0, 0], "border_mode": 4, "p": 1.0}
    found = applied(sample, [pad])
    assert found.class_ids.tolist() == [0, 0]
    boxes = sorted(found.boxes.round().tolist())
    # The pixel at the edge is not repeated, which albumentations ignores for boxes.
    np.testing.assert_allclose(boxes, [[10, 40, 30, 60], [50, 40, 70, 60]], atol=1)
    for mask in found.masks or ():
        assert as_bitmap(mask, found.image).sum() == pytest.approx(400, abs=20)


@pytest.mark.parametrize("kind", KINDS)
def test_images_without_objects_stay_so(kind: Kind) -> None:
    steps = [{"name": "RandomCrop", "height": 50, "width": 50, "p": 1.0}]
    empty = applied(coloured(120, 160, [], kind), steps)
    assert (empty.boxes.shape, empty.class_ids.dtype) == ((0, 4), np.int64)
    assert empty.masks == (None if kind == "boxes" else [])
    lost = applied(coloured(120, 160, [(0, 0, 1, 1)], kind), steps)
    assert (len(lost.boxes), lost.masks) == (0, empty.masks)


def test_the_library_gets_rgb() -> None:
    shift = [{"name": "RGBShift", "r_shift_limit": [50, 50], "g_shift_limit": 0,
              "b_shift_limit": 0, "p": 1.0}]  # fmt: skip
    grey = Sample.unlabelled(np.full((4, 4, 3), 100, dtype=np.uint8))
    for color, red in (("RGB", [150, 100, 100]), ("BGR", [100, 100, 150])):
        step = build_albumentations(config(shift), InputSpec(color=color))  # type: ignore[arg-type]
        assert step is not None
        assert step(grey).image[0, 0].tolist() == red


def test_transforms_draw_numbers_of_their_own() -> None:
    flips = [{"name": "HorizontalFlip"}, {"name": "VerticalFlip"}]
    sample = coloured(120, 160, [(0, 0, 10, 10)], "boxes")
    corners = Counter(
        tuple(applied(sample, flips, seed).boxes.round()[0, :2].tolist()) for seed in range(80)
    )
    assert len(corners) == 4
    assert min(corners.values()) > 8


STEPS = [
    {"name": "HorizontalFlip"}, {"name": "GaussNoise"}, {"name": "ElasticTransform"},
    {"name": "SomeOf", "n": 1, "transforms": [{"name": "Blur"}, {"name": "RandomRotate90"}]},
]  # fmt: skip


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_a_resumed_run_gets_the_same_images(toy_dataset: Path, workers: int) -> None:
    whole = train_batches(toy_dataset, 0, albumentations=STEPS)
    late = train_batches(toy_dataset, 5, workers, albumentations=STEPS)
    assert all(same(one, other) for one, other in zip(whole[5:], late, strict=True))
    assert not same(whole[0], late[0])
    plain = train_batches(toy_dataset, 5)
    assert not any(same(one, other) for one, other in zip(plain, late, strict=True))


def test_16_bits_are_transformed_as_8_bits_are(toy_dataset: Path, tmp_path: Path) -> None:
    grey, deep = grey_copies(toy_dataset, tmp_path)
    usual = train_batches(grey, 8, albumentations=STEPS)
    windowed = train_batches(deep, 8, albumentations=STEPS, window=(900, 51900))
    assert all(same(one, other) for one, other in zip(usual, windowed, strict=True))


@pytest.mark.parametrize("data_format", ["yaml", "json"])
def test_a_saved_pipeline_is_kept_in_the_configuration(tmp_path: Path, data_format: str) -> None:
    one = A.OneOf([A.Blur(p=1), A.SafeRotate(p=1)], p=1)
    pipeline = A.Compose(
        [A.HorizontalFlip(p=1), one, A.PadIfNeeded(200, 200)], bbox_params=A.BboxParams("coco")
    )
    file = tmp_path / "saved"
    A.save(pipeline, file, data_format)
    loaded = load_train_config([f"augment.albumentations={file}", "hardware=cpu"])
    file.unlink()
    (stored,) = yaml.safe_load(yaml.safe_dump(loaded.model_dump(mode="json")))["augment"][
        "albumentations"
    ]
    assert (stored["name"], stored["p"]) == ("Sequential", 1.0)
    assert [item["name"] for item in stored["transforms"]] == [
        "HorizontalFlip", "OneOf", "PadIfNeeded"
    ]  # fmt: skip
    check_albumentations(config([stored]))
    sample = coloured(120, 160, BOXES, "polygons")
    assert applied(sample, [stored]).image.shape == (200, 200, 3)


def test_transforms_on_the_command_line() -> None:
    loaded = load_train_config(
        [
            "augment.albumentations=[{name: GaussNoise, p: 0.5, std_range: [0.1, 0.2]}]",
            "hardware=cpu",
        ]
    )
    assert loaded.augment.albumentations is not None
    (item,) = loaded.augment.albumentations
    assert item.model_dump(exclude_none=True) == {
        "name": "GaussNoise", "p": 0.5, "std_range": [0.1, 0.2],
    }  # fmt: skip


@pytest.mark.parametrize(("transform", "message"), [
    ({"name": "HorizontalFlop"},
     r"\[0\]: albumentations has no transform 'HorizontalFlop'. Did you mean 'HorizontalFlip'\?"),
    ({"name": "GaussNoise", "std_rang": [0, 1]},
     r"\[0\]: 'GaussNoise' has no argument 'std_rang'. Did you mean 'std_range'\?"),
    ({"name": "GaussNoise", "var_limit": 3},
     r"\[0\]: 'GaussNoise' has no argument 'var_limit'. It takes: std_range, "),
    ({"name": "GaussNoise", "std_range": [3, 4]},
     r"\[0\]: 'GaussNoise': std_range: All values in \(3.0, 4.0\) must be"),
    ({"name": "RandomCrop"}, r"\[0\]: 'RandomCrop': height: Field required; width: Field required"),
    ({"name": "OneOf", "transforms": [{"name": "Blur"}, {"name": "Blurr"}]},
     r"\[0\]\.transforms\[1\]: albumentations has no transform 'Blurr'. Did you mean 'Blur'\?"),
    ({"name": "Normalize", "p": 0.01}, r"\[0\]: the result has to be .* such as Normalize"),
    ({"name": "ToTensorV2"}, r"\[0\]: the result has to be an image of 8 bits"),
    ({"name": "RandomCrop", "height": 500, "width": 50, "p": 0.01},
     r"\[0\]: failed on an image of 320x320 px \(.*rop"),
    ({"name": "FDA"}, r"\[0\]: failed on an image of 320x320 px \(.*requires \['fda_metadata'\]"),
])  # fmt: skip
def test_what_cannot_be_used_is_named(transform: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=rf"^augment\.albumentations{message}"):
        check_albumentations(config([transform], image_size=320))


def test_all_mistakes_are_listed() -> None:
    with pytest.raises(ConfigError, match="2 problems") as caught:
        check_albumentations(config([{"name": "Blurr"}, {"name": "Blur"}, {"name": "ToFloat"}]))
    assert "[0]: albumentations has no" in str(caught.value)
    assert "[2]: the result has to" in str(caught.value)


def test_a_family_of_one_size_refuses_others(monkeypatch: pytest.MonkeyPatch) -> None:
    resize = config([{"name": "RandomScale", "scale_limit": 0.3}, {"name": "Blur"}])
    check_albumentations(resize)
    family = type("Square", (), {"input_spec": lambda self, config: InputSpec(resize="square")})()
    monkeypatch.setattr("detfinetune.data.albumentations.family_of", lambda name: family)
    with pytest.raises(ConfigError, match=r"\[0\]: 'RandomScale' changes the size of an image"):
        check_albumentations(resize)


def test_a_failure_in_training_names_key_and_size() -> None:
    crop = [{"name": "RandomCrop", "height": 200, "width": 50, "p": 1.0}]
    with pytest.raises(DataError, match=r"^augment\.albumentations: failed on .* 160x120 px"):
        applied(coloured(120, 160, [], "boxes"), crop)


@pytest.mark.parametrize(("value", "message"), [
    ("nowhere.yaml", r"^augment\.albumentations='nowhere\.yaml': cannot be read \(.*No such file"),
    ("list.yaml", r"should be a file as albumentations\.save writes it, or a list"),
    ("text.yaml", r"should be a file as albumentations\.save writes it, or a list"),
    ("broken.yaml", r"cannot be read"),
    ("[{p: 1}]", r"^augment\.albumentations\.0\.name.*required"),
    ("[{name: OneOf, transforms: [Blur]}]", r"^augment\.albumentations\.0\.transforms\.0='Blur'"),
])  # fmt: skip
def test_files_that_are_no_pipelines_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("list.yaml").write_text("- Blur\n")
    Path("text.yaml").write_text("transform: Blur\n")
    Path("broken.yaml").write_text("transform: [\n")
    with pytest.raises(ConfigError, match=message):
        load_train_config([f"augment.albumentations={value}", "hardware=cpu"])


def test_a_run_with_a_mistake_leaves_no_folder(toy_dataset: Path, tmp_path: Path) -> None:
    words = [
        f"data.root={toy_dataset}", f"output_dir={tmp_path / 'run'}", "hardware=cpu",
        "augment.albumentations=[{name: Normalize}]",
    ]  # fmt: skip
    with pytest.raises(ConfigError, match="Normalize"):
        train(load_train_config(words))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("library", [None, SimpleNamespace(Compose=object)], ids=["none", "old"])
def test_without_the_library_the_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, library: Any
) -> None:
    monkeypatch.setitem(sys.modules, "albumentations", library)
    check_albumentations(config(None))
    with pytest.raises(MissingExtraError, match=r"^augment\.albumentations needs .*\[albumenta"):
        check_albumentations(config([{"name": "Blur"}]))
