"""When validation runs."""

from __future__ import annotations

from detectron2.engine import hooks


class Validate(hooks.EvalHook):  # type: ignore[misc]
    """Detectron2's hook, but after training only when every step was done.

    Detectron2 cannot tell a run that fails in its last step from one that has finished.
    """

    def after_train(self) -> None:
        """Evaluate what training ended with."""
        if self.trainer.finished_steps == self.trainer.max_iter:
            super().after_train()
