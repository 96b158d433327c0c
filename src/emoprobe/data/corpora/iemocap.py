"""IEMOCAP in its official layout (Busso et al. 2008): every turn with what each rater chose, and what was said."""

from __future__ import annotations

import os
import re
import sys
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Literal, NamedTuple

from emoprobe.data.corpora import register
from emoprobe.data.reading.blocks import Line, blocks_of
from emoprobe.data.reading.files import Harvest, RowError, SoundFolder, open_root, text_lines
from emoprobe.data.utterance import NOTHING, Corpus, CorpusCard, Numbers, Rating, Total, Utterance
from emoprobe.errors import InputError

SESSIONS = ("1", "2", "3", "4", "5")
# What raters chose, in lower case -> our word. Contempt is known from public parsers only.
WORDS = {
    "neutral": "neutral",
    "neutral state": "neutral",
    "happiness": "happy",
    "anger": "anger",
    "sadness": "sad",
    "frustration": "frustration",
    "excited": "excited",
    "excitement": "excited",
    "surprise": "surprise",
    "disgust": "disgust",
    "fear": "fear",
    "contempt": "contempt",
    "other": "other",
}
CONSENSUS = {
    "neu": "neutral",
    "hap": "happy",
    "ang": "anger",
    "sad": "sad",
    "exc": "excited",
    "fru": "frustration",
    "fea": "fear",
    "dis": "disgust",
    "sur": "surprise",
    "oth": "other",
    "xxx": "no_agreement",
}
CARD = CorpusCard(
    name="iemocap",
    title="IEMOCAP",
    synthetic=False,
    licence="by signed agreement with the University of Southern California; not to be passed on",
    access="https://sail.usc.edu/iemocap/ (release form)",
    citation="Busso, Bulut, Lee, Kazemzadeh, Mower, Kim, Chang, Lee, Narayanan: IEMOCAP: Interactive emotional dyadic "
    "motion capture database. Language Resources and Evaluation 42(4), 335-359, 2008. doi:10.1007/s10579-008-9076-6",
    raters="as a rule 3 outside raters (E1, E2, ...) per turn, each with one or several labels; on some turns actors' "
    "self-reports too (F1, M1, ...)",
    notes="Raters and actors also gave valence (1 negative to 5 positive), arousal (the files' activation, 1 calm to "
    "5 active) and dominance (1 weak to 5 strong). Two of the 5,531 turns of the four-class protocol are longer than "
    "30 s, which many models do not hear: by default their first 30 s are taken (dataset.audio.long_audio). "
    "Self-reports are left out of soft labels by default (dataset.soft_label.self_reports). The raters saw the video, "
    "turn after turn, so the votes are not of the voice alone. The published four-class protocol keeps the turns with "
    "the consensus neutral, anger, sad, happy or excited, with excited counted as happy (dataset=iemocap4); it leaves "
    "out the turns without agreement, which are the ambiguous ones.",
    label_sets=("iemocap4", "iemocap5", "iemocap9", "iemocap10", "basic4", "valence5", "arousal5", "dominance5"),
    words=tuple(dict.fromkeys(WORDS.values())),
    splits="No official split. Usual: leave one session out (five folds), or one speaker (ten folds).",
)
_EVALUATIONS = tuple(f"Session{session}/dialog/EmoEvaluation" for session in SESSIONS)
_DIALOGUE_FILE = re.compile(r"(Ses0([1-5])[FM]_(impro|script)\w+)\.txt", re.ASCII)
_NUMBER = r"(\d{1,6}\.\d{1,9})"
_HEADER = re.compile(
    rf"\[{_NUMBER} - {_NUMBER}\][ \t]+(\w+)[ \t]+(\w+)[ \t]+\[{_NUMBER}, {_NUMBER}, {_NUMBER}\][ \t]*", re.ASCII
)
_DIMENSIONS = {"val": "valence", "act": "arousal", "dom": "dominance"}
_ATTRIBUTE = re.compile(r"(val|act|dom)\s*(?:(\d{1,3}(?:\.\d{1,9})?)|nan)?", re.ASCII | re.IGNORECASE)
SCALES = dict.fromkeys(("valence", "arousal", "dominance"), (1.0, 5.0))
"""Of all turns."""
_HEADER_START = re.compile(r"\[\d")
_RATER = re.compile(r"[EFM]\d{1,2}", re.ASCII)
_SAID = re.compile(rf"(Ses0[1-5]\w+_([FM])[\dX]+)[ \t]+\[{_NUMBER}-{_NUMBER}\]:(.*)", re.ASCII)
_FOUR = ("neutral", "anger", "sad", "happy", "excited")


