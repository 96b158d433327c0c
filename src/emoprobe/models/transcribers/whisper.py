"""Whisper: clips are padded to 30 s, a language and a task are told, and its decoder adds up in float32."""

from __future__ import annotations

import emoprobe.models.torchaudio  # isort: skip  # noqa: F401  # before transformers

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import WhisperForConditionalGeneration, WhisperProcessor
from transformers.modeling_outputs import BaseModelOutput

from emoprobe.errors import InputError
from emoprobe.models.answering import AudioContext
from emoprobe.models.base import WINDOW, Clip, Heard, Network, Prepared
from emoprobe.models.encoder_decoder import EncoderDecoder
from emoprobe.models.residual import widen
from emoprobe.models.transcribers import TRANSCRIBERS

ENGLISH_VOCABULARY = 51_864  # tokens of the English-only checkpoints; multilingual ones have more
UNSPOKEN = [*'"#()*+/:;<=>@[\\]^_`{|}~「」『』']
UNSPOKEN += ["<<", ">>", "<<<", ">>>", "--", "---", "-(", "-[", "('", '("', "((", "))", "(((", ")))", "[[", "]]"]
UNSPOKEN += ["{{", "}}", "♪♪", "♪♪♪"]
NOTES = "♩♪♫♬♭♮♯"
START, NO_STAMPS = "<|startoftranscript|>", "<|notimestamps|>"
MARGIN = 25  # frames after a clip's own that the clip context has, half a second
SAMPLES_PER_FRAME = 320  # 10 ms hop, halved by the encoder's second convolution: 20 ms at 16 kHz


def is_multilingual(model: WhisperForConditionalGeneration, tokenizer: Any) -> bool:
    """Whether a checkpoint is told a language and a task.

    Generation settings say so since 2023. Without them the tokens that older settings force after the first one tell it
    (English-only checkpoints are forced to write no time stamps at once), then the size of the vocabulary (51 864 is
    the English one), then whether the tokenizer has the tokens at all.
    """
    settings = model.generation_config
    said = getattr(settings, "is_multilingual", None)
    if said is not None:
        return bool(said)
    if getattr(settings, "lang_to_id", None):
        return True
    no_stamps = tokenizer.convert_tokens_to_ids("<|notimestamps|>")
    for source in (settings, model.config):
        forced = getattr(source, "forced_decoder_ids", None)
        if forced:
            return dict(forced).get(1) != no_stamps
    if model.config.vocab_size >= ENGLISH_VOCABULARY:
        return model.config.vocab_size > ENGLISH_VOCABULARY
    tokens = tokenizer.convert_tokens_to_ids(["<|en|>", "<|transcribe|>"])
    return tokenizer.decode(tokens) == "<|en|><|transcribe|>"


def suppressed_tokens(tokenizer: Any) -> tuple[list[int], list[int]]:
    """Tokens that Whisper's own decoding never writes, and those that it does not begin with.

    Brackets, notes and other signs that are not spoken, and the task's control tokens; at the beginning also a blank
    and the end (openai/whisper, ``tokenizer.py`` and ``decoding.py``).
    """

    def ids(text: str) -> list[int]:
        return tokenizer(text, add_special_tokens=False).input_ids

    found = {ids(" -")[0], ids(" '")[0]}
    for symbol in [*UNSPOKEN, *NOTES]:
        for tokens in (ids(symbol), ids(f" {symbol}")):
            if len(tokens) == 1 or symbol in NOTES:
                found.add(tokens[0])
    control = ("transcribe", "translate", "startoftranscript", "startofprev", "startoflm", "nospeech", "nocaptions")
    for name in control:
        token = tokenizer.convert_tokens_to_ids(f"<|{name}|>")
        if token is not None and tokenizer.decode([token]) == f"<|{name}|>":
            found.add(token)
    return sorted(found), [*ids(" ")[:1], tokenizer.convert_tokens_to_ids("<|endoftext|>")]


