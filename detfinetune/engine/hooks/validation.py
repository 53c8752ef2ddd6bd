"""Validation during and after training."""

from __future__ import annotations

from detectron2.engine import hooks


class Validate(hooks.EvalHook):  # type: ignore[misc]
    """Detectron2's hook, except that the final evaluation requires that every step was finished.

    Detectron2 does not distinguish a run that fails in its last step from a finished one.
    """

    def after_train(self) -> None:
        """Evaluate if training has finished."""
        if self.trainer.finished_steps == self.trainer.max_iter:
            super().after_train()
