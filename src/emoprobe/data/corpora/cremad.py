"""CREMA-D in its official layout (Cao et al. 2014): every clip with the votes of its raters."""

from __future__ import annotations

import math
import re
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

from emoprobe.data.corpora import register
from emoprobe.data.corpora.cremad_checksums import check_sound
from emoprobe.data.reading.fields import known
from emoprobe.data.reading.files import (
    RESTORE,
    ROW_REMEDY,
    Harvest,
    RowError,
    SoundFolder,
    open_root,
    table_rows,
    whole,
)
from emoprobe.data.utterance import NOTHING, Corpus, CorpusCard, Numbers, Rating, Total, Utterance
from emoprobe.errors import InputError

_TWINS = (
    ("1006_TIE_HAP_XX", "1006_TIE_NEU_XX"),
    ("1013_WSI_DIS_XX", "1013_WSI_SAD_XX"),
    ("1017_IWW_ANG_XX", "1017_IWW_FEA_XX"),
)
_SILENT = "1076_MTI_SAD_XX"
WORDS = {"A": "anger", "D": "disgust", "F": "fear", "H": "happy", "N": "neutral", "S": "sad"}
CARD = CorpusCard(
    name="cremad",
    title="CREMA-D",
    synthetic=False,
    licence="ODbL 1.0 (database), DbCL 1.0 (contents)",
    access="https://github.com/CheyneyComputerScience/CREMA-D (needs git-lfs for the audio)",
    citation="Cao, Cooper, Keutmann, Gur, Nenkova, Verma: CREMA-D: Crowd-sourced Emotional Multimodal Actors Dataset. "
    "IEEE Transactions on Affective Computing 5(4), 377-390, 2014. doi:10.1109/TAFFC.2014.2336244",
    raters="2,443 crowd raters; 4 to 12 per clip and mode; voice-only, face-only and audio-visual ratings",
    notes="Byte-identical pairs, so one label of each is doubtful: "
    + ", ".join(f"{first} = {second}" for first, second in _TWINS)
    + f". {_SILENT} is silent. The official votes leave out responses whose first click took over 10 s. Raters also "
    "said how strong it is, 0 to 100 (intensity; of neutral answers too): each in the raw answers or a mean.",
    label_sets=("basic6", "intensity5"),
    words=tuple(WORDS.values()),
    splits="none; folds by actor",
    defects={first: f"same sound as {second}" for first, second in _TWINS}
    | {second: f"same sound as {first}" for first, second in _TWINS}
    | {_SILENT: "silent"},
)
MODES = {"voice": "1", "face": "2", "audiovisual": "3"}
VOTES_FILE = Path("processedResults") / "tabulatedVotes.csv"
RESPONSES_FILE = Path("finishedResponses.csv")
FIRST_CLICKS_FILE = Path("finishedEmoResponses.csv")
ACTORS_FILE = Path("VideoDemographics.csv")
MAX_MILLISECONDS = 10_000
_NAME = re.compile(r"(\d{4})_([A-Z]{3})_(ANG|DIS|FEA|HAP|NEU|SAD)_(LO|MD|HI|XX)", re.ASCII)
_ROW_ID = re.compile(r"[123]\d{5}", re.ASCII)
_COUNT = re.compile(r"\d{1,6}", re.ASCII)
_INTENSITY = "intensity"
_SCALES = {_INTENSITY: (0.0, 100.0)}
_QUESTION = ("sessionNums", "queryType", "questNum")  # together they name one answer of one rater


def _votes_of(mode: str, count: Callable[[list[int]], int]) -> Callable[[Corpus], int | None]:
    """A count over the votes of every clip, summed; None of a corpus that was read with the votes of another mode."""

    def total(corpus: Corpus) -> int | None:
        if any(utterance.metadata.get("votes_from") != mode for utterance in corpus.utterances):
            return None
        return sum(count(_vote_counts(utterance)) for utterance in corpus.utterances)

    return total


def _acted(word: str) -> Callable[[Corpus], int]:
    return lambda corpus: sum(each.metadata["acted_emotion"] == word for each in corpus.utterances)


def _vote_counts(utterance: Utterance) -> list[int]:
    votes = utterance.votes or Counter(word for rating in utterance.ratings for word in rating.labels)
    return [int(count) for count in votes.values()]


def _is_tied(votes: list[int]) -> bool:
    return votes.count(max(votes)) > 1


