"""Figures of where a belief sits show what they are given, with and without sound."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from emoprobe.analysis.positions import ANSWER, BEFORE, ClipPositions
from emoprobe.report import belief_figures

BELIEFS = np.random.default_rng(0).dirichlet(np.ones(3), (4, 9))


def clip(where, seconds):
    texts = tuple("" if kind == "sound" else f"t{i}$" for i, kind in enumerate(where))
    return ClipPositions("m", "p", "u", BELIEFS[:, : len(where)], np.array(where, dtype=object), texts, seconds, 2.0)


def test_a_map_shows_time_over_the_spectrogram_and_tokens_beside_it():
    where = [BEFORE, "sound", "sound", "sound", "sound", "prompt", ANSWER, "written", "written"]
    seconds = np.array([np.nan, 0.25, 0.75, 1.25, 1.75, *[np.nan] * 4])
    sound = np.random.default_rng(1).normal(0, 0.1, 32_000).astype(np.float32), 16_000
    figure = belief_figures.belief_map(clip(where, seconds), 1, "sad", "title", sound=sound)
    upper = [axes for axes in figure.axes if axes.get_title() in ("sound", "prompt", "written answer")]
    masks = [[1, 2, 3, 4], [0, 5, 6], [7, 8]]
    for axes, places in zip(upper, masks, strict=True):
        (mesh,) = axes.collections
        np.testing.assert_allclose(mesh.get_array().reshape(4, -1), BELIEFS[:, places, 1])
    np.testing.assert_allclose(upper[0].collections[0].get_coordinates()[0, :, 0], [0, 0.5, 1, 1.5, 2])
    assert [text.get_text() for text in upper[1].get_xticklabels()] == ["t0$", "t5$", "t6$"]
    assert any(axes.get_xlabel() == "seconds" for axes in figure.axes)


def test_a_map_without_sound_has_tokens_alone():
    figure = belief_figures.belief_map(
        clip(["prompt", ANSWER, "written"], np.full(3, np.nan)), 0, "sad", "t", sound=None
    )
    assert [axes.get_title() for axes in figure.axes if axes.get_title()] == ["prompt", "written answer"]
    gone = belief_figures.belief_map(clip(["sound", ANSWER], np.array([1.0, np.nan])), 0, "sad", "t", sound=None)
    assert any("not where it was" in text.get_text() for axes in gone.axes for text in axes.texts)


def test_curves_draw_the_tables():
    rows = [
        {"where": where, "layer": layer, "js": 0.1 * layer, "js_low": 0.0, "js_high": 0.5}
        for where in ("sound", ANSWER)
        for layer in range(4)
    ]
    timed = [{"layer": layer, "from": part / 10, "js": 0.05 * part} for layer in range(4) for part in range(10)]
    figure = belief_figures.belief_curves(pd.DataFrame(rows), pd.DataFrame(timed), "title")
    left, right = figure.axes
    assert [text.get_text() for text in left.get_legend().get_texts()] == ["sound", ANSWER]
    np.testing.assert_allclose(left.lines[1].get_ydata(), [0, 0.1, 0.2, 0.3])
    assert len(left.collections) == 1
    np.testing.assert_allclose(right.lines[0].get_xdata(), np.arange(10) / 10 + 0.05)
    assert len(belief_figures.belief_curves(pd.DataFrame(rows), pd.DataFrame([]), "title").axes) == 1


@pytest.mark.parametrize("shares", [[1.0, 0.7, 0.0], [np.nan] * 3])
def test_patched_layers_draw_the_shares(shares):
    means = pd.DataFrame({"prompt": "p", "layer": range(3), "share": shares, "share_low": shares, "share_high": shares})
    line = belief_figures.patched_layers(means, "title").axes[0].lines[1]
    np.testing.assert_allclose(line.get_ydata(), shares)


def test_drift_draws_states_and_beliefs():
    rows = [
        {"part": part, "layer": i, "cka": 1 - 0.1 * i, **dict.fromkeys(("js", "js_low", "js_high"), js)}
        for part, js in (("encoder", np.nan), ("decoder", 0.2))
        for i in range(3)
    ]
    left, right = belief_figures.drifted_layers(pd.DataFrame(rows), "title").axes
    assert [text.get_text() for text in left.get_legend().get_texts()] == ["encoder", "decoder"]
    np.testing.assert_allclose(left.lines[1].get_ydata(), [1, 0.9, 0.8])
    np.testing.assert_allclose(right.lines[0].get_ydata(), [0.2] * 3)
    alone = belief_figures.drifted_layers(pd.DataFrame(rows[:3]), "title")
    assert any("hears and does not answer" in text.get_text() for axes in alone.axes for text in axes.texts)
