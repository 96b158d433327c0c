"""A tiny classification checkpoint of a true class, and what transformers alone makes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from transformers import AutoFeatureExtractor, AutoModelForAudioClassification

from emoprobe.checks.tiny.encoders import KINDS, write

CODES = ("ang", "dis", "fea", "hap", "neu", "sad", "cal")
"""Classes in the usual short forms, one of which is none of the six basic emotions."""


def write_classifier(folder: Path, classes: Sequence[str] = CODES, kind: str = "wavlm (classifier)") -> Path:
    """A tiny checkpoint with a classification head."""
    named = {"id2label": dict(enumerate(classes)), "label2id": {name: i for i, name in enumerate(classes)}}
    return write(replace(KINDS[kind], values=KINDS[kind].values | named), folder)


def plain_classes(folder: Path, waveform: np.ndarray) -> dict[str, float]:
    """Class -> probability, as transformers' page on audio classification computes it."""
    extractor = AutoFeatureExtractor.from_pretrained(folder)
    model = AutoModelForAudioClassification.from_pretrained(folder).eval()
    inputs = extractor(waveform, sampling_rate=16_000, return_tensors="pt")
    with torch.no_grad():
        probs = model(**inputs).logits.softmax(-1)[0].tolist()
    return {model.config.id2label[i]: p for i, p in enumerate(probs)}
