"""Raw scores to distributions, against worked examples and formulas."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from scipy.special import log_softmax, logsumexp, softmax

from emoprobe.beliefs.calibration import Calibration, contextual, pmi_forms, prior_matching
from emoprobe.beliefs.distributions import (
    AVERAGED_LOGITS,
    AveragedLogitsVariant,
    Distributions,
    averaged_logits,
    ensemble,
    known_words,
    label_likelihood,
    layer_scores,
    layerwise,
    pool_forms,
    sampled_text,
    written_text,
)
from emoprobe.errors import EmoprobeError, InputError
from emoprobe.labels import LabelSet

LABELS = ("angry", "sad")


def likelihood_table(tokens, form_tokens=((1, 9), (2, 9), (2, 3, 9)), labels=("angry", "sad", "sad")):
    """One row per list of per-form token log-probabilities."""
    return pa.table(
        {
            "form_labels": [list(labels)] * len(tokens),
            "forms": [["angry", "sad", "sadness"][: len(labels)]] * len(tokens),
            "form_tokens": [[list(form) for form in form_tokens]] * len(tokens),
            "form_token_logprobs": [[list(form) for form in row] for row in tokens],
            "form_logprobs": [[float(sum(form)) for form in row] for row in tokens],
        }
    )


def test_label_likelihood_adds_the_probabilities_of_a_labels_forms():
    row = [np.log([0.2, 1.0]), np.log([0.1, 0.5]), np.log([0.1, 0.5, 1.0])]
    probs = label_likelihood(likelihood_table([row]), LABELS).probs[0]
    np.testing.assert_allclose(probs, [0.2 / 0.3, 0.1 / 0.3])


def test_normalizations_by_hand():
    table = likelihood_table([[[-1.0, -1.0], [-2.0, -4.0]]], ((1, 9), (2, 9)), ("angry", "sad"))
    np.testing.assert_allclose(label_likelihood(table, LABELS, "mean_token").probs[0], softmax([-1.0, -3.0]))
    np.testing.assert_allclose(label_likelihood(table, LABELS, "without_end").probs[0], softmax([-1.0, -2.0]))
    with pytest.raises(InputError, match="unknown normalization"):
        label_likelihood(table, LABELS, "bytes")


def test_leaving_out_the_end_is_refused_where_only_the_end_tells_forms_apart():
    table = likelihood_table([[[-1.0, -1.0], [-2.0, -1.0], [-2.0, -1.0, -1.0]]])
    with pytest.raises(InputError, match="'sad' begins 'sadness'"):
        label_likelihood(table, LABELS, "without_end")


def test_layers_are_label_likelihoods_of_their_own():
    # Three layers of three forms, row by row; the last layer is what label_likelihood read.
    sums = np.random.default_rng(0).uniform(-60, -1, (4, 3, 3))
    last = likelihood_table([[[value, 0.0] for value in row[-1]] for row in sums])
    column = pa.chunked_array([[row.ravel().tolist() for row in part] for part in (sums[:3], sums[3:])])
    table = last.append_column("layer_form_logprobs", column)
    np.testing.assert_array_equal(layer_scores(table), sums)
    for layer in range(3):
        result = layerwise(table, LABELS, layer)
        expected = softmax([[angry, logsumexp([sad, sadness])] for angry, sad, sadness in sums[:, layer]], axis=1)
        np.testing.assert_allclose(result.probs, expected)
        assert result.status == ("ok",) * 4
    np.testing.assert_allclose(layerwise(table, LABELS, 2).log_probs, label_likelihood(last, LABELS).log_probs)
    np.testing.assert_array_equal(layer_scores(table.take([2, 0])), sums[[2, 0]])


def logits_table(logits, normalizers=None, form_tokens=((1, 9), (2, 3, 9)), kept=(1, 2, 3)):
    normalizers = normalizers or [[10.0] * len(row) for row in logits]
    return pa.table(
        {
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


def test_unknown_variants_are_refused():
    with pytest.raises(InputError, match="unknown value 'last'"):
        AveragedLogitsVariant(positions="last")
    with pytest.raises(InputError, match="softmax of probabilities"):
        AveragedLogitsVariant(values="probability", shares="softmax")


def text_table(texts, forms=("angry", "sad"), column="generated_text", **columns):
    """Rows of a text readout; every answer ended and names one label, unless told otherwise."""
    ended = [[True] * len(text) if isinstance(text, list) else True for text in texts]
    of = {"generated_text": "finished", "free_text": "free_finished", "sampled_texts": "sampled_finished"}[column]
    nobody = [None] * len(texts)
    return pa.table(
        {
            "form_labels": [["angry", "sad"]] * len(texts),
            "forms": [list(forms)] * len(texts),
            "answer_format": columns.pop("answer_format", ["single_word"] * len(texts)),
            "reasoning": pa.array(columns.pop("reasoning", nobody), pa.string()),
            "reasoning_finished": pa.array(columns.pop("reasoning_finished", nobody), pa.bool_()),
            of: columns.pop("finished", ended),
            column: texts,
        }
    )


def test_text_that_states_nothing_has_no_distribution():
    table = text_table(
        [" I'm so angry about the door.", " Sad.", '{"angry": 0.25, "sad": 0.75}'],
        answer_format=["single_word", "single_word", "probability_dict"],
    )
    result = written_text(table, LABELS)
    assert result.status == ("unparsed", "single_label", "ok")
    assert np.isnan(result.log_probs[0]).all()
    np.testing.assert_allclose(result.probs[1:], [[0, 1], [0.25, 0.75]])
    np.testing.assert_array_equal(result.label_mass, [np.nan, 1, 1])


def test_an_answer_is_parsed_by_the_format_of_its_prompt_and_only_if_it_ended():
    text, forms = "1. sad\n2. angry", ["ranked_list", "percentages", "ranked_list", "ranked_list"]
    result = written_text(text_table([text] * 4, answer_format=forms, finished=[True, True, False, None]), LABELS)
    assert result.status == ("ranked", "unparsed", "truncated", "truncated")
    np.testing.assert_allclose(result.probs[0], [1 / 3, 2 / 3])
    assert np.isnan(result.log_probs[1:]).all()


def test_label_mass_of_text_is_the_share_of_what_is_written():
    texts = ['{"angry": 0.6, "contempt": 0.4}', '{"angry": 0.6, "sad": 0.4}', '{"contempt": 1.0}']
    result = written_text(text_table(texts, answer_format=["probability_dict"] * 3), LABELS)
    assert result.status == ("partial", "ok", "unparsed")
    np.testing.assert_allclose(result.label_mass, [0.6, 1, 0])


def test_the_models_own_text_is_read_from_its_column():
    table = text_table(
        ['{"angry": 0.9, "sad": 0.1}', "I cannot tell.", "sad", '{"angry": 0.9, "sad": 0.'],
        column="free_text",
        answer_format=["probability_dict"] * 4,
        finished=[True, True, False, False],
    )
    result = written_text(table, LABELS, column="free_text")
    assert result.status == ("ok", "refused", "truncated", "truncated")
    np.testing.assert_allclose(result.probs[0], [0.9, 0.1])


def test_a_filled_dictionary_is_one_whatever_the_prompt_asks_for():
    table = text_table(
        ['{"angry": 0.90, "sad": 0.10}'] * 2, reasoning=["It is loud."] * 2, reasoning_finished=[True, False]
    )
    result = written_text(table, LABELS, column="constrained")
    assert result.status == ("ok", "reasoning_cut")
    np.testing.assert_allclose(result.probs[0], [0.9, 0.1])


def test_after_reasoning_the_text_continues_the_cue_of_an_answer():
    text = "sad\nThe voice is low and slow."  # a label on the first line of an answer, running text without its cue
    table = text_table(
        [text, text, "I cannot tell.", text],
        reasoning=[None, "The voice trembles.", "", "The voice"],
        reasoning_finished=[None, True, True, False],
    )
    result = written_text(table, LABELS)
    assert result.status == ("unparsed", "single_label", "refused", "reasoning_cut")
    np.testing.assert_allclose(result.probs[1], [0, 1])


BOTH_SAD = {"angry": {"adjective": ["angry"], "noun": ["anger"]}, "sad": {"adjective": ["sad"], "noun": ["sadness"]}}


def test_known_words_are_forms_of_all_kinds_and_aliases_but_no_letters_and_nothing_doubtful():
    aliases = {"fury": "angry", "blue": "sad", "A": "sad", "b": "angry", "怒": "angry"}
    labels = LabelSet("two", LABELS, BOTH_SAD, aliases)
    words = {("angry", "angry"), ("angry", "anger"), ("sad", "sad"), ("sad", "sadness")}
    assert set(known_words(labels)) == words | {("angry", "fury"), ("sad", "blue"), ("angry", "怒")}
    twice = {"angry": {"adjective": ["upset"]}, "sad": {"adjective": ["sad"], "noun": ["Upset"]}}
    assert known_words(LabelSet("two", LABELS, twice)) == [("sad", "sad")]


def test_a_lettered_prompt_knows_words_too_and_its_own_letters_win():
    labels = LabelSet("two", LABELS, BOTH_SAD, {"fury": "angry", "A": "angry"})
    texts = ["A", "B", "Anger.", "fury", "(B) sadness", "a", "wrath"]
    result = written_text(text_table(texts, forms=("B", "A")), LABELS, known_words(labels))
    angry, sad = [1, 0], [0, 1]
    np.testing.assert_array_equal(result.probs[:4], [sad, angry, angry, angry])
    assert result.status[4:] == ("ambiguous", "unparsed", "unparsed")  # (B) is angry, and not sad
    # A word of the row's own wins over one known from elsewhere.
    result = written_text(text_table(["down"], forms=("angry", "down")), LABELS, [("angry", "down")])
    np.testing.assert_array_equal(result.probs, [sad])


def test_sampled_answers_are_averaged_over_those_that_state_something_if_enough_do():
    texts = [
        ["angry", "sad", "sad", "Sad."],
        ["hm", "sad", "I cannot tell.", "Angry"],
        ["hm", "hm", "sad", "hm"],
        ["hm", "I cannot tell.", "I cannot tell.", "hm"],
        ["I cannot tell.", "hm", "hm", "hm"],
        ["hm", "hm", "hm", "hm"],
        ["sad", "sad", "sad", "sad"],
    ]
    table = text_table(texts, column="sampled_texts")
    result = sampled_text(table, LABELS)
    assert result.status == ("ok", "partial", "too_few_parsed", "refused", "unparsed", "unparsed", "ok")
    np.testing.assert_allclose(result.share_parsed, [1, 0.5, 0.25, 0, 0, 0, 1])
    np.testing.assert_allclose(result.probs[:2], [[0.25, 0.75], [0.5, 0.5]])
    assert np.isnan(result.log_probs[2:6]).all()
    np.testing.assert_array_equal(result.log_probs[6], [-np.inf, 0])
    none = sampled_text(table, LABELS, min_parsed=0)
    assert none.status == ("ok", "partial", "partial", "refused", "unparsed", "unparsed", "ok")
    np.testing.assert_allclose(none.probs[2], [0, 1])
    whole = sampled_text(table, LABELS, min_parsed=1)
    assert whole.status[:3] == ("ok", "too_few_parsed", "too_few_parsed")


def test_drawn_answers_that_did_not_end_do_not_count():
    drawn = ['{"angry": 1.0}', '{"angry": 0.5, "contempt": 0.5}', '{"sad": 1.0}']
    table = text_table(
        [drawn] * 2,
        column="sampled_texts",
        answer_format=["probability_dict"] * 2,
        finished=[[True, True, False], [False] * 3],
    )
    result = sampled_text(table, LABELS)
    assert result.status == ("partial", "truncated")
    np.testing.assert_allclose(result.share_parsed, [2 / 3, 0])
    np.testing.assert_allclose(result.label_mass, [0.75, np.nan])
    np.testing.assert_allclose(result.probs[0], [1, 0])


def test_one_drawn_answer_after_reasoning_with_known_words():
    table = text_table(
        [["anger\nIt is loud."]] * 2,
        forms=("A", "B"),
        column="sampled_texts",
        reasoning=["loud", "lou"],
        reasoning_finished=[True, False],
    )
    result = sampled_text(table, LABELS, [("angry", "anger")])
    assert result.status == ("ok", "reasoning_cut")
    np.testing.assert_array_equal(result.probs[0], [1, 0])


def test_ensembles_by_hand():
    members = [
        Distributions(np.log([[0.2, 0.8], [0.5, 0.5]]), ("ok", "ok")),
        Distributions(np.array([np.log([0.6, 0.4]), [np.nan, np.nan]]), ("ok", "undefined")),
    ]
    np.testing.assert_allclose(ensemble(members, "arithmetic").probs[0], [0.4, 0.6])
    root = np.sqrt([0.2 * 0.6, 0.8 * 0.4])
    np.testing.assert_allclose(ensemble(members, "geometric").probs[0], root / root.sum())
    assert ensemble(members, "arithmetic").status == ("ok", "undefined")
    with pytest.raises(InputError, match="unknown ensemble"):
        ensemble(members, "median")


def test_contextual_calibration_is_division_by_the_null_distribution():
    probs, null = np.array([[0.5, 0.3, 0.2]]), np.array([[0.6, 0.2, 0.2], [0.4, 0.4, 0.2]])
    expected = probs / null.mean(axis=0)
    np.testing.assert_allclose(np.exp(contextual(np.log(probs), null)), expected / expected.sum())


def test_pmi_subtracts_before_forms_are_pooled():
    scores, null = np.log([[0.2, 0.1, 0.1]]), np.log([[0.4, 0.1, 0.2]])
    pooled = pool_forms(pmi_forms(scores, null), ["angry", "sad", "sad"], list(LABELS))
    np.testing.assert_allclose(np.exp(pooled), [[0.5, 1.5]])


@pytest.mark.parametrize("prior", [[0.25] * 4, [0.7, 0.1, 0.15, 0.05], [0.5, 0.5, 0.0, 0.0]])
def test_prior_matching_meets_the_prior_with_one_constant_per_label(prior):
    rng = np.random.default_rng(0)
    log_probs = log_softmax(rng.normal(0, 3, (50, 4)), axis=1)
    matched = prior_matching(log_probs, np.array(prior))
    np.testing.assert_allclose(np.exp(matched).mean(axis=0), prior, atol=1e-8)
    possible = np.array(prior) > 0
    shift = (matched - log_probs)[:, possible]
    constants = shift - shift[:, :1]  # up to each row's own normalizer
    np.testing.assert_allclose(constants, np.broadcast_to(constants[0], constants.shape), atol=1e-9)


def test_prior_matching_leaves_failures_alone_and_refuses_the_impossible():
    log_probs = np.log([[0.5, 0.5], [0.9, 0.1]])
    with_failure = np.vstack([log_probs, [np.nan, np.nan]])
    matched = prior_matching(with_failure, np.array([0.5, 0.5]))
    np.testing.assert_allclose(matched[:2], prior_matching(log_probs, np.array([0.5, 0.5])))
    assert np.isnan(matched[2]).all()
    with np.errstate(divide="ignore"), pytest.raises(EmoprobeError, match="did not converge"):
        prior_matching(np.log([[1.0, 0.0], [1.0, 0.0]]), np.array([0.5, 0.5]))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "magic"}, r"'magic' is not one of none, .*matrix \(field calibration.x.kind\)"),
        (
            {"kind": "contextual", "null": "music"},
            r"'music' is not one of silence, noise, no_audio.*calibration.x.null",
        ),
        (
            {"kind": "prior_matching", "prior": "mine"},
            r"'mine' is not one of uniform, votes .*calibration.x.prior",
        ),
    ],
)
def test_calibrations_that_do_not_exist_are_refused(fields, message):
    with pytest.raises(InputError, match=message):
        Calibration("x", **fields)