def _check_tokens(model: WhisperForConditionalGeneration, tokenizer: Any, path: Path) -> None:
    """Refuse a tokenizer that lacks Whisper's own tokens, or has them at other places than the model.

    Raises:
        InputError: It is such.
    """
    settings = model.generation_config
    found = {
        text: _token(tokenizer, text) for text in (START, NO_STAMPS, *(getattr(settings, "lang_to_id", None) or {}))
    }
    if found[START] is None or found[NO_STAMPS] is None:
        raise InputError(
            f"the tokenizer has no token {START if found[START] is None else NO_STAMPS}",
            file=path,
            field="model",
            remedy="Copy tokenizer.json and tokenizer_config.json (of old checkpoints added_tokens.json) from the "
            "Whisper that this one was made of.",
        )
    said = {
        NO_STAMPS: getattr(settings, "no_timestamps_token_id", None),
        **(getattr(settings, "lang_to_id", None) or {}),
    }
    for text, token in found.items():
        if token is not None and (token >= model.config.vocab_size or said.get(text) not in (None, token)):
            raise InputError(
                f"the tokenizer has {text} at {token}, where the model has another token or none",
                file=path,
                field="model",
                remedy="Copy the tokenizer's files from the Whisper that this one was made of.",
            )


def _token(tokenizer: Any, text: str) -> int | None:
    token = tokenizer.convert_tokens_to_ids(text)
    return token if token is not None and tokenizer.decode([token]) == text else None


@contextmanager
def positions(encoder: Network, frames: int) -> Iterator[None]:
    """Let Whisper's encoder have fewer positions for a pass.

    Args:
        encoder: The encoder.
        frames: Positions, 20 ms each.
    """
    whole, most = encoder.embed_positions, encoder.config.max_source_positions
    encoder.embed_positions = nn.Embedding.from_pretrained(whole.weight[:frames])
    encoder.config.max_source_positions = frames
    try:
        yield
    finally:
        encoder.embed_positions, encoder.config.max_source_positions = whole, most


def let_hide_frames(decoder: Network) -> None:
    """Let Whisper's decoder be told ``encoder_attention_mask``, which its class does not know.

    Nothing changes where it is told none.
    """
    decoder.register_forward_pre_hook(_take_hidden, with_kwargs=True)
    for layer in decoder.layers:
        layer.encoder_attn.register_forward_pre_hook(_hide, with_kwargs=True)


