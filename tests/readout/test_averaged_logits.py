"""The readings of the averaged logits, by hand and as published."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp, softmax
from tiny.plain import chat_logits

from emoprobe.errors import InputError
from emoprobe.labels import LabelSet
from emoprobe.prompts.prompt import make_prompts
from emoprobe.readout.averaged_logits import AveragedLogits, AveragedLogitsOptions
from emoprobe.readout.base import make_readouts
from emoprobe.readout.logit_readings import AVERAGED_LOGITS, AveragedLogitsVariant, averaged_logits
from emoprobe.readout.scoring.plan import make_plan
from emoprobe.readout.scoring.read import read
from emoprobe.run.scores import schema

LABELS = ("angry", "sad")
BOTH = LabelSet("two", LABELS, {"angry": {"adjective": ["angry"]}, "sad": {"adjective": ["sad", "unhappy"]}})


def logits_table(
    logits,
    normalizers=None,
    form_tokens=((1, 9), (2, 3, 9)),
    kept=(1, 2, 3),
    written=None,
    forced=None,
    texts=None,
    ends=None,
    spelled=None,
):
    """One row per list of positions x kept tokens; the last position is that of the end, unless told otherwise."""
    normalizers = normalizers or [[10.0] * len(row) for row in logits]
    written = written or [len(row) - 1 for row in logits]
    return pa.table(
        {
            "generated_tokens": pa.array([[5] * length for length in written], pa.list_(pa.int32())),
            "generated_text": texts or ["hm"] * len(logits),
            "forms": [["angry", "sad"]] * len(logits),
            "generated_ends": pa.array(ends or [[2] * length for length in written], pa.list_(pa.int32())),
            "spelled_tokens": [spelled or [[10, 20], [11, 21], [12, 22], [13, 23]]] * len(logits),
            # By position 100 p, by spelling 10 s; "angry" has 2 more than "sad".
            "spelled_logits": [
                [100.0 * p + 10 * s + more for p in range(len(row)) for s in range(4) for more in (3, 1)]
                for row in logits
            ],
            "forced_logits": forced or [[[20.0, 1.0], [16.0, 10.0, 4.0]]] * len(logits),
            "form_labels": [["angry", "sad"]] * len(logits),
            "form_tokens": [[list(form) for form in form_tokens]] * len(logits),
            "form_own_tokens": [[len(form) - 1 for form in form_tokens]] * len(logits),
            "kept_tokens": [list(kept)] * len(logits),
            "kept_logits": [[float(v) for position in row for v in position] for row in logits],
            "log_normalizers": normalizers,
        }
    )


def test_averaged_logits_variants_by_hand():
    # Two positions; "angry" is token 1, "sad" is the mean of tokens 2 and 3: labels (20, 18), then (10, 6).
    table = logits_table([[[20, 19, 17], [10, 4, 8]]], [[21.0, 12.0]])
    probs = {name: averaged_logits(table, LABELS, variant).probs[0] for name, variant in AVERAGED_LOGITS.items()}
    np.testing.assert_allclose(probs["raw_logit_ratio"], np.array([15, 12]) / 27)
    np.testing.assert_allclose(probs["raw_logit_ratio_answer"], np.array([20, 18]) / 38)
    np.testing.assert_allclose(probs["raw_logit_ratio_first_token"], np.array([15, 11.5]) / 26.5)
    np.testing.assert_allclose(probs["softmax_of_mean"], softmax([15, 12]))
    np.testing.assert_allclose(probs["mean_of_softmax"], (softmax([20, 18]) + softmax([10, 6])) / 2)
    np.testing.assert_allclose(probs["answer_softmax"], softmax([20, 19]))
    first, second = np.exp([[-1.0, -2.0, -4.0], [-2.0, -8.0, -4.0]])
    expected = np.array([(first[0] + second[0]) / 2, (first[1:].mean() + second[1:].mean()) / 2])
    np.testing.assert_allclose(probs["probability_ratio"], expected / expected.sum())
    # The second position is that of the end; "angry" is forced as 20 and an end of 1, "sad" as 16, 10 and an end of 4.
    expected = np.array([first[0], first[1:].mean()])
    np.testing.assert_allclose(probs["raw_logit_ratio_without_end"], np.array([20, 18]) / 38)
    np.testing.assert_allclose(probs["probability_ratio_without_end"], expected / expected.sum())
    np.testing.assert_allclose(probs["softmax_of_mean_without_end"], softmax([20, 18]))
    np.testing.assert_allclose(probs["mean_of_softmax_without_end"], softmax([20, 18]))
    np.testing.assert_allclose(probs["raw_logit_ratio_forced"], np.array([20, 13]) / 33)
    np.testing.assert_allclose(probs["softmax_forced"], softmax([20, 13]))
    np.testing.assert_allclose(probs["raw_logit_ratio_forced_to_end"], np.array([10.5, 10]) / 20.5)
    np.testing.assert_allclose(probs["softmax_forced_to_end"], softmax([10.5, 10]))
    assert np.isnan(probs["softmax_label"]).all()  # none is written
    assert all(variant.definition for variant in AVERAGED_LOGITS.values())


def test_where_nothing_but_the_end_was_written_readings_without_it_are_undefined():
    table = logits_table([[[20, 19, 17]], [[20, 19, 17], [-9, -8, -7]], [[20, 19, 17], [10, 4, 8]]], written=[0, 1, 2])
    for name in ("raw_logit_ratio", "probability_ratio", "softmax_of_mean", "mean_of_softmax"):
        without = averaged_logits(table, LABELS, AVERAGED_LOGITS[f"{name}_without_end"])
        assert without.status == ("undefined", "ok", "ok")
        assert np.isnan(without.log_probs[0]).all()
        whole = averaged_logits(table, LABELS, AVERAGED_LOGITS[name])
        # Cut at its limit the third answer has no end, so nothing is left out of it.
        np.testing.assert_array_equal(without.log_probs[2], whole.log_probs[2])
    assert averaged_logits(table, LABELS, AVERAGED_LOGITS["raw_logit_ratio"]).status == ("ok", "ok", "ok")
    table = logits_table([[[20, 19, 17], [-29, -28, -27]]])  # the end's position alone makes the mean negative
    assert averaged_logits(table, LABELS, AVERAGED_LOGITS["raw_logit_ratio"]).status == ("undefined",)
    assert averaged_logits(table, LABELS, AVERAGED_LOGITS["raw_logit_ratio_without_end"]).status == ("ok",)


def test_forms_of_a_label_that_are_forced_average_and_the_templates_text_is_left_out():
    """ "angry.", "sad." and "unhappy.": of each the full stop, 4, and the end, 9, are not the label's own."""
    forced = [[[6.0, 50.0, 2.0], [1.0, 3.0, 60.0, 8.0], [4.0, 70.0, 1.0]], [[-6.0, 0.0, 0.0], [1.0, 3.0, 0.0, 0.0]] * 1]
    forced[1].append([4.0, 0.0, 0.0])
    table = logits_table(
        [[[1] * 4], [[1] * 4]], form_tokens=((1, 4, 9), (2, 3, 4, 9), (7, 4, 9)), kept=(1, 2, 3, 7), forced=forced
    )
    columns = {"form_labels": [["angry", "sad", "sad"]] * 2, "form_own_tokens": [[1, 2, 1]] * 2}
    for name, values in columns.items():
        table = table.set_column(table.column_names.index(name), name, pa.array(values))
    bare = averaged_logits(table, LABELS, AVERAGED_LOGITS["raw_logit_ratio_forced"])
    assert bare.status == ("ok", "undefined")
    np.testing.assert_allclose(bare.probs[0], np.array([6, 3]) / 9)
    to_end = averaged_logits(table, LABELS, AVERAGED_LOGITS["softmax_forced_to_end"])
    np.testing.assert_allclose(to_end.probs[0], softmax([4, (4 + 2.5) / 2]))


