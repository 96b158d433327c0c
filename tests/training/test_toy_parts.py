"""A head and a loss of another installed package, one file and a config each, train as emoprobe's own do."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
from outside import emoprobe_commands, install

from emoprobe.run.scores import read_scores

PARTS = '''
"""A narrow head and a loss of the package."""

from torch import nn

from emoprobe.options import Count, Positive, options
from emoprobe.training.heads.base import HEADS, ProbeHead
from emoprobe.training.losses.base import LOSSES, SoftLabelLoss


@HEADS.register("narrow_probe")
@options("head")
class NarrowProbe(ProbeHead):
    """A layer with few units, then one to the labels."""

    units: Count = 2

    def body(self, features, labels):
        return nn.Sequential(nn.Linear(features, self.units), nn.Tanh(), nn.Linear(self.units, labels))


@LOSSES.register("power")
@options("loss")
class Power(SoftLabelLoss):
    """Summed powers of the differences between shares."""

    exponent: Positive = 2

    def distance(self, log_probs, target):
        return (log_probs.exp() - target).abs().pow(self.exponent).sum(-1)
'''
SHARED = [
    *("model=whisper", "model.device=cpu", "logger=none", "dataset.limit=24", "analysis.figures=false"),
    *("analysis.resamples=9", "trainer.accelerator=cpu", "trainer.enable_progress_bar=false", "fit.max_epochs=2"),
]


def test_toy_head_and_loss_train(tiny_whisper_path, tmp_path):
    environment = install(tmp_path / "site", "toy_training", PARTS)
    environment |= {"EMOPROBE_CACHE": str(tmp_path / "features")}
    for group, text in {
        "head": "name: narrow_probe\nsource: encoder\nlayers: [-1]\nkinds: [mean]\nmembers: 2\nunits: 3\n",
        "loss": "name: power\nexponent: 1.5\nrater_weight: count\nclass_balance: false\n",
    }.items():
        (tmp_path / "conf" / group).mkdir(parents=True)
        (tmp_path / "conf" / group / "mine.yaml").write_text(text, encoding="utf-8")
    command = ["train", "--config-dir", tmp_path / "conf", *SHARED, f"model.path={tiny_whisper_path}"]
    command += ["head=mine", "loss=mine", "fit.batch_size=4"]
    mistakes = {"head.units=0": "head.units", "+loss.exponnt=1": "exponent"}
    done, *refused = emoprobe_commands(
        environment,
        [*command, f"hydra.run.dir={tmp_path / 'run'}"],
        *([*command, mistake, f"hydra.run.dir={tmp_path / 'wrong'}"] for mistake in mistakes),
    )
    assert done.status == 0, done.out[-1500:] + done.err[-3000:]

    record = json.loads((tmp_path / "run" / "head_fold0" / "head.json").read_text())
    assert (record["head"]["units"], record["loss"]["exponent"], record["members"]) == (3, 1.5, 2)
    scores = read_scores(tmp_path / "run").to_pandas()
    assert set(scores["readout"]) == {"narrow_probe"}
    np.testing.assert_allclose(np.exp(np.stack(scores["form_logprobs"])).sum(1), 1, rtol=1e-5)
    curves = pd.read_csv(tmp_path / "run" / "learning_curves.csv")
    assert len(curves) == 4
    assert all(math.isfinite(loss) for loss in curves["train_loss"])

    for wrong, said in zip(refused, mistakes.values(), strict=True):
        assert wrong.status == 2
        (line,) = wrong.err.splitlines()
        assert said in line
