"""SUBESCO (Sultana et al. 2021): Bangla, acted emotions, in the names of the files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from emoprobe.data.corpora import register
from emoprobe.data.reading.files import Harvest, open_root
from emoprobe.data.reading.named_clips import NO_VOTES, NamedClip, parts_of, read_named_clips, totals_of
from emoprobe.data.utterance import Corpus, CorpusCard

EMOTIONS = {
    "ANGRY": "anger",
    "DISGUST": "disgust",
    "FEAR": "fear",
    "HAPPY": "happy",
    "NEUTRAL": "neutral",
    "SAD": "sad",
    "SURPRISE": "surprise",
}
CARD = CorpusCard(
    name="subesco",
    title="SUBESCO",
    synthetic=False,
    licence="CC BY 4.0",
    access="https://zenodo.org/records/4526477",
    citation="Sultana, Rahman, Selim, Iqbal: SUST Bangla Emotional Speech Corpus (SUBESCO): An audio-only emotional "
    "speech corpus for Bangla. PLoS ONE 16(4): e0250173, 2021. doi:10.1371/journal.pone.0250173",
    raters="none for the label, which is the acted emotion, one hard vote; the answers of the 50 raters who evaluated "
    "it are published as rates per emotion, not per clip",
    notes=f"Bangla, ten sentences, each five times, by ten women and ten men. One file is misnamed "
    f"F_02_MONIKA_S_2_SURPRISE_3]. {NO_VOTES}",
    label_sets=("ekman7",),
    words=tuple(EMOTIONS.values()),
    splits="none; usually folds of speakers",
)
_NAME = re.compile(rf"([FM])_(\d\d)_([A-Z]+)_S_(\d\d?)_({'|'.join(EMOTIONS)})_([1-5])\]?", re.ASCII | re.IGNORECASE)
TOTALS = totals_of(7000, 20, dict.fromkeys(CARD.words, 1000), "Sultana et al. 2021")


@register("subesco", CARD, TOTALS)
def read_subesco(root: str | Path, on_error: Literal["error", "skip"] = "error") -> Corpus:
    """Read the clips that are there, by their names; sound is not decoded.

    Args:
        root: Folder with clips ``F_01_OISHI_S_1_ANGRY_1.wav`` (or ``.flac``), in any folders within.
        on_error: ``error``, or ``skip`` to list files with other names, and second copies, and go on.

    Returns:
        Corpus in the order of the names, without splits. The acted emotion is the one vote; ``metadata`` holds
        acted_emotion, sentence (1 to 10), take (1 to 5) and gender.

    Raises:
        InputError: The folder is not SUBESCO, a name is malformed, or a clip is there twice.
    """
    return read_named_clips(
        Harvest(CARD, on_error), open_root(root, CARD), "F_01_OISHI_S_1_ANGRY_1.wav", _clip, "acted_emotion"
    )


def _clip(relative: Path) -> NamedClip:
    form = "SEX_NUMBER_NAME_S_SENTENCE_EMOTION_TAKE as in F_01_OISHI_S_1_ANGRY_1.wav"
    parts = parts_of(_NAME, relative, form)
    sex, number, _, sentence, emotion, take = (part.upper() for part in parts.groups())
    if not 1 <= int(number) <= 10 or not 1 <= int(sentence) <= 10:
        raise ValueError(f"is not {form}")
    facts = {"sentence": int(sentence), "take": int(take), "gender": "female" if sex == "F" else "male"}
    return NamedClip(parts[0].upper().removesuffix("]"), EMOTIONS[emotion], f"{sex}_{number}", facts)
