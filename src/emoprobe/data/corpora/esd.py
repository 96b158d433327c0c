"""ESD, the emotional speech dataset (Zhou et al. 2022): English and Mandarin, acted emotions, in the files' names."""

from __future__ import annotations

import codecs
import os
import re
from pathlib import Path
from typing import Literal

from emoprobe.data.corpora import register
from emoprobe.data.reading.files import MAX_LINE, RESTORE, Harvest, open_root
from emoprobe.data.reading.named_clips import NO_VOTES, NamedClip, check_folders, parts_of, read_named_clips
from emoprobe.data.utterance import Corpus, CorpusCard, Total
from emoprobe.errors import InputError

# Utterances are numbered by emotion, 350 each, in this order.
WORDS = ("neutral", "anger", "happy", "sad", "surprise")
PER_EMOTION = 350
LANGUAGES = ("mandarin", "english")
CARD = CorpusCard(
    name="esd",
    title="ESD",
    synthetic=False,
    licence="for research, on a signed licence",
    access="https://github.com/HLTSingapore/Emotional-Speech-Data",
    citation="Zhou, Sisman, Liu, Li: Emotional voice conversion: Theory, databases and ESD. Speech Communication 137, "
    "1-18, 2022. doi:10.1016/j.specom.2021.11.006",
    raters="none for the label, which is the acted emotion, one hard vote",
    notes="Ten Mandarin (0001 to 0010) and ten English speakers (0011 to 0020), the same 350 sentences in each "
    f"emotion. Some lines of the texts are damaged; such clips have no transcript. {NO_VOTES}",
    label_sets=("esd5",),
    words=WORDS,
    splits="train (300 sentences), evaluation (20, here development) and test (30) of every speaker and emotion; all "
    "speakers are in all three",
)
MEN = frozenset((4, 5, 6, 8, 10, 11, 12, 13, 14, 20))  # the corpus's own ReadMe.txt
_FOLDERS = {"neutral": "neutral", "angry": "anger", "happy": "happy", "sad": "sad", "surprise": "surprise"}
_SPLITS = {"train": "train", "evaluation": "development", "test": "test"}
_NAME = re.compile(r"(\d{4})_(\d{6})", re.ASCII)
_SAID = _FOLDERS | {"中立": "neutral", "生气": "anger", "快乐": "happy", "伤心": "sad", "惊喜": "surprise"}
_LINE = re.compile(r"\s*(\d{4}_\d{6})\s+(\S.*?)\s+(\w+)\s*")


def _half(what: str, counted: int, language: str, per_emotion: bool = False) -> Total:
    """A count of one language's clips; None where another part of the corpus was read."""

    def count(corpus: Corpus) -> int | None:
        clips = [each for each in corpus.utterances if each.metadata["language"] == language]
        return (len(clips) if not per_emotion else len({each.speaker for each in clips})) if clips else None

    return Total(f"{language} {what}", counted, count, "Zhou et al. 2022")


TOTALS = tuple(
    _half(what, count, language, what == "speakers")
    for language in LANGUAGES
    for what, count in (("clips", 17_500), ("speakers", 10))
)


@register("esd", CARD, TOTALS)
def read_esd(
    root: str | Path,
    language: Literal["english", "mandarin"] | None = None,
    on_error: Literal["error", "skip"] = "error",
) -> Corpus:
    """Read the clips that are there, by their names, and, where there are some, their texts; sound is not decoded.

    Args:
        root: Folder with clips ``0011/Angry/0011_000351.wav`` (or ``.flac``), in any folders within, with or without
            those of the splits. Texts lie in ``0011/0011.txt``.
        language: ``english``, ``mandarin``, or both if None.
        on_error: ``error``, or ``skip`` to list files with other names, and second copies, and go on.

    Returns:
        Corpus in the order of the names, splits ``train``, ``development`` and ``test``. The acted emotion is the one
        vote; ``metadata`` holds acted_emotion, language, sentence (1 to 350, the same text for all emotions and
        speakers of a language) and gender.

    Raises:
        InputError: The folder is not ESD, a name is malformed or contradicts its folders, a clip is there twice, or a
            text file is damaged as a whole or says otherwise.
    """
    harvest = Harvest(CARD, on_error)
    if language not in (None, *LANGUAGES):
        what = f"unknown language {language!r:.80}"
        raise InputError(what, field="dataset.language", remedy="Use english, mandarin or null.")
    top = open_root(root, CARD)
    texts: dict[Path, dict[str, str]] = {}

    def clip_of(relative: Path) -> NamedClip | None:
        parts = parts_of(_NAME, relative, "SPEAKER_NUMBER as in 0011_000351.wav")
        speaker, number = int(parts[1]), int(parts[2]) - 1
        if not 1 <= speaker <= 20 or not 0 <= number < PER_EMOTION * len(WORDS):
            raise ValueError("is not SPEAKER_NUMBER as in 0011_000351.wav, of speakers to 0020 and numbers to 001750")
        if language not in (None, LANGUAGES[speaker > 10]):
            return None
        word, sentence = WORDS[number // PER_EMOTION], number % PER_EMOTION
        split = "development" if sentence < 20 else "test" if sentence < 50 else "train"
        check_folders(relative, _FOLDERS, word)
        check_folders(relative, _SPLITS, split)
        file = next((f for f in _text_files(top, relative, parts[1]) if f in texts or os.path.isfile(f)), None)
        if file and file not in texts:
            texts[file] = _read_texts(file)
        facts: dict[str, str | float] = {"language": LANGUAGES[speaker > 10], "sentence": sentence + 1}
        facts["gender"] = "male" if speaker in MEN else "female"
        return NamedClip(parts[0], word, parts[1], facts, split, texts[file].get(parts[0]) if file else None)

    return read_named_clips(harvest, top, "0011/Angry/0011_000351.wav", clip_of, "acted_emotion")


def _text_files(top: Path, relative: Path, speaker: str) -> list[Path]:
    return [top / folder / f"{speaker}.txt" for folder in relative.parents]


def _read_texts(file: Path) -> dict[str, str]:
    """Clip id -> words spoken; lines in other forms, of which the corpus has some, say nothing."""
    remedy = f"{RESTORE}, or remove it: it is optional."
    try:
        content = file.read_bytes()
    except OSError as error:
        raise InputError(f"the file cannot be read: {error.strerror or error}", file=file, remedy=remedy) from None
    texts: dict[str, str] = {}
    for row, line in enumerate(_decoded(content, int(file.stem) <= 10).splitlines(), 1):
        if len(line) > MAX_LINE:
            raise InputError(f"the line is longer than {MAX_LINE:,} bytes", file=file, row=row, remedy=remedy)
        parts = _LINE.fullmatch(line)
        said = _SAID.get(parts[3].lower()) if parts else None
        if not parts or not said:
            continue
        number = int(parts[1][5:]) - 1
        if not 0 <= number < PER_EMOTION * len(WORDS) or WORDS[number // PER_EMOTION] != said:
            what = f"clip {parts[1]} is {parts[3]!r:.80} here, and another emotion by its number"
            raise InputError(what, file=file, row=row, remedy=remedy)
        texts[parts[1]] = parts[2]
    if not texts:
        raise InputError("there is no usable text (CLIP, words, emotion) in this file", file=file, remedy=remedy)
    return texts


def _decoded(content: bytes, mandarin: bool) -> str:
    """Text in one of the encodings that the corpus's files have: UTF-16, UTF-8, GB 18030, Latin-1."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16", errors="replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("gb18030", errors="replace") if mandarin else content.decode("latin-1")
