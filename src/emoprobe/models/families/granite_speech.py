"""Granite Speech: the conversation's contents are strings, in which the placeholder of the sound is written out."""

from __future__ import annotations

from emoprobe.models.base import PromptText
from emoprobe.models.families.chat import ChatFamily


class GraniteSpeech(ChatFamily):
    """Granite Speech (arXiv 2505.08699); its mel transform needs torchaudio, checkpoints with an adapter need peft."""

    model_class = "GraniteSpeechForConditionalGeneration"
    encoder = "encoder"

    @property
    def sampling_rate(self) -> int:
        return self.processor.audio_processor.sampling_rate

    def messages(self, prompt: PromptText) -> list[dict]:
        parts = [self.audio_token, prompt.instruction]
        text = "".join(parts if prompt.audio_first else [prompt.instruction + " ", self.audio_token])
        system = [] if prompt.system is None else [{"role": "system", "content": prompt.system}]
        return [*system, {"role": "user", "content": text}]
