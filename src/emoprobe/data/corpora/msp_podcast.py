"""MSP-Podcast in the layouts of its releases (Lotfian and Busso 2019): every clip with the ratings of its workers."""

from __future__ import annotations

import csv
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Literal, NamedTuple

from emoprobe.data.corpora import register
from emoprobe.data.fields import known
from emoprobe.data.files import RESTORE, Harvest, RowError, SoundFolder, open_root, table_rows, text_lines
from emoprobe.data.utterance import Corpus, CorpusCard, Rating, Utterance
from emoprobe.errors import InputError

CARD = CorpusCard(
    name="msp_podcast",
    title="MSP-Podcast",
    synthetic=False,
    licence="academic licence, to be signed; no redistribution",
    access="https://ecs.utdallas.edu/research/researchlabs/msp-lab/MSP-Podcast.html",
    citation="Lotfian, Busso: Building Naturalistic Emotionally Balanced Speech Corpus by Retrieving Emotional Speech "
    "From Existing Podcast Recordings. IEEE Transactions on Affective Computing 10(4), 471-483, 2019. "
    "doi:10.1109/TAFFC.2017.2736999",
    raters="crowd workers, at least 5 per clip; one primary emotion, any number of secondary ones",
    notes="Other-<free text> counts as other. A worker can rate a clip twice: see soft_label.repeated_raters. "
    "Secondary words count with soft_label.secondary. Speakers of some training clips are not known, and the test sets "
    "share speakers among each other. With consensus_only the label is one hard vote of one rater. Releases differ in "
    "size.",
    label_sets=("msp8", "basic4"),
    words=(
        "anger",
        "sad",
        "happy",
        "surprise",
        "fear",
        "disgust",
        "contempt",
        "neutral",
        "other",
        "amused",
        "annoyed",
        "concerned",
        "confused",
        "depressed",
        "disappointed",
        "excited",
        "frustration",
    ),
    splits="train, development, test1, test2, in later releases test3 (labels withheld); usually reported: test1",
)
NO_AGREEMENT = "no_agreement"
CONSENSUS = {
    "A": "anger",
    "S": "sad",
    "H": "happy",
    "U": "surprise",
    "F": "fear",
    "D": "disgust",
    "C": "contempt",
    "N": "neutral",
    "O": "other",
    "X": NO_AGREEMENT,
}
WORDS = {
    "angry": "anger",
    "sad": "sad",
    "happy": "happy",
    "surprise": "surprise",
    "fear": "fear",
    "disgust": "disgust",
    "contempt": "contempt",
    "neutral": "neutral",
    "amused": "amused",
    "annoyed": "annoyed",
    "concerned": "concerned",
    "confused": "confused",
    "depressed": "depressed",
    "disappointed": "disappointed",
    "dissapointed": "disappointed",
    "excited": "excited",
    "frustrated": "frustration",
}
SPLITS = {name: name for name in ("train", "development", "test1", "test2", "test3")} | {"validation": "development"}
GENDERS = {"male": "male", "female": "female"}
LABELS = {
    "detailed_csv": "labels_detailed.csv",
    "detailed_json": "labels_detailed.json",
    "blocks": "labels.txt",
}
ATTRIBUTES = {"EmoVal": "valence", "EmoAct": "arousal", "EmoDom": "dominance"}
_CONSENSUS_FILES = ("labels_consensus.csv", "labels_concensus.csv")
_PARTITION_FILES = ("partitions.txt", "partition.txt")
_FILE = re.compile(r"([A-Z0-9][\w.-]{0,199})\.(?:wav|flac)", re.ASCII | re.IGNORECASE)
_OTHER = re.compile(r"other\s*(?:-.*)?", re.DOTALL)
_SPEAKER = re.compile(r"\w{1,40}", re.ASCII)
_NUMBER = re.compile(r"\d(?:\.\d{1,20})?", re.ASCII)
_WORKER_LINE = re.compile(r"\s*WORKER", re.IGNORECASE)
_SKIP_CLIP = f"{RESTORE}, or leave the clip out: dataset.on_error=skip."
# What a worker wrote for Other is in no known encoding, and every byte is a character of this one.
_FREE_TEXT = "latin-1"


