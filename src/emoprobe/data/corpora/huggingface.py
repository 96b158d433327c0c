"""Any data set in the forms of the Hugging Face hub: Parquet, Arrow, JSONL or CSV files, their columns named by hand.

Tables are read as tables: no loading script is run, and nothing is unpickled.
"""

from __future__ import annotations

import fnmatch
import hashlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, NoReturn, TypeAlias

from emoprobe.data.corpora import register
from emoprobe.data.fields import is_blank, known
from emoprobe.data.files import Harvest, RowError, SoundFolder, json_lines, table_rows
from emoprobe.data.identities import SoundFiles, settle
from emoprobe.data.parquet import arrow_rows, class_names, parquet_rows, store_sound
from emoprobe.data.rows import LABEL_COLUMNS, Kind, Names, Row, RowReader, check_names, without_null
from emoprobe.data.utterance import Corpus, CorpusCard, Utterance
from emoprobe.errors import InputError

CARD = CorpusCard(
    name="huggingface",
    title="Hugging Face data set",
    synthetic=False,
    licence="as its owner says",
    access="https://huggingface.co/datasets",
    citation="as its owner says",
    raters="as its owner says",
    splits="as its files are named",
)
Patterns: TypeAlias = str | Sequence[str]

SUFFIXES = (".parquet", ".arrow", ".jsonl", ".csv", ".tsv")
SPLITS = ("train", "training", "validation", "valid", "val", "dev", "development", "test", "testing", "eval")
_SHARD = re.compile(r"(.+?)[-_]\d{4,}(-of-\d{4,}(-[0-9a-f]{16})?)?", re.ASCII)
_SKIP = "Correct the row, or leave it out: dataset.on_error=skip."


@register("huggingface", CARD)
def read_huggingface(
    path: str | Path | None = None,
    hub: str | None = None,
    revision: str | None = None,
    files: str | Sequence[str] | Mapping[str, str | Sequence[str]] | None = None,
    root: str | Path | None = None,
    *,
    audio_column: str = "audio",
    id_column: str = "id",
    label_column: str | None = None,
    label_names: Sequence[str] | None = None,
    votes_columns: Names | None = None,
    ratings_column: str | None = None,
    distribution_columns: Names | None = None,
    speaker_column: str = "speaker",
    split_column: str = "split",
    transcript_column: str = "transcript",
    dialogue_column: str = "dialogue",
    cache_dir: str | Path | None = None,
    on_error: Literal["error", "skip"] = "error",
    name: str | None = None,
) -> Corpus:
    """Read a data set by the names of its columns, which mean what they mean in `read_manifest`.

    Args:
        path: A file, or a folder of Parquet, Arrow (as ``datasets`` saves to disk), JSONL or CSV files; of several
            kinds in one folder, the first named here is read.
        hub: Instead, ``owner/name`` of a data set on the hub; its Parquet files are downloaded once.
        revision: Branch, tag or commit on the hub; ``refs/convert/parquet`` has what the hub itself converted.
        files: Patterns of files below the folder: one, several, or split name -> pattern or patterns; all files if
            None, their split told by the names of files and folders.
        root: Folder that paths of sound are relative to; the data set's folder if None.
        audio_column: Path of the sound (relative to its table's folder, or to ``root``), or sound that stands in the
            table as ``{bytes, path}`` and is written to the cache once.
        id_column: Utterance id; the sound's path without suffix, or its checksum, where there is none.
        label_column: One label per clip, a word or a number; default ``label`` or ``emotion``.
        label_names: Words of labels that are numbers, from 0; as the file itself notes them if None. -1 is no label.
        votes_columns: Vote counts.
        ratings_column: One word, or number of a word, per rater.
        distribution_columns: Shares that sum to 1.
        speaker_column: Speaker id.
        split_column: Split name; goes before the one that a file's name tells.
        transcript_column: Words spoken.
        dialogue_column: Text of the previous turns.
        cache_dir: Cache folder for sound; see `emoprobe.system.cache.cache_folder`.
        on_error: ``error``, or ``skip`` to list bad rows and go on.
        name: Name of the corpus; the folder's or the hub's name by default.

    Raises:
        InputError: The data set cannot be had, a file is damaged, or a row is malformed.
    """
    harvest = Harvest(CARD, on_error)
    place = _place(path, hub, revision)
    title = name or (hub if hub is not None else place.stem)
    harvest.card = replace(CARD, name=title, title=f"{title} (Hugging Face)", access=hub or place.name)
    tables = _tables(place, files)
    names = _check_label_names(label_names)
    asked: dict[Kind, Names | str | None] = {
        "votes": check_names(votes_columns, "votes_columns"),
        "ratings": ratings_column,
        "distribution": check_names(distribution_columns, "distribution_columns"),
        "label": label_column,
    }
    sound = SoundFolder(_sound_root(root, place if os.path.isdir(place) else place.parent), suffixes=())
    make_reader = partial(
        RowReader,
        sound=sound,
        path=audio_column,
        id=id_column,
        speaker=speaker_column,
        split=split_column,
        transcript=transcript_column,
        dialogue=dialogue_column,
        asked={kind: columns for kind, columns in asked.items() if columns is not None},
        labels=None,
        there=set(),
    )
    words = (*([label_column] if label_column else LABEL_COLUMNS), ratings_column or "ratings")
    files_of = SoundFiles()
    for file, split in tables.items():
        rows = _Rows(file, sound, audio_column, split_column, split, words, names, cache_dir)
        reader = make_reader(file=file)
        _add_rows(harvest, rows, reader, files_of)
    corpus = harvest.corpus(next(iter(tables)))
    reader.check_columns()
    return settle(corpus, speaker=speaker_column, utterance_id=id_column)


