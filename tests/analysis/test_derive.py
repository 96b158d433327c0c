"""From a score table made by hand to cells, predictions and metric rows; no model anywhere."""

from __future__ import annotations

import json
from functools import partial

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from reporting.runs import make_record
from scipy.spatial.distance import jensenshannon
from scipy.special import logsumexp, softmax

from emoprobe.analysis.derive import analyse
from emoprobe.analysis.options import AnalysisOptions
from emoprobe.beliefs.calibrations import prior_matching
from emoprobe.beliefs.calibrations.contextual import Contextual
from emoprobe.beliefs.calibrations.none import Uncalibrated
from emoprobe.beliefs.calibrations.pmi import Pmi
from emoprobe.beliefs.calibrations.prior_matching import PriorMatching
from emoprobe.errors import InputError
from emoprobe.labels import LabelSet
from emoprobe.readout.averaged_logits import AveragedLogitsOptions
from emoprobe.readout.sampled_text import SampledTextOptions
from emoprobe.report import tables
from emoprobe.report.results import print_results, write_results
from emoprobe.run.record import Record
from emoprobe.run.scores import schema

FORMS = {
    "angry": {"adjective": ["angry"], "noun": ["anger"]},
    "happy": {"adjective": ["happy"], "noun": ["happiness"]},
    "sad": {"adjective": ["sad"], "noun": ["sadness"]},
}
LABELS = LabelSet("three", ("angry", "happy", "sad"), FORMS, {"fury": "angry"})
FORM_LABELS = ["angry", "happy", "sad", "sad"]
IDS = ["u0", "u1", "u2", "u3"]
P = [f"p_{label}" for label in LABELS.labels]
NONE, SILENCE = Uncalibrated(), Contextual("contextual_silence", "silence")
CALIBRATIONS = [
    NONE,
    SILENCE,
    Pmi("pmi", "no_audio"),
    PriorMatching("batch", "uniform"),
    PriorMatching("training_prior", "votes"),
]
VOTES = np.array([[3, 1, 0], [0, 2, 2], [1, 1, 1], [0, 0, 5]])


def utterances() -> pd.DataFrame:
    frame = pd.DataFrame({"utterance_id": IDS, "role": "evaluated", "num_raters": VOTES.sum(axis=1)})
    frame[["speaker", "split", "transcript"]] = "x"
    for i, label in enumerate(LABELS.labels):
        frame[f"votes_{label}"] = VOTES[:, i]
        frame[f"target_{label}"] = VOTES[:, i] / VOTES.sum(axis=1)
    return frame


def row(utterance_id: str, prompt: str, readout: str, kind: str = "clip", draw: int = 0, **columns) -> dict:
    forms = {"form_labels": FORM_LABELS, "forms": ["angry", "happy", "sad", "sadness"]}
    names = {"utterance_id": utterance_id, "input": kind, "draw": draw, "prompt": prompt, "readout": readout}
    # Answers ended and name one label, unless the row says otherwise.
    columns = {"answer_format": "single_word", "finished": True, "free_finished": True} | columns
    if "sampled_texts" in columns:
        columns.setdefault("sampled_finished", [True] * len(columns["sampled_texts"]))
    return {**names, "model": "m", "label_set_hash": LABELS.hash, "duration_seconds": 1.0, **forms, **columns}


def rows_of(prompt: str, readout: str, column: str, values, **columns) -> list[dict]:
    return [row(name, prompt, readout, **{column: value}, **columns) for name, value in zip(IDS, values, strict=True)]


def likelihood_rows(prompt: str, scores, readout: str = "label_likelihood") -> list[dict]:
    """Scores ``[inputs, forms]`` or, for layers, ``[inputs, layers, forms]``; the last two are silence and no audio."""
    inputs = [(name, "clip") for name in IDS] + [("", "silence"), ("", "no_audio")]
    rows = []
    for (name, kind), values in zip(inputs, np.asarray(scores), strict=True):
        if readout == "layerwise":
            columns = {"layer_form_logprobs": values.ravel().tolist()}
        else:
            columns = {"form_logprobs": values.tolist(), "log_label_mass": float(logsumexp(values))}
        rows.append(row(name, prompt, readout, kind, **columns))
    return rows