@dataclass(slots=True)
class _Clip:
    """What is known of a clip so far."""

    name: str
    file: Path
    row: int | None
    split: str | None = None
    speaker: str | None = None
    metadata: dict[str, str | float] = field(default_factory=dict)
    ratings: list[Rating] = field(default_factory=list)
    first_rating: tuple[Path, int | None] | None = None


class _Release:
    """The clips so far. A clip with a wrong rating is left out as a whole: the other ratings are not its vote."""

    def __init__(self, harvest: Harvest, listing: Path) -> None:
        self.harvest, self.listing = harvest, listing
        self.clips: dict[str, _Clip] = {}
        self.broken: set[str] = set()

    def refuse(self, error: RowError, clip_id: str) -> None:
        if error.reason != "duplicate_id":
            self.broken.add(clip_id)
        with self.harvest.row(clip_id):
            raise error

    def add(self, clip_id: str, clip: _Clip) -> None:
        before = self.clips.get(clip_id)
        if before is not None:
            what = f"clip {clip_id} was there before, in row {before.row}"
            raise RowError(what, file=clip.file, row=clip.row, field="FileName", reason="duplicate_id")
        self.clips[clip_id] = clip

    def rate(self, clip_id: str, rating: Rating, file: Path, row: int | None) -> None:
        clip = self.clips.get(clip_id)
        if clip is None:
            if clip_id in self.broken:
                return
            what = f"clip {clip_id} has ratings here, but {self.listing} does not have it"
            raise RowError(what, file=file, row=row, field="FileName", remedy=_SKIP_CLIP)
        if not clip.ratings:
            clip.first_rating = file, row
        clip.ratings.append(rating)


@register("msp_podcast", CARD)
def read_msp_podcast(
    root: str | Path,
    labels: Literal["auto", "detailed_csv", "detailed_json", "blocks"] = "auto",
    consensus_only: bool = False,
    transcripts: bool = False,
    on_error: Literal["error", "skip"] = "error",
) -> Corpus:
    """Read clips, ratings and splits; sound is not decoded and may be missing.

    Args:
        root: Folder with ``Labels/`` and ``Audios/``; the label files may lie in it, too.
        labels: Where ratings come from: ``detailed_csv`` (``labels_detailed.csv``), ``detailed_json``
            (``labels_detailed.json``), ``blocks`` (``labels.txt``), or ``auto``: the first of these that is there.
        consensus_only: Read no ratings; the consensus label is the one vote of every clip, where there is one.
        transcripts: Read ``Transcripts/<clip>.txt``, one small file per clip, where it is there.
        on_error: ``error``, or ``skip`` to list bad rows, leave their clips out, and go on.

    Returns:
        Corpus in the order of ``labels_consensus.csv`` or, without it, of ``labels.txt``, then clips that only the
        partition file names. Clips without ratings, such as those of test3, have no votes. ``metadata`` holds, where
        known, consensus (or ``no_agreement``), gender, and the mean valence, arousal and dominance, from 1 to 7.

    Raises:
        InputError: The folder is not MSP-Podcast, a file is damaged, or a row is malformed.
    """
    harvest = Harvest(CARD, on_error)
    if labels not in ("auto", *LABELS):
        remedy = f"Use one of auto, {', '.join(LABELS)}."
        raise InputError(f"unknown labels {labels!r}", field="dataset.labels", remedy=remedy)
    for name, value in (("consensus_only", consensus_only), ("transcripts", transcripts)):
        if not isinstance(value, bool):
            what = f"{value!r} is neither true nor false"
            raise InputError(what, field=f"dataset.{name}", remedy="Use true or false.")
    root = open_root(root, CARD)
    found = _label_files(root)
    consensus = next((found[name] for name in _CONSENSUS_FILES if name in found), None)
    if consensus is None and LABELS["blocks"] not in found:
        open_root(root, CARD, f"Labels/{_CONSENSUS_FILES[0]}", f"Labels/{LABELS['blocks']}")
    if consensus and consensus_only:
        ratings, listing = None, consensus
    else:
        ratings = _ratings_file(root, found, labels, consensus)
        listing = consensus or ratings
    release = _Release(harvest, listing)
    if consensus:
        _read_consensus(consensus, release)
    if ratings:
        kind = next(kind for kind, name in LABELS.items() if name == ratings.name.lower())
        read = {"detailed_csv": _read_csv, "detailed_json": _read_json, "blocks": _read_blocks}[kind]
        read(ratings, release)
        if not consensus_only and not any(clip.ratings for clip in release.clips.values()):
            remedy = harvest.skipped[0].message if harvest.skipped else f"{RESTORE}."
            raise InputError("there is no usable rating of any clip", file=ratings, remedy=remedy)
    partition = next((found[name] for name in _PARTITION_FILES if name in found), None)
    if partition:
        _read_partition(partition, release)
    sounds = _Sounds(root)
    texts = SoundFolder(root, (".txt",)) if transcripts else None
    for clip_id in list(release.clips):
        clip = release.clips.pop(clip_id)
        if clip_id not in release.broken:
            with harvest.row(clip_id):
                harvest.add(_utterance(clip_id, clip, consensus_only, sounds, texts))
    return harvest.corpus(release.listing)


