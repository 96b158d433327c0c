"""From what was collected to one self-contained HTML file that asks no network for anything."""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import io
import json
import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from emoprobe.errors import EmoprobeError, InputError
from emoprobe.labels import LabelSet
from emoprobe.metrics.floors import floors
from emoprobe.metrics.functional import METRICS, entropy, headline_of, metrics_of
from emoprobe.readout.base import names_of
from emoprobe.report.found import Collection, Entry, Group, Problem, ReportedRun
from emoprobe.report.leaderboard import best_values, describe, names, printed, ranked
from emoprobe.report.summaries import FAILED, LEVELS, CellSummary, summarise_cell
from emoprobe.report.tables import MARKS, columns_of, only_means
from emoprobe.run.cell import Cell, has_rank, saw_its_votes
from emoprobe.run.sealing import SEAL

PARTS = Path(__file__).parent / "page_parts"
SCRIPTS = ("core.js", "leaderboard.js", "figures.js", "clips.js", "page.js")
TEXT_LIMIT = 1_000
"""Characters of a transcript or of a generated text that the page holds."""
PLAYED = {".mp3": "audio/mpeg", ".ogg": "audio/ogg", ".flac": "audio/flac"}
"""Compressed sound that every browser plays: embedded as it is. Other sound is embedded as 16-bit WAV."""
UNUSED_FACTS = ("labels", "speed", SEAL)


@dataclass(frozen=True)
class PageOptions:
    """What a page holds.

    Args:
        title: Its title.
        metric: Metric to begin with, which also chooses the cells and clips to embed; the headline of each group's
            label set where it is None.
        cells: How many readouts per group are embedded clip by clip, the best ones; floors always are.
        audio: ``none``, ``link`` or ``embed``.
        clips: How many clips per group are embedded.
    """

    title: str
    metric: str | None = None
    cells: int = 40
    audio: str = "link"
    clips: int = 0


def build_page(found: Collection, options: PageOptions, folder: Path) -> tuple[str, list[str]]:
    """The page and what could not be put into it, in words.

    Args:
        found: `emoprobe.report.collect.collect`.
        options: What the page holds.
        folder: Where it will lie; sound is linked from there.
    """
    notes: list[str] = []
    runs = {run.folder: i for i, run in enumerate(found.runs)}
    groups = [_group(group, options, folder, runs, notes) for group in found.groups]
    data = {
        "title": options.title,
        "metric": options.metric or headline_of(found.groups[0].labels),
        "created": datetime.now(UTC).isoformat(timespec="minutes"),
        "levels": LEVELS,
        "failed": FAILED,
        "short": {name: METRICS[name].short for name in _of_all(found, metrics_of) if METRICS[name].short},
        "usual": _of_all(found, columns_of),
        "marks": {mark: source for source, mark in MARKS.items()},
        "notes": notes,
        "missing": [_problem(problem) for problem in found.missing],
        "left_out": [_problem(problem) for problem in found.left_out],
        "groups": groups,
        "runs": [_run(run) for run in found.runs],
    }
    return render(options.title, data), notes


def _of_all(found: Collection, names_of: Callable[[LabelSet], Sequence[str]]) -> list[str]:
    """Names of metrics that any group's label set has, each once."""
    return list(dict.fromkeys(name for group in found.groups for name in names_of(group.labels)))


def render(title: str, data: Any) -> str:
    """Fill the template: the only place where text becomes HTML.

    Args:
        title: Title of the page; escaped.
        data: Plain values; embedded as JSON that cannot end its element.
    """
    style = (PARTS / "page.css").read_text(encoding="utf-8")
    script = (
        '"use strict";\n(() => {\n' + "\n".join((PARTS / f).read_text(encoding="utf-8") for f in SCRIPTS) + "})();\n"
    )
    policy = (
        f"default-src 'none'; script-src '{_sha256(script)}'; style-src '{_sha256(style)}'; img-src data:; "
        "media-src data: file:; base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; "
        "trusted-types 'none'"
    )
    parts = {
        "TITLE": html.escape(title),
        "POLICY": html.escape(policy, quote=False),
        "STYLE": style,
        "SCRIPT": script,
        "DATA": embed_json(data),
    }
    template = (PARTS / "template.html").read_text(encoding="utf-8")
    return re.sub(r"\{\{([A-Z]+)\}\}", lambda found: parts[found[1]], template)


