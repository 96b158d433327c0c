"""RAVDESS, audio only (Livingstone and Russo 2018): acted emotions, in the names of the files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from emoprobe.data.corpora import register
from emoprobe.data.reading.files import Harvest, open_root
from emoprobe.data.reading.named_clips import NO_VOTES, NamedClip, parts_of, read_named_clips
from emoprobe.data.utterance import Corpus, CorpusCard, Total
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
    notes=f"North American English, two sentences. {NO_VOTES}",
    label_sets=("ravdess8",),
    words=("neutral", "calm", "happy", "sad", "anger", "fear", "disgust", "surprise"),
    splits="none; usually folds of speakers",
)
EMOTIONS = {f"{number:02}": word for number, word in enumerate(CARD.words, 1)}
CHANNELS = {"speech": "01", "song": "02"}
INTENSITIES = {"01": "normal", "02": "strong"}
STATEMENTS = {"01": "Kids are talking by the door", "02": "Dogs are sitting by the door"}
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

    def clip_of(relative: Path) -> NamedClip | None:
        parts = parts_of(_NAME, relative, "seven codes as in 03-01-01-01-01-01-01.wav")
        return _clip(parts) if parts[1] == _AUDIO_ONLY and parts[2] == CHANNELS[channel] else None

    return read_named_clips(harvest, open_root(root, CARD), _FIRST, clip_of, "acted_emotion")


def _clip(parts: re.Match[str]) -> NamedClip:
    _, _, emotion, intensity, statement, repetition, actor = parts.groups()
    facts: dict[str, str | float] = {
        "intensity": INTENSITIES[intensity],
        "statement": int(statement),
        "repetition": int(repetition),
        "gender": "male" if int(actor) % 2 else "female",
    }
    return NamedClip(parts[0], EMOTIONS[emotion], actor, facts, transcript=STATEMENTS[statement])
