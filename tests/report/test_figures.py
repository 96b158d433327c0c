"""What the figures show, read from their artists and files."""

from __future__ import annotations

import itertools
import math
import struct
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text
from scipy import stats

from emoprobe.labels import LabelSet
from emoprobe.report import cell_figures, figures
from emoprobe.report.study import study_figure
from emoprobe.report.words import YARDSTICKS

LABELS = ["angry", "happy", "$ad$"]
LABEL_SET = LabelSet("set", tuple(LABELS), {label: {"noun": [label]} for label in LABELS})
EIGHT = ["anger", "contempt", "disgust", "fear", "happiness", "neutral", "sadness", "surprise"]
NAN = math.nan
CELL = ("m", "p", "label_likelihood", "sum", "none")
CELL_FIGURES = [
    cell_figures.mean_distribution,
    cell_figures.extreme_clips,
    cell_figures.entropy_scatter,
    cell_figures.reliability,
]
NASTY = "You hear a speaker_of <script>alert(1)</script> who paid $5 or $6; Wut? Ärger, tristesse: in one word, please"


def make_cell(pred, target, labels=LABELS, names=CELL, ids=None) -> pd.DataFrame:
    frame = pd.DataFrame({"utterance_id": ids or [f"clip_{i}" for i in range(len(pred))]})
    frame[["model", "prompt", "readout", "variant", "calibration"]] = list(names)
    frame["status"] = ["unparsed" if np.isnan(row).any() else "ok" for row in np.asarray(pred)]
    frame[[f"p_{label}" for label in labels]] = pred
    frame[[f"target_{label}" for label in labels]] = target
    return frame


def random_cell(size: int, labels=LABELS, names=CELL, seed: int = 0) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    pred, target = generator.dirichlet(np.ones(len(labels)), (2, size))
    return make_cell(pred, target, labels, names)


def make_row(names=CELL, value=0.5, metric="js_divergence", kind="readout", scored=3, failed=0) -> dict:
    row = dict(zip(("model", "prompt", "readout", "variant", "calibration"), names, strict=True))
    metrics = {metric: value} if scored else {}
    counts = {"num_utterances": scored, "num_failed": failed, "mean_label_mass": None}
    return {"kind": kind, **row, "fitted_on": "", **counts, "metrics": metrics}


def texts(figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text) if text.get_text().strip()]


def title_of(figure) -> str:
    return " ".join(figure.get_suptitle().split())


def heights(axes) -> list[list[float]]:
    return [[bar.get_height() for bar in container] for container in axes.containers]


def test_mean_bars_are_the_means_over_scored_utterances_only():
    pred = [[0.5, 0.25, 0.25], [0.1, 0.8, 0.1], [NAN] * 3]
    target = [[1.0, 0, 0], [0.5, 0.5, 0], [0, 0, 1.0]]
    (axes,) = cell_figures.mean_distribution(make_cell(pred, target), LABELS, "t", "s").axes
    np.testing.assert_allclose(heights(axes), [[0.75, 0.25, 0], [0.3, 0.525, 0.175]], atol=1e-12)
    assert axes.get_ylabel() == "mean share, n = 2"
    assert [label.get_text() for label in axes.get_xticklabels()] == LABELS


def test_extreme_clips_shows_both_ends_with_their_entropy_in_bits():
    target = [[1, 0, 0], [1 / 3, 1 / 3, 1 / 3], [0.5, 0.5, 0], [0.5, 0.25, 0.25], [0.9, 0.1, 0]]
    pred = [[0.2, 0.3, 0.5]] * 5
    figure = cell_figures.extreme_clips(make_cell(pred, target), LABELS, "t", "s", count=2)
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == ["clip_0\n0.00 bits", "clip_4\n0.47 bits", "clip_3\n1.50 bits", "clip_1\n1.58 bits"]
    np.testing.assert_allclose(heights(figure.axes[2]), [[0.5, 0.25, 0.25], [0.2, 0.3, 0.5]])


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 9])
def test_extreme_clips_never_shows_a_clip_twice(size):
    figure = cell_figures.extreme_clips(random_cell(size), LABELS, "t", "s")
    shown = [axes.get_title().split("\n")[0] for axes in figure.axes if axes.get_title()]
    assert len(shown) == len(set(shown)) == min(size, 8)


