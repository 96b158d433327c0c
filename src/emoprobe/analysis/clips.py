"""Prompts that stand for several, and floors as cells of a predictions table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from emoprobe.metrics.floors import floors, vote_prior
from emoprobe.run.cell import EVALUATED_VOTES, KEYS
from emoprobe.run.predictions import check_columns, clips_of

if TYPE_CHECKING:
    import pandas as pd


def is_combination(prompt: str) -> bool:
    """Whether a prompt's name stands for several prompts: an ensemble, or the mean over a prompt's label orders."""
    return prompt.startswith("ensemble_") or "@mean(" in prompt


def floor_predictions(predictions: pd.DataFrame, utterances: pd.DataFrame, labels: Sequence[str]) -> pd.DataFrame:
    """The floors and the reference as cells, to go through the same functions as a model's.

    Args:
        predictions: ``predictions.parquet`` of a run.
        utterances: ``utterances.parquet`` of the run; the vote prior is that of its training part, where it has one,
            else that of the evaluated utterances.
        labels: Labels of the run, in order.

    Returns:
        Rows of a predictions table, ``readout`` being one of `emoprobe.metrics.floors.FLOORS`.

    Raises:
        InputError: A column is missing.
    """
    import pandas as pd

    clips = clips_of(predictions, labels)
    votes = [f"votes_{label}" for label in labels]
    check_columns(utterances, ["role", *votes], "utterances")
    training = utterances[utterances["role"] == "training"]
    prior_of = training if len(training) else clips
    source = "training votes" if len(training) else EVALUATED_VOTES
    target = clips[[f"target_{label}" for label in labels]].to_numpy(np.float64)
    counts = clips[votes].to_numpy(np.float64)
    fitted_on = {"prior": source, "majority": source, "one_hot_of_top_vote": EVALUATED_VOTES}
    parts = []
    made = floors(target, counts, prior=vote_prior(prior_of[votes].to_numpy(np.float64)))
    for name, pred in made.items():
        part = clips.reset_index().assign(
            **dict.fromkeys(KEYS, ""), fitted_on=fitted_on.get(name, ""), status="ok", label_mass=np.nan
        )
        part["readout"] = name
        part[[f"p_{label}" for label in labels]] = pred
        parts.append(part)
    return pd.concat(parts, ignore_index=True)
