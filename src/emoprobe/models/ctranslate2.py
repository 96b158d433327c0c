"""Read a CTranslate2 Whisper file and name its variables as transformers does. Data only; nothing is executed.

Format (little-endian): u32 version; string spec name; u32 revision; u32 number of variables; per variable: string name,
u8 rank, u32 dimensions, u8 type, u32 bytes, data. A string is a u16 length, its closing NUL included, and the bytes.
"""

from __future__ import annotations

import math
import mmap
import struct
from pathlib import Path

import numpy as np

from emoprobe.errors import WeightsError

VERSION = 6
SPEC = "WhisperSpec"
TYPES = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}


class _Cursor:
    """Bounds-checked reading of a byte buffer."""

    def __init__(self, buffer: memoryview, file: Path) -> None:
        self.buffer, self.file, self.offset = buffer, file, 0

    def take(self, size: int, what: str) -> memoryview:
        if self.offset + size > len(self.buffer):
            raise WeightsError(
                f"{self.file} ends inside {what} at byte {self.offset}: it is truncated or not a CTranslate2 model."
            )
        part = self.buffer[self.offset : self.offset + size]
        self.offset += size
        return part

    def number(self, code: str, what: str) -> int:
        return struct.unpack("<" + code, self.take(struct.calcsize(code), what))[0]

    def string(self, what: str) -> str:
        raw = bytes(self.take(self.number("H", what), what))
        try:
            return raw.rstrip(b"\0").decode()
        except UnicodeDecodeError as error:
            raise WeightsError(f"{self.file}: {what} before byte {self.offset} is not text.") from error


