"""Loaders whose order and random numbers depend only on the seed and the position.

A resumed run must see the same samples as an uninterrupted one. Detectron2's loader cannot ensure
that: each worker has one random stream, and images are grouped by aspect ratio in buffers that are
not in the checkpoint. Here the order is that of Detectron2's sampler, which can start at any
position, and each sample is seeded by (seed, position), whichever worker loads it.
"""

from __future__ import annotations

import itertools
import os
import random
import signal
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import cv2
import numpy as np
import torch
from detectron2.data import DatasetCatalog, DatasetFromList, MapDataset
from detectron2.data.samplers import InferenceSampler, RepeatFactorTrainingSampler, TrainingSampler
from detectron2.utils import comm
from torch.utils.data import BatchSampler, DataLoader, Dataset, Sampler
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from detfinetune.data.pipeline import Pipeline
from detfinetune.data.sample import Sample
from detfinetune.errors import DataError
from detfinetune.models.family import Batch, Packer

Position = tuple[int, int, int]
"""Position of a sample in the whole order, number of its process's batch, index of its record."""


def seed_everything(*numbers: int) -> None:
    """Seed numpy, random and torch from a combination of numbers."""
    words = np.random.SeedSequence(numbers).generate_state(2)
    random.seed(int(words[0]))
    np.random.seed(int(words[0]))  # Detectron2's augmentations draw from it
    torch.manual_seed(int(words[1]))