_SOURCE = f"{VOTES_FILE.as_posix()} of the official release"
TOTALS = (
    Total("clips", 7_442, lambda corpus: len(corpus.utterances), "Cao et al. 2014"),
    Total("actors", 91, lambda corpus: len({each.speaker for each in corpus.utterances}), "Cao et al. 2014"),
    *(
        Total(f"clips acted as {word}", 1087 if word == "neutral" else 1271, _acted(word), "Cao et al. 2014")
        for word in CARD.words
    ),
    *(
        total
        for mode, votes, tied, unanimous in (
            ("voice", 68_568, 644, 383),
            ("face", 71_654, 470, 1008),
            ("audiovisual", 71_778, 420, 1119),
        )
        for total in (
            Total(f"{mode} votes", votes, _votes_of(mode, sum), _SOURCE),
            Total(f"clips with a tie for the top {mode} vote", tied, _votes_of(mode, _is_tied), _SOURCE),
            Total(
                f"clips with unanimous {mode} votes", unanimous, _votes_of(mode, lambda v: max(v) == sum(v)), _SOURCE
            ),
        )
    ),
)


@register("cremad", CARD, TOTALS, check_sound)
def read_cremad(
    root: str | Path,
    votes: Literal["voice", "face", "audiovisual"] = "voice",
    on_error: Literal["error", "skip"] = "error",
) -> Corpus:
    """Read the vote table and, where present, who voted what and the actors' demographics; sound may be missing.

    Individual ratings come from ``finishedResponses.csv``, without those whose first click
    (``finishedEmoResponses.csv``) took over 10 s, which the official vote table leaves out too. A clip whose ratings do
    not sum to the table's votes keeps these.

    How strong a rater found the emotion (``respLevel``, 0 to 100) is the rating's intensity; the clip has the table's
    mean over all answers (``meanEmoResp``), where that column is there, which counts where no answer has a level.

    Args:
        root: Folder with ``AudioWAV/`` and ``processedResults/``.
        votes: What raters were given: ``voice``, ``face`` or ``audiovisual``.
        on_error: ``error``, or ``skip`` to list bad rows and go on.

    Returns:
        Corpus in the table's order, without splits (the corpus has none). ``metadata`` holds votes_from (the mode),
        acted_emotion, level, sentence, of known actors gender, age (years), race and ethnicity, known_defect where
        there is one, and ratings_differ = 1 where ratings do not sum to the votes.

    Raises:
        InputError: The folder is not CREMA-D, or a row is malformed.
    """
    if votes not in MODES:
        raise InputError(f"unknown votes {votes!r}", field="dataset.votes", remedy=f"Use one of {', '.join(MODES)}.")
    harvest = Harvest(CARD, on_error)
    root = open_root(root, CARD, str(VOTES_FILE))
    sound = SoundFolder(root, (".wav",))
    actors = _read_actors(root / ACTORS_FILE)
    ratings = _read_ratings(root, MODES[votes], harvest)
    table = root / VOTES_FILE
    for row, cells in table_rows(table, ("", *WORDS, "fileName", "numResponses")):
        with harvest.row("" if isinstance(cells, RowError) else cells["fileName"]):
            if isinstance(cells, RowError):
                raise cells
            if not _ROW_ID.fullmatch(cells[""]):
                what = f"the row id {cells['']!r:.80} is not MNNNNN"
                raise RowError(what, file=table, row=row, field="(first column)")
            if cells[""].startswith(MODES[votes]):
                utterance = _utterance(table, row, cells, votes, sound, actors, ratings)
                harvest.add(utterance, field="fileName")
    return harvest.corpus(table)


def _utterance(
    table: Path,
    row: int,
    cells: Mapping[str, str],
    mode: str,
    sound: SoundFolder,
    actors: Mapping[str, Mapping[str, str | float]],
    ratings: Mapping[str, list[Rating]] | None,
) -> Utterance:
    name = cells["fileName"]
    parts = _NAME.fullmatch(name)
    if not parts:
        what = f"{name!r:.80} is not ACTOR_SENTENCE_EMOTION_LEVEL"
        raise RowError(what, file=table, row=row, field="fileName")
    actor, sentence, acted, level = parts.groups()
    counts = {word: _count(cells, letter, table, row) for letter, word in WORDS.items()}
    total = _count(cells, "numResponses", table, row)
    if sum(counts.values()) != total:
        what = f"the votes sum to {sum(counts.values())} and numResponses says {total}"
        raise RowError(what, file=table, row=row, field="numResponses", reason="bad_votes")
    facts = {"votes_from": mode, "acted_emotion": WORDS[acted[0]], "level": level, "sentence": sentence}
    facts |= actors.get(actor, {})
    if name in CARD.defects:
        facts["known_defect"] = CARD.defects[name]
    given = tuple((ratings or {}).get(name, ()))
    agree = Counter(word for rating in given for word in rating.labels) == Counter(counts)
    if ratings is not None and not agree:
        facts["ratings_differ"] = 1.0
    known = bool(given) and agree
    mean = _level(cells.get("meanEmoResp", ""))
    return Utterance(
        id=name,
        audio=sound.find(f"AudioWAV/{name}.wav", file=table, row=row),
        votes={} if known else {word: float(count) for word, count in counts.items()},
        num_raters=None if known else total,
        speaker=sys.intern(actor),
        ratings=given if known else (),
        means={} if mean is None else {_INTENSITY: mean},
        scales=_SCALES,
        metadata=facts,
        file=table,
        row=row,
    )


