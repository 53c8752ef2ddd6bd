"""Writing figures of training to files."""

from __future__ import annotations

from detectron2.engine import hooks
from detectron2.utils.events import EventWriter


class WriteMetrics(hooks.PeriodicWriter):  # type: ignore[misc]
    """Detectron2's hook, which writes each validation at once as well.

    It must come before the checkpoint of that step: a resume from there does not validate again.
    """

    def __init__(self, writers: list[EventWriter], period: int, eval_period: int) -> None:
        super().__init__(writers, period=period)
        self._eval_period = eval_period

    def after_step(self) -> None:
        """Write when it is time."""
        super().after_step()
        done = self.trainer.finished_steps
        if self._eval_period and done % self._eval_period == 0 and done % self._period:
            for writer in self._writers:
                writer.write()
