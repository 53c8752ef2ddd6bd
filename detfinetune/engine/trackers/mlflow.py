"""Runs in MLflow, by default in mlflow.db and mlruns/ of the working directory.

`MLFLOW_TRACKING_URI` names another store or a server. The experiment is the name of the data set.
"""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path

from detfinetune.engine.trackers.tracker import Status, TrackedRun
from detfinetune.errors import MissingExtraError
from detfinetune.files import write_json

_STATUS = {"finished": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}
_MOST_PARAMETERS = 100  # in a request


class MLflow:
    """Tracks with an `MlflowClient`, which leaves MLflow's global state to the user's program."""

    def __init__(self) -> None:
        try:
            # MLflow's small distribution lacks what the default store, SQLite, needs.
            import alembic  # noqa: F401
            import mlflow  # noqa: F401
            import sqlalchemy  # noqa: F401
        except ImportError as error:
            raise MissingExtraError("mlflow", "trackers=[mlflow]") from error

    def start(self, run: TrackedRun) -> None:
        """Create a run, or continue the one that mlflow.json names, where it is stored."""
        import mlflow
        from mlflow.entities import Param

        self._folder, self._last_step = run.folder.path, 0
        known_file = run.folder.path / "mlflow.json"
        known = json.loads(known_file.read_text(encoding="utf-8")) if known_file.is_file() else {}
        uri = mlflow.get_tracking_uri()
        if known and not mlflow.is_tracking_uri_set():
            uri = known["tracking_uri"]
        with warnings.catch_warnings():
            # SQLAlchemy deprecates what MLflow's tables use.
            warnings.simplefilter("ignore", DeprecationWarning)
            self._client = mlflow.MlflowClient(uri)
        if known:
            self._id = known["run_id"]
            points = self._client.get_metric_history(self._id, "lr")
            self._last_step = max((point.step for point in points), default=0)
            self._client.update_run(self._id, status="RUNNING")
            return
        experiment = self._client.get_experiment_by_name(run.project)
        number = experiment.experiment_id if experiment else None
        number = number or self._client.create_experiment(run.project)
        self._id = self._client.create_run(number, run_name=run.folder.path.name).info.run_id
        parameters = (Param(key, str(value)) for key, value in run.parameters.items())
        while batch := list(islice(parameters, _MOST_PARAMETERS)):
            self._client.log_batch(self._id, params=batch)
        write_json(known_file, {"tracking_uri": uri, "run_id": self._id})

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Add a point to each curve, unless they have one: MLflow would draw a second."""
        from mlflow.entities import Metric

        if step > self._last_step:
            now = int(time.time() * 1000)
            points = [Metric(name, value, now, step) for name, value in metrics.items()]
            self._client.log_batch(self._id, metrics=points)

    def artifacts(self, files: Sequence[Path]) -> None:
        """Copy files into the artifact store, in folders as in the run's."""
        for file in files:
            folder = file.relative_to(self._folder).parent
            self._client.log_artifact(self._id, str(file), str(folder) if folder.name else None)

    def end(self, status: Status) -> None:
        """Set the run's status."""
        self._client.set_terminated(self._id, _STATUS[status])