def _take_hidden(decoder: Network, arguments: tuple, options: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
    for layer in decoder.layers:
        layer.encoder_attn.hidden = options.get("encoder_attention_mask")
    return arguments, {name: value for name, value in options.items() if name != "encoder_attention_mask"}


def _hide(attention: Network, arguments: tuple, options: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
    return arguments, options if attention.hidden is None else options | {"attention_mask": attention.hidden}


@TRANSCRIBERS.register("whisper")
class Whisper(EncoderDecoder):
    """Any Whisper checkpoint of transformers; only multilingual ones are told a language and a task."""

    model_class = "WhisperForConditionalGeneration"
    processor_class = "WhisperProcessor"
    takes_context = True
    tokenizer_files = (("tokenizer.json",), ("vocab.json", "merges.txt"))
    final_norm = "layer_norm"
    contexts = ("window", "clip")

    def __init__(self, model: Network, processor: Any, *, name: str, context: str = "window", **options: Any) -> None:
        shown = (
            name if context == "window" else f"{name} (clip context)"
        )  # so that nothing takes it for the model itself
        super().__init__(model, processor, name=shown, context=context, **options)

    @classmethod
    def prepare(cls, model: WhisperForConditionalGeneration, processor: WhisperProcessor, path: Path) -> None:
        """Widen the decoder, and give generation settings to a checkpoint without a file of them.

        They are config.json's, and else Whisper's own: where config.json says nothing transformers takes a list that
        holds the English checkpoints' end token.
        """
        super().prepare(model, processor, path)
        _check_tokens(model, processor.tokenizer, path)
        widen(model.model.decoder)
        let_hide_frames(model.model.decoder)
        if (path / "generation_config.json").is_file():
            return
        settings = model.generation_config
        suppressed, at_first = suppressed_tokens(processor.tokenizer)
        if settings.suppress_tokens is None:
            settings.suppress_tokens = suppressed
        if at_first[-1] not in (settings.begin_suppress_tokens or ()):
            settings.begin_suppress_tokens = at_first

    def decoder_prompt(self, language: str, task: str, punctuation: bool) -> tuple[int, ...]:
        """Language and task, of those checkpoints that know some, and no time stamps."""
        told = (f"<|{language}|>", f"<|{task}|>") if is_multilingual(self.model, self.tokenizer) else ()
        ids = {text: _token(self.tokenizer, text) for text in (START, *told, NO_STAMPS)}
        for text, token in ids.items():
            if token is None:
                raise InputError(
                    f"this Whisper tokenizer has no token {text}",
                    field="model.task" if text == f"<|{task}|>" else "model.language",
                    remedy="Use a language code of Whisper's, such as en, de or zh, and transcribe or translate.",
                )
        return tuple(token for token in ids.values() if token is not None)

    @property
    def stop_tokens(self) -> tuple[int, ...]:
        """The end of a text."""
        return (self.tokenizer.convert_tokens_to_ids("<|endoftext|>"),)

    def with_context(self, tokens: tuple[int, ...]) -> tuple[int, ...]:
        """The earlier transcript before the prompt."""
        return (self.tokenizer.convert_tokens_to_ids("<|startofprev|>"), *tokens, *self.start_tokens)

    def longest_clip(self) -> float:
        """The window of the feature extractor."""
        return float(self.processor.feature_extractor.chunk_length)

    @property
    def min_samples(self) -> int:
        """One window of the spectrogram."""
        return round(WINDOW * self.sampling_rate)

    @property
    def max_positions(self) -> int:
        """Tokens that the decoder has positions for."""
        return self.model.config.max_target_positions

    def input_features(self, waveforms: Sequence[Tensor]) -> Tensor:
        """Log-mel features of waveforms padded to 30 s, ``[clips, mels, 3000]``."""
        self.check_lengths(waveforms)
        features = self.processor.feature_extractor(
            [wave.numpy() for wave in waveforms],
            sampling_rate=self.sampling_rate,
            return_tensors="pt",
            device=self.model.device.type,
        )
        return features.input_features.to(self.model.device, self.model.dtype)

    def inputs(self, waveform: Tensor) -> dict[str, Tensor]:
        """Those of one clip."""
        return {"input_features": self.input_features([waveform])}

    def prepare_clip(self, waveform: Tensor) -> None:
        """Nothing: the spectra of a batch are computed together, where the model lies."""

    def hears_together(self, waveforms: Sequence[Tensor]) -> bool:
        """Of windows, which are all 30 s long."""
        return self.context == "window"

    def hear(self, waveforms: Sequence[Tensor], layers: Sequence[int] = (), *, prepared: Prepared = ()) -> Heard:
        """Encoder states, of the 30 s that every clip is padded to or of the clip's own context."""
        if self.context == "clip":
            return super().hear(waveforms, layers)
        self.check_layers(layers)
        out = self.encoder(self.input_features(waveforms), output_hidden_states=bool(layers))
        frames = [-(-len(waveform) // SAMPLES_PER_FRAME) for waveform in waveforms]
        states = [{layer: out.hidden_states[layer][i, :count] for layer in layers} for i, count in enumerate(frames)]
        return Heard(states, list(out.last_hidden_state))

    def _hear(
        self, waveform: Tensor, layers: Sequence[int] = (), made: Clip | None = None
    ) -> tuple[Tensor, dict[int, Tensor]]:
        """Encoder states of the clip's own frames and `MARGIN` more, by the encoder's class with fewer positions."""
        own = -(-len(waveform) // SAMPLES_PER_FRAME)
        frames = min(own + MARGIN, self.model.config.max_source_positions)
        features = self.input_features([waveform])[..., : 2 * frames]
        with positions(self.encoder, frames):
            out = self.encoder(features, output_hidden_states=bool(layers))
        return out.last_hidden_state[0], {layer: out.hidden_states[layer][0, :own] for layer in layers}

    def _plain_pass(self, waveform: Tensor, **options: Any) -> Any:
        """As of all; with the clip's context over what the encoder made of it, which its class would not take."""
        if self.context == "window":
            return super()._plain_pass(waveform, **options)
        return self.model(encoder_outputs=BaseModelOutput(self._hear(waveform)[0][None]), **options)

    @torch.no_grad()
    def encode_without_audio(self) -> AudioContext:
        """Encoder states of zero, as many as there are of 30 s.

        How far bfloat16 is from float32 here: `emoprobe.models.residual`.
        """
        config = self.model.config
        shape = (config.max_source_positions, config.d_model)
        return self.context_of([torch.zeros(shape, dtype=self.model.dtype, device=self.model.device)])
