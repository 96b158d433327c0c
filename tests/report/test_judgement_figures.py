"""What the figures of the judgement show, read from their artists and files."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text

from emoprobe.analysis import channels, robustness, strata
from emoprobe.analysis.clips import floor_predictions
from emoprobe.errors import InputError
from emoprobe.labels import LabelSet
from emoprobe.report import judgement_figures as figures
from emoprobe.report.judgement_panels import cell_names, confusion_and_mixtures, reliability_panels
from emoprobe.report.words import YARDSTICKS

LABELS = ["anger", "contempt", "disgust", "fear", "happiness", "neutral", "sadness", "surprise"]
LABEL_SET = LabelSet("set", tuple(LABELS), {label: {"noun": [label]} for label in LABELS})
KEYS = ("model", "prompt", "readout", "variant", "calibration")
SETTING = {"readout": "label_likelihood", "variant": "sum", "calibration": "none", "model": "m", "prompt": "p"}
NASTY = "A corpus_of <script>alert(1)</script> that costs $5 or $6, with a long title that no line of a figure can hold"
LONG = "which_of_these_many_emotions_do_you_hear_$1_$2_in_this_voice"


def make_table(keys, size=40, failures=0.0, seed=0) -> pd.DataFrame:
    """Cells of random predictions on the same utterances."""
    rng = np.random.default_rng(seed)
    votes = np.stack([rng.multinomial(9, p) for p in rng.dirichlet(np.full(len(LABELS), 0.4), size)]).astype(float)
    parts = []
    for key in keys:
        pred = rng.dirichlet(np.full(len(LABELS), 0.5), size)
        pred[rng.random(size) < failures] = np.nan
        frame = pd.DataFrame({"utterance_id": [f"u{i:03d}" for i in range(size)], **SETTING, **key, "fitted_on": ""})
        frame["speaker"] = [f"s{i % 8}" for i in range(size)]
        frame["split"], frame["num_raters"], frame["duration_seconds"] = "test", 9.0, np.arange(size) + 1.0
        frame["status"], frame["label_mass"] = np.where(np.isnan(pred).any(axis=1), "unparsed", "ok"), 0.1
        for prefix, values in (("p", pred), ("target", votes / 9), ("votes", votes)):
            frame[[f"{prefix}_{label}" for label in LABELS]] = values
        parts.append(frame)
    return pd.concat(parts, ignore_index=True)


def make_utterances(table, facts=None) -> pd.DataFrame:
    clips = table.drop_duplicates("utterance_id")
    facts = facts or [{"gender": "fm"[int(name[1:]) % 2]} for name in clips.speaker]
    return clips.assign(role="evaluated", metadata=[json.dumps(fact) for fact in facts])


def texts(figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]


def assert_inside(figure) -> None:
    """Nothing that is drawn is cut off at the edge of the page."""
    figure.canvas.draw()
    box = figure.get_tightbbox(figure.canvas.get_renderer())
    assert min(box.x0, box.y0) >= -0.01
    assert box.x1 <= figure.get_figwidth() + 0.01
    assert box.y1 <= figure.get_figheight() + 0.01


def all_figures(table, people):
    """Every figure of a table with a text channel, several prompts and calibrations."""
    one = table[table.prompt == table.prompt.iloc[0]]
    floors = strata.stratify(floor_predictions(table, people, LABELS), people, LABELS, by="entropy", resamples=20)
    by = {"by": "fact:gender", "resamples": 50}
    single = table[(table[list(KEYS)] == table[list(KEYS)].iloc[0]).all(axis=1)]
    robust = [make(table, LABELS) for make in (robustness.between_prompts, robustness.prompt_scores)]
    paired = [channels.channel_clips(table, LABELS), channels.channel_agreement(table, LABELS, resamples=50)]
    confused = [make(single, LABELS) for make in (channels.expected_confusion, channels.missed_mixtures)]
    table_of = strata.stratify(one, people, LABELS, by="entropy", resamples=50)
    groups = [make(one, people, LABELS, **by) for make in (strata.stratify, strata.gaps)]
    return {
        "strata": figures.metric_by_stratum(table_of, NASTY, NASTY, floors=floors),
        "gaps": figures.group_gaps(*groups, NASTY, NASTY),
        "prompts": figures.prompt_robustness(*robust, NASTY, NASTY),
        "text": figures.text_against_tokens(*paired, NASTY, NASTY),
        "reliability": reliability_panels(channels.reliability(one, LABELS), LABELS, NASTY, NASTY),
        "confusion": confusion_and_mixtures(*confused, LABELS, NASTY, NASTY),
    }


@pytest.fixture(scope="module")
def drawn():
    keys = [
        {"prompt": prompt, "calibration": calibration, "model": model}
        for model in ("a/very-long-name-of-a-model-that-nobody-can-remember", "b/short")
        for prompt in (LONG, "second", "third")
        for calibration in ("none", "training_prior")
    ]
    keys += [{"prompt": LONG, "readout": "generated_text", "variant": "parsed", "model": "b/short"}]
    table = make_table(keys, failures=0.2)
    return all_figures(table, make_utterances(table))


@pytest.mark.parametrize("name", ["strata", "gaps", "prompts", "text", "reliability", "confusion"])
def test_long_names_stay_inside_the_figure_and_are_taken_as_they_are(drawn, name):
    assert_inside(drawn[name])
    assert " ".join(drawn[name].get_suptitle().split()) == f"{NASTY} {NASTY}"


def test_lines_are_the_metric_of_each_stratum():
    table = make_table([{}, {"calibration": "batch"}])
    people = make_utterances(table)
    frame = strata.stratify(table, people, LABELS, by="majority", resamples=50)
    (axes,) = figures.metric_by_stratum(frame, "t").axes
    for line, calibration in zip(axes.lines, ("none", "batch"), strict=True):
        expected = frame.loc[frame.calibration == calibration, "js_divergence"]
        np.testing.assert_allclose(line.get_ydata(), expected)
        assert line.get_label() == calibration
    names = [tick.get_text() for tick in axes.get_xticklabels()]
    sizes = frame.loc[frame.calibration == "none", "num_utterances"]
    assert names == [f"{name}\nn = {n}" for name, n in zip([*LABELS, "no majority"], sizes, strict=True)]
    ends = axes.collections[0].get_segments()
    rows = frame[frame.calibration == "none"]
    for segment, low, high in zip(ends, rows.js_divergence_low, rows.js_divergence_high, strict=True):
        np.testing.assert_allclose(segment[:, 1], [low, high])


def test_floors_are_lines_and_infinite_ones_are_not_drawn():
    table = make_table([{}])
    people = make_utterances(table)
    tables = [
        strata.stratify(t, people, LABELS, by="majority", resamples=9)
        for t in (table, floor_predictions(table, people, LABELS))
    ]
    (axes,) = figures.metric_by_stratum(tables[0], "t", floors=tables[1], metric="vote_nll").axes
    lines = {line.get_label(): line.get_ydata() for line in axes.lines}
    assert list(lines) == ["all", *list(YARDSTICKS.values())[:4]]
    np.testing.assert_allclose(lines["floor: uniform"], np.where(tables[0].num_utterances > 0, math.log(8), np.nan))
    assert not np.isinf(np.concatenate(list(lines.values()))).any()


def test_groups_and_their_gap():
    table = make_table([{}, {"calibration": "batch"}])
    people = make_utterances(table)
    frames = [make(table, people, LABELS, by="fact:gender", resamples=50) for make in (strata.stratify, strata.gaps)]
    figure = figures.group_gaps(*frames, "t")
    axes = figure.axes[0]
    points = {scatter.get_label(): scatter.get_offsets() for scatter in axes.collections}
    for group in "fm":
        expected = frames[0].loc[frames[0].stratum == group, "js_divergence"]
        np.testing.assert_allclose(points[group], np.stack([expected, [1, 0]], axis=1))
    beside = [
        f"{row.gap:.3f} [{row.gap_low:.3f}, {row.gap_high:.3f}]; {row.gap_by_chance:.3f}"
        for row in frames[1].itertuples()
    ]
    assert set(beside) <= set(texts(figure))


def test_prompts_are_dots_and_their_ends_are_named():
    table = make_table([{"prompt": name} for name in ("first", "second", "third")] + [{"prompt": "ensemble_x(3)"}])
    between, scores = (make(table, LABELS) for make in (robustness.between_prompts, robustness.prompt_scores))
    figure = figures.prompt_robustness(between, scores, "t")
    left, right = figure.axes
    np.testing.assert_allclose(right.collections[0].get_offsets()[:, 0], np.sort(scores.js_divergence))
    ends = [scores.prompt[scores.js_divergence.idxmin()], scores.prompt[scores.js_divergence.idxmax()]]
    assert [text.get_text() for text in right.texts] == ends
    medians = [line for line in left.lines if np.isclose(line.get_xdata(), between.js_between.median()).all()]
    assert len(medians) == 1


def test_text_against_tokens_shows_clips_and_differences():
    keys = [{}, {"calibration": "batch"}, {"readout": "generated_text", "variant": "parsed"}]
    table = make_table(keys, failures=0.3)
    clips, agreement = channels.channel_clips(table, LABELS), channels.channel_agreement(table, LABELS, resamples=50)
    figure = figures.text_against_tokens(clips, agreement, "t")
    left, right = figure.axes[:2]
    first = clips[(clips.token_calibration == "none") & clips.has_token & clips.has_text]
    np.testing.assert_allclose(left.collections[0].get_offsets(), first[["js_token", "js_text"]])
    missing = agreement.num_only_token[0] + agreement.num_neither[0]
    assert left.get_title(loc="right") == f"n = {len(first)}; {missing} more without a text distribution"
    np.testing.assert_allclose(right.collections[1].get_offsets()[:, 0], agreement.text_minus_token)
    assert [tick.get_text() for tick in right.get_yticklabels()] == ["none", "batch"]


def test_reliability_panels_state_the_error_of_their_cell():
    table = make_table([{}, {"calibration": "batch"}])
    frame = channels.reliability(table, LABELS)
    figure = reliability_panels(frame, LABELS, "t")
    assert len(figure.axes) == 4
    for axes, calibration in zip(figure.axes[:2], ("none", "batch"), strict=True):
        rows = frame[(frame.calibration == calibration) & (frame["count"] > 0)]
        single, pooled = rows[rows.label != ""], rows[rows.label == ""]
        error = np.average((single.mean_probability - single.mean_share).abs(), weights=single["count"])
        assert axes.get_title() == f"{calibration}\nclass-wise calibration error {error:.3f}"
        np.testing.assert_allclose(axes.lines[1].get_xydata(), pooled[["mean_probability", "mean_share"]])


def test_confusion_shows_raters_and_model_and_the_commonest_mixtures():
    table = make_table([{}])
    confusion, mixtures = (make(table, LABELS) for make in (channels.expected_confusion, channels.missed_mixtures))
    figure = confusion_and_mixtures(confusion, mixtures, LABELS, "t")
    raters, model, lower = figure.axes[:3]
    for axes, column in ((raters, "raters"), (model, "share")):
        expected = confusion[column].to_numpy().reshape(8, 8)
        np.testing.assert_allclose(axes.images[0].get_array(), expected)
        assert axes.texts[1].get_text() == f"{expected[0, 1]:.2f}".removeprefix("0")
    shown = mixtures.sort_values("num_utterances", ascending=False, kind="stable").query("num_utterances > 0")[:20]
    offsets = {scatter.get_label(): scatter.get_offsets() for scatter in lower.collections[1:]}
    np.testing.assert_allclose(offsets["raters"][:, 0], shown.human_mass)
    np.testing.assert_allclose(offsets["model"][:, 0], shown.model_mass)


def test_several_cells_have_no_confusion_figure():
    table = make_table([{}, {"prompt": "q"}], size=3)
    frames = [make(table, LABELS) for make in (channels.expected_confusion, channels.missed_mixtures)]
    with pytest.raises(InputError, match="not of one cell"):
        confusion_and_mixtures(*frames, LABELS, "t")


def test_names_hold_what_differs_and_stay_different():
    table = make_table([{"model": "x"}, {"model": "y"}], size=1)
    assert list(cell_names(table)) == ["x", "y"]
    assert list(cell_names(table[:1])) == ["all"]
    # A plain variant says no more than its readout; names that are cut the same are numbered.
    table = make_table([{}, {"readout": "generated_text", "variant": "parsed"}], size=1)
    assert list(cell_names(table)) == ["label_likelihood", "generated_text"]
    table = make_table([{"prompt": f"{'a' * 30}{i}{'b' * 30}"} for i in range(3)], size=1)
    assert len(set(cell_names(table))) == 3


def test_a_run_without_any_distribution_is_stated():
    keys = [{"prompt": "a"}, {"prompt": "b"}, {"prompt": "a", "readout": "generated_text", "variant": "parsed"}]
    table = make_table(keys, failures=1.1)
    found = all_figures(table, make_utterances(table))
    for name, figure in found.items():
        assert_inside(figure)
        said = " ".join(texts(figure))
        if name == "strata":
            assert "no utterance has a distribution here" in said
        if name == "text":
            assert "no utterance has a text and a token distribution" in said
        if name == "reliability":
            assert "nothing scored" in said
        if name == "gaps":
            assert "fewer than two groups" in said
        if name == "prompts":
            assert "no utterance has a distribution from every prompt" in said
        if name == "confusion":
            assert "no utterance is a mixture or clear" in said


def test_a_single_prompt_is_stated():
    table = make_table([{}])
    frames = [make(table, LABELS) for make in (robustness.between_prompts, robustness.prompt_scores)]
    assert "no setting has two prompts" in texts(figures.prompt_robustness(*frames, "t"))


def test_drawn_cells_do_not_look_at_the_scores():
    prompts = ["first", "second", "second@1", "second@mean(2)", "ensemble_arithmetic(3)"]
    keys = [{"prompt": p, "calibration": c} for p in prompts for c in ("none", "batch", "training_prior")]
    keys += [{"readout": "text", "prompt": p} for p in prompts[1:4]]
    keys += [{"readout": "layerwise", "variant": "layer_00"}]
    chosen = figures.drawn_cells(make_table(keys, size=1))
    assert [(cell.readout, cell.prompt, cell.calibration) for cell in chosen] == [
        ("label_likelihood", "ensemble_arithmetic(3)", "none"),
        ("label_likelihood", "ensemble_arithmetic(3)", "training_prior"),
        ("text", "second@mean(2)", "none"),
    ]


def test_files_of_a_run(tmp_path):
    keys = [{"prompt": p, "calibration": c} for p in ("a", "b") for c in ("none", "batch")]
    keys += [{"prompt": p, "readout": "generated_text", "variant": "parsed"} for p in "ab"]
    table = make_table(keys, failures=0.1)
    for name in KEYS:
        table[name] = table[name].astype("category")
    people = make_utterances(table)
    paths = figures.save_judgement_figures(table, people, LABEL_SET, tmp_path / "new", "Corpus", facts=["gender"])
    stems = ["strata_entropy", "gaps_gender", "prompts", "ambiguity", "text_against_tokens"]
    stems += [
        f"{i:02d}_{r}_{kind}"
        for i, r in ((1, "label_likelihood"), (2, "generated_text"))
        for kind in ("reliability", "confusion")
    ]
    assert [path.name for path in paths] == [f"{stem}{end}" for stem in stems for end in (".png", ".pdf")]
    for path in paths:
        start = path.read_bytes()[:4]
        assert start == (b"%PDF" if path.suffix == ".pdf" else b"\x89PNG")


def test_pdfs_hold_their_letters_as_type(tmp_path):
    table = make_table([{}, {"calibration": "batch"}])
    figure = reliability_panels(channels.reliability(table, LABELS), LABELS, "t")
    _, pdf = figures.save_figure(figure, tmp_path, "x")
    content = pdf.read_bytes()
    assert b"/Type3" not in content
    assert b"/CIDFontType2" in content
