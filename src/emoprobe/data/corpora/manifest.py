"""Manifests: a researcher's own corpus as CSV, TSV, JSONL, a spreadsheet or Parquet."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from emoprobe.data.corpora import register
from emoprobe.data.reading.files import Harvest, RowError, SoundFolder
from emoprobe.data.reading.identities import SoundFiles, settle
from emoprobe.data.reading.longform import (
    LongForm,
    RatingOptions,
    add_table,
    check_said,
    is_long,
    one_by_one,
    refuse_targets,
)
from emoprobe.data.reading.rows import RowReader
from emoprobe.data.reading.tables import Table, suffix_of
from emoprobe.data.reading.targets import Kind, Names, Targets, check_names, check_scales
from emoprobe.data.utterance import Corpus, CorpusCard
from emoprobe.errors import InputError
from emoprobe.labels import LabelSet
from emoprobe.system.garbage import nothing_to_collect

CARD = CorpusCard(
    name="manifest",
    title="Your own corpus (manifest)",
    synthetic=False,
    licence="as its owner says",
    access="a CSV, TSV, JSONL, Excel or Parquet file: dataset.path=FILE",
    citation="as its owner says",
    raters="as its owner says",
    splits="its column split",
)
SUFFIXES = (".csv", ".tsv", ".jsonl", ".xlsx", ".parquet")
_DUPLICATE = (
    "Give every utterance its own id; where a row is one rating, name the column of its rater, "
    "dataset.reader.rater_column; or keep the first: dataset.on_error=skip."
)


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
    ratings: str | Path | None = None,
    clip_column: str | None = None,
    rater_column: str | None = "rater",
    secondary_column: str | None = "secondary",
    weight_column: str | None = "weight",
    confidence_column: str | None = "confidence",
    time_column: str | None = "time",
    dimensions: Mapping[str, str] | Sequence[str] | None = None,
    scales: Mapping[str, Sequence[float]] | None = None,
    delimiter: str | None = None,
    encoding: str | None = None,
    sheet: str | None = None,
    ratings_sheet: str | None = None,
    path_base: str | None = None,
    labels: LabelSet | None = None,
    on_error: Literal["error", "skip"] = "error",
    name: str | None = None,
) -> Corpus:
    """Read a manifest: one row per utterance, with exactly one kind of target, or one row per rating.

    The kinds are vote counts, one word per rater, shares, and one label. Where no column of them is named, the default
    names decide; a label beside votes, ratings or shares is then taken for their summary and becomes metadata. All
    columns without another meaning become metadata. A column ``num_raters`` says how many raters there were; votes or
    shares that so many cannot have given are refused. Rows without any vote are read, and left to the soft-label
    policy. Where there is a rater's column and no such target but a label or a dimension, every row is one rating
    (`emoprobe.data.reading.longform`); or the ratings stand in a table of their own. What is no id, no words and no
    number of votes is told by `emoprobe.data.reading.fields`; ids that look alike and files that are there twice are
    refused (`emoprobe.data.reading.identities`).

    Args:
        path: The manifest; its suffix (.csv, .tsv, .jsonl, with or without .gz; .xlsx, .parquet) tells the format.
        root: Folder that audio paths are relative to, and below which absolute ones lead; the manifest's own by
            default. It may be a link, but no path may leave the folder that it leads to, by ``..`` or by links.
        path_column: Audio path; ``file:`` URLs and paths with backslashes are understood, and what was converted is
            found (``a.wav`` for ``a.mp4``), where one file alone may be meant.
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
        ratings: A table of ratings, in any of these formats; the manifest then says of clips what they are.
        clip_column: The column of that table which names a clip, by its id, path or file name; told by its name if
            None.
        rater_column: Rater of a row that is one rating; None where nobody knows who they are.
        secondary_column: Words that a rater named beside the label.
        weight_column: How much a rating counts beside the clip's others, 0 or more.
        confidence_column: How sure a rater was, 0 to 1.
        time_column: When a rating was given.
        dimensions: Columns of numbers, dimension -> column: of ratings ``valence``, ``arousal``, ``dominance`` and
            ``intensity``, where they are there, if None; of clips, where they are means over the raters or lists of the
            raters' numbers, those that ``scales`` names.
        scales: Dimension -> lowest and highest number that could be given.
        delimiter: Between cells of text; told by the header if None.
        encoding: Of text; UTF-8 if None, or UTF-16 or 32 where the first bytes say so.
        sheet: Of a spreadsheet; the only one that is not empty if None.
        ratings_sheet: Of a spreadsheet with the ratings, which may be the same.
        path_base: Folder of another computer with which the paths begin, and for which ``root`` stands.
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
    options = RatingOptions(
        rater_column,
        label_column,
        secondary_column,
        weight_column,
        confidence_column,
        time_column,
        dimensions,
        check_scales(scales),
    )
    table = Table(path, delimiter=delimiter, encoding=encoding, sheet=sheet)
    reader = RowReader(
        Targets(
            path, table, {kind: names for kind, names in asked.items() if names is not None}, scales=options.scales
        ),
        sound=SoundFolder(folder, suffixes=(), converted=True),
        path=path_column,
        id=id_column,
        speaker=speaker_column,
        split=split_column,
        transcript=transcript_column,
        dialogue=dialogue_column,
        base=path_base,
        labels=labels,
    )
    beside = None
    if ratings is not None:
        beside = Path(os.path.expanduser(ratings)).absolute()
        _check_table(beside, "dataset.ratings")
    with nothing_to_collect():
        _read(harvest, table, reader, options, beside is not None)
        if beside is not None:
            clips = list(harvest.utterances.values())
            harvest.utterances.clear()
            other = Table(beside, delimiter=delimiter, encoding=encoding, sheet=ratings_sheet)
            add_table(harvest, clips, reader, other, options, clip_column)
        corpus = harvest.corpus(path, remedy="Add a row per utterance.")
        reader.check_columns()
        return settle(corpus, speaker=speaker_column, utterance_id=id_column)


