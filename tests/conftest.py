"""Fixtures shared by all tests: no network, no accounts, a tiny model of the true Whisper class."""

from __future__ import annotations

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
    from emoprobe.checks.tiny.whisper import write

    return write(tmp_path_factory.mktemp("tiny_whisper"))


@pytest.fixture(scope="session")
def tiny_whisper(tiny_whisper_path: Path):
    from emoprobe.models.load import load_transcriber

    return load_transcriber("tiny", path=tiny_whisper_path, device="cpu")


@pytest.fixture(scope="session")
def real_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where models are made of the real data packages: once, whichever of the tests' processes comes first."""
    root = tmp_path_factory.getbasetemp()
    return (root.parent if "PYTEST_XDIST_WORKER" in os.environ else root) / "real_cache"


FAMILIES = ("qwen2_audio", "qwen2_5_omni", "qwen3_omni", "voxtral", "granite_speech", "audio_flamingo3")
FAMILIES += ("music_flamingo", "moss")  # their processors write marks around the sound, and within it
OTHERS = ("glm_asr", "qwen3_asr", "fun_asr_nano", "granite_speech_plus", "vibevoice_asr", "gemma4_unified")
OTHERS += ("muse_spark",)
WHOLE = ("gemma3n", "gemma4", "phi4_multimodal", "nemotron_h_omni", "nemo_speechlm", "inkling", "dots3_note")
# Their decoders take no token tree.


@pytest.fixture(scope="session")
def tiny_path(tmp_path_factory: pytest.TempPathFactory, spectra: None):
    """Folder of a tiny checkpoint of an audio LLM family, written once."""
    from functools import cache
    from importlib import import_module

    root = tmp_path_factory.mktemp("tiny")
    return cache(lambda family: import_module(f"emoprobe.checks.tiny.{family}").write(root / family))


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

    from emoprobe.checks.tiny.chat_llm import write

    root = tmp_path_factory.mktemp("chat")
    return cache(lambda kind: write(root / kind, kind))


@pytest.fixture(scope="session")
def voices():
    """Three clips of synthetic speech of different lengths, 16 kHz."""
    import torch

    from emoprobe.data.corpora.demo import read_demo
    from emoprobe.data.sound.audio import read_audio

    utterances = read_demo().utterances
    waves = [torch.from_numpy(read_audio(utterances[i].audio).waveform) for i in (0, 17, 40)]
    return [waves[0], waves[1][:11_000], waves[2][:17_000]]
