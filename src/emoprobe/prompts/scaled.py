"""Prompts that ask for a point of a scale: which label sets they fit, and what is filled into them."""

from __future__ import annotations

from emoprobe.errors import InputError
from emoprobe.labels import LabelSet
from emoprobe.prompts.answers import FORMATS

SCALE = ("dimension", "lowest", "low", "highest", "high")
"""Placeholders that a label set fills in."""


def words_of_scale(labels: LabelSet, kinds: tuple[str, ...]) -> dict[str, str]:
    """What each of `SCALE` stands for.

    Args:
        labels: Points of a scale.
        kinds: Kinds of word that the label slot takes; the ends are called by their first.
    """
    assert labels.scale is not None
    forms: dict[str, str] = {}
    for label, form in labels.surface_forms(kinds):
        forms.setdefault(label, form)
    scale, lowest, highest = labels.scale, forms[labels.labels[0]], forms[labels.labels[-1]]
    return dict(zip(SCALE, (scale.dimension, lowest, scale.low, highest, scale.high), strict=True))


def refuse_another_scale(name: str, asked: str | None, form: str, labels: LabelSet) -> None:
    """Refuse an emotion prompt with points of a scale, a prompt for points with emotions, and another dimension.

    Args:
        name: The prompt's.
        asked: The dimension that it asks for, empty for that of any label set; None if it asks for no point of a scale.
        form: Its answer format.
        labels: The label set.

    Raises:
        InputError: They do not fit.
    """
    place, what, remedy = f"prompt.{name}", "", ""
    if labels.scale is None:
        if asked is not None or FORMATS[form].scale == "only":
            what = f"prompt {name!r} asks for a point of a scale, and the labels of {labels.name} are none"
            remedy = "Choose a label set of a scale, such as labels=valence5, or a prompt that asks for an emotion."
    elif asked not in ("", labels.scale.dimension):
        asks = f"prompt {name!r} asks for {asked or 'an emotion'}"
        what = f"{asks}, and the labels of {labels.name} are points of {labels.scale.dimension}"
        remedy = (
            "Ask for a number: prompt=scale/all, of an audio LLM prompt=instruction/scale_all; a prompt of your own "
            f"says dimension: {labels.scale.dimension}."
        )
    elif FORMATS[form].scale == "never":
        able = ", ".join(other for other in FORMATS if FORMATS[other].scale != "never" and other != "completion")
        place += ".format"
        what, remedy = f"answers in the format {form} are not read as points of a scale", f"Use one of {able}."
    if what:
        raise InputError(what, field=place, remedy=remedy)
