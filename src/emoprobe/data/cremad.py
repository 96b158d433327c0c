"""CREMA-D in its official layout (Cao et al. 2014): every clip with the votes of its raters."""

from __future__ import annotations

import csv
from pathlib import Path

from emoprobe.data.utterance import Corpus, CorpusCard, Skipped, Utterance
from emoprobe.errors import InputError

CARD = CorpusCard(
    name="cremad",
    title="CREMA-D",
    synthetic=False,
    licence="ODbL 1.0 (database), DbCL 1.0 (contents)",
    access="https://github.com/CheyneyComputerScience/CREMA-D (needs git-lfs for the audio)",
    citation="Cao, Cooper, Keutmann, Gur, Nenkova, Verma: CREMA-D: Crowd-sourced Emotional Multimodal Actors Dataset. "
    "IEEE Transactions on Affective Computing 5(4), 2014. doi:10.1109/TAFFC.2014.2336244",
    raters="2,443 crowd raters; 4 to 12 per clip and mode; voice-only, face-only and audio-visual ratings",
    notes="Byte-identical pairs, so one label of each is doubtful: 1006_TIE_HAP = 1006_TIE_NEU, 1013_WSI_DIS = "
    "1013_WSI_SAD, 1017_IWW_ANG = 1017_IWW_FEA. 1076_MTI_SAD_XX is silent. No official split.",
)
MODES = {"voice": "1", "face": "2", "audiovisual": "3"}
WORDS = {"A": "anger", "D": "disgust", "F": "fear", "H": "happy", "N": "neutral", "S": "sad"}
ACTED = {"ANG": "anger", "DIS": "disgust", "FEA": "fear", "HAP": "happy", "NEU": "neutral", "SAD": "sad"}
DEFECTS = {
    "1006_TIE_HAP_XX": "same sound as 1006_TIE_NEU_XX",
    "1006_TIE_NEU_XX": "same sound as 1006_TIE_HAP_XX",
    "1013_WSI_DIS_XX": "same sound as 1013_WSI_SAD_XX",
    "1013_WSI_SAD_XX": "same sound as 1013_WSI_DIS_XX",
    "1017_IWW_ANG_XX": "same sound as 1017_IWW_FEA_XX",
    "1017_IWW_FEA_XX": "same sound as 1017_IWW_ANG_XX",
    "1076_MTI_SAD_XX": "silent",
}
VOTES_FILE = Path("processedResults") / "tabulatedVotes.csv"


def read_cremad(root: str | Path, votes: str = "voice", on_error: str = "error") -> Corpus:
    """Read the vote table and, where present, the actors' demographics; audio files are not touched.

    Args:
        root: Folder with ``AudioWAV/`` and ``processedResults/``.
        votes: What raters were given: ``voice``, ``face`` or ``audiovisual``.
        on_error: ``error``, or ``skip`` to list bad rows and go on.

    Raises:
        InputError: The folder is not CREMA-D, or a row is malformed.
    """
    if votes not in MODES:
        raise InputError(f"unknown votes {votes!r}", field="dataset.votes", remedy=f"Use one of {', '.join(MODES)}.")
    root = Path(root).expanduser().absolute()
    table = root / VOTES_FILE
    if not table.is_file():
        raise InputError(
            f"this folder is not CREMA-D: it has no {VOTES_FILE}",
            file=root,
            field="dataset.root",
            remedy=f"Get the corpus from {CARD.access} and give its top folder.",
        )
    actors = _read_actors(root / "VideoDemographics.csv")
    audio = {file.stem: file for file in (root / "AudioWAV").glob("*") if file.suffix.lower() == ".wav"}
    utterances: dict[str, Utterance] = {}
    skipped: list[Skipped] = []
    for row, fields in _rows(table, ("", *WORDS, "fileName", "numResponses")):
        if not fields[""].startswith(MODES[votes]):
            continue
        try:
            utterance = _utterance(table, row, fields, actors, audio, root)
            if utterance.id in utterances:
                raise InputError(f"clip {utterance.id} occurs twice", file=table, row=row, field="fileName")
        except InputError as error:
            if on_error != "skip":
                raise
            reason = "duplicate_id" if error.field == "fileName" and "twice" in error.what else "bad_row"
            skipped.append(Skipped(fields["fileName"], reason, str(error), str(table), row))
            continue
        utterances[utterance.id] = utterance
    return Corpus(CARD, tuple(utterances.values()), tuple(skipped))


def _rows(table: Path, needed: tuple[str, ...]):
    """``(row number, fields)`` of a CSV file with a header."""
    try:
        text = table.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the file cannot be read as UTF-8 text: {error}", file=table) from error
    reader = csv.DictReader(text.splitlines(), restkey="_surplus")
    try:
        missing = [name for name in needed if name not in (reader.fieldnames or [])]
        if missing:
            raise InputError(
                f"the column {missing[0]!r} is missing",
                file=table,
                row=1,
                field=missing[0],
                remedy="Restore the file from the corpus.",
            )
        for fields in reader:
            if None in fields.values() or "_surplus" in fields:
                raise InputError(
                    "the row has another number of fields than the header", file=table, row=reader.line_num
                )
            yield reader.line_num, fields
    except csv.Error as error:
        raise InputError(f"this is not CSV: {error}", file=table, row=reader.line_num) from error


def _read_actors(table: Path) -> dict[str, dict[str, str | float]]:
    if not table.is_file():
        return {}
    actors = {}
    for _, fields in _rows(table, ("ActorID", "Age", "Sex", "Race", "Ethnicity")):
        facts: dict[str, str | float] = {"gender": fields["Sex"].lower(), "race": fields["Race"]}
        facts["ethnicity"] = fields["Ethnicity"]
        if fields["Age"].isdigit():
            facts["age"] = int(fields["Age"])
        actors[fields["ActorID"]] = facts
    return actors


def _utterance(
    table: Path, row: int, fields: dict[str, str], actors: dict[str, dict], audio: dict[str, Path], root: Path
) -> Utterance:
    name = fields["fileName"]
    parts = name.split("_")
    if len(parts) != 4 or parts[2] not in ACTED or not name.replace("_", "").isalnum():
        raise InputError(f"{name!r} is not ACTOR_SENTENCE_EMOTION_LEVEL", file=table, row=row, field="fileName")
    actor, sentence, acted, level = parts
    counts = {letter: _count(fields, letter, table, row) for letter in WORDS}
    total = _count(fields, "numResponses", table, row)
    if sum(counts.values()) != total:
        raise InputError(
            f"the votes sum to {sum(counts.values())} and numResponses says {total}",
            file=table,
            row=row,
            field="numResponses",
            remedy="Restore the file from the corpus, or leave the row out: dataset.on_error=skip.",
        )
    facts = {"acted_emotion": ACTED[acted], "level": level, "sentence": sentence, **actors.get(actor, {})}
    if name in DEFECTS:
        facts["known_defect"] = DEFECTS[name]
    return Utterance(
        id=name,
        audio=audio.get(name, root / "AudioWAV" / f"{name}.wav"),
        votes={WORDS[letter]: float(count) for letter, count in counts.items()},
        num_raters=total,
        speaker=actor,
        metadata=facts,
        file=table,
        row=row,
    )


def _count(fields: dict[str, str], column: str, table: Path, row: int) -> int:
    text = fields[column].strip()
    if not (text.isascii() and text.isdigit() and len(text) < 7):
        raise InputError(
            f"{fields[column]!r} is not a number of votes",
            file=table,
            row=row,
            field=column,
            remedy="Restore the file from the corpus, or leave the row out: dataset.on_error=skip.",
        )
    return int(text)
