"""Tiny speech encoders: two blocks of width 32 of every class that transformers has, with its own feature extractor.

A name is transformers' ``model_type``; what stands in brackets is a variant of it: another norm of the first
convolutions, or a classifier on top.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn
from transformers import PreTrainedModel

from emoprobe.checks.tiny import TINY

EMOTIONS = ("angry", "happy", "neutral", "sad")
LAYERDROP = 0.3  # as real checkpoints have, so that a dropped layer would be seen
SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
# The convolutions over the waveform keep their true strides: 320 samples, 20 ms.
WAVE = SIZES | {
    "conv_dim": (16,) * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
    "classifier_proj_size": 16,
    "vocab_size": 12,
    "layerdrop": LAYERDROP,
}
LAYER_NORM = WAVE | {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
SQUEEZED = WAVE | {"conv_dim": (16,) * 13, "squeeze_factor": 2}
BERT = SIZES | {"classifier_proj_size": 16, "vocab_size": 12, "layerdrop": LAYERDROP}
CLASSIFIER = {"id2label": dict(enumerate(EMOTIONS)), "label2id": {name: i for i, name in enumerate(EMOTIONS)}}
CONFORMER = {"encoder_config": SIZES | {"subsampling_conv_channels": 8, "layerdrop": LAYERDROP}, "vocab_size": 12}
TRANSDUCER = CONFORMER | {"decoder_hidden_size": 16, "num_decoder_layers": 1, "blank_token_id": 11, "pad_token_id": 0}
HALVED = {"subsample_layers": [0], "vocab_size": 12, "context_size": 8, "max_position_embeddings": 16}
DECODER = {"decoder_layers": 1, "decoder_ffn_dim": 32, "decoder_attention_heads": 2, "vocab_size": 40}
TEXT = DECODER | {"encoder_layers": 2, "encoder_ffn_dim": 64, "encoder_attention_heads": 2}
SEAMLESS = DECODER | {
    "hidden_size": 32,
    "speech_encoder_layers": 2,
    "speech_encoder_attention_heads": 2,
    "speech_encoder_intermediate_size": 64,
    "speech_encoder_layerdrop": LAYERDROP,
    "encoder_layers": 1,
    "encoder_ffn_dim": 32,
    "encoder_attention_heads": 2,
}
MOONSHINE = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "encoder_num_hidden_layers": 2,
    "decoder_num_hidden_layers": 1,
    "encoder_num_attention_heads": 2,
    "decoder_num_attention_heads": 2,
    "vocab_size": 40,
}
STREAMING = SIZES | {"num_key_value_heads": 2, "head_dim": 16, "sliding_windows": ((16, 4), (16, 0))}


@dataclass(frozen=True)
class Kind:
    """A class of checkpoint: its class, its config's values, its feature extractor and that one's."""

    model: str
    values: dict[str, Any]
    extractor: str = "Wav2Vec2FeatureExtractor"
    settings: dict[str, Any] = field(default_factory=dict)


MASKED = {"return_attention_mask": True}  # as the layer-norm checkpoints are published
PLAIN = {"do_normalize": False}
KINDS = {
    "audio-spectrogram-transformer": Kind(
        "ASTForAudioClassification",
        SIZES | CLASSIFIER | {"max_length": 256},
        "ASTFeatureExtractor",
        {"max_length": 256},
    ),
    "data2vec-audio": Kind("Data2VecAudioModel", WAVE),
    "granite_speech5_ctc": Kind(
        "GraniteSpeech5ForCTC",
        {"encoder_config": SIZES | HALVED, "vocab_size": 12},
        "GraniteSpeech5FeatureExtractor",
    ),
    "granite_speech5_encoder": Kind("GraniteSpeech5Encoder", SIZES | HALVED, "GraniteSpeech5FeatureExtractor"),
    "hubert": Kind("HubertModel", WAVE),
    "hubert (classifier)": Kind("HubertForSequenceClassification", WAVE | CLASSIFIER),
    "hubert (layer norm)": Kind("HubertModel", LAYER_NORM, settings=MASKED),
    "lasr_ctc": Kind("LasrForCTC", CONFORMER, "LasrFeatureExtractor"),
    "lasr_encoder": Kind("LasrEncoder", CONFORMER["encoder_config"], "LasrFeatureExtractor"),
    "moonshine (encoder)": Kind("MoonshineForConditionalGeneration", MOONSHINE, settings=PLAIN),
    "moonshine_streaming (encoder)": Kind(
        "MoonshineStreamingForConditionalGeneration",
        SIZES | {"encoder_config": STREAMING, "num_key_value_heads": 2, "vocab_size": 40},
        settings=PLAIN | MASKED,
    ),
    "nemotron3_5_asr": Kind(
        "Nemotron3_5AsrForRNNT",
        TRANSDUCER | {"num_prompts": 4, "prompt_intermediate_size": 16, "default_prompt_id": 1},
        "NemotronAsrStreamingFeatureExtractor",
    ),
    "nemotron_asr_streaming": Kind("NemotronAsrStreamingForRNNT", TRANSDUCER, "NemotronAsrStreamingFeatureExtractor"),
    "nemotron_asr_streaming_encoder": Kind(
        "NemotronAsrStreamingEncoder", CONFORMER["encoder_config"], "NemotronAsrStreamingFeatureExtractor"
    ),
    "parakeet_ctc": Kind("ParakeetForCTC", CONFORMER | {"pad_token_id": 11}, "ParakeetFeatureExtractor"),
    "parakeet_encoder": Kind("ParakeetEncoder", CONFORMER["encoder_config"], "ParakeetFeatureExtractor"),
    "parakeet_rnnt": Kind("ParakeetForRNNT", TRANSDUCER, "ParakeetFeatureExtractor"),
    "parakeet_tdt": Kind("ParakeetForTDT", TRANSDUCER, "ParakeetFeatureExtractor"),
    "seamless_m4t (encoder)": Kind("SeamlessM4TForSpeechToText", SEAMLESS, "SeamlessM4TFeatureExtractor"),
    "seamless_m4t_v2 (encoder)": Kind("SeamlessM4Tv2ForSpeechToText", SEAMLESS, "SeamlessM4TFeatureExtractor"),
    "sew": Kind("SEWModel", SQUEEZED),
    "sew-d": Kind("SEWDModel", SQUEEZED | {"position_buckets": 16, "max_position_embeddings": 32}),
    "speech_to_text": Kind(
        "Speech2TextForConditionalGeneration",
        TEXT | {"d_model": 32, "conv_channels": 32, "encoder_layerdrop": LAYERDROP},
        "Speech2TextFeatureExtractor",
    ),
    "speecht5": Kind(
        "SpeechT5ForSpeechToText",
        {name: value for name, value in WAVE.items() if name.startswith(("conv_dim", "num_conv"))}
        | TEXT
        | {"hidden_size": 32, "encoder_layerdrop": LAYERDROP},
        "SpeechT5FeatureExtractor",
    ),
    "unispeech": Kind("UniSpeechModel", WAVE),
    "unispeech (layer norm)": Kind("UniSpeechModel", LAYER_NORM, settings=MASKED),
    "unispeech-sat": Kind("UniSpeechSatModel", WAVE),
    "unispeech-sat (layer norm)": Kind("UniSpeechSatModel", LAYER_NORM, settings=MASKED),
    "wav2vec2": Kind("Wav2Vec2Model", WAVE),
    "wav2vec2 (classifier)": Kind("Wav2Vec2ForSequenceClassification", WAVE | CLASSIFIER),
    "wav2vec2 (layer norm)": Kind("Wav2Vec2ForCTC", LAYER_NORM, settings=MASKED),
    "wav2vec2-bert": Kind("Wav2Vec2BertModel", BERT, "SeamlessM4TFeatureExtractor"),
    "wav2vec2-bert (classifier)": Kind(
        "Wav2Vec2BertForSequenceClassification", BERT | CLASSIFIER, "SeamlessM4TFeatureExtractor"
    ),
    "wav2vec2-conformer": Kind("Wav2Vec2ConformerModel", WAVE, settings=MASKED),
    "whisper (classifier)": Kind(
        "WhisperForAudioClassification",
        CLASSIFIER
        | {"d_model": 32, "encoder_layers": 2, "encoder_ffn_dim": 64, "encoder_attention_heads": 2}
        | {"classifier_proj_size": 16, "encoder_layerdrop": LAYERDROP},
        "WhisperFeatureExtractor",
    ),
    "wavlm": Kind("WavLMModel", WAVE, settings=PLAIN),
    "wavlm (classifier)": Kind("WavLMForSequenceClassification", WAVE | CLASSIFIER, settings=PLAIN),
    "wavlm (layer norm)": Kind("WavLMModel", LAYER_NORM, settings=MASKED),
}


def enlarge(model: PreTrainedModel) -> PreTrainedModel:
    """Weights of a size with which the sound reaches the last layer, and norms that do something."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for value in model.parameters():
            noise = torch.randn(value.shape, generator=generator)
            inputs = value.shape[1:].numel()
            if value.dim() > 1 and inputs > 1:
                value.copy_(noise / inputs**0.5)
            elif value.dim() == 1:
                value.add_(noise * 0.1)
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is not None:
                module.running_mean.copy_(torch.randn(module.num_features, generator=generator) * 0.1)
    return model.eval()


def write(kind: Kind, folder: Path, seed: int = 0) -> Path:
    """Write the checkpoint.

    Raises:
        ImportError: The installed transformers lacks the class, or a library that the feature extractor needs.
    """
    model_class = getattr(transformers, kind.model, None)
    if model_class is None:
        raise ImportError(f"transformers {transformers.__version__} has no {kind.model}")
    torch.manual_seed(seed)
    enlarge(model_class(model_class.config_class(**kind.values))).save_pretrained(folder)
    getattr(transformers, kind.extractor)(**kind.settings).save_pretrained(folder)
    return folder


def available() -> list[str]:
    """Names of the kinds that the installed transformers has, with all that their feature extractors need."""
    found = []
    for name, kind in KINDS.items():
        try:
            getattr(transformers, kind.model), getattr(transformers, kind.extractor)()
        except (AttributeError, ImportError):
            continue
        found.append(name)
    return found


for name, kind in KINDS.items():
    TINY.register(name)(partial(write, kind))
