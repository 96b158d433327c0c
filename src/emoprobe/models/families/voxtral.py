"""Voxtral: Mistral's own tokenizer renders the chat straight to tokens, so there is no template text in between."""

from __future__ import annotations

import base64
import io

import numpy as np
import soundfile
import torch
from torch import Tensor

from emoprobe.errors import InputError
from emoprobe.models.base import PromptText
from emoprobe.models.families.chat import ChatFamily


class Voxtral(ChatFamily):
    """Voxtral (arXiv 2507.13264); needs mistral-common. Its encoder hears 30 s at a time."""

    model_class = "VoxtralForConditionalGeneration"

    def messages(self, prompt: PromptText, waveform: np.ndarray | None = None) -> list[dict]:
        waveform = np.zeros(self.sampling_rate // 10, dtype=np.float32) if waveform is None else waveform
        file = io.BytesIO()
        soundfile.write(file, waveform, self.sampling_rate, format="WAV", subtype="FLOAT")
        sound = {"type": "audio", "base64": base64.b64encode(file.getvalue()).decode()}
        messages = super().messages(prompt)
        content = messages[-1]["content"]
        content[content.index({"type": "audio"})] = sound
        return messages

    def system_content(self, text: str) -> str:
        return text

    def tokens(self, prompt: PromptText, answer: str = "") -> tuple[int, ...]:
        """The chat as tokens, the placeholders of a dummy sound folded into one, then the answer.

        The header of the model's turn ends with a control token, which never joins with text.
        """
        ids = self._chat(self.messages(prompt))["input_ids"][0].tolist()
        first = ids.index(self.audio_token_id)
        folded = ids[: first + 1] + [token for token in ids[first:] if token != self.audio_token_id]
        if first + ids.count(self.audio_token_id) + len(folded[first + 1 :]) != len(ids):
            raise InputError("the chat holds more than one sound", field="prompt")
        written = prompt.before + answer
        return (*folded, *(self.answer_tokens(written) if written else ()))

    def answer_tokens(self, text: str) -> tuple[int, ...]:
        return tuple(self.tokenizer.encode(text, add_special_tokens=False))

    def _chat(self, messages: list[dict]):
        try:
            return self.processor.apply_chat_template(messages)
        except ValueError as error:
            raise InputError(f"its chat cannot be rendered: {error}", field="prompt") from error

    def _written_end(self) -> int | None:
        return self.tokenizer.eos_token_id

    def control_tokens(self) -> frozenset[str]:
        # Mistral's tokenizer never reads control tokens out of text.
        return frozenset()

    def audio_inputs(self, waveform: Tensor) -> dict[str, Tensor]:
        inputs = self._chat(self.messages(PromptText(), waveform.numpy()))
        ids = inputs["input_ids"]
        return {
            "input_ids": ids[ids == self.audio_token_id][None],
            "attention_mask": torch.ones(1, int((ids == self.audio_token_id).sum()), dtype=torch.long),
            "input_features": inputs["input_features"],
        }
