"""The progress bar of training."""

from __future__ import annotations

from detectron2.engine import HookBase
from tqdm import tqdm

from detfinetune.console import progress


class ProgressBar(HookBase):  # type: ignore[misc]
    """Steps done, time left, the smoothed loss, the learning rate, the latest validation AP."""

    def __init__(self) -> None:
        self._bar: tqdm[None] | None = None
        self.latest_ap: str = ""

    def before_train(self) -> None:
        """Open the bar."""
        self._bar = progress(
            description="training",
            total=self.trainer.max_iter,
            initial=self.trainer.start_iter,
            unit="step",
        )

    def after_step(self) -> None:
        """Advance the bar."""
        if self._bar is None:
            return
        losses = self.trainer.storage.latest_with_smoothing_hint(20)
        parts = [
            f"{name.removeprefix('loss_')} {value:.2f}"
            for name, (value, _) in losses.items()
            if "loss" in name and name != "total_loss"
        ]
        total = losses.get("total_loss")
        rate = losses.get("lr")
        text = f"loss {total[0]:.2f} ({' '.join(parts)})" if total else ""
        text += f" lr {rate[0]:.1e}" if rate else ""
        self._bar.set_postfix_str(f"{text} {self.latest_ap}".strip(), refresh=False)
        self._bar.update()

    def after_train(self) -> None:
        """Close the bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
