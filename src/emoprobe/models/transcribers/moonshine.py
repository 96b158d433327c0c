"""Moonshine and Moonshine Streaming: small English transcribers of raw sound, without prompt tokens."""

from __future__ import annotations

import torch
from torch import Tensor

from emoprobe.models.encoder_decoder import EncoderDecoder
from emoprobe.models.transcribers import TRANSCRIBERS


@TRANSCRIBERS.register("moonshine")
class Moonshine(EncoderDecoder):
    """Any Moonshine checkpoint of transformers."""

    model_class = "MoonshineForConditionalGeneration"
    processor_class = "Wav2Vec2Processor"

    def decoder_prompt(self, language: str, task: str, punctuation: bool) -> tuple[int, ...]:
        """The token that transcripts begin with; a checkpoint is of one language and knows nothing else."""
        self.only_transcribes(task)
        start = self.model.generation_config.decoder_start_token_id
        return (self.model.config.decoder_start_token_id if start is None else start,)

    def longest_clip(self) -> float:
        """What Moonshine was trained on; its class has no bound."""
        return 30.0

    def inputs(self, waveform: Tensor) -> dict[str, Tensor]:
        """The waveform, and a mask where the checkpoint's front end gives one."""
        return dict(self.processor(audio=waveform.numpy(), sampling_rate=self.sampling_rate, return_tensors="pt"))


@TRANSCRIBERS.register("moonshine_streaming")
class MoonshineStreaming(Moonshine):
    """Any Moonshine Streaming checkpoint, given the whole clip at once."""

    model_class = "MoonshineStreamingForConditionalGeneration"
    processor_class = "MoonshineStreamingProcessor"

    def longest_clip(self) -> float:
        """What the decoder has positions of frames for; a frame is four of the encoder's first ones."""
        return self.max_positions * 4 * self.encoder.config.frame_ms / 1000

    def looked_at(self, states: Tensor) -> Tensor:
        """The states with the decoder's positions of frames, at its width."""
        places = torch.arange(states.shape[1], device=states.device)
        return self.decoder.proj(states + self.decoder.pos_emb(places))
