"""SAVEE, Surrey audio-visual expressed emotion (Haq and Jackson 2009): acted emotions, in the names of the files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from emoprobe.data.corpora import register
from emoprobe.data.reading.files import Harvest, open_root
from emoprobe.data.reading.named_clips import NO_VOTES, NamedClip, parts_of, read_named_clips, totals_of
from emoprobe.data.utterance import Corpus, CorpusCard

EMOTIONS = {"a": "anger", "d": "disgust", "f": "fear", "h": "happy", "n": "neutral", "sa": "sad", "su": "surprise"}
CARD = CorpusCard(
    name="savee",
    title="SAVEE",
    synthetic=False,
    licence="free for research, on registration",
    access="http://kahlan.eps.surrey.ac.uk/savee",
    citation="Haq, Jackson: Speaker-dependent audio-visual emotion recognition. AVSP 2009, 53-58. Haq, Jackson: "
    "Multimodal Emotion Recognition, 2010. doi:10.4018/978-1-61520-919-4.ch017",
    raters="none for the label, which is the acted emotion, one hard vote; the listeners' answers are published as "
    "rates per speaker, not per clip",
    notes=f"British English, four men (DC, JE, JK, KL), 15 TIMIT sentences per emotion, 30 neutral ones. {NO_VOTES}",
    label_sets=("ekman7",),
    words=tuple(EMOTIONS.values()),
    splits="none; usually one speaker is left out",
)
SPEAKERS = ("DC", "JE", "JK", "KL")
_NAME = re.compile(r"(?:(DC|JE|JK|KL)_)?(a|d|f|h|n|sa|su)(\d\d)", re.ASCII | re.IGNORECASE)
TOTALS = totals_of(480, 4, {word: 120 if word == "neutral" else 60 for word in CARD.words}, CARD.access)


@register("savee", CARD, TOTALS)
def read_savee(root: str | Path, on_error: Literal["error", "skip"] = "error") -> Corpus:
    """Read the clips that are there, by their names; sound is not decoded.

    Args:
        root: Folder with clips ``AudioData/DC/a01.wav``, or ``DC_a01.wav`` in any folders within.
        on_error: ``error``, or ``skip`` to list files with other names, and second copies, and go on.

    Returns:
        Corpus in the order of speakers and names, without splits. The acted emotion is the one vote; ``metadata`` holds
        acted_emotion, sentence (its number within the emotion) and gender.

    Raises:
        InputError: The folder is not SAVEE, a name is malformed, or a clip is there twice.
    """
    return read_named_clips(
        Harvest(CARD, on_error), open_root(root, CARD), "AudioData/DC/a01.wav", _clip, "acted_emotion"
    )


def _clip(relative: Path) -> NamedClip:
    form = "EMOTION and number in a speaker's folder, as in DC/a01.wav, or DC_a01.wav"
    named, code, number = parts_of(_NAME, relative, form).groups()
    folders = [part.upper() for part in relative.parts[:-1] if part.upper() in SPEAKERS]
    speakers = {*folders, *([named.upper()] if named else [])}
    if not 1 <= int(number) <= (30 if code.lower() == "n" else 15) or not speakers:
        raise ValueError(f"is not {form}")
    if len(speakers) > 1:
        raise ValueError(f"is of {named.upper() if named else folders[-1]}, and lies in the folder {folders[0]}")
    (speaker,) = speakers
    facts: dict[str, str | float] = {"sentence": int(number), "gender": "male"}
    return NamedClip(f"{speaker}_{code.lower()}{number}", EMOTIONS[code.lower()], speaker, facts)
