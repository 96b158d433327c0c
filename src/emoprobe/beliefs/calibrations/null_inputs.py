"""What the calibrations by content-free inputs share: which input it is, and its rows."""

from __future__ import annotations

from typing import Annotated

import pyarrow as pa

from emoprobe.beliefs.calibrations.base import Calibration, Evidence
from emoprobe.errors import InputError
from emoprobe.options import OneOf, options
from emoprobe.run.scores import NULLS

FITTED_ON = "null inputs"


@options("calibration.{name}")
class OfNullInputs(Calibration):
    """Takes out what the model says to a content-free input.

    Args:
        null: ``silence``, ``noise`` or ``no_audio``.
    """

    null: Annotated[str, OneOf(NULLS)]

    def rows(self, evidence: Evidence) -> pa.Table | None:
        """Rows of the null input; None of a readout that tells nothing of what the model would have said anyway.

        Raises:
            InputError: The score table holds none.
        """
        if evidence.reading.stated or evidence.reading.clips_only:
            return None
        rows = evidence.null_rows(self.null)
        if not len(rows):
            raise InputError(
                f"the score table holds no null input {self.null!r}",
                field=f"calibration.{self.name}",
                remedy=f"Run the probe with null_inputs.kinds=[{self.null}], or drop this calibration.",
            )
        return rows