def _label_files(root: Path) -> dict[str, Path]:
    """Name in lower case -> file, of ``Labels/`` and of the root."""
    found: dict[str, Path] = {}
    for folder in (root, root / "Labels"):
        try:
            found |= {name.lower(): folder / name for name in sorted(os.listdir(folder), reverse=True)}
        except (OSError, ValueError):
            continue
    return found


def _ratings_file(root: Path, found: dict[str, Path], labels: str, consensus: Path | None) -> Path:
    # Only the blocks say by themselves which clips there are and what is the consensus.
    if consensus is None and labels not in ("auto", "blocks"):
        raise InputError(
            "the list of clips is missing",
            file=root / "Labels" / _CONSENSUS_FILES[0],
            remedy=f"{RESTORE}, or read {LABELS['blocks']}: dataset.labels=blocks.",
        )
    kinds = ["blocks"] if consensus is None else list(LABELS) if labels == "auto" else [labels]
    for kind in kinds:
        if LABELS[kind] in found:
            return found[LABELS[kind]]
    raise InputError(
        f"there are no ratings of single workers: no {' or '.join(LABELS[kind] for kind in kinds)}",
        file=root / "Labels" / LABELS[kinds[0]],
        field="dataset.labels",
        remedy=f"{RESTORE}, or use the consensus labels alone: dataset.consensus_only=true.",
    )


# -- facts of clips ----------------------------------------------------------------------------------------------------


def _read_consensus(file: Path, release: _Release) -> None:
    header = _header(file, "utf-8")
    optional = [name for name in ("Gender", *ATTRIBUTES) if name in header]
    for row, cells in table_rows(file, ("FileName", "EmoClass", "SpkrID", "Split_Set", *optional)):
        clip_id = ""
        try:
            if isinstance(cells, RowError):
                raise cells
            name = cells["FileName"].strip()
            clip_id = _clip_id(name, file, row)
            clip = _Clip(name, file, row, _split(cells["Split_Set"], file, row))
            # Tables that once had gaps write whole numbers as 127.0.
            clip.speaker = _known(re.sub(r"^(\d+)\.0+$", r"\1", cells["SpkrID"].strip()))
            if clip.speaker is not None and not _SPEAKER.fullmatch(clip.speaker):
                what = f"{clip.speaker!r:.80} is not the id of a speaker"
                raise RowError(what, file=file, row=row, field="SpkrID")
            _add_facts(clip, cells["EmoClass"], {fact: cells.get(name, "") for name, fact in ATTRIBUTES.items()})
            gender = _known(cells.get("Gender", ""))
            if gender is not None:
                if gender.lower() not in GENDERS:
                    what = f"{gender!r:.80} is not Male, Female or Unknown"
                    raise RowError(what, file=file, row=row, field="Gender")
                clip.metadata["gender"] = GENDERS[gender.lower()]
            release.add(clip_id, clip)
        except RowError as error:
            release.refuse(error, clip_id)


