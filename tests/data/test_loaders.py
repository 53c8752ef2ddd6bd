"""The order and the random numbers of training depend on the seed and the position alone."""

from __future__ import annotations

import gc
import itertools
import multiprocessing
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from detfinetune.data.mapper import TrainMapper
from PIL import Image

from detfinetune.config.schema import AugmentConfig, DataConfig
from detfinetune.data.augment import build_augmentations
from detfinetune.data.loaders import build_test_loader, build_train_loader
from detfinetune.data.register import register_split
from detfinetune.errors import DataError
from detfinetune.labels.dataset.labelled_dataset import LabelledDataset
from detfinetune.labels.dataset.statistics import table_statistics
from detfinetune.labels.prepare import prepare_dataset


@pytest.fixture
def dataset(toy_dataset: Path) -> LabelledDataset:
    return prepare_dataset(DataConfig(root=toy_dataset))


def mapper(mask_format: Any = None) -> TrainMapper:
    augment = AugmentConfig(image_size=96, max_size=160, crop_size=64, flip="both", rotate90=True)
    return TrainMapper(build_augmentations(augment), "RGB", mask_format, 0.3)


def batches(dataset: LabelledDataset, first: int, last: int, **options: Any) -> list[Any]:
    name = register_split(dataset, "train")
    loader = build_train_loader(
        name, mapper(), images_per_batch=4, seed=7, start_iter=first, **options
    )
    return list(itertools.islice(loader, last - first))


def same(one: list[dict[str, Any]], other: list[dict[str, Any]]) -> bool:
    return all(
        a["file_name"] == b["file_name"]
        and torch.equal(a["image"], b["image"])
        and torch.equal(a["instances"].gt_boxes.tensor, b["instances"].gt_boxes.tensor)
        for a, b in zip(one, other, strict=True)
    )


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_a_loader_entered_late_gives_what_an_early_one_gives_then(
    dataset: LabelledDataset, workers: int
) -> None:
    whole = batches(dataset, 0, 9)
    late = batches(dataset, 5, 9, num_workers=workers)
    assert all(same(one, other) for one, other in zip(whole[5:], late, strict=True))
    assert not same(whole[0], late[0])


def test_repeat_factor_sampling_can_be_entered_late_too(dataset: LabelledDataset) -> None:
    whole = batches(dataset, 0, 9, repeat_threshold=1.0)
    late = batches(dataset, 5, 9, repeat_threshold=1.0)
    assert all(same(one, other) for one, other in zip(whole[5:], late, strict=True))


def test_each_image_is_seen_once_a_pass(dataset: LabelledDataset) -> None:
    names = [item["file_name"] for batch in batches(dataset, 0, 6) for item in batch]
    assert len(names) == len(set(names)) == 24


def test_empty_images_stay_as_negatives(dataset: LabelledDataset) -> None:
    counts = [len(item["instances"]) for batch in batches(dataset, 0, 6) for item in batch]
    assert counts.count(0) >= 4


def test_masks_and_boxes_agree_after_augmentation(dataset: LabelledDataset) -> None:
    name = register_split(dataset, "train")
    loader = build_train_loader(name, mapper("polygon"), images_per_batch=4, seed=0)
    seen = 0
    for batch in itertools.islice(loader, 6):
        for item in batch:
            masks = item["instances"].gt_masks if len(item["instances"]) else None
            if masks is not None:
                torch.testing.assert_close(
                    masks.get_bounding_boxes().tensor, item["instances"].gt_boxes.tensor
                )
                seen += len(masks)
    assert seen > 20


def test_the_test_loader_gives_each_image_once_with_its_own_size(
    dataset: LabelledDataset,
) -> None:
    name = register_split(dataset, "val")
    items = [item for batch in build_test_loader(name, 64, 100, "RGB") for item in batch]
    assert [item["image"].shape for item in items] == [(3, 64, 64)] * 8
    assert {(item["height"], item["width"]) for item in items} == {(96, 96)}


def test_an_unknown_split_gets_the_nearest_name(dataset: LabelledDataset) -> None:
    with pytest.raises(DataError, match=r"has no split 'tets'\. Did you mean 'test'"):
        register_split(dataset, "tets")


def test_an_image_of_another_size_than_its_json_names_file_and_remedy(
    toy_dataset: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(toy_dataset, folder)
    dataset = prepare_dataset(DataConfig(root=folder))
    Image.new("RGB", (50, 60)).save(folder / "images" / "val" / "val 003.png")
    name = register_split(dataset, "val")
    with pytest.raises(DataError, match=r"val 003\.png: the image has 50x60 px, but had 96x96"):
        list(build_test_loader(name, 64, 100, "RGB"))


def test_a_truncated_image_names_the_file(toy_dataset: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(toy_dataset, folder)
    dataset = prepare_dataset(DataConfig(root=folder))
    victim = folder / "images" / "val" / "val 003.png"
    victim.write_bytes(victim.read_bytes()[:2000])
    with pytest.raises(DataError, match=r"val 003\.png: the image cannot be read"):
        list(build_test_loader(register_split(dataset, "val"), 64, 100, "RGB"))


def test_statistics(dataset: LabelledDataset) -> None:
    statistics = table_statistics(dataset.tables["train"])
    assert (statistics.num_images, len(statistics.object_sizes)) == (24, 60)
    assert statistics.fullest_image == 3
    assert statistics.median_side == 96
    assert 18 / 96 <= statistics.object_sizes[0] <= statistics.object_sizes[-1] <= 30 / 96


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Keep the cyclic collector from ending by luck what should be ended on purpose."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("broken", [True, False])
def test_workers_end_with_the_loop_whatever_ends_it(
    toy_dataset: Path, tmp_path: Path, broken: bool
) -> None:
    """A worker that lives until Python exits is reported by torch as killed."""
    folder = tmp_path / "copy"
    shutil.copytree(toy_dataset, folder)
    dataset = prepare_dataset(DataConfig(root=folder))
    if broken:
        (folder / "images" / "val" / "val 003.png").unlink()
    batches = iter(build_test_loader(register_split(dataset, "val"), 64, 100, "RGB", num_workers=2))
    next(batches)
    assert len(multiprocessing.active_children()) == 2
    if broken:
        with pytest.raises(DataError) as caught:
            list(batches)
        assert "val 003.png" in str(caught.value)
    else:
        batches.close()  # type: ignore[attr-defined]
    assert not multiprocessing.active_children()
