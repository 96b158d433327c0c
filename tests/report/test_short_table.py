"""The table that a run prints: what decides, on a terminal of any width."""

from __future__ import annotations

import io
import math
import re

import pytest
from rich.console import Console

from emoprobe.labels import LabelSet, Scale
from emoprobe.report.fitting import fold
from emoprobe.report.short_table import ShortTable
from emoprobe.report.words import short_value

WIDTHS = [80, 100, 120, 200]
FLOORS = {"uniform": 0.3, "prior": 0.25, "majority": 0.7}


def make_row(js=0.2, prompt="voice_sounds", readout="label_likelihood", calibration="none", **changes) -> dict:
    row = {"kind": "readout", "model": "m", "prompt": prompt, "readout": readout, "variant": "", "fitted_on": ""}
    row |= {"calibration": calibration, "num_utterances": 60, "num_failed": 0, "num_speakers": 12, "doubt": ""}
    row |= {"mean_label_mass": 0.5, "metrics": {"js_divergence": js, "vote_nll": 1.5, "brier": 0.05, "wa": 1 - js}}
    row |= {"intervals": {"js_divergence": (js - 0.01, js + 0.02)}, "share_of_range": {"js_divergence": 0.5}}
    return row | {"minus_floor": {"uniform": {"js_divergence": (-0.2, -0.1)}}} | changes


def make_floors(fitted_on="evaluated votes") -> list[dict]:
    more = FLOORS | {"one_hot_of_top_vote": 0.1, "half_against_half": 0.15, "human": 0.05}
    kinds = {"one_hot_of_top_vote": "reference", "half_against_half": "reference", "human": "ceiling"}
    blank = {"model": "", "share_of_range": {}, "mean_label_mass": None}
    return [
        make_row(
            js, "", name, "", kind=kinds.get(name, "floor"), fitted_on=fitted_on if name != "uniform" else "", **blank
        )
        for name, js in more.items()
    ]


def printed(rows: list[dict], width: int = 100, labels: LabelSet | None = None, **options) -> str:
    file = io.StringIO()
    Console(file=file, width=width, **options).print(ShortTable(rows, labels))
    return file.getvalue()


def names_in(text: str) -> list[str]:
    """Names of the rows below the header, folded ones put together again."""
    _, _, body = text.partition("─\n")
    found: list[str] = []
    for line in body.split("\n\n")[0].splitlines():
        name = re.split(r"\s{2,}(?=[\d.-])", line)[0]
        if name.startswith("  ") and found:
            found[-1] += ("" if found[-1][-1] in "_./=" else " ") + name.strip()
        else:
            found.append(name.strip())
    return [name for name in found if "─" not in name]


def mixed() -> list[dict]:
    """Readouts of all kinds, with names of which none fits beside the numbers of a narrow terminal."""
    rows = [
        make_row(0.12 + i / 100, f"a_prompt_that_says_much_{i}", calibration="contextual_silence") for i in range(4)
    ]
    rows += [
        make_row(0.27, readout="averaged_logits", variant="softmax_of_mean"),
        make_row(0.4, "person", model="n/b-large"),
    ]
    rows += [make_row(0.01, calibration="temperature", fitted_on="evaluated votes")]
    rows += [
        make_row(0.02, readout="generated_text", num_utterances=50, num_failed=10, floors={}, mean_label_mass=None)
    ]
    return [*rows, make_row(metrics={}, intervals={}, num_utterances=0, num_failed=60, prompt="silent")]


@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize("width", WIDTHS)
def test_it_fits_and_names_break_between_words_only(width, terminal):
    text = printed([*mixed(), *make_floors()], width, force_terminal=terminal, color_system=None)
    assert max(len(line) for line in text.splitlines()) <= width
    names = names_in(text)
    assert names[0] == "label likelihood · m · a_prompt_that_says_much_0 · contextual silence"
    assert "averaged logits, softmax of mean · m · voice_sounds" in names
    assert names[-1] == "ceiling: human"
    assert len(names) == len(mixed()) + 5
    assert ".120 [.110, .140]" in text
    assert "half_against_half" not in text


