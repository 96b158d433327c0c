"""Training runs that go on where an interrupted one stopped, and runs in several processes that share a folder."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from emoprobe.errors import InputError
from emoprobe.run import files
from emoprobe.run.record import read_record
from emoprobe.run.scores import discard_parts
from emoprobe.run.settings import Told, asked, differences, other_settings, read_told
from emoprobe.system.output import write_json
from emoprobe.system.stopping import is_main

CHECKPOINTS = "checkpoints"


def check_folder(folder: Path, then: Told | None) -> None:
    """Refuse a folder of another run.

    Args:
        folder: The run folder.
        then: What the run in it was told; None where no file says so.

    Raises:
        InputError: Nobody knows what run it belongs to, or this is a further process that the run has not started.
    """
    if then is not None:
        return
    if not is_main():
        raise InputError(
            "this further process finds no training run that has started it",
            file=folder,
            field="trainer.devices",
            remedy="Start emoprobe train once, not with torchrun: it starts its processes itself, with "
            "trainer.devices=N trainer.strategy=ddp.",
        )
    if files.bundles(folder) or (folder / CHECKPOINTS).exists() or (folder / files.RECORD).exists():
        raise other_settings("another training run", folder, ())


def places_of(folder: Path, resume: str | Path | None, settings: Mapping) -> tuple[Path, ...]:
    """Folders whose finished work is taken over: that of the run itself, then another of the same settings.

    Raises:
        InputError: The other one holds no run of the same settings.
    """
    if resume is None:
        return (folder,)
    other, then = Path(resume), read_told(Path(resume))
    if then is None or then.verb != "train":
        raise InputError("this folder holds no training run", file=other, field="resume")
    if found := differences(then.asked, asked("train", settings)):
        told = "".join(f"\n  {each}" for each in found)
        raise InputError(
            "this folder holds no training run with the same settings",
            file=other,
            field="resume",
            remedy=f"Repeat the whole command of that run with resume=ITS_FOLDER; what differs:{told}",
        )
    if is_main():
        print(f"taking over what is finished in {other}")
    return folder, other


def reopen(folder: Path, *, anew: bool) -> None:
    """Make of what a folder holds a training that goes on: its scores are made anew from its heads.

    Args:
        folder: The run folder.
        anew: Whether the heads are to be trained anew too.
    """
    with suppress(InputError):
        record = read_record(folder)
        if record.files:
            write_json(replace(record, files=None).to_json(), folder / files.RECORD)
    discard_parts(folder)
    (folder / files.SCORES).unlink(missing_ok=True)
    for place in [*files.bundles(folder), folder / CHECKPOINTS] if anew else ():
        shutil.rmtree(place, ignore_errors=True)