LONG = [[[1.0, 1.0, 1.0]] * 6]


@pytest.mark.parametrize(
    ("text", "ends", "angry"),
    [
        ("sad", [3], 3),
        ("Angry!", [2, 5, 6], 13),
        ("He is sad.", [2, 5, 9, 10], 223),
        ("It is: Fury, I think", [2, 5, 6, 11, 12], 333),
        ('{"sad": 0.4, "angry": 0.6}', [1, 2, 5, 20, 26], 203),
        ("happy", [5], None),
        ("unsaddled sadly", [9, 15], None),
        ("", [], None),
        ("<think>angry?</think>sad", [7, 13, 21, 24], 303),
        ("<think>angry? sad", [7, 13, 17], None),
        # Two bytes of a letter are two tokens, the first of which has a sign of its own.
        ("éé sad", [1, 1, 2, 6], 323),
    ],
)
def test_the_position_where_a_label_is_written_and_how_it_is_spelled_there(text, ends, angry):
    table = logits_table(LONG, texts=[text], ends=[ends])
    words = [("angry", "fury")]
    soft = averaged_logits(table, LABELS, AVERAGED_LOGITS["softmax_label"], words)
    ratio = averaged_logits(table, LABELS, AVERAGED_LOGITS["raw_logit_ratio_label"], words)
    assert soft.status == ratio.status == ("undefined" if angry is None else "ok",)
    if angry is None:
        assert np.isnan(soft.log_probs).all()
    else:
        np.testing.assert_allclose(ratio.probs[0], np.array([angry, angry - 2]) / (2 * angry - 2))
        np.testing.assert_allclose(soft.probs[0], softmax([2, 0]))


