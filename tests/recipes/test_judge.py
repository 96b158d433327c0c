"""``emoprobe judge``: tables and figures of a run, by stratum, prompt and channel."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from reporting.runs import make_record

from emoprobe.cli.judge import main
from emoprobe.labels import LabelSet
from emoprobe.metrics.functional import evaluate
from emoprobe.recipes.judge import TEXTS, judge, read_table, tables
from emoprobe.report.tracking import log_tables

LABELS = ("anger", "neutral", "sad")
LABEL_SET = LabelSet("set", tuple(LABELS), {label: {"noun": [label]} for label in LABELS})
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
    (folder / "run.json").write_text(json.dumps(make_record(names=LABELS)))
    return folder


@pytest.fixture(scope="module")
def judged(run: Path) -> Path:
    return judge(run, resamples=100)


def test_every_table_is_there(judged: Path):
    names = {file.stem for file in judged.glob("*.csv")}
    assert names == {
        *("strata", "group_gaps", "clear_and_ambiguous", "prompt_robustness", "variance_explained", "prompt_ensembles"),
        *("prompt_weights", "text_against_tokens", "parse_statuses", "label_masses", "reliability"),
        *("expected_confusion", "missed_mixtures", "ambiguity", "entropy_calibration", "selective_answering"),
        *("risk_coverage", "next_rater"),
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


def test_ambiguity_is_an_outcome_of_every_cell(run: Path, judged: Path):
    predictions = pd.read_parquet(run / "predictions.parquet")
    keys, scored = ["prompt", "readout"], predictions.dropna(subset=["p_anger"])
    for name, rows in {"ambiguity": 1, "entropy_calibration": 6, "selective_answering": 2, "next_rater": 2}.items():
        table = read_table(judged / f"{name}.csv")
        assert (table.groupby(keys).size() <= rows).all()
        first = table.groupby(keys).first()
        assert first["num_utterances"].max() == SIZE
        assert (first["num_failed"] == SIZE - scored.groupby(keys).size()).all()
    next_rater = read_table(judged / "next_rater.csv").query("readout == 'label_likelihood' and score == 'vote_nll'")
    arrays = [
        scored.query("prompt == 'p1' and readout == 'label_likelihood'")[[f"{part}_{x}" for x in LABELS]].to_numpy()
        for part in ("p", "target", "votes")
    ]
    assert next_rater["of_model"].iloc[0] == pytest.approx(evaluate(*arrays)["vote_nll"])


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
    assert main([str(run), "--facts", "dialect"]) == 2
    assert "It tells age, gender." in capsys.readouterr().err
    assert main([str(tmp_path)]) == 2
    assert "no readable run.json" in capsys.readouterr().err


ODD = ("NA", "null", "nan", "None", "True")


@pytest.fixture(scope="module")
def oddly_named(run: Path, tmp_path_factory) -> Path:
    """The same run with labels, prompts and speakers whose names a reader of CSV may take for something else."""
    folder = tmp_path_factory.mktemp("odd") / "run"
    folder.mkdir()
    new = dict(zip((*LABELS, "p1", "p2"), ODD, strict=True))
    for name in ("predictions", "utterances"):
        frame = pd.read_parquet(run / f"{name}.parquet").rename(
            columns=lambda column: "_".join(new.get(part, part) for part in column.split("_"))
        )
        if "prompt" in frame:
            frame["prompt"] = frame["prompt"].map(new)
        if "metadata" in frame:
            frame["metadata"] = [json.dumps({"gender": ("NA", "None")[i % 2]}) for i in range(len(frame))]
        frame["speaker"] = frame["speaker"].map(lambda who: {"s0": "nan", "s1": "None"}.get(who, who))
        frame.to_parquet(folder / f"{name}.parquet")
    record = json.loads((run / "run.json").read_text())
    record["labels"] |= {"labels": list(ODD[:3]), "words": {label: {"noun": [label]} for label in ODD[:3]}}
    (folder / "run.json").write_text(json.dumps(record))
    return folder


def test_names_that_look_like_nothing_survive_the_tables(oddly_named: Path):
    folder = judge(oddly_named, resamples=20)
    plain = {file.stem: read_table(file) for file in folder.glob("*.csv")}
    assert {"NA", "null", "nan", "no majority"} == set(plain["strata"].query("kind == 'majority'")["stratum"])
    assert {"NA", "None"} == set(plain["strata"].query("kind == 'fact:gender'")["stratum"])
    assert set(plain["expected_confusion"]["rater_label"]) == {"NA", "null", "nan"}
    assert {"NA", "null", "nan"} <= set(plain["reliability"]["label"].dropna())
    assert set(plain["label_masses"]["prompt"]) == {"None", "True"}
    assert set(plain["prompt_weights"]["member"]) == {"None", "True"}
    assert plain["strata"]["js_divergence"].dtype == float


def test_every_column_of_names_is_read_as_text(run: Path):
    """`read_table` gives every table as it was before it was written."""
    predictions, utterances = (pd.read_parquet(run / f"{name}.parquet") for name in ("predictions", "utterances"))
    for name, frame in tables(predictions, utterances, LABEL_SET, ["gender"], resamples=20):
        texts = {column for column in frame if not pd.api.types.is_numeric_dtype(frame[column])}
        assert not len(frame) or texts <= set(TEXTS), name


def test_the_tracker_is_sent_the_names(oddly_named: Path):
    sent = {}

    class Logger:
        def log_table(self, key: str, dataframe: pd.DataFrame) -> None:
            sent[key] = dataframe

    file = judge(oddly_named, resamples=20, figures=False) / "expected_confusion.csv"
    log_tables(Logger(), {"judgement/expected_confusion": read_table(file)}, {})
    assert set(sent["judgement/expected_confusion"]["rater_label"]) == {"NA", "null", "nan"}


def test_weighted_prompts_are_one_row_whatever_their_parts_were_fitted_on(run: Path, tmp_path: Path):
    """With a development split the weights of its clips come from elsewhere than those of the others."""
    folder = tmp_path / "run"
    folder.mkdir()
    frame = pd.read_parquet(run / "predictions.parquet")
    dev = frame["speaker"].isin(["s0", "s1", "s2"])
    frame["split"] = np.where(dev, "development", "test")
    frame.to_parquet(folder / "predictions.parquet")
    for name in ("utterances.parquet", "run.json"):
        (folder / name).write_bytes((run / name).read_bytes())
    table = read_table(judge(folder, resamples=20, figures=False) / "prompt_ensembles.csv")
    weighted = table[table["prompt"].str.startswith("ensemble_weighted") & (table["readout"] == "label_likelihood")]
    assert len(weighted) == 1
    assert weighted["num_utterances"].item() == SIZE
