"""Any data set in the forms of the Hugging Face hub: Parquet, Arrow, JSONL or CSV files, their columns named by hand.

Tables are read as tables: no loading script is run, and nothing is unpickled.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, NamedTuple, NoReturn

from emoprobe.data.corpora import register
from emoprobe.data.reading.fields import is_blank, known
from emoprobe.data.reading.files import Harvest, RowError, SoundFolder
from emoprobe.data.reading.hub_files import place_of, sound_root, tables_of
from emoprobe.data.reading.identities import SoundFiles, called_after_sound, settle
from emoprobe.data.reading.longform import (
    LongForm,
    RatingOptions,
    add_table,
    check_said,
    is_long,
    one_by_one,
    refuse_targets,
)
from emoprobe.data.reading.parquet import class_names, store_sound
from emoprobe.data.reading.rows import RowReader
from emoprobe.data.reading.tables import SKIP_ROW, Table
from emoprobe.data.reading.targets import LABEL_COLUMNS, Kind, Names, Row, Targets, check_names, check_scales
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
    path_base: str | None = None,
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
        id_column: Utterance id; the sound's path without suffix, or its checksum, where there is none. Where names of
            sound within the tables are there twice, they are told apart by their split, else by their whole path, else
            by the sound.
        label_column: One label per clip, a word or a number; default ``label`` or ``emotion``.
        label_names: Words of labels that are numbers, from 0; as the file itself notes them if None. -1 is no label.
        votes_columns: Vote counts.
        ratings_column: One word, or number of a word, per rater.
        distribution_columns: Shares that sum to 1.
        speaker_column: Speaker id.
        split_column: Split name; goes before the one that a file's name tells.
        transcript_column: Words spoken.
        dialogue_column: Text of the previous turns.
        ratings: A table of ratings; the other tables then say of clips what they are.
        clip_column: The column of that table which names a clip.
        rater_column: Rater of a row that is one rating.
        secondary_column: Words that a rater named beside the label.
        weight_column: How much a rating counts.
        confidence_column: How sure a rater was.
        time_column: When a rating was given.
        dimensions: Dimension -> column of numbers.
        scales: Dimension -> lowest and highest number.
        delimiter: Between cells of text.
        encoding: Of text.
        path_base: Folder of another computer with which the paths begin.
        cache_dir: Cache folder for sound; see `emoprobe.system.cache.cache_folder`.
        on_error: ``error``, or ``skip`` to list bad rows and go on.
        name: Name of the corpus; the folder's or the hub's name by default.

    Raises:
        InputError: The data set cannot be had, a file is damaged, or a row is malformed.
    """
    harvest = Harvest(CARD, on_error)
    place = place_of(path, hub, revision)
    title = name or (hub if hub is not None else place.stem)
    harvest.card = replace(CARD, name=title, title=f"{title} (Hugging Face)", access=hub or place.name)
    tables = tables_of(place, files)
    names = _check_label_names(label_names)
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
    top = sound_root(root, place if os.path.isdir(place) else place.parent)
    sound, there = SoundFolder(top, suffixes=(), converted=True), set[str]()
    words = (*([label_column] if label_column else LABEL_COLUMNS), ratings_column or "ratings", secondary_column or "")
    gathered = _Gathered(harvest, options, only_clips=ratings is not None)
    for file, split in tables.items():
        table = Table(file, delimiter=delimiter, encoding=encoding)
        reader = RowReader(
            Targets(file, table, {kind: of for kind, of in asked.items() if of is not None}, scales=options.scales),
            sound,
            path=audio_column,
            id=id_column,
            speaker=speaker_column,
            split=split_column,
            transcript=transcript_column,
            dialogue=dialogue_column,
            base=path_base,
            there=there,
        )
        gathered.read(_Rows(table, reader, split, words, rater_column, names, cache_dir))
    clips = gathered.utterances()
    if ratings is not None:
        other = Table(place_of(ratings, None, None), delimiter=delimiter, encoding=encoding)
        add_table(harvest, clips, reader, other, options, clip_column)
    else:
        for utterance in clips:
            with harvest.row(utterance.id):
                harvest.add(utterance, field=id_column, remedy=SKIP_ROW)
    corpus = harvest.corpus(next(iter(tables)))
    reader.check_columns()
    return settle(corpus, speaker=speaker_column, utterance_id=id_column)


