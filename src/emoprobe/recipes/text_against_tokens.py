"""What several models write beside what their tokens hold, on the same clips, in one short table and one page.

Every part is an ordinary probe in a folder of its own. An interrupted study goes on when the same command is given the
same folder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from emoprobe.errors import InputError
from emoprobe.recipes.loaded import one_model
from emoprobe.recipes.parts import key_of, names, run_part, searched
from emoprobe.recipes.plans import TextAgainstTokensSettings
from emoprobe.recipes.settings import ProbeSettings, read_probe
from emoprobe.report import tracking
from emoprobe.run.folder import open_folder
from emoprobe.settings import compose
from emoprobe.system import stopping
from emoprobe.system.claim import claimed

if TYPE_CHECKING:
    import pandas as pd

    from emoprobe.run.record import Record

OWN = ("experiment", "study", "hydra", "logger", "output_dir", "analysis.figures")


def run(settings: ProbeSettings, overrides: Sequence[str]) -> Path:
    """Run every part, then write and print their table and their page; returns the folder.

    Args:
        settings: Those of emoprobe probe, with ``study``.
        overrides: The command line, which every part is given too.

    Raises:
        InputError: A part's settings are wrong, are those of another corpus or label set than the first's, or are given
            on the command line too; or this is one of several processes that the study has not started itself.
    """
    if not stopping.is_main():
        raise InputError(
            "a study of several runs is one process",
            field="study",
            remedy="Start it once, without torchrun; with trainer.devices=N trainer.strategy=ddp each part starts its "
            "own processes.",
        )
    plan = cast(TextAgainstTokensSettings, settings.study)
    parts = _overrides_of(plan, overrides)
    _check(settings.output_dir, parts)
    with claimed(settings.output_dir, "study"), one_model():
        return _run(settings, plan, parts)


def _overrides_of(plan: TextAgainstTokensSettings, overrides: Sequence[str]) -> dict[str, list[str]]:
    """Part -> all its overrides: those of every part, then the command line's, then its own."""
    given = [override for override in overrides if not names(override, OWN)]
    own = {key_of(override): part for part, of in reversed(list(plan.parts.items())) for override in of}
    for override in given:
        if key_of(override) in own:
            part, key = own[key_of(override)], key_of(override)
            raise InputError(
                f"the part {part} has a {key} of its own",
                field=key,
                remedy=f"Change the part instead: 'study.parts.{part}=[\"{key}=...\"]' takes all of its overrides.",
            )
    return {part: [*plan.shared, *searched(overrides), *given, *of] for part, of in plan.parts.items()}


def _check(folder: Path, parts: Mapping[str, Sequence[str]]) -> None:
    """Refuse what is wrong with any part before the first one asks its model."""
    first: tuple[str, ProbeSettings] | None = None
    for part, overrides in parts.items():
        own = read_probe(compose([*overrides, f"output_dir={folder / part}", "logger=none"]))
        if own.study is not None:
            raise InputError(f"the part {part} is a study itself", field=f"study.parts.{part}")
        if first is None:
            first = part, own
        same = {
            "labels": own.labels.labels == first[1].labels.labels,
            "dataset": own.composed["dataset"] == first[1].composed["dataset"],
        }
        for name, is_same in same.items():
            if not is_same:
                raise InputError(
                    f"the parts {first[0]} and {part} differ in their {name}",
                    field=f"study.parts.{part}",
                    remedy="Models are compared on the same clips and labels.",
                )


def _run(settings: ProbeSettings, plan: TextAgainstTokensSettings, parts: Mapping[str, Sequence[str]]) -> Path:
    folder = settings.output_dir
    with stopping.heard(f"Repeat the command with hydra.run.dir={folder} to go on from there."):
        runs = {
            part: open_folder(run_part(part, overrides, folder / part, "probe")) for part, overrides in parts.items()
        }
    from emoprobe.report.text_against_tokens import FILE, contrast_frame, for_tracker, save_contrast
    from emoprobe.report.write import write_report

    frame = contrast_frame(runs, plan.cells)
    for part in parts:
        if part not in set(frame["part"]):
            raise InputError(
                f"no readout of {part} is one of study.cells",
                field="study.cells",
                remedy=f"Repeat the command with hydra.run.dir={folder} and study.cells=[]: all are shown.",
            )
    record = next(iter(runs.values())).record
    figures = save_contrast(frame, folder, record.title)
    with tracking.open_logger(settings.logger, settings.composed) as logger:
        tracking.log_study(logger, for_tracker(frame), figures)
    _print(frame, record)
    print(f"Results  {folder}: {FILE}.csv, .md, .png, and a run folder per part")
    write_report([run.folder for run in runs.values()], folder / "report", audio="embed", clips=40)
    return folder


def _print(frame: pd.DataFrame, record: Record) -> None:
    from rich.console import Console

    from emoprobe.report.text_against_tokens import WIDTH, conclusions, contrast_table, notes, wrapped

    console = Console()
    width = min(console.width, WIDTH) if console.is_terminal else WIDTH
    table = contrast_table(frame, width)
    console.width = max(width, console.measure(table).minimum)
    console.print(table)
    said = "95 %: speakers resampled   range: 0 at the prior floor, 1 at the human ceiling, of the row's own clips"
    for text in (record.title, said, notes(frame), *conclusions(frame)):
        if text:
            print(wrapped(text, width))
    if record.corpus.synthetic:
        print("Synthetic speech and simulated raters: these numbers say nothing about real emotion.")
