"""ShEMO, the Sharif emotional speech database (Mohamad Nezami et al. 2019): Persian radio plays, one label a clip."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from emoprobe.data.corpora import register
from emoprobe.data.reading.fields import words
from emoprobe.data.reading.files import RESTORE, Harvest, open_root, parse_object, text_lines
from emoprobe.data.reading.named_clips import NO_VOTES, NamedClip, parts_of, read_named_clips, totals_of
from emoprobe.data.utterance import Corpus, CorpusCard
from emoprobe.errors import InputError

EMOTIONS = {"A": "anger", "F": "fear", "H": "happy", "N": "neutral", "S": "sad", "W": "surprise"}
CARD = CorpusCard(
    name="shemo",
    title="ShEMO",
    synthetic=False,
    licence="free for academic purposes",
    access="https://github.com/pariajm/sharif-emotional-speech-database",
    citation="Mohamad Nezami, Jamshid Lou, Karami: ShEMO: a large-scale validated database for Persian speech emotion "
    "detection. Language Resources and Evaluation 53(1), 1-16, 2019. doi:10.1007/s10579-018-9427-x",
    raters="the majority of twelve annotators (kappa 0.64) is the label, one hard vote; their single votes are not "
    "published",
    notes="Persian radio plays, 31 women and 56 men. Two clips are longer than 30 s (F20N12, M51N20). The label table "
    f"with the transcripts (shemo.json) has 2,838 of the 3,000 clips. {NO_VOTES}",
    label_sets=("surprise6",),
    words=tuple(EMOTIONS.values()),
    splits="none; usually folds of speakers",
)
TEXTS_FILE = "shemo.json"
_WORDS = {
    "anger": "anger",
    "angry": "anger",
    "fear": "fear",
    "fearful": "fear",
    "happiness": "happy",
    "happy": "happy",
    "neutral": "neutral",
    "sad": "sad",
    "sadness": "sad",
    "surprise": "surprise",
    "surprised": "surprise",
}
_NAME = re.compile(r"([FM]\d\d)([AFHNSW])(\d\d)", re.ASCII | re.IGNORECASE)
_COUNTS = {"anger": 1059, "fear": 38, "happy": 201, "neutral": 1028, "sad": 449, "surprise": 225}
TOTALS = totals_of(3000, 87, _COUNTS, "Mohamad Nezami et al. 2019")


@register("shemo", CARD, TOTALS)
def read_shemo(root: str | Path, on_error: Literal["error", "skip"] = "error") -> Corpus:
    """Read the clips that are there, by their names, and, where there are some, their texts; sound is not decoded.

    Args:
        root: Folder with clips ``female/F03S02.wav`` (or ``.flac``), in any folders within; ``shemo.json`` may lie in
            it.
        on_error: ``error``, or ``skip`` to list files with other names, and second copies, and go on.

    Returns:
        Corpus in the order of the names, without splits. The annotators' majority is the one vote; ``metadata`` holds
        consensus (that label) and gender.

    Raises:
        InputError: The folder is not ShEMO, a name is malformed, a clip is there twice, or ``shemo.json`` is damaged
            or says otherwise.
    """
    harvest = Harvest(CARD, on_error)
    top = open_root(root, CARD)
    texts = _read_texts(top / TEXTS_FILE)
    return read_named_clips(harvest, top, "female/F03S02.wav", lambda relative: _clip(relative, texts), "consensus")


def _clip(relative: Path, texts: Mapping[str, str | None]) -> NamedClip:
    parts = parts_of(_NAME, relative, "SPEAKER, EMOTION, number as in F03S02.wav")
    clip_id, speaker, letter = parts[0].upper(), parts[1].upper(), parts[2].upper()
    facts = {"gender": "female" if speaker[0] == "F" else "male"}
    return NamedClip(clip_id, EMOTIONS[letter], speaker, facts, transcript=texts.get(clip_id))


def _read_texts(file: Path) -> dict[str, str | None]:
    """Clip id -> words spoken; nothing where the file is absent."""
    if not os.path.isfile(file):
        return {}
    remedy = f"{RESTORE}, or remove it: it is optional."
    texts = {}
    try:
        for name, clip in parse_object("\n".join(line for _, line in text_lines(file, remedy=remedy))).items():
            parts = _NAME.fullmatch(name)
            if not parts or not isinstance(clip, dict):
                raise ValueError(f"{name!r:.80} is not a clip as in F03S02")
            said, word = clip.get("emotion"), EMOTIONS[parts[2].upper()]
            if not isinstance(said, str) or _WORDS.get(said.strip().lower()) != word:
                raise ValueError(f"the emotion of {name} is {said!r:.80}, and its name says {word}")
            texts[name.upper()] = words(clip.get("transcript"))
    except InputError:
        raise
    except (ValueError, RecursionError) as error:
        raise InputError(f"the file is damaged: {error!s:.200}", file=file, remedy=remedy) from None
    return texts
