"""What a check of a corpus has found, printed and saved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from emoprobe.system.output import write_json, write_rows

Level = Literal["ok", "note", "problem"]
SHOWN = 5  # names printed per finding; the report's files have all


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Args:
        level: ``ok``, ``note`` (worth knowing), or ``problem``.
        subject: What was looked at.
        what: What was found.
        items: The utterances, files or speakers concerned.
    """

    level: Level
    subject: str
    what: str
    items: tuple[str, ...] = ()


def print_findings(findings: Sequence[Finding]) -> None:
    """A line per finding, with the first few names."""
    marks = {"ok": "ok     ", "note": "note   ", "problem": "PROBLEM"}
    for finding in findings:
        print(f"{marks[finding.level]}  {finding.subject}: {finding.what}")
        if finding.items and finding.level != "ok" and finding.subject != "identical files":
            more = f", and {len(finding.items) - SHOWN:,} more" if len(finding.items) > SHOWN else ""
            print(f"         {', '.join(finding.items[:SHOWN])}{more}")


def save_findings(findings: Sequence[Finding], folder: Path) -> list[Path]:
    """``check.json``, and ``check.csv`` with a row for every item concerned."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json([asdict(finding) for finding in findings], folder / "check.json")
    rows = [
        [finding.level, finding.subject, finding.what, item] for finding in findings for item in finding.items or ("",)
    ]
    write_rows(["level", "subject", "what", "item"], rows, folder / "check.csv")
    return [folder / "check.json", folder / "check.csv"]
