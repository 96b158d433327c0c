"""Shipped label sets for tests."""

from __future__ import annotations

from emoprobe import runs
from emoprobe.labels import LabelSet


def label_set(name: str) -> LabelSet:
    """That of ``labels=NAME``."""
    return LabelSet(**runs.plain(runs.compose(["dataset=demo", f"labels={name}"]).labels))
