"""A row of a user's own table as an utterance: manifests and data sets of the hub have the same columns."""

from __future__ import annotations

import json
import os
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, NoReturn

from emoprobe.data.reading.fields import identity, is_blank, text_of, words
from emoprobe.data.reading.files import SoundFolder
from emoprobe.data.reading.folders import here
from emoprobe.data.reading.tables import SKIP_ROW
from emoprobe.data.reading.targets import RATERS, Row, Targets
from emoprobe.data.utterance import Utterance
from emoprobe.errors import InputError
from emoprobe.labels import LabelSet

_DEFAULT_COLUMNS = {"path", "audio", "utterance_id", "id", "speaker", "split", "transcript", "dialogue", RATERS}


class _Place(NamedTuple):
    id: str
    audio: Path


@dataclass
class RowReader:
    """Turns rows into utterances; the columns are those that `read_manifest` was given."""

    targets: Targets
    sound: SoundFolder
    path: str
    id: str
    speaker: str
    split: str
    transcript: str
    dialogue: str
    base: str | None = None
    labels: LabelSet | None = None
    there: set[str] = field(default_factory=set)  # columns of the rows so far

    @property
    def file(self) -> Path:
        """The table."""
        return self.targets.file

    @property
    def own(self) -> tuple[str, ...]:
        """Columns with a meaning, other than the target's."""
        return (self.path, self.id, self.speaker, self.split, self.transcript, self.dialogue, RATERS)

    def check_columns(self) -> None:
        """Refuse a column that was named and that no row has: what it should have told would be unknown in silence.

        Raises:
            InputError: There is one.
        """
        for column in (*self.own, *self.targets.dimensions.values()):
            if column not in self.there and column not in _DEFAULT_COLUMNS:
                what = f"no row has the column {column!r:.80}; there are {', '.join(sorted(self.there))}"
                raise InputError(what, file=self.file, field=column, remedy="Correct its name (dataset.reader).")

    def utterance(self, row: int, fields: Row) -> Utterance:
        """A row that says everything of its clip."""
        self._see(row, fields)
        place = self._place(row, fields)
        said = self.targets.read(row, fields, place.id)
        labels = self.labels
        for word in (*said.votes, *(word for rating in said.ratings for word in rating.labels)) if labels else ():
            if labels and labels.resolve(word) is None:
                known = ", ".join(labels.labels)
                kind = self.targets.target.kind if self.targets.target else ""
                self._fail(row, kind, f"{word!r} is none of {known}", "outside_label_set")
        return Utterance(
            **self._facts(row, fields, place, self.targets.columns),
            votes=said.votes,
            num_raters=self.targets.num_raters(row, fields, said),
            ratings=tuple(said.ratings),
            means=said.means,
            scales=self.targets.scales,
        )

    def clip(self, row: int, fields: Row, beside: Collection[str] = ()) -> Utterance:
        """A row that says of a clip what it is; columns ``beside`` say something else."""
        self._see(row, fields)
        return Utterance(**self._facts(row, fields, self._place(row, fields), beside))

    def _see(self, row: int, fields: Row) -> None:
        if not self.there.issuperset(fields):
            self._check_spelling(row, fields)
            self.there.update(fields)

    def _place(self, row: int, fields: Row) -> _Place:
        relative = self._path(row, fields)
        audio = self.sound.find(relative, file=self.file, row=row, field=self.path, remedy=SKIP_ROW)
        name = self._id(row, fields, self.id)
        return _Place(name or unicodedata.normalize("NFC", os.path.splitext(os.path.normpath(relative))[0]), audio)

    def _facts(self, row: int, fields: Row, place: _Place, used: Collection[str]) -> dict:
        own = {*self.own, *used}
        facts = {key: _fact(value) for key, value in fields.items() if key not in own}
        return {
            "id": place.id,
            "audio": place.audio,
            "speaker": self._id(row, fields, self.speaker),
            "split": self._id(row, fields, self.split),
            "transcript": self._words(row, fields, self.transcript),
            "dialogue": self._words(row, fields, self.dialogue),
            "metadata": {key: fact for key, fact in facts.items() if fact is not None},
            "file": self.file,
            "row": row,
        }

    def _fail(self, row: int, field: str, what: str, reason: str = "bad_row", remedy: str = SKIP_ROW) -> NoReturn:
        self.targets.fail(row, field, what, reason, remedy)

    def _check_spelling(self, row: int, fields: Row) -> None:
        """Refuse a column whose name is that of a known one but for case and blanks: it would be passed over."""
        for column in self.own:
            for other in fields:
                if column not in fields and other.strip().casefold() == column.casefold():
                    what = f"the column {other!r:.80} is not {column!r:.80}, but looks like it"
                    self.targets.fail_columns(row, other, what, "Rename it, or name it in the dataset config.", fields)

    def _path(self, row: int, fields: Row) -> str:
        value = self.targets.value(row, fields, self.path)
        if is_blank(value):
            self._fail(row, self.path, "the field is empty")
        try:
            value = text_of(value)
            if not isinstance(value, str):
                raise ValueError(f"{value!r:.80} is not text")
            return self.sound.below(self.local(value.strip()))
        except ValueError as error:
            remedy = (
                "Give paths below dataset.root, or say which folder of the paths it is: dataset.reader.path_base=DIR."
            )
            self._fail(row, self.path, str(error), remedy=SKIP_ROW if "not text" in str(error) else remedy)

    def local(self, path: str) -> str:
        """A path as this system writes it.

        Raises:
            ValueError: It is one of another computer.
        """
        plain = "\\" not in path and ":" not in path and not self.base
        # Here a name may hold a backslash.
        return path if plain or ("\\" in path and os.path.exists(self.sound.root / path)) else here(path, self.base)

    def named(self, row: int, fields: Row) -> bool:
        """Whether a row says the id of its utterance."""
        return self._id(row, fields, self.id) is not None

    def _id(self, row: int, fields: Row, column: str) -> str | None:
        try:
            return identity(fields.get(column))
        except ValueError as error:
            self._fail(row, column, str(error))

    def _words(self, row: int, fields: Row, column: str) -> str | None:
        try:
            return words(fields.get(column))
        except ValueError as error:
            self._fail(row, column, str(error))


def _fact(value: object) -> str | float | None:
    """A metadata value: numbers stay numbers, all else becomes text; None where the cell holds nothing."""
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False, default=str)
    if is_blank(value) or isinstance(value, (bytes, bytearray)):
        return None
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value
    return words(str(value))
