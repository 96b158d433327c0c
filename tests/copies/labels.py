"""Shipped label sets for tests."""

from __future__ import annotations

from emoprobe.labels import LabelSet
from emoprobe.settings import compose, plain


def label_set(name: str) -> LabelSet:
    """That of ``labels=NAME``."""
    return LabelSet(**plain(compose(["dataset=demo", f"labels={name}"]).labels))
