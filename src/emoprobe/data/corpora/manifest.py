"""Manifests: a researcher's own corpus as CSV, TSV, JSONL or Parquet."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

from emoprobe.data.corpora import register
from emoprobe.data.files import Harvest, RowError, SoundFolder, json_lines, table_rows, text_lines
from emoprobe.data.identities import SoundFiles, settle
from emoprobe.data.parquet import parquet_rows
from emoprobe.data.rows import Kind, Names, Row, RowReader, check_names, without_null
from emoprobe.data.utterance import Corpus, CorpusCard
from emoprobe.errors import InputError
from emoprobe.labels import LabelSet

CARD = CorpusCard(
    name="manifest",
    title="Your own corpus (manifest)",
    synthetic=False,
    licence="as its owner says",
    access="a CSV, TSV, JSONL or Parquet file: dataset.path=FILE",
    citation="as its owner says",
    raters="as its owner says",
    splits="its column split",
)
SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")
_SKIP = "Correct the row, or leave it out: dataset.on_error=skip."
_QUOTE = "Quote fields that hold the separator, or leave the row out: dataset.on_error=skip."
_CLOSE = "Close every quote, and double the quotes inside quoted fields."


@register("manifest", CARD)
def read_manifest(
    path: str | Path,
    root: str | Path | None = None,
    *,
    path_column: str = "path",
    id_column: str = "utterance_id",
    label_column: str | None = None,
    votes_columns: Names | None = None,
    ratings_column: str | None = None,
    distribution_columns: Names | None = None,
    speaker_column: str = "speaker",
    split_column: str = "split",
    transcript_column: str = "transcript",
    dialogue_column: str = "dialogue",
    labels: LabelSet | None = None,
    on_error: Literal["error", "skip"] = "error",
    name: str | None = None,
) -> Corpus:
    """Read a manifest: one row per utterance, with exactly one kind of target.

    The kinds are vote counts, one word per rater, shares, and one label. Where no column of them is named, the default
    names decide; a label beside votes, ratings or shares is then taken for their summary and becomes metadata. All
    columns without another meaning become metadata. A column ``num_raters`` says how many raters there were; votes or
    shares that so many cannot have given are refused. Rows without any vote are read, and left to the soft-label
    policy. What is no id, no words and no number of votes is told by `emoprobe.data.fields`; ids that look alike and
    files that are there twice are refused (`emoprobe.data.identities`).

    Args:
        path: The manifest; its suffix (.csv, .tsv, .jsonl, .parquet) tells the format. Text is UTF-8.
        root: Folder that audio paths are relative to; the manifest's own by default. It may be a link, but no path may
            leave the folder that it leads to, by ``..`` or by links.
        path_column: Audio path.
        id_column: Utterance id; the path without its suffix where there is no such column or value.
        label_column: One label per clip; default ``label`` or ``emotion``.
        votes_columns: Vote counts: columns, or emotion word -> column; default ``votes_WORD``, or in JSONL and Parquet
            an object ``votes`` of counts by word.
        ratings_column: One word per rater: a list, or words separated by ``;``; default ``ratings``.
        distribution_columns: Shares that sum to 1: columns, or emotion word -> column; default ``p_WORD``, or in JSONL
            and Parquet an object ``distribution``.
        speaker_column: Speaker id.
        split_column: Split name.
        transcript_column: Words spoken.
        dialogue_column: Text of the previous turns, as it should be shown to a model; it may have several lines.
        labels: Refuse emotion words that this label set does not know; None leaves them to the soft-label policy.
        on_error: ``error``, or ``skip`` to list bad rows and go on.
        name: Name of the corpus; the manifest's file name by default.

    Raises:
        InputError: The manifest or a row is malformed; it names file, row (the header is row 1; of JSONL the line; of
            Parquet the first row is row 1), field and remedy.
    """
    # os.path.expanduser, unlike Path.expanduser, does not raise where a user is unknown.
    path = Path(os.path.expanduser(path)).absolute()
    folder = Path(os.path.expanduser(root)).absolute() if root else path.parent
    harvest = Harvest(
        replace(CARD, name=name or path.stem, title=f"{name or path.stem} (manifest)", access=path.name), on_error
    )
    _check_place(path, folder)
    asked: dict[Kind, Names | str | None] = {
        "votes": check_names(votes_columns, "votes_columns"),
        "ratings": ratings_column,
        "distribution": check_names(distribution_columns, "distribution_columns"),
        "label": label_column,
    }
    reader = RowReader(
        file=path,
        sound=SoundFolder(folder, suffixes=()),
        path=path_column,
        id=id_column,
        speaker=speaker_column,
        split=split_column,
        transcript=transcript_column,
        dialogue=dialogue_column,
        asked={kind: names for kind, names in asked.items() if names is not None},
        labels=labels,
    )
    duplicate = "Give every utterance its own id, or keep the first: dataset.on_error=skip."
    files = SoundFiles()
    for row, fields in _rows(path):
        with harvest.row(
            "" if isinstance(fields, RowError) else str(fields.get(id_column) or fields.get(path_column) or "")
        ):
            if isinstance(fields, RowError):
                raise fields
            utterance = reader.utterance(row, fields)
            if utterance.id not in harvest.utterances:
                files.add(utterance, field=path_column, facts=list(fields))
            harvest.add(utterance, field=id_column, remedy=duplicate)
    corpus = harvest.corpus(path, remedy="Add a row per utterance.")
    reader.check_columns()
    return settle(corpus, speaker=speaker_column, utterance_id=id_column)


def _check_place(path: Path, folder: Path) -> None:
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(
            f"unknown manifest format {path.suffix!r}",
            file=path,
            field="dataset.path",
            remedy=f"Use one of {', '.join(SUFFIXES)}.",
        )
    if not os.path.isfile(path):
        what = "this is a folder, not a manifest" if os.path.isdir(path) else "the manifest does not exist"
        raise InputError(what, file=path, field="dataset.path", remedy="Check dataset.path.")
    if not os.path.isdir(folder):
        raise InputError("the root folder does not exist", file=folder, field="dataset.root", remedy="Check it.")


def _rows(path: Path) -> Iterator[tuple[int, Row | RowError]]:
    """``(row, fields)`` with rows as a person counts them; a bad row comes as its error, so that it can be skipped."""
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        for row, fields in parquet_rows(path, remedy="Write it again."):
            yield row, {column: without_null(value) for column, value in fields.items()}
        return
    # All of the text is read before any row of it: another encoding explains whatever else is wrong.
    lines = text_lines(path, remedy="Save the file as UTF-8, where it may be read.")
    if not sum(bool(line.strip()) for _, line in lines):
        raise InputError("the manifest is empty", file=path, remedy="Add a header and a row per utterance.")
    if suffix == ".jsonl":
        yield from json_lines(path, row_remedy=_SKIP)
    else:
        delimiter = "\t" if suffix == ".tsv" else ","
        yield from table_rows(path, delimiter=delimiter, unique=True, remedy=_CLOSE, row_remedy=_QUOTE)
