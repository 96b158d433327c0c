"""What the tables say, on wide and narrow consoles, in Markdown and in CSV."""

from __future__ import annotations

import io
import math

import pandas as pd
import pytest
from rich.console import Console
from rich.table import Table

from emoprobe.errors import InputError
from emoprobe.report import tables
from emoprobe.run.metric_rows import metrics_frame

VALUES = {
    "js_divergence": 0.1234,
    "bhattacharyya": 0.8765,
    "r2_within_clip": 0.3456,
    "brier": 0.0567,
    "vote_nll": 1.6789,
    "wa": 0.4321,
    "uar": 0.3987,
    "entropy_spearman": -0.2718,
}
SHOWN = ["0.123", "0.876", "0.346", "0.057", "1.679", "0.432", "0.399", "-0.272"]


def make_row(prompt="p", readout="label_likelihood", calibration="none", *, kind="readout", **changes) -> dict:
    row = {"kind": kind, "model": "m", "prompt": prompt, "readout": readout, "variant": "sum"}
    row |= {"calibration": calibration, "fitted_on": "", "num_utterances": 7442, "num_failed": 0}
    row |= {"mean_label_mass": 0.0123, "metrics": dict(VALUES)}
    return row | changes


def make_floor(name="uniform", kind="floor", **changes) -> dict:
    row = make_row("", name, "", kind=kind, model="", variant="", mean_label_mass=None)
    return row | changes


def printed(table: Table, width: int = 200, **options) -> str:
    file = io.StringIO()
    Console(file=file, width=width, **options).print(table)
    return file.getvalue()


def line_with(text: str, word: str) -> str:
    (line,) = [line for line in text.splitlines() if word in line]
    return line


def test_a_line_holds_names_counts_mass_and_values_in_order():
    text = printed(tables.metric_table([make_row("speaker_feels"), make_floor()]))
    assert line_with(text, "speaker_feels").split() == [
        *("speaker_feels", "label_likelihood", "none", "7442", "0", "0.012"),
        *SHOWN,
    ]
    headers = (
        "prompt readout calibration n failed label mass JS ↓ BC ↑ R2 clip ↑ Brier ↓ vote NLL ↓ WA ↑ UAR ↑ rho(H) ↑"
    )
    assert " ".join(text.splitlines()[0].split()) == headers


def test_floors_stand_below_the_readouts_whatever_the_order_of_rows():
    lines = printed(tables.metric_table([make_floor(), make_row("p1"), make_floor("prior"), make_row("p2")]))
    words = [line.split()[0] for line in lines.splitlines() if line.strip()]
    rules = [i for i, word in enumerate(words) if set(word) == {"─"}]
    assert words[rules[0] + 1 : rules[1]] == ["p1", "p2"]
    assert words[rules[1] + 1 : rules[1] + 3] == ["floor:", "floor:"]


def test_nan_is_a_dash_infinity_is_inf_and_a_cell_without_metrics_is_all_dashes():
    row = make_row("odd", metrics={"js_divergence": math.nan, "brier": math.inf, "wa": -math.inf})
    text = printed(tables.metric_table([row, make_row("empty", metrics={}, num_utterances=0, num_failed=9)]))
    assert line_with(text, "odd").split()[6:] == ["-", "-", "-", "inf", "-", "-inf", "-", "-"]
    assert line_with(text, "empty").split()[3:] == ["0", "9", "0.012", *["-"] * 8]


@pytest.mark.parametrize(
    ("fitted_on", "mark"),
    [
        ("", ""),
        ("null inputs", ""),
        ("training votes", ""),
        ("evaluated inputs", "*"),
        ("evaluated votes", "**"),
        ("evaluated inputs + training votes", "*"),
        ("evaluated inputs + evaluated votes", "**"),
        ("training votes + evaluated votes", "**"),
    ],
)
def test_marks_of_what_was_fitted_on_the_evaluated_data(fitted_on, mark):
    text = printed(tables.metric_table([make_row("here", calibration="batch", fitted_on=fitted_on)]))
    assert line_with(text, "here").split()[2] == f"batch{mark}"
    assert "* fitted on the evaluated clips' inputs   ** fitted on the evaluated clips' votes" in text
    markdown = tables.markdown_table([make_row("here", calibration="batch", fitted_on=fitted_on)])
    assert line_with(markdown, "| here").split(" | ")[2] == "batch" + mark.replace("*", "\\*")


def bold_values(rows: list[dict], metric: str) -> list[bool]:
    column = tables.metric_table(rows, [metric]).columns[-1]
    return [str(cell.style) == "bold" for cell in column.cells]


