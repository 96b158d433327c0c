"""Fixtures shared by the tests of the data room."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from emoprobe.errors import InputError
from emoprobe.labels import LabelSet

SIX = ("anger", "disgust", "fear", "happy", "neutral", "sad")


@pytest.fixture(scope="session")
def six() -> LabelSet:
    """The six labels of CREMA-D, with adjectives as aliases."""
    aliases = {"angry": "anger", "happiness": "happy"}
    return LabelSet("six", SIX, {label: {"noun": (label,)} for label in SIX}, aliases)


@pytest.fixture(scope="session")
def refused() -> Callable[..., InputError]:
    """Calls something that must refuse its input, and checks what a user is told: what, file, row, field, remedy."""

    def check(
        call: Callable[[], object],
        what: str,
        *,
        file: Path | None,
        row: int | None = None,
        field: str | None = None,
        remedy: str,
        reason: str | None = None,
    ) -> InputError:
        with pytest.raises(InputError) as caught:
            call()
        error = caught.value
        assert what in error.what
        assert (error.file, error.row, error.field) == (file, row, field)
        assert remedy in (error.remedy or "")
        for part in (error.what, file, f"row {row}" if row else None, field, error.remedy):
            assert part is None or str(part) in str(error)
        if reason is not None:
            assert error.reason == reason
        return error

    return check
