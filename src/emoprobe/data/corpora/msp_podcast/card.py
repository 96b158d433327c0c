"""What MSP-Podcast is, and the words of its files."""

from __future__ import annotations

from emoprobe.data.utterance import CorpusCard

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
    "Secondary words count with soft_label.secondary. Every worker also rated valence (1 negative to 7 positive), "
    "arousal (the files' activation, 1 calm to 7 active) and dominance (1 weak to 7 strong). Speakers of some training "
    "clips are not known, and the test sets share speakers among each other. Some labelled clips have no released "
    "sound: they are left out, counted and listed (dataset.missing_audio). With consensus_only the label is one hard "
    "vote of one rater. Releases differ in size, and in their files: label/ in 1.6, labels/ in 1.9, Labels/ in the "
    "others, labels_concensus.* to 1.9, ratings in columns in 1.6 and from 1.12, in one field between them.",
    label_sets=("msp8", "basic4", "valence7", "arousal7", "dominance7"),
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
GENDERS = {"male": "male", "female": "female"}
DIMENSIONS = ("arousal", "valence", "dominance")
"""In the order in which the files have them: A, V, D."""
SCALE = (1.0, 7.0)
SCALES = dict.fromkeys(("valence", "arousal", "dominance"), SCALE)
"""Of all clips."""
