"""A run: what its configuration means, what its folder holds, and how it is analysed again later.

A run folder holds ``scores.parquet`` (the score table), ``utterances.parquet`` (the human side), ``run.json`` (label
set, corpus, model, versions), ``skipped.csv``, and what is derived from them: ``predictions.parquet``,
``metrics.json``, ``metrics.csv``, ``figures/``.
"""

from __future__ import annotations

import json
import platform
import subprocess
from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from emoprobe import integrity, sealing
from emoprobe.analysis import Analysis
from emoprobe.calibration import Calibration
from emoprobe.cell import AnalysisOptions, Targets
from emoprobe.data.prepare import Prepared, prepare
from emoprobe.data.utterance import Corpus, Skipped, Utterance
from emoprobe.data.votes import SoftLabelPolicy, rater_votes
from emoprobe.distributions import AVERAGED_LOGITS
from emoprobe.errors import EmoprobeError, InputError
from emoprobe.labels import LabelSet
from emoprobe.output import json_safe, write_csv, write_json, write_parquet, write_rows
from emoprobe.scores import FILE_NAME, read_scores

PROJECT = Path(__file__).resolve().parents[2]
RUN_FILE, UTTERANCES_FILE, SKIPPED_FILE = "run.json", "utterances.parquet", "skipped.csv"
LIBRARIES = (
    "emoprobe",
    "torch",
    "transformers",
    "lightning",
    "torchmetrics",
    "hydra-core",
    "numpy",
    "soxr",
    "soundfile",
)


# -- configuration -----------------------------------------------------------------------------------------------------


def compose(overrides: Sequence[str], name: str = "probe") -> DictConfig:
    """Compose the project's configuration (of ``probe`` or ``train``), outside of an entry point or within one.

    Raises:
        InputError: The configuration folder is missing, or an override is wrong.
    """
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    folder = PROJECT / "conf"
    if not folder.is_dir():
        raise InputError(
            "the configuration folder is missing", file=folder, remedy="Run from a checkout (pip install -e .)."
        )
    try:
        within = GlobalHydra.instance().is_initialized()
        with nullcontext() if within else initialize_config_dir(str(folder), version_base="1.3"):
            return hydra_compose(name, overrides=list(overrides))
    except (HydraException, OmegaConfBaseException) as error:
        raise InputError(f"the configuration cannot be composed: {error}") from error


def plain(config: Any) -> Any:
    """A config node as plain Python values.

    Raises:
        InputError: A value that must be given is missing.
    """
    from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

    try:
        return OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except MissingMandatoryValue as error:
        key = str(error.full_key)
        raise InputError("a value must be given", field=key, remedy=f"Add {key}=VALUE to the command line.") from error
    except OmegaConfBaseException as error:
        raise InputError(f"the configuration cannot be resolved: {error}") from error


def build(kind: type, values: dict, where: str) -> Any:
    """Make an options object from a config node; an unknown field is the user's error, not a traceback."""
    try:
        return kind(**values)
    except TypeError as error:
        raise InputError(f"malformed options: {error}", field=where) from error


def make_options(config: DictConfig) -> AnalysisOptions:
    """Analysis options of a composed configuration."""
    analysis = plain(config.analysis)
    analysis.pop("figures", None)
    names = analysis.pop("averaged_logits")
    unknown = [name for name in names if name not in AVERAGED_LOGITS]
    if unknown:
        raise InputError(
            f"unknown reading {unknown[0]!r} of the averaged logits",
            field="analysis.averaged_logits",
            remedy=f"Use some of {', '.join(AVERAGED_LOGITS)}.",
        )
    variants = {name: AVERAGED_LOGITS[name] for name in names}
    calibrations = [
        build(Calibration, {"name": name, **fields}, f"calibration.{name}")
        for name, fields in plain(config.calibration).items()
    ]
    return build(AnalysisOptions, {"calibrations": calibrations, "averaged_logits": variants, **analysis}, "analysis")


def read_corpus(config: DictConfig) -> Corpus:
    """Call the corpus reader that the configuration names."""
    from hydra.utils import instantiate

    plain(config.dataset)  # a missing root is reported before the reader is called
    return call(lambda: instantiate(config.dataset.reader, _convert_="all"), "dataset")


def call(make: Any, where: str) -> Any:
    """Call what a config names; the user's mistakes come out as `EmoprobeError` instead of Hydra's wrapping."""
    from hydra.errors import InstantiationException

    try:
        return make()
    except InstantiationException as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, EmoprobeError):
            cause = cause.__cause__
        if cause is not None:
            raise cause from None
        raise InputError(f"the {where} config cannot be carried out: {error}", field=where) from error


