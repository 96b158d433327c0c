"""A calibration of another installed package, in one file and one config, goes where emoprobe's own go."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from outside import emoprobe_commands, install, without, write_config
from scoring import config, write_corpus

from emoprobe.recipes import probe

CALIBRATION = '''
"""Smoothing: a share of the uniform distribution is mixed into what can be taken for probabilities."""

from dataclasses import replace

import numpy as np

from emoprobe.beliefs.calibrations.base import CALIBRATIONS, Calibrated, Calibration
from emoprobe.options import Share, options


@CALIBRATIONS.register("smoothed")
@options("calibration.{name}")
class Smoothed(Calibration):
    share: Share = 0.1

    def apply(self, evidence):
        if evidence.reading.stated:
            return None
        probs = (1 - self.share) * evidence.plain.probs + self.share / len(evidence.labels)
        return Calibrated(replace(evidence.plain, log_probs=np.log(probs)), "")
'''


@pytest.fixture(scope="module")
def run(tmp_path_factory, tiny_whisper_path):
    """A run that knows nothing of the calibration."""
    home = tmp_path_factory.mktemp("toy")
    probe.run(config(tiny_whisper_path, write_corpus(home / "corpus"), home / "run", "calibration=none"))
    return home / "run"


def test_it_is_one_more_row_of_every_readout_that_it_applies_to(run, tmp_path):
    environment = install(tmp_path / "site", "toy_calibration", CALIBRATION)
    searched = write_config(tmp_path / "conf", "calibration", "smoothed", "smoothed:\n  kind: smoothed\n  share: 0.4\n")
    arguments = ["analyse", run, searched, "calibration=[none,smoothed]", "-o", tmp_path / "analysis"]
    arguments += ["analysis.resamples=20", "analysis.figures=false"]
    done, wrong = emoprobe_commands(environment, arguments, [*arguments, "calibration.smoothed.share=2"])
    assert done.status == 0, done.err
    predictions = pd.read_parquet(tmp_path / "analysis" / "predictions.parquet")
    cells = predictions.astype({"readout": str, "calibration": str}).groupby("readout")["calibration"].unique()
    assert {name: list(found) for name, found in cells.items()} == {
        "averaged_logits": ["none", "smoothed"],
        "generated_text": ["none"],
        "label_likelihood": ["none", "smoothed"],
    }
    names = [name for name in predictions if name.startswith("p_")]
    own = predictions[
        (predictions["readout"] == "label_likelihood") & ~predictions["prompt"].str.startswith("ensemble")
    ]
    plain, smoothed = (own.loc[own["calibration"] == name, names].to_numpy() for name in ("none", "smoothed"))
    np.testing.assert_allclose(smoothed, 0.6 * plain + 0.4 / 6)
    metrics = pd.read_csv(tmp_path / "analysis" / "metrics.csv")
    assert (metrics["calibration"] == "smoothed").any()
    assert wrong.status == 2
    assert "2 is not a number from 0 to 1 (field calibration.smoothed.share)" in wrong.err


def test_without_the_package_its_kind_is_refused_with_those_that_there_are(run, tmp_path):
    searched = write_config(tmp_path / "conf", "calibration", "smoothed", "smoothed: {kind: smoothed}\n")
    command = ["analyse", run, searched, "calibration=smoothed", "-o", tmp_path / "analysis"]
    (done,) = emoprobe_commands(without(), command)
    assert done.status == 2
    assert "'smoothed' is not one of contextual, matrix, none, " in done.err
