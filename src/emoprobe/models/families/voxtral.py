"""Voxtral: Mistral's own tokenizer renders the chat straight to tokens, so there is no template text in between."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import soundfile
import torch
from torch import Tensor

from emoprobe.errors import InputError
from emoprobe.models.families import FAMILIES
from emoprobe.models.families.chat import ChatFamily
from emoprobe.models.text import PromptText


@FAMILIES.register("voxtral")
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
        """Prompt and answer, the sound as one placeholder.

        The header of the model's turn ends with a control token, which never joins with text.
        """
        frame = self.frame(prompt)
        return (*frame.head, self.audio_token_id, *frame.tail, *self.answer_tokens(answer))

    def inputs(self, prompt: PromptText, waveform: Tensor) -> dict[str, Tensor]:
        inputs = dict(self._chat(self.messages(prompt, waveform.numpy())))
        if prompt.before:
            written = torch.tensor([self.answer_tokens(prompt.before)])
            inputs["input_ids"] = torch.cat([inputs["input_ids"], written], dim=1)
            inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
        return inputs

    def answer_tokens(self, text: str) -> tuple[int, ...]:
        return tuple(self.tokenizer.encode(text, add_special_tokens=False)) if text else ()

    def _chat(self, messages: list[dict]) -> Any:
        try:
            return self.processor.apply_chat_template(messages)
        except ValueError as error:
            raise InputError(f"its chat cannot be rendered: {error}", field="prompt") from error

    def _written_end(self) -> int | None:
        return self.tokenizer.eos_token_id

    def control_tokens(self) -> dict[str, int]:
        # Mistral's tokenizer never reads control tokens out of text.
        return {}
