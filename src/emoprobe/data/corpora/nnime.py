"""NNIME (Chou et al. 2017): Mandarin dialogues of actors, by EMO-SUPERB's table of what observers heard in them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from emoprobe.data.corpora import register
from emoprobe.data.corpora.emosuperb import read_tables
from emoprobe.data.utterance import Corpus, CorpusCard, Total

CARD = CorpusCard(
    name="nnime",
    title="NNIME",
    synthetic=False,
    licence="by signed agreement with National Tsing Hua University; EMO-SUPERB states no licence for its table",
    access="https://biic.ee.nthu.edu.tw/open_resource_detail.php?id=61; the table: "
    "https://github.com/EMOsuperb/EMO-SUPERB-submission",
    citation="Chou, Lin, Chang, Li, Ma, Lee: NNIME: The NTHU-NTUA Chinese interactive multimodal emotion corpus. ACII "
    "2017. The table: Wu et al., EMO-SUPERB, arXiv:2402.13018",
    raters="observers, 5.0 per clip on average (3 to 6), with 5.1 labels; only their shares are published",
    notes="Read from EMO-SUPERB's table, data/NNIME/Secondary: no public code shows the annotation files of the "
    "release itself, so nothing is guessed of them, and there are no single ratings. The table's terms: its shares "
    "count every label of an observer whole (dataset.soft_label.several=each) and no report of the actors themselves; "
    "votes for other were left out; of the 5,596 clips the 568 that fewer than three observers rated, or rated other, "
    "are not in it. It has means of valence (1 negative to 5 positive) and arousal (1 calm to 5 active), none of "
    "dominance. The longest clip lasts 71.8 s, the shortest 0.13 s. The observers saw the video, in order, so the "
    "votes are not of the voice alone.",
    label_sets=("nnime11", "basic4", "valence5", "arousal5"),
    words=(
        "anger",
        "disappointed",
        "excited",
        "fear",
        "frustration",
        "happy",
        "joy",
        "neutral",
        "relaxed",
        "sad",
        "surprise",
    ),
    splits="train, development and test of 5 folds that share no speaker, as EMO-SUPERB made them",
)
_SOURCE = "EMO-SUPERB, table A1 of its supplement"
TOTALS = (
    Total("clips", 5028, lambda corpus: len(corpus.utterances), _SOURCE),
    Total("speakers", 43, lambda corpus: len({u.speaker for u in corpus.utterances} - {None}), _SOURCE),
)


@register("nnime", CARD, TOTALS)
def read_nnime(
    root: str | Path,
    fold: int = 1,
    audio_root: str | Path | None = None,
    on_error: Literal["error", "skip"] = "error",
) -> Corpus:
    """Read one fold of the table, as `emoprobe.data.corpora.emosuperb.read_emosuperb` does.

    Args:
        root: EMO-SUPERB's repository, or its ``data`` folder.
        fold: From 1.
        audio_root: Folder below which the sound lies; ``root/NNIME/Audios`` and the like if None.
        on_error: ``error``, or ``skip`` to list bad rows and go on.

    Raises:
        InputError: The folder has no table of NNIME, a file is damaged, or a row is malformed.
    """
    return read_tables(CARD, root, "NNIME", None, fold, audio_root, None, on_error)
