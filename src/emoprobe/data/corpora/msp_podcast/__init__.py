"""MSP-Podcast in the layouts of its releases (Lotfian and Busso 2019): every clip with the ratings of its workers."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from emoprobe.data.corpora import register
from emoprobe.data.corpora.msp_podcast.card import CARD
from emoprobe.data.corpora.msp_podcast.family import read_family
from emoprobe.data.corpora.msp_podcast.release import Family
from emoprobe.data.utterance import Corpus

SPLITS = {name: name for name in ("train", "development", "test1", "test2", "test3", "test")}
SPLITS |= {"validation": "development"}
FAMILY = Family(CARD, SPLITS)


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
        root: Folder with ``Labels/`` (``labels/``, ``label/``) and ``Audios/`` (``Audio/``); the label files may lie in
            it, too.
        labels: Where ratings come from: ``detailed_csv`` (``labels_detailed.csv``), ``detailed_json``
            (``labels_detailed.json``), ``blocks`` (``labels.txt``), or ``auto``: the first of these that is there.
        consensus_only: Read no ratings; the consensus label is the one vote of every clip, where there is one.
        transcripts: Read ``Transcripts/<clip>.txt``, one small file per clip, where it is there.
        on_error: ``error``, or ``skip`` to list bad rows, leave their clips out, and go on.

    Returns:
        Corpus in the order of ``labels_consensus.csv`` (or ``.json``) or, without it, of ``labels.txt``, then clips
        that only the partition file names. Clips without ratings, such as those of test3, have no votes. Ratings have
        valence, arousal and dominance, from 1 to 7; clips have their means. ``metadata`` holds, where known, consensus
        (or ``no_agreement``), gender, and these means.

    Raises:
        InputError: The folder is not MSP-Podcast, a file is damaged, or a row is malformed.
    """
    return read_family(FAMILY, root, labels, consensus_only, transcripts, on_error)
