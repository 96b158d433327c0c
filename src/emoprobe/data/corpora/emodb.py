"""EmoDB, the Berlin database of emotional speech (Burkhardt et al. 2005): acted emotions, in the names of the files."""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from pathlib import Path
from typing import Literal

from emoprobe.data.corpora import register
from emoprobe.data.reading.files import RESTORE, Harvest, RowError, SoundFolder, open_root, table_rows
from emoprobe.data.utterance import Corpus, CorpusCard, Total, Utterance
from emoprobe.errors import InputError

CARD = CorpusCard(
    name="emodb",
    title="EmoDB",
    synthetic=False,
    licence="free download; see the site for its terms",
    access="http://emodb.bilderbar.info",
    citation="Burkhardt, Paeschke, Rolfes, Sendlmeier, Weiss: A Database of German Emotional Speech. Interspeech 2005, "
    "1517-1520. doi:10.21437/Interspeech.2005-446",
    raters="none for the label, which is the acted emotion, one hard vote; of 20 listeners the share is known who "
    "recognised it (metadata: recognised), but not what the others heard",
    notes="German. Acted labels are no distribution of votes: divergences from them say nothing about ambiguity. Only "
    "clips that at least 80% recognised and at least 60% found natural were published.",
    label_sets=("emodb7",),
    words=("anger", "boredom", "disgust", "fear", "happy", "sad", "neutral"),
    splits="none; usually one speaker is left out",
)
EMOTIONS = {
    "W": "anger",
    "L": "boredom",
    "E": "disgust",
    "A": "fear",
    "F": "happy",
    "T": "sad",
    "N": "neutral",
}
SPEAKERS = {
    "03": ("male", 31),
    "08": ("female", 34),
    "09": ("female", 21),
    "10": ("male", 32),
    "11": ("male", 26),
    "12": ("male", 30),
    "13": ("female", 32),
    "14": ("female", 35),
    "15": ("male", 25),
    "16": ("female", 31),
}
SENTENCES = {
    "a01": "Der Lappen liegt auf dem Eisschrank.",
    "a02": "Das will sie am Mittwoch abgeben.",
    "a04": "Heute abend könnte ich es ihm sagen.",
    "a05": "Das schwarze Stück Papier befindet sich da oben neben dem Holzstück.",
    "a07": "In sieben Stunden wird es soweit sein.",
    "b01": "Was sind denn das für Tüten, die da unter dem Tisch stehen?",
    "b02": "Sie haben es gerade hochgetragen und jetzt gehen sie wieder runter.",
    "b03": "An den Wochenenden bin ich jetzt immer nach Hause gefahren und habe Agnes besucht.",
    "b09": "Ich will das eben wegbringen und dann mit Karl was trinken gehen.",
    "b10": "Die wird auf dem Platz sein, wo wir sie immer hinlegen.",
}
LISTENERS_FILE = "erkennung.txt"
SUFFIXES = (".wav", ".flac")
_NAME = re.compile(r"(\d\d)([ab]\d\d)([A-Z])[a-z]", re.ASCII)
_PERCENT = re.compile(r"\d{1,3}(?:,\d{1,6})?", re.ASCII)
_COUNTS = {"anger": 127, "boredom": 81, "disgust": 46, "fear": 69, "happy": 71, "neutral": 79, "sad": 62}
TOTALS = (
    Total("clips", 535, lambda corpus: len(corpus.utterances), CARD.access),
    Total("speakers", 10, lambda corpus: len({utterance.speaker for utterance in corpus.utterances}), CARD.access),
    *(Total.of_word(f"clips of {word}", count, word, CARD.access) for word, count in _COUNTS.items()),
)


