"""Granite Speech: the conversation's contents are strings, in which the placeholder of the sound is written out."""

from __future__ import annotations

import torch
from torch import Tensor

from emoprobe.models.families import FAMILIES
from emoprobe.models.families.chat import ChatFamily
from emoprobe.models.text import PromptText


@FAMILIES.register("granite_speech")
class GraniteSpeech(ChatFamily):
    """Granite Speech (arXiv 2505.08699); its mel transform needs torchaudio, checkpoints with an adapter need peft."""

    model_class = "GraniteSpeechForConditionalGeneration"
    encoder = "encoder"
    has_adapter = True
    _scales_itself: bool | None = None

    @property
    def sampling_rate(self) -> int:
        return self.processor.audio_processor.sampling_rate

    @property
    def max_seconds(self) -> float:
        return 30.0

    def class_logits(self, logits: Tensor) -> Tensor:
        """transformers 5.23's class leaves ``logits_scaling`` out, which only changes how sharp probabilities are."""
        if self._scales_itself is None:
            with torch.no_grad():
                ids = torch.tensor([[self.stop_tokens()[0]]], device=self.model.device)
                states = self.decoder(inputs_embeds=self.model.get_input_embeddings()(ids), use_cache=False)
                plain = self.model.get_output_embeddings()(states.last_hidden_state)
                self._scales_itself = not torch.allclose(self.model(input_ids=ids).logits, plain)
        return logits if self._scales_itself else logits * self.head.scale

    def messages(self, prompt: PromptText) -> list[dict]:
        parts = [self.audio_token, prompt.instruction]
        text = "".join(parts if prompt.audio_first else [prompt.instruction + " ", self.audio_token])
        system = [] if prompt.system is None else [{"role": "system", "content": prompt.system}]
        return [*system, {"role": "user", "content": text}]


@FAMILIES.register("granite_speech_plus")
class GraniteSpeechPlus(GraniteSpeech):
    """Granite Speech Plus, whose projector is also given inner layers of the encoder."""

    model_class = "GraniteSpeechPlusForConditionalGeneration"