def soft_label_policy(config: DictConfig) -> SoftLabelPolicy:
    """How a configuration makes soft labels of votes."""
    return build(SoftLabelPolicy, plain(config.dataset.soft_label), "dataset.soft_label")


def prepare_run(config: DictConfig, corpus: Corpus, labels: LabelSet, missing_audio: str | None = None) -> Prepared:
    """The utterances and targets a configuration asks for."""
    dataset = config.dataset
    return prepare(
        corpus,
        labels,
        soft_label_policy(config),
        split=dataset.split,
        keep=plain(dataset.keep),
        limit=dataset.limit,
        missing_audio=missing_audio or dataset.missing_audio,
        on_error=dataset.on_error,
    )


# -- what a run folder holds -------------------------------------------------------------------------------------------


def utterances_frame(prepared: Prepared, labels: LabelSet, policy: SoftLabelPolicy):
    """The human side as a data frame, one row per utterance.

    ``role`` is ``evaluated`` or ``training``; ``rater_votes`` is JSON, rater -> votes by label, or missing where nobody
    knows who said what.
    """
    import pandas as pd

    rows = []
    for role, items in (("evaluated", prepared.items), ("training", prepared.others)):
        for item in items:
            utterance, target = item.utterance, item.target
            row = {
                "utterance_id": utterance.id,
                "role": role,
                "audio": str(utterance.audio),
                "speaker": utterance.speaker,
                "split": utterance.split,
                "transcript": utterance.transcript,
                "num_raters": target.num_raters,
                "outside_votes": target.outside_votes,
                "rater_votes": _rater_votes(utterance, labels, policy),
                "metadata": json.dumps(dict(utterance.metadata), sort_keys=True),
            }
            row |= {f"votes_{label}": target.votes[i] for i, label in enumerate(labels.labels)}
            row |= {f"target_{label}": target.distribution[i] for i, label in enumerate(labels.labels)}
            rows.append(row)
    frame = pd.DataFrame(rows)
    frame["num_raters"] = frame["num_raters"].astype("Float64")
    return frame


def _rater_votes(utterance: Utterance, labels: LabelSet, policy: SoftLabelPolicy) -> str | None:
    if not utterance.ratings:
        return None
    votes = {
        rater: {label: float(v) for label, v in zip(labels.labels, ballot, strict=True) if v}
        for rater, ballot in rater_votes(utterance, labels, policy).items()
    }
    return json.dumps(votes, ensure_ascii=False)


def write_skipped(skipped: Sequence[Skipped], file: Path) -> None:
    """``skipped.csv``: what was left out, and why."""
    rows = [[row.id, row.reason, row.message, row.file, row.row] for row in skipped]
    write_rows(["utterance_id", "reason", "message", "file", "row"], rows, file)