class _Sound(NamedTuple):
    """Sound that stands in a row: its bytes, and the path that is written beside them."""

    content: bytes
    path: str


class _Gathered:
    """The utterances of all tables, before those that are called after sound within the tables have their ids."""

    def __init__(self, harvest: Harvest, options: RatingOptions, only_clips: bool) -> None:
        self.harvest, self.options, self.only_clips = harvest, options, only_clips
        self._files = SoundFiles()
        self._ids: set[str] = set()
        self._all: list[tuple[Utterance, str | None]] = []  # with the path of the sound after which it is called
        self._long: LongForm | None = None
        self._inner: dict[str, str] = {}  # of a clip in long form

    def read(self, rows: _Rows) -> None:
        """Take in one table."""
        reader = rows.reader
        decided = False
        for row, read in one_by_one(rows.table, self.options):
            with self.harvest.row("" if isinstance(read, RowError) else str(read.get(reader.id) or "")):
                if isinstance(read, RowError):
                    raise read
                if not decided:
                    decided = True
                    self._decide(reader, row, read)
                fields, sound = rows.fields(row, read)
                if self._long is not None:
                    self._rating(self._long, rows, row, fields, sound)
                    continue
                utterance = reader.clip(row, fields) if self.only_clips else reader.utterance(row, fields)
                rows.check_numbers(row)
                inner = None
                if sound is not None:
                    utterance = replace(utterance, audio=store_sound(*sound, cache_dir=rows.cache_dir))
                    # Sound within a table is stored by its content: the same bytes may be two recordings' published
                    # defect.
                    inner = None if reader.named(row, fields) else sound.path
                elif utterance.id not in self._ids:
                    self._files.add(utterance, field=reader.path, facts=list(fields))
                self._ids.add(utterance.id)
                self._all.append((utterance, inner))

    def _decide(self, reader: RowReader, row: int, fields: Row) -> None:
        """What the rows of a table are."""
        if self.only_clips:
            refuse_targets(reader.targets, row, fields)
            return
        long = is_long(fields, self.options, reader.targets, row)
        if not long:
            reader.targets.dimensions = self.options.means
        if long != (self._long is not None) and (self._all or self._long is not None):
            what = "the rows are one rating each here, and one clip each in the tables before, or the other way round"
            raise InputError(what, file=reader.file, field="dataset.files", remedy="Read tables of one kind.")
        if long:
            columns = self.options.columns(reader.path, fields, reader.targets.table.free)
            check_said(columns, fields, reader.targets, row)
            self._long = self._long or LongForm(columns, reader.file, reader.targets.table)

    def _rating(self, long: LongForm, rows: _Rows, row: int, fields: Row, sound: _Sound | None) -> None:
        reader = rows.reader
        name = None
        if sound is not None and not reader.named(row, fields):
            # Sound of one name in two splits is two clips.
            name = f"{fields.get(reader.split)}/{sound.path}/{hashlib.sha256(sound.content).hexdigest()}"
        new = long.add(reader, row, fields, name)
        rows.check_numbers(row)
        if not new:
            return
        if sound is None:
            self._files.add(long.last, field=reader.path, facts=list(fields))
            return
        stored = store_sound(*sound, cache_dir=rows.cache_dir)
        long.clips[long.last.id] = replace(long.last, audio=stored)
        if name is not None:
            self._inner[name] = sound.path

    def utterances(self) -> list[Utterance]:
        """All of them, with ids that tell them apart as far as they can be told."""
        for utterance in self._long.utterances(self.harvest) if self._long is not None else ():
            self._all.append((utterance, self._inner.get(utterance.id)))
        return called_after_sound(self._all)


