"""What the calibrations that are fitted on votes share: nobody's own votes, and those of nobody's own speaker."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Annotated

import numpy as np
from annotated_types import Ge

from emoprobe.beliefs import crossfit, posthoc
from emoprobe.beliefs.calibrations.base import Calibrated, Calibration, Evidence
from emoprobe.options import Natural, NotNegative, ShareBelowOne, options

Transform = Callable[[np.ndarray], np.ndarray]
"""Log-probabilities ``[clips, labels]`` nats to calibrated ones; a row with NaN stays without a distribution."""


@options("calibration.{name}")
class FittedOnVotes(Calibration):
    """Fitted on votes, out of sample: on those of a development part, else on those of other speakers.

    A clip of a speaker without enough clips of others to fit on is ``not_fitted``, and counts as failed.

    Args:
        folds: Folds of speakers, where clips must lend each other their parameters.
        seed: Which speakers go together.
    """

    folds: Annotated[int, Ge(2)] = 5
    seed: Natural = 0

    @abstractmethod
    def fit(self, log_probs: np.ndarray, target: np.ndarray) -> Transform:
        """Fit on clips that all have a distribution.

        Args:
            log_probs: ``[clips, labels]`` nats.
            target: Soft labels ``[clips, labels]``.
        """

    def apply(self, evidence: Evidence) -> Calibrated:
        """Every clip's distribution under what was fitted on other clips."""
        frame, plain = evidence.targets.frame, evidence.plain
        ids = frame.index.to_list()
        speakers, splits = (frame[name].astype(object).tolist() for name in ("speaker", "split"))
        plan = crossfit.plan(ids, speakers, splits, folds=self.folds, seed=self.seed)
        log_probs, missing = cross_fitted(self.fit, plain.log_probs, evidence.targets.distribution, plan, ids)
        status = tuple(crossfit.NOT_FITTED if gone else old for gone, old in zip(missing, plain.status, strict=True))
        return Calibrated(replace(plain, log_probs=log_probs, status=status), plan.fitted_on)


@options("calibration.{name}")
class Scaling(FittedOnVotes):
    """``q = softmax(W log p + b)``, see `emoprobe.beliefs.posthoc`.

    Args:
        l2: Strength of the penalty.
        floor: Share of the uniform distribution mixed into distributions that hold a probability of zero, as written
            answers do.
    """

    l2: NotNegative = posthoc.SCALE_L2
    floor: ShareBelowOne = posthoc.FLOOR


def cross_fitted(
    fit: Callable[[np.ndarray, np.ndarray], Transform],
    log_probs: np.ndarray,
    target: np.ndarray,
    plan: crossfit.Plan,
    ids: Sequence[str],
) -> tuple[np.ndarray, np.ndarray]:
    """Every clip's distribution under parameters fitted on other clips.

    Args:
        fit: As `FittedOnVotes.fit`.
        log_probs: ``[clips, labels]`` nats; rows with NaN stay without a distribution.
        target: Soft labels ``[clips, labels]``.
        plan: Whose votes are used for whom, of the same clips.
        ids: Utterance of each clip.

    Returns:
        Log-probabilities ``[clips, labels]`` nats, and which clips have a distribution but no parameters, boolean
        ``[clips]``: too few clips of other speakers.
    """
    usable = posthoc.has_distribution(log_probs)
    result = np.full(log_probs.shape, np.nan)
    least = posthoc.least_clips(log_probs.shape[1])
    for part, _, transform in crossfit.fit_parts(plan, ids, usable, least, lambda i: fit(log_probs[i], target[i])):
        if transform is not None:
            result[part.apply] = transform(log_probs[part.apply])
    return result, usable & np.isnan(result).any(axis=1)
