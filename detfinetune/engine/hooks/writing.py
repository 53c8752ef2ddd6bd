"""Log training metrics."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping

from detectron2.engine import HookBase

# A loss is logged as its median over as many steps.
_WINDOW = 20


class WriteMetrics(HookBase):  # type: ignore[misc]
    """Give new values of the trainer's storage to `log`, with the number of finished steps.

    Does so every `period` steps, after each validation, and when training ends. Must run before
    that step's checkpoint is saved: a resume does not repeat the validation.
    """

    def __init__(
        self, log: Callable[[Mapping[str, float], int], None], period: int, eval_period: int
    ) -> None:
        self._log = log
        self._periods = [period, eval_period] if eval_period else [period]
        self._logged = -1

    def after_step(self) -> None:
        """Log at the end of a period; what the last step adds is logged with its validation."""
        done = self.trainer.finished_steps
        if done < self.trainer.max_iter and any(done % period == 0 for period in self._periods):
            self._log_new()

    def after_train(self) -> None:
        """Log what is left."""
        self._log_new()

    def _log_new(self) -> None:
        latest = self.trainer.storage.latest_with_smoothing_hint(_WINDOW)
        new = {name: item for name, item in latest.items() if item[1] > self._logged}
        by_step: dict[int, dict[str, float]] = defaultdict(dict)
        for name, (value, iteration) in new.items():
            # The storage counts from 0; after the last step it stands at max_iter.
            by_step[min(iteration + 1, self.trainer.max_iter)][name] = value
        self._logged = max((iteration for _, iteration in new.values()), default=self._logged)
        for step in sorted(by_step):
            self._log(by_step[step], step)
