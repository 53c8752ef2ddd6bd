"""Runs in MLflow, by default in mlflow.db and mlruns/ of the working directory.

`MLFLOW_TRACKING_URI` names another store or a server. The experiment is the name of the data set.
"""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

from detfinetune.console import say
from detfinetune.engine.trackers.tracker import Status, TrackedRun
from detfinetune.errors import MissingExtraError
from detfinetune.files import write_json

_STATUS = {"finished": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}


class MLflow:
    """Tracks with an `MlflowClient`, which leaves MLflow's global state to the user's program."""

    def __init__(self) -> None:
        try:
            # MLflow's small distribution lacks what the default store, SQLite, needs.
            import alembic  # noqa: F401
            import mlflow
            import sqlalchemy  # noqa: F401
        except ImportError as error:
            raise MissingExtraError("mlflow", "trackers=[mlflow]") from error
        self._mlflow = mlflow

    def start(self, run: TrackedRun) -> None:
        """Create a run, or continue the one that mlflow.json names, where it is stored."""
        self._folder, self._last_step = run.folder.path, 0
        known_file = run.folder.path / "mlflow.json"
        known = json.loads(known_file.read_text(encoding="utf-8")) if known_file.is_file() else {}
        uri = None  # the user's, which may hold a password: not kept
        if not self._mlflow.is_tracking_uri_set():
            uri = known.get("tracking_uri") or self._mlflow.get_tracking_uri()
        # Before a server is asked, which takes minutes if it is down.
        say(f"mlflow: experiment {run.project}, {uri or 'MLFLOW_TRACKING_URI'}")
        with warnings.catch_warnings():
            # SQLAlchemy deprecates what MLflow's tables use.
            warnings.simplefilter("ignore", DeprecationWarning)
            self._client = self._mlflow.MlflowClient(uri)
        if known:
            self._id = known["run_id"]
            points = self._client.get_metric_history(self._id, "lr")
            self._last_step = max((point.step for point in points), default=0)
            self._client.update_run(self._id, status="RUNNING")
        else:
            self._id = self._create(run)
            write_json(known_file, {"tracking_uri": uri, "run_id": self._id})

    def _create(self, run: TrackedRun) -> str:
        """Create a run with its parameters, and the experiment if there is none; return its id."""
        experiment = self._client.get_experiment_by_name(run.project)
        number = experiment.experiment_id if experiment else None
        number = number or self._client.create_experiment(run.project)
        created = self._client.create_run(number, run_name=run.folder.path.name)
        param = self._mlflow.entities.Param
        parameters = [param(key, str(value)) for key, value in run.parameters.items()]
        self._client.log_batch(created.info.run_id, params=parameters)
        return str(created.info.run_id)

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Add a point to each curve, unless they have one: MLflow would draw a second."""
        if step > self._last_step:
            metric, now = self._mlflow.entities.Metric, int(time.time() * 1000)
            points = [metric(name, value, now, step) for name, value in metrics.items()]
            self._client.log_batch(self._id, metrics=points)

    def artifacts(self, files: Sequence[Path]) -> None:
        """Copy files into the artifact store, in folders as in the run's."""
        for file in files:
            folder = file.relative_to(self._folder).parent
            self._client.log_artifact(self._id, str(file), str(folder) if folder.name else None)

    def end(self, status: Status) -> None:
        """Set the run's status."""
        self._client.set_terminated(self._id, _STATUS[status])
