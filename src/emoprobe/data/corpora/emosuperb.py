"""The vote shares that EMO-SUPERB published of six corpora (Wu et al. 2024), with its folds."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from emoprobe.data.corpora import register
from emoprobe.data.corpora.emosuperb_ratings import read_own, words_of
from emoprobe.data.reading.collection import clip_totals, corpus_folder, list_names
from emoprobe.data.reading.fields import known
from emoprobe.data.reading.files import (
    RESTORE,
    Harvest,
    RowError,
    SoundFolder,
    open_root,
    parse_object,
    table_rows,
    text_lines,
)
from emoprobe.data.utterance import Corpus, CorpusCard, Utterance
from emoprobe.errors import InputError

WORDS = {
    "amused": "amused",
    "angry": "anger",
    "annoyed": "annoyed",
    "concerned": "concerned",
    "confused": "confused",
    "contempt": "contempt",
    "depressed": "depressed",
    "disappointed": "disappointed",
    "disgust": "disgust",
    "excited": "excited",
    "fear": "fear",
    "frustrated": "frustration",
    "happy": "happy",
    "joy": "joy",
    "neutral": "neutral",
    "relax": "relaxed",
    "sad": "sad",
    "surprise": "surprise",
}
CARD = CorpusCard(
    name="emosuperb",
    title="EMO-SUPERB",
    synthetic=False,
    licence="none stated; tables of IEMOCAP, MSP-IMPROV, NNIME and the podcast corpora come from restricted corpora",
    access="https://github.com/EMOsuperb/EMO-SUPERB-submission; the sound from each corpus's owner",
    citation="Wu, Chou, Chang, Goncalves, Du, Busso, Lee: EMO-SUPERB: An In-depth Look at Speech Emotion Recognition. "
    "arXiv:2402.13018, 2024",
    raters="those of each corpus; only their shares are published, so the number of raters is unknown",
    notes="The tables hold smoothed shares; the smoothing of 0.05 is undone here. How they were counted cannot be "
    "undone, so a policy that says otherwise is refused. The shares of IEMOCAP count the actors' own reports beside "
    "the raters, and every label of a rating as a vote (policy=with_self_reports: "
    "dataset.soft_label.self_reports=true dataset.soft_label.several=each); its means of valence, arousal and "
    "dominance hold the own reports too. Secondary tables of MSP-IMPROV, MSP-Podcast and BIIC-Podcast count every word "
    "of a rating, main or beside it (policy=every_word), their primary tables the main one alone; NNIME's counts every "
    "label, of observers only. Votes for other were left out of all tables but CREMA-D's, so no label set with other "
    "can be asked of them. Of a clip that a rater judged twice nobody says what they counted. With the corpus itself "
    "(dataset.ratings_root) its raters' ratings are taken, as by dataset=iemocap, msp_improv, msp_podcast or "
    "biic_podcast, under any policy, and a note says of how many clips these, counted as the table was, give other "
    "shares. MSP-IMPROV's arousal is turned, so that much is active. Some shares of CREMA-D differ from its official "
    "vote table. The speaker column of IEMOCAP and MSP-IMPROV holds the session: speakers of IEMOCAP are told apart by "
    "gender, those of MSP-IMPROV are not.",
    label_sets=("basic6", "iemocap9", "basic4", "msp8"),
    words=tuple(sorted(WORDS.values())),
    splits="train, development and test of 5 folds (MSP-IMPROV: 6) that share no speaker",
)
TOTALS = clip_totals(
    {
        "EMO-SUPERB CREMA-D": 7442,
        "EMO-SUPERB IEMOCAP": 10039,
        "EMO-SUPERB NNIME": 5028,
        "EMO-SUPERB IMPROV": 8385,
        "EMO-SUPERB PODCAST": 149307,
        "EMO-SUPERB BIIC_PODCAST": 70000,
    },
    "the published label files, and table A1 of the supplement",
)
SMOOTHING = 0.05
EMOTIONS = ("Primary", "Secondary")
SOUND_FOLDERS = ("Audios", "Audio", "AudioWAV", "audio", "wavs", "wav")
_CONFIG = "config.json"
_PARTS = {"train": "train", "dev": "development", "test": "test"}
_ATTRIBUTES = {"EmoAct": "arousal", "EmoVal": "valence", "EmoDom": "dominance"}
_BY_SESSION = ("iemocap", "improv")
_SINGLE = ("crema-d",)  # raters chose one of the table's classes
_NUMBER = re.compile(r"-?\d{1,9}(\.\d{1,20})?([eE]-?\d{1,3})?", re.ASCII)


@register("emosuperb", CARD, TOTALS)
def read_emosuperb(
    root: str | Path,
    corpus: str = "CREMA-D",
    emotions: Literal["Primary", "Secondary"] | None = None,
    fold: int = 1,
    audio_root: str | Path | None = None,
    ratings_root: str | Path | None = None,
    on_error: Literal["error", "skip"] = "error",
) -> Corpus:
    """Read one fold of one corpus; sound is not decoded and may be missing.

    The tables' shares ``y = (1 - s) p + s / (K - 1) (1 - p)``, with ``s = 0.05`` and K classes, are turned back to the
    shares ``p`` of the raters.

    Args:
        root: The repository, or its ``data`` folder.
        corpus: A corpus's folder, without case: ``CREMA-D``, ``IEMOCAP``, ``IMPROV``, ``NNIME``, ``PODCAST``, ...
        emotions: ``Primary`` or ``Secondary`` emotions; the primary ones where there are any if None.
        fold: From 1.
        audio_root: Folder below which the sound lies, in any subfolder; ``root/<corpus>/Audios`` and the like if None.
        ratings_root: The corpus itself in its official layout (IEMOCAP, MSP-IMPROV, MSP-Podcast, BIIC-Podcast): its
            single ratings and its raters' means are taken in place of the table's.
        on_error: ``error``, or ``skip`` to list bad rows and go on.

    Returns:
        Corpus in the table's order; votes are shares (ratings with ``ratings_root``), splits ``train``,
        ``development``, ``test``. ``metadata`` holds gender, arousal, valence and dominance on the corpus's scale,
        which are ``means`` too, and session, where the table tells them.

    Raises:
        InputError: The folder is not EMO-SUPERB, a file is damaged, or a row is malformed.
    """
    return read_tables(CARD, root, corpus, emotions, fold, audio_root, ratings_root, on_error)


def read_tables(
    card: CorpusCard,
    root: str | Path,
    corpus: str,
    emotions: str | None,
    fold: int,
    audio_root: str | Path | None,
    ratings_root: str | Path | None,
    on_error: str,
) -> Corpus:
    """What `read_emosuperb` reads, for a card of one of its corpora too."""
    if emotions is not None and emotions not in EMOTIONS:
        raise InputError(f"unknown value {emotions!r}", field="dataset.emotions", remedy="Use Primary or Secondary.")
    if not isinstance(fold, int) or isinstance(fold, bool) or fold < 1:
        what = f"{fold!r} is not a whole number of at least 1"
        raise InputError(what, field="dataset.official_fold", remedy="Folds are counted from 1.")
    folder = corpus_folder(open_root(root, card), card, str(corpus), EMOTIONS)
    own = None if ratings_root is None else read_own(folder.name, ratings_root)
    words = card.words if own is None else tuple(sorted({*card.words, *own.words}))
    title = f"EMO-SUPERB {folder.name}" if card is CARD else card.title
    harvest = Harvest(replace(card, title=title, words=words), on_error)
    tables = _tables_folder(folder, emotions)
    settings = _read_config(tables / _CONFIG, tables.name, folder.name.lower())
    table = tables / f"labels_consensus_{fold}.csv"
    if not os.path.isfile(table):
        there = sorted(int(name) for name in re.findall(r"labels_consensus_(\d+)\.csv", " ".join(list_names(tables))))
        raise InputError(
            f"{folder.name} has no fold {fold} of {tables.name.lower()} emotions",
            file=table,
            field="dataset.official_fold",
            remedy=f"Use one of {', '.join(map(str, there))}." if there else f"{RESTORE}.",
        )
    sounds = _Sounds(_sound_folder(folder, audio_root))
    needed = ("FileName", *settings.classes, "SpkrID", "Gender", "Split_Set")
    for row, fields in table_rows(table, needed, aliases={"": "FileName"}):
        name = "" if isinstance(fields, RowError) else fields["FileName"].strip()
        with harvest.row(os.path.splitext(name)[0]):
            if isinstance(fields, RowError):
                raise fields
            utterance = _utterance(table, row, fields, settings, sounds, folder.name.lower())
            utterance = utterance if own is None else own.take(utterance)
            harvest.add(utterance, field="FileName")
    if own is not None:
        own.say(folder.name)
    return harvest.corpus(table)


@dataclass(frozen=True)
class _Settings:
    """What a ``config.json`` says: column -> canonical word, split name -> part, and the scale of means; and how the
    tables of its kind were counted."""

    classes: Mapping[str, str]
    parts: Mapping[str, str]
    scales: Mapping[str, tuple[float, float]]
    counted: Mapping[str, object]
    uncounted: tuple[str, ...]


def _tables_folder(folder: Path, emotions: str | None) -> Path:
    there = [name for name in EMOTIONS if os.path.isdir(folder / name)]
    if emotions is not None and emotions not in there:
        raise InputError(
            f"{folder.name} has no {emotions.lower()} emotions",
            file=folder / emotions,
            field="dataset.emotions",
            remedy=f"Use {' or '.join(there)}.",
        )
    return folder / (emotions or there[0])


def _read_config(file: Path, emotions: str, corpus: str) -> _Settings:
    text = "\n".join(line for _, line in text_lines(file))
    try:
        value = parse_object(text)
        names = value["data_split_type"]
        parts = {_text(names[key]).lower(): part for key, part in _PARTS.items()}
        classes = {_text(name): _word(name) for name in value["categorical"]["emo_type"]}
        if len(parts) < len(_PARTS):
            raise ValueError("two parts of data_split_type have the same name")
        if len(classes) < 2 or len(set(classes.values())) < len(value["categorical"]["emo_type"]):
            raise ValueError("emo_type is not a list of two or more different emotions")
        # That of IEMOCAP does not say, and its means are on a scale from 1 to 5.
        scale = value.get("dimensional", {"min_score": 1, "max_score": 5} if corpus == "iemocap" else None)
        low, high = (0.0, 0.0) if scale is None else (float(scale["min_score"]), float(scale["max_score"]))
        if scale is not None and not low < high < float("inf"):
            raise ValueError("min_score is not below max_score")
    except KeyError as error:
        raise InputError(f"{error} is missing", file=file, field=str(error.args[0]), remedy=f"{RESTORE}.") from None
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"the file is damaged: {error!s:.200}", file=file, remedy=f"{RESTORE}.") from None
    scales = {} if scale is None else dict.fromkeys(("valence", "arousal", "dominance"), (low, high))
    single = corpus in _SINGLE
    return _Settings(classes, parts, scales, {} if single else words_of(corpus, emotions), () if single else ("other",))


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{value!r:.80} is not a name")
    return value.strip()


def _word(name: str) -> str:
    return WORDS.get(name.strip().lower(), name.strip().lower())


def _sound_folder(folder: Path, audio_root: str | Path | None) -> Path:
    if audio_root is None:
        return next((folder / name for name in SOUND_FOLDERS if os.path.isdir(folder / name)), folder / "Audios")
    sound = Path(os.path.expanduser(audio_root)).absolute()
    if not os.path.isdir(sound):
        raise InputError("the folder does not exist", file=sound, field="dataset.audio_root", remedy="Correct it.")
    return sound


class _Sounds:
    """Finds sound files by name anywhere below a folder; the subfolders are listed once, when they are needed."""

    def __init__(self, root: Path) -> None:
        self.root, self.folder = root, SoundFolder(root)
        self._below: dict[str, list[str]] | None = None

    def find(self, name: str, file: Path, row: int) -> Path:
        direct = self.folder.find(name, file=file, row=row, field="FileName")
        if os.path.exists(direct):
            return direct
        if self._below is None:
            self._below = {}
            for path, folders, names in os.walk(self.root):
                folders.sort()
                for found in names:
                    self._below.setdefault(found.lower(), []).append(os.path.join(path, found))
        places = self._below.get(name.lower(), [])
        if len(places) > 1:
            raise RowError(
                f"the sound {name!r} is in more than one place, {places[0]} and {places[1]}",
                file=file,
                row=row,
                field="FileName",
                remedy="Set dataset.audio_root to the folder that holds the right one.",
            )
        return (
            direct
            if not places
            else self.folder.find(os.path.relpath(places[0], self.root), file=file, row=row, field="FileName")
        )


def _utterance(
    table: Path, row: int, fields: Mapping[str, str], settings: _Settings, sounds: _Sounds, corpus: str
) -> Utterance:
    name = fields["FileName"].strip()
    identity = os.path.splitext(name)[0]
    if not identity or "/" in name or "\\" in name:
        raise RowError(f"{name!r:.80} is not the name of a file", file=table, row=row, field="FileName")
    split = settings.parts.get(fields["Split_Set"].strip().lower())
    if split is None:
        what = f"{fields['Split_Set']!r:.80} is none of {', '.join(settings.parts)}"
        raise RowError(what, file=table, row=row, field="Split_Set")
    smoothed = [_number(fields, column, table, row) for column in settings.classes]
    shares = _shares(smoothed, table, row)
    gender = fields["Gender"].strip().lower()
    speaker = known(re.sub(r"^(\d+)\.0+$", r"\1", fields["SpkrID"].strip()))
    facts: dict[str, str | float] = {"gender": gender} if gender in ("female", "male") else {}
    given = (column for column in _ATTRIBUTES if known(fields.get(column, "")))
    means = {_ATTRIBUTES[column]: _number(fields, column, table, row) for column in given}
    facts |= means
    if corpus in _BY_SESSION and speaker is not None:
        facts["session"] = speaker
        if corpus == "iemocap":
            speaker = speaker + gender[0].upper() if "gender" in facts else None
    return Utterance(
        id=identity,
        audio=sounds.find(name, table, row),
        votes=dict(zip(settings.classes.values(), shares, strict=True)),
        means=means,
        scales=settings.scales,
        counted=settings.counted,
        uncounted=settings.uncounted,
        speaker=speaker,
        split=split,
        metadata=facts,
        file=table,
        row=row,
    )


def _shares(smoothed: Sequence[float], table: Path, row: int) -> list[float]:
    """The raters' shares behind smoothed ones."""
    total = sum(smoothed)
    if abs(total - 1) > 1e-4:
        what = f"the shares sum to {total:.6g}, not to 1"
        raise RowError(what, file=table, row=row, field="votes", reason="bad_votes")
    floor = SMOOTHING / (len(smoothed) - 1)
    shares = [(value - floor) / (1 - SMOOTHING - floor) for value in smoothed]
    if min(shares) < -1e-6:
        what = f"a share of {min(smoothed):.6g} is less than the smoothing of {floor:.6g} that every class has"
        raise RowError(what, file=table, row=row, field="votes", reason="bad_votes")
    # Six decimals are written: what they leave beside nought is nobody's vote.
    clean = [share if share > 2e-6 else 0.0 for share in shares]
    return [share / sum(clean) for share in clean]


def _number(fields: Mapping[str, str], column: str, table: Path, row: int) -> float:
    text = fields[column].strip()
    if not _NUMBER.fullmatch(text):
        raise RowError(f"{fields[column]!r:.80} is not a number", file=table, row=row, field=column, reason="bad_votes")
    return float(text)
