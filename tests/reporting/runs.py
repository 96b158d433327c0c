"""Run folders as probe.py writes them, made of numbers that a test chooses."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from emoprobe.metrics.floors import floors
from emoprobe.metrics.functional import METRICS, evaluate, metrics_of
from emoprobe.run.record import Record
from emoprobe.system.output import json_safe

LABELS = ("anger", "happy", "neutral", "sad")
KEYS = ("model", "prompt", "readout", "variant", "calibration")
PLAIN = ("tiny-model", "how_does_it_sound", "label_likelihood", "sum", "none")
TEXT = ("tiny-model", "one_word", "generated_text", "parsed", "none")


def make_record(**changes) -> dict:
    """``run.json``; ``changes`` replace whole entries."""
    labels = changes.pop("names", LABELS)
    record = {
        "labels": {
            "name": "four",
            "labels": list(labels),
            "words": {label: {"noun": [label]} for label in labels},
            "forms": None,
            "aliases": {},
            "hash": "1111aaaa",
        },
        "corpus": {"name": "made", "title": "Made corpus", "synthetic": False, "licence": "none"},
        "soft_label_policy": {"name": "relative frequency", "hash": "2222bbbb"},
        "split": "test",
        "model": {"name": "tiny-model", "revision": "r1", "dtype": "float32", "device": "cpu"},
        "seed": 0,
        "versions": {"emoprobe": "0.1.0", "torch": "2.0", "git": "abc"},
    }
    return record | changes


def make_human(size: int, labels: Sequence[str] = LABELS, seed: int = 0) -> pd.DataFrame:
    """Utterances with votes of four to twelve raters."""
    generator = np.random.default_rng(seed)
    raters = generator.integers(4, 13, size)
    truth = generator.dirichlet(np.full(len(labels), 0.4), size)
    votes = np.stack([generator.multinomial(n, p) for n, p in zip(raters, truth, strict=True)]).astype(float)
    frame = pd.DataFrame(
        {
            "utterance_id": [f"clip_{i:05}" for i in range(size)],
            "speaker": [f"speaker{i % 12:02}" for i in range(size)],
            "split": "test",
            "transcript": [f"Sentence number {i % 12} of the corpus is spoken here." for i in range(size)],
            "num_raters": raters.astype(float),
            "duration_seconds": np.round(generator.uniform(1, 5, size), 3),
            "truncated": False,
        }
    )
    frame[[f"target_{label}" for label in labels]] = votes / votes.sum(axis=1, keepdims=True)
    frame[[f"votes_{label}" for label in labels]] = votes
    return frame


def make_probs(size: int, labels: Sequence[str] = LABELS, seed: int = 0, failed: Sequence[int] = ()) -> np.ndarray:
    """Random distributions; NaN for the failed clips."""
    probs = np.random.default_rng(seed).dirichlet(np.ones(len(labels)), size)
    probs[list(failed)] = np.nan
    return probs


def write_run(
    folder: Path,
    human: pd.DataFrame,
    cells: Mapping[tuple, np.ndarray],
    *,
    record: dict | None = None,
    texts: Mapping[tuple, Sequence[str | None]] | None = None,
    audio: Sequence[str] | None = None,
    fitted: Mapping[tuple, str] | None = None,
    more: Mapping[str, Mapping] | None = None,
) -> Path:
    """Write ``run.json``, ``metrics.json``, ``predictions.parquet`` and ``utterances.parquet``; returns the folder.

    ``more`` is put into the first row (intervals, shuffled, share_of_range).
    """
    folder.mkdir(parents=True, exist_ok=True)
    record = record or make_record()
    labels, of_labels = record["labels"]["labels"], metrics_of(Record.from_json(record).labels)
    target, votes = (human[[f"{kind}_{label}" for label in labels]].to_numpy() for kind in ("target", "votes"))
    frames, rows = [], []
    for key, probs in cells.items():
        usable = np.isfinite(probs).all(axis=1)
        names = dict(zip(KEYS, key, strict=True))
        frame = human.assign(**names, fitted_on=(fitted or {}).get(key, ""), status=np.where(usable, "ok", "unparsed"))
        frame["generated_text"] = pd.Series((texts or {}).get(key, [None] * len(human)), dtype=object)
        frame["label_mass"] = 0.25 if key[2] == "label_likelihood" else np.nan
        frame[[f"p_{label}" for label in labels]] = probs
        frames.append(frame)
        metrics = evaluate(probs[usable], target[usable], votes[usable], metrics=of_labels) if usable.any() else {}
        failed = int((~usable).sum())
        statuses = {"ok": len(usable) - failed} | ({"unparsed": failed} if failed else {})
        mass = 0.25 if key[2] == "label_likelihood" else None
        rows.append(_row("readout", names, (fitted or {}).get(key, ""), len(usable) - failed, failed, metrics))
        rows[-1] |= {"statuses": statuses, "mean_label_mass": mass}
    for name, probs in floors(target, votes).items():
        kind = "reference" if name == "one_hot_of_top_vote" else "floor"
        names = dict.fromkeys(KEYS, "") | {"readout": name}
        source = "" if name == "uniform" else "evaluated votes"
        rows.append(_row(kind, names, source, len(human), 0, evaluate(probs, target, votes, metrics=of_labels)))
    rows[0] |= more or {}
    pd.concat(frames).to_parquet(folder / "predictions.parquet", index=False)
    seen = human.drop(columns=["duration_seconds", "truncated"]).assign(role="evaluated", audio=audio or "")
    seen.to_parquet(folder / "utterances.parquet", index=False)
    definitions = {
        name: {"definition": m.definition, "unit": m.unit, "higher_is_better": m.higher_is_better}
        for name, m in ((name, METRICS[name]) for name in of_labels)
    }
    write_json(record, folder / "run.json")
    write_json({"run": record, "metrics": definitions, "rows": rows}, folder / "metrics.json")
    return folder


def _row(kind: str, names: dict, fitted: str, scored: int, failed: int, metrics: dict) -> dict:
    counts = {"num_utterances": scored, "num_failed": failed, "statuses": {}, "mean_label_mass": None}
    return {"kind": kind, **names, "fitted_on": fitted, **counts, "metrics": metrics}


def write_json(value: object, file: Path) -> None:
    """Strict JSON, as the project writes it."""
    file.write_text(json.dumps(json_safe(value), allow_nan=False), encoding="utf-8")


def write_sweep(
    folder: Path, task: Sequence[str], done: Mapping[str, Sequence[str]], config_dir: Path | None = None
) -> Path:
    """``multirun.yaml`` and the ``.hydra/overrides.yaml`` of the jobs that were begun, by folder name."""
    folder.mkdir(parents=True, exist_ok=True)
    sweeper = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"
    sources = [{"schema": "pkg", "path": "hydra.conf", "provider": "hydra"}]
    if config_dir is not None:
        sources.append({"schema": "file", "path": str(config_dir), "provider": "command-line"})
    lines = "".join(f"    - {json.dumps(item)}\n" for item in task)
    (folder / "multirun.yaml").write_text(
        f"hydra:\n  sweeper:\n    _target_: {sweeper}\n  overrides:\n    task:\n{lines}"
        f"  runtime:\n    config_sources: {json.dumps(sources)}\n"
    )
    for name, overrides in done.items():
        hydra = folder / name / ".hydra"
        hydra.mkdir(parents=True, exist_ok=True)
        (hydra / "overrides.yaml").write_text("".join(f"- {item}\n" for item in overrides))
    return folder


def page_data(page: Path) -> dict:
    """The data that a page holds."""
    text = page.read_text(encoding="utf-8")
    start = text.index('<script type="application/json" id="data">') + len('<script type="application/json" id="data">')
    return json.loads(text[start : text.index("</script>", start)])
