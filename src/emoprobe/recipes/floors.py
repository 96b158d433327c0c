"""Floors and ceilings of a corpus, scored from its votes alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def print_floors(overrides: Sequence[str], output: Path | None) -> None:
    """Print (and write, if asked) the floors of a corpus, from its votes alone."""
    from emoprobe.analysis.rows import human_side
    from emoprobe.beliefs.targets import make_targets
    from emoprobe.labels import LabelSet
    from emoprobe.recipes.inputs import prepare_run, read_corpus, soft_label_policy
    from emoprobe.report.results import ambiguity, print_table
    from emoprobe.report.tables import write_csv
    from emoprobe.run.writing import utterances_frame
    from emoprobe.settings import build, compose, plain

    config = compose(overrides)
    labels = build(LabelSet, plain(config.labels), "labels")
    corpus = read_corpus(config)
    prepared = prepare_run(config, corpus, labels, missing_audio="ignore")
    targets = make_targets(utterances_frame(prepared, labels, soft_label_policy(config)), labels)
    rows = human_side(targets, config.analysis.resamples)
    entropy, votes = ambiguity(targets)
    print(f"{corpus.card.title}: {len(targets.frame):,} utterances, {votes}, mean entropy {entropy:.3f} bits")
    print_table(rows)
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        write_csv(rows, output / "floors.csv")
        print(f"Written: {output / 'floors.csv'}")