def test_letters_of_options_are_found_as_they_are_written():
    table = logits_table(
        LONG * 3, texts=["(B) sad", "a guess: sad", "Option A"], ends=[[1, 2, 3, 7], [1, 7, 8, 12], [6, 8]]
    )
    table = table.set_column(table.column_names.index("forms"), "forms", pa.array([["A", "B"]] * 3))
    ratio = averaged_logits(table, LABELS, AVERAGED_LOGITS["raw_logit_ratio_label"])
    np.testing.assert_allclose(ratio.probs[:, 0] / ratio.probs[:, 1], [113 / 111, 323 / 321, 133 / 131])


def test_labels_that_begin_alike_where_they_are_written_are_undefined():
    spelled = [[10, 20], [11, 11], [12, 22], [13, 23]]
    table = logits_table(LONG * 2, texts=["sad", "Sad"], ends=[[3], [3]], spelled=spelled)
    assert averaged_logits(table, LABELS, AVERAGED_LOGITS["softmax_label"]).status == ("ok", "undefined")


def plain_logits(sfm, voice, question, tokens):
    """Logits of one plain forward pass from the answer position on, ``[1 + tokens, vocabulary]``."""
    if sfm.instructed:
        return chat_logits(sfm, question.prompt, voice, tokens)[-len(tokens) - 1 :].double().numpy()
    ids = torch.tensor([[*question.prefix, *tokens]])
    with torch.no_grad():
        out = sfm.model(input_features=sfm.input_features([voice]), decoder_input_ids=ids).logits[0]
    return out[-len(tokens) - 1 :].double().numpy()


@pytest.fixture(params=["whisper", "qwen2_audio"])
def asked(request, tiny_llm, tiny_whisper, voices):
    """A model, a prompt's plan, and rows of the score table about three clips."""
    sfm = tiny_whisper if request.param == "whisper" else tiny_llm(request.param)
    words = (
        {"template": "The speaker is {label}."}
        if request.param == "whisper"
        else {"family": "instruction", "instruction": "Which of {labels}?"}
    )
    plan = make_plan(sfm, make_prompts({"p": words}, BOTH)[0], BOTH)
    readouts = make_readouts({"averaged_logits": {"max_new_tokens": 5}, "label_likelihood": {}})
    rows = [row for clip in read(sfm, sfm.encode(voices), [plan], readouts, list("abc")) for row in clip]
    return (
        sfm,
        plan,
        [[row for row in rows if row["readout"] == name] for name in ("averaged_logits", "label_likelihood")],
    )


def test_forced_labels_are_read_as_plain_transformers_reads_them(asked, voices):
    sfm, plan, (rows, likelihoods) = asked
    assert max(plan.own_tokens) > 1
    expected = []
    for voice, row, likelihood in zip(voices, rows, likelihoods, strict=True):
        means = {"angry": [], "sad": []}
        ends = {"angry": [], "sad": []}
        for i, (label, tokens, own) in enumerate(
            zip(plan.labels, plan.question.continuations, plan.own_tokens, strict=True)
        ):
            plain = plain_logits(sfm, voice, plan.question, tokens[:-1])
            logits = plain[np.arange(len(tokens)), list(tokens)]
            np.testing.assert_allclose(row["forced_logits"][i], logits, atol=1e-4)
            normalizers = logsumexp(plain, axis=1)
            np.testing.assert_allclose(row["forced_log_normalizers"][i], normalizers, atol=1e-4)
            stored = np.array(row["forced_logits"][i]) - np.array(row["forced_log_normalizers"][i])
            np.testing.assert_allclose(stored, likelihood["form_token_logprobs"][i], atol=1e-6)
            means[label].append(logits[:own].mean())
            ends[label].append(np.append(logits[:own], logits[-1]).mean())
        expected.append([softmax([np.mean(values) for values in of.values()]) for of in (means, ends)])
    table = pa.Table.from_pylist(rows, schema=schema())
    for place, name in enumerate(("softmax_forced", "softmax_forced_to_end")):
        found = averaged_logits(table, LABELS, AVERAGED_LOGITS[name])
        np.testing.assert_allclose(found.probs, [each[place] for each in expected], atol=1e-4)


