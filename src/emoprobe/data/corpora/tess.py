"""TESS, the Toronto emotional speech set (Pichora-Fuller and Dupuis 2020): acted emotions, in the files' names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from emoprobe.data.corpora import register
from emoprobe.data.reading.files import Harvest, open_root
from emoprobe.data.reading.named_clips import NO_VOTES, NamedClip, check_folders, parts_of, read_named_clips, totals_of
from emoprobe.data.utterance import Corpus, CorpusCard

EMOTIONS = {
    "angry": "anger",
    "disgust": "disgust",
    "fear": "fear",
    "happy": "happy",
    "neutral": "neutral",
    "ps": "surprise",
    "sad": "sad",
}
CARD = CorpusCard(
    name="tess",
    title="TESS",
    synthetic=False,
    licence="CC BY-NC-ND 4.0",
    access="https://doi.org/10.5683/SP2/E8H2MF",
    citation="Pichora-Fuller, Dupuis: Toronto emotional speech set (TESS). Borealis, 2020. doi:10.5683/SP2/E8H2MF",
    raters="none for the label, which is the acted emotion, one hard vote",
    notes="Canadian English: 'Say the word ...' by two women of 26 and 64 years (YAF, OAF). Surprise is pleasant "
    f"surprise. One file is misnamed OA_bite_neutral. A widely copied archive holds everything twice. {NO_VOTES}",
    label_sets=("ekman7",),
    words=tuple(EMOTIONS.values()),
    splits="none; with two speakers, one is left out",
)
AGES = {"OAF": 64, "YAF": 26}
_SURPRISE = ("pleasant_surprise", "pleasant_surprised", "ps")
_FOLDERS = {
    f"{speaker}_{spelling}".lower(): word
    for speaker in AGES
    for code, word in EMOTIONS.items()
    for spelling in (_SURPRISE if code == "ps" else (code,))
}
_NAME = re.compile(r"(OAF?|YAF)_([a-z]+)_(angry|disgust|fear|happy|neutral|ps|sad)", re.ASCII | re.IGNORECASE)
TOTALS = totals_of(2800, 2, dict.fromkeys(CARD.words, 400), CARD.access)


@register("tess", CARD, TOTALS)
def read_tess(root: str | Path, on_error: Literal["error", "skip"] = "error") -> Corpus:
    """Read the clips that are there, by their names; sound is not decoded.

    Args:
        root: Folder with clips ``SPEAKER_word_emotion.wav`` (or ``.flac``), in any folders within.
        on_error: ``error``, or ``skip`` to list files with other names, and second copies, and go on.

    Returns:
        Corpus in the order of the names, without splits. The acted emotion is the one vote; ``metadata`` holds
        acted_emotion, target_word, gender and age.

    Raises:
        InputError: The folder is not TESS, a name is malformed or contradicts its folder, or a clip is there twice.
    """
    return read_named_clips(
        Harvest(CARD, on_error), open_root(root, CARD), "OAF_angry/OAF_back_angry.wav", _clip, "acted_emotion"
    )


def _clip(relative: Path) -> NamedClip:
    speaker, spoken, code = parts_of(_NAME, relative, "SPEAKER_word_emotion as in OAF_back_angry.wav").groups()
    speaker, spoken, code = speaker.upper(), spoken.lower(), code.lower()
    speaker = "OAF" if speaker == "OA" else speaker
    check_folders(relative, _FOLDERS, EMOTIONS[code])
    return NamedClip(
        f"{speaker}_{spoken}_{code}",
        EMOTIONS[code],
        speaker,
        {"target_word": spoken, "gender": "female", "age": AGES[speaker]},
        transcript=f"Say the word {spoken}",
    )
