"""Fit a calibration of scores on val, and measure how far scores are from probabilities."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import expit

from detfinetune.evaluation.metrics import Matches
from detfinetune.models.calibration import UNCALIBRATED, Calibration, log_odds

_BINS = 10


def fit_calibration(matches: Matches) -> Calibration:
    """Fit the probability that a detection matches an object of its class at IoU 0.5.

    By maximum likelihood with Platt's targets, (n + 1) / (n + 2) and 1 / (n + 2) instead of 1 and
    0, so that few detections do not make it sure. `UNCALIBRATED` if all detections are right or
    all are wrong, or if higher scores are not more often right.
    """
    scores, right = _counted(matches)
    if right.all() or not right.any():
        return UNCALIBRATED
    hits, misses = np.count_nonzero(right), np.count_nonzero(~right)
    targets = np.where(right, (hits + 1) / (hits + 2), 1 / (misses + 2))
    inputs = np.stack([log_odds(scores), np.ones(len(scores))])
    fit = minimize(
        lambda ab: np.mean(np.logaddexp(0, ab @ inputs) - targets * (ab @ inputs)),
        (UNCALIBRATED.a, UNCALIBRATED.b),
        jac=lambda ab: inputs @ (expit(ab @ inputs) - targets) / len(targets),
        hess=lambda ab: inputs * expit(ab @ inputs) * expit(-ab @ inputs) @ inputs.T / len(targets),
        method="trust-exact",
        tol=1e-9,
    )
    a, b = fit.x.tolist()
    return Calibration(a, b) if a > 0 else UNCALIBRATED


def calibration_error(matches: Matches) -> float | None:
    """Return the expected calibration error, 0-1; None without detections.

    That is the mean distance of score and share of true positives, in ten bins of equal width that
    count by their detections (Guo et al., "On calibration of modern neural networks", 2017).
    """
    scores, right = _counted(matches)
    if not len(scores):
        return None
    bins = np.minimum((scores * _BINS).astype(np.int64), _BINS - 1)
    return float(np.abs(np.bincount(bins, scores - right)).sum() / len(scores))


def _counted(matches: Matches) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Return score and correctness of the detections that are not on crowd regions."""
    counted = ~matches.ignored
    return matches.score[counted], matches.true_positive[counted]
