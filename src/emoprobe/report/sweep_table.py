"""The result of a sweep: one table over all its jobs, and ``sweep.csv`` for pandas.

Metric tables alone are read, so that twenty jobs of thousands of clips take seconds.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from emoprobe.errors import InputError
from emoprobe.labels import LabelSet
from emoprobe.metrics.floors import CONSTANT_FLOORS
from emoprobe.metrics.functional import METRICS, headline_of
from emoprobe.metrics.functional.of_labels import FIRST_OF_SCALES
from emoprobe.report.conclusion import conclusion
from emoprobe.report.fitting import Column, FittingTable
from emoprobe.report.tables import (
    DOUBT,
    DOUBTFUL,
    ELSEWHERE,
    doubt_of,
    format_value,
    mark_of,
    name_of,
    short_name,
    split_layers,
)
from emoprobe.run.cell import NO_PROMPT, has_rank, saw_its_votes
from emoprobe.run.finding import find_runs
from emoprobe.run.folder import RunFolder
from emoprobe.run.metric_rows import metrics_frame
from emoprobe.run.sweep import Sweep, SweepJob
from emoprobe.system.output import write_csv

if TYPE_CHECKING:
    import pandas as pd

CSV_FILE = "sweep.csv"
FOOTNOTE = (
    "best readout of each job, chosen on the evaluated clips among those that failed on no clip and did not see the "
    "votes; all are in {file}   95 %: interval of {metric}, speakers resampled   range: 0 at the prior floor, 1 at the "
    "human ceiling"
)

MARKED = {
    "*": "   * fitted on the evaluated clips' inputs",
    "†": ELSEWHERE,
    "**": "   ** fitted on the evaluated clips' votes: no rank",
    DOUBT: DOUBTFUL,
}


@dataclass(frozen=True)
class Result:
    """A run of a job; a study has several.

    Args:
        job: The job.
        part: Path of the run within the job's folder, empty where it is the job itself.
        labels: Its label set.
        rows: Its metric table.
    """

    job: SweepJob
    part: str
    labels: LabelSet
    rows: Sequence[dict]

    @property
    def headline(self) -> str:
        """The metric it is judged by."""
        return headline_of(self.labels)

    @property
    def best(self) -> Mapping | None:
        """Its best readout."""
        return best_of(self.rows, self.headline)

    @property
    def yardsticks(self) -> list[dict]:
        """Its floors and its ceiling."""
        return [row for row in self.rows if row["kind"] == "ceiling" or row["readout"] in CONSTANT_FLOORS]


@dataclass
class Results:
    """All that the jobs of a sweep have come to.

    Args:
        sweep: The sweep.
        jobs: Its jobs.
        results: Runs of jobs that are done.
        problems: Folder of a job -> why what it has written cannot be read.
    """

    sweep: Sweep
    jobs: Sequence[SweepJob]
    results: Sequence[Result]
    problems: Mapping[Path, str]


def best_of(rows: Sequence[dict], metric: str) -> Mapping | None:
    """The best readout that has a rank, else the best that did not see the votes; None without any.

    Args:
        rows: Of a metric table; single layers count only where there is nothing else.
        metric: What counts.
    """
    whole, layers = split_layers(rows)
    sign = -1 if METRICS[metric].higher_is_better else 1
    for some in (whole, layers):
        for allowed in (has_rank, lambda row: row["kind"] == "readout" and not saw_its_votes(row["fitted_on"])):
            known = [row for row in some if allowed(row) and math.isfinite(row["metrics"].get(metric, math.nan))]
            if known:
                return min(known, key=lambda row: sign * row["metrics"][metric])
    return None


def read_results(sweep: Sweep) -> Results:
    """Read the metric tables of all jobs of a sweep that are done."""
    jobs, problems = sweep.jobs(), {}
    results: list[Result] = []
    for job in jobs:
        if job.what not in ("done", "refused") or job.folder is None:
            continue
        try:
            results += _results_of(job, job.folder)
        except InputError as error:
            problems[job.folder] = str(error)
    return Results(sweep, jobs, results, problems)


def _results_of(job: SweepJob, folder: Path) -> Iterator[Result]:
    runs, _ = find_runs(folder)
    for run in runs:
        if run.has_results and not run.is_later_analysis:
            part = "" if run.folder == folder else str(run.folder.relative_to(folder))
            yield Result(job, part, run.labels, run.stated_rows)


def main_metric(folder: Path) -> str:
    """The best value of a finished job in a few characters; empty where it is none of one run."""
    try:
        run = RunFolder(folder)
        if not run.has_results:
            return ""
        metric = headline_of(run.labels)
        best = best_of(run.stated_rows, metric)
    except InputError:
        return ""
    return "" if best is None else f"{short_name(metric)} {format_value(best['metrics'][metric])}"


# -- the table ---------------------------------------------------------------------------------------------------------


def sweep_tables(found: Results) -> list[FittingTable]:
    """One table of all jobs, or one for each metric that is the headline of some of them."""
    keys = varied_keys(found)
    headlines = dict.fromkeys(result.headline for result in found.results)
    return [_table([r for r in found.results if r.headline == metric], metric, found, keys) for metric in headlines]


def conclusions(found: Results) -> list[str]:
    """One sentence for each metric that is the headline of some jobs: the best of them, and what its table comes to."""
    sentences = []
    for metric in dict.fromkeys(result.headline for result in found.results):
        members = [result for result in found.results if result.headline == metric]
        best = _best_row(members, metric)
        first = next((member for member in members if best is not None and member.best is best), None)
        if first is None:
            continue
        which = " ".join([f"#{_number(first.job)}", *found.sweep.varied(first.job.overrides), first.part]).strip()
        of = f"Best of {len(members)} runs by {short_name(metric)}: {which}. " if len(members) > 1 else ""
        sentences.append(of + conclusion(first.rows, metric))
    return sentences


def varied_keys(found: Results) -> list[str]:
    """The options that differ between jobs, in the order of the command."""
    return list(dict.fromkeys(key for job in found.jobs for key in varied_of(job, found.sweep)))


def varied_of(job: SweepJob, sweep: Sweep) -> dict[str, str]:
    """What a job differs in: option -> value, as text."""
    pairs = (override.lstrip("+~").partition("=") for override in sweep.varied(job.overrides))
    return {key: value for key, _, value in pairs}


def _table(results: Sequence[Result], metric: str, found: Results, keys: Sequence[str]) -> FittingTable:
    groups: dict[str, list[Result]] = {}
    for result in results:
        groups.setdefault(_yardsticks_as_text(result), []).append(result)
    # jobs that are measured alike stand together, with their floors and ceiling below
    lines: list[tuple[Result | None, Mapping | None]] = []
    ends, best = [], set()
    for members in groups.values():
        lines += [(member, member.best) for member in members]
        ends += [len(lines) - 1]
        lines += [(None, row) for row in members[0].yardsticks]
        ends += [len(lines) - 1]
        best.add(id(_best_row(members, metric)))
    rows = [row for _, row in lines if row is not None]
    return FittingTable(_columns(lines, best, metric, found, keys), ends, _footnote(rows, metric))


def _best_row(members: Sequence[Result], metric: str) -> Mapping | None:
    ranked = [row for member in members if (row := member.best) is not None and has_rank(row)]
    sign = -1 if METRICS[metric].higher_is_better else 1
    return min(ranked, key=lambda row: sign * row["metrics"][metric], default=None)


def _yardsticks_as_text(result: Result) -> str:
    plain = [(row["readout"], row["num_utterances"], row["metrics"]) for row in result.yardsticks]
    return json.dumps([result.labels.name, plain], sort_keys=True)


def _footnote(rows: Sequence[Mapping], metric: str) -> str:
    marks = {mark_of(row["fitted_on"]) for row in rows if row["kind"] in ("readout", "floor")}
    text = FOOTNOTE.format(file=CSV_FILE, metric=short_name(metric))
    marks |= {doubt_of(row) for row in rows}
    return text + "".join(said for mark, said in MARKED.items() if mark in marks)


def _columns(
    lines: Sequence[tuple[Result | None, Mapping | None]],
    best: set[int],
    metric: str,
    found: Results,
    keys: Sequence[str],
) -> list[Column]:
    varied = [{} if result is None else varied_of(result.job, found.sweep) for result, _ in lines]
    columns = [
        Column("job", [Text("" if result is None else _number(result.job)) for result, _ in lines], is_name=True)
    ]
    columns += [Column(key, [Text(of.get(key, "")) for of in varied], is_name=True) for key in keys]
    if any(result is not None and result.part for result, _ in lines):
        columns.append(Column("part", [Text(result.part if result else "") for result, _ in lines], is_name=True))
    prompts = {row["prompt"] for result, row in lines if result is not None and row is not None}
    names = [_names(row, keys, single=len(prompts) == 1) for _, row in lines]
    columns.append(Column("best readout", [Text(name) for name in names], is_name=True))
    rows = [row for _, row in lines]

    def numbers(header: str, text: Callable[[Mapping], str], bold: bool = False) -> Column:
        styles = ["bold" if bold and id(row) in best else "" for row in rows]
        texts = ["" if row is None else text(row) for row in rows]
        return Column(header, [Text(*cell) for cell in zip(texts, styles, strict=True)])

    known = [row for row in rows if row is not None]
    if len({row["num_utterances"] for row in known}) > 1 or any(row["num_failed"] for row in known):
        columns.append(numbers("n", lambda row: str(row["num_utterances"])))
        columns.append(numbers("failed", lambda row: str(row["num_failed"])))
    columns.append(numbers(_header(metric), lambda row: _value(row["metrics"], metric), bold=True))
    columns.append(numbers("95 %", lambda row: _ends(row, metric)))
    columns.append(numbers("range", lambda row: _share(row, metric)))
    second = "uar" if metric not in FIRST_OF_SCALES or metric == "js_divergence" else FIRST_OF_SCALES[2]
    columns.append(numbers(_header(second), lambda row: _value(row["metrics"], second)))
    return columns


def _number(job: SweepJob) -> str:
    if job.number is not None:
        return str(job.number)
    return "" if job.folder is None else job.folder.name


def _names(row: Mapping | None, keys: Sequence[str], *, single: bool) -> str:
    if row is None:
        return "none that may be ranked"
    prompt, readout, calibration = name_of(row)
    names = ("" if single or "prompt" in keys else prompt, readout, "" if calibration == "none" else calibration)
    return " ".join(name for name in names if name not in ("", NO_PROMPT))


def _header(metric: str) -> str:
    return f"{short_name(metric)} {'↑' if METRICS[metric].higher_is_better else '↓'}"


def _value(values: Mapping[str, float], metric: str, without: str = "-") -> str:
    return format_value(values[metric]) if metric in values else without


def _share(row: Mapping, metric: str) -> str:
    text = _value(row["share_of_range"], metric, "")
    return text and text + doubt_of(row)


def _ends(row: Mapping, metric: str) -> str:
    pair = row["intervals"].get(metric)
    return "" if pair is None else f"{format_value(pair[0])} {format_value(pair[1])}"


# -- for pandas --------------------------------------------------------------------------------------------------------


def sweep_frame(found: Results) -> pd.DataFrame:
    """Every row of every job's metric table, and a row for each job that has none.

    Returns:
        Columns ``job``, ``state``, ``error``, ``folder`` (within the sweep's), ``config.OPTION`` for what varied, then
        those of ``metrics.csv``.
    """
    import pandas as pd

    keys, parts = varied_keys(found), []
    told = {id(result.job) for result in found.results}
    for result in found.results:
        frame = metrics_frame(list(result.rows))
        frame.insert(0, "folder", str(Path(_place(result.job, found.sweep)) / result.part))
        parts.append(_with_job(frame, result.job, found, keys))
    for job in found.jobs:
        if id(job) not in told:
            parts.append(_with_job(pd.DataFrame({"folder": [_place(job, found.sweep)]}), job, found, keys))
    joined = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
    return joined.sort_values("job", kind="stable", na_position="last") if parts else joined


def _with_job(frame: pd.DataFrame, job: SweepJob, found: Results, keys: Sequence[str]) -> pd.DataFrame:
    varied = varied_of(job, found.sweep)
    error = (found.problems.get(job.folder) if job.folder else None) or job.why
    own = {"job": job.number, "state": job.what, "error": error}
    own |= {f"config.{key}": varied.get(key) for key in keys}
    return frame.assign(**own)[
        ["job", "state", "error", "folder", *(f"config.{key}" for key in keys), *frame.columns[1:]]
    ]


def _place(job: SweepJob, sweep: Sweep) -> str:
    return "" if job.folder is None else str(job.folder.relative_to(sweep.folder))


def write_sweep(found: Results) -> Path:
    """Write ``sweep.csv``; returns it."""
    file = found.sweep.folder / CSV_FILE
    write_csv(sweep_frame(found), file)
    return file
