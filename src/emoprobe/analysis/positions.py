"""Beliefs at every decoder layer and position, clip by clip, and their distance from the raters on average."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy.special import softmax

from emoprobe.metrics.functional.divergences import js_divergence
from emoprobe.metrics.intervals import mean_interval
from emoprobe.readout.layer_positions import COVERS, KIND, PROMPT, SCORES, SOUND, TEXTS, WRITTEN, position_scores
from emoprobe.run.scores import CLIP, WINDOW

if TYPE_CHECKING:
    import pandas as pd

NAME = "layer_positions"
BEFORE, ANSWER = "before the sound", "answer position"
WHERE = (BEFORE, SOUND, PROMPT, ANSWER, WRITTEN)
"""Kinds of positions in the order of the sequence; the last token of the prompt is the answer position."""
TIMES = 10
"""Parts of equal length into which a sound's time is divided."""


@dataclass(frozen=True)
class ClipPositions:
    """What the logit lens says of one clip after one prompt.

    Args:
        model: The model.
        prompt: The prompt.
        utterance_id: Whose clip it is.
        beliefs: Distributions over the labels, ``[layers, positions, labels]``.
        where: Kind of each position, one of `WHERE`.
        texts: Its token's text; empty where it is sound.
        seconds: Middle of the time it stands for; NaN where it is no sound.
        duration: Of the clip, seconds.
    """

    model: str
    prompt: str
    utterance_id: str
    beliefs: np.ndarray
    where: np.ndarray
    texts: tuple[str, ...]
    seconds: np.ndarray
    duration: float


def clip_positions(table: pa.Table, labels: Sequence[str]) -> Iterator[ClipPositions]:
    """The clips of a score table, row by row; of one that was heard in windows none, since each has a time of its own.

    Args:
        table: The score table of a run that was read with ``readout=layer_positions``.
        labels: The labels in their order.
    """
    rows = table.filter(pc.and_(pc.equal(table["readout"], NAME), pc.equal(table["input"], CLIP)))
    own = ["utterance_id", "model", "prompt", "duration_seconds", "form_labels"]
    own += [each.name for each in (SCORES, KIND, TEXTS, COVERS)]
    for batch in rows.select([*own, *({WINDOW} & set(rows.column_names))]).to_batches(max_chunksize=16):
        for row in batch.to_pylist():
            if row.get(WINDOW) is None:
                yield _positions(row, labels)


def _positions(row: Mapping[str, Any], labels: Sequence[str]) -> ClipPositions:
    stored = list(dict.fromkeys(row["form_labels"]))
    scores = position_scores(row)[..., [stored.index(label) for label in labels]]
    kinds = np.array(row[KIND.name])
    sound = kinds == SOUND
    where = kinds.astype(object)
    if sound.any():
        where[: int(sound.argmax())] = BEFORE
    where[np.flatnonzero(kinds != WRITTEN)[-1]] = ANSWER
    seconds = np.full(len(kinds), np.nan)
    covers = row[COVERS.name] or row["duration_seconds"]
    seconds[sound] = (np.arange(sound.sum()) + 0.5) / max(1, sound.sum()) * covers
    names = row["model"], row["prompt"], row["utterance_id"]
    return ClipPositions(
        *names, softmax(scores, axis=-1), where, tuple(row[TEXTS.name]), seconds, row["duration_seconds"]
    )


def distance_from(clip: ClipPositions, target: np.ndarray) -> np.ndarray:
    """JS divergence of every belief from a distribution, ``[layers, positions]`` bits."""
    flat = clip.beliefs.reshape(-1, clip.beliefs.shape[-1])
    return js_divergence(flat, np.broadcast_to(target, flat.shape), reduction="none").reshape(clip.beliefs.shape[:2])


def mean_distances(
    clips: Iterator[ClipPositions], targets: Mapping[str, np.ndarray], speakers: Mapping[str, str], *, resamples: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Mean JS divergence from the raters by kind of position and layer, and by time in the sound and layer.

    Of each clip the mean over its positions of a kind, or in a part of its time, is taken first.

    Args:
        clips: Of `clip_positions`.
        targets: Utterance id -> the raters' distribution, ``[labels]``.
        speakers: Utterance id -> speaker, of whom clips stand or fall together.
        resamples: Of speakers, for the 95 % interval; 0 for none.

    Returns:
        ``model``, ``prompt``, ``where``, ``layer``, ``num_clips``, ``js``, ``js_low``, ``js_high``; and ``model``,
        ``prompt``, ``layer``, ``from`` and ``to`` (parts of the sound's duration), ``num_clips``, ``js``.
    """
    import pandas as pd

    kinds: dict[tuple, list[tuple[str, np.ndarray]]] = {}
    times: dict[tuple, list[np.ndarray]] = {}
    for clip in clips:
        distances, name = distance_from(clip, targets[clip.utterance_id]), (clip.model, clip.prompt)
        for where in WHERE:
            here = clip.where == where
            if here.any():
                kinds.setdefault((*name, where), []).append((clip.utterance_id, distances[:, here].mean(axis=1)))
        with np.errstate(invalid="ignore"):
            part = np.floor(clip.seconds / clip.duration * TIMES)
        for number in range(TIMES):
            if (part == number).any():
                times.setdefault((*name, number), []).append(distances[:, part == number].mean(axis=1))
    rows, timed = [], []
    for (model, prompt, where), found in kinds.items():
        values, owners = np.stack([value for _, value in found]), [speakers[clip] for clip, _ in found]
        for layer in range(values.shape[1]):
            low, high = mean_interval(values[:, layer], owners, resamples=resamples) if resamples else (np.nan, np.nan)
            names = {"model": model, "prompt": prompt, "where": where, "layer": layer, "num_clips": len(found)}
            rows.append(names | {"js": values[:, layer].mean(), "js_low": low, "js_high": high})
    for (model, prompt, number), parts in times.items():
        for layer, value in enumerate(np.mean(parts, axis=0)):
            ends = {"from": number / TIMES, "to": (number + 1) / TIMES}
            timed.append(
                {"model": model, "prompt": prompt, "layer": layer, **ends, "num_clips": len(parts), "js": value}
            )
    return pd.DataFrame(rows), pd.DataFrame(timed)