def read_ctranslate2(file: Path) -> tuple[str, dict[str, np.ndarray]]:
    """The spec name and all variables of a CTranslate2 model file.

    Raises:
        WeightsError: The file is truncated, foreign or inconsistent; the message names the byte.
    """
    if file.stat().st_size == 0:
        raise WeightsError(f"{file} is empty.")
    with file.open("rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        view = memoryview(mapped)
        cursor = _Cursor(view, file)
        try:
            return _read(cursor)
        finally:
            cursor.buffer.release()


def _read(cursor: _Cursor) -> tuple[str, dict[str, np.ndarray]]:
    version = cursor.number("I", "the version")
    if version != VERSION:
        raise WeightsError(f"{cursor.file} has format version {version}, and {VERSION} is read.")
    spec = cursor.string("the spec name")
    cursor.number("I", "the revision")
    variables: dict[str, np.ndarray] = {}
    for _ in range(cursor.number("I", "the number of variables")):
        name = cursor.string("a variable's name")
        shape = tuple(cursor.number("I", f"the shape of {name}") for _ in range(cursor.number("B", f"rank of {name}")))
        kind = cursor.number("B", f"the type of {name}")
        size = cursor.number("I", f"the size of {name}")
        if kind not in TYPES:
            raise WeightsError(f"{cursor.file}: {name} has the unknown type {kind} before byte {cursor.offset}.")
        dtype = np.dtype(TYPES[kind])
        if math.prod(shape) * dtype.itemsize != size:
            raise WeightsError(f"{cursor.file}: {name} has shape {shape} and {size} bytes, which do not fit.")
        if name in variables:
            raise WeightsError(f"{cursor.file}: {name} occurs twice.")
        data = bytes(cursor.take(size, f"the data of {name}"))
        try:
            variables[name] = np.frombuffer(data, dtype=dtype).reshape(shape)
        except ValueError as error:
            raise WeightsError(f"{cursor.file}: {name} has shape {shape}, which is no array: {error}.") from error
    return spec, variables


def _linear(source: str, target: str, *, bias: bool = True) -> dict[str, tuple[str, slice | None]]:
    parts: dict[str, tuple[str, slice | None]] = {f"{target}.weight": (f"{source}/weight", None)}
    if bias:
        parts[f"{target}.bias"] = (f"{source}/bias", None)
    return parts


def _norm(source: str, target: str) -> dict[str, tuple[str, slice | None]]:
    return {f"{target}.weight": (f"{source}/gamma", None), f"{target}.bias": (f"{source}/beta", None)}


def _stacked(source: str, target: str, names: tuple[str, ...], width: int) -> dict[str, tuple[str, slice | None]]:
    """q, k, v stacked in one matrix; Whisper's k has no bias (CTranslate2 stores zeros for it)."""
    parts: dict[str, tuple[str, slice | None]] = {}
    for i, name in enumerate(names):
        rows = slice(i * width, (i + 1) * width) if len(names) > 1 else None
        parts[f"{target}.{name}.weight"] = (f"{source}/weight", rows)
        if name != "k_proj":
            parts[f"{target}.{name}.bias"] = (f"{source}/bias", rows)
    return parts


def name_map(encoder_layers: int, decoder_layers: int, width: int) -> dict[str, tuple[str, slice | None]]:
    """transformers' parameter name -> CTranslate2 variable and, where several are stacked, its rows."""
    names: dict[str, tuple[str, slice | None]] = {}
    for side, layers in (("encoder", encoder_layers), ("decoder", decoder_layers)):
        names[f"model.{side}.embed_positions.weight"] = (f"{side}/position_encodings/encodings", None)
        names |= _norm(f"{side}/layer_norm", f"model.{side}.layer_norm")
        for i in range(layers):
            source, target = f"{side}/layer_{i}", f"model.{side}.layers.{i}"
            own = f"{source}/self_attention"
            names |= _norm(f"{own}/layer_norm", f"{target}.self_attn_layer_norm")
            names |= _stacked(f"{own}/linear_0", f"{target}.self_attn", ("q_proj", "k_proj", "v_proj"), width)
            names |= _linear(f"{own}/linear_1", f"{target}.self_attn.out_proj")
            if side == "decoder":
                cross = f"{source}/attention"
                names |= _norm(f"{cross}/layer_norm", f"{target}.encoder_attn_layer_norm")
                names |= _stacked(f"{cross}/linear_0", f"{target}.encoder_attn", ("q_proj",), width)
                names |= _stacked(f"{cross}/linear_1", f"{target}.encoder_attn", ("k_proj", "v_proj"), width)
                names |= _linear(f"{cross}/linear_2", f"{target}.encoder_attn.out_proj")
            names |= _norm(f"{source}/ffn/layer_norm", f"{target}.final_layer_norm")
            names |= _linear(f"{source}/ffn/linear_0", f"{target}.fc1")
            names |= _linear(f"{source}/ffn/linear_1", f"{target}.fc2")
    for i in (1, 2):
        names |= _linear(f"encoder/conv{i}", f"model.encoder.conv{i}")
    names["model.decoder.embed_tokens.weight"] = ("decoder/embeddings/weight", None)
    return names


def to_transformers_whisper(variables: dict[str, np.ndarray], file: Path) -> tuple[dict[str, np.ndarray], dict]:
    """The parameters under transformers' names, and the `WhisperConfig` dimensions they imply.

    Raises:
        WeightsError: A variable is missing or has the wrong rank.
    """
    layers = {
        side: len(
            {name.split("/")[1] for name in variables if name.startswith(f"{side}/layer_") and "norm" not in name}
        )
        for side in ("encoder", "decoder")
    }
    try:
        vocabulary, width = variables["decoder/embeddings/weight"].shape
        names = name_map(layers["encoder"], layers["decoder"], width)
        state = {}
        for target, (source, rows) in names.items():
            value = variables[source]
            state[target] = np.ascontiguousarray(value if rows is None else value[rows])
        dimensions = {
            "vocab_size": vocabulary,
            "d_model": width,
            "num_mel_bins": variables["encoder/conv1/weight"].shape[1],
            "encoder_layers": layers["encoder"],
            "decoder_layers": layers["decoder"],
            "encoder_attention_heads": int(variables["encoder/num_heads"]),
            "decoder_attention_heads": int(variables["decoder/num_heads"]),
            "encoder_ffn_dim": variables["encoder/layer_0/ffn/linear_0/weight"].shape[0],
            "decoder_ffn_dim": variables["decoder/layer_0/ffn/linear_0/weight"].shape[0],
            "max_source_positions": variables["encoder/position_encodings/encodings"].shape[0],
            "max_target_positions": variables["decoder/position_encodings/encodings"].shape[0],
        }
    except (KeyError, ValueError, IndexError, TypeError) as error:
        raise WeightsError(
            f"{file} is not a Whisper model in CTranslate2 format: {error} is wrong or missing."
        ) from error
    return state, dimensions
