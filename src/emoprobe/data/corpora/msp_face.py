"""MSP-Face (Vidal et al. 2020): people who talk to a camera, with the ratings of crowd workers."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from emoprobe.data.corpora import register
from emoprobe.data.corpora.msp_podcast.card import CARD as MSP_PODCAST
from emoprobe.data.corpora.msp_podcast.family import read_family, totals_of
from emoprobe.data.corpora.msp_podcast.release import Family
from emoprobe.data.utterance import Corpus, CorpusCard

CARD = CorpusCard(
    name="msp_face",
    title="MSP-Face",
    synthetic=False,
    licence="MIT of the repository with the labels; the videos belong to those who made them",
    access="https://github.com/3loi/MSP_Face; its download_segment_videos.py fetches the videos and cuts the sound",
    citation="Vidal, Salman, Lin, Busso: MSP-Face Corpus: A Natural Audiovisual Emotional Database. ICMI 2020. "
    "doi:10.1145/3382507.3418872",
    raters="crowd workers, at least 5 per clip; one primary emotion, any number of secondary ones",
    notes="The raters saw the video, so the votes are not of the voice alone. They also gave valence (1 negative to 7 "
    "positive), arousal (1 calm to 7 active) and dominance (1 weak to 7 strong). Videos that their owners removed have "
    "no sound any more: such clips are left out, counted and listed (dataset.missing_audio). The clips without labels, "
    "17,955 of them, are not read. Other-<free text> counts as other.",
    label_sets=("msp8", "basic4", "valence7", "arousal7", "dominance7"),
    words=MSP_PODCAST.words,
    splits="train, development (the files' Validation), test",
)
SPLITS = {name: name for name in ("train", "development", "test")} | {"validation": "development"}
FAMILY = Family(CARD, SPLITS, ("mp4", "wav", "flac"), ("Segments", "Audios", "Audio"))
TOTALS = totals_of(
    "Labels/label_consensus.json of github.com/3loi/MSP_Face",
    clips=9_370,
    splits={"train": 6_605, "development": 926, "test": 1_839},
    speakers=322,
    consensus={
        "anger": 404,
        "contempt": 469,
        "disgust": 610,
        "fear": 537,
        "happy": 1_087,
        "neutral": 1_130,
        "sad": 1_488,
        "surprise": 662,
        "other": 47,
        "no_agreement": 2_936,
    },
)


@register("msp_face", CARD, TOTALS)
def read_msp_face(
    root: str | Path,
    labels: Literal["auto", "detailed_csv", "detailed_json", "blocks"] = "auto",
    consensus_only: bool = False,
    on_error: Literal["error", "skip"] = "error",
) -> Corpus:
    """Read clips, ratings and splits as `emoprobe.data.corpora.msp_podcast.read_msp_podcast` does.

    Args:
        root: The repository, with ``Labels/`` (``label_consensus.json``, ``label_details.json``) and the script's
            ``Segments/<clip>/Audio/<clip>.wav``; ``Audios/`` or ``Audio/`` will do.
        labels: Where ratings come from.
        consensus_only: Read no ratings; the consensus label is the one vote of every clip, where there is one.
        on_error: ``error``, or ``skip`` to list bad rows, leave their clips out, and go on.

    Raises:
        InputError: The folder is not MSP-Face, a file is damaged, or a row is malformed.
    """
    return read_family(FAMILY, root, labels, consensus_only, False, on_error)
