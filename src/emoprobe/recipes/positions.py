"""What `judge` writes of a run that was read with ``readout=layer_positions``: where the belief sits."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from emoprobe.report.style import slug_of

if TYPE_CHECKING:
    import pandas as pd

    from emoprobe.run.folder import RunFolder

NAME = "layer_positions"
BY_LAYER, BY_TIME = "positions_by_layer", "positions_by_time"
MAX_MAPS = 8  # clips that get a map of their own, the first of the run


def _is_read(run: RunFolder) -> bool:
    """Whether the run holds positions; an analysis inside a run has no score table of its own."""
    return NAME in set(run.predictions["readout"].astype(str))


def _of_clips(run: RunFolder) -> pd.DataFrame:
    """The human side of every clip, by its id."""
    return run.predictions.drop_duplicates("utterance_id").set_index("utterance_id")


def position_tables(run: RunFolder, *, resamples: int) -> Iterator[tuple[str, pd.DataFrame]]:
    """``(name, table)`` of `emoprobe.analysis.positions.mean_distances`; none where no position was read.

    Args:
        run: The run.
        resamples: Of speakers.
    """
    if not _is_read(run):
        return
    from emoprobe.analysis.positions import clip_positions, mean_distances

    labels, clips = run.labels.labels, _of_clips(run)
    targets = dict(zip(clips.index, clips[[f"target_{label}" for label in labels]].to_numpy(np.float64), strict=True))
    named = clips["speaker"].astype(object)
    speakers = named.where(named.notna() & (named != ""), clips.index.to_series()).to_dict()
    found = mean_distances(clip_positions(run.table, labels), targets, speakers, resamples=resamples)
    yield from zip((BY_LAYER, BY_TIME), found, strict=True)


def position_figures(run: RunFolder, folder: Path, label: str | None = None) -> list[Path]:
    """Mean curves of every prompt, from the tables in a folder, and maps of the run's first clips.

    Args:
        run: The run.
        folder: That of the judgement; the figures go into ``figures`` and ``figures/positions`` in it.
        label: Whose probability the maps show; each clip's top label of the raters by default.

    Returns:
        The files.
    """
    if not _is_read(run):
        return []
    import pandas as pd

    from emoprobe.analysis.positions import clip_positions
    from emoprobe.report.belief_figures import belief_curves, belief_map
    from emoprobe.report.judgement_figures import save_figure

    by_layer = pd.read_csv(folder / f"{BY_LAYER}.csv", keep_default_na=False, na_values=[""])
    timed = folder / f"{BY_TIME}.csv"
    by_time = pd.read_csv(timed, keep_default_na=False, na_values=[""]) if timed.is_file() else by_layer.head(0)
    paths: list[Path] = []
    for i, ((model, prompt), part) in enumerate(by_layer.groupby(["model", "prompt"], sort=False)):
        own = by_time[(by_time["model"] == model) & (by_time["prompt"] == prompt)] if len(by_time) else by_time
        figure = belief_curves(part, own, "Where the belief comes near the raters", f"{model}, {prompt}")
        paths += save_figure(figure, folder / "figures", f"positions_{i + 1:02d}_{slug_of(str(prompt))}")
    clips, labels = _of_clips(run), run.labels.labels
    audio = run.utterances.set_index("utterance_id")["audio"]
    for i, clip in enumerate(islice(clip_positions(run.table, labels), MAX_MAPS)):
        target = clips.loc[clip.utterance_id, [f"target_{label}" for label in labels]].to_numpy(np.float64)
        top = int(target.argmax()) if label is None else labels.index(label)
        title = f"{clip.utterance_id}: where {labels[top]} is believed ({target[top]:.0%} of the raters' votes)"
        sound = _sound(str(audio.loc[clip.utterance_id]))
        figure = belief_map(clip, top, labels[top], title, f"{clip.model}, {clip.prompt}", sound=sound)
        paths += save_figure(figure, folder / "figures" / "positions", f"{i + 1:02d}_{slug_of(clip.utterance_id)}")
    return paths


def _sound(file: str) -> tuple[np.ndarray, int] | None:
    """A clip's waveform and rate; None where its file is no longer there."""
    from emoprobe.data.sound.audio import read_audio
    from emoprobe.data.sound.limits import AudioError, AudioLimits

    try:
        clip = read_audio(file, limits=AudioLimits(max_seconds=3600.0, allow_silence=True))
    except AudioError:
        return None
    return clip.waveform, clip.sampling_rate
