"""Canary: NVIDIA's multilingual transcriber, whose decoder prompt its chat template writes."""

from __future__ import annotations

import torch
from torch import Tensor

from emoprobe.errors import InputError
from emoprobe.models.transcribers import TRANSCRIBERS
from emoprobe.models.transcribers.emotion_slot import EmotionSlot


@TRANSCRIBERS.register("canary")
class Canary(EmotionSlot):
    """Any Canary checkpoint of transformers; translation is into English."""

    model_class = "CanaryForConditionalGeneration"
    processor_class = "CanaryProcessor"

    def decoder_prompt(self, language: str, task: str, punctuation: bool) -> tuple[int, ...]:
        """What the processor's chat template writes of a request."""
        if self.processor.chat_template is None:
            raise InputError(
                f"{self.name} has no chat template, which writes its decoder prompt",
                field="model",
                remedy="Take a checkpoint with its file chat_template.jinja.",
            )
        target = "en" if task == "translate" else language
        self._request = {"source_language": language, "target_language": target, "punctuation": punctuation}
        try:
            made = self._requested(torch.zeros(self.sampling_rate))
        except ValueError as error:
            raise InputError(str(error), field="model.language", remedy="Use a code such as en, de or fr.") from error
        tokens = self.known(made["decoder_input_ids"][0].tolist())
        control = set(self.control_tokens().values())
        if spelled := [token for token in tokens if token not in control and self.decode([token]).strip()]:
            text = self.decode(spelled)
            raise InputError(
                f"the tokenizer of {self.name} lacks a token of its decoder prompt, and spells {text!r}",
                field="model.language",
                remedy="Use a language that the checkpoint was trained on.",
            )
        return tokens

    def _requested(self, waveform: Tensor) -> dict[str, Tensor]:
        options = {"sampling_rate": self.sampling_rate}
        request = self.processor.apply_transcription_request
        return dict(request(audio=[waveform.numpy()], processor_kwargs=options, **self._request))

    def inputs(self, waveform: Tensor) -> dict[str, Tensor]:
        """Log-mel features, and which of them are the clip's."""
        made = self._requested(waveform)
        del made["decoder_input_ids"]
        return made

    def longest_clip(self) -> float:
        """What the encoder has relative positions for."""
        config, extractor = self.encoder.config, self.processor.feature_extractor
        frames = config.max_position_embeddings * config.subsampling_factor
        return frames * extractor.hop_length / self.sampling_rate
