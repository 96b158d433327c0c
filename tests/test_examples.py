"""The examples in docstrings say what is true."""

from __future__ import annotations

import doctest
import importlib

import pytest
from test_house import modules

EXAMPLES = sorted(name for name, file in modules().items() if ">>> " in file.read_text(encoding="utf-8"))


@pytest.mark.parametrize("module", EXAMPLES)
def test_examples_in_docstrings(module: str):
    failed, tried = doctest.testmod(importlib.import_module(f"emoprobe.{module}" if module else "emoprobe"))
    assert tried
    assert not failed


def test_every_metric_has_an_example():
    from emoprobe.metrics.functional import METRICS

    shown_by_ece = {"ece_5", "ece_10"}
    examples = {name for name, metric in METRICS.items() if ">>> " in (metric.__doc__ or "")}
    assert set(METRICS) - examples <= {*shown_by_ece, "classwise_ece"}
