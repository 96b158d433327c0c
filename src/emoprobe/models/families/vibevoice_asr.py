"""VibeVoice-ASR: convolutional encoders of 24 kHz sound, to which the class adds noise unless it is told not to."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType

from torch import Tensor

from emoprobe.models.base import Network
from emoprobe.models.families import FAMILIES
from emoprobe.models.families.chat import ChatFamily


@FAMILIES.register("vibevoice_asr")
class VibeVoiceAsr(ChatFamily):
    """VibeVoice-ASR, its acoustic latents as they are: with noise no result could be repeated.

    Its layers are the stages of the acoustic encoder, the last one its latents; earlier stages have more frames.
    """

    eager_parts = ("acoustic_tokenizer_encoder_config", "semantic_tokenizer_encoder_config")
    further = MappingProxyType({"sample": False})

    @property
    def max_seconds(self) -> float:
        """What its encoders read at once."""
        return self.model.config.acoustic_tokenizer_chunk_size / self.sampling_rate

    @property
    def encoder_layers(self) -> Sequence[Network]:
        base: Network = self.model.base_model
        encoder = base.acoustic_tokenizer_encoder
        return [*encoder.conv_layers, encoder.head]

    def frames(self, states: Tensor, samples: int) -> Tensor:
        hop = self.model.config.acoustic_tokenizer_encoder_config.hop_length
        padded = -(-samples // hop) * hop
        return states[0].T[: -(-states.shape[-1] * samples // padded)]