@pytest.mark.parametrize(("metric", "best"), [("js_divergence", [False, True]), ("wa", [True, False])])
def test_the_best_readout_is_bold_by_the_metrics_direction(metric, best):
    rows = [make_row(metrics={metric: 0.5}), make_row(metrics={metric: 0.3})]
    floors = [make_floor(metrics={metric: 0.0}), make_floor(metrics={metric: 1.0})]
    assert bold_values([*rows, *floors], metric) == [*best, False, False]


def test_bold_skips_nan_and_cells_that_failed_on_clips_which_others_answered():
    values = [(math.nan, 0), (0.1, 4), (0.4, 0), (math.inf, 0)]
    rows = [make_row(metrics={"brier": value}, num_failed=failed) for value, failed in values]
    assert bold_values(rows, "brier") == [False, False, True, False]
    assert not any(bold_values(rows[:2], "brier"))


def test_a_variant_other_than_the_plain_one_and_several_models_are_named():
    text = printed(tables.metric_table([make_row(variant="softmax_of_mean"), make_row(model="other[bold]")]))
    assert "label_likelihood.softmax_of_mean" in text
    assert text.splitlines()[0].split()[0] == "model"
    assert line_with(text, "other").split()[:2] == ["other[bold]", "p"]


NAMES = ["$5 or $6", "snake_case_", "<script>x</script>", "情緒は何ですか", "[red]no markup[/red]", ":smile:", "a|b\\"]


@pytest.mark.parametrize("name", NAMES)
def test_names_are_printed_as_they_are(name):
    assert name in printed(tables.metric_table([make_row(name)]))


@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize("width", [40, 60, 80, 100, 120])
def test_a_narrow_console_loses_nothing(width, terminal):
    long = "prompt_" + "x" * 90 + "_end"
    rows = [make_row(long, calibration="batch", fitted_on="evaluated inputs"), make_row("q"), make_floor()]
    text = printed(tables.metric_table(rows), width, force_terminal=terminal, color_system=None)
    assert all(len(line) <= width for line in text.splitlines())
    assert "…" not in text
    assert [text.split().count(value) for value in SHOWN] == [3] * len(SHOWN)
    words = " ".join(text.split())
    for header in ("failed", "label mass", *(f"{name} " for name in map(tables.short_name, tables.DEFAULT_COLUMNS))):
        assert header in words
    assert "fitted on the evaluated clips' inputs" in words


@pytest.mark.parametrize("width", [80, 100])
def test_a_folded_name_is_whole_when_read_downwards(width):
    name = "prompt_" + "x" * 90 + "_end"
    blocks = printed(tables.metric_table([make_row(name)]), width).split("\n\n")
    assert all("label_likelihood" in block for block in blocks)
    header, _, *lines = blocks[0].splitlines()
    assert "".join(line[: header.index("readout")].strip() for line in lines) == name


def test_columns_that_fit_stay_in_one_table():
    rows = [make_row(), make_floor()]
    assert printed(tables.metric_table(rows), 140).count("calibration") == 1
    assert printed(tables.metric_table(rows), 80).count("calibration") > 1
    assert printed(tables.metric_table(rows, ["wa"]), 80).count("calibration") == 1


def test_an_empty_table_prints():
    assert "prompt" in printed(tables.metric_table([]), 80)


@pytest.mark.parametrize("make", [tables.metric_table, tables.markdown_table])
def test_unknown_metric(make):
    with pytest.raises(InputError, match=r"no metric 'js_dist' \(field metrics\).*js_distance"):
        make([make_row()], ["js_dist"])


def test_frame_is_flat():
    frame = metrics_frame([make_row(statuses={"ok": 3}), make_floor(metrics={"wa": 0.25, "num_majority": 3})])
    assert len(frame) == 2
    assert frame.columns.is_unique
    assert {"kind", "model", "prompt", "fitted_on", "num_failed", "mean_label_mass", "num_majority", *VALUES} <= set(
        frame.columns
    )
    assert not {"metrics", "statuses"} & set(frame.columns)
    assert frame["wa"].tolist() == [VALUES["wa"], 0.25]


def test_csv_survives_pandas(tmp_path):
    odd = 'a, "quoted"\nline $x$ 情緒'
    rows = [
        make_row(odd, metrics={"js_divergence": 1 / 3, "brier": math.inf, "wa": math.nan}),
        make_row("failed everywhere", num_utterances=0, metrics={}),
        make_floor(),
    ]
    tables.write_csv(rows, tmp_path / "metrics.csv")
    read = pd.read_csv(tmp_path / "metrics.csv")
    assert read["prompt"].tolist()[:2] == [odd, "failed everywhere"]
    assert read["calibration"].tolist()[:2] == ["none", "none"]
    assert read["js_divergence"][0] == 1 / 3
    assert read["brier"][0] == math.inf
    assert math.isnan(read["wa"][0])
    assert read.loc[1, list(VALUES)].isna().all()
    assert read["mean_label_mass"].isna().tolist() == [False, False, True]
    assert read["num_utterances"].tolist() == [7442, 0, 7442]


