"""nEMO (Christop 2024): Polish, acted emotions, in a table."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from emoprobe.data.corpora import register
from emoprobe.data.reading.fields import known, words
from emoprobe.data.reading.files import Harvest, RowError, SoundFolder, open_root, table_rows
from emoprobe.data.reading.named_clips import NO_VOTES, totals_of
from emoprobe.data.utterance import Corpus, CorpusCard, Utterance

EMOTIONS = {
    "anger": "anger",
    "fear": "fear",
    "happiness": "happy",
    "neutral": "neutral",
    "sadness": "sad",
    "surprised": "surprise",
}
CARD = CorpusCard(
    name="nemo",
    title="nEMO",
    synthetic=False,
    licence="CC BY-NC-SA 4.0",
    access="https://github.com/amu-cai/nEMO",
    citation="Christop: nEMO: Dataset of Emotional Speech in Polish. LREC-COLING 2024, 12111-12116. arXiv:2404.06292",
    raters="none for the label, which is the acted emotion, one hard vote",
    notes=f"Polish, 90 sentences by four women and five men. {NO_VOTES}",
    label_sets=("surprise6",),
    words=tuple(EMOTIONS.values()),
    splits="none; usually folds of speakers",
)
TABLE = "data.tsv"
COLUMNS = ("file_id", "emotion", "raw_text", "speaker_id", "gender", "age")
_COUNTS = {"anger": 749, "fear": 736, "happy": 749, "neutral": 809, "sad": 769, "surprise": 669}
TOTALS = totals_of(4481, 9, _COUNTS, f"{TABLE} of the official release")


@register("nemo", CARD, TOTALS)
def read_nemo(root: str | Path, on_error: Literal["error", "skip"] = "error") -> Corpus:
    """Read the table; sound is not decoded and may be missing.

    Args:
        root: Folder with ``data.tsv`` and ``samples/``.
        on_error: ``error``, or ``skip`` to list bad rows and go on.

    Returns:
        Corpus in the table's order, without splits. The acted emotion is the one vote; ``metadata`` holds
        acted_emotion, gender and age (years).

    Raises:
        InputError: The folder is not nEMO, or a row is malformed.
    """
    harvest = Harvest(CARD, on_error)
    root = open_root(root, CARD, TABLE)
    sounds = SoundFolder(root / "samples")
    table = root / TABLE
    for row, cells in table_rows(table, COLUMNS, delimiter="\t"):
        with harvest.row("" if isinstance(cells, RowError) else cells["file_id"]):
            if isinstance(cells, RowError):
                raise cells
            harvest.add(_utterance(table, row, {name: text.strip() for name, text in cells.items()}, sounds))
    return harvest.corpus(table)


def _utterance(table: Path, row: int, cells: dict[str, str], sounds: SoundFolder) -> Utterance:
    name, emotion = cells["file_id"], cells["emotion"].lower()
    if not name:
        raise RowError("the field is empty", file=table, row=row, field="file_id")
    if emotion not in EMOTIONS:
        what = f"{cells['emotion']!r:.80} is none of {', '.join(EMOTIONS)}"
        raise RowError(what, file=table, row=row, field="emotion", reason="bad_votes")
    age = cells["age"]
    if not (age.isascii() and age.isdecimal() and 0 < int(age[:4]) < 130 and len(age) < 4):
        raise RowError(f"{age!r:.80} is not an age in years", file=table, row=row, field="age")
    return Utterance(
        id=name.removesuffix(".wav"),
        audio=sounds.find(name, file=table, row=row, field="file_id"),
        votes={EMOTIONS[emotion]: 1.0},
        num_raters=1,
        speaker=known(cells["speaker_id"]),
        transcript=words(cells["raw_text"]),
        metadata={"acted_emotion": EMOTIONS[emotion], "gender": cells["gender"].lower(), "age": int(age)},
        file=table,
        row=row,
    )
