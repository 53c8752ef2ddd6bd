"""Train with several seeds, one after the other, to know how far the figures spread."""

from __future__ import annotations

import json
import shutil
import statistics
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from detectron2.utils import comm

from detfinetune.config.schema import TrainConfig
from detfinetune.console import command_line, say, table
from detfinetune.engine.distributed import process_group, run_on_main
from detfinetune.engine.plan import resumed_config
from detfinetune.engine.run_folder import RunFolder, locked, new_run_folder, read_run_config
from detfinetune.engine.train import TrainResult, train
from detfinetune.files import write_json, write_text
from detfinetune.models.checkpoint import SEEDS_FILE, find_checkpoint, read_checkpoint


@dataclass(frozen=True)
class Spread:
    """A figure over several runs, on 0-100."""

    mean: float
    std: float | None
    """Of a sample; None for a single run."""

    least: float
    most: float

    @classmethod
    def of(cls, values: list[float]) -> Spread:
        """Return the spread of at least one value."""
        std = statistics.stdev(values) if len(values) > 1 else None
        return cls(statistics.mean(values), std, min(values), max(values))


@dataclass(frozen=True, kw_only=True)
class SeedsResult(TrainResult):
    """The results of several seeds. What every `TrainResult` has is of the best run on val."""

    folder: Path
    """Holds the folders of the runs, seeds.json and seeds.txt."""

    runs: tuple[TrainResult, ...]
    """By seed; without those that were not begun."""

    spread: dict[str, dict[str, Spread]]
    """AP and AP50 of the finished runs, by split."""


def train_config(config: TrainConfig) -> TrainResult:
    """Train a run or, with `config.seeds`, several, whose results are a `SeedsResult`.

    Raises:
        DetFinetuneError: a problem the user can fix; files already written are kept.
    """
    if config.resume is not None and (config.resume / SEEDS_FILE).is_file():
        stored = json.loads((config.resume / SEEDS_FILE).read_text(encoding="utf-8"))
        return _train_seeds(config, stored["seeds"])
    if config.seeds > 1:
        return _train_seeds(config, list(range(config.seed, config.seed + config.seeds)))
    return train(config)


def _train_seeds(config: TrainConfig, seeds: list[int]) -> SeedsResult:
    device = config.hardware.device
    if config.resume is not None:
        device = read_run_config(_run_of(config.resume, seeds[0])).hardware.device
    with process_group(device):
        folder = config.resume or run_on_main(lambda: new_run_folder(config)).path
        runs: list[TrainResult] = []
        with locked(RunFolder(folder)):
            for seed in seeds:
                run_on_main(lambda: _write_results(folder, seeds))
                if comm.is_main_process():
                    say(f"\nseed {seed}, {len(runs) + 1} of {len(seeds)}")
                runs.append(_train_seed(config, folder, seeds, seed))
                if not runs[-1].finished:
                    break
            spread = run_on_main(lambda: _write_results(folder, seeds))
        finished = runs[-1].finished
        if comm.is_main_process():
            _print_end(folder, finished)
    best = max(runs, key=lambda run: run.best.value if run.best else 0.0)
    return SeedsResult(
        run=best.run,
        finished=finished,
        iteration=best.iteration,
        best=best.best,
        evaluations=best.evaluations,
        stopped_by=runs[-1].stopped_by,
        folder=folder,
        runs=tuple(runs),
        spread=spread,
    )


def _run_of(folder: Path, seed: int) -> RunFolder:
    return RunFolder(folder / f"seed_{seed}")


def _train_seed(config: TrainConfig, folder: Path, seeds: list[int], seed: int) -> TrainResult:
    """Begin or resume the run of a seed, or return what it was when it is finished."""
    run = _run_of(folder, seed)
    like = None if seed == seeds[0] else _run_of(folder, seeds[0])

    def what_is_left() -> TrainConfig | None:
        if run.results_file.is_file() and config.solver.max_iter is None:
            return None
        if run.config_file.is_file():
            return config.model_copy(update={"resume": run.path})
        shutil.rmtree(run.path, ignore_errors=True)  # stopped while it was made
        # The choices of the first run, whatever has changed on this machine since.
        own = config if like is None else resumed_config(read_run_config(like), config)
        changes = {"seed": seed, "seeds": 1, "output_dir": run.path, "resume": None}
        return own.model_copy(update=changes)

    left = run_on_main(what_is_left)
    if left is not None:
        return train(left, like)
    stored = read_checkpoint(find_checkpoint(run.path, "last"))
    return TrainResult(run.path, finished=True, iteration=stored.iteration, best=stored.best)


def _write_results(folder: Path, seeds: list[int]) -> dict[str, dict[str, Spread]]:
    """Write seeds.json and seeds.txt; return the spread by split and figure."""
    runs = {seed: _figures(_run_of(folder, seed)) for seed in seeds}
    values: dict[str, dict[str, list[float]]] = {}
    for figures in runs.values():
        for split, by_name in figures.items():
            for name, value in by_name.items():
                values.setdefault(split, {}).setdefault(name, []).append(value)
    spread = {
        split: {name: Spread.of(found) for name, found in by_name.items()}
        for split, by_name in values.items()
    }
    columns = [(split, name) for split in spread for name in spread[split]]
    rows: list[list[object]] = []
    for seed, figures in runs.items():
        cells = [figures.get(split, {}).get(name) for split, name in columns]
        rows.append([seed, *cells, str(_run_of(folder, seed).path)])
    for kind in fields(Spread):
        rows.append([kind.name, *(getattr(spread[s][name], kind.name) for s, name in columns), ""])
    headers = ["seed", *(f"{split} {name}" for split, name in columns), "run"]
    write_text(folder / "seeds.txt", table(rows, headers) + "\n")
    shown = {s: {name: asdict(figure) for name, figure in spread[s].items()} for s in spread}
    write_json(folder / SEEDS_FILE, {"seeds": seeds, "runs": runs, "spread": shown})
    return spread


def _figures(run: RunFolder) -> dict[str, dict[str, float]]:
    """Return AP and AP50 of a finished run's task by split; empty for another run."""
    if not run.results_file.is_file():
        return {}
    results = json.loads(run.results_file.read_text(encoding="utf-8"))
    results.pop("checkpoint")
    main = {split: tasks.get("segm", tasks.get("bbox", {})) for split, tasks in results.items()}
    return {
        split: {name: figures[name] for name in ("AP", "AP50") if figures.get(name) is not None}
        for split, figures in main.items()
    }


def _print_end(folder: Path, finished: bool) -> None:
    say(f"\n{(folder / 'seeds.txt').read_text(encoding='utf-8')}")
    if not finished:
        say(
            "Resume this seed and train the others with:\n"
            f"  {command_line('train')} resume={folder}"
        )