def test_entropy_scatter_agrees_with_scipy():
    cell = random_cell(30)
    (axes,) = cell_figures.entropy_scatter(cell, LABELS, "t", "s").axes
    pred, target = (
        stats.entropy(cell[[f"{side}_{label}" for label in LABELS]], axis=1, base=2) for side in ("p", "target")
    )
    np.testing.assert_allclose(axes.collections[0].get_offsets(), np.stack([target, pred], axis=1))
    rho = stats.spearmanr(target, pred).statistic
    assert axes.get_title(loc="right") == f"Spearman's rho {rho:.2f}, n = 30"
    assert axes.get_xlim() == axes.get_ylim() == pytest.approx((0, math.log2(3)))
    np.testing.assert_allclose(axes.lines[0].get_xydata(), [[0, 0], [math.log2(3)] * 2])


def test_entropy_scatter_says_that_the_correlation_of_one_utterance_is_undefined():
    (axes,) = cell_figures.entropy_scatter(random_cell(1), LABELS, "t", "s").axes
    assert axes.get_title(loc="right") == "Spearman's rho undefined, n = 1"


def test_reliability_by_hand():
    # Bins (0, .1], ..., (.9, 1]: 0.3 belongs to the third although 0.1 + 0.2 is above it in floating point.
    pred = np.array([[0.7, 0.25, 0.05], [0.65, 0.1 + 0.2, 0.05]])
    target = np.array([[1.0, 0, 0], [0.5, 0.5, 0]])
    upper, lower = cell_figures.reliability(make_cell(pred, target), LABELS, "t", "s").axes
    assert [bar.get_height() for bar in lower.patches] == [2, 0, 2, 0, 0, 0, 2, 0, 0, 0]
    pooled = upper.lines[1].get_xydata()
    np.testing.assert_allclose(pooled, [[0.05, 0], [0.275, 0.25], [0.675, 0.75]])
    # Sums over the three labels of |sum of prediction - target| per bin: .15 + .05 + .1, over 2 x 3 pairs.
    assert upper.get_title(loc="right") == f"class-wise calibration error {0.3 / 6:.3f}"


def test_reliability_error_uses_the_bins_that_are_drawn():
    # In one bin the deviations of a label cancel out over the utterances; in ten they do not.
    cell = make_cell([[0.8, 0.1, 0.1], [0.2, 0.4, 0.4]], [[0.2, 0.4, 0.4], [0.8, 0.1, 0.1]])
    upper, lower = cell_figures.reliability(cell, LABELS, "t", "s", bins=1).axes
    assert upper.get_title(loc="right") == "class-wise calibration error 0.000"
    assert [bar.get_height() for bar in lower.patches] == [6]
    upper, _ = cell_figures.reliability(cell, LABELS, "t", "s").axes
    assert upper.get_title(loc="right") == f"class-wise calibration error {(1.2 + 0.6 + 0.6) / 6:.3f}"


@pytest.mark.parametrize("draw", CELL_FIGURES)
def test_a_cell_that_failed_everywhere_is_stated(draw):
    cell = make_cell([[NAN] * 3] * 2, [[1.0, 0, 0]] * 2)
    figure = draw(cell, LABELS, "title", "Corpus (SYNTHETIC)")
    assert "no utterance has a distribution here" in texts(figure)
    figure.canvas.draw()


@pytest.mark.parametrize("draw", CELL_FIGURES)
def test_long_titles_and_eight_labels_stay_inside_the_figure(draw):
    subtitle = "A corpus of made-up clips (SYNTHETIC) whose title is long as well, and costs $1 or $2"
    figure = draw(random_cell(40, EIGHT), EIGHT, NASTY, subtitle)
    figure.canvas.draw()
    renderer, page = figure.canvas.get_renderer(), figure.bbox
    for text in figure.findobj(Text):
        if text.get_visible() and text.get_text().strip():
            box = text.get_window_extent(renderer)
            inside = box.x0 >= -1 and box.y0 >= -1 and box.x1 <= page.x1 + 1 and box.y1 <= page.y1 + 1
            assert inside, text.get_text()
    assert title_of(figure) == f"{NASTY} {subtitle}"


def test_a_long_title_takes_nothing_from_the_axes():
    heights = []
    for title in ("t", NASTY * 3):
        figure = cell_figures.mean_distribution(random_cell(3), LABELS, title, "s")
        figure.canvas.draw()
        heights.append(figure.axes[0].get_window_extent().height)
    assert heights[1] > 0.9 * heights[0]


