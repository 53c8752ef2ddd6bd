"""Loaders whose order and random numbers depend on the seed and the position alone.

A run that is killed and resumed must see what the uninterrupted run would have seen. Detectron2's
own loader cannot: it draws from one random stream for each worker, and groups images by aspect
ratio in buffers that no checkpoint holds. Here the sample order is Detectron2's sampler, entered
at any position, and each sample is seeded by (seed, position), whichever worker makes it.
"""

from __future__ import annotations

import itertools
import os
import random
import signal
from collections.abc import Iterable, Iterator
from typing import Any

import cv2
import numpy as np
import torch
from detectron2.data import DatasetCatalog, DatasetFromList, MapDataset
from detectron2.data.samplers import InferenceSampler, RepeatFactorTrainingSampler, TrainingSampler
from detectron2.utils import comm
from torch.utils.data import BatchSampler, DataLoader, Dataset, Sampler
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from detfinetune.data.mapper import MaskFormat, TestMapper, TrainMapper
from detfinetune.errors import DataError

Position = tuple[int, int]


def seed_everything(*numbers: int) -> None:
    """Seed numpy, random and torch from several numbers together."""
    words = np.random.SeedSequence(numbers).generate_state(2)
    random.seed(int(words[0]))
    np.random.seed(int(words[0]))  # Detectron2's augmentations draw from it
    torch.manual_seed(int(words[1]))


def build_train_loader(
    dataset_name: str,
    mapper: TrainMapper,
    *,
    images_per_batch: int,
    seed: int,
    start_iter: int = 0,
    num_workers: int = 0,
    repeat_threshold: float = 0.0,
) -> DataLoader[Any]:
    """Return an endless loader of batches (lists of input dicts), entered at `start_iter`.

    `images_per_batch` counts over all processes.

    Raises:
        DataError: there are no images, or the batch cannot be shared among the processes.
    """
    records = DatasetCatalog.get(dataset_name)
    if not records:
        raise DataError(f"{dataset_name}: no images to train on.")
    share = batch_share(images_per_batch)
    if repeat_threshold > 0:
        factors = RepeatFactorTrainingSampler.repeat_factors_from_category_frequency(
            records, repeat_threshold
        )
        order: Sampler[int] = RepeatFactorTrainingSampler(factors, seed=seed)
    else:
        order = TrainingSampler(len(records), seed=seed)
    sampler = _PositionSampler(order, start=start_iter * share)
    return PlainErrors(
        _SeededDataset(records, mapper, seed),
        # torch types a batch sampler's items as int, though any key will do.
        batch_sampler=BatchSampler(sampler, share, drop_last=True),  # type: ignore[arg-type]
        num_workers=num_workers,
        collate_fn=_as_list,
        worker_init_fn=_one_thread,
    )


def build_test_loader(
    dataset_name: str,
    image_size: int,
    max_size: int,
    image_format: str,
    num_workers: int = 0,
) -> DataLoader[Any]:
    """Return a loader that gives each image of a registered split once, one a batch.

    Under several processes each gets its share.
    """
    records = DatasetCatalog.get(dataset_name)
    return PlainErrors(
        MapDataset(
            DatasetFromList(records, copy=False), TestMapper(image_size, max_size, image_format)
        ),
        sampler=InferenceSampler(len(records)),
        num_workers=num_workers,
        collate_fn=_as_list,
        worker_init_fn=_one_thread,
    )


def batch_share(images_per_batch: int) -> int:
    """Return how many images of a batch each process takes.

    Raises:
        DataError: the batch cannot be shared evenly.
    """
    world: int = comm.get_world_size()
    if images_per_batch % world:
        raise DataError(
            f"solver.images_per_batch={images_per_batch} cannot be shared among {world} "
            f"processes; make it a multiple of {world}."
        )
    return images_per_batch // world


def mask_format_of(dataset_name: str) -> MaskFormat:
    """Return `bitmask` when a registered split holds RLE masks, else `polygon`."""
    for record in DatasetCatalog.get(dataset_name):
        for annotation in record["annotations"]:
            rle = isinstance(annotation.get("segmentation"), dict)
            if rle and not annotation.get("iscrowd", 0):
                return "bitmask"
    return "polygon"


class PlainErrors(DataLoader[Any]):
    """A loader whose workers' data errors arrive as they were raised there.

    torch puts the worker's traceback into the message.
    """

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        """Give the batches.

        Raises:
            DataError: an image cannot be read.
        """
        batches = super().__iter__()
        try:
            yield from batches
            return
        except DataError as error:
            marker = f"{type(error).__name__}: "
            text = str(error)
            plain = type(error)(
                text.rsplit(marker, 1)[-1].strip() if "Original Traceback" in text else text
            )
        finally:
            _end_workers(batches)
        # Not raised above: the user has no use for torch's traceback as its context.
        raise plain


def _end_workers(batches: Iterator[Any]) -> None:
    """End a torch iterator's workers now.

    torch ends them when its iterator is collected, which an error's traceback, or a cycle in it,
    can put off until Python exits; their end is then reported as a failure.
    """
    if isinstance(batches, _MultiProcessingDataLoaderIter):
        batches._shutdown_workers()


class _PositionSampler(Sampler[Position]):
    """This process's part of an endless sampler, with each sample's position in the whole."""

    def __init__(self, order: Iterable[int], start: int) -> None:
        self.order = order
        self.start = start

    def __iter__(self) -> Iterator[Position]:
        rank, world = comm.get_rank(), comm.get_world_size()
        indices = itertools.islice(iter(self.order), self.start, None)
        for step, index in enumerate(indices, start=self.start):
            yield step * world + rank, index


class _SeededDataset(Dataset[dict[str, Any]]):
    """Records, mapped with random numbers that depend on (seed, position) alone."""

    def __init__(self, records: list[dict[str, Any]], mapper: TrainMapper, seed: int) -> None:
        # Detectron2's list keeps records serialised, so that workers share the memory.
        self.records = DatasetFromList(records, copy=False)
        self.mapper = mapper
        self.seed = seed

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, key: Position) -> dict[str, Any]:
        position, index = key
        seed_everything(self.seed, position)
        return self.mapper(self.records[index])


def _as_list(batch: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return batch


def _one_thread(worker: int) -> None:
    """Keep a worker from taking the cores that training needs, and from dying before it ends."""
    # Ctrl-C and most schedulers signal a whole process group; the main process decides when to
    # stop and needs its workers until then. SIGTERM must still end a worker: Python's exit sends
    # it, and waits.
    os.setpgrp()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
