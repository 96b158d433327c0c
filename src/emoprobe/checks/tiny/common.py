"""What tiny checkpoints share: a byte-level BPE tokenizer, the audio front end and the writing to disk."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken
from transformers import GenerationConfig, PreTrainedModel, Qwen2Tokenizer, WhisperFeatureExtractor

# A bar starts a further token: " sadness" is " sad" + "ness", so that one label's tokens begin another label's.
WORDS = """
happy happi|ness angry anger sad sad|ness neutral fear fear|ful disgust disgust|ed calm surprise surprise|d
Happy Happi|ness Angry Anger Sad Sad|ness Neutral Fear Fear|ful Disgust Disgust|ed Calm Surprise Surprise|d
You are a helpful assistant system user Audio The the speaker is feel|ing voice sound|s emotion of in this an way
person What Answer with one word Choose from or and
"""


# The image half of the preprocessor file of families that also see; the checkpoints are tested without it.
IMAGE_SETTINGS = {
    "image_processor_type": "Qwen2VLImageProcessor",
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
    "min_pixels": 3136,
    "max_pixels": 12845056,
    "merge_size": 2,
    "patch_size": 14,
    "temporal_patch_size": 2,
}

QWEN3_TEXT = {
    "model_type": "qwen3",
    "hidden_size": 48,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 8192,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e6},
    "initializer_range": 0.3,
    "tie_word_embeddings": False,
}


def byte_unicode() -> list[str]:
    """GPT-2's printable stand-in for each byte, in the order that vocabularies list them."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return [chr(byte) for byte in printable] + [chr(256 + i) for i in range(256 - len(printable))]


def bpe(words: str = WORDS) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Vocabulary and merges by which each word, with and without a space before it, becomes the tokens given."""
    starts, further = [], []
    for word in words.split():
        start, *rest = word.split("|")
        starts.append(start)
        further += rest
    vocabulary = dict.fromkeys(byte_unicode())
    merges: dict[tuple[str, str], None] = {}
    # Merges that begin with a space rank first, those of further tokens last: few words break up another one.
    for piece in ["Ġ" + start for start in starts] + starts + further:
        for end in range(1, len(piece)):
            merges[piece[:end], piece[end]] = None
            vocabulary[piece[: end + 1]] = None
    return {token: i for i, token in enumerate(vocabulary)}, list(merges)


def write_tokenizer(
    folder: Path, special: Iterable[str], *, eos: str, names: dict[str, str] | None = None
) -> Qwen2Tokenizer:
    """Write a Qwen2 tokenizer: byte-level BPE, one token per digit.

    Args:
        folder: The checkpoint's folder.
        special: The special tokens, whose ids follow those of the words in this order.
        eos: The end-of-sequence token.
        names: The special tokens that a processor asks of its tokenizer, by the attribute's name (``audio_token``).
    """
    vocabulary, merges = bpe()
    tokenizer = Qwen2Tokenizer(vocab=vocabulary, merges=merges, unk_token=None, eos_token=None, pad_token=None)
    tokenizer.add_tokens([AddedToken(token, special=True, normalized=False) for token in special], special_tokens=True)
    tokenizer.save_pretrained(folder)
    # Named only in the file: names given at once would have taken the first ids.
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    settings |= {"eos_token": eos, "pad_token": "<|endoftext|>", "model_max_length": 8192}
    settings |= {"extra_special_tokens": names} | names if names else {}
    path.write_text(json.dumps(settings, indent=2), encoding="utf-8")
    return Qwen2Tokenizer.from_pretrained(folder)


def write_front_end(folder: Path, processor_class: str, chat_template: str, **further: Any) -> None:
    """Write the mel front end (128 bands, 30 s), with the processor's name and `further` settings, and the template."""
    extractor = WhisperFeatureExtractor(feature_size=128, return_attention_mask=True)
    settings = json.loads(extractor.to_json_string()) | {"processor_class": processor_class} | further
    (folder / "preprocessor_config.json").write_text(json.dumps(settings, indent=2), encoding="utf-8")
    (folder / "chat_template.jinja").write_text(chat_template, encoding="utf-8")


def padded(size: int) -> int:
    """A model's vocabulary for a tokenizer of `size` tokens: as for real models, with unused rows at its end."""
    return (size // 16 + 2) * 16


def write_model(folder: Path, model: PreTrainedModel, used: int, generation: dict[str, Any]) -> None:
    """Write weights, config and generation config; the vocabulary's rows from `used` on are zero.

    A zero row's logit is 0, far below the largest of some hundred random ones: greedy decoding never takes it.
    """
    with torch.no_grad():
        outputs = model.get_output_embeddings() or model.language_model.get_output_embeddings()
        for layer in (model.get_input_embeddings(), outputs):
            layer.weight[used:] = 0
    model.generation_config = GenerationConfig(**generation)
    model.eval().save_pretrained(folder)
