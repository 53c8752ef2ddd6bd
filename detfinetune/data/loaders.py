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
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import replace
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

from detfinetune.console import after, busy, warn
from detfinetune.data.pipeline import Pipeline
from detfinetune.data.sample import Sample
from detfinetune.errors import DataError
from detfinetune.models.family import Batch, Packer
from detfinetune.parallel import end_with_parent

Position = tuple[int, int, int]
"""Position of a sample in the whole order, number of its process's batch, index of its record."""

# Images, or a share of all, that may be damaged or vanish while a run goes on.
_FEW_UNREADABLE = 10
_SHARE_UNREADABLE = 0.01
# Without a batch for so long, loading is reported, and with worker processes ends with an error.
_SLOW_SECONDS = 120
_STALLED_SECONDS = 600


def seed_everything(*numbers: int) -> None:
    """Seed numpy, random and torch from a combination of numbers."""
    words = np.random.SeedSequence(numbers).generate_state(2)
    random.seed(int(words[0]))
    np.random.seed(int(words[0]))  # Detectron2's augmentations draw from it
    torch.manual_seed(int(words[1]))


class TrainLoader:
    """Batches of training images from any step on, endless.

    An image that cannot be read is reported once, and another one, which depends only on seed and
    position, takes its place.

    Attributes:
        images_per_process: of a step, in all its parts.
        unreadable: files of images that could not be read so far.
    """

    def __init__(
        self,
        dataset_name: str,
        pipeline: Pipeline,
        *,
        images_per_batch: int,
        seed: int,
        num_workers: int = 0,
        repeat_threshold: float = 0.0,
        empty_share: float = 1.0,
        unreadable: Iterable[str] = (),
    ) -> None:
        """Initialize the loader; `images_per_batch` is the total over all processes.

        Raises:
            DataError: there are no images, or the batch cannot be divided among the processes.
        """
        records = DatasetCatalog.get(dataset_name)
        if not records:
            raise DataError(f"{dataset_name}: there are no images to train on. Check data.root.")
        self._images_per_batch = images_per_batch
        self.images_per_process = images_per_process(images_per_batch)
        self.unreadable = set(unreadable)
        self._allowed = max(_FEW_UNREADABLE, int(_SHARE_UNREADABLE * len(records)))
        self._dataset = _SeededDataset(records, pipeline, seed, self._allowed)
        self._num_workers = num_workers
        self._order: Sampler[int] = TrainingSampler(len(records), seed=seed)
        factors = repeat_factors(records, repeat_threshold, empty_share)
        if factors is not None:
            self._order = RepeatFactorTrainingSampler(factors, seed=seed)

    def batches(self, start_iter: int = 0, accumulate: int = 1) -> Generator[Batch, None, None]:
        """Yield the batches from step `start_iter` on, `accumulate` for each step.

        Raises:
            DataError: the batch cannot be divided, or too many images cannot be read.
        """
        size = images_per_process(self._images_per_batch, accumulate) // accumulate
        loader = DataErrorLoader(
            self._dataset,
            # torch's type hint for a batch sampler's items is int, but any key works.
            batch_sampler=BatchSampler(self._positions(start_iter), size, drop_last=True),  # type: ignore[arg-type]
            num_workers=self._num_workers,
            collate_fn=partial(_with_unreadable, self._dataset.pipeline.pack),
            worker_init_fn=_init_worker,
        )
        with closing(iter(loader)) as batches:
            for unreadable, batch in batches:
                self._report(unreadable)
                yield batch

    def samples(self, step: int) -> list[tuple[str, Sample]]:
        """Load what this process trains on in a step again: image files with their samples."""
        files = {record["image_id"]: record["file_name"] for record in self._dataset.records}
        positions = itertools.islice(self._positions(step), self.images_per_process)
        samples = [self._dataset[position][0] for position in positions]
        return [(files[sample.image_id], sample) for sample in samples]

    def _positions(self, start_iter: int) -> _PositionSampler:
        size = self.images_per_process
        return _PositionSampler(self._order, start=start_iter * size, step_size=size)

    def _report(self, unreadable: dict[str, str]) -> None:
        for file, problem in unreadable.items():
            if file in self.unreadable:
                continue
            self.unreadable.add(file)
            if len(self.unreadable) > self._allowed:
                raise DataError(
                    f"{problem}\n{len(self.unreadable)} training images cannot be read. A run goes "
                    f"on without {self._allowed}, not more."
                )
            warn(f"{problem}\n  Training goes on with another image in its place.")


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


