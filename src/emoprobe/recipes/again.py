"""The same command given again into the folder of its run: what is finished there, what is left, and what has failed.

One command is run, resume and retry. What a run left out because it failed stays left out when the command is given
again, so that its results stay what they are; ``retry=failed`` tries exactly these clips once more.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from emoprobe.data.prepare import Prepared
from emoprobe.data.utterance import Skipped
from emoprobe.errors import InputError, some
from emoprobe.recipes.settings import ProbeSettings, TrainSettings
from emoprobe.report.results import print_table
from emoprobe.run import files, sealing
from emoprobe.run.folder import RunFolder
from emoprobe.run.record import Record
from emoprobe.run.scores import read_scores
from emoprobe.run.settings import Told, differences, other_settings, read_told
from emoprobe.run.writing import read_skipped, utterances_frame
from emoprobe.system.digest import digest_of
from emoprobe.system.output import remove_leftovers

if TYPE_CHECKING:
    import pandas as pd

GO_ON = "Repeat the command with hydra.run.dir={folder} to go on from there."
LIBRARIES = ("emoprobe", "torch", "transformers")
"""What the scores of a model depend on beside it."""


@dataclass
class Again:
    """What the folder of a run holds when a command is given.

    Args:
        told: What the command says now.
        then: What it said when the run was begun; None in a new folder.
        prepared: What is evaluated, without what stays left out.
        failed: Clips that failed before, and stay left out.
        tried: Clips that failed before, and are tried again.
        sizes: Utterance id -> place, size and time of change of its sound file.
        record: That of the scored run; None where scores are missing.
        finished: Whether nothing is left to be done.
    """

    told: Told
    then: Told | None
    prepared: Prepared
    failed: list[Skipped]
    tried: list[Skipped]
    sizes: Mapping[str, list]
    record: Record | None = None
    finished: bool = False

    def begin(self, folder: Path) -> None:
        """Write that a run begins, or goes on; called before anything else is written."""
        remove_leftovers(folder)
        self.told.write(folder)

    def end(self, folder: Path, skipped: Collection[Skipped]) -> None:
        """Write that nothing is left to be done; called after everything else is written.

        Args:
            folder: The run folder.
            skipped: All that was left out.
        """
        lost = {row.id for row in skipped if row.failed}
        inputs = {**self.told.inputs, "clips": _clips_of(self.sizes, lost)}
        replace(self.told, finished=True, inputs=inputs).write(folder)

    def say_failed(self) -> None:
        """Print what stays left out, and what is tried again."""
        if self.tried:
            print(f"Trying again {len(self.tried):,} that failed before: {some([row.id for row in self.tried])}")
        if self.failed:
            names = some([row.id for row in self.failed])
            print(f"Left out {len(self.failed):,} that failed before: {names}; retry=failed tries them again")

    def say_finished(self, folder: Path, table: str) -> None:
        """Print the results of a run that is finished."""
        print(f"Finished before with the same settings, and nothing of it has changed: nothing to do in {folder}.")
        self.say_failed()
        run = RunFolder(folder)
        if run.has_results:
            print_table(run.rows, run.labels, table)
        print("Results  " + str(folder))
        for name, what in files.contents(folder).items():
            print(f"  {name:<20} {what}")


def look(verb: str, settings: ProbeSettings | TrainSettings, prepared: Prepared) -> Again:
    """What the folder of a command holds, read before anything heavy is imported or anything is written.

    Args:
        verb: ``probe`` or ``train``.
        settings: Of the command.
        prepared: What is evaluated.

    Raises:
        InputError: The folder holds a run of other settings, or scores that were changed since.
    """
    folder = settings.output_dir
    then = read_told(folder)
    _refuse_others(verb, settings, then)
    before = [] if then is None else failures(folder)
    failed = [row for row in before if settings.retry is None and _may_stay_out(row, settings)]
    prepared = _without_missing(prepared, failed)
    sizes = {item.utterance.id: _size_of(item.utterance.audio) for item in prepared.items}
    inputs = {
        "clips": _clips_of(sizes, {row.id for row in failed}),
        "votes": _votes_of(utterances_frame(prepared, settings.labels, settings.dataset.soft_label), prepared),
        "files": _files_of([settings.model, (settings.composed.get("head") or {})]),
    }
    tried = before if settings.retry == "failed" else []
    again = Again(Told(verb=verb, settings=settings.composed, inputs=inputs), then, prepared, failed, tried, sizes)
    of_scores = inputs.keys() - ({"votes"} if verb == "probe" else ())  # a training learns from them
    same = then is not None and all(then.inputs.get(name) == inputs[name] for name in of_scores)
    if then is None or not same or tried:
        return again
    again.record = _record_of_scored(folder, verb)
    derived = then.derived == again.told.derived and then.inputs["votes"] == inputs["votes"]
    again.finished = again.record is not None and then.finished and derived and _is_whole(folder, again.record)
    return again


def _refuse_others(verb: str, settings: ProbeSettings | TrainSettings, then: Told | None) -> None:
    folder = settings.output_dir
    if then is None:
        return
    if then.verb != verb:
        raise other_settings(f"a run of emoprobe {then.verb}", folder, ())
    now = Told(verb=verb, settings=settings.composed, inputs={})
    found = differences(then.asked, now.asked)
    if found:
        what = "scores of another configuration" if verb == "probe" else "another training run"
        raise other_settings(what, folder, found)


def failures(folder: Path) -> list[Skipped]:
    """Clips that the run of a folder left out because they failed."""
    return list({row.id: row for row in read_skipped(folder) if row.failed}.values())


def _may_stay_out(row: Skipped, settings: ProbeSettings | TrainSettings) -> bool:
    """Whether the settings let a clip go that fails."""
    dataset = settings.dataset
    return dataset.on_error == "skip" or (row.reason == "missing_audio" and dataset.missing_audio == "skip")


def _without_missing(prepared: Prepared, failed: Sequence[Skipped]) -> Prepared:
    """What is evaluated without clips whose sound was missing, should it be there now."""
    missing = {row.id: row for row in failed if row.reason == "missing_audio"}
    there = [item for item in prepared.items if item.utterance.id in missing]
    if not there:
        return prepared
    items = tuple(item for item in prepared.items if item.utterance.id not in missing)
    return replace(prepared, items=items, skipped=(*prepared.skipped, *(missing[item.utterance.id] for item in there)))


def _size_of(file: Path) -> list:
    """Path, size and time of change, by which a file that was changed is known without reading it."""
    with suppress(OSError):
        stat = file.stat()
        return [str(file), stat.st_size, stat.st_mtime_ns]
    return [str(file)]


def _clips_of(sizes: Mapping[str, list], lost: Collection[str]) -> str:
    return digest_of([[name, None if name in lost else size] for name, size in sizes.items()])


def _votes_of(frame: pd.DataFrame, prepared: Prepared) -> str:
    import pyarrow as pa

    left_out = [[row.id, row.reason] for row in prepared.skipped if not row.failed]
    return digest_of([sealing.fingerprint(pa.Table.from_pandas(frame, preserve_index=False))["sha256"], left_out])


def _files_of(nodes: Sequence[Mapping]) -> str:
    """What lies in the folders that nodes name: names, sizes, times of change."""
    folders = [Path(value) for node in nodes for value in node.values() if isinstance(value, str | Path)]
    found = [file for folder in folders if folder.is_dir() for file in sorted(folder.rglob("*")) if file.is_file()]
    return digest_of([_size_of(file) for file in found])


def _record_of_scored(folder: Path, verb: str) -> Record | None:
    """The record of a run whose scores are whole and sealed; None where some are missing, or other versions made them.

    Raises:
        InputError: The scores were changed.
    """
    run = RunFolder(folder)
    try:
        record = run.record
    except InputError:
        return None
    stated = sealing.stated_of(record.files, files.SCORES)
    if stated is None or not run.is_scored or not run.has_utterances:
        return None
    if verb == "probe" and any(record.versions.get(name) != version(name) for name in LIBRARIES):
        return None
    sealing.check_seal(folder / files.SCORES, stated, read_scores(folder))
    return record


def _is_whole(folder: Path, record: Record) -> bool:
    """Whether all results are there and those that the run wrote; else they are made anew."""
    run = RunFolder(folder)
    if not record.num_scored:
        return True
    try:
        return bool(run.rows) and (folder / "metrics.csv").is_file()
    except InputError:
        return False
