"""A Llama with its tokenizer in a GGUF file, as an ordinary checkpoint of transformers."""

from __future__ import annotations

import emoprobe.models.torchaudio  # isort: skip  # noqa: F401  # before transformers

import io
from contextlib import redirect_stderr
from pathlib import Path

import torch
import transformers
from safetensors.torch import save_file
from tokenizers import pre_tokenizers

from emoprobe.models.converters import CONVERTERS


@CONVERTERS.register("gguf")
def write_llama(weights: Path, side_files: list[Path], target: Path) -> None:
    """Write a plain ``LlamaForCausalLM`` in float16, its weights those of the file when they are unpacked.

    transformers reads the file, and does not save what it read from one.
    """
    with redirect_stderr(io.StringIO()):  # progress bars of several makers
        loaded = transformers.LlamaForCausalLM.from_pretrained(
            weights.parent,
            gguf_file=weights.name,
            dtype=torch.float32,
            quantization_config=transformers.GgufConfig(dequantize=True),
        )
        tokenizer = transformers.AutoTokenizer.from_pretrained(weights.parent, gguf_file=weights.name)
    settings = loaded.config.to_dict()
    for name in ("quantization_config", "_name_or_path", "transformers_version"):
        settings.pop(name, None)
    config = transformers.LlamaConfig(**settings)
    state = {name: value.half().contiguous() for name, value in loaded.state_dict().items()}
    if config.tie_word_embeddings:
        del state["lm_head.weight"]
    save_file(state, target / "model.safetensors", metadata={"format": "pt"})
    config.architectures, config.dtype = ["LlamaForCausalLM"], "float16"
    config.save_pretrained(target)
    special = {name: getattr(config, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    transformers.GenerationConfig(**special).save_pretrained(target)
    # The file says "smollm": each digit is a token, whatever stands before it. transformers does not read this.
    backend = tokenizer.backend_tokenizer
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.model_max_length = config.max_position_embeddings
    tokenizer.save_pretrained(target)
