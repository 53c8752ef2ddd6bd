"""Scores as probabilities: what maps a model's own scores to them is part of its checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit

# Between 0 and 1 and the numbers beside them in single precision, in which models give scores.
_LOWEST, _HIGHEST = 1e-46, 1 - 2**-25
# Enough to tell single-precision scores apart where the sigmoid rounds to 1 in double precision.
_OWN_SHARE = 1e-7


@dataclass(frozen=True)
class Calibration:
    """Maps scores to the probability that a detection is right: sigmoid(a * logit(score) + b).

    Platt's scaling ("Probabilistic outputs for support vector machines", 1999) on the logit, which
    leaves scores alone where a = 1 and b = 0. It keeps their order, without new ties.
    """

    a: float = 1.0
    """Above 0."""

    b: float = 0.0

    def __call__(self, scores: npt.ArrayLike) -> npt.NDArray[Any]:
        """Return calibrated scores, of the same shape; in double precision unless unchanged."""
        if self == UNCALIBRATED:
            return np.asarray(scores)
        own = np.asarray(scores, np.float64)
        probability: npt.NDArray[np.float64] = expit(self.a * log_odds(own) + self.b)
        return probability + _OWN_SHARE * (own - probability)


UNCALIBRATED = Calibration()
"""Leaves scores as they are, bit for bit."""


def log_odds(scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the logit of scores, finite for 0 and 1 too."""
    odds: npt.NDArray[np.float64] = logit(np.clip(scores, _LOWEST, _HIGHEST))
    return odds
