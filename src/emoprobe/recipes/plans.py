"""What a study of several runs is told."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import field
from typing import Annotated, Any

from annotated_types import MinLen
from pydantic import AfterValidator

from emoprobe.errors import InputError
from emoprobe.options import Distinct, Name, Seed, Several, Words, options
from emoprobe.run.cell import read_choice

RESERVED = ("report", "figures")
"""Folders of a study that are not its parts."""


def _names_folders(parts: Mapping[str, Any]) -> Mapping[str, Any]:
    for name in parts:
        if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", name) or name in RESERVED:
            raise InputError(
                f"{name!r} cannot be the folder of a part",
                field="study.parts",
                remedy=f"Name it by letters, digits, _, - and dots, and not {' or '.join(RESERVED)}.",
            )
    return parts


def _are_choices(cells: tuple[str, ...]) -> tuple[str, ...]:
    for text in cells:
        read_choice(text, "study.cells")
    return cells


@options("study")
class StudySettings:
    """What stands side by side.

    Args:
        seeds: Of everything that is trained.
        shared: Overrides of every part.
        zero_shot: Overrides of the probe; without any there is none.
        trained: Name -> overrides of a training. Where some differ in ``fit.max_clips``, the study ends in a curve too.
    """

    seeds: Annotated[Distinct[Seed], MinLen(1), Words("a list of seeds, such as [0, 1, 2]")]
    shared: Several[str] = ()
    zero_shot: Several[str] = ()
    trained: Mapping[Name, Several[str]] = field(default_factory=dict)


@options("study")
class TextAgainstTokensSettings:
    """What several models write beside what their tokens hold.

    Args:
        shared: Overrides of every part.
        parts: Name -> overrides of a probe.
        cells: Which readouts are shown, in this order, as ``emoprobe compare --cells`` takes them; all by default.
    """

    parts: Annotated[
        Mapping[Name, Several[str]],
        MinLen(1),
        AfterValidator(_names_folders),
        Words("a mapping from names to overrides of emoprobe probe"),
    ]
    shared: Several[str] = ()
    cells: Annotated[Several[str], AfterValidator(_are_choices), Words("a list of KEY=VALUE,... choices")] = ()
