"""Data packages in miniature: as pip lays them out, with a tiny Whisper or a tiny Llama in them."""

from __future__ import annotations

import hashlib
import json
import runpy
from pathlib import Path

import gguf
import numpy as np
from gguf.quants import quantize

from emoprobe.checks.tiny.common import byte_unicode
from emoprobe.models.data_packages import DataPackage

LISTS = {"suppress_ids": [5, 6], "suppress_ids_begin": [7], "alignment_heads": [[1, 0]], "lang_ids": []}
HEADS, KEYS = 4, 2  # of the tiny Llama
TEMPLATE = "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
# An independent writer of the format.
ct2 = runpy.run_path(str(Path(__file__).parents[1] / "models" / "test_ctranslate2.py"))


def install(site: Path, distribution: str, files: dict[str, bytes], needs: str = "") -> None:
    """A distribution as pip lays it out, whose module cannot be imported without failing the test."""
    module = distribution.replace("-", "_")
    information = site / f"{module}-1.0.0.dist-info"
    information.mkdir(parents=True)
    information.joinpath("METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0.0\n{needs}")
    files = {"__init__.py": b"raise SystemExit('a data package was imported')\n"} | files
    (site / module).mkdir()
    for name, content in files.items():
        (site / module / name).write_bytes(content)
    information.joinpath("RECORD").write_text("".join(f"{module}/{name},,\n" for name in files))


def whisper_contents(folder: Path) -> tuple[bytes, bytes]:
    """A float16 CTranslate2 model of a checkpoint, and its tokenizer.json."""
    from transformers import WhisperForConditionalGeneration

    model = WhisperForConditionalGeneration.from_pretrained(folder).half()
    model_bytes = ct2["ctranslate2_bytes"](ct2["ctranslate2_variables"](model))
    return model_bytes, (folder / "tokenizer.json").read_bytes()


def whisper_package(model: bytes, tokenizer: bytes) -> DataPackage:
    """What is to be known of `install_whisper`'s."""
    return DataPackage(
        name="fake/whisper",
        extra="fake-extra",
        version="1.0.0",
        parts=(("fake-part1", "fake_part1/model.bin.part1"), ("fake-part2", "fake_part2/model.bin.part2")),
        side_files=(
            ("fake-part1", "fake_part1/config.json", hashlib.sha256(json.dumps(LISTS).encode()).hexdigest()),
            ("fake-part1", "fake_part1/tokenizer.json", hashlib.sha256(tokenizer).hexdigest()),
        ),
        size=len(model),
        sha256=hashlib.sha256(model).hexdigest(),
        revision="publisher/fake-whisper@abc123",
        licence="MIT",
        converter="ctranslate2",
        disk=1_000_000,
    )


def install_whisper(site: Path, model: bytes, tokenizer: bytes) -> None:
    """Both parts in a site-packages folder."""
    half = len(model) // 2
    side = {"config.json": json.dumps(LISTS).encode(), "tokenizer.json": tokenizer}
    install(site, "fake-part1", {"model.bin.part1": model[:half], **side})
    install(site, "fake-part2", {"model.bin.part2": model[half:]})


def write_tiny_gguf(file: Path, seed: int = 0) -> None:
    """A Llama of two layers of width 64, its matrices in four bits, with a byte-level vocabulary."""
    numbers = np.random.default_rng(seed)
    tokens = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *byte_unicode(), "Ġs", "Ġsa", "Ġsad"]
    writer = gguf.GGUFWriter(file, "llama")
    writer.add_block_count(2)
    writer.add_context_length(256)
    writer.add_embedding_length(64)
    writer.add_feed_forward_length(128)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KEYS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10_000.0)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.CONTROL] * 3 + [gguf.TokenType.NORMAL] * (len(tokens) - 3))
    writer.add_token_merges(["Ġ s", "Ġs a", "Ġsa d"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(2)
    writer.add_add_bos_token(False)
    writer.add_chat_template(TEMPLATE)
    shapes: dict[str, tuple[int, ...]] = {"token_embd": (len(tokens), 64), "output_norm": (64,)}
    for i in range(2):
        block = {"attn_norm": (64,), "ffn_norm": (64,), "attn_q": (64, 64), "attn_k": (32, 64), "attn_v": (32, 64)}
        block |= {"attn_output": (64, 64), "ffn_gate": (128, 64), "ffn_up": (128, 64), "ffn_down": (64, 128)}
        shapes |= {f"blk.{i}.{name}": shape for name, shape in block.items()}
    for name, shape in shapes.items():
        value = numbers.normal(0, 0.2, shape).astype(np.float32)
        if len(shape) == 1:
            writer.add_tensor(f"{name}.weight", 1 + value)
        else:
            kind = gguf.GGMLQuantizationType.Q8_0 if name == "token_embd" else gguf.GGMLQuantizationType.Q4_1
            writer.add_tensor(f"{name}.weight", quantize(value, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def llama_package(file: Path, version: str = "1.0.0") -> DataPackage:
    """What is to be known of `install_llama`'s."""
    return DataPackage(
        name="fake/llama",
        extra="fake-extra",
        version=version,
        parts=(("fake-llama", "fake_llama/tiny.gguf"),),
        side_files=(),
        size=file.stat().st_size,
        sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
        revision="publisher/fake-llama@abc123/Q4_1",
        licence="Apache-2.0",
        converter="gguf",
        disk=1_000_000,
        readers=("gguf", "accelerate"),
        alone=True,
        note="of 4-bit weights",
    )


def install_llama(site: Path, file: Path) -> None:
    """The distribution in a site-packages folder; it asks for what nobody has."""
    install(site, "fake-llama", {"tiny.gguf": file.read_bytes()}, "Requires-Dist: needs-a-compiler\n")
