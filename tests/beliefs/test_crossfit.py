"""Whose votes a clip's parameters are fitted on: folds, development parts, and what an analysis makes of them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from posthoc_cases import FITS, KINDS, clips, kl
from scipy.special import log_softmax

from emoprobe.analysis.derive import analyse
from emoprobe.analysis.options import AnalysisOptions
from emoprobe.beliefs import posthoc
from emoprobe.beliefs.calibrations.base import CALIBRATIONS
from emoprobe.beliefs.calibrations.scaling import cross_fitted
from emoprobe.beliefs.calibrations.vector import Vector
from emoprobe.beliefs.crossfit import NOT_FITTED, plan
from emoprobe.errors import InputError
from emoprobe.labels import LabelSet
from emoprobe.recipes.settings import read_analysis
from emoprobe.run.scores import schema
from emoprobe.settings import compose


def calibrate(kind, log_probs, target, whose, ids):
    return cross_fitted(CALIBRATIONS[kind](kind).fit, log_probs, target, whose, ids)


def ids_of(number):
    return [f"u{i:04}" for i in range(number)]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([None, "a", "b", "c", "d", "e", "f"]), st.sampled_from([None, "train", "Dev", "test"])
        ),
        min_size=1,
        max_size=40,
    ),
    st.integers(2, 6),
)
def test_nobody_is_calibrated_by_their_own_speaker(clips_of, folds):
    speakers, splits = (list(column) for column in zip(*clips_of, strict=True))
    ids = ids_of(len(speakers))
    found = plan(ids, speakers, splits, folds=folds)
    groups = np.array([speaker or name for speaker, name in zip(speakers, ids, strict=True)])
    times = np.sum([part.apply for part in found.parts], axis=0) if found.parts else np.zeros(len(ids))
    assert times.max() <= 1
    inside = np.array([split == "Dev" for split in splits])
    official = inside.any() and not inside.all()
    source = inside if official else np.ones(len(ids), dtype=bool)
    for part in found.parts:
        assert not set(groups[part.fit]) & set(groups[part.apply])
        assert not (part.fit & ~source).any()
        assert part.fit.any()
    assert times.all() == (len(set(groups[source])) > 1 or not set(groups) & set(groups[source]))
    assert ("development" in found.fitted_on) == official
    assert found.fitted_on.startswith("other speakers'" if None not in speakers else "other clips'")


def test_folds_are_even_seeded_and_as_many_as_asked_for():
    speakers = [f"s{i % 24}" for i in range(480)]
    found = plan(ids_of(480), speakers, [None] * 480)
    assert [part.name for part in found.parts] == [f"fold {i} of 5" for i in range(1, 6)]
    assert found.fitted_on == "other speakers' votes (5 folds)"
    sizes = [int(part.apply.sum()) for part in found.parts]
    assert sum(sizes) == 480
    assert max(sizes) - min(sizes) <= 20
    again, other = (plan(ids_of(480), speakers, [None] * 480, seed=seed) for seed in (0, 1))
    np.testing.assert_array_equal(found.parts[0].apply, again.parts[0].apply)
    assert not np.array_equal(found.parts[0].apply, other.parts[0].apply)
    few = plan(ids_of(6), ["a", "b", "c"] * 2, [None] * 6)
    assert few.fitted_on == "other speakers' votes (3 folds)"
    one = plan(ids_of(6), ["a"] * 6, [None] * 6)
    assert (one.parts, one.fitted_on) == ((), "other speakers' votes")


def test_test_clips_take_the_whole_development_part_and_development_clips_the_rest_of_it():
    speakers = ["a", "a", "b", "c", "d", "d", "a"]
    splits = ["Validation", "Validation", "validation", "validation", "test", "train", "test"]
    found = plan(ids_of(7), speakers, splits, folds=5)
    whole = found.parts[0]
    np.testing.assert_array_equal(whole.fit, [1, 1, 1, 1, 0, 0, 0])
    np.testing.assert_array_equal(whole.apply, [0, 0, 0, 0, 1, 1, 0])  # the last clip's speaker is heard there too
    assert found.fitted_on == "other speakers' development votes"
    rest = {tuple(np.flatnonzero(part.apply)): tuple(np.flatnonzero(part.fit)) for part in found.parts[1:]}
    assert rest == {(0, 1, 6): (2, 3), (2,): (0, 1, 3), (3,): (0, 1, 2)}


def test_wrong_folds_and_seeds_are_refused():
    for options in ({"folds": 1}, {"folds": 2.5}, {"seed": -1}, {"folds": True}):
        with pytest.raises(InputError, match="whole number"):
            plan(["a"], [None], [None], **options)


@pytest.mark.parametrize("kind", KINDS)
def test_cross_fitting_is_fitting_on_the_other_folds_by_hand(kind):
    log_probs, target = clips(number=90)
    speakers = [f"s{i % 9}" for i in range(90)]
    whose = plan(ids_of(90), speakers, [None] * 90, folds=3)
    found, missing = calibrate(kind, log_probs, target, whose, ids_of(90))
    assert not missing.any()
    for part in whose.parts:
        fitted = FITS[kind](log_probs[~part.apply], target[~part.apply])
        np.testing.assert_allclose(found[part.apply], posthoc.apply(fitted, log_probs[part.apply]), atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_own_votes_do_not_change_a_clips_distribution(kind):
    log_probs, target = clips(number=60)
    speakers = np.array([f"s{i % 6}" for i in range(60)])
    whose = plan(ids_of(60), speakers, [None] * 60)
    first, _ = calibrate(kind, log_probs, target, whose, ids_of(60))
    mine = speakers == "s2"
    turned = np.where(mine[:, None], np.roll(target, 1, axis=1), target)
    second, _ = calibrate(kind, log_probs, turned, whose, ids_of(60))
    np.testing.assert_array_equal(first[mine], second[mine])
    assert np.abs(first[~mine] - second[~mine]).max() > 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_the_order_of_clips_changes_nothing_at_all(kind):
    log_probs, target = clips(number=70)
    log_probs[5] = np.nan
    ids, speakers = np.array(ids_of(70)), np.array([f"s{i % 7}" for i in range(70)])
    splits = np.array(["development"] * 30 + ["test"] * 40)
    order = np.random.default_rng(0).permutation(70)
    for parts in (splits, np.full(70, None)):
        first, _ = calibrate(kind, log_probs, target, plan(ids, speakers, parts), ids)
        whose = plan(ids[order], speakers[order], parts[order])
        second, _ = calibrate(kind, log_probs[order], target[order], whose, ids[order])
        np.testing.assert_array_equal(first[order], second)


def test_clips_without_enough_others_have_no_parameters():
    log_probs, target = clips(number=20)
    log_probs[0] = np.nan
    speakers = ["a"] * 15 + ["b"] * 5  # a's parameters would come from the five clips of b
    whose = plan(ids_of(20), speakers, [None] * 20)
    found, missing = calibrate("temperature", log_probs, target, whose, ids_of(20))
    np.testing.assert_array_equal(missing, [False] + [True] * 14 + [False] * 5)
    assert np.isfinite(found[15:]).all()
    assert np.isnan(found[:15]).all()


# -- in an analysis ----------------------------------------------------------------------------------------------------

LABELS = LabelSet("three", ("angry", "happy", "sad"), {name: {"word": [name]} for name in ("angry", "happy", "sad")})
P = [f"p_{label}" for label in LABELS.labels]


def make_run(number=60, split=None, speakers=10):
    """Scores of a model that is three times too sure, a text readout, and the votes."""
    log_probs, target = clips(number=number, labels=3, truth=lambda log: log_softmax(log / 3, axis=1))
    frame = pd.DataFrame({"utterance_id": ids_of(number), "role": "evaluated", "num_raters": 8})
    frame["speaker"] = [f"s{i % speakers}" for i in range(number)]
    frame["split"] = split
    frame["transcript"] = None
    for i, label in enumerate(LABELS.labels):
        frame[f"votes_{label}"] = target[:, i] * 8
        frame[f"target_{label}"] = target[:, i]
    shared = {"input": "clip", "draw": 0, "prompt": "p", "model": "m", "label_set_hash": LABELS.hash}
    shared |= {"form_labels": list(LABELS.labels), "forms": list(LABELS.labels), "duration_seconds": 1.0}
    rows = []
    for name, log in zip(ids_of(number), log_probs, strict=True):
        rows.append(shared | {"utterance_id": name, "readout": "label_likelihood", "form_logprobs": log.tolist()})
        rows[-1]["log_label_mass"] = 0.0
        text = LABELS.labels[log.argmax()] if name != "u0003" else "I cannot tell."
        rows.append(shared | {"utterance_id": name, "readout": "generated_text", "generated_text": text})
        rows[-1] |= {"answer_format": "single_word", "finished": True}
    return pa.Table.from_pylist(rows, schema=schema()), frame, log_probs, target


def options(*names):
    calibrations = read_analysis(compose([f"calibration=[{','.join(names)}]"])).calibrations
    return AnalysisOptions(calibrations, resamples=20)


ALL = options("none", "temperature", "vector_scaling", "matrix_scaling")


def test_every_readout_gets_a_row_per_scaling_that_says_whose_votes_it_knows():
    table, frame, log_probs, target = make_run()
    found = analyse(table, frame, LABELS, ALL)
    rows = {(row["readout"], row["calibration"]): row for row in found.rows if row["kind"] == "readout"}
    names = ("none", "temperature", "vector_scaling", "matrix_scaling")
    assert list(rows) == [(readout, name) for readout in ("label_likelihood", "generated_text") for name in names]
    whose = plan(ids_of(60), frame["speaker"].tolist(), [None] * 60)
    for kind, name in zip(KINDS, names[1:], strict=True):
        row = rows["label_likelihood", name]
        assert row["fitted_on"] == "other speakers' votes (5 folds)"
        assert (row["num_utterances"], row["num_failed"], row["statuses"]) == (60, 0, {"ok": 60})
        expected, _ = calibrate(kind, log_probs, target, whose, ids_of(60))
        cell = found.predictions.query("readout == 'label_likelihood' and calibration == @name")
        np.testing.assert_allclose(cell[P], np.exp(expected), atol=1e-10)
        assert row["metrics"]["kl_target_pred"] == pytest.approx(kl(target, expected), rel=1e-8)
        assert row["metrics"]["kl_target_pred"] < rows["label_likelihood", "none"]["metrics"]["kl_target_pred"]
        text = rows["generated_text", name]
        assert (text["num_failed"], text["statuses"]) == (1, {"refused": 1, "single_label": 59})
        assert np.isfinite(text["metrics"]["kl_target_pred"])
    assert rows["label_likelihood", "none"]["fitted_on"] == ""
    assert rows["generated_text", "none"]["metrics"]["kl_target_pred"] == np.inf


def test_a_development_part_lends_its_parameters_and_is_itself_cross_fitted():
    split = np.array(["development"] * 30 + ["test"] * 30)
    table, frame, log_probs, target = make_run(split=split)
    frame["speaker"] = np.where(split == "test", "t" + frame["speaker"], frame["speaker"])
    found = analyse(table, frame, LABELS, ALL).predictions.query("readout == 'label_likelihood'")
    for kind, name in zip(KINDS, ("temperature", "vector_scaling", "matrix_scaling"), strict=True):
        cell = found[found["calibration"] == name]
        assert set(cell["fitted_on"]) == {"other speakers' development votes"}
        assert set(cell["status"]) == {"ok"}
        fitted = FITS[kind](log_probs[:30], target[:30])
        np.testing.assert_allclose(cell[P][30:], np.exp(posthoc.apply(fitted, log_probs[30:])), atol=1e-10)
        assert np.abs(cell[P][:30] - np.exp(posthoc.apply(fitted, log_probs[:30]))).to_numpy().max() > 1e-4


def test_too_few_clips_fail_and_are_counted():
    table, frame, _, _ = make_run(number=6, speakers=3)
    found = analyse(table, frame, LABELS, ALL)
    for row in found.rows:
        if row["calibration"] not in ("none", ""):
            assert (row["num_utterances"], row["num_failed"], row["metrics"]) == (0, 6, {})
            expected = {NOT_FITTED: 6} if row["readout"] == "label_likelihood" else {NOT_FITTED: 5, "refused": 1}
            assert row["statuses"] == expected


def test_an_analysis_does_not_depend_on_the_order_of_its_utterances():
    table, frame, _, _ = make_run()
    order = np.random.default_rng(0).permutation(60)
    first = analyse(table, frame, LABELS, ALL).predictions
    second = analyse(table.take(np.random.default_rng(1).permutation(120)), frame.iloc[order], LABELS, ALL).predictions
    keys = ["utterance_id", "readout", "calibration"]
    first, second = (found.astype({k: str for k in keys}).set_index(keys).sort_index()[P] for found in (first, second))
    pd.testing.assert_frame_equal(first, second, check_exact=True)


def test_wrong_options_of_a_scaling_are_named():
    for name, value in (("l2", -1.0), ("floor", 1.0), ("folds", 1), ("seed", -1)):
        with pytest.raises(InputError, match=rf"calibration\.mine\.{name}"):
            Vector("mine", **{name: value})
