"""What the means of a run hide: strata, groups of speakers, prompts, text against tokens, missed mixtures.

It needs no model; tables and figures go to ``RUN_DIR/judgement``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emoprobe.errors import InputError
from emoprobe.labels import LabelSet
from emoprobe.metrics.functional import clip_metric_of, evaluate, metrics_of
from emoprobe.recipes.positions import position_figures, position_tables
from emoprobe.run.cell import cells_of
from emoprobe.run.predictions import read_cells
from emoprobe.system.claim import claimed
from emoprobe.system.output import write_csv

if TYPE_CHECKING:
    import pandas as pd

STRATA = ("entropy", "entropy_quantiles", "num_raters", "duration")
FACTS = ("gender", "age")
TEXTS = (
    *(
        "model",
        "prompt",
        "readout",
        "variant",
        "calibration",
        "fitted_on",
        "kind",
        "stratum",
        "metric",
        "best",
        "worst",
    ),
    *("best_prompt", "worst_prompt", "term", "fit", "member", "status", "label", "rater_label", "model_label"),
    *("token_readout", "token_variant", "token_calibration", "text_readout", "text_variant", "first", "second"),
    *("risk", "score"),
)
"""Columns of the tables that hold names, whatever they look like."""
MAX_CELLS = 60  # beyond, strata are those of uncalibrated cells and ensembles alone
ENSEMBLE_METRICS = ("js_divergence", "bhattacharyya", "r2_within_clip", "brier", "vote_nll", "wa", "uar")
ENSEMBLE_METRICS_OF_SCALES = ("ccc", "pearson", "rmse", "emd", "js_divergence", "vote_nll")


def judge(
    run: Path,
    output: Path | None = None,
    *,
    facts: Sequence[str] | None = None,
    label: str | None = None,
    resamples: int = 1000,
    figures: bool = True,
    table: str | None = None,
) -> Path:
    """Write the tables (CSV) and figures of a run.

    Args:
        run: Run folder.
        output: Where to write; ``judgement`` within the run by default.
        facts: Keys of the metadata to compare by; gender and age, where known, by default. A fact that was asked for
            must be known.
        label: Whose probability maps of layers and positions show; each clip's top label of the raters by default.
        resamples: Of speakers.
        figures: Whether to draw.
        table: Whether to print the run's metric table, ``short`` or ``full``, too.

    Returns:
        The folder.

    Raises:
        InputError: The folder is no run, holds other files than the run wrote, or a fact or the label is not known.
    """
    from emoprobe.run.folder import open_folder

    opened = open_folder(run)
    predictions, utterances, labels = opened.predictions, opened.utterances, opened.labels
    known = _known_facts(utterances)
    chosen = [fact for fact in FACTS if fact in known] if facts is None else list(facts)
    unknown = [fact for fact in chosen if fact not in known]
    if unknown:
        what = f"the corpus does not tell {unknown[0]!r}"
        raise InputError(what, field="--facts", remedy=f"It tells {', '.join(known) or 'no facts'}.")
    if label is not None and label not in labels.labels:
        remedy = f"It has {', '.join(labels.labels)}."
        raise InputError(f"the run's label set has no {label!r}", field="--label", remedy=remedy)
    folder = output or run / "judgement"
    with claimed(folder, "judge", "--output"):
        positions = position_tables(opened, resamples=resamples)
        for name, frame in chain(tables(predictions, utterances, labels, chosen, resamples=resamples), positions):
            if len(frame):
                write_csv(frame, folder / f"{name}.csv")
                print(f"  {name + '.csv':<26} {len(frame):,} rows")
        if figures:
            from emoprobe.readout.base import names_of
            from emoprobe.report.judgement_figures import save_judgement_figures

            drawn = position_figures(opened, folder, label)
            if not predictions["readout"].isin(names_of("layers")).all():
                title = opened.record.title
                drawn += save_judgement_figures(
                    predictions, utterances, labels, folder / "figures", title, facts=chosen
                )
            print(f"  figures/                   {len(drawn)} files")
    if table is not None:
        from emoprobe.report.results import print_table

        print_table(opened.rows, labels, table)
    print(f"Written: {folder}")
    return folder


def read_table(file: Path) -> pd.DataFrame:
    """A table that `judge` has written, as it was: by pandas' defaults a label named NA would be none, True a number.

    Args:
        file: One of its CSV files; empty fields become NaN.
    """
    import pandas as pd

    return pd.read_csv(file, dtype=dict.fromkeys(TEXTS, str), keep_default_na=False, na_values=[""])


def _known_facts(utterances: pd.DataFrame) -> list[str]:
    rows = utterances.loc[utterances["role"] == "evaluated", "metadata"]
    return sorted({key for text in rows for key in json.loads(text)})


def tables(
    predictions: pd.DataFrame,
    utterances: pd.DataFrame,
    labels: LabelSet,
    facts: Sequence[str],
    *,
    resamples: int,
) -> Iterator[tuple[str, pd.DataFrame]]:
    """``(name, table)`` of all that a run allows, see `emoprobe.analysis`.

    Those about one right label, and which labels are taken for which, are not of a label set with a scale. Of a run in
    which nothing but layers was read there is their table alone.
    """
    import pandas as pd

    from emoprobe.analysis import ambiguity, channels, robustness, strata
    from emoprobe.analysis.next_rater import next_rater
    from emoprobe.analysis.prompt_ensembles import ensembles
    from emoprobe.beliefs.targets import make_targets
    from emoprobe.readout.base import names_of

    whole = predictions[~predictions["readout"].isin(names_of("layers"))]
    some = whole if len(cells_of(whole)) <= MAX_CELLS else whole[whole["calibration"].astype(str) == "none"]
    names, metrics, of_clips = labels.labels, metrics_of(labels), clip_metric_of(labels)
    if whole.empty:
        yield "layers", channels.layer_curves(predictions, names, metrics=metrics)
        return
    own = ("majority",) if labels.scale is None else ("mean", "spread")
    kinds = [*STRATA, *own, *(f"fact:{fact}" for fact in facts)]
    how: dict[str, Any] = {"metric": of_clips, "resamples": resamples}
    tables = [strata.stratify(some, utterances, names, by=by, metrics=metrics, **how) for by in kinds]
    yield "strata", pd.concat(tables)
    groups = [strata.gaps(some, utterances, names, by=f"fact:{fact}", **how) for fact in facts]
    yield "group_gaps", pd.concat(groups) if groups else pd.DataFrame()
    if labels.scale is None:
        yield "clear_and_ambiguous", strata.clear_and_ambiguous(some, names, resamples=resamples)
    human = ambiguity.human_side(make_targets(utterances, labels))
    risk: dict[str, Any] = {"metric": of_clips, "categories": labels.scale is None}
    yield "ambiguity", ambiguity.entropy_ranks(some, names, human, resamples=resamples)
    yield "entropy_calibration", ambiguity.entropy_calibration(some, names, human, resamples=resamples)
    yield "selective_answering", ambiguity.selective_answering(some, names, human, **risk, resamples=resamples)
    yield "risk_coverage", ambiguity.risk_coverage(some, names, human, **risk)
    yield "next_rater", next_rater(some, names, human, resamples=resamples)
    scores = robustness.prompt_scores(whole, names)
    if len(scores):
        yield "prompt_robustness", robustness.prompt_robustness(whole, names)
        yield "variance_explained", robustness.variance_explained(scores)
        combined = ensembles(whole, names)
        yield "prompt_ensembles", _scores(combined.predictions, labels)
        yield "prompt_weights", combined.weights
    yield "text_against_tokens", channels.channel_agreement(whole, names)
    yield "parse_statuses", channels.parse_statuses(whole)
    yield "label_masses", channels.label_masses(whole)
    yield "layers", channels.layer_curves(predictions, names, metrics=metrics)
    yield "reliability", channels.reliability(some, names)
    if labels.scale is None:
        yield "expected_confusion", channels.expected_confusion(some, names)
        yield "missed_mixtures", channels.missed_mixtures(some, names)


def _scores(predictions: pd.DataFrame, labels: LabelSet) -> pd.DataFrame:
    """Metrics of every cell, a row each, whatever the parts of its clips were fitted on."""
    import pandas as pd

    rows, metrics = [], ENSEMBLE_METRICS if labels.scale is None else ENSEMBLE_METRICS_OF_SCALES
    for cell in read_cells(predictions, labels.labels):
        kept = cell.scored
        data = cell.pred[kept], cell.target[kept], cell.votes[kept]
        found = evaluate(*data, metrics=metrics) if kept.any() else {}
        sizes = {"num_utterances": int(kept.sum()), "num_failed": int((~kept).sum())}
        rows.append(cell.head | sizes | {name: found.get(name) for name in metrics})
    return pd.DataFrame(rows)
