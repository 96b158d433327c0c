"""BIIC-Podcast (Upadhyay et al. 2023): Taiwanese Mandarin podcasts with ratings in the files of MSP-Podcast."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from emoprobe.data.corpora import register
from emoprobe.data.corpora.msp_podcast.card import CARD as MSP_PODCAST
from emoprobe.data.corpora.msp_podcast.family import read_family, totals_of
from emoprobe.data.corpora.msp_podcast.release import Family
from emoprobe.data.utterance import Corpus, CorpusCard

CARD = CorpusCard(
    name="biic_podcast",
    title="BIIC-Podcast",
    synthetic=False,
    licence="academic or commercial licence, to be signed; no redistribution",
    access="https://biic.ee.nthu.edu.tw/open_resource_detail.php?id=63",
    citation="Upadhyay, Chien, Su, Goncalves, Wu, Salman, Busso, Lee: An Intelligent Infrastructure Toward Large Scale "
    "Naturalistic Affective Speech Corpora Collection. ACII 2023. Its figures: Wu et al., EMO-SUPERB, arXiv:2402.13018",
    raters="college students, 3.3 per clip on average as EMO-SUPERB counts; one primary emotion, any number of "
    "secondary ones",
    notes="Read in every form that MSP-Podcast's label files have (labels_consensus and labels_detailed as CSV or "
    "JSON, or blocks): EMO-SUPERB describes its labels as those of MSP-Podcast, but no public code shows the "
    "release's own files, so what is in another form is refused. Raters also gave valence, arousal and dominance, from "
    "1 to 7. Other-<free text> counts as other. Nothing is published of how many speakers there are.",
    label_sets=("msp8", "basic4", "valence7", "arousal7", "dominance7"),
    words=MSP_PODCAST.words,
    splits="train, development, test",
)
SPLITS = {name: name for name in ("train", "development", "test")} | {"validation": "development"}
FAMILY = Family(CARD, SPLITS)
TOTALS = totals_of(
    "version 1.01 in the supplement of EMO-SUPERB (arXiv:2402.13018)",
    clips=70_000,
    splits={"train": 48_815, "development": 10_845, "test": 10_340},
)


@register("biic_podcast", CARD, TOTALS)
def read_biic_podcast(
    root: str | Path,
    labels: Literal["auto", "detailed_csv", "detailed_json", "blocks"] = "auto",
    consensus_only: bool = False,
    transcripts: bool = False,
    on_error: Literal["error", "skip"] = "error",
) -> Corpus:
    """Read clips, ratings and splits as `emoprobe.data.corpora.msp_podcast.read_msp_podcast` does.

    Args:
        root: Folder with ``Labels/`` and ``Audios/``; the label files may lie in it, too.
        labels: Where ratings come from.
        consensus_only: Read no ratings; the consensus label is the one vote of every clip, where there is one.
        transcripts: Read ``Transcripts/<clip>.txt``, where it is there.
        on_error: ``error``, or ``skip`` to list bad rows, leave their clips out, and go on.

    Raises:
        InputError: The folder is not BIIC-Podcast, a file is damaged, or a row is malformed.
    """
    return read_family(FAMILY, root, labels, consensus_only, transcripts, on_error)
