"""Distributions over labels, and how several become one. Pure functions, no model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from emoprobe.errors import InputError


@dataclass(frozen=True)
class Distributions:
    """Distributions of one cell, in the order of its rows.

    Args:
        log_probs: Natural logarithms, ``[utterances, labels]``; a row without a distribution is NaN.
        status: ``ok`` or why there is none, per utterance.
        label_mass: Probability that the answer is one of the labels at all, ``[utterances]``; of written answers the
            share of what is written that is on labels, NaN where nothing can be read.
        share_parsed: Of drawn answers, the share that states a distribution, ``[utterances]``.
    """

    log_probs: np.ndarray
    status: tuple[str, ...]
    label_mass: np.ndarray | None = None
    share_parsed: np.ndarray | None = None

    @property
    def probs(self) -> np.ndarray:
        """Probabilities, ``[utterances, labels]``."""
        return np.exp(self.log_probs)

    def undefined(self) -> Distributions:
        """The same cell without a distribution anywhere: what was to make them could not be carried out."""
        nothing = np.full_like(self.log_probs, np.nan)
        return replace(self, log_probs=nothing, status=("undefined",) * len(nothing))


def pool_forms(scores: np.ndarray, form_labels: Sequence[str], labels: Sequence[str]) -> np.ndarray:
    """Log-score of each label: log-sum-exp over its surface forms, ``[rows, forms]`` -> ``[rows, labels]``."""
    from scipy.special import logsumexp

    owner = np.array([labels.index(label) for label in form_labels])
    return np.stack([logsumexp(scores[:, owner == i], axis=1) for i in range(len(labels))], axis=1)


def over_labels(scores: np.ndarray, form_labels: Sequence[str], labels: Sequence[str]) -> Distributions:
    """``P(label | audio, prompt, the answer is a label)``: softmax over labels of the log-sum-exp over forms.

    Args:
        scores: Log-score of every surface form, ``[rows, forms]`` nats.
        form_labels: Label of each form.
        labels: Labels in order.

    >>> scores = np.log([[0.1, 0.2, 0.1]])
    >>> over_labels(scores, ["happy", "happy", "sad"], ["happy", "sad"]).probs.round(3).tolist()
    [[0.75, 0.25]]
    """
    from scipy.special import log_softmax

    pooled = pool_forms(scores, form_labels, labels)
    return Distributions(log_softmax(pooled, axis=1), ("ok",) * len(pooled))


def ensemble(members: Sequence[Distributions], kind: str) -> Distributions:
    """Combine the distributions that several prompts gave for the same utterances, in the same order.

    Args:
        members: One per prompt.
        kind: ``arithmetic``: mean of probabilities; ``geometric``: renormalised mean of log-probabilities.

    A row is left without a distribution (``undefined``) unless every member has one.
    """
    from scipy.special import logsumexp

    logs = np.stack([member.log_probs for member in members])
    if kind == "arithmetic":
        combined = logsumexp(logs, axis=0) - np.log(len(members))
    elif kind == "geometric":
        mean = logs.mean(axis=0)
        # Labels that some member excludes everywhere leave nothing to renormalise.
        combined = np.where(np.isfinite(mean).any(axis=1, keepdims=True), mean, np.nan)
        combined = combined - logsumexp(combined, axis=1, keepdims=True)
    else:
        raise InputError(f"unknown ensemble {kind!r}", field="ensembles", remedy="Use arithmetic or geometric.")
    status = tuple("undefined" if np.isnan(row).any() else "ok" for row in combined)
    return Distributions(combined, status)