@pytest.mark.parametrize("draw", CELL_FIGURES)
def test_dollar_signs_are_no_formula(draw):
    figure = draw(make_cell([[0.2, 0.3, 0.5]], [[1, 0, 0]], ids=["$x$"]), LABELS, "$t$", "$s$")
    figure.canvas.draw()
    with_dollar = [text for text in figure.findobj(Text) if "$" in text.get_text()]
    assert with_dollar
    assert not any(text.get_parse_math() for text in with_dollar)


def ticks(axes) -> list[str]:
    return [label.get_text() for label in axes.get_yticklabels()]


def test_overview_sorts_cells_and_draws_floors():
    rows = [make_row(("m", name, "r", "sum", "none"), value) for name, value in (("b", 0.4), ("a", 0.2), ("c", 0.6))]
    rows += [
        make_row(("", "", "uniform", "", ""), 0.5, kind="floor"),
        make_row(("", "", "one_hot_of_top_vote", "", ""), 0.1, kind="reference"),
    ]
    figure = figures.overview(rows, "t", "s")
    (axes,) = figure.axes
    points = {round(y): x for x, y in axes.collections[0].get_offsets()}
    names = {round(tick.get_position()[1]): tick.get_text()[0] for tick in axes.get_yticklabels()}
    assert [(names[y], points[y]) for y in sorted(points, reverse=True)] == [("a", 0.2), ("b", 0.4), ("c", 0.6)]
    assert [line.get_xdata()[0] for line in axes.lines] == [0.5, 0.1]
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert {"floor: uniform .500", "reference: one-hot of the top vote .100"} <= set(legend)
    assert axes.get_xlabel() == "js_divergence (lower is better)"


def test_overview_puts_the_highest_first_where_higher_is_better():
    rows = [make_row(("m", name, "r", "sum", "none"), value, "uar") for name, value in (("low", 0.2), ("high", 0.9))]
    (axes,) = figures.overview(rows, "t", "s", metric="uar").axes
    assert ticks(axes)[0].startswith("high")
    assert "higher is better" in axes.get_xlabel()


def test_overview_says_what_it_leaves_out():
    rows = [make_row(("m", f"p{i}", "r", "sum", "none"), i / 100) for i in range(65)]
    rows += [make_row(value=NAN), make_row(value=math.inf), make_row(scored=0, failed=3)]
    (axes,) = figures.overview(rows, "t", "s").axes
    assert len(ticks(axes)) == 60
    assert "the best 60 of 65 are shown; 3 without a finite value" in axes.get_xlabel()


def test_overview_marks_cells_that_failed_on_some_clips():
    rows = [make_row(value=0.1), make_row(value=0.2, failed=2)]
    figure = figures.overview(rows, "t", "s")
    whole, partial = figure.axes[0].collections
    assert (whole.get_offsets()[0][0], partial.get_offsets()[0][0]) == (0.1, 0.2)
    assert "some without a distribution" in texts(figure)


def test_overview_without_any_finite_value_is_stated():
    assert "no cell has a finite js_divergence" in texts(figures.overview([make_row(value=NAN)], "t", "s"))


def test_overview_with_long_names_keeps_room_for_the_points_and_tells_models_apart():
    rows = [make_row((model, NASTY, "r", "sum", "$c$"), 0.3) for model in ("openai/whisper-large-v3", "other")]
    rows += [make_row(("other", f"prompt {i}", "r", "sum", "none"), 0.4) for i in range(58)]
    figure = figures.overview(rows, "t", "s")
    figure.canvas.draw()
    (axes,) = figure.axes
    labels = axes.get_yticklabels()
    assert len({label.get_text() for label in labels}) == 60
    assert not any(label.get_parse_math() for label in labels)
    assert axes.get_window_extent().width > 0.4 * figure.bbox.width
    boxes = sorted((label.get_window_extent() for label in labels), key=lambda box: box.y0)
    assert all(box.y1 <= above.y0 + 0.5 for box, above in itertools.pairwise(boxes))
    assert min(box.x0 for box in boxes) >= 0


def save(tmp_path, cells, rows=None) -> list:
    predictions = pd.concat([random_cell(3, names=names, seed=i) for i, names in enumerate(cells)], ignore_index=True)
    rows = rows or [make_row(names) for names in cells]
    return figures.save_figures(predictions, rows, LABEL_SET, tmp_path / "new" / "figures", "Corpus (SYNTHETIC)")


