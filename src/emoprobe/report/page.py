"""From what was collected to one self-contained HTML file that asks no network for anything."""

from __future__ import annotations

import base64
import hashlib
import html
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from emoprobe.errors import EmoprobeError
from emoprobe.labels import LabelSet
from emoprobe.metrics.floors import floors
from emoprobe.metrics.functional import METRICS, entropy, headline_of, metrics_of
from emoprobe.readout.base import names_of
from emoprobe.report import leaderboard
from emoprobe.report.conclusion import conclusion
from emoprobe.report.found import Collection, Entry, Group, Problem, ReportedRun
from emoprobe.report.leaderboard import best_values, describe, names, printed, ranked
from emoprobe.report.page_data import embed_json, pack, pack_json
from emoprobe.report.page_sound import sound_of
from emoprobe.report.page_tables import judged
from emoprobe.report.summaries import FAILED, LEVELS, CellSummary, summarise_cell
from emoprobe.report.tables import MARKS, columns_of, only_means
from emoprobe.run.cell import Cell, has_rank, saw_its_votes
from emoprobe.run.sealing import SEAL
from emoprobe.run.sweep import BESIDE, key_of

PARTS = Path(__file__).parent / "page_parts"
SCRIPTS = tuple(
    f"{name}.js"
    for name in (
        *(
            "core",
            "names",
            "rows",
            "bars",
            "leaderboard",
            "figures",
            "heat",
            "tables",
            "difference",
            "clips",
            "download",
            "link",
        ),
        "page",
    )
)
TEXT_LIMIT = 1_000
"""Characters of a transcript or of a generated text that the page holds."""
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


def _sha256(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


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
        "settings": _settings(run),
        "facts": facts,
    }


def _settings(run: ReportedRun) -> dict[str, str]:
    """What its command, or its sweep's job, set, but for what no result depends on."""
    pairs = {key_of(text): text.partition("=")[2] for text in run.overrides}
    return {key: value for key, value in pairs.items() if key.partition(".")[0] not in (*BESIDE, "hydra")}


def _varied(group: Group) -> list[str]:
    """Settings that differ between runs, but for those that the names of a row say."""
    told = [_settings(run) for run in group.runs]
    keys = dict.fromkeys(key for settings in told for key in settings if key not in leaderboard.NAMES)
    return [key for key in keys if len({settings.get(key) for settings in told}) > 1]


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
        "settings": _varied(group),
        "tables": judged(group, notes),
        "conclusions": {
            name: conclusion([e.row for e in group.entries], name) for name in group.definitions if name in METRICS
        },
        "best": best_values(group.entries, group.definitions),
        "size": len(summary.utterances),
        "runs": [runs[run.folder] for run in group.runs],
        "rows": rows,
        "clips": _clips(group),
        "sound": sound_of(group, options.audio, options.clips, folder, leading, notes),
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
        "texts": None if cell.texts is None else pack_json([_cut(text) for text in cell.texts]),
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
        "facts": pack_json(facts),
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


def default_title(groups: Sequence[Group]) -> str:
    """Corpora of the groups; synthetic ones say so."""
    records = [group.runs[0].record for group in groups]
    titles = [
        f"{each.corpus.title}{' (SYNTHETIC)' * each.corpus.synthetic}{f' (PART {each.part})' * bool(each.part)}"
        for each in records
    ]
    return "emoprobe: " + ", ".join(dict.fromkeys(titles))