def _read_partition(file: Path, release: _Release) -> None:
    rows: dict[str, int] = {}
    for row, line in text_lines(file):
        parts = _parts(line)
        if not parts:
            continue
        clip_id = ""
        try:
            if len(parts) != 2:
                raise RowError(f"{line!r:.80} is not SPLIT; FILE", file=file, row=row)
            split = _split(parts[0], file, row)
            clip_id = _clip_id(parts[1], file, row)
            if rows.setdefault(clip_id, row) != row:
                what = f"clip {clip_id} was there before, in row {rows[clip_id]}"
                raise RowError(what, file=file, row=row, field="FileName", reason="duplicate_id")
            clip = release.clips.get(clip_id)
            if clip is None and clip_id not in release.broken:
                release.clips[clip_id] = _Clip(parts[1], file, row, split)
            elif clip is not None and clip.split not in (None, split):
                what = f"clip {clip_id} is of {split} here and of {clip.split} in {release.listing}"
                raise RowError(what, file=file, row=row, field="Split_Set", remedy=_SKIP_CLIP)
            elif clip is not None:
                clip.split = split
        except RowError as error:
            release.refuse(error, clip_id)


def _add_facts(clip: _Clip, code: str, attributes: dict[str, str]) -> None:
    """Consensus and mean attributes."""
    code = code.strip()
    if code.lower() not in ("", "nan"):
        clip.metadata["consensus"] = CONSENSUS.get(code, sys.intern(code.lower()))
    for fact, text in attributes.items():
        text = text.strip()
        if text.lower() in ("", "nan"):
            continue
        if not _NUMBER.fullmatch(text) or not 1 <= float(text) <= 7:
            what = f"{text!r:.80} is not a number from 1 to 7"
            raise RowError(what, file=clip.file, row=clip.row, field=fact)
        clip.metadata[fact] = float(text)


def _clip_id(name: str, file: Path, row: int | None) -> str:
    match = _FILE.fullmatch(name.strip())
    if not match:
        raise RowError(f"{name!r:.80} is not the name of a sound file", file=file, row=row, field="FileName")
    return match[1]


def _split(text: str, file: Path, row: int) -> str | None:
    name = _known(text)
    if name is not None and name.lower() not in SPLITS:
        what = f"{name!r:.80} is none of {', '.join(SPLITS)}"
        raise RowError(what, file=file, row=row, field="Split_Set")
    return None if name is None else SPLITS[name.lower()]


def _known(text: str) -> str | None:
    name = known(text)
    return None if name is None else sys.intern(name)


# -- ratings -----------------------------------------------------------------------------------------------------------


