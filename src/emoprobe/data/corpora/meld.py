"""MELD (Poria et al. 2019): utterances of a television series with the turns before them, one label each."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from emoprobe.data.corpora import register
from emoprobe.data.reading.fields import known, words
from emoprobe.data.reading.files import Harvest, RowError, SoundFolder, open_root, table_rows
from emoprobe.data.reading.named_clips import NO_VOTES
from emoprobe.data.utterance import Corpus, CorpusCard, Total, Utterance
from emoprobe.errors import InputError

EMOTIONS = {
    "anger": "anger",
    "disgust": "disgust",
    "fear": "fear",
    "joy": "happy",
    "neutral": "neutral",
    "sadness": "sad",
    "surprise": "surprise",
}
CARD = CorpusCard(
    name="meld",
    title="MELD",
    synthetic=False,
    licence="GPL-3.0 (labels); the sound is that of a television series",
    access="https://github.com/declare-lab/MELD; sound: http://web.eecs.umich.edu/~mihalcea/downloads/MELD.Raw.tar.gz",
    citation="Poria, Hazarika, Majumder, Naik, Cambria, Mihalcea: MELD: A Multimodal Multi-Party Dataset for Emotion "
    "Recognition in Conversations. ACL 2019, 527-536. doi:10.18653/v1/P19-1050",
    raters="three annotators saw and heard the scene and read the text; one label, one hard vote: their single votes "
    "are not published",
    notes="The sound comes as mp4 films, which must be converted (to wav or flac of the same names). Laughter and "
    "several voices are in it. The parts share speakers: the six leading ones are in all of them. Speakers such as "
    f"'All' are several people, and some names are spelled in two ways. 14 clips are shorter than 0.1 s. {NO_VOTES}",
    label_sets=("ekman7",),
    words=tuple(EMOTIONS.values()),
    splits="train, dev (development) and test, by dialogue; they share speakers",
    defects={
        "train_dia125_utt3": "its film is broken",
        "dev_dia110_utt7": "its film is not in the release",
        "train_dia309_utt0": "41 s long",
        "test_dia38_utt4": "cut wrongly, 305 s long",
        "test_dia220_utt0": "cut wrongly, 235 s long",
    },
)
COLUMNS = ("Utterance", "Speaker", "Emotion", "Dialogue_ID", "Utterance_ID")
_TABLES = ("", "{part}", "data/MELD", "MELD.Raw", "MELD.Raw/{part}", "labels", "data/labels")
_FILMS = {"train": "train_splits", "dev": "dev_splits_complete", "test": "output_repeated_splits_test"}
_SOUNDS = tuple(
    top + folder
    for top in ("", "MELD.Raw/", "data/")
    for folder in ("{part}/{films}", "{films}", "{part}", "audio/{part}", "audio/{films}", "wav/{part}")
)
_FACTS = {"Sentiment": "sentiment", "Season": "season", "Episode": "episode", "StartTime": "start", "EndTime": "end"}


def _clips(part: str, expected: int) -> Total:
    """Utterances of one part; None where it was not read."""

    def count(corpus: Corpus) -> int | None:
        return sum(clip.split == part for clip in corpus.utterances) or None

    return Total(f"utterances of {part}", expected, count, "the corpus's README")


TOTALS = (
    _clips("train", 9989),
    _clips("development", 1109),
    _clips("test", 2610),
    *(
        Total.of_word(f"utterances of {word}", count, word, "the corpus's README")
        for word, count in zip(CARD.words, (1607, 361, 358, 2308, 6436, 1002, 1636), strict=True)
    ),
)


@register("meld", CARD, TOTALS)
def read_meld(
    root: str | Path,
    context_turns: int = 3,
    audio_root: str | Path | None = None,
    on_error: Literal["error", "skip"] = "error",
) -> Corpus:
    """Read the tables of the parts that are there; sound is not decoded and may be missing.

    Args:
        root: Folder with ``train_sent_emo.csv`` and so on: that of the archive (``MELD.Raw``) or of the repository.
        context_turns: How many of the turns before an utterance make its ``dialogue``; 0 for none.
        audio_root: Folder with the parts' sound, ``dia0_utt0.wav`` (or mp4) in ``train/``, ``train_splits/``,
            ``audio/train/`` and so on; the root if None.
        on_error: ``error``, or ``skip`` to list bad rows and go on.

    Returns:
        Corpus in the tables' order, ids such as ``train_dia0_utt0``, splits ``train``, ``development``, ``test``. The
        label is the one vote. ``dialogue`` is a line ``Speaker: text`` per turn before. ``metadata`` holds consensus
        (the label), dialogue (its id), turn, sentiment, season, episode, start and end (in the episode), as far as the
        tables have them, and known_defect where there is one.

    Raises:
        InputError: The folder is not MELD, an option is wrong, or a row is malformed.
    """
    if not isinstance(context_turns, int) or isinstance(context_turns, bool) or context_turns < 0:
        what = f"{context_turns!r} is not a whole number of at least 0"
        raise InputError(what, field="dataset.context_turns", remedy="Give a number of turns, such as 3; 0 for none.")
    harvest = Harvest(CARD, on_error)
    top = open_root(root, CARD)
    tables = {part: file for part in _FILMS for file in _table(top, part)}
    if not tables:
        open_root(root, CARD, "train_sent_emo.csv", "data/MELD/train_sent_emo.csv")
    sound = top if audio_root is None else Path(os.path.expanduser(audio_root)).absolute()
    if audio_root is not None and not os.path.isdir(sound):
        raise InputError("the folder does not exist", file=sound, field="dataset.audio_root", remedy="Correct it.")
    sounds = SoundFolder(sound, converted=True)
    for part, file in tables.items():
        turns = list(_turns(file, harvest))
        folder = next((name for name in _places(part) if os.path.isdir(sound / name)), f"{part}/{_FILMS[part]}")
        said: dict[int, list[_Turn]] = {}
        for turn in sorted(turns, key=lambda turn: turn.number):
            said.setdefault(turn.dialogue, []).append(turn)
        for turn in turns:
            with harvest.row(f"{part}_{turn.name}"):
                before = [each for each in said[turn.dialogue] if each.number < turn.number]
                lines = [each.line for each in before[len(before) - min(context_turns, len(before)) :]]
                audio = sounds.find(f"{folder}/{turn.name}.mp4", file=file, row=turn.row, field="Dialogue_ID")
                context = "\n".join(lines) if context_turns else None
                harvest.add(_utterance(part, file, turn, audio, context), field="Utterance_ID")
    return harvest.corpus(next(iter(tables.values())))


def _table(top: Path, part: str) -> Iterator[Path]:
    """The table of a part, if there is one."""
    files = (top / folder.format(part=part) / f"{part}_sent_emo.csv" for folder in _TABLES)
    yield from [file for file in files if os.path.lexists(file)][:1]


def _places(part: str) -> Iterator[str]:
    return (folder.format(part=part, films=_FILMS[part]) for folder in _SOUNDS)


@dataclass(frozen=True)
class _Turn:
    """A row of a table."""

    row: int
    dialogue: int
    number: int
    cells: Mapping[str, str]

    @property
    def name(self) -> str:
        """Of its film, without suffix."""
        return f"dia{self.dialogue}_utt{self.number}"

    @property
    def line(self) -> str:
        return f"{self.cells['Speaker'].strip()}: {self.cells['Utterance'].strip()}"


def _turns(file: Path, harvest: Harvest) -> Iterator[_Turn]:
    for row, cells in table_rows(file, COLUMNS):
        with harvest.row():
            if isinstance(cells, RowError):
                raise cells
            dialogue, number = (_number(cells, column, file, row) for column in ("Dialogue_ID", "Utterance_ID"))
            yield _Turn(row, dialogue, number, cells)


def _number(cells: Mapping[str, str], column: str, file: Path, row: int) -> int:
    text = cells[column].strip()
    if not (text.isascii() and text.isdecimal() and len(text) < 7):
        raise RowError(f"{text!r:.80} is not a number", file=file, row=row, field=column)
    return int(text)


def _utterance(part: str, file: Path, turn: _Turn, audio: Path, before: str | None) -> Utterance:
    emotion = turn.cells["Emotion"].strip().lower()
    if emotion not in EMOTIONS:
        what = f"{turn.cells['Emotion']!r:.80} is none of {', '.join(EMOTIONS)}"
        raise RowError(what, file=file, row=turn.row, field="Emotion", reason="bad_votes")
    name, speaker = f"{part}_{turn.name}", known(turn.cells["Speaker"])
    told = {fact: words(turn.cells.get(column)) for column, fact in _FACTS.items()}
    facts: dict[str, str | float] = {"consensus": EMOTIONS[emotion], "turn": turn.number}
    facts["dialogue"] = f"{part}_dia{turn.dialogue}"
    facts |= {fact: sys.intern(value) for fact, value in told.items() if value is not None}
    if name in CARD.defects:
        facts["known_defect"] = CARD.defects[name]
    return Utterance(
        id=name,
        audio=audio,
        votes={EMOTIONS[emotion]: 1.0},
        num_raters=1,
        speaker=speaker and sys.intern(speaker),
        split="development" if part == "dev" else part,
        transcript=words(turn.cells["Utterance"]),
        dialogue=before,
        metadata=facts,
        file=file,
        row=turn.row,
    )
