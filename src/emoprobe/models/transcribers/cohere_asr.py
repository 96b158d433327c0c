"""Cohere ASR: Canary's parts and prompt at another size; its processor cuts clips that are longer than 35 s."""

from __future__ import annotations

from torch import Tensor

from emoprobe.errors import InputError
from emoprobe.models.transcribers import TRANSCRIBERS
from emoprobe.models.transcribers.emotion_slot import EmotionSlot


@TRANSCRIBERS.register("cohere_asr")
class CohereAsr(EmotionSlot):
    """Any Cohere ASR checkpoint of transformers."""

    model_class = "CohereAsrForConditionalGeneration"
    processor_class = "CohereAsrProcessor"

    def decoder_prompt(self, language: str, task: str, punctuation: bool) -> tuple[int, ...]:
        """What the processor writes of a language."""
        self.only_transcribes(task)
        self._request = {"language": language, "punctuation": punctuation}
        try:
            return self.known(self.processor.get_decoder_prompt_ids(**self._request))
        except ValueError as error:
            raise InputError(str(error), field="model.language", remedy="Use a code such as en, de or fr.") from error

    def inputs(self, waveform: Tensor) -> dict[str, Tensor]:
        """Log-mel features, and which of them are the clip's."""
        made = self.processor(audio=[waveform.numpy()], sampling_rate=self.sampling_rate, **self._request)
        return {name: made[name] for name in ("input_features", "attention_mask")}

    def longest_clip(self) -> float:
        """What the processor leaves whole."""
        return float(self.processor.feature_extractor.max_audio_clip_s)

    def looked_at(self, states: Tensor) -> Tensor:
        """The states at the decoder's width."""
        return self.decoder.proj(states)