def _read_csv(file: Path, release: _Release) -> None:
    """``labels_detailed.csv``: the rating in one field (``EmoDetail``) or in columns."""
    header = _header(file, _FREE_TEXT)
    worker = "" if "EmoDetail" in header else _worker_column(file, header)
    needed = ("FileName", worker, "EmoClass_Major", "EmoClass_Second") if worker else ("FileName", "EmoDetail")
    ragged = set()
    for row, cells in table_rows(file, needed, encoding=_FREE_TEXT):
        clip_id = ""
        try:
            if isinstance(cells, RowError):
                ragged.add(row)
                raise cells
            clip_id = _clip_id(cells["FileName"], file, row)
            if worker:
                words = (cells[worker], _main(cells["EmoClass_Major"]), _beside(cells["EmoClass_Second"]))
            else:
                words = _detail(_front_and_attributes(cells["EmoDetail"], file, row)[0])
            release.rate(clip_id, _rating(*words, file, row), file, row)
        except RowError as error:
            release.refuse(error, clip_id)
    if ragged:
        lines = (line for row, line in text_lines(file, _FREE_TEXT) if row in ragged)
        release.broken |= {match[1] for line in lines if (match := _FILE.search(line))}


def _worker_column(file: Path, header: Sequence[str]) -> str:
    named = [name for name in header if name.lower().strip("<>").startswith("worker")]
    if len(named) != 1:
        what = f"the workers' column {'occurs twice' if named else 'is missing'}; there are {', '.join(header)}"
        raise InputError(f"{what:.300}", file=file, row=1, field="WorkerID", remedy=f"{RESTORE}.")
    return named[0]


def _read_blocks(file: Path, release: _Release) -> None:
    """``labels.txt``: a line per clip, then a line per rating; makes the clips where no other file lists them."""
    listed = release.listing != file
    clip_id = None
    for row, line in text_lines(file, _FREE_TEXT):
        head, rated = bool(_FILE.match(line.lstrip())), bool(_WORKER_LINE.match(line))
        if not head and not rated and ";" not in line:
            continue
        try:
            if head:
                # The ratings below a bad line must not count for the clip above it.
                clip_id = ""
            front, attributes = _front_and_attributes(line, file, row)
            if head:
                if len(front) != 2:
                    raise RowError(f"{line!r:.80} is not FILE; EMOTION; A: V: D:", file=file, row=row)
                name = _clip_id(front[0], file, row)
                if not listed:
                    clip = _Clip(front[0], file, row)
                    _add_facts(clip, front[1], attributes)
                    release.add(name, clip)
                clip_id = name
            elif not rated:
                raise RowError(f"{line!r:.80} begins with neither a clip nor a worker", file=file, row=row)
            elif clip_id is None:
                raise RowError("a rating stands before the first clip", file=file, row=row)
            elif clip_id:
                release.rate(clip_id, _rating(*_detail(front), file, row), file, row)
        except RowError as error:
            release.refuse(error, clip_id or _guess(line))
            # A line that is unlike any other may have been that of the next clip.
            clip_id = clip_id if rated else ""


def _guess(line: str) -> str:
    match = _FILE.search(line)
    return match[1] if match else ""


def _front_and_attributes(text: str, file: Path, row: int) -> tuple[list[str], dict[str, str]]:
    """``A; B; ...; A:1; V:2; D:3;`` from its end, since free text may hold semicolons."""
    parts = _parts(text)
    front, tail = parts[:-3], parts[-3:]
    if len(front) < 2 or [part[:2] for part in tail] != ["A:", "V:", "D:"]:
        what = f"{text!r:.200} does not have two fields or more and then A:, V: and D:"
        raise RowError(what, file=file, row=row, field="EmoDetail", remedy=_SKIP_CLIP)
    return front, dict(zip(("arousal", "valence", "dominance"), (part[2:] for part in tail), strict=True))


def _parts(line: str) -> list[str]:
    parts = [part.strip() for part in line.split(";")]
    while parts and not parts[-1]:
        parts.pop()
    return parts


def _detail(front: Sequence[str]) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """Worker, main and secondary words of ``WORKER; MAIN[; SECONDARY]``."""
    labels = _main(front[1])
    # With more fields than that, the free text for Other has had semicolons.
    return front[0], labels, _beside(",".join(front[2:]), len(front) > 3 and labels == ("other",))


