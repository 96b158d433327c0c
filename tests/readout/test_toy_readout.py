"""A readout of another installed package, in one file and one config, goes where emoprobe's own go."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch
from outside import emoprobe_commands, install, without, write_config
from scoring import write_corpus

from emoprobe.data.sound.audio import read_audio
from emoprobe.labels import LabelSet
from emoprobe.prompts.prompt import make_prompts
from emoprobe.readout.scoring.plan import make_plan
from emoprobe.run.scores import read_scores, schema
from emoprobe.settings import compose, plain

READOUT = '''
"""The logits of the surface forms' first tokens, at the answer position alone."""

from functools import partial

import numpy as np
import pyarrow as pa

from emoprobe.beliefs.distributions import over_labels
from emoprobe.beliefs.reading import Reading
from emoprobe.options import Positive, options
from emoprobe.readout.base import READOUTS, PromptReadout

LOGITS = pa.field("first_logits", pa.list_(pa.float64()))


@options("analysis.first_logit")
class FirstLogitOptions:
    temperature: Positive = 1.0


@READOUTS.register("first_logit")
@options("readout.first_logit")
class FirstLogit(PromptReadout):
    name = "first_logit"
    columns = (LOGITS,)
    analysis = FirstLogitOptions

    def ask(self, asking):
        logits = asking.sfm.logits(asking.context, asking.questions).double()
        found = []
        for i, plan in enumerate(asking.plans):
            first = [tokens[0] for tokens in plan.question.continuations]
            found.append([{LOGITS.name: logits[clip, i, first].tolist()} for clip in range(asking.context.size)])
        return found

    @classmethod
    def read(cls, rows, labels, options):
        scores = partial(form_scores, temperature=options.temperature)

        def derive(rows):
            return over_labels(scores(rows), rows["form_labels"][0].as_py(), labels.labels)

        return [Reading("softmax", derive, scores)]


def form_scores(rows, temperature):
    return np.array(rows[LOGITS.name].to_pylist()) / temperature
'''
CALIBRATIONS = ("none", "contextual_silence", "pmi", "batch")


@pytest.fixture(scope="module")
def run(tmp_path_factory, tiny_whisper_path):
    """A run of probe with the readout beside two of emoprobe's own, and how later commands on it ended."""
    home = tmp_path_factory.mktemp("toy")
    environment = install(home / "site", "toy_readout", READOUT)
    folder = home / "run"
    probe = [
        "probe",
        write_config(home / "conf", "readout", "first_logit", "first_logit: {}\n"),
        "readout=[label_likelihood,first_logit,generated_text]",
        "readout.generated_text.max_new_tokens=4",
        "+analysis.first_logit.temperature=2",
        f"calibration=[{','.join(CALIBRATIONS)}]",
        "model=whisper",
        f"model.path={tiny_whisper_path}",
        "model.device=cpu",
        "dataset=manifest",
        f"dataset.path={write_corpus(home / 'corpus')}",
        "prompt=[voice_sounds,bare_label]",
        "null_inputs.seconds=0.5",
        "logger=none",
        "analysis.figures=false",
        "analysis.resamples=50",
        "trainer.enable_progress_bar=false",
        "trainer.accelerator=cpu",
        f"hydra.run.dir={folder}",
    ]
    done, *later = emoprobe_commands(
        environment,
        probe,
        ["judge", folder, "--no-figures", "--resamples", "50"],
        ["analyse", folder, "analysis.resamples=0", "-o", home / "again"],
        ["analyse", folder, "+analysis.first_logit.temperature=0"],
    )
    assert done.status == 0, done.err
    return folder, dict(zip(("judge", "again", "wrong"), later, strict=True))


def test_the_score_table_has_its_column_behind_those_of_every_run(run, tiny_whisper):
    table = pq.read_table(run[0] / "scores.parquet")
    assert table.schema.names == [*schema().names, "first_logits"]
    rows = table.filter(pc.equal(table["readout"], "first_logit"))
    assert rows["first_logits"].null_count == 0
    assert table["first_logits"].null_count == len(table) - len(rows)
    assert set(rows["input"].to_pylist()) == {"clip", "silence", "noise", "no_audio"}
    row = next(row for row in rows.to_pylist() if row["utterance_id"] == "u3" and row["prompt"] == "bare_label")
    config = compose(["prompt=bare_label"])
    labels = LabelSet(**plain(config.labels))
    plan = make_plan(tiny_whisper, make_prompts(plain(config.prompt), labels)[0], labels)
    clip = torch.from_numpy(read_audio(run[0].parent / "corpus" / "3.wav").waveform)
    logits = tiny_whisper.reference(clip, plan.question, ())[-1]
    expected = logits[[tokens[0] for tokens in plan.question.continuations]]
    np.testing.assert_allclose(row["first_logits"], expected, atol=1e-4)


def test_its_distributions_are_calibrated_and_pooled_as_others(run):
    predictions = pd.read_parquet(run[0] / "predictions.parquet").query("readout == 'first_logit'")
    assert list(predictions["calibration"].unique()) == list(CALIBRATIONS)
    assert set(predictions["variant"]) == {"softmax"}
    prompts = ["voice_sounds", "bare_label", "ensemble_arithmetic(2)", "ensemble_geometric(2)"]
    assert list(predictions["prompt"].unique()) == prompts
    table = read_scores(run[0])
    mask = [
        row["readout"] == "first_logit" and row["prompt"] == "bare_label" and row["input"] == "clip"
        for row in table.select(["readout", "prompt", "input"]).to_pylist()
    ]
    rows = table.filter(pa.array(mask))
    odds = np.exp(np.array(rows["first_logits"].to_pylist()) / 2)
    owner = np.array(rows["form_labels"][0].as_py())
    labels = [name.removeprefix("p_") for name in predictions.columns if name.startswith("p_")]
    expected = np.stack([odds[:, owner == label].sum(axis=1) for label in labels], axis=1)
    expected /= expected.sum(axis=1, keepdims=True)
    cell = predictions.query("prompt == 'bare_label' and calibration == 'none'").set_index("utterance_id")
    found = cell.loc[rows["utterance_id"].to_pylist(), [f"p_{label}" for label in labels]]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_it_is_measured_judged_and_analysed_again(run):
    folder, later = run
    rows = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))["rows"]
    mine = [row for row in rows if row["readout"] == "first_logit"]
    assert len(mine) == 4 * len(CALIBRATIONS)
    assert all(np.isfinite(row["metrics"]["js_divergence"]) and row["intervals"] for row in mine)
    assert later["judge"].status == 0, later["judge"].err
    channels = pd.read_csv(folder / "judgement" / "text_against_tokens.csv")
    assert {"first_logit", "label_likelihood"} == set(channels["token_readout"])
    assert later["again"].status == 0, later["again"].err
    first, again = (pd.read_parquet(place / "predictions.parquet") for place in (folder, folder.parent / "again"))
    pd.testing.assert_frame_equal(first, again)


def test_a_wrong_option_of_it_is_refused_as_of_any_readout(run):
    done = run[1]["wrong"]
    assert done.status == 2
    assert "0 is not a number above 0 (field analysis.first_logit.temperature)" in done.err


def test_without_the_package_the_table_is_read_and_the_error_says_what_is_missing(run, tmp_path):
    folder, _ = run
    assert "first_logits" in read_scores(folder).column_names
    (done,) = emoprobe_commands(without(), ["analyse", folder, "-o", tmp_path / "analysis"])
    assert done.status == 2
    assert done.err.count("\n") == 1
    assert "first_logit" in done.err
