"""Positions of a stored row get their kind and their time, and means over clips are those of scipy's distance."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from scipy.spatial.distance import jensenshannon

from emoprobe.analysis.positions import ANSWER, BEFORE, clip_positions, mean_distances
from emoprobe.readout.layer_positions import LayerPositions
from emoprobe.run.scores import schema

KINDS = ["prompt", "sound", "prompt", "sound", "sound", "prompt", "prompt", "written"]  # a mark within the sound
WHERE = [BEFORE, "sound", "prompt", "sound", "sound", "prompt", ANSWER, "written"]
RNG = np.random.default_rng(0)
NAMES = frozenset(each.name for each in LayerPositions.columns)


def row(clip, kinds, covers=0.0, **more):
    beliefs = RNG.dirichlet(np.ones(2), (3, len(kinds)))
    stored = {
        "utterance_id": clip,
        "input": "clip",
        "model": "m",
        "prompt": "p",
        "readout": "layer_positions",
        "duration_seconds": 6.0,
        "form_labels": ["sad", "happy", "sad"],
        "position_label_scores": (np.log(beliefs[..., ::-1]) - 5).ravel().tolist(),  # the other order
        "position_kinds": kinds,
        "position_texts": ["" if kind == "sound" else "t" for kind in kinds],
        "position_tokens": list(range(len(kinds))),
        "position_seconds": covers,
    }
    return beliefs, stored | more


@pytest.fixture(scope="module")
def made():
    made = [row("a", KINDS), row("b", KINDS, covers=12.0), row("c", ["prompt", "prompt", "written"])]
    others = [row("a", KINDS, input="silence")[1], row("a", KINDS, readout="layerwise")[1]]
    table = pa.Table.from_pylist([stored for _, stored in made] + others, schema=schema(NAMES))
    return [beliefs for beliefs, _ in made], table


def test_positions_have_a_kind_and_a_time(made):
    beliefs, table = made
    first, window, deaf = clip_positions(table, ("happy", "sad"))
    for clip, expected in zip((first, window, deaf), beliefs, strict=True):
        np.testing.assert_allclose(clip.beliefs, expected, rtol=1e-5)
    assert first.where.tolist() == window.where.tolist() == WHERE
    assert deaf.where.tolist() == ["prompt", ANSWER, "written"]
    sound = [1, 3, 4]
    assert first.seconds[sound].tolist() == [1, 3, 5]  # of 6 s
    assert window.seconds[sound].tolist() == [2, 6, 10]  # of a window of 12 s
    assert np.isnan(first.seconds[[0, 2, 5, 6, 7]]).all()
    assert np.isnan(deaf.seconds).all()


def test_windows_of_a_long_clip_have_no_time_in_common():
    table = pa.Table.from_pylist(
        [row("a", KINDS, window=0, windows=1)[1]], schema=schema(NAMES | {"window", "windows"})
    )
    assert list(clip_positions(table, ("happy", "sad"))) == []


def test_mean_distances_are_means_over_clips_of_means_over_positions(made):
    beliefs, table = made
    targets = {name: np.array([share, 1 - share]) for name, share in (("a", 0.2), ("b", 0.9), ("c", 0.5))}
    clips = clip_positions(table, ("happy", "sad"))
    by_layer, by_time = mean_distances(clips, targets, {"a": "s", "b": "s", "c": "t"}, resamples=50)

    def js(clip, layer, position):
        return jensenshannon(beliefs[clip][layer, position], targets["abc"[clip]], 2) ** 2

    found = by_layer.set_index(["where", "layer"])
    for layer in range(3):
        sound = np.mean([np.mean([js(clip, layer, i) for i in (1, 3, 4)]) for clip in (0, 1)])
        assert found.loc["sound", layer]["js"] == pytest.approx(sound, abs=1e-6)
        answer = np.mean([js(0, layer, 6), js(1, layer, 6), js(2, layer, 1)])
        assert found.loc[ANSWER, layer]["js"] == pytest.approx(answer, abs=1e-6)
    assert found.loc[(ANSWER, 0), "num_clips"] == 3
    assert found.loc[(ANSWER, 0), "js_low"] <= found.loc[(ANSWER, 0), "js"] <= found.loc[(ANSWER, 0), "js_high"]
    assert found.loc["sound"]["js_low"].isna().all()  # of one speaker
    # At 1, 3, 5 of 6 s and at 2 of 6 s; what lies behind the clip in its window is left out.
    assert sorted(set(by_time["from"])) == [0.1, 0.3, 0.5, 0.8]
    timed = by_time.set_index(["from", "layer"])["js"]
    assert timed[0.3, 2] == pytest.approx(js(1, 2, 1), abs=1e-6)
    assert timed[0.8, 1] == pytest.approx(js(0, 1, 4), abs=1e-6)