def run(rows: list[dict], calibrations=(NONE,), **options):
    table = pa.Table.from_pylist(rows, schema=schema())
    return analyse(table, utterances(), LABELS, AnalysisOptions(calibrations, **{"resamples": 20} | options))


def cell(analysis, **names) -> pd.DataFrame:
    """The predictions of one cell, in the order of the utterances."""
    frame = analysis.predictions
    for key, value in names.items():
        frame = frame[frame[key] == value]
    return frame.set_index("utterance_id").loc[IDS]


def probs(analysis, **names) -> np.ndarray:
    found = cell(analysis, **names)
    assert len(found) == len(IDS)
    return found[P].to_numpy()


def names_of(analysis, key: str, **names) -> list[str]:
    rows = [row for row in analysis.rows if row["kind"] == "readout"]
    return list(dict.fromkeys(row[key] for row in rows if all(row[name] == names[name] for name in names)))


def random_scores(seed: int, *middle: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-8, -3, (6, *middle, 4))


def pooled(scores: np.ndarray) -> np.ndarray:
    """Probabilities of the forms added up by label, not normalised."""
    p = np.exp(scores)
    return np.stack([p[..., 0], p[..., 1], p[..., 2] + p[..., 3]], axis=-1)


# -- layers ------------------------------------------------------------------------------------------------------------


def test_the_last_layer_is_the_label_likelihood_under_every_calibration():
    scores = random_scores(0, 3)
    rows = likelihood_rows("p", scores, "layerwise") + likelihood_rows("p", scores[:, -1])
    analysis = run(rows, CALIBRATIONS)
    assert names_of(analysis, "variant", readout="layerwise") == ["layer_00", "layer_01", "layer_02"]
    for one in CALIBRATIONS:
        last, whole = (
            {"readout": readout, "variant": variant, "calibration": one.name}
            for readout, variant in (("layerwise", "layer_02"), ("label_likelihood", "sum"))
        )
        np.testing.assert_allclose(probs(analysis, **last), probs(analysis, **whole))
        np.testing.assert_allclose(cell(analysis, **last)["label_mass"], cell(analysis, **whole)["label_mass"])
        assert set(cell(analysis, **last)["fitted_on"]) == set(cell(analysis, **whole)["fitted_on"])


def test_a_layer_is_normalised_and_calibrated_by_its_own_null_inputs():
    scores = random_scores(1, 3)
    analysis = run(likelihood_rows("p", scores, "layerwise"), CALIBRATIONS)
    for layer in range(3):
        p = pooled(scores[:, layer])
        p, mass = p / p.sum(axis=1, keepdims=True), p.sum(axis=1)
        name = {"readout": "layerwise", "variant": f"layer_{layer:02}"}
        np.testing.assert_allclose(probs(analysis, **name, calibration="none"), p[:4])
        np.testing.assert_allclose(cell(analysis, **name, calibration="none")["label_mass"], mass[:4])
        shifted = p[:4] / p[4]
        expected = shifted / shifted.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(probs(analysis, **name, calibration="contextual_silence"), expected)
        ratio = pooled(scores[:4, layer] - scores[5, layer])
        expected = ratio / ratio.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(probs(analysis, **name, calibration="pmi"), expected)
        np.testing.assert_allclose(probs(analysis, **name, calibration="batch").mean(axis=0), 1 / 3, atol=1e-8)


def test_metrics_of_a_layer_agree_with_scipy():
    analysis = run(likelihood_rows("p", random_scores(2, 2), "layerwise"))
    targets = VOTES / VOTES.sum(axis=1, keepdims=True)
    found = [row for row in analysis.rows if row["readout"] == "layerwise"]
    assert len(found) == 2
    for line in found:
        p = probs(analysis, variant=line["variant"])
        divergence = (jensenshannon(p, targets, base=2, axis=1) ** 2).mean()
        assert line["metrics"]["js_divergence"] == pytest.approx(divergence)
        assert line["metrics"]["bhattacharyya"] == pytest.approx(np.sqrt(p * targets).sum(axis=1).mean())
        assert line["statuses"] == {"ok": 4}


