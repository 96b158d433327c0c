"""Tiny transcribers: as they are loaded here, and their classes and processors as transformers itself calls them."""

from __future__ import annotations

import pytest
import torch
import transformers

from emoprobe.checks.tiny import TINY
from emoprobe.models.load import load_transcriber
from emoprobe.models.text import PromptText
from emoprobe.models.transcribers import TRANSCRIBERS

KINDS = tuple(TRANSCRIBERS)
SLOTTED = ("canary", "cohere_asr")
SEAMLESS = ("seamless_m4t", "seamless_m4t_v2")
LABELS = (" angry", " sad", " sadness", " neutral.")
TOLERANCE = 1e-5  # nats, float32


@pytest.fixture(scope="module")
def folders(tmp_path_factory, spectra):
    root = tmp_path_factory.mktemp("transcribers")
    return {kind: TINY[kind](root / kind) for kind in KINDS}


@pytest.fixture(scope="module")
def loaded(folders):
    return {kind: load_transcriber("tiny", path=folders[kind], device="cpu") for kind in KINDS}


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def sfm(loaded, kind):
    return loaded[kind]


class Plain:
    """A class of transformers and its processor as its own documentation calls them."""

    def __init__(self, folder, kind):
        self.kind = kind
        self.model = transformers.AutoModelForSpeechSeq2Seq.from_pretrained(folder).eval()
        self.processor = transformers.AutoProcessor.from_pretrained(folder)
        seamless = kind in SEAMLESS
        self.encoder = self.model.speech_encoder if seamless else self.model.model.encoder
        self.decoder = self.model.text_decoder if seamless else self.model.model.decoder
        self.norm = getattr(self.decoder, "layer_norm", None) or self.decoder.norm
        self.head = self.model.lm_head if seamless else self.model.proj_out

    def inputs(self, wave):
        """The processor's own inputs of one clip, with the decoder's prompt."""
        sound, rate = wave.numpy(), 16_000
        if self.kind == "canary":
            return dict(self.processor.apply_transcription_request(audio=[sound], source_language="en"))
        if self.kind == "cohere_asr":
            made = dict(self.processor(audio=[sound], language="en", sampling_rate=rate))
            assert made.pop("audio_chunk_index") == [(0, None)]
            return made
        made = dict(self.processor(audio=sound, sampling_rate=rate, return_tensors="pt"))
        start = [self.model.config.decoder_start_token_id]
        if self.kind in SEAMLESS:
            start.append(self.model.generation_config.text_decoder_lang_to_code_id["eng"])
        if self.kind == "whisper":
            names = ["<|en|>", "<|transcribe|>", "<|notimestamps|>"]
            start += self.processor.tokenizer.convert_tokens_to_ids(names)
        return made | {"decoder_input_ids": torch.tensor([start])}

    def logits(self, wave, tokens=(), **options):
        """One pass over the prompt and further tokens."""
        inputs = self.inputs(wave)
        inputs["decoder_input_ids"] = torch.cat([inputs["decoder_input_ids"], torch.tensor([tokens]).long()], dim=1)
        return self.model(**inputs, use_cache=False, **options)

    def score(self, wave, question, start, continuation):
        """Log-probability of each token of a continuation."""
        tokens = (*question.prefix[start:], *continuation)
        rows = self.logits(wave, tokens).logits[0, -len(continuation) - 1 : -1].log_softmax(-1)
        return rows[range(len(continuation)), list(continuation)]


@pytest.fixture(scope="module")
def plains(folders):
    return {kind: Plain(folders[kind], kind) for kind in KINDS}


@pytest.fixture
def plain(plains, kind):
    return plains[kind]


def ask(sfm):
    texts = (("The speaker is feeling", LABELS), ("The voice sounds", (" sad", " happy")), ("", (" sad", " sadness")))
    return [sfm.question(PromptText(before), labels) for before, labels in texts]