def test_readings_without_the_end_are_those_of_plain_transformers(asked, voices):
    sfm, plan, (rows, _) = asked
    for row in rows:  # a random model ends its answer by chance: one row ends after three tokens, one after none
        row["generated_tokens"] = row["generated_tokens"][:4]
    rows[1]["generated_tokens"] = rows[1]["generated_tokens"][:3]
    rows[1]["kept_logits"] = rows[1]["kept_logits"][: 4 * len(rows[1]["kept_tokens"])]
    rows[1]["log_normalizers"] = rows[1]["log_normalizers"][:4]
    rows[2]["generated_tokens"] = []
    found = averaged_logits(
        pa.Table.from_pylist(rows, schema=schema()), LABELS, AVERAGED_LOGITS["mean_of_softmax_without_end"]
    )
    assert found.status == ("ok", "ok", "undefined")
    for voice, row, probs in list(zip(voices, rows, found.probs, strict=True))[:2]:
        written = row["generated_tokens"]
        plain = plain_logits(sfm, voice, plan.free, written)[: len(written)]
        of_form = [
            plain[:, list(tokens[:own])].mean(axis=1)
            for tokens, own in zip(plan.question.continuations, plan.own_tokens, strict=True)
        ]
        per_label = np.stack([of_form[0], (of_form[1] + of_form[2]) / 2], axis=1)
        np.testing.assert_allclose(probs, softmax(per_label, axis=1).mean(axis=0), atol=1e-4)


@pytest.mark.parametrize("family", ["whisper", "qwen2_audio"])
def test_the_position_of_a_label_is_read_as_plain_transformers_reads_it(family, tiny_llm, tiny_whisper, voices):
    """What a random model writes is called a label."""
    sfm = tiny_whisper if family == "whisper" else tiny_llm(family)
    prompt = (
        {"template": "I hear {label} speech."}
        if family == "whisper"
        else {"family": "instruction", "instruction": "What?"}
    )
    question = make_plan(sfm, make_prompts({"p": prompt}, BOTH)[0], BOTH).free
    positions = []
    for voice in voices:
        answer = sfm.generate(sfm.encode([voice]), [question], max_new_tokens=12)[0][0]
        said = re.findall(r"(?<![^\W_])[A-Za-z]{2,}(?![^\W_])", answer.text)
        if not said:
            continue
        word = said[-1]
        labels = LabelSet("two", LABELS, {"angry": {"adjective": [word.lower()]}, "sad": {"adjective": ["quiet"]}})
        plan = make_plan(sfm, make_prompts({"p": prompt}, labels)[0], labels)
        readouts = make_readouts({"averaged_logits": {"max_new_tokens": 12}})
        rows = pa.Table.from_pylist(read(sfm, sfm.encode([voice]), [plan], readouts, ["x"])[0], schema=schema())
        (reading,) = AveragedLogits.read(rows, labels, AveragedLogitsOptions(("softmax_label",)))
        start = re.search(rf"(?<![^\W_]){word}(?![^\W_])", answer.text, re.IGNORECASE).start()
        position = next(n for n in range(12) if len(sfm.decode(answer.tokens[: n + 1])) > start)
        before = sfm.decode(answer.tokens[:position])
        spell = str.capitalize if answer.text[start].isupper() else str
        space = " " if answer.text[len(before)] == " " else ""
        ids = [sfm.text_tokens(space + spell(form))[0] for form in (word.lower(), "quiet")]
        plain = plain_logits(sfm, voice, plan.free, answer.tokens[:position])[-1]
        np.testing.assert_allclose(reading.derive(rows).probs[0], softmax(plain[ids]), atol=1e-4)
        positions.append(position)
    assert max(positions) > 0