def test_names_of_more_than_a_hundred_layers_sort_as_the_layers_do():
    found = names_of(run(likelihood_rows("p", random_scores(3, 101), "layerwise")), "variant")
    assert found == sorted(found)
    assert (found[0], found[-1], len(found)) == ("layer_000", "layer_100", 101)


def test_a_cell_that_no_constants_match_to_a_prior_fails_alone(monkeypatch):
    monkeypatch.setattr(prior_matching, "prior_matching", partial(prior_matching.prior_matching, max_steps=1))
    analysis = run(likelihood_rows("p", random_scores(4, 2), "layerwise"), CALIBRATIONS)
    for line in (row for row in analysis.rows if row["kind"] == "readout"):
        failed = line["calibration"] in ("batch", "training_prior")
        assert line["statuses"] == ({"undefined": 4} if failed else {"ok": 4})
    assert set(cell(analysis, variant="layer_00", calibration="training_prior")["fitted_on"]) == {
        "evaluated inputs + evaluated votes"
    }


# -- text --------------------------------------------------------------------------------------------------------------


def test_sampled_answers_become_one_cell_that_is_never_calibrated():
    texts = [["angry", "Sad."], ["hm", "sadness"], ["hm", "I cannot tell."], ["I cannot tell."] * 2]
    analysis = run(rows_of("p", "sampled_text", "sampled_texts", texts), CALIBRATIONS)
    assert (names_of(analysis, "variant"), names_of(analysis, "calibration")) == (["mean"], ["none"])
    found = cell(analysis, readout="sampled_text")
    assert found["status"].tolist() == ["ok", "partial", "refused", "refused"]
    assert found["share_parsed"].tolist() == [1, 0.5, 0, 0]
    assert found["generated_text"].tolist()[:2] == ["angry | Sad.", "hm | sadness"]
    np.testing.assert_array_equal(found[P][:2], [[0.5, 0, 0.5], [0, 0, 1]])
    assert found[P][2:].isna().all(axis=None)
    assert analysis.rows[0]["statuses"] == {"ok": 1, "partial": 1, "refused": 2}
    assert (analysis.rows[0]["num_utterances"], analysis.rows[0]["num_failed"]) == (2, 2)
    assert analysis.rows[0]["mean_share_parsed"] == pytest.approx(0.375)
    assert "drawn answers that state a distribution: 38% to 38%" in tables.footnote(analysis.rows)
    strict = run(
        rows_of("p", "sampled_text", "sampled_texts", texts), readouts={"sampled_text": SampledTextOptions(0.75)}
    )
    assert cell(strict)["status"].tolist() == ["ok", "too_few_parsed", "refused", "refused"]
    assert (strict.rows[0]["num_utterances"], strict.rows[0]["num_failed"]) == (1, 3)


def test_constrained_text_and_the_models_own_are_two_variants():
    filled = [f'{{"angry": {a}, "happy": {b}, "sad": {c}}}' for a, b, c in ((0.5, 0.5, 0), (1, 1, 0), (0, 0, 1))]
    filled.append('{"angry": 0.00, "happy": 0.00, "sad": 0.00}')
    rows = rows_of("p", "constrained_text", "generated_text", filled)
    own = ["Fury", "I'm so happy today.", "I cannot tell.", '{"anger": 0.6, "contempt": 0.4}']
    for line, text in zip(rows, own, strict=True):
        line |= {"free_text": text, "answer_format": "probability_dict", "free_finished": text != "Fury"}
    analysis = run(rows)
    constrained, free = (cell(analysis, variant=variant) for variant in ("constrained", "free"))
    assert constrained["status"].tolist() == ["ok", "renormalised", "ok", "unparsed"]
    np.testing.assert_allclose(constrained[P][:3], [[0.5, 0.5, 0], [0.5, 0.5, 0], [0, 0, 1]])
    assert constrained["generated_text"].tolist() == filled
    assert free["status"].tolist() == ["truncated", "unparsed", "refused", "partial"]
    np.testing.assert_array_equal(free[P].iloc[3], [1, 0, 0])
    np.testing.assert_array_equal(free["label_mass"], [np.nan, np.nan, np.nan, 0.6])
    assert free["generated_text"].tolist()[0] == "Fury"
    statuses = {row["variant"]: row["statuses"] for row in analysis.rows if row["kind"] == "readout"}
    assert statuses["free"] == {"truncated": 1, "unparsed": 1, "refused": 1, "partial": 1}
    masses = {row["variant"]: row["mean_label_mass"] for row in analysis.rows if row["kind"] == "readout"}
    assert masses == pytest.approx({"constrained": 1, "free": 0.6})