def _total(what: str, expected: int, source: str, **facts: str | tuple[str, ...]) -> Total:
    """Turns whose facts have one of the given values."""

    def count(corpus: Corpus) -> int:
        return sum(
            all(u.metadata.get(fact) in ([v] if isinstance(v, str) else v) for fact, v in facts.items())
            for u in corpus.utterances
        )

    return Total(what, expected, count, source)


_PAPER = "Busso et al. 2008"
_PARSERS = "the usual four-class protocol, as in s3prl and EmoBox"
TOTALS = (
    _total("turns", 10039, _PAPER),
    Total("speakers", 10, lambda corpus: len({u.speaker for u in corpus.utterances}), _PAPER),
    _total("turns of the four classes", 5531, _PARSERS, consensus=_FOUR),
    *(
        _total(f"turns of the four classes in session {session}", expected, _PARSERS, session=session, consensus=_FOUR)
        for session, expected in zip(SESSIONS, (1085, 1023, 1151, 1031, 1241), strict=True)
    ),
    *(
        _total(f"turns with the consensus {word}", expected, _PARSERS, consensus=word)
        for word, expected in zip(_FOUR, (1708, 1103, 1084, 595, 1041), strict=True)
    ),
    _total("turns without agreement", 2507, "counts of the corpus's consensus labels", consensus="no_agreement"),
)


class _Said(NamedTuple):
    """A turn of a transcription."""

    start: float
    turn: str
    letter: str
    text: str


class _Dialogue(NamedTuple):
    """A conversation of two actors; its transcription, by start, is None where there is no such file."""

    id: str
    session: str
    scenario: str
    file: Path
    said: list[_Said] | None


@register("iemocap", CARD, TOTALS)
def read_iemocap(root: str | Path, context_turns: int = 3, on_error: Literal["error", "skip"] = "error") -> Corpus:
    """Read the evaluation and transcription files of the sessions that are there; sound is not decoded.

    Args:
        root: Folder with ``Session1/`` to ``Session5/``, or some of them.
        context_turns: How many of the turns before a turn make its ``dialogue``; 0 for none.
        on_error: ``error``, or ``skip`` to list bad turns and go on.

    Returns:
        Corpus by session, dialogue and the files' order, without splits (the corpus has none). Actors' self-reports
        are ratings with ``self_report``, by raters such as ``F1-Ses01``. ``dialogue`` is a line ``F: text`` or
        ``M: text`` per turn that began before, as transcribed; empty where there was none, and None, like
        ``transcript``, where the transcription is missing. ``metadata`` holds session, dialogue (its id), scenario
        (impro or script), gender, start and end (seconds), consensus, and the raters' means of valence, arousal
        (activation) and dominance, from about 1 to 5, which are ``means`` too; ratings have theirs.

    Raises:
        InputError: The folder is not IEMOCAP, an option is wrong, or a turn is malformed.
    """
    if not isinstance(context_turns, int) or isinstance(context_turns, bool) or context_turns < 0:
        what = f"{context_turns!r} is not a whole number of at least 0"
        raise InputError(what, field="dataset.context_turns", remedy="Give a number of turns, such as 3; 0 for none.")
    harvest = Harvest(CARD, on_error)
    root = open_root(root, CARD, *_EVALUATIONS)
    sounds = SoundFolder(root)
    for dialogue in _dialogues(root):
        turns = 0
        for block in _blocks(dialogue.file):
            turns += 1
            with harvest.row(_turn_name(block)):
                harvest.add(_utterance(block, dialogue, sounds, context_turns))
        with harvest.row():
            if not turns:
                raise RowError("there is no turn in this file", file=dialogue.file, row=None)
    return harvest.corpus(root)


