"""When validation runs."""

from __future__ import annotations

from collections.abc import Callable

from detectron2.engine import hooks


class Validate(hooks.EvalHook):  # type: ignore[misc]
    """Detectron2's hook, but after training only when every step was done.

    Detectron2 cannot tell a run that fails in its last step from one that has finished. When the
    evaluation after the last step fails, the hooks after this one are not called any more, so
    `save` is called here: training is done, whatever is wrong with the validation images.
    """

    def __init__(
        self,
        eval_period: int,
        evaluate: Callable[[], dict[str, float]],
        save: Callable[[], None],
    ) -> None:
        super().__init__(eval_period, evaluate)
        self._save = save

    def after_train(self) -> None:
        """Evaluate what training ended with."""
        if self.trainer.finished_steps != self.trainer.max_iter:
            return
        try:
            super().after_train()
        except Exception:
            self._save()
            raise