def test_a_readout_that_failed_everywhere_has_a_row_without_metrics():
    analysis = run(rows_of("p", "sampled_text", "sampled_texts", [["hm", "hm"]] * 4))
    line = analysis.rows[0]
    assert (line["num_utterances"], line["num_failed"], line["metrics"]) == (0, 4, {})
    assert line["statuses"] == {"unparsed": 4}


def test_a_lettered_prompt_takes_letters_words_and_what_follows_reasoning():
    letters = {"form_labels": ["angry", "happy", "sad"], "forms": ["B", "C", "A"]}
    texts = ["B", "anger", "fury", "A\nThe voice is low."]
    rows = [line | letters for line in rows_of("p", "generated_text", "generated_text", texts)]
    expected = np.array([[1, 0, 0], [1, 0, 0], [1, 0, 0], [0, 0, 1]])
    plain = run(rows)
    np.testing.assert_array_equal(probs(plain)[:3], expected[:3])
    assert cell(plain)["status"].tolist()[3] == "unparsed"
    whole = {"reasoning": "It sounds low.", "reasoning_finished": True}
    reasoned = run([line | whole for line in rows])
    np.testing.assert_array_equal(probs(reasoned), expected)
    assert cell(reasoned)["generated_text"].tolist() == texts  # as the model wrote it


def test_cut_reasoning_fails_text_and_is_counted_where_tokens_are_read():
    rows = rows_of("p", "generated_text", "generated_text", ["angry", "sad", "sad", "happy"])
    rows += [line for line in likelihood_rows("p", random_scores(0)) if line["input"] == "clip"]
    plain = run([line | {"prompt": "q"} for line in rows])
    assert plain.predictions["reasoning_cut"].isna().all()
    for line in rows:
        line |= {"reasoning": "It is", "reasoning_finished": line["utterance_id"] != "u1"}
    analysis = run(rows)
    text, tokens = (cell(analysis, readout=readout) for readout in ("generated_text", "label_likelihood"))
    assert text["status"].tolist() == ["single_label", "reasoning_cut", "single_label", "single_label"]
    for found in (text, tokens):
        assert found["reasoning_cut"].tolist() == [False, True, False, False]
    np.testing.assert_allclose(tokens[P], probs(plain, readout="label_likelihood"))
    assert [row["num_reasoning_cut"] for row in analysis.rows if row["kind"] == "readout"] == [1, 1]
    assert "reasoning cut at its limit: up to 1 clips of a row" in tables.footnote(analysis.rows)


# -- rows that a head wrote, or nobody here ----------------------------------------------------------------------------


def test_a_trained_head_is_known_by_its_options_and_not_asked_of_null_inputs():
    scores = random_scores(0)
    rows = [line | {"readout": "my_head"} for line in likelihood_rows("p", scores) if line["input"] == "clip"]
    for knows in (False, True):
        options = json.dumps({"head": {"name": "my_head"}} | ({"knows_votes": True} if knows else {}))
        analysis = run([line | {"readout_options": options} for line in rows], CALIBRATIONS)
        assert names_of(analysis, "variant") == ["trained"]
        assert names_of(analysis, "calibration") == ["none", "batch", "training_prior"]
        found = cell(analysis, calibration="none")
        assert set(found["fitted_on"]) == ({"evaluated votes"} if knows else {""})
        assert found["label_mass"].isna().all()
        expected = pooled(scores[:4])
        np.testing.assert_allclose(found[P], expected / expected.sum(axis=1, keepdims=True))