def _read(harvest: Harvest, table: Table, reader: RowReader, options: RatingOptions, only_clips: bool) -> None:
    """Take in the table of the clips: of clips alone, of clips with what was said of them, or of ratings."""
    files = SoundFiles()
    long: LongForm | None = None
    decided = False
    for row, fields in one_by_one(table, options):
        try:
            if isinstance(fields, RowError):
                raise fields
            if not decided:
                decided = True
                if only_clips:
                    refuse_targets(reader.targets, row, fields)
                elif is_long(fields, options, reader.targets, row):
                    columns = options.columns(reader.path, fields, table.free)
                    check_said(columns, fields, reader.targets, row)
                    long = LongForm(columns, reader.file, table)
                else:
                    reader.targets.dimensions = options.means
            if long is not None:
                if long.add(reader, row, fields):
                    files.add(long.last, field=reader.path, facts=list(fields))
                continue
            utterance = reader.clip(row, fields) if only_clips else reader.utterance(row, fields)
            if utterance.id not in harvest.utterances:
                files.add(utterance, field=reader.path, facts=list(fields))
            harvest.add(utterance, field=reader.id, remedy=_DUPLICATE)
        except RowError as error:
            told = {} if isinstance(fields, RowError) else fields
            harvest.refuse(str(told.get(reader.id) or told.get(reader.path) or ""), error)
    for utterance in long.utterances(harvest) if long is not None else ():
        with harvest.row(utterance.id):
            harvest.add(utterance, field=reader.id)


def _check_place(path: Path, folder: Path) -> None:
    _check_table(path, "dataset.path")
    if not os.path.isdir(folder):
        raise InputError("the root folder does not exist", file=folder, field="dataset.root", remedy="Check it.")


def _check_table(path: Path, option: str) -> None:
    if suffix_of(path) not in SUFFIXES:
        raise InputError(
            f"unknown manifest format {path.suffix!r}",
            file=path,
            field=option,
            remedy=f"Use one of {', '.join(SUFFIXES)}; spreadsheets can be saved as .xlsx or CSV.",
        )
    if not os.path.isfile(path):
        what = "this is a folder, not a manifest" if os.path.isdir(path) else "the manifest does not exist"
        raise InputError(what, file=path, field=option, remedy=f"Check {option}.")
