"""Floors and ceilings of a corpus, scored from its votes alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def print_floors(overrides: Sequence[str], output: Path | None) -> None:
    """Print (and write, if asked) the floors of a corpus, from its votes alone."""
    from emoprobe.analysis.rows import human_side
    from emoprobe.beliefs.targets import make_targets
    from emoprobe.recipes.inputs import prepare_run, read_corpus
    from emoprobe.recipes.settings import read_analysis, read_dataset, read_labels
    from emoprobe.report.results import ambiguity, print_table
    from emoprobe.report.tables import write_csv
    from emoprobe.run.writing import utterances_frame
    from emoprobe.settings import compose

    config = compose(overrides)
    labels, dataset, derived = read_labels(config), read_dataset(config), read_analysis(config)
    corpus = read_corpus(dataset)
    prepared = prepare_run(dataset, corpus, labels, missing_audio="ignore")
    targets = make_targets(utterances_frame(prepared, labels, dataset.soft_label), labels)
    rows = human_side(targets, derived.resamples)
    apart, votes = ambiguity(targets, labels)
    print(f"{corpus.card.title}: {len(targets.frame):,} utterances, {votes}, {apart}")
    print_table(rows, labels, config.table)
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        write_csv(rows, output / "floors.csv")
        print(f"Written: {output / 'floors.csv'}")
