"""The bundled synthetic demo corpus: sound, simulated rater votes, and the distributions the votes were drawn from."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from emoprobe.data.utterance import Corpus, CorpusCard, Utterance
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


def read_demo(root: Path | None = None) -> Corpus:
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
    folder = (Path(__file__).parent / "demo_corpus" if root is None else Path(root)).resolve()
    manifest = folder / "manifest.csv"
    ratings = _read_ratings(folder / "ratings.csv")
    utterances: dict[str, Utterance] = {}
    for row, cells in _read_table(manifest, _MANIFEST_COLUMNS):
        name = cells["utterance_id"]
        if not name or name in utterances:
            raise InputError(
                f"utterance id {name!r} is empty or occurs twice",
                file=manifest,
                row=row,
                field="utterance_id",
                remedy=_REMEDY,
            )
        utterances[name] = _utterance(cells, ratings.pop(name, ()), folder, manifest, row)
    if not utterances:
        raise InputError("the table has no rows", file=manifest, remedy=_REMEDY)
    if ratings:
        raise InputError(
            f"ratings for utterances that the manifest does not have: {sorted(ratings)}",
            file=folder / "ratings.csv",
            field="utterance_id",
            remedy=_REMEDY,
        )
    return Corpus(card=CARD, utterances=tuple(utterances.values()))


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
    import numpy as np

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


def _read_table(file: Path, columns: tuple[str, ...]) -> list[tuple[int, dict[str, str]]]:
    """The rows of a CSV file with their numbers; every row has every column."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the table: {error}", file=file, remedy=_REMEDY) from error
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    rows = []
    try:
        missing = [column for column in columns if column not in (reader.fieldnames or ())]
        if missing:
            raise InputError(f"no column {', '.join(missing)}", file=file, row=1, field=missing[0], remedy=_REMEDY)
        for cells in reader:
            if None in cells or None in cells.values():
                raise InputError(
                    "the row has more or fewer cells than the header",
                    file=file,
                    row=reader.line_num,
                    remedy=_REMEDY,
                )
            rows.append((reader.line_num, cells))
    except csv.Error as error:
        raise InputError(f"not a CSV table: {error}", file=file, row=reader.line_num, remedy=_REMEDY) from error
    return rows


def _read_ratings(file: Path) -> dict[str, tuple[tuple[str, str], ...]]:
    """Utterance id -> (rater, word) pairs in file order."""
    ratings: dict[str, dict[str, str]] = {}
    for row, cells in _read_table(file, _RATING_COLUMNS):
        rater, word = cells["rater"], cells["label"]
        if word not in WORDS:
            raise InputError(f"{word!r} is not one of {WORDS}", file=file, row=row, field="label", remedy=_REMEDY)
        given = ratings.setdefault(cells["utterance_id"], {})
        if rater in given:
            raise InputError(f"rater {rater!r} votes twice", file=file, row=row, field="rater", remedy=_REMEDY)
        given[rater] = word
    return {name: tuple(given.items()) for name, given in ratings.items()}


def _utterance(
    cells: Mapping[str, str], ratings: tuple[tuple[str, str], ...], folder: Path, file: Path, row: int
) -> Utterance:
    """One manifest row as an utterance, checked against its ratings."""
    votes = {word: _number(cells, f"votes_{word}", file, row) for word in WORDS}
    counted = Counter(word for _, word in ratings)
    wrong = [word for word in WORDS if votes[word] != counted[word]]
    if wrong:
        raise InputError(
            f"{votes[wrong[0]]:g} votes, but ratings.csv has {counted[wrong[0]]}",
            file=file,
            row=row,
            field=f"votes_{wrong[0]}",
            remedy=_REMEDY,
        )
    if _number(cells, "num_raters", file, row) != len(ratings):
        raise InputError(
            f"ratings.csv has {len(ratings)} raters", file=file, row=row, field="num_raters", remedy=_REMEDY
        )
    truth = {f"true_{word}": _number(cells, f"true_{word}", file, row) for word in WORDS}
    # Written so that a NaN fails too.
    if not (min(truth.values()) >= 0 and abs(sum(truth.values()) - 1) <= _SUM_TOLERANCE):
        raise InputError(
            "the true distribution is negative somewhere or does not sum to 1",
            file=file,
            row=row,
            field=f"true_{WORDS[0]}",
            remedy=_REMEDY,
        )
    text = {name: cells[name] for name in _TEXT_METADATA}
    numbers = {name: _number(cells, name, file, row) for name in _NUMBER_METADATA}
    return Utterance(
        id=cells["utterance_id"],
        audio=folder / cells["path"],
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
    """The cell as a number."""
    try:
        return float(cells[field])
    except ValueError:
        raise InputError(f"{cells[field]!r} is not a number", file=file, row=row, field=field, remedy=_REMEDY) from None