def _dialogues(root: Path) -> Iterator[_Dialogue]:
    for session, evaluations in zip(SESSIONS, _EVALUATIONS, strict=True):
        folder = root / evaluations
        if not os.path.isdir(folder):
            continue
        try:
            names = sorted(os.listdir(folder))
        except OSError as error:
            what = f"the folder cannot be read: {error.strerror or error}"
            raise InputError(what, file=folder, remedy="Make it readable.") from None
        # Beside the label files there are sub-folders of other tables, and hidden files of other systems.
        for found in filter(None, map(_DIALOGUE_FILE.fullmatch, names)):
            name, prefix, scenario = found.groups()
            if prefix != session:
                raise InputError(
                    f"a label file of session {prefix} lies in the folder of session {session}",
                    file=folder / found.string,
                    remedy="Move it to its own session.",
                )
            said = _transcription(root / f"Session{session}" / "dialog" / "transcriptions" / f"{name}.txt")
            yield _Dialogue(name, session, scenario, folder / found.string, said)


def _transcription(file: Path) -> list[_Said] | None:
    """Turns with their words, by their start; lines of another form are no turns."""
    if not os.path.isfile(file):
        return None
    said = []
    for _, line in text_lines(file, "latin-1"):
        parts = _SAID.fullmatch(line)
        text = _readable(parts[5]).strip() if parts else ""
        if parts and text:
            said.append(_Said(float(parts[3]), parts[1], parts[2], text))
    return sorted(said, key=lambda turn: turn.start)


def _readable(text: str) -> str:
    """Text that was read as Latin-1, by which every byte is a letter, as the UTF-8 that it may be."""
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeDecodeError:
        return text


def _blocks(file: Path) -> Iterator[list[Line]]:
    """Turns with the lines of their raters: what lies between blank lines or begins with a time in brackets."""
    # Comments hold bytes of any encoding; all else is ASCII.
    lines = (line for line in text_lines(file, "latin-1") if not line[1].startswith("%"))
    return blocks_of(lines, _HEADER_START.match)


def _turn_name(block: Sequence[Line]) -> str:
    """Id of a turn, for the list of what was left out; empty where its header is damaged."""
    header = _HEADER.fullmatch(block[0][1])
    return header[3] if header else ""


def _utterance(block: Sequence[Line], dialogue: _Dialogue, sounds: SoundFolder, context_turns: int) -> Utterance:
    (row, line), *lines = block
    file = dialogue.file
    header = _HEADER.fullmatch(line)
    if not header:
        what = f"{line!r:.80} is not [START - END], turn, consensus, [valence, activation, dominance]"
        raise RowError(what, file=file, row=row)
    start, end, turn, consensus, *means = header.groups()
    letter = re.fullmatch(rf"{dialogue.id}_([FM])[\dX]+", turn, re.ASCII)
    if not letter:
        what = f"{turn!r:.80} is not a turn of {dialogue.id}: {dialogue.id}_F000 or {dialogue.id}_M000"
        raise RowError(what, file=file, row=row, field="TURN_NAME")
    folder = f"Session{dialogue.session}/sentences/wav/{dialogue.id}"
    own = [each.text for each in dialogue.said or () if each.turn == turn]
    numbers = dict(zip(("valence", "arousal", "dominance"), map(float, means), strict=True))
    return Utterance(
        id=turn,
        audio=sounds.find(f"{folder}/{turn}.wav", file=file, row=row),
        speaker=f"Ses0{dialogue.session}{letter[1]}",
        transcript=own[0] if own else None,
        dialogue=_context(dialogue.said, turn, float(start), context_turns),
        ratings=tuple(_ratings(lines, dialogue)),
        metadata={
            "session": dialogue.session,
            "dialogue": dialogue.id,
            "scenario": dialogue.scenario,
            "gender": {"F": "female", "M": "male"}[letter[1]],
            "start": float(start),
            "end": float(end),
            "consensus": CONSENSUS.get(consensus.lower(), consensus.lower()),
            **numbers,
        },
        means=numbers,
        scales=SCALES,
        file=file,
        row=row,
    )


