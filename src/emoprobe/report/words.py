"""Readouts, floors and numbers as a sentence or a narrow table says them."""

from __future__ import annotations

import math
from collections.abc import Mapping

from emoprobe.readout.trained_head import plain_variants
from emoprobe.run.cell import NO_PROMPT, Cell, in_words, saw_its_votes

YARDSTICKS = {
    "uniform": "floor: uniform",
    "prior": "floor: vote prior",
    "majority": "floor: majority label",
    "one_hot_of_top_vote": "reference: one-hot of the top vote",
    "human": "ceiling: human",
}
"""Rows beside the readouts, in order and in words, as tables in a terminal and all figures have them; raters against
raters are in the full tables alone."""


def short_value(value: float) -> str:
    """Three decimals without the zero before the point; ``-`` for NaN, ``inf`` for infinity.

    >>> short_value(0.1304), short_value(-0.02), short_value(1.5)
    ('.130', '-.020', '1.500')
    """
    if math.isnan(value):
        return "-"
    if not math.isfinite(value):
        return "inf" if value > 0 else "-inf"
    text = f"{value:.3f}"
    if text in ("-0.000", "0.000"):
        return ".000"
    return text.replace("0.", ".", 1) if text.lstrip("-").startswith("0.") else text


def readout_in_words(cell: Cell) -> str:
    """A readout and its reading: ``averaged logits, softmax of mean``; nothing of prompt and calibration."""
    variant = "" if cell.variant in plain_variants() else cell.variant
    return in_words([name.replace("_", " ") for name in (cell.readout, variant)])


def calibration_in_words(calibration: str) -> str:
    """``uncalibrated``, or how it was calibrated."""
    return "uncalibrated" if calibration in ("none", "") else f"calibration {calibration.replace('_', ' ')}"


def cell_in_words(cell: Cell, *, model: bool = False) -> str:
    """A cell as a sentence names it: ``label likelihood (voice_sounds, uncalibrated)``.

    Args:
        cell: The cell.
        model: Whether to say of which model.
    """
    prompt = "" if cell.prompt == NO_PROMPT else f"prompt {cell.prompt}"
    said = in_words([cell.model if model else "", prompt, calibration_in_words(cell.calibration)])
    return f"{readout_in_words(cell)} ({said})"


def floor_in_words(row: Mapping) -> str:
    """What a row of a floor predicts, and of whose votes: ``the prior of the training votes``."""
    whose = "of these clips' own votes" if saw_its_votes(row["fitted_on"]) else f"of the {row['fitted_on'] or 'votes'}"
    names = {"uniform": "the uniform floor", "prior": f"the prior {whose}", "majority": f"the majority label {whose}"}
    return names.get(row["readout"], f"the floor {row['readout']}")
