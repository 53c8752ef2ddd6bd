"""Saving checkpoints/last.pth during training."""

from __future__ import annotations

from collections.abc import Callable

from detectron2.engine import HookBase


class SaveLast(HookBase):  # type: ignore[misc]
    """Call `save` every `period` steps, after each evaluation, and when training ends.

    After an error it saves the last finished step, except if training has diverged, or if the error
    (such as the signal of a killed worker) came while the weights were being updated.
    """

    def __init__(self, save: Callable[[], None], period: int, eval_period: int) -> None:
        self._save = save
        self._period = period
        self._eval_period = eval_period
        self._saved_at = -1

    def after_step(self) -> None:
        """Save at the end of a period and after an evaluation."""
        done = self.trainer.finished_steps
        if done % self._period == 0 or (self._eval_period and done % self._eval_period == 0):
            self._save()
            self._saved_at = done

    def after_train(self) -> None:
        """Save the steps since."""
        # The evaluation after the last step may have changed the best result: save again.
        done = self.trainer.finished_steps
        if self.trainer.diverged or not self.trainer.weights_consistent:
            return
        if done > 0 and (done != self._saved_at or done == self.trainer.max_iter):
            self._save()