def test_what_an_earlier_version_did_not_store_is_refused_and_the_rest_is_read(asked):
    _, _, (rows, _) = asked
    table = pa.Table.from_pylist(rows, schema=schema()).drop_columns(["forced_logits", "forced_log_normalizers"])
    others = AveragedLogits.read(table, BOTH, AveragedLogitsOptions(("raw_logit_ratio", "softmax_of_mean_without_end")))
    assert [reading.derive(table).probs.shape for reading in others] == [(3, 2), (3, 2)]
    with pytest.raises(
        InputError, match=r"no forced_logits, which softmax_forced is read from.*raw_logit_ratio,.*\]\."
    ):
        AveragedLogits.read(table, BOTH, AveragedLogitsOptions(("raw_logit_ratio", "softmax_forced")))


def test_the_templates_text_after_a_label_has_no_logit():
    # "angry." and "sad.": of (1, 4, 9) and (2, 3, 4, 9) the full stop is 4 and the end is 9, which are not kept.
    table = logits_table([[[20, 19, 17]]], form_tokens=((1, 4, 9), (2, 3, 4, 9)))
    own = pa.array([[1, 2]])
    table = table.set_column(table.column_names.index("form_own_tokens"), "form_own_tokens", own)
    probs = averaged_logits(table, LABELS, AVERAGED_LOGITS["raw_logit_ratio"]).probs[0]
    np.testing.assert_allclose(probs, np.array([20, 18]) / 38)


def test_published_example_of_ratio_against_softmax():
    """Logits 20/18/17/15 give 0.29/0.26/0.24/0.21 as a ratio and 0.84/0.11/0.04/0.01 as a softmax."""
    labels = ("a", "b", "c", "d")
    table = pa.table(
        {
            "form_labels": [list(labels)],
            "form_tokens": [[[i, 9] for i in range(4)]],
            "form_own_tokens": [[1] * 4],
            "kept_tokens": [[0, 1, 2, 3]],
            "kept_logits": [[20.0, 18.0, 17.0, 15.0]],
            "log_normalizers": [[25.0]],
        }
    )
    ratio = averaged_logits(table, labels, AVERAGED_LOGITS["raw_logit_ratio"]).probs[0]
    np.testing.assert_allclose(ratio, [0.29, 0.26, 0.24, 0.21], atol=0.005)
    soft = averaged_logits(table, labels, AVERAGED_LOGITS["softmax_of_mean"]).probs[0]
    np.testing.assert_allclose(soft, [0.84, 0.11, 0.04, 0.01], atol=0.005)


def test_a_ratio_of_values_that_are_not_positive_is_undefined():
    table = logits_table([[[20, 19, 17]], [[20, -19, 17]]])
    result = averaged_logits(table, LABELS, AVERAGED_LOGITS["raw_logit_ratio"])
    assert result.status == ("ok", "undefined")
    assert np.isnan(result.log_probs[1]).all()


def test_first_tokens_that_labels_share_are_refused():
    table = logits_table([[[20, 19, 17]]], form_tokens=((2, 1, 9), (2, 3, 9)))
    with pytest.raises(InputError, match="share their first token"):
        averaged_logits(table, LABELS, AVERAGED_LOGITS["answer_softmax"])


def test_among_all_readings_those_that_first_tokens_rule_out_are_undefined_and_alone_they_are_refused():
    table = logits_table([[[20, 19, 17], [20, 19, 17]]], form_tokens=((2, 1, 9), (2, 3, 9)))
    everything = AveragedLogitsOptions("all")
    assert everything.variants == tuple(AVERAGED_LOGITS)
    found = {reading.variant: reading.derive(table).status for reading in AveragedLogits.read(table, BOTH, everything)}
    assert {name for name, status in found.items() if status != ("ok",)} == {
        *("raw_logit_ratio_first_token", "answer_softmax"),
        *("raw_logit_ratio_label", "softmax_label"),  # no label is written
    }
    for name in ("raw_logit_ratio_first_token", "answer_softmax"):
        (alone,) = AveragedLogits.read(table, BOTH, AveragedLogitsOptions((name,)))
        with pytest.raises(InputError, match="share their first token"):
            alone.derive(table)


