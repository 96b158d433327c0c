"""Readers of corpora in their official layouts: one file each, with the corpus's card.

A module ``NAME`` has ``CARD``, a function ``read_NAME`` that returns a `Corpus`, and, where totals are published,
``TOTALS``.
"""

NAMES = (
    "cremad",
    "demo",
    "dusha",
    "emobox",
    "emodb",
    "emonet_voice",
    "emosuperb",
    "huggingface",
    "iemocap",
    "manifest",
    "msp_improv",
    "msp_podcast",
    "ravdess",
)