def build_train_loader(
    dataset_name: str,
    pipeline: Pipeline,
    *,
    images_per_batch: int,
    seed: int,
    accumulate: int = 1,
    start_iter: int = 0,
    num_workers: int = 0,
    repeat_threshold: float = 0.0,
    empty_share: float = 1.0,
) -> DataLoader[Any]:
    """Return an endless loader of batches that starts at step `start_iter`.

    `images_per_batch` is the total over all processes; each step takes `accumulate` batches.

    Raises:
        DataError: there are no images, or the batch cannot be divided among the processes.
    """
    records = DatasetCatalog.get(dataset_name)
    if not records:
        raise DataError(f"{dataset_name}: there are no images to train on. Check data.root.")
    per_process = images_per_process(images_per_batch, accumulate)
    factors = repeat_factors(records, repeat_threshold, empty_share)
    order: Sampler[int] = TrainingSampler(len(records), seed=seed)
    if factors is not None:
        order = RepeatFactorTrainingSampler(factors, seed=seed)
    sampler = _PositionSampler(order, start=start_iter * per_process, step_size=per_process)
    return DataErrorLoader(
        _SeededDataset(records, pipeline, seed),
        # torch's type hint for a batch sampler's items is int, but any key works.
        batch_sampler=BatchSampler(sampler, per_process // accumulate, drop_last=True),  # type: ignore[arg-type]
        num_workers=num_workers,
        collate_fn=pipeline.pack,
        worker_init_fn=_init_worker,
    )


def repeat_factors(
    records: list[dict[str, Any]], threshold: float, empty_share: float
) -> torch.Tensor | None:
    """Return how often each image is drawn in an epoch; None if each is drawn once.

    Args:
        records: Detectron2's records.
        threshold: images with a class that fewer than this share of images have are drawn more
            often (LVIS, arXiv:1908.03195).
        empty_share: images without objects are drawn more rarely, if more than this share of all
            that are drawn would be.
    """
    factors = torch.ones(len(records))
    if threshold > 0:
        factors = RepeatFactorTrainingSampler.repeat_factors_from_category_frequency(
            records, threshold
        )
    empty = torch.tensor([not record["annotations"] for record in records])
    limited = bool((1 - empty_share) * empty.sum() > empty_share * factors[~empty].sum())
    if limited:
        factors[empty] = empty_share / (1 - empty_share) * factors[~empty].sum() / empty.sum()
    return factors if limited or threshold > 0 else None


def build_test_loader(
    dataset_name: str,
    pipeline: Pipeline,
    *,
    images_per_batch: int = 1,
    num_workers: int = 0,
    labels: bool = False,
) -> DataLoader[Any]:
    """Return a loader of each image of a registered split, as (image ids, batch).

    With several processes, each process gets its part of the images. Without `labels`, batches have
    no objects.
    """
    records = DatasetCatalog.get(dataset_name)
    if not labels:
        records = [{**record, "annotations": []} for record in records]
    return DataErrorLoader(
        MapDataset(DatasetFromList(records, copy=False), pipeline.sample),
        batch_size=images_per_batch,
        sampler=InferenceSampler(len(records)),
        num_workers=num_workers,
        collate_fn=partial(_with_ids, pipeline.pack),
        worker_init_fn=_init_worker,
    )


def _with_ids(pack: Packer, samples: list[Sample]) -> tuple[list[int], Batch]:
    return [sample.image_id for sample in samples], pack(samples)


def images_per_process(images_per_batch: int, accumulate: int = 1) -> int:
    """Return the batch size per process.

    Raises:
        DataError: the batch cannot be divided evenly among processes and parts.
    """
    world: int = comm.get_world_size()
    if images_per_batch % (world * accumulate):
        parts = f" in solver.accumulate={accumulate} parts" if accumulate > 1 else ""
        raise DataError(
            f"solver.images_per_batch={images_per_batch} cannot be divided evenly among "
            f"{world} processes{parts}. Use a multiple of {world * accumulate}."
        )
    return images_per_batch // world


class DataErrorLoader(DataLoader[Any]):
    """A loader that raises a worker's `DataError` without the traceback torch adds to its text."""

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        """Yield the batches.

        Raises:
            DataError: an image cannot be read.
            RuntimeError: a worker is dead, as torch says it.
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
        except (ConnectionError, EOFError) as error:
            # It died while its batch was handed over.
            raise RuntimeError("DataLoader worker exited unexpectedly") from error
        finally:
            _end_workers(batches)
        # Raised outside the except block, so that torch's traceback is not its context.
        raise plain


def _end_workers(batches: Iterator[Any]) -> None:
    """Stop a torch iterator's workers now.

    torch stops them when the iterator is garbage-collected. A traceback that refers to it can delay
    that until Python exits, and torch then reports the workers as killed.
    """
    if isinstance(batches, _MultiProcessingDataLoaderIter):
        batches._shutdown_workers()


class _PositionSampler(Sampler[Position]):
    """This process's part of an endless sampler, with each sample's global position and step."""

    def __init__(self, order: Iterable[int], start: int, step_size: int) -> None:
        self.order = order
        self.start = start
        self.step_size = step_size

    def __iter__(self) -> Iterator[Position]:
        rank, world = comm.get_rank(), comm.get_world_size()
        indices = itertools.islice(iter(self.order), self.start, None)
        for place, index in enumerate(indices, start=self.start):
            yield place * world + rank, place // self.step_size * world + rank, index


class _SeededDataset(Dataset[Sample]):
    """Samples, augmented with random numbers that depend only on seed, position and batch."""

    def __init__(self, records: list[dict[str, Any]], pipeline: Pipeline, seed: int) -> None:
        # Detectron2's list serializes the records, so that workers share their memory.
        self.records = DatasetFromList(records, copy=False)
        self.pipeline = pipeline
        self.seed = seed

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, key: Position) -> Sample:
        position, batch, index = key
        seed_everything(self.seed, position)
        scale, orientation = np.random.default_rng((self.seed, batch)).random(2)
        return self.pipeline.sample(self.records[index], (scale, orientation))


def _init_worker(worker: int) -> None:
    """Limit a worker to one thread and shield it from Ctrl-C."""
    # Ctrl-C and most schedulers signal the whole process group, but the main process needs its
    # workers until it stops. SIGTERM must still end a worker: Python sends it at exit and waits.
    os.setpgrp()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