def _read_ratings(root: Path, mode: str, harvest: Harvest) -> dict[str, list[Rating]] | None:
    """Clip -> its ratings in one mode; None where the corpus's copy has none."""
    file = root / RESPONSES_FILE
    if not file.is_file():
        return None
    slow = _slow_answers(root / FIRST_CLICKS_FILE, harvest)
    ratings: dict[str, list[Rating]] = {}
    words: dict[str, tuple[str]] = {}  # one object per answer, not per row
    levels: dict[str, Numbers] = {}
    for row, cells in table_rows(file, ("localid", "clipName", "respEmo", *_QUESTION)):
        with harvest.row("" if isinstance(cells, RowError) else cells["clipName"]):
            if isinstance(cells, RowError):
                raise cells
            if cells["queryType"] not in MODES.values():
                what = f"{cells['queryType']!r:.80} is none of {', '.join(MODES.values())}"
                raise RowError(what, file=file, row=row, field="queryType")
            if cells["queryType"] != mode or tuple(cells[name] for name in _QUESTION) in slow:
                continue
            clip, rater, answer = cells["clipName"], cells["localid"].strip(), cells["respEmo"] or cells.get("ans", "")
            if not _NAME.fullmatch(clip):
                what = f"{clip!r:.80} is not ACTOR_SENTENCE_EMOTION_LEVEL"
                raise RowError(what, file=file, row=row, field="clipName")
            if known(rater) is None:
                raise RowError(f"{rater!r:.80} is not a rater", file=file, row=row, field="localid")
            if answer not in words:
                words[answer] = (_word(answer, file, row),)
            level = cells.get("respLevel", "")
            if level not in levels:
                number = _level(level)
                levels[level] = NOTHING if number is None else {_INTENSITY: number}
            ratings.setdefault(clip, []).append(Rating(sys.intern(rater), words[answer], values=levels[level]))
    return ratings


def _level(text: str) -> float | None:
    """How strong the emotion is; None of what is no number, as where a rater gave no level."""
    try:
        number = float(text)
    except ValueError:
        return None
    # Nobody's answer is -1 in the vote table. Other numbers beyond the scale are refused where intensity is asked for.
    return number if math.isfinite(number) and number != -1 else None


def _slow_answers(file: Path, harvest: Harvest) -> set[tuple[str, ...]]:
    """Answers that the official votes leave out; none where the file is absent."""
    slow: set[tuple[str, ...]] = set()
    if not file.is_file():
        return slow
    for _, cells in table_rows(file, ("ttr", *_QUESTION)):
        with harvest.row():
            if isinstance(cells, RowError):
                raise cells
            if _milliseconds(cells["ttr"]) > MAX_MILLISECONDS:
                slow.add(tuple(cells[name] for name in _QUESTION))
    return slow


def _milliseconds(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0  # the official script keeps an answer whose time is no number


def _word(answer: str, file: Path, row: int) -> str:
    """The emotion of ``A``, ``A_50`` (with its level), ``ANG`` or ``anger``."""
    start = answer.split("_")[0].strip().lower()
    found = [word for word in WORDS.values() if start and word.startswith(start)]
    if not found:
        what = f"{answer!r:.80} begins none of {', '.join(WORDS.values())}"
        raise RowError(what, file=file, row=row, field="respEmo", reason="bad_votes")
    return found[0]


def _read_actors(file: Path) -> dict[str, dict[str, str | float]]:
    """Actor id -> gender, age, race, ethnicity; nothing where the file is absent."""
    if not file.is_file():
        return {}
    remedy = f"{RESTORE}, or remove it: it is optional."
    needed = ("ActorID", "Age", "Sex", "Race", "Ethnicity")
    actors: dict[str, dict[str, str | float]] = {}
    for row, cells in whole(table_rows(file, needed, remedy=remedy, row_remedy=remedy)):
        gender = cells["Sex"].strip().lower()
        if gender not in ("male", "female"):
            what = f"{cells['Sex']!r:.80} is not Male or Female"
            raise InputError(what, file=file, row=row, field="Sex", remedy=remedy)
        age = _count(cells, "Age", file, row, remedy=remedy)
        told = {"race": cells["Race"], "ethnicity": cells["Ethnicity"]}
        actors[cells["ActorID"]] = {"gender": gender, "age": age, **told}
    return actors


def _count(cells: Mapping[str, str], column: str, file: Path, row: int, remedy: str = ROW_REMEDY) -> int:
    text = cells[column].strip()
    if not _COUNT.fullmatch(text):
        what = f"{cells[column]!r:.80} is not a whole number"
        raise RowError(what, file=file, row=row, field=column, reason="bad_votes", remedy=remedy)
    return int(text)
