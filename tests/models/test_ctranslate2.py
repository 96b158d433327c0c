"""CTranslate2 files: read as documented, every damage a WeightsError, and a conversion that keeps the logits."""

from __future__ import annotations

import contextlib
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emoprobe.errors import WeightsError
from emoprobe.models.ctranslate2 import read_ctranslate2, to_transformers_whisper

CODES = {"float32": 0, "int8": 1, "int16": 2, "int32": 3, "float16": 4}


def text(value: str) -> bytes:
    raw = value.encode() + b"\0"
    return struct.pack("<H", len(raw)) + raw


def entry(name: str, shape: tuple[int, ...], code: int, data: bytes, size: int | None = None) -> bytes:
    head = text(name) + struct.pack(f"<B{len(shape)}I", len(shape), *shape)
    return head + struct.pack("<BI", code, len(data) if size is None else size) + data


def file_bytes(entries: list[bytes], version: int = 6, count: int | None = None) -> bytes:
    count = len(entries) if count is None else count
    return struct.pack("<I", version) + text("WhisperSpec") + struct.pack("<II", 3, count) + b"".join(entries)


def ctranslate2_bytes(variables: dict[str, np.ndarray]) -> bytes:
    return file_bytes([entry(n, v.shape, CODES[v.dtype.name], v.tobytes()) for n, v in variables.items()])


def ctranslate2_variables(model) -> dict[str, np.ndarray]:
    """A transformers Whisper under the documented CTranslate2 names, in the model's own precision."""
    state = {name.removeprefix("model."): value.detach().numpy() for name, value in model.state_dict().items()}
    heads = {"encoder": model.config.encoder_attention_heads, "decoder": model.config.decoder_attention_heads}
    variables = {f"{side}/num_heads": np.array(number, dtype=np.int8) for side, number in heads.items()}

    def stack(source: str, names: str, target: str) -> None:
        weights = [state[f"{source}.{name}_proj.weight"] for name in names]
        biases = [
            state.get(f"{source}.{n}_proj.bias", np.zeros_like(w[:, 0])) for n, w in zip(names, weights, strict=True)
        ]
        variables[f"{target}/weight"], variables[f"{target}/bias"] = np.concatenate(weights), np.concatenate(biases)

    def copy(source: str, target: str, weight: str = "weight", bias: str = "bias") -> None:
        variables[f"{target}/{weight}"] = state[f"{source}.weight"]
        variables[f"{target}/{bias}"] = state[f"{source}.bias"]

    for side, layers in (("encoder", model.config.encoder_layers), ("decoder", model.config.decoder_layers)):
        variables[f"{side}/position_encodings/encodings"] = state[f"{side}.embed_positions.weight"]
        copy(f"{side}.layer_norm", f"{side}/layer_norm", "gamma", "beta")
        for i in range(layers):
            old, new = f"{side}.layers.{i}", f"{side}/layer_{i}"
            stack(f"{old}.self_attn", "qkv", f"{new}/self_attention/linear_0")
            copy(f"{old}.self_attn.out_proj", f"{new}/self_attention/linear_1")
            copy(f"{old}.self_attn_layer_norm", f"{new}/self_attention/layer_norm", "gamma", "beta")
            if side == "decoder":
                stack(f"{old}.encoder_attn", "q", f"{new}/attention/linear_0")
                stack(f"{old}.encoder_attn", "kv", f"{new}/attention/linear_1")
                copy(f"{old}.encoder_attn.out_proj", f"{new}/attention/linear_2")
                copy(f"{old}.encoder_attn_layer_norm", f"{new}/attention/layer_norm", "gamma", "beta")
            copy(f"{old}.final_layer_norm", f"{new}/ffn/layer_norm", "gamma", "beta")
            copy(f"{old}.fc1", f"{new}/ffn/linear_0")
            copy(f"{old}.fc2", f"{new}/ffn/linear_1")
    copy("encoder.conv1", "encoder/conv1")
    copy("encoder.conv2", "encoder/conv2")
    variables["decoder/embeddings/weight"] = state["decoder.embed_tokens.weight"]
    return variables


SMALL = {
    "a/float32": np.array([[1.5, -2.25, 0.0]], dtype=np.float32),
    "a/int8": np.array([-128, 127], dtype=np.int8),
    "b/int16": np.array([[-32768], [32767]], dtype=np.int16),
    "b/int32": np.array([2**31 - 1], dtype=np.int32),
    "c/float16": np.array([[[0.1, 65504.0]]], dtype=np.float16),
    "c/scalar": np.array(8, dtype=np.int8),
    "c/none": np.zeros((0, 3), dtype=np.float32),
}


@pytest.fixture
def read(tmp_path: Path):
    def from_bytes(content: bytes) -> tuple[str, dict[str, np.ndarray]]:
        file = tmp_path / "model.bin"
        file.write_bytes(content)
        return read_ctranslate2(file)

    return from_bytes


@pytest.mark.parametrize("aliases", [b"", struct.pack("<I", 1) + text("alias") + text("a/int8")])
def test_reads_back_every_type_and_rank_and_ignores_aliases(read, aliases):
    spec, found = read(ctranslate2_bytes(SMALL) + aliases)
    assert spec == "WhisperSpec"
    assert list(found) == list(SMALL)
    for name, expected in SMALL.items():
        assert found[name].dtype == expected.dtype
        assert found[name].shape == expected.shape
        np.testing.assert_array_equal(found[name], expected)


