"""A tiny classification checkpoint of a true class, and what transformers alone makes of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2ForSequenceClassification

from emoprobe.models.base import Heard, SpeechFoundationModel

CODES = ("ang", "dis", "fea", "hap", "neu", "sad", "cal")
"""Classes in the usual short forms, one of which is none of the six basic emotions."""


def write_classifier(folder: Path, classes: Sequence[str] = CODES, seed: int = 0) -> Path:
    """A tiny wav2vec 2.0 with a classification head."""
    torch.manual_seed(seed)
    config = Wav2Vec2Config(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=48,
        conv_dim=(32, 32),
        conv_kernel=(10, 8),
        conv_stride=(80, 4),
        num_feat_extract_layers=2,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=2,
        initializer_range=0.4,
        classifier_proj_size=16,
        id2label=dict(enumerate(classes)),
        label2id={name: i for i, name in enumerate(classes)},
    )
    Wav2Vec2ForSequenceClassification(config).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=False).save_pretrained(folder)
    return folder


def plain_classes(folder: Path, waveform: np.ndarray) -> dict[str, float]:
    """Class -> probability, as transformers' own page on audio classification computes it."""
    extractor = Wav2Vec2FeatureExtractor.from_pretrained(folder)
    model = Wav2Vec2ForSequenceClassification.from_pretrained(folder).eval()
    inputs = extractor(waveform, sampling_rate=16_000, return_tensors="pt")
    with torch.no_grad():
        probs = model(**inputs).logits.softmax(-1)[0].tolist()
    return {model.config.id2label[i]: p for i, p in enumerate(probs)}


class Classified(SpeechFoundationModel):
    """The interface around such a checkpoint."""

    dtype, sampling_rate, max_seconds, min_samples, num_encoder_layers = "float32", 16_000, 30.0, 1000, 2

    def __init__(self, folder: Path) -> None:
        self.extractor = Wav2Vec2FeatureExtractor.from_pretrained(folder)
        self.model = Wav2Vec2ForSequenceClassification.from_pretrained(folder).eval()
        self.name, self.revision = "tiny/classified", "sha256:0"
        self.classes = tuple(self.model.config.id2label.values())

    def around(self, model):
        raise NotImplementedError

    def save_processor(self, folder: Path) -> None:
        self.extractor.save_pretrained(folder)

    def hear(self, waveforms: Sequence[Tensor], layers: Sequence[int] = ()) -> Heard:
        raise NotImplementedError

    def classify(self, waveforms: Sequence[Tensor]) -> Tensor:
        inputs = [self.extractor(wave.numpy(), sampling_rate=16_000, return_tensors="pt") for wave in waveforms]
        with torch.no_grad():
            return torch.cat([self.model(**one).logits for one in inputs]).log_softmax(-1)
