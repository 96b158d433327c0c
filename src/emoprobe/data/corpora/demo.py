"""The bundled synthetic demo corpus: sound, simulated rater votes, and the distributions the votes were drawn from."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import numpy as np

from emoprobe.data.corpora import register
from emoprobe.data.reading.files import Harvest, RowError, SoundFolder, open_root, table_rows, whole
from emoprobe.data.utterance import Corpus, CorpusCard, Rating, Utterance
from emoprobe.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from emoprobe.labels import LabelSet

WORDS = ("anger", "disgust", "fear", "happy", "neutral", "sad")

CARD = CorpusCard(
    name="demo_synthetic",
    title="Synthetic demo corpus (espeak-ng voices, simulated raters)",
    synthetic=True,
    licence="CC0-1.0",
    access="bundled with emoprobe",
    citation="none; made by scripts/make_demo_corpus.py of emoprobe",
    raters="8 to 12 simulated raters per utterance out of a pool of 24; one label each; votes drawn from a known model",
    notes="Synthetic: it says nothing about real speech, people or the quality of any model. The true distribution of "
    "each utterance is known (metadata true_<emotion>, true_distributions).",
    label_sets=("basic6",),
    words=WORDS,
    splits="train, development and test, disjoint in speakers",
)

_TEXT_METADATA = ("gender", "voice", "kind", "intended_prosody", "blend_prosody", "intended_wording")
_NUMBER_METADATA = ("blend_weight", "strength")
_MANIFEST_COLUMNS = (
    *("utterance_id", "path", "speaker", "split", "transcript", "num_raters"),
    *_TEXT_METADATA,
    *_NUMBER_METADATA,
    *(f"votes_{word}" for word in WORDS),
    *(f"true_{word}" for word in WORDS),
)
_RATING_COLUMNS = ("utterance_id", "rater", "label")
_REMEDY = "Restore the folder: reinstall emoprobe, or make it anew with scripts/make_demo_corpus.py."
# The manifest holds eight decimals, so six rounded probabilities may miss 1 by a few units of the eighth.
_SUM_TOLERANCE = 1e-6


@register("demo", CARD)
def read_demo(root: str | Path | None = None) -> Corpus:
    """The demo corpus, votes, individual ratings and true distributions included; sound is not decoded.

    Args:
        root: Folder with ``manifest.csv``, ``ratings.csv`` and ``audio/``; the bundled one by default.

    Returns:
        Corpus in the manifest's order. ``metadata`` holds gender, voice, kind, intended_prosody, blend_prosody,
        intended_wording, blend_weight, strength and the true vote probabilities ``true_anger`` ... ``true_sad``.

    Raises:
        InputError: A table is missing or unreadable, lacks a column, has a malformed or repeated row, or the votes of
            an utterance differ from its ratings. Nothing is skipped: the corpus is whole or it is damaged.
    """
    root = open_root(Path(__file__).parent / "demo_corpus" if root is None else root, CARD, "manifest.csv")
    manifest, ratings_file = root / "manifest.csv", root / "ratings.csv"
    harvest, sound = Harvest(CARD), SoundFolder(root)
    ratings = _read_ratings(ratings_file)
    for row, cells in whole(table_rows(manifest, _MANIFEST_COLUMNS, remedy=_REMEDY, row_remedy=_REMEDY)):
        name = cells["utterance_id"]
        if not name or name in harvest.utterances:
            _fail(f"utterance id {name!r:.80} is empty or occurs twice", manifest, row, "utterance_id")
        harvest.add(_utterance(cells, tuple(ratings.pop(name, {}).values()), sound, manifest, row))
    corpus = harvest.corpus(manifest, remedy=_REMEDY)
    if ratings:
        what = f"ratings for utterances that the manifest does not have: {', '.join(sorted(ratings))}"
        raise InputError(f"{what:.300}", file=ratings_file, field="utterance_id", remedy=_REMEDY)
    return corpus


def true_distributions(corpus: Corpus, labels: LabelSet) -> np.ndarray:
    """Probability of each label in a vote of a rater drawn uniformly from the simulated pool, lapses included.

    Words that stand for one label are added; a label that no word stands for has probability 0.

    Args:
        corpus: From `read_demo`, or a part of it.
        labels: Label set that knows all six words of the corpus, by name or alias.

    Returns:
        Array ``[utterances, labels]``, rows sum to 1.

    Raises:
        InputError: The label set does not know a word, or an utterance has no true distribution.
    """
    columns = {word: labels.resolve(word) for word in WORDS}
    unknown = [word for word, label in columns.items() if label is None]
    if unknown:
        raise InputError(
            f"label set {labels.name!r} has no label for {', '.join(unknown)}",
            field="labels",
            remedy=f"Choose a label set that knows {', '.join(WORDS)}, or give it aliases for them.",
        )
    result = np.zeros((len(corpus.utterances), len(labels)))
    for index, utterance in enumerate(corpus.utterances):
        for word, label in columns.items():
            value = utterance.metadata.get(f"true_{word}")
            if value is None:
                raise InputError(
                    f"utterance {utterance.id!r} has no true distribution",
                    file=utterance.file,
                    row=utterance.row,
                    field=f"true_{word}",
                    remedy=f"Only the corpus {CARD.name!r} has one.",
                )
            result[index, labels.labels.index(label)] += float(value)
    return result / result.sum(axis=1, keepdims=True)


def _read_ratings(file: Path) -> dict[str, dict[str, Rating]]:
    """Utterance id -> rater -> rating, in file order."""
    ratings: dict[str, dict[str, Rating]] = {}
    for row, cells in whole(table_rows(file, _RATING_COLUMNS, remedy=_REMEDY, row_remedy=_REMEDY)):
        rater, word = cells["rater"], cells["label"]
        if word not in WORDS:
            _fail(f"{word!r:.80} is not one of {WORDS}", file, row, "label")
        given = ratings.setdefault(cells["utterance_id"], {})
        if rater in given:
            _fail(f"rater {rater!r:.80} votes twice", file, row, "rater")
        given[rater] = Rating(rater, (word,))
    return ratings


def _utterance(
    cells: Mapping[str, str], ratings: tuple[Rating, ...], sound: SoundFolder, file: Path, row: int
) -> Utterance:
    """One manifest row as an utterance, checked against its ratings."""
    votes = {word: _number(cells, f"votes_{word}", file, row) for word in WORDS}
    counted = Counter(word for rating in ratings for word in rating.labels)
    for word in WORDS:
        if votes[word] != counted[word]:
            _fail(f"{votes[word]:g} votes, but ratings.csv has {counted[word]}", file, row, f"votes_{word}")
    if _number(cells, "num_raters", file, row) != len(ratings):
        _fail(f"ratings.csv has {len(ratings)} raters", file, row, "num_raters")
    truth = {f"true_{word}": _number(cells, f"true_{word}", file, row) for word in WORDS}
    if min(truth.values()) < 0 or abs(sum(truth.values()) - 1) > _SUM_TOLERANCE:
        _fail("the true distribution is negative somewhere or does not sum to 1", file, row, f"true_{WORDS[0]}")
    text = {name: cells[name] for name in _TEXT_METADATA}
    numbers = {name: _number(cells, name, file, row) for name in _NUMBER_METADATA}
    return Utterance(
        id=cells["utterance_id"],
        audio=sound.find(cells["path"], file=file, row=row, remedy=_REMEDY),
        votes=votes,
        num_raters=len(ratings),
        speaker=cells["speaker"],
        split=cells["split"],
        transcript=cells["transcript"],
        ratings=ratings,
        metadata={**text, **numbers, **truth},
        file=file,
        row=row,
    )


def _number(cells: Mapping[str, str], field: str, file: Path, row: int) -> float:
    """The cell as a finite number."""
    try:
        value = float(cells[field])
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        _fail(f"{cells[field]!r:.80} is not a number", file, row, field)
    return value


def _fail(what: str, file: Path, row: int, field: str) -> NoReturn:
    raise RowError(what, file=file, row=row, field=field, remedy=_REMEDY)
