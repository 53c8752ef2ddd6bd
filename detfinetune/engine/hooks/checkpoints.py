"""Saving checkpoints during training."""

from __future__ import annotations

from collections.abc import Callable

from detectron2.engine import HookBase

from detfinetune.console import busy, warn
from detfinetune.errors import TrainingError


class SaveCheckpoints(HookBase):  # type: ignore[misc]
    """Call `save` every `period` steps, after each evaluation, and when training ends.

    After an error it saves the last finished step, except if training has diverged, or if the error
    (such as the signal of a killed worker) came while the weights were being updated. If the disk
    is full, training goes on until the next time; only at the end is it an error.
    """

    def __init__(self, save: Callable[[], None], period: int, eval_period: int) -> None:
        self._save = save
        self._period = period
        self._eval_period = eval_period
        self._saved_at = 0

    def before_train(self) -> None:
        """Know what is saved already."""
        self._saved_at = self.trainer.start_iter

    def after_step(self) -> None:
        """Save at the end of a period and after an evaluation."""
        done = self.trainer.finished_steps
        if done % self._period == 0 or (self._eval_period and done % self._eval_period == 0):
            try:
                self._save_step(done)
            except TrainingError as error:
                warn(f"step {done}: {error} Training goes on, and will try again.")

    def after_train(self) -> None:
        """Save the steps since.

        Raises:
            TrainingError: they cannot be written.
        """
        # The evaluation after the last step may have changed the best result: save again.
        done = self.trainer.finished_steps
        if self.trainer.diverged or not self.trainer.weights_consistent:
            return
        if done > 0 and (done != self._saved_at or done == self.trainer.max_iter):
            saved_at = self._saved_at
            try:
                self._save_step(done)
            except TrainingError as error:
                raise TrainingError(
                    f"{error} Step {done} is reached, but only {saved_at} are saved; a resume "
                    "repeats the others."
                ) from error

    def _save_step(self, done: int) -> None:
        with busy("saving the checkpoint"):
            self._save()
        self._saved_at = done
