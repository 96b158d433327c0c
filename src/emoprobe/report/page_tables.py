"""The tables that ``emoprobe judge`` wrote beside the runs of a page: strata, prompts, groups of speakers."""

from __future__ import annotations

import csv
import os

from emoprobe.report.found import Group
from emoprobe.report.page_data import pack_json
from emoprobe.run import files

TABLES = {"strata": "Strata of utterances", "prompt_robustness": "Prompts", "group_gaps": "Groups of speakers"}


def judged(group: Group, notes: list[str]) -> list[dict]:
    """Title, columns and packed rows of each table, the runs' names first; none for runs that were not judged.

    Args:
        group: Its runs.
        notes: Takes what is left out since the run's metrics are newer.
    """
    found = []
    for name, title in TABLES.items():
        columns, lines = ["run"], []
        for run in group.runs:
            file = run.folder / "judgement" / f"{name}.csv"
            if not file.is_file():
                continue
            if os.path.getmtime(file) < os.path.getmtime(run.folder / files.METRICS):
                notes.append(f"{run.name}: {file.name} is older than its metrics; emoprobe judge writes it again")
                continue
            with file.open(encoding="utf-8", newline="") as handle:
                for line in csv.DictReader(handle):
                    columns += [key for key in line if key not in columns]
                    lines.append({"run": run.name} | line)
        if lines:
            rows = pack_json([[line.get(key, "") for key in columns] for line in lines])
            found.append({"name": name, "title": title, "columns": columns, "rows": rows})
    return found
