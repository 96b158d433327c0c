"""MSP-IMPROV in its official layout (Busso et al. 2017): every clip with what each rater chose."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Literal

from emoprobe.data.corpora import register
from emoprobe.data.reading.blocks import Line, blocks_of
from emoprobe.data.reading.collection import list_names
from emoprobe.data.reading.fields import known
from emoprobe.data.reading.files import Harvest, RowError, SoundFolder, open_root, text_lines
from emoprobe.data.utterance import NOTHING, Corpus, CorpusCard, Numbers, Rating, Total, Utterance

# What raters chose, in lower case -> our word. The first four and other are the main choices; all may be secondary.
WORDS = {
    "anger": "anger",
    "angry": "anger",
    "happiness": "happy",
    "happy": "happy",
    "neutral": "neutral",
    "neutral state": "neutral",
    "sadness": "sad",
    "sad": "sad",
    "other": "other",
    "depressed": "depressed",
    "disgust": "disgust",
    "disgusted": "disgust",
    "excited": "excited",
    "fear": "fear",
    "fearful": "fear",
    "frustrated": "frustration",
    "frustration": "frustration",
    "surprise": "surprise",
    "surprised": "surprise",
}
CONSENSUS = {"a": "anger", "h": "happy", "s": "sad", "n": "neutral", "o": "other", "x": "no_agreement"}
CARD = CorpusCard(
    name="msp_improv",
    title="MSP-IMPROV",
    synthetic=False,
    licence="by signed agreement with the University of Texas at Dallas; not to be passed on",
    access="https://ecs.utdallas.edu/research/researchlabs/msp-lab/MSP-Improv.html (agreement form)",
    citation="Busso, Parthasarathy, Burmania, AbdelWahab, Sadoughi, Mower Provost: MSP-IMPROV: An Acted Corpus of "
    "Dyadic Interactions to Study Emotion Perception. IEEE Transactions on Affective Computing 8(1), 67-80, 2017. "
    "doi:10.1109/TAFFC.2016.2515617",
    raters="crowd raters, several per clip, each with one main choice (anger, happiness, sadness, neutral state or "
    "other) and secondary words",
    notes="The raters saw the video, so the votes are not of the voice alone. Some raters occur twice for a clip; by "
    "default the first rating counts (dataset.soft_label.repeated_raters). What a rater wrote after Other is not "
    "kept. Raters also gave valence (1 negative to 5 positive), activation, dominance (1 weak to 5 strong) and "
    "naturalness, all from 1 to 5. The longest clip lasts 31.9 s. The file's activation runs from 1 (active) to 5 "
    "(calm), so arousal here is 6 - A: of MSP-IMPROV-S01A-F02-R-FF01 the file says A 3.33, and EMO-SUPERB, which "
    "turned it (flip_aro), 2.67; there clips that are heard as anger have 3.4 on average and neutral ones 2.1.",
    label_sets=("basic4", "valence5", "arousal5", "dominance5"),
    words=tuple(dict.fromkeys(WORDS.values())),
    splits="No official split. Usual: leave one session out (six folds), four classes.",
)
_PAPER = "Busso et al. 2017, tables 3 and 4"


def _total(what: str, expected: int, **facts: str) -> Total:
    """Clips with these facts."""

    def count(corpus: Corpus) -> int:
        return sum(all(u.metadata.get(fact) == value for fact, value in facts.items()) for u in corpus.utterances)

    return Total(what, expected, count, _PAPER)


TOTALS = (
    Total("sessions", 6, lambda corpus: len({u.metadata["session"] for u in corpus.utterances}), "Busso et al. 2017"),
    _total("clips", 8438),
    _total("improvised target sentences (T)", 652, condition="T"),
    _total("read target sentences (R)", 620, condition="R"),
    _total("other improvised turns (S)", 4381, condition="S"),
    _total("turns of natural interaction (P)", 2785, condition="P"),
    *(
        _total(f"clips with the consensus {word}", expected, consensus=word)
        for word, expected in {"anger": 792, "happy": 2644, "neutral": 3477, "sad": 885, "other": 85}.items()
    ),
    _total("clips without agreement", 555, consensus="no_agreement"),
)
_LABEL_FILES = ("Evalution.txt", "Evaluation.txt")  # the first is how the corpus spells it
_CLIP = re.compile(r"(?:UTD|MSP)-IMPROV-((S\d\d[A-Z])-(([FM])0([1-6]))-([SRPT])-([FM]{2}\d\d))\.avi", re.ASCII)
_OTHER = re.compile(r"other\b.*")
_MEAN = re.compile(r"([AVDN])\s*:\s*(.*)")
_NUMBER = re.compile(r"\d{1,3}(\.\d{1,9})?|nan", re.ASCII | re.IGNORECASE)
_MEANS = {"A": "arousal", "V": "valence", "D": "dominance", "N": "naturalness"}
SCALES = dict.fromkeys(("valence", "arousal", "dominance", "naturalness"), (1.0, 5.0))
"""Of all clips."""


@register("msp_improv", CARD, TOTALS)
def read_msp_improv(root: str | Path, on_error: Literal["error", "skip"] = "error") -> Corpus:
    """Read ``Evalution.txt`` (or ``Evaluation.txt``); sound is not decoded and may be missing.

    Args:
        root: Folder with the label file and ``Audio/``.
        on_error: ``error``, or ``skip`` to list bad clips and go on.

    Returns:
        Corpus in the file's order, without splits (the corpus has none); a rater who judged a clip twice has two
        ratings. ``speaker`` is the actor whom the clip's name has first. ``metadata`` holds session, gender, scenario
        (such as S01A), condition (the recording's letter: S, R, P or T), turn (such as FM01), consensus, and, where
        known, the raters' means of arousal, valence, dominance and naturalness (1 to 5), which are ``means`` too;
        ratings have them where their lines do. Arousal is 6 - A, so that much of it is active.

    Raises:
        InputError: The folder is not MSP-IMPROV, or a clip is malformed.
    """
    harvest = Harvest(CARD, on_error)
    root = open_root(root, CARD)
    there = {name.lower(): name for name in reversed(list_names(root))}
    found = [there[name.lower()] for name in _LABEL_FILES if name.lower() in there]
    if not found:
        open_root(root, CARD, *_LABEL_FILES)
    file = root / found[0]
    sounds, top = SoundFolder(root), there.get("audio", "Audio")
    # What raters wrote may hold bytes of any encoding; all else is ASCII.
    for block in blocks_of(text_lines(file, "latin-1"), _names_clip):
        clip = _CLIP.fullmatch(block[0][1].partition(";")[0].strip())
        with harvest.row(f"MSP-IMPROV-{clip[1]}" if clip else ""):
            harvest.add(_utterance(block, file, sounds, top))
    return harvest.corpus(file)


def _names_clip(line: str) -> bool:
    return "-IMPROV-" in line.partition(";")[0] or line.partition(";")[0].rstrip().endswith(".avi")


def _utterance(block: Sequence[Line], file: Path, sounds: SoundFolder, top: str) -> Utterance:
    (row, line), *lines = block
    name, *fields = _fields(line)
    clip = _CLIP.fullmatch(name)
    if not clip:
        what = f"{name!r:.80} is not a clip such as UTD-IMPROV-S01A-F01-S-FM01.avi"
        raise RowError(what, file=file, row=row, field="clip")
    rest, scenario, speaker, letter, session, condition, turn = clip.groups()
    if len(fields) not in (4, 5):
        what = f"the clip has {len(fields)} fields after its name, and 4 or 5 are needed: consensus, A, V, D, N"
        raise RowError(what, file=file, row=row)
    consensus = fields[0].lower()
    means = _numbers(tuple(_mean(field, key, file, row) for field, key in zip(fields[1:], _MEANS, strict=False)))
    return Utterance(
        id=f"MSP-IMPROV-{rest}",
        audio=_sound(f"session{session}/{scenario}/{condition}/MSP-IMPROV-{rest}.wav", top, sounds, file, row),
        speaker=sys.intern(speaker),
        ratings=tuple(_rating(text, file, number) for number, text in lines),
        metadata={
            "session": sys.intern(session),
            "gender": {"F": "female", "M": "male"}[letter],
            "scenario": sys.intern(scenario),
            "condition": sys.intern(condition),
            "turn": sys.intern(turn),
            "consensus": CONSENSUS.get(consensus, consensus),
            **means,
        },
        means=means,
        scales=SCALES,
        file=file,
        row=row,
    )


def _sound(relative: str, top: str, sounds: SoundFolder, file: Path, row: int) -> Path:
    """The sound below ``Audio/`` or, as the archives unpack it, below the root itself."""
    audio = sounds.find(f"{top}/{relative}", file=file, row=row)
    if os.path.exists(audio):
        return audio
    unpacked = sounds.find(relative, file=file, row=row)
    return unpacked if os.path.exists(unpacked) else audio


def _fields(line: str) -> list[str]:
    """What lies between semicolons, of which one may end the line."""
    return [field.strip() for field in line.strip().removesuffix(";").split(";")]


def _mean(field: str, key: str, file: Path, row: int) -> tuple[str, float | None]:
    """A mean such as ``A:3.000000``; None where it is NaN."""
    parts = _MEAN.fullmatch(field)
    if not parts or parts[1] != key or not _NUMBER.fullmatch(parts[2]):
        raise RowError(f"{field!r:.80} is not {key}:NUMBER", file=file, row=row, field=key)
    return key, None if parts[2].lower() == "nan" else float(parts[2])


@lru_cache(maxsize=10_000)
def _numbers(found: tuple[tuple[str, float | None], ...]) -> Numbers:
    """Dimension -> number, of those that were given; the same numbers are one object."""
    low, high = SCALES["arousal"]
    # Rounded, since the files' six decimals have no more to say.
    turned = {key: round(low + high - value, 9) if key == "A" else value for key, value in found if value is not None}
    return {_MEANS[key]: value for key, value in turned.items()} or NOTHING


def _rating(line: str, file: Path, row: int) -> Rating:
    """A rater's line: rater; main choice; secondary words, separated by commas; A:1; V:1; D:1; N:1."""
    rater, *fields = _fields(line)
    # Numbers are the last fields; what a rater wrote before may look like one.
    count = next((i for i, field in enumerate(reversed(fields)) if not _MEAN.fullmatch(field)), len(fields))
    scores = fields[len(fields) - count :]
    given = tuple(_mean(field, field[0], file, row) for field in scores)
    if len(dict(given)) < len(given):
        what = f"{line!r:.80} has a number for {given[-1][0]} or another letter twice"
        raise RowError(what, file=file, row=row, field=given[-1][0])
    chosen = fields[: len(fields) - count]
    if known(rater) is None or not chosen or not chosen[0]:
        what = f"{line!r:.80} is not RATER; main choice; secondary words; A:1; V:1; D:1; N:1"
        raise RowError(what, file=file, row=row, reason="bad_votes")
    secondary: dict[str, None] = {}
    main = _word(chosen[0])
    for place, field in enumerate(chosen[1:], start=2):
        # What raters wrote of their own may hold semicolons and commas: behind Other up to the last field.
        free = main == "other" and place < len(chosen)
        for word in map(_word, field.split(",")):
            if word and (word in CARD.words or not (free or "other" in secondary)):
                secondary[word] = None
    return Rating(sys.intern(rater), (main,), tuple(secondary), values=_numbers(given))


def _word(text: str) -> str:
    word = text.strip().lower()
    return "other" if _OTHER.fullmatch(word) else WORDS.get(word, sys.intern(word))
