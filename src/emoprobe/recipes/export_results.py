"""A finished run told to others: what a leaderboard may show, in the format that it reads."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from emoprobe.errors import InputError
from emoprobe.report.exports import EXPORTS, Export
from emoprobe.run.cell import Cell, read_choice, saw_its_votes
from emoprobe.system.output import write_text

if TYPE_CHECKING:
    from emoprobe.run.folder import RunFolder

REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
FINGERPRINT = re.compile("[0-9a-f]{64}")
"""Revision of what was loaded from a folder, see `emoprobe.models.weights`; those of the hub have 40 digits."""


def export_results(
    folder: Path,
    output: Path,
    form: str,
    *,
    cells: Sequence[str] = (),
    metrics: Sequence[str] = (),
    model_id: str | None = None,
    dataset_id: str | None = None,
    task_id: str | None = None,
    organization: str = "unknown",
    relationship: str = "other",
) -> list[Path]:
    """Write the results of a run in a format of others.

    Args:
        folder: The run, or a later analysis inside one.
        output: Folder to write to.
        form: Name of the format.
        cells: Choices ``KEY=VALUE,...`` of readouts; all but single layers where there is none. One that was fitted on
            the votes it is judged by is always left out.
        metrics: Names of metrics; those that the format usually shows where there is none.
        model_id: The model's public name; that of the record by default.
        dataset_id: The corpus's repository on the Hugging Face hub.
        task_id: The benchmark's name of the one metric.
        organization: Who ran it.
        relationship: What that one is to the model's makers.

    Returns:
        The files written.

    Raises:
        InputError: The run is damaged, unfinished or a part, a name is missing or wrong, or nothing is left to tell.
    """
    from emoprobe.run.folder import open_folder

    write = EXPORTS.find(form, "--format")
    run = open_folder(folder)
    rows = _rows(run, cells)
    if run.record.part:
        what = f"this is part {run.record.part} of a run, and no result of the corpus"
        raise InputError(what, file=folder, remedy="Join the parts with emoprobe merge, and export what that gives.")
    unknown = [name for name in metrics if name not in run.definitions]
    if unknown:
        remedy = f"Use some of {', '.join(run.definitions)}."
        raise InputError(f"the run has no metric {unknown[0]!r}", field="--metric", remedy=remedy)
    if task_id is not None and len(metrics) != 1:
        raise InputError("a task is one metric", field="--task-id", remedy="Give exactly one --metric with it.")
    if dataset_id is not None:
        _check_repository(dataset_id, "--dataset-id")
    export = Export(
        run=run,
        rows=rows,
        metrics=list(dict.fromkeys(metrics)) or None,
        model_id=_model_id(run, model_id),
        dataset_id=dataset_id,
        task_id=task_id,
        organization=organization,
        relationship=relationship,
    )
    files = []
    for name, text in write(export).items():
        file = output / name
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(text, file)
        files.append(file)
    if not files:
        raise InputError("no chosen metric has a number", file=folder, remedy="Choose others with --metric or --cells.")
    return files


def _rows(run: RunFolder, cells: Sequence[str]) -> list[dict]:
    """The readouts to be told."""
    from emoprobe.report.tables import split_layers

    choices = [read_choice(text, "--cells") for text in cells]
    readouts = [row for row in run.rows if row["kind"] == "readout" and row["metrics"]]
    if choices:
        chosen = [row for row in readouts if any(Cell.of(row).fits(choice) for choice in choices)]
    else:
        chosen = split_layers(readouts)[0]
    honest = [row for row in chosen if not saw_its_votes(row["fitted_on"])]
    if len(honest) < len(chosen):
        count = len(chosen) - len(honest)
        print(f"note: {count} left out, fitted on the votes that they would be judged by")
    if not honest:
        found = "; ".join(str(Cell.of(row)) for row in readouts)
        remedy = f"Choose others with --cells KEY=VALUE,...; found: {found or 'none'}."
        raise InputError("there is no readout to export", file=run.folder, remedy=remedy)
    return honest


def _model_id(run: RunFolder, given: str | None) -> str:
    """The public name of the model: a folder on this machine is none, nor is what was trained on top of another."""
    if given is not None:
        _check_repository(given, "--model-id")
        return given
    record, model = run.record, run.config.get("model") if run.config is not None else None
    remedy = "Give --model-id OWNER/MODEL, the name under which it is, or will be, found."
    if record.head is not None or record.fusion is not None:
        what = f"{'a trained head' if record.head is not None else 'a fusion'} is not the model {record.model.name}"
        raise InputError(f"{what}, and needs a name of its own", field="--model-id", remedy=remedy)
    local = FINGERPRINT.fullmatch(record.model.revision) or (model is not None and model.get("path") is not None)
    if local or not REPOSITORY.fullmatch(record.model.name) or Path(record.model.name).exists():
        what = f"{record.model.name} is no public name of a model"
        raise InputError(what, field="--model-id", remedy=remedy)
    return record.model.name


def _check_repository(name: str, field: str) -> None:
    if not REPOSITORY.fullmatch(name):
        raise InputError(f"{name!r} is no name of a repository", field=field, remedy="Give OWNER/NAME.")