def test_rows_of_a_readout_that_nobody_here_knows_are_refused():
    rows = likelihood_rows("p", random_scores(0), "tea_leaves")
    with pytest.raises(InputError, match=r"'tea_leaves' that is not known here .* Install the package"):
        run(rows)


# -- orders and ensembles ----------------------------------------------------------------------------------------------


def test_orders_are_averaged_and_each_prompt_is_taken_once_by_the_ensembles():
    scores = {"lettered@0": 5, "lettered@1": 6, "lettered@2": 7, "plain": 8, "word": 9}
    scores = {name: random_scores(seed) for name, seed in scores.items()}
    analysis = run([line for name in scores for line in likelihood_rows(name, scores[name])], [NONE, SILENCE])
    assert names_of(analysis, "prompt") == [
        *scores,
        "lettered@mean(3)",
        "ensemble_arithmetic(3)",
        "ensemble_geometric(3)",
    ]
    p = {name: pooled(values) for name, values in scores.items()}
    p = {name: values / values.sum(axis=1, keepdims=True) for name, values in p.items()}
    for one in (NONE, SILENCE):
        if one is SILENCE:
            p = {name: values / values[4] for name, values in p.items()}
            p = {name: values / values.sum(axis=1, keepdims=True) for name, values in p.items()}
        orders = np.mean([p[f"lettered@{i}"] for i in range(3)], axis=0)
        members = np.stack([orders, p["plain"], p["word"]])[:, :4]
        geometric = softmax(np.log(members).mean(axis=0), axis=1)
        for name, expected in (
            ("lettered@mean(3)", orders[:4]),
            ("ensemble_arithmetic(3)", members.mean(axis=0)),
            ("ensemble_geometric(3)", geometric),
        ):
            np.testing.assert_allclose(probs(analysis, prompt=name, calibration=one.name), expected)
    mass = np.mean([np.exp(scores[f"lettered@{i}"][:4]).sum(axis=1) for i in range(3)], axis=0)
    found = cell(analysis, prompt="lettered@mean(3)", calibration="none")
    np.testing.assert_allclose(found["label_mass"], mass)


def test_orders_of_a_single_prompt_make_no_ensemble():
    rows = [line for i in range(2) for line in likelihood_rows(f"p@{i}", random_scores(i))]
    assert names_of(run(rows), "prompt") == ["p@0", "p@1", "p@mean(2)"]


def test_one_order_alone_is_no_mean():
    rows = likelihood_rows("p@0", random_scores(0)) + likelihood_rows("q", random_scores(1))
    assert names_of(run(rows, ensembles=["arithmetic"]), "prompt") == ["p@0", "q", "ensemble_arithmetic(2)"]


def test_every_layer_and_reading_has_its_mean_over_orders():
    logits = {"kept_tokens": [1, 2, 3], "log_normalizers": [30.0], "form_labels": list(LABELS.labels)}
    logits |= {"form_tokens": [[1, 9], [2, 9], [3, 9]], "form_own_tokens": [1, 1, 1], "forms": ["A", "B", "C"]}
    rows = []
    for i, values in enumerate(([10.0, 5.0, 5.0], [4.0, 4.0, 12.0])):
        rows += likelihood_rows(f"p@{i}", random_scores(i, 2), "layerwise")
        averaged = rows_of(f"p@{i}", "averaged_logits", "kept_logits", [values] * 4)
        rows += [line | logits for line in averaged]
    readings = {"averaged_logits": AveragedLogitsOptions(("raw_logit_ratio",))}
    analysis = run(rows, [NONE, PriorMatching("batch", "uniform")], readouts=readings)
    assert names_of(analysis, "variant", prompt="p@mean(2)") == ["layer_00", "layer_01", "raw_logit_ratio"]
    for variant in ("layer_00", "layer_01"):
        for name in ("none", "batch"):
            single = [probs(analysis, prompt=f"p@{i}", variant=variant, calibration=name) for i in range(2)]
            mean = probs(analysis, prompt="p@mean(2)", variant=variant, calibration=name)
            np.testing.assert_allclose(mean, np.mean(single, axis=0))
    mean = probs(analysis, prompt="p@mean(2)", readout="averaged_logits", calibration="none")
    np.testing.assert_allclose(mean, [[0.35, 0.225, 0.425]] * 4)


