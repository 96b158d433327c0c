"""Names of the files in a run folder; no module outside this room names them.

What the run wrote lies in the run folder itself, what is derived from it there too, or in a folder within it that a
later analysis has made.
"""

from __future__ import annotations

import re
from pathlib import Path

RECORD = "run.json"
"""What was run: `emoprobe.run.record.Record`."""
SCORES, PARTS = "scores.parquet", "scores_parts"
"""The score table, and the folder of its parts while it grows."""
UTTERANCES = "utterances.parquet"
"""The human side: votes, soft labels, facts."""
SKIPPED = "skipped.csv"
"""What was left out, and why."""
PREDICTIONS = "predictions.parquet"
"""One distribution per utterance and cell, beside its target."""
METRICS = "metrics.json"
"""Metric rows with their definitions and the record."""
SETTINGS = "settings.json"
"""What the run was told, from its first moment on: `emoprobe.run.settings.Told`."""
OPTIMIZED = "optimized.json"
"""What an optimiser is told of it, and on how many clips."""
BUNDLE = re.compile(r"head_(fold\d+|all)")
"""Name of a folder of what was trained."""
FACTS = "head.json"
"""What such a folder says of itself."""
CONTENTS = {
    SCORES: "raw scores; analyse again with emoprobe analyse {folder}",
    PREDICTIONS: "one distribution per utterance, prompt and readout, beside its target",
    METRICS: "all metrics, floors, provenance (metrics.csv for pandas)",
    SKIPPED: "utterances left out, and why",
}


def contents(folder: Path) -> dict[str, str]:
    """What of a run is in a folder, and what it is, for a person."""
    return {name: what.format(folder=folder) for name, what in CONTENTS.items() if (folder / name).exists()}


def bundles(folder: Path) -> list[Path]:
    """Folders of what a run has trained, in the order of their names."""
    return sorted(place for place in folder.glob("head_*") if BUNDLE.fullmatch(place.name))