def versions() -> dict[str, str]:
    """Versions of everything a number may depend on, and the project's git revision where there is one."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    found["git"] = _git_revision()
    return found


def _git_revision() -> str:
    command = ["git", "-C", str(PROJECT), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def make_record(
    config: DictConfig, corpus: Corpus, prepared: Prepared, skipped: Sequence[Skipped], labels: LabelSet, model: dict
) -> dict:
    """``run.json``: what a reader of the tables must know."""
    policy = soft_label_policy(config)
    return {
        "labels": {
            "name": labels.name,
            "labels": list(labels.labels),
            "forms": {label: {k: list(v) for k, v in kinds.items()} for label, kinds in labels.forms.items()},
            "aliases": dict(labels.aliases),
            "hash": labels.hash,
        },
        "corpus": asdict(corpus.card),
        "soft_label_policy": {"name": policy.name, "hash": policy.hash},
        "split": config.dataset.split,
        "model": model,
        "num_evaluated": len(prepared.items),
        "num_skipped": dict(Counter(row.reason for row in skipped)),
        "seed": config.seed,
        "versions": versions(),
    }


def write_results(folder: Path, analysis: Analysis, record: dict, *, figures: bool) -> list[Path]:
    """Write what was derived; returns the figures."""
    from emoprobe.metrics.functional import METRICS
    from emoprobe.report.tables import metrics_frame

    folder.mkdir(parents=True, exist_ok=True)
    write_parquet(analysis.predictions, folder / "predictions.parquet")
    definitions = {
        name: {"definition": m.definition, "unit": m.unit, "higher_is_better": m.higher_is_better}
        for name, m in METRICS.items()
    }
    policy = record["soft_label_policy"]
    rows = [{**row, "soft_label_policy": policy["name"], "policy_hash": policy["hash"]} for row in analysis.rows]
    sealed = sealing.seal_predictions(folder) | {sealing.ROWS: sealing.seal_rows(json_safe(rows))}
    write_json({"run": record, "metrics": definitions, "rows": rows, sealing.SEAL: sealed}, folder / "metrics.json")
    write_csv(metrics_frame(rows), folder / "metrics.csv")
    if not figures:
        return []
    from emoprobe.report.figures import save_figures

    return save_figures(
        analysis.predictions, analysis.rows, record["labels"]["labels"], folder / "figures", subtitle(record)
    )


def subtitle(record: dict) -> str:
    """Corpus and size for titles; a synthetic corpus says so."""
    card = record["corpus"]
    mark = "" if not card["synthetic"] or "synthetic" in card["title"].lower() else " (SYNTHETIC)"
    return f"{card['title']}{mark}"


def labels_of(record: dict) -> LabelSet:
    """The label set of a run."""
    value = record["labels"]
    return LabelSet(value["name"], tuple(value["labels"]), value["forms"], value.get("aliases", {}))


# -- later -------------------------------------------------------------------------------------------------------------


def read_run(folder: Path) -> tuple[Any, Any, dict]:
    """``(score table, utterances, record)`` of a run folder.

    Raises:
        InputError: The folder is not a run, or a file of it is damaged or no longer what the run wrote.
    """
    import pandas as pd

    scores = read_scores(folder)
    try:
        record = json.loads((folder / RUN_FILE).read_text(encoding="utf-8"))
        labels_of(record)
        utterances = pd.read_parquet(folder / UTTERANCES_FILE)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"the folder holds a score table but no readable {RUN_FILE} and {UTTERANCES_FILE}: {error}",
            file=folder,
            remedy="Give the output folder of probe.py.",
        ) from error
    integrity.check(folder, record, scores, utterances)
    return scores, utterances, record


def ambiguity(targets: Targets) -> tuple[float, str]:
    """Mean entropy of the targets in bits, and how many votes stand behind them, in words."""
    from emoprobe.metrics.functional import entropy

    total = targets.votes.sum()
    known = targets.frame["num_raters"].notna().all()
    return float(entropy(targets.distribution).mean()), f"{total:,.0f} votes" if known else "vote shares only"


def print_table(rows: Sequence[dict]) -> None:
    """Print the metric table as wide as the terminal, or wide enough for a file."""
    from rich.console import Console

    from emoprobe.report.tables import metric_table

    console = Console()
    if not console.is_terminal:
        console = Console(width=200)
    console.print(metric_table(rows))


def print_results(analysis: Analysis, record: dict, folder: Path, figures: Sequence[Path]) -> None:
    """The summary a person reads after a run: what was measured on what, the table, where the files lie."""
    from emoprobe.report.tables import layers_in_words, split_layers

    model, card = record["model"], record["corpus"]
    entropy, votes = ambiguity(analysis.targets)
    skipped = ", ".join(f"{count} {reason}" for reason, count in record["num_skipped"].items()) or "none"
    print(f"Model    {model['name']} ({model['revision']}), {model['dtype']} on {model['device']}")
    print(f"Corpus   {subtitle(record)}: {len(analysis.targets.frame):,} utterances used; left out: {skipped}")
    near_silent = record.get("near_silent") or {}
    if near_silent.get("utterances"):
        names = near_silent["utterances"]
        shown = ", ".join(names[:3]) + (f" and {len(names) - 3:,} more" if len(names) > 3 else "")
        print(
            f"Sound    warning: {len(names):,} near-silent (below {near_silent['below_dbfs']:g} dBFS): {shown}; "
            "dataset.audio.near_silent=skip leaves them out"
        )
    print(f"Targets  {record['soft_label_policy']['name']}; {votes}; mean entropy {entropy:.3f} bits")
    if card["synthetic"]:
        print("         Synthetic speech and simulated raters: these numbers say nothing about real emotion.")
    print_table(split_layers(analysis.rows)[0])
    layers = layers_in_words(analysis.rows)
    if layers:
        print(f"Layers   {layers}")
    print("Results  " + str(folder))
    for name, what in (
        (FILE_NAME, "raw scores; analyse again with python -m emoprobe.analyse " + str(folder)),
        ("predictions.parquet", "one distribution per utterance, prompt and readout, beside its target"),
        ("metrics.json", "all metrics, floors, provenance (metrics.csv for pandas)"),
        (SKIPPED_FILE, "utterances left out, and why"),
    ):
        if (folder / name).exists():
            print(f"  {name:<20} {what}")
    if figures:
        print(f"  figures/             {len(figures)} pictures")
