"""Fixtures shared by all tests: no network, no accounts, a tiny model of the true Whisper class."""

from __future__ import annotations

import json
import os
import signal
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from console import console  # noqa: F401

os.environ.update(HF_HUB_OFFLINE="1", WANDB_MODE="offline", WANDB_SILENT="true", MPLBACKEND="Agg")

# What runs the tests in the background ignores Ctrl-C, and so would every command that a test starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    with suppress(ValueError):  # not the main thread
        signal.signal(signal.SIGINT, signal.default_int_handler)

import emoprobe.models.torchaudio  # noqa: F401  (before transformers: see there)

WORDS = "the speaker is feeling voice sounds angry disgusted fearful happy neutral sad sadness in an way person"


def _byte_unicode() -> dict[int, str]:
    """GPT-2's printable stand-in for each byte."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    table = {byte: chr(byte) for byte in printable}
    spare = 0
    for byte in range(256):
        if byte not in table:
            table[byte] = chr(256 + spare)
            spare += 1
    return table


def write_tiny_whisper(folder: Path, seed: int = 0, multilingual: bool = True) -> Path:
    """A randomly initialised Whisper (two layers of width 32) with a real byte-level BPE tokenizer."""
    import torch
    from transformers import (
        GenerationConfig,
        WhisperConfig,
        WhisperFeatureExtractor,
        WhisperForConditionalGeneration,
        WhisperTokenizer,
    )

    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = list(_byte_unicode().values())
    merges = []
    for word in WORDS.split():
        # " sad" becomes one token and " sadness" grows out of it, so that one label's tokens begin another's word.
        symbols = ["Ġ", *word]
        while len(symbols) > 1:
            merge = (symbols[0], symbols[1])
            if merge not in merges:
                merges.append(merge)
                vocabulary.append("".join(merge))
            symbols = ["".join(merge), *symbols[2:]]
    vocabulary = list(dict.fromkeys(vocabulary))
    special = ["<|endoftext|>", "<|startoftranscript|>"]
    special += ["<|en|>", "<|translate|>", "<|transcribe|>"] if multilingual else []
    special += ["<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>"]
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(vocabulary + special[:1])}))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(" ".join(merge) for merge in merges) + "\n")
    tokenizer = WhisperTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
    tokenizer.add_special_tokens({"additional_special_tokens": special[1:]})
    tokenizer.save_pretrained(folder)
    ids = dict(zip(special, tokenizer.convert_tokens_to_ids(special), strict=True))
    end, start = ids["<|endoftext|>"], ids["<|startoftranscript|>"]
    torch.manual_seed(seed)
    config = WhisperConfig(
        vocab_size=len(tokenizer),
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        num_mel_bins=80,
        max_target_positions=64,
        pad_token_id=end,
        bos_token_id=end,
        eos_token_id=end,
        decoder_start_token_id=start,
        init_std=0.4,
    )
    model = WhisperForConditionalGeneration(config)
    model.generation_config = GenerationConfig(
        decoder_start_token_id=start,
        eos_token_id=end,
        pad_token_id=end,
        is_multilingual=multilingual,
        **(
            {
                "lang_to_id": {"<|en|>": ids["<|en|>"]},
                "task_to_id": {task: ids[f"<|{task}|>"] for task in ("transcribe", "translate")},
            }
            if multilingual
            else {}
        ),
        no_timestamps_token_id=ids["<|notimestamps|>"],
        suppress_tokens=[5, 6, start, ids["<|startofprev|>"]],
        begin_suppress_tokens=[7, end],
        max_length=64,
    )
    model.save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=80).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def spectra() -> Iterator[None]:
    """Of the same sound, the spectrum is computed once: a tiny model has little else to do with its 30 s."""
    from transformers import WhisperFeatureExtractor

    compute, known = WhisperFeatureExtractor._torch_extract_fbank_features, OrderedDict()

    def extract(self: WhisperFeatureExtractor, waveform: np.ndarray, device: str = "cpu") -> np.ndarray:
        key = (self.to_json_string(), device, waveform.shape, waveform.dtype, sha256(waveform.tobytes()).digest())
        if key not in known:
            known[key] = compute(self, waveform, device)
        known.move_to_end(key)
        if len(known) > 64:
            known.popitem(last=False)
        return known[key].copy()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WhisperFeatureExtractor, "_torch_extract_fbank_features", extract)
        yield


@pytest.fixture(scope="session")
def tiny_whisper_path(tmp_path_factory: pytest.TempPathFactory, spectra: None) -> Path:
    return write_tiny_whisper(tmp_path_factory.mktemp("tiny_whisper"))


@pytest.fixture(scope="session")
def tiny_whisper(tiny_whisper_path: Path):
    from emoprobe.models.load import load_whisper

    return load_whisper("tiny", path=tiny_whisper_path, device="cpu")


@pytest.fixture(scope="session")
def real_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where models are made of the real data packages: once, whichever of the tests' processes comes first."""
    root = tmp_path_factory.getbasetemp()
    return (root.parent if "PYTEST_XDIST_WORKER" in os.environ else root) / "real_cache"


FAMILIES = ("qwen2_audio", "qwen2_5_omni", "qwen3_omni", "voxtral", "granite_speech", "audio_flamingo3")
FAMILIES += ("music_flamingo", "moss")  # their processors write marks around the sound, and within it


@pytest.fixture(scope="session")
def tiny_path(tmp_path_factory: pytest.TempPathFactory, spectra: None):
    """Folder of a tiny checkpoint of an audio LLM family, written once."""
    from functools import cache
    from importlib import import_module

    root = tmp_path_factory.mktemp("tiny")
    return cache(lambda family: import_module(f"tiny.{family}").write(root / family))


@pytest.fixture(scope="session")
def tiny_llm(tiny_path):
    """A tiny audio LLM by family, loaded as a real one is."""
    from functools import cache

    from emoprobe.models.load import load_audio_llm

    return cache(lambda family: load_audio_llm(f"tiny/{family}", path=tiny_path(family), device="cpu"))


@pytest.fixture(scope="session")
def tiny_chat_path(tmp_path_factory: pytest.TempPathFactory):
    """Folder of a tiny text-only chat LLM of a kind, written once."""
    from functools import cache

    from tiny.chat_llm import write

    root = tmp_path_factory.mktemp("chat")
    return cache(lambda kind: write(root / kind, kind))


@pytest.fixture(scope="session")
def voices():
    """Three clips of synthetic speech of different lengths, 16 kHz."""
    import torch

    from emoprobe.data.audio import read_audio
    from emoprobe.data.corpora.demo import read_demo

    utterances = read_demo().utterances
    waves = [torch.from_numpy(read_audio(utterances[i].audio).waveform) for i in (0, 17, 40)]
    return [waves[0], waves[1][:11_000], waves[2][:17_000]]
