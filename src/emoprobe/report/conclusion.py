"""What a metric table comes to, in one sentence."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from emoprobe.metrics.floors import CONSTANT_FLOORS
from emoprobe.metrics.functional import METRICS
from emoprobe.report.tables import short_name, split_layers
from emoprobe.report.words import cell_in_words, floor_in_words, short_value
from emoprobe.run.cell import Cell, has_rank, saw_its_votes

FEW_SPEAKERS = 6
"""Of fewer speakers no interval covers 95 %: all of their values lie on one side of the truth in 2 * 2 ** -speakers of
the cases, and resamples do not go beyond the values. A permutation test cannot be significant at 5 % either."""


def conclusion(rows: Sequence[Mapping], metric: str = "js_divergence") -> str:
    """One sentence: the best readout that has a rank against the strongest floor, by how much, significant or not.

    The floor is the best that did not see the evaluated votes; where these clips' own prior is better still, the
    sentence says so. The difference is significant where its paired interval leaves out zero, see
    `emoprobe.analysis.rows.make_rows`; that the readout is the best of several is said, not corrected for.

    Args:
        rows: `emoprobe.analysis.rows.make_rows`, or as they are read from a run.
        metric: What counts.

    Returns:
        The sentence; empty where there is no readout at all.
    """
    readouts = [row for row in rows if row["kind"] == "readout"]
    if not readouts:
        return ""
    if not any(row["num_utterances"] for row in readouts):
        return "No readout has a distribution of any clip."
    whole, layers = split_layers(readouts)
    found = _ranked(whole, metric) or _ranked(layers, metric)
    if not found:
        return _without_rank(readouts, metric)
    best, several = found[0], len({row["model"] for row in readouts}) > 1
    kind = "layer" if best in layers else "readout"
    name = f"{_choice(found, metric, kind)}{cell_in_words(Cell.of(best), model=several)},"
    floors = [
        row for row in rows if row["readout"] in CONSTANT_FLOORS and row["kind"] == "floor" and _known(row, metric)
    ]
    blind = [row for row in floors if not saw_its_votes(row["fitted_on"])]
    if not blind:
        return f"{name} has {short_name(metric)} {short_value(best['metrics'][metric])}; there is no floor beside it."
    floor = min(blind, key=lambda row: _place(row, metric))
    return f"{_against(name, best, floor, metric)}{_beyond(best, floor, floors, metric)}."


def _ranked(rows: Sequence[Mapping], metric: str) -> list[Mapping]:
    """Rows that have a rank and a value, best first."""
    return sorted(
        (row for row in rows if has_rank(row) and _known(row, metric)),
        key=lambda row: _place(row, metric),
    )


def _known(row: Mapping, metric: str) -> bool:
    return math.isfinite(row["metrics"].get(metric, math.nan))


def _place(row: Mapping, metric: str) -> float:
    return (-1 if METRICS[metric].higher_is_better else 1) * row["metrics"][metric]


def _without_rank(readouts: Sequence[Mapping], metric: str) -> str:
    if any(has_rank(row) for row in readouts):
        return f"No readout has a finite {short_name(metric)}."
    seen = all(saw_its_votes(row["fitted_on"]) for row in readouts)
    if seen:
        return "No readout has a rank: all saw the votes they are judged by."
    fewest = min(row["num_failed"] for row in readouts if not saw_its_votes(row["fitted_on"]))
    return f"No readout has a rank: each failed on some clips, the best on {fewest}, or saw the votes it is judged by."


def _choice(found: Sequence[Mapping], metric: str, kind: str) -> str:
    if len(found) == 1:
        return f"The only {kind} with a rank, "
    return f"The best of {len(found)} {kind}s by {short_name(metric)}, "


def _against(name: str, best: Mapping, floor: Mapping, metric: str) -> str:
    gap = _place(floor, metric) - _place(best, metric)
    against, size = floor_in_words(floor), short_value(abs(gap))
    proof = _proof(best, floor, metric)
    if gap > 0:
        return f"{name} beats {against} by {size} {proof}"
    rest = f"is {size} worse {proof}" if gap < 0 else "is as good as it"
    return f"No readout beats {against}: {name[0].lower()}{name[1:]} {rest}"


def _proof(best: Mapping, floor: Mapping, metric: str) -> str:
    """What the interval of the difference says, in brackets."""
    pair = best.get("minus_floor", {}).get(floor["readout"], {}).get(metric)
    speakers = best.get("num_speakers", 0)
    if pair is None:
        return "(no interval: a single speaker)" if speakers == 1 else "(no interval)"
    low, high = sorted(map(abs, pair)) if pair[0] * pair[1] > 0 else sorted(_signed(pair, best, floor, metric))
    ends = f"95 % {short_value(low)} to {short_value(high)}"
    if 1 < speakers < FEW_SPEAKERS:
        return f"({ends}; {speakers} speakers are too few to say whether by chance)"
    return f"({ends}, {'significant' if pair[0] * pair[1] > 0 else 'not significant'})"


def _signed(pair: Sequence[float], best: Mapping, floor: Mapping, metric: str) -> list[float]:
    """The ends in the direction that the sentence speaks of."""
    forward = best["metrics"][metric] >= floor["metrics"][metric]
    return [end if forward else -end for end in pair]


def _beyond(best: Mapping, floor: Mapping, floors: Sequence[Mapping], metric: str) -> str:
    """Whether a floor that knows these clips' own votes is better still."""
    knowing = [row for row in floors if saw_its_votes(row["fitted_on"])]
    top = min(knowing, key=lambda row: _place(row, metric), default=None)
    if top is None or not _place(top, metric) <= min(_place(best, metric), _place(floor, metric)):
        return ""
    return f"; {floor_in_words(top)} has {short_value(top['metrics'][metric])}"
