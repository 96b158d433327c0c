"""Decoder-only audio LLMs: the sound's embeddings come out of the true model class (`emoprobe.models.sound`)."""

from __future__ import annotations

import emoprobe.models.torchaudio  # isort: skip  # noqa: F401  # before transformers

from collections.abc import Sequence

from torch import Tensor

from emoprobe.models.base import Network
from emoprobe.models.chat_llm import ChatLLM
from emoprobe.models.families.chat import ChatFamily
from emoprobe.models.sound import Sound, hear_clip


class AudioLLM(ChatLLM):
    """A native audio chat model of transformers behind the SFM interface.

    Args:
        model: The loaded model.
        family: How its family renders a chat and hears sound.
        name: Hub name or path, for the record.
        revision: Exact version of the weights.
    """

    family: ChatFamily

    def around(self, model: Network) -> AudioLLM:
        """The same SFM around another copy of its model."""
        return AudioLLM(model, type(self.family)(model, self.family.processor), name=self.name, revision=self.revision)

    @property
    def num_encoder_layers(self) -> int:
        """Layers of the audio encoder."""
        return len(self.family.encoder_layers)

    def _hear(self, waveform: Tensor, layers: Sequence[int] = ()) -> Sound:
        return hear_clip(self.model, self.family, waveform, layers, self.name)
