"""Write training metrics to files."""

from __future__ import annotations

from detectron2.engine import hooks
from detectron2.utils.events import EventWriter


class WriteMetrics(hooks.PeriodicWriter):  # type: ignore[misc]
    """Detectron2's hook, which also writes after each validation.

    Must run before that step's checkpoint is saved: a resume does not repeat the validation.
    """

    def __init__(self, writers: list[EventWriter], period: int, eval_period: int) -> None:
        super().__init__(writers, period=period)
        self._eval_period = eval_period

    def after_step(self) -> None:
        """Write at the end of a period and after a validation."""
        super().after_step()
        done = self.trainer.finished_steps
        if self._eval_period and done % self._eval_period == 0 and done % self._period:
            for writer in self._writers:
                writer.write()