def test_markdown_has_one_cell_per_column_and_bold_best():
    rows = [make_row("first"), make_row("a|b\\", metrics=VALUES | {"wa": 0.9, "vote_nll": math.inf}), make_floor()]
    text = tables.markdown_table(rows)
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len(lines) == 5
    assert [line.replace("\\\\", "").replace("\\|", "").count("|") for line in lines] == [15] * 5
    assert lines[0].startswith("| prompt | readout | calibration | n | failed | label mass | js_divergence ↓ |")
    assert lines[3].split(" | ")[-4:-2] == ["inf", "**0.900**"]
    assert "**1.679**" in lines[2]
    assert "**" not in lines[4]
    assert "fitted on the evaluated clips' votes" in text


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("<script>&", "&lt;script&gt;&amp;"),
        ("$5 or $6", "\\$5 or \\$6"),
        ("snake_case", "snake_case"),
        ("_emphasis_", "\\_emphasis\\_"),
        ("*bold* `code`", "\\*bold\\* \\`code\\`"),
        ("[link](http://x)", "\\[link\\](http://x)"),
        ("two\nlines", "two lines"),
    ],
)
def test_markdown_names_stay_plain_text(name, safe):
    assert f"| {safe} | label_likelihood |" in tables.markdown_table([make_row(name)])


@pytest.mark.parametrize(
    ("readout", "variant", "shown"),
    [
        ("sampled_text", "mean", "sampled_text"),
        ("constrained_text", "constrained", "constrained_text"),
        ("constrained_text", "free", "constrained_text.free"),
        ("label_likelihood", "mean_token", "label_likelihood.mean_token"),
        ("layerwise", "layer_07", "layerwise.layer_07"),
    ],
)
def test_a_readouts_plain_variant_needs_no_name(readout, variant, shown):
    assert tables.name_of(make_row(readout=readout, variant=variant)) == ("p", shown, "none")


def layer(number: int, value: float, prompt="p", calibration="none", **changes) -> dict:
    variant = {"variant": f"layer_{number:02}", "metrics": {"js_divergence": value}}
    return make_row(prompt, "layerwise", calibration, **variant | changes)


def test_layers_in_words_names_the_lowest_uncalibrated_divergence():
    rows = [layer(i, value) for i, value in enumerate([0.5, 0.31249, 0.4])]
    rows += [layer(i, value, "q") for i, value in enumerate([0.5, math.nan, 0.32])]
    rows += [layer(2, 0.1, calibration="contextual_silence"), make_row(), make_floor()]
    assert tables.layers_in_words(rows) == (
        "3 layers are in metrics.csv; lowest JS without calibration: 0.312, layer_01 of p "
        "(chosen on the evaluated clips)"
    )


def test_layers_in_words_without_layers_or_without_a_value():
    assert tables.layers_in_words([make_row(), make_floor()]) is None
    rows = [layer(0, 0.1, calibration="batch"), layer(1, math.nan), layer(2, 0.1, metrics={})]
    assert tables.layers_in_words(rows) == "3 layers are in metrics.csv"


def test_split_layers_keeps_the_order():
    rows = [layer(0, 0.1), make_row("a"), layer(1, 0.2), make_floor()]
    assert tables.split_layers(rows) == ([rows[1], rows[3]], [rows[0], rows[2]])


def test_what_a_value_is_worth_stands_beside_it(tmp_path):
    """Interval, place between floor and ceiling, and the shuffled value follow the first metric; CSV has them all."""
    ends = {"js_divergence": [0.25, 0.35], "brier": [0.01, 0.02]}
    judged = make_row("judged", intervals=ends, share_of_range={"js_divergence": 0.5}, shuffled={"js_divergence": 0.6})
    rows = [judged, make_row("plain"), make_floor(intervals={"js_divergence": [0.1, 0.2]}, note="n")]
    text = printed(tables.metric_table(rows), 250)
    assert text.splitlines()[0].split()[7:14] == ["JS", "↓", "95", "%", "range", "shuffled", "BC"]
    assert line_with(text, "judged").split()[7:11] == ["0.250", "0.350", "0.500", "0.600"]
    assert "0.100 0.200" in line_with(text, "floor: uniform")
    assert "speakers resampled" in " ".join(text.split())
    assert "speakers resampled" not in printed(tables.metric_table([make_row()]))
    tables.write_csv(rows, tmp_path / "metrics.csv")
    first = pd.read_csv(tmp_path / "metrics.csv").iloc[0]
    found = first[["js_divergence_low", "js_divergence_high", "brier_low", "share_of_range_js_divergence"]].tolist()
    assert found == [0.25, 0.35, 0.01, 0.5]
    assert first["shuffled_js_divergence"] == 0.6