def _add_rows(harvest: Harvest, rows: _Rows, reader: RowReader, files_of: SoundFiles) -> None:
    """Take in one table."""
    for row, fields in rows:
        with harvest.row("" if isinstance(fields, RowError) else str(fields.get(reader.id) or "")):
            if isinstance(fields, RowError):
                raise fields
            utterance = rows.utterance(reader, row, fields)
            # Sound within a table is stored by its content: the same bytes may be two recordings' published defect.
            if utterance.id not in harvest.utterances and not rows.stored:
                files_of.add(utterance, field=reader.path, facts=list(fields))
            harvest.add(utterance, field=reader.id, remedy=_SKIP)


@dataclass
class _Rows:
    """The rows of one table as `read_manifest` knows them, and their sound."""

    file: Path
    sound: SoundFolder
    audio_column: str
    split_column: str
    split: str | None
    words: Sequence[str]  # columns that may hold numbers of words
    label_names: Sequence[str] | None
    cache_dir: str | Path | None
    noted: Mapping[str, Sequence[str]] = field(default_factory=dict)
    stored: bool = False  # whether the last row's sound stood in the table

    def __iter__(self) -> Iterator[tuple[int, Row | RowError]]:
        suffix = self.file.suffix.lower()
        if suffix in (".parquet", ".arrow"):
            self.noted = class_names(self.file)
            for row, fields in parquet_rows(self.file) if suffix == ".parquet" else arrow_rows(self.file):
                yield row, {column: without_null(value) for column, value in fields.items()}
        elif suffix == ".jsonl":
            yield from json_lines(self.file)
        else:
            yield from table_rows(self.file, delimiter="\t" if suffix == ".tsv" else ",", unique=True)

    def utterance(self, reader: RowReader, row: int, read: Row) -> Utterance:
        fields = dict(read)
        content, name = self._audio(row, fields)
        self.stored = content is not None
        numbers: dict[str, int] = {}
        # A class among the other columns is a word too; as a number, -1 would be one person, whom nobody knows.
        classes = [column for column in (reader.speaker, reader.split) if column in self.noted]
        for column in (*self.words, *classes):
            if column in fields:
                fields[column] = self._in_words(row, column, fields[column], numbers)
        given = fields.get(self.split_column)
        if self.split is not None and (is_blank(given) or (isinstance(given, str) and known(given) is None)):
            fields[self.split_column] = self.split
        # Other sound or pictures in the table are no facts to keep.
        fields = {column: value for column, value in fields.items() if not _has_bytes(value)}
        utterance = reader.utterance(row, fields)
        for column in reader.target.columns if reader.target else ():
            if column in numbers:
                remedy = "Say what the numbers mean: dataset.label_names=[WORD,WORD,...]."
                self._fail(row, column, f"the label {numbers[column]!s:.20} is a number without a word", remedy)
        if content is None:
            return utterance
        return replace(utterance, audio=store_sound(content, name, cache_dir=self.cache_dir))

    def _audio(self, row: int, fields: dict[str, object]) -> tuple[bytes | None, str]:
        """The sound that stands in the row and its name; the field is left with a path."""
        value = fields.get(self.audio_column)
        content = None
        if isinstance(value, dict):
            content, value = value.get("bytes"), value.get("path")
        elif isinstance(value, bytes):
            content, value = value, None
        if content is not None and not isinstance(content, bytes):
            self._fail(row, self.audio_column, f"{content!r:.80} is not sound")
        if value is not None and not isinstance(value, str):
            self._fail(row, self.audio_column, f"{value!r:.80} is neither a path nor sound with its path")
        path = (value or "").strip()
        if content:
            # Its name alone: the path need not lead anywhere.
            name = re.split(r"[/\\]", path)[-1] or hashlib.sha256(content).hexdigest()[:16]
            fields[self.audio_column] = name
            return content, name
        if self.audio_column in fields:
            fields[self.audio_column] = self._beside(path)
        return None, ""

    def _beside(self, path: str) -> str:
        """A path relative to the root of the sound, where it was relative to the table."""
        if path and not os.path.isabs(path):
            beside = os.path.relpath(os.path.join(self.file.parent, path), self.sound.root)
            try:
                if os.path.exists(self.sound.root / beside) and not beside.startswith(os.pardir):
                    return beside
            except ValueError:
                pass  # the reader says what is wrong with it
        return path

    def _in_words(self, row: int, column: str, value: object, numbers: dict[str, int]) -> object:
        """Numbers of labels as words; those that nobody has named go to ``numbers``."""
        if isinstance(value, list):
            return [self._in_words(row, column, item, numbers) for item in value]
        names = (self.label_names if column in self.words else None) or self.noted.get(column)
        # A table with gaps makes floats of whole numbers.
        number = int(value) if isinstance(value, float) and value.is_integer() else value
        if names and isinstance(value, str) and re.fullmatch(r"-?\d{1,4}", value.strip(), re.ASCII):
            number = int(value)
        if not isinstance(number, int) or isinstance(number, bool):
            return value
        if number == -1:
            return None
        if not names:
            numbers[column] = number
            return str(number) if abs(number) < 10**9 else None
        if not 0 <= number < len(names):
            self._fail(row, column, f"the label {number!s:.20} is none of the {len(names)} there are")
        return names[number]

    def _fail(self, row: int, column: str, what: str, remedy: str = _SKIP) -> NoReturn:
        raise RowError(what, file=self.file, row=row, field=column, remedy=remedy)