def test_truncation_at_every_byte_is_a_weights_error_naming_the_file(read):
    whole = ctranslate2_bytes(SMALL)
    for length in range(len(whole)):
        with pytest.raises(WeightsError, match=r"model\.bin"):
            read(whole[:length])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (file_bytes([], version=5), "format version 5, and 6 is read"),
        (file_bytes([entry("x", (1,), 9, b"1234")]), "x has the unknown type 9"),
        (file_bytes([entry("x", (2,), 0, b"1234")]), r"x has shape \(2,\) and 4 bytes"),
        (file_bytes([entry("x", (), 0, b"12345678")]), r"x has shape \(\) and 8 bytes"),
        (file_bytes([entry("x", (1,), 1, b"1"), entry("x", (1,), 1, b"2")]), "x occurs twice"),
        (file_bytes([entry("x", (2**32 - 1,) * 8, 0, b"1234")]), "do not fit"),
        (file_bytes([entry("x", (2**32 - 1,), 1, b"1", size=2**32 - 1)]), "ends inside the data of x"),
        (file_bytes([entry("x", (0, *(2**32 - 1,) * 4), 0, b"")]), "x has shape"),
        (file_bytes([entry("x", (1,) * 255, 0, b"1234")]), "x has shape"),
        (file_bytes([], count=2**32 - 1), "ends inside a variable's name"),
        (file_bytes([b"\x02\x00\xff\x00"], count=1), "is not text"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_damage_is_named(read, content, message):
    with pytest.raises(WeightsError, match=message):
        read(content)


def check_result_or_weights_error(read, content: bytes) -> None:
    """Either every variable returned lies in the file as it stands, or the one error that callers catch is raised."""
    with contextlib.suppress(WeightsError):
        _, found = read(content)
        assert all(value.tobytes() in content for value in found.values())


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.one_of(st.binary(max_size=200), st.binary(max_size=200).map(lambda tail: file_bytes([tail]))))
def test_random_bytes_end_in_a_result_or_a_weights_error(read, content):
    check_result_or_weights_error(read, content)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.lists(st.tuples(st.integers(0, len(ctranslate2_bytes(SMALL)) - 1), st.integers(0, 255)), max_size=4))
def test_mutated_files_end_in_a_result_or_a_weights_error(read, changes):
    content = bytearray(ctranslate2_bytes(SMALL))
    for position, value in changes:
        content[position] = value
    check_result_or_weights_error(read, bytes(content))


@pytest.fixture(scope="module")
def model(tiny_whisper_path):
    from transformers import WhisperForConditionalGeneration

    model = WhisperForConditionalGeneration.from_pretrained(tiny_whisper_path).eval()
    import torch

    generator = torch.Generator().manual_seed(1)
    for name, value in model.named_parameters():  # zero biases and unit norms would hide a swapped name
        if "norm" in name or name.endswith("bias"):
            value.data += 0.3 * torch.randn(value.shape, generator=generator)
    return model


def test_conversion_keeps_the_logits(read, model):
    import torch
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    _, variables = read(ctranslate2_bytes(ctranslate2_variables(model)))
    state, dimensions = to_transformers_whisper(variables, Path("model.bin"))
    special = {"pad_token_id": 0, "bos_token_id": 0, "eos_token_id": 0, "decoder_start_token_id": 0}
    fresh = WhisperForConditionalGeneration(WhisperConfig(**dimensions, **special)).eval()
    tensors = {name: torch.from_numpy(value.copy()) for name, value in state.items()}
    report = fresh.load_state_dict(tensors, strict=False)
    assert report.unexpected_keys == []
    assert report.missing_keys == ["proj_out.weight"]  # tied to the embedding
    generator = torch.Generator().manual_seed(0)
    mel = torch.randn(2, 80, 3000, generator=generator)
    tokens = torch.randint(0, dimensions["vocab_size"], (2, 5), generator=generator)
    with torch.no_grad():
        expected = model(input_features=mel, decoder_input_ids=tokens).logits
        found = fresh(input_features=mel, decoder_input_ids=tokens).logits
    assert expected.std() > 0.1
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_any_missing_variable_is_a_weights_error_naming_the_file(model):
    variables = ctranslate2_variables(model)
    for missing in variables:
        rest = {name: value for name, value in variables.items() if name != missing}
        with pytest.raises(WeightsError, match=r"broken/model\.bin is not a Whisper model") as caught:
            to_transformers_whisper(rest, Path("broken/model.bin"))
        assert f"'{missing}'" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("encoder/num_heads", np.array([2, 2], dtype=np.int8)),
        ("encoder/conv1/weight", np.zeros(3, dtype=np.float32)),
        ("decoder/embeddings/weight", np.zeros(3, dtype=np.float32)),
        ("encoder/layer_0/self_attention/linear_0/weight", np.array(1.0, dtype=np.float32)),
        ("decoder/position_encodings/encodings", np.array(1.0, dtype=np.float32)),
    ],
)
def test_a_variable_of_the_wrong_rank_is_a_weights_error(model, name, value):
    with pytest.raises(WeightsError, match="is not a Whisper model"):
        to_transformers_whisper(ctranslate2_variables(model) | {name: value}, Path("model.bin"))
