"""RAVDESS, audio only (Livingstone and Russo 2018): acted emotions, in the names of the files."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from emoprobe.data.corpora import register
from emoprobe.data.files import Harvest, RowError, SoundFolder, open_root
from emoprobe.data.utterance import Corpus, CorpusCard, Total, Utterance
from emoprobe.errors import InputError

CARD = CorpusCard(
    name="ravdess",
    title="RAVDESS",
    synthetic=False,
    licence="CC BY-NC-SA 4.0",
    access="https://zenodo.org/records/1188976",
    citation="Livingstone, Russo: The Ryerson Audio-Visual Database of Emotional Speech and Song (RAVDESS). PLoS ONE "
    "13(5): e0196391, 2018. doi:10.1371/journal.pone.0196391",
    raters="none for the label, which is the acted emotion, one hard vote",
    notes="North American English, two sentences. Acted labels are no distribution of votes: divergences from them say "
    "nothing about ambiguity.",
    label_sets=("ravdess8",),
    words=("neutral", "calm", "happy", "sad", "anger", "fear", "disgust", "surprise"),
    splits="none; usually folds of speakers",
)
EMOTIONS = {f"{number:02}": word for number, word in enumerate(CARD.words, 1)}
CHANNELS = {"speech": "01", "song": "02"}
INTENSITIES = {"01": "normal", "02": "strong"}
STATEMENTS = {"01": "Kids are talking by the door", "02": "Dogs are sitting by the door"}
SUFFIXES = (".wav", ".flac")
_NAME = re.compile(r"(0[1-3])-(0[12])-(0[1-8])-(0[12])-(0[12])-(0[12])-(0[1-9]|1\d|2[0-4])", re.ASCII)
_FIRST = "Actor_01/03-01-01-01-01-01-01.wav"
_AUDIO_ONLY = "03"
TOTALS = (
    Total("speech clips", 1440, lambda corpus: len(corpus.utterances), CARD.access),
    Total("speakers", 24, lambda corpus: len({utterance.speaker for utterance in corpus.utterances}), CARD.access),
    *(
        Total.of_word(f"speech clips of {word}", 96 if word == "neutral" else 192, word, CARD.access)
        for word in CARD.words
    ),
)


@register("ravdess", CARD, TOTALS)
def read_ravdess(
    root: str | Path,
    channel: Literal["speech", "song"] = "speech",
    on_error: Literal["error", "skip"] = "error",
) -> Corpus:
    """Read the clips that are there, by their names; sound is not decoded.

    Args:
        root: Folder with clips ``03-CC-EE-II-SS-RR-AA.wav`` (or ``.flac``), in any folders within. Sound of video files
            and of the other channel is passed over.
        channel: ``speech`` or ``song``.
        on_error: ``error``, or ``skip`` to list files with other names, and second copies, and go on.

    Returns:
        Corpus in the order of the names, without splits. The acted emotion is the one vote; ``metadata`` holds
        acted_emotion, intensity (``normal`` or ``strong``), statement (1 or 2), repetition (1 or 2) and gender.

    Raises:
        InputError: The folder is not RAVDESS, a name is malformed, or a clip is there twice.
    """
    harvest = Harvest(CARD, on_error)
    if channel not in CHANNELS:
        raise InputError(f"unknown channel {channel!r}", field="dataset.channel", remedy="Use speech or song.")
    root = open_root(root, CARD)
    if not os.path.isdir(root):
        open_root(root, CARD, _FIRST)
    sounds = SoundFolder(root, SUFFIXES)
    found: list[tuple[str, Path]] = []
    for folder, names in _folders(sounds, harvest):
        found += [(name, folder / name) for name in names if name.lower().endswith(SUFFIXES) and name[0] != "."]
    if not found and not harvest.skipped:
        open_root(root, CARD, _FIRST)
    for name, relative in sorted(found):
        with harvest.row(os.path.splitext(name)[0]):
            parts = _NAME.fullmatch(os.path.splitext(name)[0])
            if not parts:
                what = f"{name!r:.80} is not seven codes as in 03-01-01-01-01-01-01.wav"
                remedy = "Take the file away, or leave it out: dataset.on_error=skip."
                raise RowError(what, file=root / relative, row=None, remedy=remedy)
            if parts[1] != _AUDIO_ONLY or parts[2] != CHANNELS[channel]:
                continue
            before = harvest.utterances.get(parts[0])
            if before is not None:
                what = f"clip {parts[0]} is there twice; the other is {before.file}"
                remedy = "Set dataset.root to the folder of one copy, or take the first: dataset.on_error=skip."
                raise RowError(what, file=root / relative, row=None, reason="duplicate_id", remedy=remedy)
            audio = sounds.find(relative, file=root / relative)
            harvest.add(_utterance(parts, root / relative, audio))
    return harvest.corpus(root)


def _folders(sounds: SoundFolder, harvest: Harvest) -> Iterator[tuple[Path, list[str]]]:
    """The root and all folders within, relative to it, with their files; linked ones once, if they stay in the root."""
    seen = {os.path.realpath(sounds.root)}
    for folder, inner, names in os.walk(sounds.root, followlinks=True):
        relative = Path(os.path.relpath(folder, sounds.root))
        for name in sorted(inner):
            inner.remove(name)
            real = os.path.realpath(os.path.join(folder, name))
            with harvest.row():
                if real not in seen:
                    sounds.find(relative / name, file=sounds.root / relative / name)
                    seen.add(real)
                    inner.append(name)
        yield relative, names


def _utterance(parts: re.Match[str], file: Path, audio: Path) -> Utterance:
    _, _, emotion, intensity, statement, repetition, actor = parts.groups()
    word = EMOTIONS[emotion]
    return Utterance(
        id=parts[0],
        audio=audio,
        votes={word: 1.0},
        num_raters=1,
        speaker=actor,
        transcript=STATEMENTS[statement],
        metadata={
            "acted_emotion": word,
            "intensity": INTENSITIES[intensity],
            "statement": int(statement),
            "repetition": int(repetition),
            "gender": "male" if int(actor) % 2 else "female",
        },
        file=file,
    )
