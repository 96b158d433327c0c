"""Shipped label sets for tests."""

from __future__ import annotations

from functools import cache

from emoprobe.labels import LabelSet
from emoprobe.settings import compose, plain


@cache
def label_set(name: str) -> LabelSet:
    """That of ``labels=NAME``."""
    return LabelSet(**plain(compose(["dataset=demo", f"labels={name}"]).labels))