def _has_bytes(value: object) -> bool:
    if isinstance(value, dict):
        return any(_has_bytes(item) for item in value.values())
    return isinstance(value, (bytes, bytearray))


def _place(path: str | Path | None, hub: str | None, revision: str | None) -> Path:
    """The file or folder of a data set, here or on the hub."""
    if hub is not None and path is None:
        return _download(hub, revision)
    if path is None or hub is not None:
        what = "a folder or file, or else a name on the hub, must be given"
        raise InputError(what, field="dataset.path", remedy="Give dataset.path or dataset.hub.")
    return _local(path)


def _local(path: str | Path) -> Path:
    try:
        place = Path(os.path.expanduser(path)).absolute()
        found = os.path.exists(place)
    except (ValueError, TypeError) as error:
        what = f"{path!r:.80} is no path: {error}"
        raise InputError(what, field="dataset.path", remedy="Correct it.") from None
    if not found:
        raise InputError("there is no such file or folder", file=place, field="dataset.path", remedy="Correct it.")
    return place


def _download(hub: str, revision: str | None) -> Path:
    """The hub's snapshot of a data set's Parquet files, from the cache of huggingface_hub where it is there."""
    from huggingface_hub import snapshot_download

    try:
        folder = snapshot_download(hub, repo_type="dataset", revision=revision, allow_patterns=["*.parquet"])
    except Exception as error:  # of its own, of the network, of the disk
        raise InputError(
            f"{hub!r:.80} cannot be had from the hub: {type(error).__name__}, {error!s:.300}".rstrip(". \n"),
            field="dataset.hub",
            remedy="Check the name, the revision and the network, or give a local folder: dataset.path.",
        ) from None
    return Path(folder)