def embed_json(data: Any) -> str:
    """JSON for a script element of type ``application/json``: ASCII without ``<``, ``>`` and ``&``."""
    text = json.dumps(_safe(data), ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _sha256(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _safe(value: Any) -> Any:
    """Plain JSON values; NaN becomes null, infinities become the texts inf and -inf."""
    if isinstance(value, Mapping):
        return {str(key): _safe(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_safe(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else ("inf" if value > 0 else "-inf")
    return value


def pack(content: np.ndarray | bytes) -> str:
    """Little-endian bytes, gzip, base64: what the page's script unpacks."""
    if isinstance(content, np.ndarray):
        content = np.ascontiguousarray(content, content.dtype.newbyteorder("<")).tobytes()
    return base64.b64encode(gzip.compress(content, 6, mtime=0)).decode()


def _pack_json(value: Any) -> str:
    return pack(json.dumps(_safe(value), ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode())


# -- parts of the page's data ------------------------------------------------------------------------------------------


def _problem(problem: Problem) -> dict:
    return {"folder": str(problem.folder), "reason": problem.reason, "job": list(problem.job)}


def _run(run: ReportedRun) -> dict:
    """What the page says about where numbers come from."""
    facts = {name: value for name, value in run.record.to_json().items() if name not in UNUSED_FACTS}
    facts["label set"] = {"name": run.record.labels.name, "hash": run.record.label_set_hash}
    return {
        "name": run.name,
        "folder": str(run.folder),
        "when": run.run.when,
        "overrides": list(run.overrides),
        "seed": run.record.seed,
        "facts": facts,
    }


def _group(group: Group, options: PageOptions, folder: Path, runs: Mapping[Path, int], notes: list[str]) -> dict:
    record, summary = group.runs[0].record, group.runs[0].summary
    metric = options.metric or headline_of(group.labels)
    chosen = ranked(printed(group.entries), metric, group.definitions)[: options.cells]
    embedded = {id(entry) for entry in chosen if entry.row["kind"] == "readout"}
    left = sum(entry.row["kind"] == "readout" for entry in group.entries) - len(embedded)
    if left:
        notes.append(f"{group.name}: {left} readouts are in the table but not clip by clip; --cells embeds more")
    floors = _floor_cells(group)
    rows, leading = [], None  # of the best readout
    for entry in group.entries:
        row = entry.row
        is_readout = row["kind"] == "readout"
        cell = entry.runs[0].summary.cells[Cell.of(row)] if is_readout else floors.get(id(entry))
        whole = not is_readout or id(entry) in embedded
        if chosen and entry is chosen[0] and not saw_its_votes(row["fitted_on"]):
            leading = cell
        rows.append(_row(entry, cell, runs) | {"cell": _cell(cell) if whole and cell is not None else None})
    return {
        "name": group.name,
        "differs": list(group.differs),
        "about": [*describe(group), *only_means([entry.row for entry in group.entries])],
        "corpus": {key: value for key, value in asdict(record.corpus).items() if key not in ("words", "defects")},
        "synthetic": record.corpus.synthetic,
        "labels": list(record.labels.labels),
        "definitions": group.definitions,
        "conflicts": list(group.conflicts),
        "best": best_values(group.entries, group.definitions),
        "size": len(summary.utterances),
        "runs": [runs[run.folder] for run in group.runs],
        "rows": rows,
        "clips": _clips(group),
        "sound": _sound(group, options, folder, leading, notes),
    } | ({} if group.labels.scale is None else {"metric": metric, "scale": group.labels.scale.dimension})


def _row(entry: Entry, cell: CellSummary | None, runs: Mapping[Path, int]) -> dict:
    row = entry.row
    return {
        "runs": [runs[run.folder] for run in entry.runs],
        "kind": row["kind"],
        "names": names(entry),
        "layer": row["readout"] in names_of("layers"),
        "variant": row["variant"],
        "fitted": row["fitted_on"],
        "n": row["num_utterances"],
        "failed": row["num_failed"],
        "statuses": row["statuses"],
        "mass": row["mean_label_mass"],
        "metrics": row["metrics"],
        "intervals": row["intervals"],
        "shuffled": row["shuffled"],
        "share": row["share_of_range"],
        "share_ends": row["range_intervals"],
        "doubt": row["doubt"],
        "own": {name: of for name, of in {**row["floors"], "human": row["ceiling"]}.items() if of},
        "ranked": has_rank(row),
        "seen": row["kind"] == "readout" and saw_its_votes(row["fitted_on"]),
        "mean": None if cell is None else cell.mean,
        "human": None if cell is None else cell.human_mean,
        "bins": None if cell is None else cell.bins,
    }


def _cell(cell: CellSummary) -> dict:
    """One distribution per utterance, rounded to 1 / `LEVELS`."""
    return {
        "p": pack(cell.quantised),
        "js": pack(cell.js.astype(np.float32)),
        "status": pack(cell.status),
        "statuses": list(cell.statuses),
        "mass": None if cell.label_mass is None else pack(cell.label_mass),
        "texts": None if cell.texts is None else _pack_json([_cut(text) for text in cell.texts]),
    }


def _cut(text: str | None) -> str | None:
    if text is None or len(text) <= TEXT_LIMIT:
        return text
    return text[:TEXT_LIMIT] + " … (cut; whole in predictions.parquet)"


def _clips(group: Group) -> dict:
    """The utterances and their votes, once per group."""
    summary = group.runs[0].summary
    frame = summary.utterances

    def texts(name: str) -> list[str | None]:
        column = frame[name].astype(object)
        return [None if missing else str(value) for value, missing in zip(column, column.isna(), strict=True)]

    facts: dict[str, Any] = {name: texts(name) for name in ("utterance_id", "speaker", "split")}
    facts["transcript"] = [_cut(text) for text in texts("transcript")]
    facts |= {
        name: [float(f"{value:.6g}") for value in frame[name].astype("Float64").to_numpy(np.float64, na_value=np.nan)]
        for name in ("num_raters", "duration_seconds")
    }
    facts["truncated"] = np.flatnonzero(frame["truncated"].fillna(False).to_numpy(bool)).tolist()
    return {
        "facts": _pack_json(facts),
        "target": pack(summary.target.astype(np.float32)),
        "votes": pack(summary.votes.astype(np.float32)),
        "entropy": pack(entropy(summary.target).numpy().astype(np.float32)),
    }


def _floor_cells(group: Group) -> dict[int, CellSummary]:
    """Distributions of floors and of the reference, where they can be made again to the same number."""
    from emoprobe.beliefs.targets import make_targets

    cells = {}
    for entry in group.entries:
        run = next((run for run in entry.runs if run.run.has_utterances), None)
        if entry.row["kind"] == "readout" or run is None:
            continue
        try:
            frame, summary = run.run.utterances, run.summary
            seen = frame["utterance_id"].isin(summary.utterances["utterance_id"])
            targets = make_targets(frame[(frame["role"] != "evaluated") | seen], run.record.labels)
            made = floors(summary.target, summary.votes, prior=targets.prior)
            cell = summarise_cell(made[entry.row["readout"]], summary.target)
        except (EmoprobeError, ValueError, KeyError):
            continue
        if abs(float(cell.js.mean()) - entry.row["metrics"].get("js_divergence", math.nan)) < 1e-9:
            cells[id(entry)] = cell
    return cells


# -- sound -------------------------------------------------------------------------------------------------------------


def _sound(group: Group, options: PageOptions, folder: Path, leading: CellSummary | None, notes: list[str]) -> dict:
    """Where each clip's sound is: links by utterance, or embedded clips by utterance number."""
    if options.audio == "none":
        return {"mode": "none"}
    paths = _audio_paths(group)
    if not any(paths):
        notes.append(f"{group.name}: no utterances.parquet says where the sound is")
        return {"mode": "none"}
    if options.audio == "link":
        links = [link(path, folder) if path else None for path in paths]
        return {"mode": "link", "links": _pack_json(links)}
    known = np.flatnonzero([bool(path) for path in paths])
    js = np.zeros(len(paths)) if leading is None else leading.js
    clips, failures = {}, []
    for i in known[choose_clips(js[known], _entropies(group)[known], options.clips)].tolist():
        try:
            clips[i] = _data_uri(Path(paths[i]))
        except (EmoprobeError, OSError) as error:
            failures.append(str(error))
    if failures:
        notes.append(f"{group.name}: {len(failures)} clips could not be embedded, the first because {failures[0]}")
    return {"mode": "embed", "clips": clips}


def _audio_paths(group: Group) -> list[str | None]:
    for run in group.runs:
        if run.run.has_utterances and "audio" in run.run.utterances:
            frame = run.run.utterances
            known = dict(zip(frame["utterance_id"], frame["audio"], strict=True))
            return [known.get(name) for name in run.summary.utterances["utterance_id"]]
    return [None] * len(group.runs[0].summary.utterances)


def _entropies(group: Group) -> np.ndarray:
    return entropy(group.runs[0].summary.target).numpy()


def link(path: str, folder: Path) -> str:
    """Address of a file as seen from a page in a folder; every character that means something in one is encoded."""
    target = Path(path)
    try:
        relative = os.path.relpath(target, folder.resolve())
    except ValueError:  # on another drive
        return target.as_uri()
    return quote(os.fsencode(relative.replace(os.sep, "/")))


def choose_clips(js: np.ndarray, entropy: np.ndarray, count: int) -> list[int]:
    """The clips to embed: half of largest disagreement, the rest evenly spread over the entropy of the raters.

    Args:
        js: Divergence of each clip, ``[utterances]``; NaN where there is none.
        entropy: Of the raters in bits, ``[utterances]``.
        count: How many.

    Returns:
        Utterance numbers, each once, at most ``count``.
    """
    count = min(count, len(js))
    worst = np.lexsort((np.arange(len(js)), -np.nan_to_num(js, nan=-1.0)))[: (count + 1) // 2]
    rest = np.setdiff1d(np.arange(len(js)), worst)
    rest = rest[np.lexsort((rest, entropy[rest]))]
    spread = rest[np.linspace(0, len(rest) - 1, count - len(worst)).round().astype(int)] if len(rest) else rest
    return [int(i) for i in (*worst, *spread)]


def _data_uri(path: Path) -> str:
    """A clip as a data URI.

    Raises:
        InputError: It is not there, or is not sound.
    """
    suffix = path.suffix.lower()
    if suffix in PLAYED:
        content, kind = path.read_bytes(), PLAYED[suffix]
        if not content:
            raise InputError("the file is empty", file=path)
    else:
        import soundfile

        from emoprobe.data.sound.audio import read_audio
        from emoprobe.data.sound.limits import AudioLimits

        clip, buffer = read_audio(path, limits=AudioLimits(long_audio="window")), io.BytesIO()  # however long it is
        soundfile.write(buffer, clip.waveform, clip.sampling_rate, format="WAV", subtype="PCM_16")
        content, kind = buffer.getvalue(), "audio/wav"
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def default_title(groups: Sequence[Group]) -> str:
    """Corpora of the groups; synthetic ones say so."""
    records = [group.runs[0].record for group in groups]
    titles = [
        f"{each.corpus.title}{' (SYNTHETIC)' * each.corpus.synthetic}{f' (PART {each.part})' * bool(each.part)}"
        for each in records
    ]
    return "emoprobe: " + ", ".join(dict.fromkeys(titles))
