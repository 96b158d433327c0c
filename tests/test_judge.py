"""``python -m emoprobe.judge``: tables and figures of a run, by stratum, prompt and channel."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from emoprobe.judge import judge, main
from emoprobe.metrics.functional import evaluate

LABELS = ("anger", "neutral", "sad")
SIZE = 40


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """Two prompts, scored and written; two speakers of each gender and more."""
    folder = tmp_path_factory.mktemp("judge") / "run"
    folder.mkdir()
    rng = np.random.default_rng(0)
    votes = rng.multinomial(9, [0.5, 0.3, 0.2], SIZE).astype(float)
    ids = [f"u{i}" for i in range(SIZE)]
    human = pd.DataFrame({"utterance_id": ids, "speaker": [f"s{i % 8}" for i in range(SIZE)], "split": "test"})
    human["num_raters"] = 9.0
    for i, label in enumerate(LABELS):
        human[f"votes_{label}"], human[f"target_{label}"] = votes[:, i], votes[:, i] / 9
    metadata = [json.dumps({"gender": ("female", "male")[i % 2], "age": 20 + i % 8}) for i in range(SIZE)]
    utterances = human.assign(role="evaluated", metadata=metadata, audio="", transcript="", outside_votes=0.0)
    utterances.to_parquet(folder / "utterances.parquet")
    parts = []
    for prompt in ("p1", "p2"):
        for readout, variant in (("label_likelihood", "sum"), ("generated_text", "parsed")):
            p = rng.dirichlet([1, 1, 1], SIZE)
            status = np.full(SIZE, "ok", dtype=object)
            if readout == "generated_text":
                p = np.eye(3)[p.argmax(axis=1)]
                p[:5], status[:5] = np.nan, "unparsed"
            keys = {"model": "m", "prompt": prompt, "readout": readout, "variant": variant, "calibration": "none"}
            facts = {"fitted_on": "", "duration_seconds": rng.uniform(1, 4, SIZE), "truncated": False}
            part = human.assign(transcript="", **keys, **facts, status=status, generated_text="x")
            part["label_mass"] = 0.5 if readout == "label_likelihood" else np.nan
            part[[f"p_{label}" for label in LABELS]] = p
            parts.append(part)
    pd.concat(parts, ignore_index=True).to_parquet(folder / "predictions.parquet")
    labels = {"name": "three", "labels": list(LABELS), "forms": {label: {"noun": [label]} for label in LABELS}}
    (folder / "run.json").write_text(json.dumps({"labels": labels, "corpus": {"title": "Toy", "synthetic": True}}))
    return folder


@pytest.fixture(scope="module")
def judged(run: Path) -> Path:
    return judge(run, resamples=100)


def test_every_table_is_there(judged: Path):
    names = {file.stem for file in judged.glob("*.csv")}
    assert names == {
        *("strata", "group_gaps", "clear_and_ambiguous", "prompt_robustness", "variance_explained", "prompt_ensembles"),
        *("prompt_weights", "text_against_tokens", "parse_statuses", "label_masses", "reliability"),
        *("expected_confusion", "missed_mixtures"),
    }
    figures = {file.suffix for file in (judged / "figures").iterdir()}
    assert figures == {".png", ".pdf"}


def test_strata_hold_every_clip_once(run: Path, judged: Path):
    strata = pd.read_csv(judged / "strata.csv")
    assert {"entropy", "duration", "majority", "num_raters"} <= set(strata["kind"])
    cells = ["prompt", "readout", "kind"]
    for _, rows in strata.groupby(cells):
        assert rows[["num_utterances", "num_failed"]].sum().sum() == SIZE
    predictions = pd.read_parquet(run / "predictions.parquet").query("prompt == 'p1' and readout == 'label_likelihood'")
    women = predictions[[int(name[1:]) % 2 == 0 for name in predictions["utterance_id"]]]
    arrays = [women[[f"{part}_{label}" for label in LABELS]].to_numpy() for part in ("p", "target", "votes")]
    cell = "prompt == 'p1' and readout == 'label_likelihood' and stratum == 'female'"
    assert strata.query(cell)["js_divergence"].item() == pytest.approx(evaluate(*arrays)["js_divergence"])


def test_ensembles_are_scored(run: Path, judged: Path):
    table = pd.read_csv(judged / "prompt_ensembles.csv")
    predictions = pd.read_parquet(run / "predictions.parquet").query("readout == 'label_likelihood'")
    p1, p2 = (predictions[predictions["prompt"] == p].set_index("utterance_id") for p in ("p1", "p2"))
    mean = (p1[[f"p_{x}" for x in LABELS]].to_numpy() + p2[[f"p_{x}" for x in LABELS]].to_numpy()) / 2
    target, votes = (p1[[f"{part}_{x}" for x in LABELS]].to_numpy() for part in ("target", "votes"))
    row = table[(table["readout"] == "label_likelihood") & table["prompt"].str.startswith("ensemble_arithmetic")]
    assert row["js_divergence"].item() == pytest.approx(evaluate(mean, target, votes)["js_divergence"])
    assert {"arithmetic", "geometric", "hard_vote", "weighted"} == {
        name.removeprefix("ensemble_").partition("(")[0] for name in table["prompt"]
    }


def test_the_command_and_its_mistakes(run: Path, tmp_path: Path, capsys):
    assert main([str(run), "--no-figures", "--resamples", "20", "--facts", "gender", "-o", str(tmp_path / "out")]) == 0
    assert "strata.csv" in capsys.readouterr().out
    assert not (tmp_path / "out" / "figures").exists()
    assert main([str(run), "--facts", "dialect"]) == 1
    assert "It tells age, gender." in capsys.readouterr().err
    assert main([str(tmp_path)]) == 1
    assert "no readable run.json" in capsys.readouterr().err
