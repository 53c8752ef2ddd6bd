"""The order and the random numbers of training depend on the seed and the position alone."""

from __future__ import annotations

import gc
import itertools
import multiprocessing
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog
from PIL import Image

from detfinetune.config.resolved import RunAugment
from detfinetune.config.schema import DataConfig
from detfinetune.data import loaders
from detfinetune.data.augment import Augment, build_augmentations, build_resize
from detfinetune.data.load import LoadSample
from detfinetune.data.loaders import TrainLoader, build_test_loader, repeat_factors
from detfinetune.data.pipeline import Pipeline
from detfinetune.data.register import register_split
from detfinetune.data.sample import Sample
from detfinetune.errors import DataError
from detfinetune.labels.dataset.labelled_dataset import LabelledDataset
from detfinetune.labels.dataset.statistics import DatasetStatistics
from detfinetune.labels.prepare import prepare_dataset
from detfinetune.models.family import InputSpec, Packer
from detfinetune.models.rcnn.pack import pack

TEST_SIZE = RunAugment(image_size=64, max_size=100, crop_size=0)


@pytest.fixture
def dataset(toy_dataset: Path) -> LabelledDataset:
    return prepare_dataset(DataConfig(root=toy_dataset))


def train_steps(masks: bool = False, packer: Packer = list) -> Pipeline:
    """The steps of training; without a packer, batches are lists of samples."""
    augment = RunAugment(
        image_size=96, max_size=160, crop_size=64, flip="both", rotate90=True
    )  # fmt: skip
    steps = build_augmentations(augment, InputSpec())
    return Pipeline(LoadSample("RGB", masks), Augment(steps, 0.3), packer)


def eval_steps(masks: bool = False, packer: Packer = pack) -> Pipeline:
    """The steps of evaluation."""
    resize = build_resize(TEST_SIZE, InputSpec())
    return Pipeline(LoadSample("RGB", masks), Augment([resize]), packer)


def batches(
    dataset: LabelledDataset, first: int, last: int, *, accumulate: int = 1, **options: Any
) -> list[list[Sample]]:
    loader = TrainLoader(loader_name(dataset), train_steps(), images_per_batch=4, seed=7, **options)
    return list(itertools.islice(loader.batches(first, accumulate), (last - first) * accumulate))


