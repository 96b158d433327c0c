"""Small tables of predictions, written by hand."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

KEYS = ("model", "prompt", "readout", "variant", "calibration")
LABELS = ["anger", "joy", "calm"]


def make_cell(
    pred,
    votes,
    *,
    labels=LABELS,
    speakers=None,
    ids=None,
    split=None,
    fitted_on="",
    status=None,
    mass=np.nan,
    seconds=None,
    **key,
) -> pd.DataFrame:
    """Rows of a predictions table for one cell; ``pred`` and ``votes`` are ``[utterances, labels]``."""
    pred, votes = np.asarray(pred, dtype=float), np.asarray(votes, dtype=float)
    size = len(votes)
    names = {"model": "m", "prompt": "p", "readout": "label_likelihood", "variant": "sum", "calibration": "none", **key}
    frame = pd.DataFrame({"utterance_id": ids or [f"u{i:03d}" for i in range(size)], **names, "fitted_on": fitted_on})
    frame["speaker"] = speakers if speakers is not None else [f"s{i}" for i in range(size)]
    frame["split"] = split
    frame["num_raters"] = pd.array(votes.sum(axis=1), dtype="Float64")
    frame["duration_seconds"] = np.arange(size) + 1.0 if seconds is None else seconds
    failed = np.isnan(pred).any(axis=1)
    frame["status"] = status if status is not None else np.where(failed, "unparsed", "ok")
    frame["label_mass"], frame["generated_text"] = mass, None
    shares = votes / votes.sum(axis=1, keepdims=True)
    for prefix, values in (("p", pred), ("target", shares), ("votes", votes)):
        frame[[f"{prefix}_{label}" for label in labels]] = values
    return frame


def make_utterances(predictions: pd.DataFrame, facts) -> pd.DataFrame:
    """The human side of the utterances of a predictions table; ``facts`` is one mapping per utterance."""
    clips = predictions.drop_duplicates("utterance_id")
    kept = [c for c in clips if c.startswith(("target_", "votes_")) or c in ("utterance_id", "speaker", "split")]
    return clips[kept].assign(role="evaluated", metadata=[json.dumps(fact) for fact in facts])


@pytest.fixture
def cell():
    """`make_cell`."""
    return make_cell


@pytest.fixture
def human():
    """`make_utterances`."""
    return make_utterances


@pytest.fixture
def random_cells():
    """A table of several cells on the same utterances: ``random_cells(size, keys, failures=0, seed=0, labels=6)``."""

    def make(size, keys, *, failures=0.0, seed=0, labels=6, speakers=12):
        rng = np.random.default_rng(seed)
        names = [f"label{i}" for i in range(labels)]
        votes = np.stack([rng.multinomial(rng.integers(3, 13), p) for p in rng.dirichlet(np.ones(labels), size)])
        who = [f"s{i}" for i in rng.integers(speakers, size=size)]
        parts = []
        for key in keys:
            pred = rng.dirichlet(np.ones(labels), size)
            pred[rng.random(size) < failures] = np.nan
            parts.append(make_cell(pred, votes, labels=names, speakers=who, **key))
        return pd.concat(parts, ignore_index=True), names

    return make
