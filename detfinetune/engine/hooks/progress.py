"""The progress bar of training."""

from __future__ import annotations

from detectron2.engine import HookBase
from tqdm import tqdm

from detfinetune.console import progress


class ProgressBar(HookBase):  # type: ignore[misc]
    """Shows steps, time left, smoothed losses, learning rate and the latest validation AP."""

    def __init__(self, description: str = "training") -> None:
        self._description = description
        self._bar: tqdm[None] | None = None
        self.latest_ap: str = ""

    def before_train(self) -> None:
        """Create the bar."""
        self._bar = progress(
            description=self._description,
            total=self.trainer.max_iter,
            initial=self.trainer.start_iter,
            unit="step",
        )

    def after_step(self) -> None:
        """Advance the bar."""
        if self._bar is None:
            return
        latest = self.trainer.storage.latest_with_smoothing_hint(20)
        figures = {name: value for name, (value, _) in latest.items()}
        if "total_loss" in figures:  # not before a step that was not skipped
            parts = [
                f"{name.removeprefix('loss_')} {value:.2f}"
                for name, value in figures.items()
                if name.startswith("loss_")
            ]
            texts = [f"loss {figures['total_loss']:.2f}", self.latest_ap, f"lr {figures['lr']:.1e}"]
            self._bar.set_postfix_str(", ".join(filter(None, [*texts, *parts])), refresh=False)
        self._bar.update()

    def after_train(self) -> None:
        """Close the bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
