"""A metric of another installed package, one file of its own, is wherever emoprobe's metrics are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pandas as pd
import pytest

import emoprobe

PART = '''
"""The toy metrics of the package."""

import numpy as np

from emoprobe.metrics.functional import Sum, mean_over_clips, of_sums


@mean_over_clips("Hellinger distance", short="Hell")
def hellinger(pred, target):
    """Hellinger distance, 0 to 1."""
    return (1 - (pred**0.5 * target**0.5).sum(-1)).clip(0, 1) ** 0.5


def mass(pred, target):
    return (Sum("uk->k", (pred - target,)),)


@of_sums(mass, "total variation between the mean prediction and the mean target")
def marginal_variation(number, gap):
    """Total variation between the mean distributions."""
    return abs(gap).sum(-1) / number / 2
'''

USE = """
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from emoprobe.analysis.derive import Analysis
from emoprobe.analysis.options import AnalysisOptions
from emoprobe.analysis.rows import human_side
from emoprobe.beliefs.targets import Targets
from emoprobe.metrics import classes
from emoprobe.metrics.functional import METRICS, evaluate, metrics_of
from emoprobe.metrics.intervals import bootstrap_intervals
from emoprobe.metrics.significance import paired_test
from emoprobe.report.results import write_results
from emoprobe.run.record import Record

rng = np.random.default_rng(0)
votes = rng.multinomial(8, rng.dirichlet([1, 1, 1], 60).mean(axis=0), 60).astype(float)
target, pred = votes / 8, rng.dirichlet([9, 1, 1], 60)
speakers = [f"s{i % 10}" for i in range(60)]
frame = pd.DataFrame({"speaker": speakers, "num_raters": pd.array([8.0] * 60, dtype="Float64")})
targets = Targets(frame, target, votes, target.mean(axis=0), "evaluated votes")
labels = {"name": "three", "labels": ["a", "b", "c"], "words": {x: {"noun": [x]} for x in "abc"}, "hash": "0"}
record = Record.from_json(
    {
        "labels": labels,
        "corpus": {"name": "made", "title": "Made", "synthetic": True, "licence": "none"},
        "soft_label_policy": {"name": "p", "hash": "h"},
        "split": "test",
        "model": {"name": "m", "revision": "r", "dtype": "float32", "device": "cpu"},
    }
)
analysis = Analysis(pd.DataFrame({"utterance_id": ["u"]}), human_side(targets, 200), targets)
write_results(Path(sys.argv[1]), analysis, record, figures=False)

assert list(METRICS)[-2:] == ["hellinger", "marginal_variation"]
for name, cls in (("hellinger", classes.Hellinger), ("marginal_variation", classes.MarginalVariation)):
    value = evaluate(pred, target, votes)[name]
    metric = cls()
    for part in torch.arange(60).split(7):
        metric.update(torch.from_numpy(pred)[part], torch.from_numpy(target)[part])
    assert abs(metric.compute().item() - value) < 1e-12 and metric.plot_upper_bound == 1.0
    low, high = bootstrap_intervals(pred, target, votes, speakers, resamples=200)[name]
    assert low < high
    test = paired_test(pred, target, target, votes, speakers, name, resamples=200)
    difference = value - evaluate(target, target, votes)[name]
    assert abs(test.difference - difference) < 1e-12 and test.p_value < 0.05
assert set(classes.metric_collection()) == set(metrics_of())
expected = np.sqrt(1 - np.sqrt(pred * target).sum(axis=1)).mean()
assert abs(float(METRICS["hellinger"](pred, target)) - expected) < 1e-12
"""


@pytest.fixture
def installed(tmp_path: Path) -> dict[str, str]:
    """An environment in which a package with two metrics is installed."""
    site = tmp_path / "site"
    facts = site / "toy-1.0.dist-info"
    facts.mkdir(parents=True)
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: toy\nVersion: 1.0\n", encoding="utf-8")
    (facts / "entry_points.txt").write_text("[emoprobe.parts]\ntoy = toy_metrics\n", encoding="utf-8")
    (site / "toy_metrics.py").write_text(textwrap.dedent(PART), encoding="utf-8")
    house = str(Path(emoprobe.__file__).parents[1])
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), house])}


def test_a_metric_of_an_installed_package_is_in_every_table_interval_test_and_class(tmp_path, installed):
    done = subprocess.run(
        [sys.executable, "-c", USE, str(tmp_path / "run")], env=installed, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    written = json.loads((tmp_path / "run" / "metrics.json").read_text(encoding="utf-8"))
    assert written["metrics"]["hellinger"] == {
        "definition": "Hellinger distance",
        "unit": "1",
        "higher_is_better": False,
    }
    uniform = next(row for row in written["rows"] if row["readout"] == "uniform")
    table = pd.read_csv(tmp_path / "run" / "metrics.csv").set_index("readout")
    for name in ("hellinger", "marginal_variation"):
        low, high = uniform["intervals"][name]
        assert low < uniform["metrics"][name] < high
        assert table.loc["uniform", name] == pytest.approx(uniform["metrics"][name])
        assert table.loc["uniform", f"{name}_low"] == pytest.approx(low)
        assert table.loc["human", name] == table.loc["human", name], "the ceiling has it too"


def test_a_broken_part_of_another_package_is_an_error_that_names_the_package(tmp_path, installed):
    (tmp_path / "site" / "toy_metrics.py").write_text("import no_such_module\n", encoding="utf-8")
    script = "from emoprobe.metrics.functional import METRICS; list(METRICS)"
    done = subprocess.run([sys.executable, "-c", script], env=installed, capture_output=True, text=True, timeout=300)
    assert "toy brings parts for emoprobe that cannot be imported" in done.stderr
