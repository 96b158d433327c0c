"""Which clips are taken, and what is said of one that is not."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Lt
from pydantic import AllowInfNan

from emoprobe.data.sound.faults import FAULTS
from emoprobe.errors import InputError
from emoprobe.options import AS_WRITTEN, Distinct, NotNegative, OneOf, Positive, Words, options

LEAVE_OUT = "or leave it out: dataset.on_error=skip."


class AudioError(InputError):
    """A sound file that cannot be used.

    Attributes:
        reason: ``missing_audio``, ``bad_audio``, ``too_short``, ``too_long``, ``near_silent`` or one of `FAULTS`.
    """

    file: Path | None

    def __init__(
        self,
        what: str,
        *,
        reason: str = "bad_audio",
        file: Path | None = None,
        field: str | None = None,
        remedy: str | None = None,
    ) -> None:
        self.reason = reason
        super().__init__(what, file=file, field=field, remedy=remedy or f"Replace the file, {LEAVE_OUT}")


@options("dataset.audio")
class AudioLimits:
    """Which clips are taken.

    Args:
        min_seconds: Shorter clips are refused.
        max_seconds: Longest clip that is heard in one piece.
        long_audio: ``refuse`` longer clips, ``skip`` them, ``truncate`` them at ``max_seconds`` and flag them, or
            ``window``: cut them into equally long windows without overlap, as few as ``max_seconds`` allows (so that
            each is longer than half of it), whose beliefs are averaged.
        allow_silence: Take clips whose samples are all zero.
        near_silent_dbfs: Below this level (see `level_dbfs`) a clip is near-silent.
        near_silent: ``keep`` such clips, ``skip`` them, or take them for an ``error``. Clips whose samples are all
            zero are left to ``allow_silence``.
        leave_out: Kinds of `FAULTS` whose clips are skipped; others are taken and counted.
    """

    min_seconds: NotNegative = 0.1
    max_seconds: Positive = 30.0
    long_audio: Literal["refuse", "skip", "truncate", "window"] = "refuse"
    allow_silence: bool = False
    near_silent_dbfs: Annotated[
        float,
        AllowInfNan(True),
        Lt(0),
        AS_WRITTEN,
        Words("a number of decibels below 0, such as -70, or -.inf for no such level"),
    ] = -70.0
    near_silent: Literal["keep", "skip", "error"] = "keep"
    leave_out: Distinct[Annotated[str, OneOf(FAULTS)]] = ()

    def __post_init__(self) -> None:
        if not self.min_seconds < self.max_seconds:
            raise InputError(
                f"min_seconds {self.min_seconds} must be less than max_seconds {self.max_seconds}",
                field="dataset.audio.min_seconds",
            )

    def leaves_out(self, error: AudioError, on_error: str) -> bool:
        """Whether a clip that was refused is left out (``True``) or ends the run, with ``dataset.on_error``."""
        chosen = {"near_silent": self.near_silent, "too_long": self.long_audio}.get(error.reason) == "skip"
        return on_error == "skip" or chosen or error.reason in self.leave_out

    @property
    def keeps_all(self) -> bool:
        """Whether no clip is left out for how it sounds."""
        return self.near_silent == "keep" and not self.leave_out

    def windows(self, seconds: float) -> int:
        """Windows that a clip of this length is cut into; 1 where it is not.

        >>> AudioLimits(max_seconds=30, long_audio="window").windows(70)
        3
        """
        # A sample or two of rounding do not make another window.
        return max(1, math.ceil(seconds / self.max_seconds - 1e-6)) if self.long_audio == "window" else 1

    def piece(self, seconds: float) -> float:
        """What is heard at once of a clip of this length, seconds; 0 where it is not taken."""
        if seconds <= self.max_seconds:
            return seconds
        if self.long_audio == "window":
            return seconds / self.windows(seconds)
        return self.max_seconds if self.long_audio == "truncate" else 0.0
