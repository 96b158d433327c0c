"""Two checkpoints put together as one Qwen2-Audio: tensors, config, chat template, processor."""

from __future__ import annotations

import emoprobe.models.torchaudio  # isort: skip  # noqa: F401  # before transformers

from pathlib import Path
from typing import Any

import numpy as np
import transformers
from safetensors.numpy import load_file, save_file

from emoprobe.models.small.adapter import merged
from emoprobe.models.small.recipe import AUDIO_TOKENS, CHAT_TEMPLATE, PROJECTOR_SEED, PROJECTOR_SPREAD


def write_qwen2_audio(hearing: Path, text: Path, target: Path, adapter: Path | None = None) -> None:
    """Write the whole checkpoint, float16.

    Args:
        hearing: Checkpoint of a Whisper, whose encoder is taken.
        text: Checkpoint of a Llama with ChatML.
        target: An empty folder.
        adapter: Folder of what training added, to be merged.

    Raises:
        WeightsError: The adapter is damaged, or belongs to other weights.
    """
    tensors = assembled_tensors(hearing, text)
    if adapter is not None:
        tensors = merged(tensors, adapter)
    save_file(tensors, target / "model.safetensors", metadata={"format": "pt"})
    _write_settings(hearing, text, target)


def assembled_tensors(hearing: Path, text: Path) -> dict[str, np.ndarray]:
    """All tensors, float16, by the names of a stored Qwen2-Audio."""
    encoder, decoder = (load_file(folder / "model.safetensors") for folder in (hearing, text))
    start = "model.encoder."
    tensors = {f"audio_tower.{n.removeprefix(start)}": v for n, v in encoder.items() if n.startswith(start)}
    tensors |= {f"language_model.{name}": value for name, value in decoder.items()}
    embeddings = decoder["model.embed_tokens.weight"]
    mean = embeddings.mean(axis=0, dtype=np.float64).astype(np.float16)
    embeddings = np.concatenate([embeddings, np.tile(mean, (len(AUDIO_TOKENS), 1))])
    # The class ties nothing: both matrices are stored.
    for name in ("language_model.model.embed_tokens.weight", "language_model.lm_head.weight"):
        tensors[name] = embeddings
    norm = np.stack([tensors[f"audio_tower.layer_norm.{part}"].astype(np.float64) for part in ("weight", "bias")])
    width, states = embeddings.shape[1], norm.shape[1]
    length = np.sqrt((norm**2).sum())  # of a normed state, on average
    spread = PROJECTOR_SPREAD * embeddings.std(dtype=np.float64) / length
    # The stream of the older generator is the same in every version of numpy.
    drawn = np.random.RandomState(PROJECTOR_SEED).standard_normal((width, states)) * spread
    tensors["multi_modal_projector.linear.weight"] = drawn.astype(np.float16)
    tensors["multi_modal_projector.linear.bias"] = np.zeros(width, np.float16)
    return tensors


def _write_settings(hearing: Path, text: Path, target: Path) -> None:
    """Config, generation config, and a processor with its chat template."""
    local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    whisper = transformers.WhisperConfig.from_pretrained(hearing, **local)
    llama = transformers.LlamaConfig.from_pretrained(text, **local)
    tokenizer = transformers.AutoTokenizer.from_pretrained(text, **local)
    tokenizer.add_tokens([transformers.AddedToken(token, special=True, normalized=False) for token in AUDIO_TOKENS])
    tokenizer.chat_template = None
    llama.vocab_size += len(AUDIO_TOKENS)
    llama.tie_word_embeddings = False
    shared = "num_mel_bins d_model encoder_layers encoder_attention_heads encoder_ffn_dim max_source_positions"
    config = transformers.Qwen2AudioConfig(
        audio_config=transformers.Qwen2AudioEncoderConfig(**{name: getattr(whisper, name) for name in shared.split()}),
        text_config=llama,
        audio_token_index=tokenizer.get_added_vocab()[AUDIO_TOKENS[0]],
        architectures=["Qwen2AudioForConditionalGeneration"],
    )
    config.tie_word_embeddings, config.dtype = False, "float16"
    config.save_pretrained(target)
    special = {name: getattr(llama, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    transformers.GenerationConfig(**special, do_sample=False).save_pretrained(target)
    transformers.Qwen2AudioProcessor(
        transformers.WhisperFeatureExtractor.from_pretrained(hearing, **local), tokenizer, chat_template=CHAT_TEMPLATE
    ).save_pretrained(target)
