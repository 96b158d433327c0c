"""Analyse a run's stored scores again, or score the floors of a corpus from its votes; needs no model.

Command: ``python -m emoprobe analyse RUN_DIR [calibration=... analysis....=...]`` and
``python -m emoprobe analyse floors dataset=cremad dataset.root=DIR``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from emoprobe.cli.entry import command


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Command line of ``python -m emoprobe analyse``."""
    parser = argparse.ArgumentParser(
        prog="python -m emoprobe analyse",
        description="Derive predictions, metrics and figures from the stored scores of a run, without its model; or "
        "score the floors of a corpus from its votes alone.",
        epilog="Examples: python -m emoprobe analyse outputs/RUN calibration=all; "
        "python -m emoprobe analyse floors dataset=cremad dataset.root=DIR",
    )
    parser.add_argument("what", metavar="RUN_DIR|floors", help="folder of a run, or the word floors")
    parser.add_argument(
        "overrides", nargs="*", help="Hydra overrides: calibration=[none,batch] analysis.failures=uniform"
    )
    parser.add_argument("-o", "--output", type=Path, help="where to write (default: RUN_DIR/analysis)")
    return parser.parse_intermixed_args(arguments)


@command()
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    parsed = parse_arguments(arguments)
    if parsed.what == "floors":
        print_floors(parsed.overrides, parsed.output)
    else:
        analyse_again(Path(parsed.what), parsed.overrides, parsed.output)
    return 0


def analyse_again(folder: Path, overrides: Sequence[str], output: Path | None) -> Path:
    """Analyse a run's stored scores; writes into ``RUN_DIR/analysis`` unless told otherwise, and returns the folder."""
    from emoprobe.analysis.derive import analyse
    from emoprobe.recipes.inputs import make_options
    from emoprobe.report.results import print_results, write_results
    from emoprobe.run.folder import labels_of, read_run
    from emoprobe.run.scores import FILE_NAME
    from emoprobe.system.claim import claimed

    scores, utterances, record = read_run(folder)
    config = _as_it_ran(folder, overrides)
    analysis = analyse(scores, utterances, labels_of(record), make_options(config))
    target = output or folder / "analysis"
    with claimed(target, "analyse"):
        figures = write_results(target, analysis, record, figures=bool(config.analysis.figures))
    if not (folder / FILE_NAME).exists():
        evaluated = int((utterances["role"] == "evaluated").sum())
        done = analysis.predictions["utterance_id"].nunique()
        print(f"This run did not finish: {done} of {evaluated} utterances were scored.")
    print_results(analysis, record, target, figures)
    return target


def _as_it_ran(folder: Path, overrides: Sequence[str]):
    """The configuration of the run itself where its folder has it, with the overrides on top."""
    from omegaconf import OmegaConf

    from emoprobe.settings import compose

    config = compose(overrides)
    file = folder / ".hydra" / "config.yaml"
    if file.is_file():
        saved = OmegaConf.load(file)
        keys = {item.split("=")[0].lstrip("+~") for item in overrides}
        if not any(key.split(".")[0] == "calibration" for key in keys):
            config.calibration = saved.calibration
        for name in saved.analysis:
            if f"analysis.{name}" not in keys:
                config.analysis[name] = saved.analysis[name]
    return config


def print_floors(overrides: Sequence[str], output: Path | None) -> None:
    """Print (and write, if asked) the floors of a corpus, from its votes alone."""
    from emoprobe.analysis.rows import human_side
    from emoprobe.analysis.targets import make_targets
    from emoprobe.labels import LabelSet
    from emoprobe.recipes.inputs import prepare_run, read_corpus, soft_label_policy
    from emoprobe.report.results import ambiguity, print_table
    from emoprobe.report.tables import write_csv
    from emoprobe.run.folder import utterances_frame
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


if __name__ == "__main__":
    sys.exit(main())
