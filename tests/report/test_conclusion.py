"""The one sentence above a metric table."""

from __future__ import annotations

import pytest

from emoprobe.report.conclusion import conclusion


def make_row(js=0.2, *, ends=(-0.07, -0.02), **changes) -> dict:
    row = {"kind": "readout", "model": "m", "prompt": "p", "readout": "label_likelihood", "variant": "sum"}
    row |= {"calibration": "none", "fitted_on": "", "num_utterances": 40, "num_failed": 0, "num_speakers": 12}
    row |= {"metrics": {"js_divergence": js}}
    row["minus_floor"] = {} if ends is None else {"uniform": {"js_divergence": ends}, "prior": {"js_divergence": ends}}
    return row | changes


def make_floor(name="uniform", js=0.25, fitted_on="", kind="floor") -> dict:
    return make_row(js, ends=None, kind=kind, prompt="", readout=name, variant="", calibration="", fitted_on=fitted_on)


def test_the_best_of_several_against_the_strongest_floor_that_saw_no_evaluated_votes():
    rows = [make_row(0.3), make_row(0.2, prompt="voice", calibration="batch"), make_row(0.1, num_failed=1)]
    rows += [make_row(0.01, fitted_on="evaluated votes"), make_floor(), make_floor("prior", 0.24, "training votes")]
    rows += [make_floor("one_hot_of_top_vote", 0.05, "evaluated votes", kind="reference")]
    assert conclusion(rows) == (
        "The best of 2 readouts by JS, label likelihood (prompt voice, calibration batch), beats the prior of the "
        "training votes by .040 (95 % .020 to .070, significant)."
    )


def test_a_prior_of_the_evaluated_votes_is_named_where_it_is_better_still():
    known = make_floor("prior", 0.15, "evaluated votes")
    said = conclusion([make_row(0.2), make_floor(), known])
    assert said.startswith("The only readout with a rank, label likelihood (prompt p, uncalibrated), beats the uniform")
    assert said.endswith("by .050 (95 % .020 to .070, significant); the prior of these clips' own votes has .150.")
    assert "own votes" not in conclusion([make_row(0.14), make_floor(), known])


@pytest.mark.parametrize(
    ("ends", "said"),
    [
        ((-0.02, 0.04), "is .010 worse (95 % -.020 to .040, not significant)."),
        ((0.005, 0.02), "is .010 worse (95 % .005 to .020, significant)."),
    ],
)
def test_that_no_readout_beats_the_floor(ends, said):
    text = conclusion([make_row(0.26, ends=ends), make_row(0.3), make_floor()])
    assert text.startswith("No readout beats the uniform floor: the best of 2 readouts by JS, label likelihood (")
    assert text.endswith(said)


def test_a_gain_that_may_be_chance():
    assert "beats the uniform floor by .050 (95 % -.010 to .110, not significant)" in conclusion(
        [make_row(ends=(-0.11, 0.01)), make_floor()]
    )


def test_scores_where_higher_is_better_are_better_when_higher():
    ends = {"uniform": {"ccc": (0.1, 0.3)}}
    good = make_row(metrics={"ccc": 0.2}, minus_floor=ends)
    floor = make_floor() | {"metrics": {"ccc": 0.0}}
    assert "by CCC, label" not in conclusion([good, floor], "ccc")
    assert "beats the uniform floor by .200 (95 % .100 to .300, significant)" in conclusion([good, floor], "ccc")
    bad = make_row(metrics={"ccc": -0.2}, minus_floor={"uniform": {"ccc": (-0.3, 0.1)}})
    assert "is .200 worse (95 % -.100 to .300, not significant)" in conclusion([bad, floor], "ccc")


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], ""),
        ([make_floor()], ""),
        ([make_row(metrics={}, num_utterances=0, num_failed=9)], "No readout has a distribution of any clip."),
        (
            [make_row(num_failed=2), make_row(num_failed=5)],
            "No readout has a rank: each failed on some clips, the best on 2",
        ),
        ([make_row(fitted_on="evaluated votes")], "No readout has a rank: all saw the votes they are judged by."),
        ([make_row(float("nan"))], "No readout has a finite JS."),
        (
            [make_row(), make_row(model="n")],
            "label likelihood (m, prompt p, uncalibrated), has JS .200; there is no floor",
        ),
        ([make_row(ends=None, num_speakers=1), make_floor()], "by .050 (no interval: a single speaker)."),
        ([make_row(ends=None), make_floor()], "by .050 (no interval)."),
        (
            [make_row(num_speakers=4), make_floor()],
            "(95 % .020 to .070; 4 speakers are too few to say whether by chance)",
        ),
        ([make_row(0.25), make_floor()], "No readout beats the uniform floor: the only readout with a rank, "),
        (
            [make_row(0.3 - i / 100, ends=None, readout="layerwise", variant=f"layer_{i}") for i in range(3)]
            + [make_floor(js=0.29)],
            "The best of 3 layers by JS, layerwise, layer 2 (prompt p, uncalibrated), beats the uniform floor by .010",
        ),
    ],
)
def test_what_is_said_where_there_is_little_to_say(rows, said):
    found = conclusion(rows)
    assert said in found if said else found == ""