def test_unknown_variants_are_refused():
    with pytest.raises(InputError, match=r"'last' is not one of all, written, answer, .*positions"):
        AveragedLogitsVariant(positions="last")
    with pytest.raises(InputError, match="a position each"):
        AveragedLogitsVariant(positions="forced", tokens="first")
    with pytest.raises(InputError, match="softmax of probabilities"):
        AveragedLogitsVariant(values="probability", shares="softmax")


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.booleans())
def test_every_reading_is_what_its_definition_says(seed, positions, ended):
    """Written anew with plain loops, over random rows: forms of one to three tokens, two of them of one label."""
    rng = np.random.default_rng(seed)
    labels, owners = ("angry", "sad", "calm"), ("angry", "sad", "sad", "calm")
    tokens = [[1, 8, 9], [2, 3, 9], [4, 9], [5, 6, 7, 8, 9]]  # 8 is the template's full stop, 9 the end
    own = [1, 2, 1, 3]
    kept = [1, 2, 3, 4, 5, 6, 7]
    logits = rng.normal(rng.choice([0, 8]), 3, (positions, len(kept))).astype(np.float32)
    normalizers = (logsumexp(logits, axis=1) + rng.uniform(0, 3, positions)).astype(np.float32)
    forced = [rng.normal(2, 2, len(form)).astype(np.float32).tolist() for form in tokens]
    spelled = rng.normal(2, 2, (positions, 4, 4)).astype(np.float32)
    written = positions - 1 if ended else positions
    place = int(rng.integers(0, written)) if written else None
    spelling = int(rng.integers(0, 4))
    word = ("sad", "Sad", " sad", " Sad")[spelling]
    pieces = [word if i == place else "-" for i in range(written)]
    table = pa.table(
        {
            "form_labels": [list(owners)],
            "forms": [["angry", "sad", "unhappy", "calm"]],
            "form_tokens": [tokens],
            "form_own_tokens": [own],
            "kept_tokens": [kept],
            "kept_logits": [logits.ravel().tolist()],
            "log_normalizers": [normalizers.tolist()],
            "generated_tokens": pa.array([[0] * written], pa.list_(pa.int32())),
            "generated_text": ["".join(pieces)],
            "generated_ends": pa.array([np.cumsum([len(piece) for piece in pieces]).tolist()], pa.list_(pa.int32())),
            "spelled_tokens": [[[10, 20, 30, 40]] * 4],
            "spelled_logits": [spelled.ravel().tolist()],
            "forced_logits": [forced],
        }
    )

    def of_labels(of_form, add=np.mean):
        return np.array([add([of_form[i] for i in range(4) if owners[i] == label]) for label in labels])

    def at(position, first=False, probability=False):
        values = []
        for form, count in zip(tokens, own, strict=True):
            read = [float(logits[position, kept.index(token)]) for token in (form[:1] if first else form[:count])]
            read = [np.exp(value - float(normalizers[position])) for value in read] if probability else read
            values.append(np.mean(read))
        return of_labels(values, np.sum if probability else np.mean)

    every, answer = range(positions), range(written)
    bare = of_labels([np.mean(values[:count]) for values, count in zip(forced, own, strict=True)])
    to_end = of_labels([np.mean([*values[:count], values[-1]]) for values, count in zip(forced, own, strict=True)])
    at_label = None if place is None else of_labels(spelled[place, spelling].astype(float))
    means = {
        "raw_logit_ratio": [at(i) for i in every],
        "raw_logit_ratio_without_end": [at(i) for i in answer],
        "raw_logit_ratio_answer": [at(0)],
        "raw_logit_ratio_first_token": [at(i, first=True) for i in every],
        "raw_logit_ratio_label": [] if at_label is None else [at_label],
        "raw_logit_ratio_forced": [bare],
        "raw_logit_ratio_forced_to_end": [to_end],
        "probability_ratio": [at(i, probability=True) for i in every],
        "probability_ratio_without_end": [at(i, probability=True) for i in answer],
        "mean_of_softmax": [softmax(at(i)) for i in every],
        "mean_of_softmax_without_end": [softmax(at(i)) for i in answer],
    }
    soft = {
        "softmax_of_mean": means["raw_logit_ratio"],
        "softmax_of_mean_without_end": means["raw_logit_ratio_without_end"],
        "softmax_label": means["raw_logit_ratio_label"],
        "softmax_forced": [bare],
        "softmax_forced_to_end": [to_end],
        "answer_softmax": [at(0, first=True)],
    }
    assert {*means, *soft} == set(AVERAGED_LOGITS)
    for name, values in (means | soft).items():
        found = averaged_logits(table, labels, AVERAGED_LOGITS[name])
        mean = np.mean(values, axis=0) if values else None
        if mean is None or (name in means and min(mean) <= 0):
            assert found.status == ("undefined",)
            assert np.isnan(found.probs).all()
        else:
            expected = np.exp(mean) / np.exp(mean).sum() if name in soft else mean / mean.sum()
            np.testing.assert_allclose(found.probs[0], expected, rtol=1e-6)