class _Vote(NamedTuple):
    """A rating as JSON has it, of which only three values are kept: there are a million."""

    name: object
    main: object
    beside: object


class _Object(tuple):
    """Keys and values of a JSON object; unlike those of a dict, keys can repeat."""

    __slots__ = ()


def _json_object(pairs: list[tuple[str, object]]) -> _Vote | _Object:
    values = dict(pairs)
    if "EmoClass_Major" not in values:
        return _Object(pairs)
    if len(values) < len(pairs):
        raise ValueError("a rating has a key twice")
    kept = (values.get(key) for key in ("Name", "EmoClass_Major", "EmoClass_Second"))
    return _Vote(*(sys.intern(value) if type(value) is str else value for value in kept))


def _read_json(file: Path, release: _Release) -> None:
    """``labels_detailed.json``: clip -> worker -> rating, or clip -> Workers -> ratings with a Name."""
    try:
        clips = json.loads(file.read_bytes().decode("utf-8-sig"), object_pairs_hook=_json_object)
    except OSError as error:
        what = f"the file cannot be read: {error.strerror or error}"
        raise InputError(what, file=file, remedy=f"{RESTORE}.") from None
    except (ValueError, RecursionError) as error:
        row = getattr(error, "lineno", None)
        raise InputError(f"this is not JSON: {error!s:.200}", file=file, row=row, remedy=f"{RESTORE}.") from None
    if not isinstance(clips, _Object):
        raise InputError("this is not an object of clips", file=file, remedy=f"{RESTORE}.")
    seen: set[str] = set()
    for name, ratings in clips:
        clip_id = ""
        try:
            clip_id = _clip_id(name, file, None)
            if clip_id in seen:
                what = f"clip {clip_id} is there twice"
                raise RowError(what, file=file, row=None, field="FileName", remedy=_SKIP_CLIP)
            seen.add(clip_id)
            for worker, vote in _votes(clip_id, ratings, file):
                words = (_text(vote.main, clip_id, file), _text(vote.beside, clip_id, file))
                rating = _rating(_text(worker, clip_id, file), _main(words[0]), _beside(words[1]), file, None)
                release.rate(clip_id, rating, file, None)
        except RowError as error:
            release.refuse(error, clip_id)


def _votes(clip_id: str, ratings: object, file: Path) -> Iterator[tuple[object, _Vote]]:
    if isinstance(ratings, _Object):
        ratings = dict(ratings).get("Workers", ratings)
    pairs: Iterable = ratings if isinstance(ratings, _Object) else ()
    if type(ratings) is list:
        pairs = (("", rating) for rating in ratings)
    elif not isinstance(ratings, _Object):
        what = f"the ratings of clip {clip_id} are neither an object nor a list"
        raise RowError(what, file=file, row=None, field="Workers", remedy=_SKIP_CLIP)
    for key, vote in pairs:
        if not isinstance(vote, _Vote):
            what = f"a rating of clip {clip_id} has no EmoClass_Major"
            raise RowError(what, file=file, row=None, field="EmoClass_Major", remedy=_SKIP_CLIP)
        yield (key if vote.name is None else vote.name), vote


def _text(value: object, clip_id: str, file: Path) -> str:
    """A JSON value that must be a string, nothing, or a list of strings."""
    if type(value) is list and all(type(part) is str for part in value):
        value = ",".join(value)
    if value is not None and type(value) is not str:
        what = f"a rating of clip {clip_id} has {value!r:.80} where a word should be"
        raise RowError(what, file=file, row=None, field="EmoClass_Major", remedy=_SKIP_CLIP)
    return value or ""


def _rating(worker: str, main: tuple[str, ...], beside: tuple[str, ...], file: Path, row: int | None) -> Rating:
    worker = worker.strip()
    # Of workers that nobody knows, all but one rating of a clip would be taken for repeated ones.
    if known(worker) is None or not worker.isprintable() or len(worker) > 100:
        what = f"{worker!r:.80} is not the id of a worker"
        raise RowError(what, file=file, row=row, field="WorkerID", remedy=_SKIP_CLIP)
    return Rating(sys.intern(worker), main, beside)


