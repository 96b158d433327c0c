"""What an analysis is made of: its options, the human side, and one cell per way of reading."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass

KEYS = ("model", "prompt", "readout", "variant", "calibration")
TRAINED = "trained"  # variant of a trained head
TEXT_READOUTS = ("generated_text", "sampled_text", "constrained_text")
KNOWS_VOTES = "knows_votes"
"""Option of a trained head's rows: it was trained on some of the evaluated clips, or on their speakers."""
EVALUATED_VOTES, EVALUATED_INPUTS = "evaluated votes", "evaluated inputs"
"""What ``fitted_on`` names where something saw the votes it is judged by, or only the sound of the evaluated clips."""


def saw_its_votes(fitted_on: str) -> bool:
    """Whether something was fitted on the very votes that it is judged by: its scores are no result.

    Args:
        fitted_on: Sources joined by " + ", as in every table.
    """
    return EVALUATED_VOTES in fitted_on.split(" + ")


def has_rank(row: Mapping) -> bool:
    """Whether a row of the metric table may be ranked, printed bold, or called the best of anything.

    It is a readout that has a distribution of every clip, since others are scored on other clips, and that did not see
    the votes it is judged by. One that saw the evaluated clips' sound (``*``) or other speakers' votes (``†``) has one.

    Args:
        row: With ``kind``, ``num_failed`` and ``fitted_on``.
    """
    return row["kind"] == "readout" and not row["num_failed"] and not saw_its_votes(row["fitted_on"])