def _with_unreadable(
    pack: Packer, loaded: list[tuple[Sample, dict[str, str]]]
) -> tuple[dict[str, str], Batch]:
    unreadable = {file: text for _, failed in loaded for file, text in failed.items()}
    return unreadable, pack([sample for sample, _ in loaded])


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
    """A loader that raises a worker's `DataError` without the traceback torch adds to its text.

    It says when images are long in coming.
    """

    def __init__(self, dataset: Dataset[Any], *, num_workers: int, **options: Any) -> None:
        super().__init__(
            dataset,
            num_workers=num_workers,
            timeout=_STALLED_SECONDS if num_workers else 0,
            **options,
        )

    def __iter__(self) -> Generator[Any, None, None]:  # type: ignore[override]
        """Yield the batches.

        Raises:
            DataError: an image cannot be read, or loading has stalled.
            RuntimeError: a worker is dead, as torch says it.
        """
        batches = super().__iter__()
        try:
            with busy("loading the first images"):
                batch = next(batches, None)
            while batch is not None:
                yield batch
                with after(_SLOW_SECONDS, _report_slow):
                    batch = next(batches, None)
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
        except RuntimeError as error:
            if "DataLoader timed out" not in str(error):
                raise
            plain = DataError(
                f"The worker processes have loaded no image for {self.timeout:.0f} seconds. Check "
                "that the disk or network share with the images answers, or rerun with "
                "hardware.num_workers=0."
            )
        finally:
            _end_workers(batches)
        # Raised outside the except block, so that torch's traceback is not its context.
        raise plain


def _report_slow() -> None:
    warn(
        f"no image was loaded for {_SLOW_SECONDS} seconds. The disk or network share with the "
        "images may not answer, or the machine may be overloaded; waiting"
    )


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


class _SeededDataset(Dataset[tuple[Sample, dict[str, str]]]):
    """Samples, augmented with random numbers that depend only on seed, position and batch.

    With each come the files that could not be read for it, with what is wrong.
    """

    def __init__(
        self, records: list[dict[str, Any]], pipeline: Pipeline, seed: int, attempts: int
    ) -> None:
        # Detectron2's list serializes the records, so that workers share their memory.
        self.records = DatasetFromList(records, copy=False)
        self.pipeline = replace(pipeline, load=self._load_any)
        self.seed = seed
        self._load = pipeline.load
        self._attempts = attempts
        self._unreadable: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, key: Position) -> tuple[Sample, dict[str, str]]:
        position, batch, index = key
        seed_everything(self.seed, position)
        scale, orientation = np.random.default_rng((self.seed, batch)).random(2)
        self._unreadable = {}
        sample = self.pipeline.sample(self.records[index], (scale, orientation))
        return sample, self._unreadable

    def _load_any(self, record: dict[str, Any]) -> Sample:
        """Load a record, or one drawn at random instead if it cannot be read."""
        for _ in range(self._attempts):
            try:
                return self._load(record)
            except DataError as error:
                self._unreadable[record["file_name"]] = str(error)
            record = self.records[np.random.randint(len(self.records))]
        return self._load(record)


def _init_worker(worker: int) -> None:
    """Limit a worker to one thread and shield it from Ctrl-C."""
    # Ctrl-C and most schedulers signal the whole process group, but the main process needs its
    # workers until it stops. SIGTERM must still end a worker: Python sends it at exit and waits.
    os.setpgrp()
    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