@lru_cache(maxsize=10_000)
def _main(text: str) -> tuple[str, ...]:
    word = _word(text)
    return (word,) if word else ()


@lru_cache(maxsize=100_000)
def _beside(text: str, free: bool = False) -> tuple[str, ...]:
    """Secondary words of a comma-separated list; ``free``: it begins within free text."""
    words: dict[str, None] = {}
    for part in text.split(","):
        word = _word(part)
        # Free text for Other has commas too: what follows it and is no emotion word belongs to it.
        if word and (word in CARD.words or not free):
            words[word] = None
        free = free or word == "other"
    return tuple(words)


def _word(text: str) -> str:
    word = text.strip().lower()
    return "other" if _OTHER.fullmatch(word) else sys.intern(WORDS.get(word, word))


def _header(file: Path, encoding: str) -> list[str]:
    """Column names; empty where there are none, which is reported where the table is read."""
    first = next(text_lines(file, encoding), (1, ""))[1]
    try:
        return [name.strip() for name in next(csv.reader([first]), [])]
    except csv.Error:
        return []


# -- utterances --------------------------------------------------------------------------------------------------------


class _Sounds:
    """Finds the clips' sound, in ``Audios/`` or ``Audio/`` or in a folder within."""

    def __init__(self, root: Path) -> None:
        self.sounds = SoundFolder(root)
        self.top = next((name for name in ("Audios", "Audio") if os.path.isdir(root / name)), "Audios")
        self.places: dict[str, list[str]] = {}
        folders = list(os.walk(root / self.top))
        for folder, _, names in folders if len(folders) > 1 else ():
            inner = os.path.relpath(folder, root)
            for name in names:
                self.places.setdefault(name.lower(), []).append(os.path.join(inner, name))

    def find(self, clip: _Clip) -> Path:
        places = self.places.get(clip.name.lower(), [])
        if len(places) > 1:
            what = f"there are several files {clip.name}: {' and '.join(sorted(places)[:2])}"
            raise RowError(what, file=clip.file, row=clip.row, field="FileName", remedy=_SKIP_CLIP)
        relative = places[0] if places else f"{self.top}/{clip.name}"
        return self.sounds.find(relative, file=clip.file, row=clip.row)


def _utterance(
    clip_id: str, clip: _Clip, consensus_only: bool, sounds: _Sounds, texts: SoundFolder | None
) -> Utterance:
    consensus = clip.metadata.get("consensus", NO_AGREEMENT)
    voted = consensus_only and consensus != NO_AGREEMENT
    file, row = (None if consensus_only else clip.first_rating) or (clip.file, clip.row)
    return Utterance(
        id=clip_id,
        audio=sounds.find(clip),
        votes={str(consensus): 1.0} if voted else {},
        num_raters=1 if voted else None,
        speaker=clip.speaker,
        split=clip.split,
        transcript=_transcript(clip_id, clip, texts) if texts else None,
        ratings=() if consensus_only else tuple(clip.ratings),
        metadata=clip.metadata,
        file=file,
        row=row,
    )


def _transcript(clip_id: str, clip: _Clip, texts: SoundFolder) -> str | None:
    file = texts.find(f"Transcripts/{clip_id}.txt", file=clip.file, row=clip.row)
    if not os.path.isfile(file):
        return None
    try:
        lines = [line for _, line in text_lines(file)]
    except InputError as error:
        remedy = f"{RESTORE}, do without transcripts (dataset.transcripts=false), or without the clip: "
        remedy += "dataset.on_error=skip."
        raise RowError(error.what, file=file, row=error.row, remedy=remedy) from None
    return " ".join(" ".join(lines).split()) or None
