"""Figures of where a belief sits: layers over time and tokens, their distance from the raters, patching, drift."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from emoprobe.analysis.positions import ANSWER, BEFORE, PROMPT, SOUND, TIMES, WRITTEN, ClipPositions
from emoprobe.report.style import GREY, PALETTE, add_legend, new_figure, say_nothing, shorten, tidy

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARKERS = "osD^vP*"
COLOURS = "cividis"  # told apart with any colour vision, and in grey
TOKEN, MAX_TOKENS = 0.16, 60  # inches beside one token; more are named now and then
DRAWN_LAYERS = 5


def belief_map(
    clip: ClipPositions, label: int, name: str, title: str, subtitle: str = "", *, sound: tuple[np.ndarray, int] | None
) -> Figure:
    """Probability of a label at every layer, over the spectrogram of the sound and beside it over the tokens.

    Args:
        clip: The clip.
        label: Number of the label.
        name: Its name.
        title: First line of the title.
        subtitle: Second line.
        sound: Waveform ``[samples]`` and rate, hertz; None where it is not there.
    """
    shown = {
        "sound": clip.where == SOUND,
        "prompt": np.isin(clip.where, (BEFORE, PROMPT, ANSWER)),
        "written answer": clip.where == WRITTEN,
    }
    shown = {what: mask for what, mask in shown.items() if mask.any()}
    widths = [4.5 if what == "sound" else max(0.7, TOKEN * min(MAX_TOKENS, mask.sum())) for what, mask in shown.items()]
    heights = [3.0, 1.2] if "sound" in shown else [3.0]  # without positions of the sound there is no time to show
    figure = new_figure(max(5.0, 1.4 + sum(widths)), 0.8 + sum(heights), title, subtitle)
    grid = figure.subplots(len(heights), len(shown), width_ratios=widths, height_ratios=heights, squeeze=False)
    values = clip.beliefs[..., label]
    layers = np.arange(len(values))
    for (what, mask), (axes, *below) in zip(shown.items(), grid.T, strict=True):
        timed = what == "sound"
        x = _edges(clip.seconds[mask]) if timed else np.arange(mask.sum() + 1) - 0.5
        look: dict[str, Any] = {"cmap": COLOURS, "vmin": 0, "vmax": 1, "rasterized": True}
        mesh = axes.pcolormesh(x, np.arange(len(layers) + 1) - 0.5, values[:, mask], **look)
        axes.set_title(what, fontsize=8)
        if timed:
            axes.set_xlim(0, min(x[-1], clip.duration))
            axes.tick_params(labelbottom=False)
            _spectrogram(below[0], sound, clip.duration)
            continue
        _name_tokens(axes, [text for text, here in zip(clip.texts, mask, strict=True) if here])
        for empty in below:
            empty.set_axis_off()
    for axes in grid[0, 1:]:
        axes.tick_params(labelleft=False)
    grid[0, 0].yaxis.get_major_locator().set_params(integer=True)
    grid[0, 0].set_ylabel("decoder layer (0: embeddings)")
    bar = figure.colorbar(mesh, ax=grid[0].tolist(), aspect=30, pad=0.01)
    bar.set_label(f"probability of {shorten(name)}", parse_math=False)
    return figure


def _edges(middles: np.ndarray) -> np.ndarray:
    """Ends of equal parts around their middles."""
    half = (middles[1] - middles[0]) / 2 if len(middles) > 1 else middles[0]
    return np.concatenate([[middles[0] - half], middles + half])


def _name_tokens(axes: Axes, texts: Sequence[str]) -> None:
    step = -(-len(texts) // MAX_TOKENS)
    places = range(0, len(texts), step)
    names = [shorten(repr(texts[i])[1:-1] or "∅", 14) for i in places]
    axes.set_xticks(list(places), names, rotation=90, fontsize=6, parse_math=False)


def _spectrogram(axes: Axes, sound: tuple[np.ndarray, int] | None, duration: float) -> None:
    """Levels of a sound by time and frequency, 70 dB below the loudest."""
    if sound is None or len(sound[0]) < 2:
        say_nothing(axes, "the sound is not where it was")
        return
    from scipy.signal import spectrogram

    waveform, rate = sound
    size = min(len(waveform), round(0.025 * rate))
    frequencies, times, power = spectrogram(waveform, rate, nperseg=size, noverlap=size * 3 // 5)
    level = 10 * np.log10(power + 1e-12)
    look: dict[str, Any] = {"cmap": "gray_r", "vmin": level.max() - 70, "rasterized": True, "shading": "nearest"}
    if len(times) > 1:
        axes.pcolormesh(times, frequencies / 1000, level, **look)
    axes.set(xlim=(0, duration), xlabel="seconds", ylabel="kHz", ylim=(0, min(8, rate / 2000)))


def belief_curves(by_layer: pd.DataFrame, by_time: pd.DataFrame, title: str, subtitle: str = "") -> Figure:
    """Mean distance from the raters by layer, a line for each kind of position, and by time, one for some layers.

    The interval of the answer position is drawn.

    Args:
        by_layer: The first table of `emoprobe.analysis.positions.mean_distances`, of one model and prompt.
        by_time: The second one, likewise; empty where the decoder has no position of the sound.
        title: First line of the title.
        subtitle: Second line.
    """
    import matplotlib

    figure = new_figure(9.6 if len(by_time) else 5.6, 4.4, title, subtitle)
    panels = figure.subplots(1, 2 if len(by_time) else 1, sharey=True, squeeze=False)[0]
    for i, (where, line) in enumerate(by_layer.groupby("where", sort=False)):
        look: dict[str, Any] = {"color": PALETTE[i % len(PALETTE)], "marker": MARKERS[i % len(MARKERS)]}
        panels[0].plot(line["layer"], line["js"], **look, ms=4, lw=1.5, label=where)
        if where == ANSWER:  # five bands would hide each other
            panels[0].fill_between(
                line["layer"], line["js_low"], line["js_high"], color=look["color"], alpha=0.15, lw=0
            )
    panels[0].set_title(f"band: 95 % of the {ANSWER}", fontsize=8, loc="right")
    panels[0].set_xlabel("decoder layer (0: embeddings)")
    panels[0].set_ylabel("JS from the raters (lower is better)")
    panels[0].legend(fontsize=7, frameon=False)
    if len(by_time):
        depth = int(by_time["layer"].max())
        drawn = sorted({round(share * depth) for share in np.linspace(0, 1, DRAWN_LAYERS)})
        colours = matplotlib.colormaps[COLOURS](np.linspace(0, 0.85, len(drawn)))
        for layer, colour, marker in zip(drawn, colours, MARKERS, strict=False):
            line = by_time[by_time["layer"] == layer].sort_values("from")
            middle = line["from"] + 0.5 / TIMES
            panels[1].plot(middle, line["js"], color=colour, marker=marker, ms=4, lw=1.5, label=f"layer {layer}")
        panels[1].set(xlabel="time, as a part of the sound", xlim=(0, 1))
        panels[1].legend(fontsize=7, frameon=False)
    for axes in panels:
        axes.grid(axis="y", color="#eeeeee")
        tidy(axes)
    return figure


def patched_layers(means: pd.DataFrame, title: str, subtitle: str = "") -> Figure:
    """How far the belief goes along with another clip's sound, by the layer from which on it is there.

    Args:
        means: `emoprobe.analysis.patching.by_layer`.
        title: First line of the title.
        subtitle: Second line.
    """
    figure = new_figure(6.4, 4.2, title, subtitle)
    axes = figure.subplots()
    axes.axhline(0.5, color=GREY, lw=1, ls="--")
    for i, (prompt, line) in enumerate(means.groupby("prompt", sort=False)):
        look: dict[str, Any] = {"color": PALETTE[i % len(PALETTE)], "marker": MARKERS[i % len(MARKERS)]}
        axes.plot(line["layer"], line["share"], **look, ms=4, lw=1.6, label=shorten(str(prompt)))
        axes.fill_between(line["layer"], line["share_low"], line["share_high"], color=look["color"], alpha=0.15, lw=0)
    axes.set(ylim=(-0.03, 1.03), xlabel="decoder layer from which on the sound is another clip's")
    axes.set_ylabel("share of the way to that clip's belief (JS)\n1: its belief, 0: the clip's own")
    axes.grid(axis="y", color="#eeeeee")
    tidy(axes)
    add_legend(figure, axes)
    return figure


def drifted_layers(layers: pd.DataFrame, title: str, subtitle: str = "") -> Figure:
    """What training changed, layer by layer: likeness of states on the left, distance of beliefs on the right.

    Args:
        layers: `emoprobe.analysis.drift.drift_by_layer`.
        title: First line of the title.
        subtitle: Second line.
    """
    figure = new_figure(9.2, 4.0, title, subtitle)
    left, right = figure.subplots(1, 2)
    for i, (part, line) in enumerate(layers.groupby("part", sort=False)):
        look: dict[str, Any] = {"color": PALETTE[i % len(PALETTE)], "marker": MARKERS[i % len(MARKERS)]}
        left.plot(line["layer"], line["cka"], **look, ms=4, lw=1.6, label=part)
        told = line[line["js"].notna()]
        if len(told):
            right.plot(told["layer"], told["js"], **look, ms=4, lw=1.6)
            right.fill_between(told["layer"], told["js_low"], told["js_high"], color=look["color"], alpha=0.15, lw=0)
    left.set(xlabel="layer (0: its input)", ylabel="linear CKA of the states (1: alike)")
    left.legend(fontsize=8, frameon=False)
    right.set(xlabel="decoder layer (0: embeddings)", ylabel="JS between the beliefs before and after", ylim=(0, None))
    if not layers["js"].notna().any():
        say_nothing(right, "the model has no layer-wise belief: it hears and does not answer")
    for axes in (left, right):
        axes.grid(axis="y", color="#eeeeee")
        tidy(axes)
    return figure