def _sound_root(root: str | Path | None, top: Path) -> Path:
    if root is None:
        return top
    folder = Path(os.path.expanduser(root)).absolute()
    if not os.path.isdir(folder):
        raise InputError("the root folder does not exist", file=folder, field="dataset.root", remedy="Check it.")
    return folder


def _check_label_names(names: Sequence[str] | None) -> list[str] | None:
    if names is None:
        return None
    if isinstance(names, str) or not isinstance(names, Sequence) or not names:
        raise InputError(f"{names!r:.80} is not a list of words", field="dataset.label_names", remedy="Use [WORD,...].")
    return [str(word) for word in names]


def _tables(place: Path, files: Patterns | Mapping[str, Patterns] | None) -> dict[Path, str | None]:
    """Table -> split, as far as it is told."""
    if not os.path.isdir(place):
        if place.suffix.lower() not in SUFFIXES:
            what = f"unknown kind of table {place.suffix!r}"
            raise InputError(what, file=place, field="dataset.path", remedy=f"Use one of {', '.join(SUFFIXES)}.")
        return {place: _told_split(place, place.parent)}
    there = sorted(
        Path(folder) / name
        for folder, _, names in os.walk(place)
        for name in names
        # datasets keeps intermediate results beside what it has saved.
        if name.lower().endswith(SUFFIXES) and not name.startswith((".", "cache-"))
    )
    if files is None or files in ({}, []):
        kinds = {file.suffix.lower() for file in there}
        kind = next((suffix for suffix in SUFFIXES if suffix in kinds), None)
        chosen = {file: _told_split(file, place) for file in there if file.suffix.lower() == kind}
    else:
        chosen = _by_pattern(place, there, files)
    if not chosen:
        raise InputError(
            f"the folder has no file of {', '.join(SUFFIXES)}",
            file=place,
            field="dataset.path",
            remedy="Give a folder of tables. Data sets made by a loading script may be had in Parquet from the hub: "
            "dataset.revision=refs/convert/parquet.",
        )
    return chosen


def _by_pattern(place: Path, there: Sequence[Path], files: Patterns | Mapping[str, Patterns]) -> dict[Path, str | None]:
    groups: Mapping[Any, Patterns] = files if isinstance(files, Mapping) else {None: files}
    chosen: dict[Path, str | None] = {}
    for split, patterns in groups.items():
        for pattern in [patterns] if isinstance(patterns, str) else patterns or []:
            found = [file for file in there if fnmatch.fnmatchcase(file.relative_to(place).as_posix(), str(pattern))]
            if not found:
                names = ", ".join(file.relative_to(place).as_posix() for file in there[:5])
                what = f"no table matches {pattern!r:.80}"
                raise InputError(what, file=place, field="dataset.files", remedy=f"There are {names or 'none'}.")
            for file in found:
                if file in chosen and chosen[file] != split:
                    raise InputError(
                        f"it is in the splits {chosen[file]!r:.80} and {split!r:.80}",
                        file=file,
                        field="dataset.files",
                        remedy="Let every table be in one split.",
                    )
                chosen[file] = _told_split(file, place) if split is None else str(split)
    return chosen


def _told_split(file: Path, top: Path) -> str | None:
    """The split that a file's name tells, or else its folder's: ``train-00000-of-00002.parquet``."""
    shard = _SHARD.fullmatch(file.stem)
    folders = [] if file.parent == top else [file.parent.name]
    for told in (shard[1] if shard else file.stem, *folders):
        if told.lower() in SPLITS:
            return told.lower()
    return None
