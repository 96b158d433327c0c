"""SeamlessM4T's speech-to-text half: a language token is written first, and its decoder is told positions in a tree."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from emoprobe.errors import InputError
from emoprobe.models.base import Clip, Network
from emoprobe.models.encoder_decoder import EncoderDecoder
from emoprobe.models.transcribers import TRANSCRIBERS


def tell_positions(decoder: Network) -> None:
    """Let a decoder of fairseq's kind, which counts positions by itself, take ``position_ids`` as others do.

    Nothing changes where it is given none.
    """
    decoder.register_forward_pre_hook(_take_positions, with_kwargs=True)
    decoder.embed_positions.register_forward_hook(_place)


def _take_positions(decoder: Network, arguments: tuple, options: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
    decoder.embed_positions.told = options.get("position_ids")
    return arguments, {name: value for name, value in options.items() if name != "position_ids"}


def _place(embedding: Network, arguments: tuple, counted: Tensor) -> Tensor:
    # The first token's place is the one after that of padding.
    return counted if embedding.told is None else embedding.weights[embedding.told + embedding.padding_idx + 1]


@TRANSCRIBERS.register("seamless_m4t")
class Seamless(EncoderDecoder):
    """Any SeamlessM4T checkpoint, of which what makes speech is left out."""

    model_class = "SeamlessM4TForSpeechToText"
    processor_class = "SeamlessM4TProcessor"
    encoder_place, decoder_place = "speech_encoder", "text_decoder"
    cross_attention, final_norm = "cross_attention", "layer_norm"
    left_out = r"(text_encoder|t2u_model|vocoder)\."

    @classmethod
    def prepare(cls, model: Network, processor: Any, path: Path) -> None:
        """Let the decoder be told positions."""
        super().prepare(model, processor, path)
        tell_positions(model.text_decoder)

    def decoder_prompt(self, language: str, task: str, punctuation: bool) -> tuple[int, ...]:
        """The end of a text and the language to write in, as the class's ``generate`` does it.

        Languages have three letters; English may be called as everywhere else.
        """
        written = "eng" if task == "translate" or language == "en" else language
        codes = getattr(self.model.generation_config, "text_decoder_lang_to_code_id", None) or {}
        if written not in codes:
            raise InputError(
                f"{self.name} writes no language {written!r}",
                field="model.language",
                remedy=f"Use one of {', '.join(sorted(codes)[:9])} ..."
                if codes
                else "Its generation_config.json must have text_decoder_lang_to_code_id.",
            )
        return (self.model.config.decoder_start_token_id, codes[written])

    def longest_clip(self) -> float:
        """What SeamlessM4T was trained on; its class has no bound."""
        return 30.0

    def inputs(self, waveform: Tensor) -> dict[str, Tensor]:
        """Log-mel features, two frames side by side, and which of them are the clip's."""
        return dict(self.processor(audio=[waveform.numpy()], sampling_rate=self.sampling_rate, return_tensors="pt"))

    @property
    def num_encoder_layers(self) -> int:
        """Layers of the conformer; what follows it belongs to the last one."""
        return len(self.encoder.encoder.layers)

    def _hear(
        self, waveform: Tensor, layers: Sequence[int] = (), made: Clip | None = None
    ) -> tuple[Tensor, dict[int, Tensor]]:
        """The adapter after the conformer leaves fewer frames to the decoder than there are in the layers."""
        inputs = self._placed(made.inputs if made else self.inputs(waveform))
        out = self.encoder(**inputs, output_hidden_states=bool(layers))
        mask = inputs["attention_mask"]
        # Of a clip without a frame the adapter makes one all the same.
        heard = int(self.model._compute_sub_sample_lengths_from_attention_mask(mask)) if mask.any() else 0
        own = {layer: heard if layer == self.num_encoder_layers else int(mask.sum()) for layer in layers}
        return out.last_hidden_state[0, :heard], {layer: out.hidden_states[layer][0, :n] for layer, n in own.items()}


@TRANSCRIBERS.register("seamless_m4t_v2")
class SeamlessV2(Seamless):
    """Any SeamlessM4T v2 checkpoint, likewise."""

    model_class = "SeamlessM4Tv2ForSpeechToText"

    @classmethod
    def prepare(cls, model: Network, processor: Any, path: Path) -> None:
        """Refuse eager attention: the class adds the mask of its chunks, true or false, as one or zero."""
        if model.config._attn_implementation == "eager":
            raise InputError(
                "SeamlessM4T v2 looks at frames that it should not in transformers' eager attention",
                field="model.attention",
                remedy="Use model.attention=sdpa.",
            )
        super().prepare(model, processor, path)
