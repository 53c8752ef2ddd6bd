"""Saving checkpoints/last.pth during training."""

from __future__ import annotations

from collections.abc import Callable

from detectron2.engine import HookBase


class SaveLast(HookBase):  # type: ignore[misc]
    """Call `save` every `period` steps, after each evaluation, and whenever training ends.

    It also saves when training ends by an error, those of the last finished step, unless training
    has diverged: then an earlier checkpoint is worth more. What comes from outside, such as the
    signal that a loader's process was killed, may find the weights half changed: it does not save
    those either.
    """

    def __init__(self, save: Callable[[], None], period: int, eval_period: int) -> None:
        self._save = save
        self._period = period
        self._eval_period = eval_period
        self._saved_at = -1

    def after_step(self) -> None:
        """Save when it is time."""
        done = self.trainer.finished_steps
        if done % self._period == 0 or (self._eval_period and done % self._eval_period == 0):
            self._save()
            self._saved_at = done

    def after_train(self) -> None:
        """Save what has been done since."""
        # The evaluation after the last step may have found a new best, so save again then.
        done = self.trainer.finished_steps
        if self.trainer.diverged or not self.trainer.weights_sound:
            return
        if done > 0 and (done != self._saved_at or done == self.trainer.max_iter):
            self._save()
