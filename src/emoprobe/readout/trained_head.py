"""The rows of a trained head, whatever its name: labels stand where a prompt's surface forms would."""

from __future__ import annotations

import json
from functools import partial

import pyarrow as pa

from emoprobe.beliefs.reading import Reading
from emoprobe.errors import InputError
from emoprobe.labels import LabelSet
from emoprobe.readout.base import READOUTS, Stored
from emoprobe.readout.label_likelihood import MASS, SUMS, label_likelihood
from emoprobe.run.cell import EVALUATED_VOTES

HEAD = "head"
"""Option of a trained head's rows, and of no other's: its configuration."""
KNOWS_VOTES = "knows_votes"
"""Option of a trained head's rows: it was trained on some of the evaluated clips, or on their speakers."""


class TrainedHead(Stored):
    """A trained head's distributions of clips, as log-probabilities of the labels; it asks nothing of null inputs."""

    columns = (SUMS, MASS)
    plain = "trained"

    @classmethod
    def read(cls, rows: pa.Table, labels: LabelSet, options: None) -> list[Reading]:
        """The head's distributions, and whether it is judged on what it was trained on."""
        knows_votes = any(options.get(KNOWS_VOTES) for options in _options(rows))
        fitted_on = EVALUATED_VOTES if knows_votes else ""
        derive = partial(label_likelihood, labels=labels.labels)
        return [Reading(cls.plain, derive, clips_only=True, fitted_on=fitted_on)]


def plain_variants() -> set[str]:
    """Variants that a readout's name alone stands for."""
    return {"", TrainedHead.plain, *(readout.plain for readout in READOUTS.values())}


def stored_readout(name: str, rows: pa.Table) -> type[Stored]:
    """Who reads the rows that the score table holds of a readout.

    Args:
        name: The readout.
        rows: Its rows.

    Raises:
        InputError: Nobody here does.
    """
    if name in READOUTS:
        return READOUTS[name]
    if all(HEAD in options for options in _options(rows)):
        return TrainedHead
    raise InputError(
        f"the score table holds rows of a readout {name!r} that is not known here",
        field="readout",
        remedy="Install the package that brings it.",
    )


def _options(rows: pa.Table) -> list[dict]:
    return [json.loads(options or "{}") for options in rows["readout_options"].unique().to_pylist()]
