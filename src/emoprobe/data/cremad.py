"""CREMA-D in its official layout (Cao et al. 2014): every clip with the votes of its raters."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

from emoprobe.data.utterance import Corpus, CorpusCard, Skipped, Utterance
from emoprobe.errors import InputError

_TWINS = (
    ("1006_TIE_HAP_XX", "1006_TIE_NEU_XX"),
    ("1013_WSI_DIS_XX", "1013_WSI_SAD_XX"),
    ("1017_IWW_ANG_XX", "1017_IWW_FEA_XX"),
)
_SILENT = "1076_MTI_SAD_XX"
DEFECTS = (
    {first: f"same sound as {second}" for first, second in _TWINS}
    | {second: f"same sound as {first}" for first, second in _TWINS}
    | {_SILENT: "silent"}
)
CARD = CorpusCard(
    name="cremad",
    title="CREMA-D",
    synthetic=False,
    licence="ODbL 1.0 (database), DbCL 1.0 (contents)",
    access="https://github.com/CheyneyComputerScience/CREMA-D (needs git-lfs for the audio)",
    citation="Cao, Cooper, Keutmann, Gur, Nenkova, Verma: CREMA-D: Crowd-sourced Emotional Multimodal Actors Dataset. "
    "IEEE Transactions on Affective Computing 5(4), 377-390, 2014. doi:10.1109/TAFFC.2014.2336244",
    raters="2,443 crowd raters; 4 to 12 per clip and mode; voice-only, face-only and audio-visual ratings",
    notes="Byte-identical pairs, so one label of each is doubtful: "
    + ", ".join(f"{first} = {second}" for first, second in _TWINS)
    + f". {_SILENT} is silent. No official split.",
)
MODES = {"voice": "1", "face": "2", "audiovisual": "3"}
WORDS = {"A": "anger", "D": "disgust", "F": "fear", "H": "happy", "N": "neutral", "S": "sad"}
ACTED = {"ANG": "anger", "DIS": "disgust", "FEA": "fear", "HAP": "happy", "NEU": "neutral", "SAD": "sad"}
VOTES_FILE = Path("processedResults") / "tabulatedVotes.csv"
ACTORS_FILE = Path("VideoDemographics.csv")
_NAME = re.compile(r"(\d{4})_([A-Z]{3})_(ANG|DIS|FEA|HAP|NEU|SAD)_(LO|MD|HI|XX)", re.ASCII)
_ROW_ID = re.compile(r"[123]\d{5}", re.ASCII)
_COUNT = re.compile(r"\d{1,6}", re.ASCII)
_RESTORE = "Restore the file from the corpus"


class _RowError(InputError):
    """One row is wrong; the others may be right."""

    def __init__(self, what: str, *, table: Path, row: int, field: str | None = None, reason: str = "bad_row") -> None:
        self.reason = reason
        super().__init__(
            what, file=table, row=row, field=field, remedy=f"{_RESTORE}, or leave the row out: dataset.on_error=skip."
        )


def read_cremad(
    root: str | Path,
    votes: Literal["voice", "face", "audiovisual"] = "voice",
    on_error: Literal["error", "skip"] = "error",
) -> Corpus:
    """Read the vote table and, where present, the actors' demographics; sound is not decoded and may be missing.

    Args:
        root: Folder with ``AudioWAV/`` and ``processedResults/``.
        votes: What raters were given: ``voice``, ``face`` or ``audiovisual``.
        on_error: ``error``, or ``skip`` to list bad rows and go on.

    Returns:
        Corpus in the table's order, without splits (the corpus has none). ``metadata`` holds acted_emotion, level,
        sentence, of known actors gender, age, race and ethnicity, and known_defect where there is one.

    Raises:
        InputError: The folder is not CREMA-D, or a row is malformed.
    """
    if votes not in MODES:
        raise InputError(f"unknown votes {votes!r}", field="dataset.votes", remedy=f"Use one of {', '.join(MODES)}.")
    if on_error not in ("error", "skip"):
        raise InputError(f"unknown value {on_error!r}", field="dataset.on_error", remedy="Use error or skip.")
    # These two, unlike those of Path, do not raise on an unknown user or a path that the system refuses.
    root = Path(os.path.expanduser(root)).absolute()
    table = root / VOTES_FILE
    if not os.path.isfile(table):
        raise InputError(
            f"this folder is not CREMA-D: it has no {VOTES_FILE}",
            file=table,
            field="dataset.root",
            remedy=f"Get the corpus from {CARD.access} and give its top folder.",
        )
    actors = _read_actors(root / ACTORS_FILE)
    sounds = {file.stem: file for file in (root / "AudioWAV").glob("*") if file.suffix.lower() == ".wav"}
    utterances: dict[str, Utterance] = {}
    skipped: list[Skipped] = []
    for row, fields in _rows(table, ("", *WORDS, "fileName", "numResponses")):
        try:
            if isinstance(fields, _RowError):
                raise fields
            if not _ROW_ID.fullmatch(fields[""]):
                raise _RowError(
                    f"the row id {fields['']!r} is not MNNNNN", table=table, row=row, field="(first column)"
                )
            if not fields[""].startswith(MODES[votes]):
                continue
            name = fields["fileName"]
            audio = sounds.get(name, root / "AudioWAV" / f"{name}.wav")
            utterance = _utterance(table, row, fields, audio, actors)
            if utterance.id in utterances:
                raise _RowError(
                    f"clip {utterance.id} was there before, in row {utterances[utterance.id].row}",
                    table=table,
                    row=row,
                    field="fileName",
                    reason="duplicate_id",
                )
        except _RowError as error:
            if on_error != "skip":
                raise
            known = "" if isinstance(fields, _RowError) else fields["fileName"]
            skipped.append(Skipped(known, error.reason, str(error), str(table), row))
            continue
        utterances[utterance.id] = utterance
    if not utterances:
        what = f"the table has no usable rows of {votes} votes"
        raise InputError(what, file=table, remedy=skipped[0].message if skipped else f"{_RESTORE}.")
    return Corpus(CARD, tuple(utterances.values()), tuple(skipped))


def _rows(table: Path, needed: Sequence[str]) -> Iterator[tuple[int, dict[str, str] | _RowError]]:
    """``(row number, fields)`` of a CSV file with a header; a ragged row comes as its error."""
    try:
        text = table.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        what = f"the table cannot be read as UTF-8 text: {error!s:.200}"
        raise InputError(what, file=table, remedy=f"{_RESTORE}.") from error
    reader = csv.reader(io.StringIO(text, newline=None), strict=True)
    row = 1
    try:
        header = next(reader, [])
        missing = [name for name in needed if name not in header]
        if missing:
            what = f"the column {missing[0]!r} is missing; there are {', '.join(header)}"
            raise InputError(what, file=table, row=1, field=missing[0], remedy=f"{_RESTORE}.")
        twice = [name for name in needed if header.count(name) > 1]
        if twice:
            what = f"the column {twice[0]!r} occurs twice"
            raise InputError(what, file=table, row=1, field=twice[0], remedy=f"{_RESTORE}.")
        row = reader.line_num + 1
        for values in reader:
            if values and len(values) != len(header):
                what = f"the row has {len(values)} fields and the header {len(header)}"
                yield row, _RowError(what, table=table, row=row)
            elif values:
                yield row, dict(zip(header, values, strict=True))
            row = reader.line_num + 1
    except csv.Error as error:
        raise InputError(f"this is not CSV: {error}", file=table, row=row, remedy=f"{_RESTORE}.") from error


def _read_actors(table: Path) -> dict[str, dict[str, str | float]]:
    """Actor id -> gender, age, race, ethnicity; nothing where the file is absent."""
    if not table.is_file():
        return {}
    actors = {}
    try:
        for row, fields in _rows(table, ("ActorID", "Age", "Sex", "Race", "Ethnicity")):
            if isinstance(fields, _RowError):
                raise fields
            gender = fields["Sex"].strip().lower()
            if gender not in ("male", "female"):
                raise _RowError(f"{fields['Sex']!r:.80} is not Male or Female", table=table, row=row, field="Sex")
            age = _count(fields, "Age", table, row)
            facts = {"gender": gender, "age": age, "race": fields["Race"], "ethnicity": fields["Ethnicity"]}
            actors[fields["ActorID"]] = facts
    except _RowError as error:
        remedy = f"{_RESTORE}, or remove it: it is optional."
        raise InputError(error.what, file=table, row=error.row, field=error.field, remedy=remedy) from None
    return actors


def _utterance(
    table: Path, row: int, fields: Mapping[str, str], audio: Path, actors: Mapping[str, Mapping[str, str | float]]
) -> Utterance:
    name = fields["fileName"]
    parts = _NAME.fullmatch(name)
    if not parts:
        what = f"{name!r} is not ACTOR_SENTENCE_EMOTION_LEVEL"
        raise _RowError(what, table=table, row=row, field="fileName")
    actor, sentence, acted, level = parts.groups()
    counts = {word: _count(fields, letter, table, row) for letter, word in WORDS.items()}
    total = _count(fields, "numResponses", table, row)
    if sum(counts.values()) != total:
        what = f"the votes sum to {sum(counts.values())} and numResponses says {total}"
        raise _RowError(what, table=table, row=row, field="numResponses", reason="bad_votes")
    facts = {"acted_emotion": ACTED[acted], "level": level, "sentence": sentence, **actors.get(actor, {})}
    if name in DEFECTS:
        facts["known_defect"] = DEFECTS[name]
    return Utterance(
        id=name,
        audio=audio,
        votes={word: float(count) for word, count in counts.items()},
        num_raters=total,
        speaker=actor,
        metadata=facts,
        file=table,
        row=row,
    )


def _count(fields: Mapping[str, str], column: str, table: Path, row: int) -> int:
    text = fields[column].strip()
    if not _COUNT.fullmatch(text):
        what = f"{fields[column]!r:.80} is not a whole number"
        raise _RowError(what, table=table, row=row, field=column, reason="bad_votes")
    return int(text)