@register("emodb", CARD, TOTALS)
def read_emodb(root: str | Path, on_error: Literal["error", "skip"] = "error") -> Corpus:
    """Read the clips that are there, by their names; sound is not decoded.

    Args:
        root: Folder with ``wav/``, or that folder itself; ``erkennung.txt`` may lie in either.
        on_error: ``error``, or ``skip`` to list files with other names and go on.

    Returns:
        Corpus in the order of the names, without splits. The acted emotion is the one vote. ``transcript`` is the
        German sentence; ``metadata`` holds acted_emotion, sentence, gender, age and, where ``erkennung.txt`` has them,
        recognised and natural: shares of the listeners, from 0 to 1.

    Raises:
        InputError: The folder is not EmoDB, a name is malformed, or ``erkennung.txt`` is damaged.
    """
    harvest = Harvest(CARD, on_error)
    root = open_root(root, CARD)
    folder = root / "wav" if os.path.isdir(root / "wav") else root
    try:
        names = sorted(name for name in os.listdir(folder) if name.lower().endswith(SUFFIXES) and name[0] != ".")
    except (OSError, ValueError):
        names = []
    if not names:
        open_root(root, CARD, "wav/03a01Fa.wav")
        raise InputError("there is no sound", file=folder, field="dataset.root", remedy=f"{RESTORE}.")
    sounds = SoundFolder(root, SUFFIXES)
    clips = {os.path.splitext(name)[0].lower() for name in names}
    heard = _read_listeners(clips, root, folder)
    for name in names:
        with harvest.row(os.path.splitext(name)[0]):
            before = harvest.utterances.get(os.path.splitext(name)[0])
            if before is not None:
                what = f"clip {before.id} is there twice; the other is {before.file}"
                remedy = "Take one away, or take the first: dataset.on_error=skip."
                raise RowError(what, file=folder / name, row=None, reason="duplicate_id", remedy=remedy)
            audio = sounds.find((folder / name).relative_to(root), file=folder / name)
            harvest.add(_utterance(folder / name, audio, heard))
    return harvest.corpus(folder)


def _utterance(file: Path, audio: Path, heard: dict[str, dict[str, float]]) -> Utterance:
    parts = _NAME.fullmatch(file.stem)
    speaker, sentence, letter = parts.groups() if parts else ("", "", "")
    if speaker not in SPEAKERS or sentence not in SENTENCES or letter not in EMOTIONS:
        raise RowError(
            f"{file.name!r:.80} is not SPEAKER, SENTENCE, EMOTION, VERSION as in 03a01Fa.wav",
            file=file,
            row=None,
            remedy="Take the file away, or leave it out: dataset.on_error=skip.",
        )
    word = EMOTIONS[letter]
    gender, age = SPEAKERS[speaker]
    facts = {"acted_emotion": word, "sentence": sentence, "gender": gender, "age": age}
    return Utterance(
        id=file.stem,
        audio=audio,
        votes={word: 1.0},
        num_raters=1,
        speaker=speaker,
        transcript=SENTENCES[sentence],
        metadata=facts | heard.get(file.stem.lower(), {}),
        file=file,
    )


def _read_listeners(clips: Collection[str], *folders: Path) -> dict[str, dict[str, float]]:
    """Clip id in lower case -> shares of the listeners; nothing where the file is absent."""
    file = next((folder / LISTENERS_FILE for folder in folders if os.path.isfile(folder / LISTENERS_FILE)), None)
    heard: dict[str, dict[str, float]] = {}
    if file is None:
        return heard
    columns = {"erkannt": "recognised", "natuerlich": "natural"}
    remedy = f"{RESTORE}, or remove it: it is optional."
    try:
        for row, cells in table_rows(
            file,
            ("Satz", *columns),
            delimiter="\t",
            encoding="latin-1",
            aliases={"natürlich": "natuerlich"},
            remedy=remedy,
        ):
            if isinstance(cells, RowError):
                raise cells
            clip_id = os.path.splitext(cells["Satz"].strip())[0].lower()
            # The file also has recordings that were not published.
            if clip_id not in clips:
                continue
            shares = {fact: _share(cells[column], column, file, row) for column, fact in columns.items()}
            if heard.setdefault(clip_id, shares) != shares:
                what = f"clip {clip_id!r:.80} was there before, with other shares"
                raise RowError(what, file=file, row=row, field="Satz")
    except RowError as error:
        raise InputError(error.what, file=file, row=error.row, field=error.field, remedy=remedy) from None
    return heard


def _share(text: str, column: str, file: Path, row: int) -> float:
    text = text.strip()
    percent = float(text.replace(",", ".")) if _PERCENT.fullmatch(text) else -1.0
    if not 0 <= percent <= 100:
        raise RowError(f"{text!r:.80} is not a percentage with a decimal comma", file=file, row=row, field=column)
    return percent / 100