def test_text_is_averaged_over_orders_but_never_over_prompts():
    answers = {"p@0": ["angry", "angry", "hm", "hm"], "p@1": ["angry", "sad", "sad", "hm"], "q": ["sad"] * 4}
    rows = []
    for prompt, texts in answers.items():
        rows += rows_of(prompt, "generated_text", "generated_text", texts)
        rows += rows_of(prompt, "sampled_text", "sampled_texts", [[text] for text in texts])
        rows += rows_of(prompt, "constrained_text", "generated_text", texts, free_text="happy")
    analysis = run(rows)
    assert names_of(analysis, "prompt") == ["p@0", "p@1", "q", "p@mean(2)"]
    for variant in ("parsed", "mean", "constrained"):
        found = cell(analysis, prompt="p@mean(2)", variant=variant)
        assert found["status"].tolist() == ["ok", "ok", "undefined", "undefined"]
        np.testing.assert_allclose(found[P][:2], [[1, 0, 0], [0.5, 0, 0.5]])
        assert found["generated_text"].isna().all()
    np.testing.assert_array_equal(probs(analysis, prompt="p@mean(2)", variant="free"), [[0, 1, 0]] * 4)


# -- what is written and printed ---------------------------------------------------------------------------------------

RECORD = Record.from_json(
    make_record(
        corpus={"name": "made", "title": "Made by hand", "synthetic": False, "licence": "none"},
        soft_label_policy={"name": "vote shares", "hash": "0"},
        labels={
            "name": LABELS.name,
            "labels": list(LABELS.labels),
            "words": LABELS.words,
            "aliases": {},
            "hash": LABELS.hash,
        },
    )
)


def test_layers_are_all_written_and_told_in_one_printed_line(tmp_path, capsys):
    scores = random_scores(0, 40)
    rows = likelihood_rows("p", scores, "layerwise") + likelihood_rows("p", scores[:, -1])
    analysis = run(rows, [NONE, SILENCE])
    figures = write_results(tmp_path, analysis, RECORD, figures=True)
    assert {file.name for file in figures} >= {"overview.png", "layers.png", "label_likelihood-p-none_mean.png"}
    assert not [file.name for file in figures if "layerwise" in file.name]
    written = pd.read_csv(tmp_path / "metrics.csv")
    layers = written[(written["readout"] == "layerwise") & (written["calibration"] == "none")]
    assert len(layers) == 40
    print_results(analysis, RECORD, tmp_path, figures)
    printed = capsys.readouterr().out
    best = layers.loc[layers["js_divergence"].idxmin()]
    told = [line for line in printed.splitlines() if "layer_" in line]
    assert told == [
        f"Layers   40 layers are in metrics.csv; lowest JS without calibration: {best['js_divergence']:.3f}, "
        f"{best['variant']} of p (chosen on the evaluated clips)"
    ]
    assert "layerwise" not in printed
    assert printed.startswith("Model")
    assert "2 readouts by JS, label likelihood (prompt p, " in " ".join(printed.split())
    assert "\nlabel likelihood" in printed


def test_without_layers_no_line_speaks_of_them(tmp_path, capsys):
    analysis = run(likelihood_rows("p", random_scores(0)))
    assert write_results(tmp_path, analysis, RECORD, figures=False) == []
    print_results(analysis, RECORD, tmp_path, [])
    assert "Layers" not in capsys.readouterr().out
