"""All trackers of a run, none of which can end it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from detectron2.utils import comm

from detfinetune.console import warn
from detfinetune.engine.plan import TrainingPlan
from detfinetune.engine.run_folder import truncate_metrics
from detfinetune.engine.trackers.json_log import JsonLog
from detfinetune.engine.trackers.tracker import Status, TrackedRun, Tracker
from detfinetune.errors import first_line


class RunTrackers:
    """The run's own log and its trackers. A tracker that raises is left out from then on."""

    def __init__(self, plan: TrainingPlan, trackers: Mapping[str, Tracker]) -> None:
        self.status: Status = "failed"
        """Told to the trackers at the end."""
        self._plan = plan
        self._log = JsonLog(plan.run.metrics_file)
        self._trackers = dict(trackers)

    def start(self) -> None:
        """Forget metrics of steps that will be repeated, and start every tracker."""
        config, start_step = self._plan.config, self._plan.start_iter
        logged_step = truncate_metrics(self._plan.run, start_step)
        parameters = flattened(config.model_dump(mode="json"))
        run = TrackedRun(self._plan.run, config.data.name, parameters, start_step, logged_step)
        self._tell(lambda tracker: tracker.start(run))

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Log the metrics of a step.

        Raises:
            OSError: the run's own log cannot be written.
        """
        self._log.log(metrics, step)
        self._tell(lambda tracker: tracker.log(metrics, step))

    def keep_results(self) -> None:
        """Give the result files of a finished run to the trackers."""
        files = self._plan.run.result_files()
        self._tell(lambda tracker: tracker.artifacts(files))

    def end(self) -> None:
        """End every tracker."""
        self._tell(lambda tracker: tracker.end(self.status))

    def _tell(self, call: Callable[[Tracker], None]) -> None:
        for name, tracker in list(self._trackers.items()):
            try:
                call(tracker)
            except Exception as error:
                del self._trackers[name]
                warn(f"{name} failed, and the run goes on without it: {first_line(error)}")


@contextmanager
def tracked(plan: TrainingPlan, trackers: Mapping[str, Tracker]) -> Iterator[RunTrackers]:
    """Track a run in the main process until the block ends, which sets the status."""
    run_trackers = RunTrackers(plan, trackers if comm.is_main_process() else {})
    if comm.is_main_process():
        run_trackers.start()
    try:
        yield run_trackers
    except KeyboardInterrupt:
        run_trackers.status = "stopped"
        raise
    finally:
        run_trackers.end()


def flattened(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested values by dotted key."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        key = f"{prefix}{name}"
        flat |= flattened(value, f"{key}.") if isinstance(value, Mapping) else {key: value}
    return flat