@pytest.fixture
def unrendered(monkeypatch):
    """Titles of the figures by file name; rendering is what takes time."""
    titles = {}

    def keep(figure, path):
        assert path.name not in titles
        titles[path.name] = title_of(figure)
        return path

    monkeypatch.setattr(figures, "save", keep)
    return titles


def test_saved_files_are_png_of_150_dots_per_inch(tmp_path):
    paths = save(tmp_path, [CELL])
    kinds = ("mean", "clips", "entropy", "reliability")
    assert [path.name for path in paths] == ["overview.png"] + [f"label_likelihood-p-none_{kind}.png" for kind in kinds]
    for path in paths:
        data = path.read_bytes()
        assert data[:8] == b"\x89PNG\r\n\x1a\n"
        width, height = struct.unpack(">II", data[16:24])
        assert 500 < width < 3000
        assert 300 < height < 3000
    width, _ = struct.unpack(">II", paths[0].read_bytes()[16:24])
    assert width == 9 * 150


def test_subtitle_is_in_every_figure(tmp_path, unrendered):
    save(tmp_path, [CELL])
    assert len(unrendered) == 5
    assert all("Corpus (SYNTHETIC)" in title for title in unrendered.values())


def test_names_of_files_are_safe_and_unique(tmp_path, unrendered):
    readouts = ["a b", "a_b", "A_b", "../../etc/passwd", "<script>", "情緒", "é", "x" * 300, "$x$", ""]
    paths = save(tmp_path, [("m", "p", readout, "sum", "none") for readout in readouts])
    assert len(paths) == 1 + 4 * len(readouts)
    assert len({path.name.lower() for path in paths}) == len(paths)
    for path in paths:
        assert path.parent == tmp_path / "new" / "figures"
        assert set(path.name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._=-")
        assert len(path.name) < 200


def test_the_ensemble_is_drawn_where_there_is_one_else_the_first_prompt(tmp_path, unrendered):
    cells = [("m", prompt, "r", variant, "none") for variant in ("sum", "mean") for prompt in ("p1", "p2")]
    cells += [("m", "ensemble_mean(2)", "r", variant, "none") for variant in ("sum", "mean")]
    cells += [("m", prompt, "text", "parsed", "none") for prompt in ("p2", "p1")]
    save(tmp_path, cells)
    drawn = {name: title for name, title in unrendered.items() if name.endswith("_mean.png")}
    assert sorted(drawn) == ["r-ensemble_mean_2-none_mean.png", "text-p2-none_mean.png"]
    assert "r (sum)" in drawn["r-ensemble_mean_2-none_mean.png"]


def test_the_first_and_the_last_calibration_of_each_model_are_drawn(tmp_path, unrendered):
    save(tmp_path, [(model, "p", "r", "sum", f"c{i}") for model in ("m1", "m2") for i in range(10)])
    drawn = [name for name in unrendered if name.endswith("_mean.png")]
    assert drawn == [f"{model}-r-p-c{i}_mean.png" for model in ("m1", "m2") for i in (0, 9)]
    assert unrendered["m2-r-p-c0_mean.png"].startswith("m2, r (sum), p, calibration: c0")


def test_at_most_twelve_cells_are_drawn(tmp_path, unrendered):
    save(tmp_path, [("m", "p", f"r{i}", "sum", "none") for i in range(20)])
    assert len(unrendered) == 1 + 4 * 12


def test_a_failed_cell_gives_way_to_a_scored_prompt_but_does_not_vanish(tmp_path, unrendered):
    cells = [("m", "p1", "r", "sum", "none"), ("m", "p2", "r", "sum", "none"), ("m", "p1", "text", "parsed", "none")]
    rows = [make_row(names, scored=scored, failed=3 - scored) for names, scored in zip(cells, (0, 3, 0), strict=True)]
    save(tmp_path, cells, rows)
    drawn = {name for name in unrendered if name.endswith("_mean.png")}
    assert drawn == {"r-p2-none_mean.png", "text-p1-none_mean.png"}


def test_categorical_columns_as_the_analysis_makes_them(tmp_path, unrendered):
    frame = random_cell(3)
    for name in ("model", "prompt", "readout", "variant", "calibration"):
        frame[name] = frame[name].astype("category")
    assert len(figures.save_figures(frame, [make_row()], LABEL_SET, tmp_path, "s")) == 5


def test_importing_is_light_and_drawing_leaves_no_global_state():
    code = """
import sys
import emoprobe.report.figures, emoprobe.report.tables
assert not {"torch", "matplotlib", "pandas", "scipy", "transformers"} & set(sys.modules), "heavy import"
from emoprobe.report.style import new_figure
new_figure(3, 3, "t", "s").canvas.draw()
assert "matplotlib.pyplot" not in sys.modules, "pyplot"
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def layer_row(prompt="p", layer=0, calibration="none", value=0.4, model="m") -> dict:
    row = make_row((model, prompt, "layerwise", f"layer_{layer:02}", calibration), value)
    return row | {"metrics": {"js_divergence": value, "bhattacharyya": 1 - value}}


def layer_floor(name: str, value: float) -> dict:
    row = make_row(("", "", name, "", ""), kind="floor")
    return row | {"metrics": {"js_divergence": value, "bhattacharyya": 1 - value}}


def lines(axes, style=None) -> list[list[tuple[float, float]]]:
    """Points of the lines along the layers, in the order of drawing."""
    drawn = [line for line in axes.lines if len(line.get_xdata()) > 0 and line.get_marker() != "None"]
    return [list(map(tuple, line.get_xydata())) for line in drawn if style in (None, line.get_linestyle())]


def test_layers_are_drawn_in_order_with_floors_and_a_style_for_each_calibration():
    values = {"none": [0.4, 0.2, 0.3], "contextual_silence": [0.35, 0.3, 0.1], "batch": [0.6, 0.6, 0.6]}
    rows = [layer_row("p", i, name, values[name][i]) for name in values for i in (2, 0, 1)]
    rows += [layer_floor("uniform", 0.5), layer_floor("prior", 0.25), layer_floor("majority", 0.7)]
    rows += [make_row(value=0.9)]
    figure = figures.layers(rows, "t", "s")
    left, right = figure.axes
    assert lines(left, "-") == [list(enumerate(values["none"]))]
    assert lines(left, "--") == [list(enumerate(values["contextual_silence"]))]
    np.testing.assert_allclose(np.array(lines(right, "-"))[0, :, 1], [0.6, 0.8, 0.7])
    flat = [
        sorted(set(line.get_ydata())) for line in left.lines if line.get_marker() == "None" and len(line.get_xdata())
    ]
    assert flat == [[0.5], [0.25]]
    assert left.get_ylabel() == "js_divergence (lower is better)"
    assert right.get_ylabel() == "bhattacharyya (higher is better)"
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == [
        "p",
        "floor: uniform",
        "floor: vote prior",
        "calibration: none",
        "calibration: contextual_silence",
    ]


def test_layers_draw_each_prompt_once_and_no_ensemble():
    prompts = ("a@0", "a@1", "b", "c@0", "a@mean(2)", "ensemble_arithmetic(3)")
    rows = [layer_row(prompt, layer) for prompt in prompts for layer in range(2)]
    figure = figures.layers(rows, "t", "s")
    assert len(lines(figure.axes[0])) == 3
    assert [text.get_text() for text in figure.legends[0].get_texts()][:3] == ["b", "c@0", "a@mean(2)"]
    assert figure.legends[0].get_texts()[3].get_text() == "calibration: none"


def test_layers_of_two_readouts_are_lines_of_their_own(monkeypatch):
    monkeypatch.setattr("emoprobe.report.tables.names_of", lambda channel: {"layerwise", "tuned_lens"})
    rows = [layer_row("p", i, value=0.2 + 0.1 * i) for i in range(2)]
    rows += [layer_row("p", i, value=0.5) | {"readout": "tuned_lens"} for i in range(2)]
    figure = figures.layers(rows, "t", "s")
    assert lines(figure.axes[0]) == [[(0, 0.2), (1, pytest.approx(0.3))], [(0, 0.5), (1, 0.5)]]
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend[:2] == ["layerwise · p", "tuned_lens · p"]


def test_a_layer_without_a_metric_is_a_gap():
    rows = [layer_row(layer=0), layer_row(layer=1) | {"metrics": {}}, layer_row(layer=2)]
    (values,) = lines(figures.layers(rows, "t", "s").axes[0])
    np.testing.assert_array_equal(values, [(0, 0.4), (1, NAN), (2, 0.4)])


def test_layers_of_many_prompts_can_be_told_apart_and_the_rest_is_stated():
    rows = [layer_row(f"prompt {i}", layer) for i in range(16) for layer in range(2)]
    figure = figures.layers(rows, "t", "s")
    drawn = [line for line in figure.axes[0].lines if len(line.get_xdata())]
    assert len({(line.get_color(), line.get_marker()) for line in drawn}) == len(drawn) == 14
    assert "the first 14 of 16 prompts" in texts(figure)
    assert "prompts" not in " ".join(texts(figures.layers(rows[:28], "t", "s")))


@pytest.mark.parametrize("models", [["m"], ["openai/whisper-large-v3", "Qwen/Qwen2-Audio-7B-Instruct"]])
def test_layers_with_long_names_stay_inside_the_figure(models):
    names = [f"{i} {NASTY} {i}" for i in range(9)]
    rows = [layer_row(name, layer, model=model) for model in models for name in names for layer in range(9)]
    rows += [layer_floor("uniform", 0.5), layer_floor("prior", 0.3)]
    figure = figures.layers(rows, NASTY, "s")
    figure.canvas.draw()
    page = figure.bbox
    labels = [label for axes in figure.axes for label in (axes.xaxis.label, axes.yaxis.label)]
    for artist in [figure._suptitle, figure.legends[0], *labels]:
        box = artist.get_window_extent()
        assert box.x0 >= -1
        assert box.y0 >= -1
        assert box.x1 <= page.x1 + 1
        assert box.y1 <= page.y1 + 1
    assert all(axes.get_window_extent().height > 0.4 * 3.6 * figure.dpi for axes in figure.axes)


def test_layers_of_other_calibrations_alone_are_stated():
    figure = figures.layers([layer_row(calibration="batch")], "t", "s")
    assert texts(figure).count("no layer has a calibration none or contextual_silence") == 2
    figure.canvas.draw()


def test_single_layers_have_one_figure_and_no_place_among_the_cells(tmp_path, unrendered):
    cells = [("m", "p", "layerwise", f"layer_{i:02}", "none") for i in range(3)]
    rows = [layer_row(layer=i) for i in range(3)]
    paths = save(tmp_path, [*cells, CELL], [*rows, make_row()])
    assert [path.name for path in paths][:2] == ["overview.png", "layers.png"]
    assert len(paths) == 2 + 4
    (axes,) = figures.overview([*rows, make_row()], "t", "s").axes
    assert len(ticks(axes)) == 1
    assert axes.get_xlabel() == "js_divergence (lower is better; single layers: layers.png)"


def test_the_mean_over_orders_is_drawn_where_there_is_no_ensemble(tmp_path, unrendered):
    prompts = ["a@0", "a@1", "a@mean(2)"]
    cells = [("m", prompt, readout, "sum", "none") for readout in ("r1", "r2") for prompt in prompts]
    save(tmp_path, [*cells, ("m", "ensemble_arithmetic(2)", "r2", "sum", "none")])
    drawn = {name for name in unrendered if name.endswith("_mean.png")}
    assert drawn == {"r1-a_mean_2-none_mean.png", "r2-ensemble_arithmetic_2-none_mean.png"}


def test_floors_reference_and_ceiling_are_told_apart_without_colours_and_alike_everywhere():
    names = ["majority", "human", "uniform", "one_hot_of_top_vote", "prior", "half_against_half"]
    kinds = {"human": "ceiling", "one_hot_of_top_vote": "reference", "half_against_half": "reference"}
    rows = [
        make_row(("", "", name, "", ""), i / 10 + 0.05, kind=kinds.get(name, "floor")) for i, name in enumerate(names)
    ]
    drawn = figures.overview([make_row(value=0.3), *rows], "t", "s")
    frame = [
        {"name": f"{row['kind']}: {row['readout']}", "kind": row["kind"], "js_divergence": 0.1} for row in rows[:5]
    ]
    study = study_figure([{"name": "a", "kind": "tokens", "js_divergence": 0.3}, *frame], "t", "s")
    looks = [
        {
            line.get_label().rpartition(" ")[0]: (line.get_linestyle(), line.get_color(), line._unscaled_dash_pattern)
            for line in axes.lines
        }
        for axes in (drawn.axes[0], study.axes[0])
    ]
    assert list(looks[0]) == list(YARDSTICKS.values())
    assert all(looks[1][name] == look for name, look in looks[0].items())
    strokes = {str(dash) for _, _, dash in looks[0].values()}
    assert len(strokes) == len({colour for _, colour, _ in looks[0].values()}) == 5
