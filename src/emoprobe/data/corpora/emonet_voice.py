"""EmoNet-Voice Bench (Schuhmann et al. 2025): how strongly experts hear one named emotion in synthetic speech."""

from __future__ import annotations

import ast
import hashlib
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Literal
from urllib.parse import unquote

from emoprobe.data.corpora import register
from emoprobe.data.reading.fields import known
from emoprobe.data.reading.files import Harvest, RowError, SoundFolder, open_root
from emoprobe.data.reading.parquet import parquet_rows, store_sound
from emoprobe.data.utterance import Corpus, CorpusCard, Rating, Total, Utterance

SCORES = ("absent", "weak", "strong")
CARD = CorpusCard(
    name="emonet_voice",
    title="EmoNet-Voice Bench (synthetic voices)",
    synthetic=False,  # the voices are, but people heard them
    licence="see its dataset card",
    access="the Hugging Face hub: EmoNet-Voice Bench by LAION, Parquet files",
    citation="Schuhmann, Kaczmarczyk, Rabby, Friedrich, Kraus, Nadi, Nguyen, Kersting, Auer: EmoNet-Voice: A "
    "Fine-Grained, Expert-Verified Benchmark for Speech Emotion Detection. arXiv:2506.09827, 2025",
    raters="psychology experts with ids; each scores how strongly one named emotion is heard: absent, weak or strong",
    notes="A rating format, not a choice among emotions: a row says how present its one target emotion is, and no "
    "distribution over emotions can be formed from it. The speech comes from a text-to-speech system; its voices are "
    "not told, so no split can be known to keep voices apart.",
    label_sets=("presence3",),
    words=SCORES,
)
TOTALS = (Total("clips", 12_600, lambda corpus: len(corpus.utterances), "Schuhmann et al. 2025, arXiv:2506.09827"),)
BESIDE = ("Authenticity", "Arousal")  # scored beside the emotions
AUDIO, LABEL = "audioId", "label"
MAX_LABEL = 100_000  # characters; a real one has about a hundred


@register("emonet_voice", CARD, TOTALS)
def read_emonet_voice(
    root: str | Path,
    cache_dir: str | Path | None = None,
    on_error: Literal["error", "skip"] = "error",
) -> Corpus:
    """Read the Parquet files; sound that stands in them is written to the cache once, and not decoded.

    Args:
        root: Folder with the Parquet files, in itself or in any subfolder.
        cache_dir: Cache folder; see `emoprobe.system.cache.cache_folder`.
        on_error: ``error``, or ``skip`` to list bad rows and go on.

    Returns:
        Corpus in the files' order, one utterance per row, named ``<clip>:<target emotion>``; the raters' words are
        ``absent``, ``weak``, ``strong``. ``metadata`` holds target_emotion, and the means of authenticity and arousal
        (0 to 2) where they were scored too.

    Raises:
        InputError: The folder holds no Parquet file, a file is damaged, or a row is malformed.
    """
    harvest = Harvest(CARD, on_error)
    top = open_root(root, CARD)
    files = _files(top)
    if not files:
        open_root(root, CARD, "data/train-00000-of-00001.parquet", "*.parquet")
    sounds = SoundFolder(top)
    for file in files:
        for row, values in parquet_rows(file, (AUDIO, LABEL), only_needed=True):
            with harvest.row(_name(values[AUDIO])):
                harvest.add(_utterance(file, row, values, sounds, cache_dir), field=AUDIO)
    return harvest.corpus(files[0])


def _files(top: Path) -> list[Path]:
    try:
        return sorted(
            Path(folder) / name
            for folder, _, names in os.walk(top)
            for name in names
            if name.lower().endswith(".parquet") and not name.startswith(".")
        )
    except ValueError:  # the path holds a null byte
        return []


def _name(audio: object) -> str:
    path = audio.get("path") if isinstance(audio, dict) else audio
    return os.path.splitext(os.path.basename(path))[0] if isinstance(path, str) else ""


