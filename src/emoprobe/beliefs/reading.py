"""What a readout makes of the rows it has stored: the language between readouts and calibrations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from emoprobe.beliefs.distributions import Distributions


@dataclass(frozen=True)
class Reading:
    """One variant of a readout.

    Args:
        variant: Its name in tables.
        derive: Rows of the score table, of clips or of null inputs -> distributions.
        form_scores: Rows -> log-score of every surface form, ``[rows, forms]`` nats; None where forms have none.
        texts: Rows -> what the model wrote, one text per row; None where it wrote nothing.
        stated: Whether a distribution is what an answer states. It tells nothing of what the model would have said
            anyway, so that the calibrations which take that out do not apply.
        clips_only: Whether there is no answer to null inputs.
        fitted_on: What the readout itself was fitted on that a result must not know; "" for nothing.
    """

    variant: str
    derive: Callable[[pa.Table], Distributions]
    form_scores: Callable[[pa.Table], np.ndarray] | None = None
    texts: Callable[[pa.Table], list[str]] | None = None
    stated: bool = False
    clips_only: bool = False
    fitted_on: str = ""