def same(one: list[Sample], other: list[Sample]) -> bool:
    return all(
        a.image_id == b.image_id
        and np.array_equal(a.image, b.image)
        and np.array_equal(a.boxes, b.boxes)
        and np.array_equal(a.class_ids, b.class_ids)
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


@pytest.mark.parametrize("workers", [0, 2])
def test_a_step_in_parts_has_the_same_images(dataset: LabelledDataset, workers: int) -> None:
    whole = batches(dataset, 5, 9)
    parts = batches(dataset, 5, 9, accumulate=2, num_workers=workers)
    assert [len(part) for part in parts] == [2] * 8
    for step, one in enumerate(whole):
        assert same(one, [*parts[2 * step], *parts[2 * step + 1]])


def test_images_of_a_step_have_one_shape(dataset: LabelledDataset) -> None:
    augment = RunAugment(image_size=96, max_size=160, crop_size=0, rotate90=True)
    load = LoadSample("RGB", False)

    def load_upper_part(record: dict[str, Any]) -> Sample:
        sample = load(record)
        return replace(sample, image=sample.image[:64])

    steps = Pipeline(load_upper_part, Augment(build_augmentations(augment, InputSpec())), list)
    loader = TrainLoader(register_split(dataset, "train"), steps, images_per_batch=4, seed=7)
    parts = list(itertools.islice(loader.batches(accumulate=2), 24))
    shapes = [
        {sample.image.shape for part in parts[first : first + 2] for sample in part}
        for first in range(0, 24, 2)
    ]
    assert all(len(shape) == 1 for shape in shapes)
    heights, widths, _ = zip(*(next(iter(shape)) for shape in shapes), strict=True)
    assert len(set(heights)) > 5
    assert {h > w for h, w in zip(heights, widths, strict=True)} == {True, False}


def test_a_step_that_cannot_be_divided_into_parts_names_the_key(dataset: LabelledDataset) -> None:
    with pytest.raises(DataError, match=r"images_per_batch=4 cannot .* in solver\.accumulate=3 p"):
        batches(dataset, 0, 1, accumulate=3)


def test_repeat_factor_sampling_can_be_entered_late_too(dataset: LabelledDataset) -> None:
    whole = batches(dataset, 0, 9, repeat_threshold=1.0)
    late = batches(dataset, 5, 9, repeat_threshold=1.0)
    assert all(same(one, other) for one, other in zip(whole[5:], late, strict=True))


def test_repeat_factors() -> None:
    def factors(*contents: str, threshold: float = 0.0, share: float = 1.0) -> list[float] | None:
        records = [{"annotations": [{"category_id": c} for c in text]} for text in contents]
        found = repeat_factors(records, threshold, share)
        return None if found is None else found.tolist()

    assert factors("a", "a", "", share=0.5) is None
    assert factors("a", "", "", "") is None
    # As many empty ones as others, a third as many, none.
    assert factors("a", "", "", "", share=0.5) == pytest.approx([1, 1 / 3, 1 / 3, 1 / 3])
    assert factors("a", "", "", "", share=0.25) == pytest.approx([1, 1 / 9, 1 / 9, 1 / 9])
    assert factors("a", "", share=0.0) == [1, 0]
    # Class b is in a quarter of the images, so that one is drawn twice as often.
    assert factors("a", "a", "ab", "", threshold=1.0) == pytest.approx([1.1547, 1.1547, 2, 1])
    assert factors("a", "b", "", "", "", "", "", "", threshold=0.5, share=0.5) == pytest.approx(
        [2, 2, *6 * [2 / 3]]
    )


def test_few_empty_images_are_drawn_if_few_are_wanted(dataset: LabelledDataset) -> None:
    seen = [sample for batch in batches(dataset, 0, 60, empty_share=0.1) for sample in batch]
    empty = [sample.image_id for sample in seen if sample.image_id % 5 == 0]
    assert 0.05 < len(empty) / len(seen) < 0.15
    # Not always the same ones; and a late start sees the same as an early one.
    assert len(set(empty)) == 4
    late = [sample for batch in batches(dataset, 20, 60, empty_share=0.1) for sample in batch]
    assert same(seen[80:], late)


def test_each_image_is_seen_once_a_pass(dataset: LabelledDataset) -> None:
    ids = [sample.image_id for batch in batches(dataset, 0, 6) for sample in batch]
    assert len(ids) == len(set(ids)) == 24


def test_empty_images_stay_as_negatives(dataset: LabelledDataset) -> None:
    counts = [len(sample.boxes) for batch in batches(dataset, 0, 6) for sample in batch]
    assert counts.count(0) >= 4


def test_masks_and_boxes_agree_after_augmentation(dataset: LabelledDataset) -> None:
    name = register_split(dataset, "train")
    loader = TrainLoader(name, train_steps(True, pack), images_per_batch=4, seed=0)
    seen = 0
    for batch in itertools.islice(loader.batches(), 6):
        for item in batch:
            masks = item["instances"].gt_masks if len(item["instances"]) else None
            if masks is not None:
                torch.testing.assert_close(
                    masks.get_bounding_boxes().tensor, item["instances"].gt_boxes.tensor
                )
                seen += len(masks)
    assert seen > 20


def test_the_samples_of_a_step_can_be_had_again(dataset: LabelledDataset) -> None:
    loader = TrainLoader(loader_name(dataset), train_steps(), images_per_batch=4, seed=7)
    files, samples = zip(*loader.samples(5), strict=True)
    assert same(batches(dataset, 5, 6)[0], list(samples))
    records = {record["image_id"]: record for record in DatasetCatalog.get(loader_name(dataset))}
    assert list(files) == [records[sample.image_id]["file_name"] for sample in samples]


def loader_name(dataset: LabelledDataset) -> str:
    return register_split(dataset, "train")


@pytest.fixture
def copy(toy_dataset: Path, tmp_path: Path) -> tuple[Path, LabelledDataset]:
    """Folder of the training images of a data set that can be damaged, and the data set."""
    folder = tmp_path / "copy"
    shutil.copytree(toy_dataset, folder)
    return folder / "images" / "train", prepare_dataset(DataConfig(root=folder))


def test_an_image_that_cannot_be_read_is_replaced_and_named_once(
    copy: tuple[Path, LabelledDataset], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, dataset = copy
    sound = batches(dataset, 0, 12)
    (folder / "train 003.png").unlink()
    truncated = folder / "train 007.png"
    truncated.write_bytes(truncated.read_bytes()[:2000])
    gone = {
        record["image_id"]
        for record in DatasetCatalog.get(loader_name(dataset))
        if record["file_name"].endswith(("train 003.png", "train 007.png"))
    }
    capsys.readouterr()
    found = batches(dataset, 0, 12)
    replaced = 0
    for one, other in zip(itertools.chain(*sound), itertools.chain(*found), strict=True):
        # Its neighbours are what they were, whatever had to be drawn for it.
        assert same([one], [other]) or one.image_id in gone
        assert other.image_id not in gone
        replaced += one.image_id in gone
    # In two passes.
    assert replaced == 4
    errors = capsys.readouterr().err
    assert errors.count("warning: ") == errors.count("Training goes on with another image") == 2
    assert errors.count("train 003.png: the image cannot be read (No such file") == 1
    assert errors.count("train 007.png: the image") == 1
    for workers in (1, 2):
        late = batches(dataset, 4, 12, num_workers=workers)
        assert all(same(one, other) for one, other in zip(found[4:], late, strict=True))


@pytest.mark.parametrize("workers", [0, 2])
def test_too_many_images_that_cannot_be_read_are_an_error(
    copy: tuple[Path, LabelledDataset], workers: int, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, dataset = copy
    broken = sorted(folder.iterdir())[:11]
    for file in broken[1:]:
        file.unlink()
    assert len(batches(dataset, 0, 18, num_workers=workers)) == 18
    broken[0].unlink()
    with pytest.raises(DataError) as caught:
        batches(dataset, 0, 18, num_workers=workers)
    assert "11 training images cannot be read. A run goes on without 10, not more." in str(
        caught.value
    )
    assert str(caught.value).startswith(str(folder))
    assert capsys.readouterr().err.count("cannot be read") == 20


@pytest.mark.parametrize("workers", [0, 2])
def test_images_that_are_long_in_coming_are_reported(
    dataset: LabelledDataset,
    workers: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Slow first, then as from a network share that does not answer any more."""
    monkeypatch.setattr(loaders, "_SLOW_SECONDS", 0.5)
    monkeypatch.setattr(loaders, "_STALLED_SECONDS", 3)
    load, seconds = LoadSample("RGB", False), {8: 1.0, 16: 3600.0 if workers else 1.0}
    counted = itertools.count()

    def load_slowly(record: dict[str, Any]) -> Sample:
        time.sleep(seconds.get(next(counted) * max(workers, 1), 0.0))
        return load(record)

    steps = replace(train_steps(), load=load_slowly)
    loader = TrainLoader(
        loader_name(dataset), steps, images_per_batch=4, seed=7, num_workers=workers
    )
    found = loader.batches()
    capsys.readouterr()
    start = time.monotonic()
    if workers:
        with pytest.raises(DataError, match="have loaded no image for 3 seconds") as caught:
            list(itertools.islice(found, 8))
        assert "hardware.num_workers=0" in str(caught.value)
        assert time.monotonic() - start < 60
        assert not multiprocessing.active_children()
    else:
        assert len(list(itertools.islice(found, 8))) == 8
    assert "warning: no image was loaded for 0.5 seconds." in capsys.readouterr().err


@pytest.mark.parametrize("at_once", [1, 3])
def test_the_test_loader_gives_each_image_once_with_its_own_size(
    dataset: LabelledDataset, at_once: int
) -> None:
    name = register_split(dataset, "val")
    loader = build_test_loader(name, eval_steps(), images_per_batch=at_once)
    assert len(loader) == -(-8 // at_once)
    found = list(loader)
    assert [len(ids) for ids, _ in found] == [len(batch) for _, batch in found]
    assert {len(ids) for ids, _ in found[:-1]} == {at_once}
    assert [id_ for ids, _ in found for id_ in ids] == [
        record["image_id"] for record in DatasetCatalog.get(name)
    ]
    items = [item for _, batch in found for item in batch]
    assert [item["image"].shape for item in items] == [(3, 64, 64)] * 8
    assert {(item["height"], item["width"]) for item in items} == {(96, 96)}
    assert [len(item["instances"]) for item in items] == [0] * 8


@pytest.mark.parametrize("masks", [False, True])
def test_the_test_loader_gives_labels_where_losses_are_wanted(
    dataset: LabelledDataset, masks: bool
) -> None:
    name = register_split(dataset, "val")
    loader = build_test_loader(
        name, eval_steps(masks, list), images_per_batch=8, num_workers=1, labels=True
    )
    ((ids, samples),) = list(loader)
    records = {record["image_id"]: record for record in DatasetCatalog.get(name)}
    counted = 0
    for image_id, sample in zip(ids, samples, strict=True):
        annotations = records[image_id]["annotations"]
        wanted = [[x, y, x + w, y + h] for x, y, w, h in (item["bbox"] for item in annotations)]
        # From 96 to 64 pixels. A box is that of its outline where there are masks.
        np.testing.assert_allclose(
            sample.boxes, np.reshape(wanted, (-1, 4)) * 2 / 3, atol=0.5 if masks else 1e-9
        )
        assert sample.class_ids.tolist() == [item["category_id"] for item in annotations]
        assert (sample.masks is not None) is masks
        assert not masks or len(sample.masks or ()) == len(annotations)
        counted += len(annotations)
    assert counted > 15


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
        list(build_test_loader(name, eval_steps()))


def test_a_truncated_image_names_the_file(toy_dataset: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(toy_dataset, folder)
    dataset = prepare_dataset(DataConfig(root=folder))
    victim = folder / "images" / "val" / "val 003.png"
    victim.write_bytes(victim.read_bytes()[:2000])
    with pytest.raises(DataError, match=r"val 003\.png: the image cannot be read"):
        list(build_test_loader(register_split(dataset, "val"), eval_steps()))


def test_statistics(dataset: LabelledDataset) -> None:
    statistics = DatasetStatistics(dataset.tables["train"], 2)
    assert (statistics.num_images, len(statistics.object_sizes)) == (24, 60)
    assert len(statistics.boxes) == len(statistics.box_image_sizes) == 60
    assert sum(statistics.objects_of_class) == 60
    assert all(0 < count <= 24 for count in statistics.images_of_class)
    assert statistics.fullest_image == statistics.objects_per_image[-1] == 3
    assert sum(statistics.objects_per_image) == 60
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
    batches = iter(build_test_loader(register_split(dataset, "val"), eval_steps(), num_workers=2))
    next(batches)
    assert len(multiprocessing.active_children()) == 2
    if broken:
        with pytest.raises(DataError) as caught:
            list(batches)
        assert "val 003.png" in str(caught.value)
    else:
        batches.close()  # type: ignore[attr-defined]
    assert not multiprocessing.active_children()