def _utterance(
    file: Path, row: int, values: Mapping[str, object], sounds: SoundFolder, cache_dir: str | Path | None
) -> Utterance:
    scores = _scores(file, row, values[LABEL])
    target = _target(file, row, scores)
    facts: dict[str, str | float] = {"target_emotion": target}
    for name in BESIDE:
        beside = [score for _, given in scores for emotion, score in given.items() if emotion == name]
        if beside and name != target:
            facts[name.lower()] = sum(beside) / len(beside)
    name, audio = _audio(file, row, values[AUDIO], sounds, cache_dir)
    return Utterance(
        id=f"{name}:{target}",
        audio=audio,
        ratings=tuple(Rating(rater, (SCORES[given[target]],)) for rater, given in scores),
        metadata=facts,
        file=file,
        row=row,
    )


def _scores(file: Path, row: int, label: object) -> list[tuple[str, dict[str, int]]]:
    """``(rater, emotion -> score)`` for every rating in the label text."""
    try:
        if not isinstance(label, str):
            raise ValueError("it is not text")
        if len(label) > MAX_LABEL:
            raise ValueError(f"it is longer than {MAX_LABEL:,} characters")
        with warnings.catch_warnings():  # about damaged text that is valid Python by chance
            warnings.simplefilter("ignore")
            value = ast.literal_eval(label)
        if not isinstance(value, list) or not value:
            raise ValueError("it is not a list of ratings")
        scores = [_rating(rating) for rating in value]
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError) as error:
        why = str(error)[:200] or type(error).__name__
        what = f"the label {label!r:.80} cannot be read: {why}"
        raise RowError(what, file=file, row=row, field=LABEL, reason="bad_votes") from None
    return scores


def _rating(value: object) -> tuple[str, dict[str, int]]:
    if not isinstance(value, dict) or len(value) != 1:
        raise ValueError(f"{value!r:.80} is not one rater's rating")
    ((rater, scores),) = value.items()
    if (
        not isinstance(rater, str)
        or known(rater) is None
        or not _is_name(rater.strip())
        or not isinstance(scores, dict)
    ):
        raise ValueError(f"{value!r:.80} is not one rater's rating")
    clean: dict[str, int] = {}
    for emotion, score in scores.items():
        # Names are written as in an address: Impatience%20and%20Irritability.
        name = unquote(emotion).strip() if isinstance(emotion, str) else ""
        if not _is_name(name):
            raise ValueError(f"{emotion!r:.80} is not an emotion")
        if isinstance(score, bool) or not isinstance(score, (int, float)) or score not in (0, 1, 2):
            raise ValueError(f"{score!r:.80} is not a score of 0, 1 or 2")
        clean[name] = int(score)
    return rater.strip(), clean


def _is_name(text: str) -> bool:
    """Whether a text can be written to a table: it has no control character and no half of a surrogate pair."""
    return bool(text) and text.isprintable()


def _target(file: Path, row: int, scores: list[tuple[str, dict[str, int]]]) -> str:
    """The one emotion that all raters scored; a row about authenticity or arousal alone has that as its target."""
    named = dict.fromkeys(emotion for _, given in scores for emotion in given)
    targets = [emotion for emotion in named if emotion not in BESIDE] or list(named)
    if len(targets) != 1:
        what = f"the raters scored {', '.join(targets)[:200] or 'nothing'}, not one emotion"
    elif not all(targets[0] in given for _, given in scores):
        what = f"a rater did not score {targets[0]!r:.80}"
    else:
        return targets[0]
    raise RowError(what, file=file, row=row, field=LABEL, reason="bad_votes")


def _audio(file: Path, row: int, value: object, sounds: SoundFolder, cache_dir: str | Path | None) -> tuple[str, Path]:
    """The clip's name and its sound file."""
    content = None
    if isinstance(value, dict):
        content, value = value.get("bytes"), value.get("path")
    if value is not None and not isinstance(value, str):
        raise RowError(f"{value!r:.80} is not a path", file=file, row=row, field=AUDIO)
    path = (value or "").strip()
    if path and not _is_name(path):
        raise RowError(f"the path {path!r:.80} holds a control character", file=file, row=row, field=AUDIO)
    if content:
        if not isinstance(content, bytes):
            raise RowError(f"{content!r:.80} is not sound", file=file, row=row, field=AUDIO)
        name = _name(path) or hashlib.sha256(content).hexdigest()[:16]
        return name, store_sound(content, path, cache_dir=cache_dir)
    if not path:
        raise RowError("there is neither sound nor a path", file=file, row=row, field=AUDIO)
    return _name(path), sounds.find(path, file=file, row=row, field=AUDIO)