@dataclass
class _Rows:
    """The rows of one table as `read_manifest` knows them, and their sound."""

    table: Table
    reader: RowReader
    split: str | None
    words: Sequence[str]  # columns that may hold numbers of words
    rater: str | None
    label_names: Sequence[str] | None
    cache_dir: str | Path | None
    noted: Mapping[str, Sequence[str]] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)  # of labels, in the last row, that nobody has named

    def __post_init__(self) -> None:
        self.noted = class_names(self.table.file) if self.table.suffix in (".parquet", ".arrow") else {}

    def fields(self, row: int, read: Row) -> tuple[Row, _Sound | None]:
        """A row with words for numbers, its split, and the path of its sound or else the sound."""
        reader, fields = self.reader, dict(read)
        sound = self._audio(row, fields)
        self.numbers = {}
        # A class among the other columns is a word too; as a number, -1 would be one person, whom nobody knows.
        classes = [column for column in (reader.speaker, reader.split) if column in self.noted]
        for column in (*self.words, *classes):
            if column in fields:
                fields[column] = self._in_words(row, column, fields[column])
        given = fields.get(reader.split)
        if self.split is not None and (is_blank(given) or (isinstance(given, str) and known(given) is None)):
            fields[reader.split] = self.split
        # Other sound or pictures in the table are no facts to keep; bytes of ids and words are text.
        text = {*reader.own, *self.words, self.rater}
        return {name: value for name, value in fields.items() if name in text or not _has_bytes(value)}, sound

    def check_numbers(self, row: int) -> None:
        """Refuse a label that is a number without a word."""
        target, long = self.reader.targets.target, self.reader.targets.target is None
        for column in self.words if long else target.columns if target else ():
            if column in self.numbers:
                remedy = "Say what the numbers mean: dataset.label_names=[WORD,WORD,...]."
                self._fail(row, column, f"the label {self.numbers[column]!s:.20} is a number without a word", remedy)

    def _audio(self, row: int, fields: dict[str, object]) -> _Sound | None:
        """The sound that stands in the row and its name; the field is left with a path."""
        column = self.reader.path
        value = fields.get(column)
        content = None
        if isinstance(value, dict):
            content, value = value.get("bytes"), value.get("path")
        elif isinstance(value, bytes):
            content, value = value, None
        if content is not None and not isinstance(content, bytes):
            self._fail(row, column, f"{content!r:.80} is not sound")
        if value is not None and not isinstance(value, str):
            self._fail(row, column, f"{value!r:.80} is neither a path nor sound with its path")
        path = (value or "").strip()
        if content:
            # Its name alone: the path need not lead anywhere.
            fields[column] = re.split(r"[/\\]", path)[-1] or hashlib.sha256(content).hexdigest()[:16]
            return _Sound(content, path)
        if column in fields:
            fields[column] = self._beside(path)
        return None

    def _beside(self, path: str) -> str:
        """A path relative to the root of the sound, where it was relative to the table."""
        root = self.reader.sound.root
        try:
            local = self.reader.local(path)
            if path and not os.path.isabs(local):
                beside = os.path.relpath(os.path.join(self.table.file.parent, local), root)
                if os.path.exists(root / beside) and not beside.startswith(os.pardir):
                    return beside
        except ValueError:
            pass  # the reader says what is wrong with it
        return path

    def _in_words(self, row: int, column: str, value: object) -> object:
        """Numbers of labels as words."""
        if isinstance(value, list):
            return [self._in_words(row, column, item) for item in value]
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
            self.numbers[column] = number
            return str(number) if abs(number) < 10**9 else None
        if not 0 <= number < len(names):
            self._fail(row, column, f"the label {number!s:.20} is none of the {len(names)} there are")
        return names[number]

    def _fail(self, row: int, column: str, what: str, remedy: str = SKIP_ROW) -> NoReturn:
        raise RowError(what, file=self.table.file, row=row, field=column, remedy=remedy)


def _has_bytes(value: object) -> bool:
    if isinstance(value, dict):
        return any(_has_bytes(item) for item in value.values())
    return isinstance(value, (bytes, bytearray))


def _check_label_names(names: Sequence[str] | None) -> list[str] | None:
    if names is None:
        return None
    if isinstance(names, str) or not isinstance(names, Sequence) or not names:
        raise InputError(f"{names!r:.80} is not a list of words", field="dataset.label_names", remedy="Use [WORD,...].")
    return [str(word) for word in names]