def _context(said: Sequence[_Said] | None, turn: str, start: float, turns: int) -> str | None:
    """The last turns that began before ``start`` (seconds)."""
    if said is None or not turns:
        return None
    before = bisect_left(said, start, key=lambda each: each.start)
    # One more than is needed: among them may be the turn itself, where the two files differ in its start.
    others = [each for each in said[max(before - turns - 1, 0) : before] if each.turn != turn]
    return "\n".join(f"{each.letter}: {each.text}" for each in others[-turns:])


def _ratings(lines: Sequence[Line], dialogue: _Dialogue) -> list[Rating]:
    """What each rater chose, with the numbers that stand in a line of their own, by the order of choices."""
    chosen: list[Rating] = []
    numbers: list[Rating] = []
    open_comment = False
    for row, line in lines:
        if line.startswith(("C-", "A-")):
            open_comment = not line.rstrip().endswith(")")
        elif not open_comment:
            what = f"{line!r:.80} is neither a turn nor a rater's line, which begins with C- or A-"
            raise RowError(what, file=dialogue.file, row=row)
        if line.startswith("C-"):
            rater, rest = _rater(line, dialogue, row, "label; label; (comment)")
            words = [word.strip().lower() for word in rest.split(";")]
            labels = tuple(WORDS.get(word, word) for word in words if word)
            if labels:
                chosen.append(rater._replace(labels=labels))
        elif line.startswith("A-"):
            rater, rest = _rater(line, dialogue, row, "val 1; act 1; dom 1; (comment)")
            values = _numbers(rest.strip())
            if values is None:
                what = f"{line!r:.80} is not A-RATER: val 1; act 1; dom 1; (comment)"
                raise RowError(what, file=dialogue.file, row=row, field="attributes")
            if values:
                numbers.append(rater._replace(values=values))
    for rated in numbers:
        # Of a rater who judged twice, the first numbers are of the first choice.
        own = (i for i, each in enumerate(chosen) if each.rater == rated.rater and not each.values)
        place = next(own, None)
        if place is None:
            chosen.append(rated)
        else:
            chosen[place] = chosen[place]._replace(values=rated.values)
    return chosen


def _rater(line: str, dialogue: _Dialogue, row: int, form: str) -> tuple[Rating, str]:
    """The rater of a line such as ``C-E2:``, as a rating without content, and what was given before the comment."""
    rater, colon, rest = line[2:].partition(":")
    given, bracket, _ = rest.partition("(")
    if not colon or (not bracket and line.startswith("C-")):
        what = f"{line!r:.80} is not {line[0]}-RATER: {form}"
        raise RowError(what, file=dialogue.file, row=row, reason="bad_votes")
    if not _RATER.fullmatch(rater):
        what = f"the rater {rater!r:.80} is neither an outside rater, such as E2, nor an actor, such as F1"
        raise RowError(what, file=dialogue.file, row=row, field="rater", reason="bad_votes")
    actor = not rater.startswith("E")
    name = f"{rater}-Ses0{dialogue.session}" if actor else rater
    return Rating(sys.intern(name), self_report=actor), given


@lru_cache(maxsize=10_000)
def _numbers(text: str) -> Numbers | None:
    """Numbers of ``val 3; act 2; dom  2;`` as far as they were given; None of another text."""
    found: dict[str, float] = {}
    seen: set[str] = set()
    for part in filter(None, map(str.strip, text.split(";"))):
        match = _ATTRIBUTE.fullmatch(part)
        if not match or match[1].lower() in seen:
            return None
        seen.add(match[1].lower())
        if match[2]:
            found[_DIMENSIONS[match[1].lower()]] = float(match[2])
    return found or NOTHING
