"""EMOVO (Costantini et al. 2014): Italian, acted emotions, in the names of the files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from emoprobe.data.corpora import register
from emoprobe.data.reading.files import Harvest, open_root
from emoprobe.data.reading.named_clips import NO_VOTES, NamedClip, parts_of, read_named_clips, totals_of
from emoprobe.data.utterance import Corpus, CorpusCard

EMOTIONS = {
    "rab": "anger",
    "dis": "disgust",
    "pau": "fear",
    "gio": "happy",
    "neu": "neutral",
    "tri": "sad",
    "sor": "surprise",
}
CARD = CorpusCard(
    name="emovo",
    title="EMOVO",
    synthetic=False,
    licence="free for research; see the site",
    access="http://voice.fub.it/activities/corpora/emovo/index.html",
    citation="Costantini, Iaderola, Paoloni, Todisco: EMOVO Corpus: an Italian Emotional Speech Database. LREC 2014, "
    "3501-3504. https://aclanthology.org/L14-1478",
    raters="none for the label, which is the acted emotion, one hard vote; 24 listeners recognised 80% of a test on "
    "two sentences",
    notes=f"Italian, 14 sentences by six actors, some of them nonsense or questions. {NO_VOTES}",
    label_sets=("ekman7",),
    words=tuple(EMOTIONS.values()),
    splits="none; usually one speaker is left out",
)
# Costantini et al. 2014: short (b), long (l), nonsense (n) and questions (d).
SENTENCES = {
    "b1": "Gli operai si alzano presto.",
    "b2": "I vigili sono muniti di pistola.",
    "b3": "La cascata fa molto rumore.",
    "l1": "L'autunno prossimo Tony partirà per la Spagna: nella prima metà di ottobre.",
    "l2": "Ora prendo la felpa di là ed esco per fare una passeggiata.",
    "l3": "Un attimo dopo s'è incamminato ... ed è inciampato.",
    "l4": "Vorrei il numero telefonico del Signor Piatti.",
    "n1": "La casa forte vuole col pane.",
    "n2": "La forza trova il passo e l'aglio rosso.",
    "n3": "Il gatto sta scorrendo nella pera.",
    "n4": "Insalata pastasciutta coscia d'agnello limoncello.",
    "n5": "Uno quarantatré dieci mille cinquantasette venti.",
    "d1": "Sabato sera cosa farà?",
    "d2": "Porti con te quella cosa?",
}
_NAME = re.compile(r"(rab|dis|pau|gio|neu|tri|sor)-([fm][123])-([a-z]\d)", re.ASCII | re.IGNORECASE)
TOTALS = totals_of(588, 6, dict.fromkeys(CARD.words, 84), "Costantini et al. 2014")


@register("emovo", CARD, TOTALS)
def read_emovo(root: str | Path, on_error: Literal["error", "skip"] = "error") -> Corpus:
    """Read the clips that are there, by their names; sound is not decoded.

    Args:
        root: Folder with clips ``f1/dis-f1-b1.wav`` (or ``.flac``), in any folders within.
        on_error: ``error``, or ``skip`` to list files with other names, and second copies, and go on.

    Returns:
        Corpus in the order of the names, without splits. The acted emotion is the one vote; ``transcript`` is the
        Italian sentence; ``metadata`` holds acted_emotion, sentence and gender.

    Raises:
        InputError: The folder is not EMOVO, a name is malformed, or a clip is there twice.
    """
    return read_named_clips(Harvest(CARD, on_error), open_root(root, CARD), "f1/dis-f1-b1.wav", _clip, "acted_emotion")


def _clip(relative: Path) -> NamedClip:
    form = "EMOTION-SPEAKER-SENTENCE as in dis-f1-b1.wav"
    code, speaker, sentence = (part.lower() for part in parts_of(_NAME, relative, form).groups())
    if sentence not in SENTENCES:
        raise ValueError(f"is not {form}")
    facts = {"sentence": sentence, "gender": "female" if speaker[0] == "f" else "male"}
    clip_id = f"{code}-{speaker}-{sentence}"
    return NamedClip(clip_id, EMOTIONS[code], speaker, facts, transcript=SENTENCES[sentence])
