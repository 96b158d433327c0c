"""Calibration: what it may look at, and what it gives back; each way to calibrate is a file beside this one.

Whatever is fitted says on what: ``null inputs``, ``evaluated inputs``, ``training votes``, ``evaluated votes``; or the
votes of other speakers than the clip's own (see `emoprobe.beliefs.crossfit.plan`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from emoprobe.beliefs.distributions import Distributions
from emoprobe.beliefs.reading import Reading
from emoprobe.beliefs.targets import Targets
from emoprobe.options import Name, OneOf, Words, check, options, valid
from emoprobe.registry import Registry


@dataclass(frozen=True)
class Evidence:
    """What a calibration may look at: one variant of a readout of one prompt, and the human side.

    Args:
        reading: How stored rows become distributions.
        plain: The distributions of the clips, uncalibrated.
        clips: Rows of the score table, one per evaluated utterance or window of one, in the order of ``targets``.
        nulls: Its rows of content-free inputs, of all kinds.
        labels: Labels in order.
        targets: Votes, soft labels, speakers and splits of the evaluated utterances.
    """

    reading: Reading
    plain: Distributions
    clips: pa.Table
    nulls: pa.Table
    labels: Sequence[str]
    targets: Targets

    def null_rows(self, kind: str) -> pa.Table:
        """Rows of one kind of content-free input, perhaps none."""
        return self.nulls.filter(pc.equal(self.nulls["input"], kind))


class Calibrated(NamedTuple):
    """Distributions of the clips, and what was fitted on, sources joined by " + "; "" for nothing."""

    distributions: Distributions
    fitted_on: str


@options("calibration.{name}")
class Calibration(ABC):
    """How a label prior is removed, or distributions are brought closer to the votes of other clips.

    A subclass registers its kind in `CALIBRATIONS`; its fields are the options of a ``calibration`` config of that
    kind.

    Args:
        name: Name in tables.
    """

    name: Name

    @abstractmethod
    def apply(self, evidence: Evidence) -> Calibrated | None:
        """Calibrated distributions; None where the calibration does not apply to the readout.

        Where it applies and cannot be carried out, every utterance is ``undefined``.

        Raises:
            InputError: The score table lacks what it needs.
        """


CALIBRATIONS: Registry[type[Calibration]] = Registry("kind of calibration", "emoprobe.beliefs.calibrations")


def make_calibrations(config: Mapping[str, Any]) -> list[Calibration]:
    """Calibrations from the composed ``calibration`` config: name -> ``kind`` and its options, in table order.

    Raises:
        InputError: A kind or an option is unknown or wrong.
    """
    made = []
    for name, given in config.items():
        where = f"calibration.{name}"
        own = dict(valid(Annotated[Mapping[str, Any], Words("a mapping of kind and its options")], given, where))
        kind = valid(Annotated[str, OneOf(CALIBRATIONS)], own.pop("kind", None), f"{where}.kind")
        made.append(check(CALIBRATIONS[kind], {"name": name, **own}))
    return made