def test_bad_rows_are_said_in_words_and_none_of_them_is_bold():
    text = printed([*mixed(), *make_floors()], 140)
    lines = text.splitlines()
    heads = [line.strip("─ ") for line in lines if line.startswith("── ")]
    assert heads == [
        "below the prior floor",
        "below the uniform floor",
        "failed on some clips, scored on the others: no rank",
        "without a value",
        "saw the votes they are judged by: no rank",
    ]
    below = text[text.index("below the uniform") : text.index("failed on some")]
    assert "person" in below
    styled = printed([*mixed(), *make_floors()], 140, force_terminal=True, color_system="standard")
    bold = [line for line in styled.splitlines() if "\x1b[1m" in line]
    assert "\x1b[1m.120 [.110, .140]\x1b[0m" in bold[0]
    assert not any(name in line for line in bold for name in ("temperature", "generated text", "floor", "ceiling"))


def test_a_row_with_failures_is_measured_by_the_floors_of_its_own_clips():
    own = {name: {"js_divergence": 0.1} for name in FLOORS}
    row = make_row(0.2, num_utterances=50, num_failed=10, floors=own, ceiling={"js_divergence": 0.01})
    assert "label likelihood (below the uniform floor of its clips)" in printed([row, *make_floors()], 140)
    assert "of its clips" not in printed([row | {"floors": {}}, *make_floors()], 140)


def test_what_does_not_vary_is_said_once_above():
    rows = [make_row(0.2, calibration="batch", fitted_on="evaluated inputs"), make_row(0.21)]
    text = printed([*rows, *make_floors()])
    assert (
        "All readouts: m · prompt voice_sounds · uncalibrated unless a calibration is named · 60 clips, none failed"
        in " ".join(text.split())
    )
    assert names_in(text)[:2] == ["label likelihood · batch*", "label likelihood"]
    head = next(line for line in text.splitlines() if line.startswith("readout"))
    assert head.split() == ["readout", "JS", "↓", "[95", "%]", "range", "vote", "Brier", "WA", "↑", "label"]
    assert "* fitted on the evaluated clips' inputs" in text
    assert "†" not in text
    assert text.startswith("The best of 2 readouts by JS, label likelihood (prompt voice_sounds, calibration batch)")
    assert "All readouts: m · prompt voice_sounds · uncalibrated · 60 clips" in printed([make_row(), *make_floors()])


def test_the_best_twenty_are_shown_and_the_others_counted():
    rows = [make_row(0.1 + i / 1000, f"p{i}") for i in reversed(range(33))]
    text = printed([*rows, *make_floors()], 120)
    assert names_in(text)[:20] == [f"label likelihood · p{i}" for i in range(20)]
    assert "13 more readouts are in metrics.csv; table=full prints all." in text


def test_a_scale_shows_numbers_and_floors_stand_alone():
    words = {point: {"numeral": [point]} for point in "123"}
    scale = LabelSet("v3", tuple("123"), words, scale=Scale("valence", "low", "high"))
    values = {"ccc": 0.4, "rmse": 0.9, "emd": 0.5, "vote_nll": 1.2}
    row = make_row(metrics=values, intervals={"ccc": (0.3, 0.5)}, share_of_range={}, minus_floor={})
    floor = make_row(metrics=values | {"ccc": 0.0}, kind="floor", readout="uniform", intervals={})
    text = printed([row, floor], labels=scale)
    assert ".400 [.300, .500]" in text
    assert "RMSE" in text
    assert "JS" not in text
    alone = printed(make_floors())
    assert names_in(alone)[0] == "floor: uniform"
    assert "All readouts" not in alone


@pytest.mark.parametrize(
    "name", ["$5 or $6", "snake_case_", "<b>x</b>", "情緒は何ですか", "[red]no markup[/red]", ":smile:", "a|b\\"]
)
def test_names_are_printed_as_they_are(name):
    assert name in printed([make_row(prompt=name), make_row(), *make_floors()], 140)


@pytest.mark.parametrize(
    ("text", "room", "lines"),
    [
        ("label_likelihood.softmax_of_mean", 20, ["label_likelihood.", "softmax_of_mean"]),
        ("averaged logits · speaker_emotion", 17, ["averaged logits ·", "speaker_emotion"]),
        ("x" * 12 + "_end", 8, ["x" * 8, "xxxx_end"]),
        ("情緒は何ですか", 6, ["情緒は", "何です", "か"]),
        ("", 5, [""]),
    ],
)
def test_a_name_is_folded_at_separators(text, room, lines):
    assert fold(text, room) == lines
    assert "".join(fold(text, room)).replace(" ", "") == text.replace(" ", "")


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.1304, ".130"), (-0.02, "-.020"), (1.5, "1.500"), (-0.0001, ".000"), (math.nan, "-"), (-math.inf, "-inf")],
)
def test_numbers_need_little_room(value, text):
    assert short_value(value) == text
