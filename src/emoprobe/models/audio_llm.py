"""Decoder-only audio LLMs: the sound's embeddings come out of the true model class (`emoprobe.models.sound`)."""

from __future__ import annotations

import emoprobe.models.torchaudio  # isort: skip  # noqa: F401  # before transformers

from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor
from transformers import DynamicCache

from emoprobe.models.attention import NoTokenTreeError, check_cache
from emoprobe.models.base import Network
from emoprobe.models.chat_llm import ChatLLM
from emoprobe.models.families.chat import ChatFamily
from emoprobe.models.sound import Sound, hear_clip, shortest_sound
from emoprobe.models.span import probe_sounds


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

    @cached_property
    def min_samples(self) -> int:
        """Shortest clip that the processor makes a token of and the class takes."""
        return shortest_sound(self.model, self.family)

    @property
    def num_encoder_layers(self) -> int:
        """Layers of the audio encoder."""
        return len(self.family.encoder_layers)

    def _hear(self, waveform: Tensor, layers: Sequence[int] = ()) -> Sound:
        return hear_clip(self.model, self.family, waveform, layers, self.name)

    @torch.no_grad()
    def check_tree(self) -> None:
        """Find out, of one sound and one token, whether the decoder can be asked as a token tree.

        Weights that are not there (`emoprobe tokens`) are not asked.

        Raises:
            NoTokenTreeError: It cannot.
        """
        if self.model.device.type == "meta":
            return
        self._hear(probe_sounds(self.sampling_rate)[-1])
        cache, token = DynamicCache(), torch.tensor([self.stop_tokens[:1]])
        states = self.decoder(inputs_embeds=self._embed(token), past_key_values=cache, use_cache=True).last_hidden_state
        check_cache(cache, self.num_decoder_layers, 1, self.name)
        plain = self._plain_pass({"input_ids": token, "attention_mask": torch.ones_like(token)}).logits
        ours, own = self.family.head.logits(states), self.family.class_logits(plain.float())
        if not torch.allclose(ours.log_softmax(-1), own.log_softmax(-1), atol=tolerance(self.dtype), rtol=0):
            raise NoTokenTreeError(self.name, "class", "makes logits of its decoder's states in a way of its own")


def tolerance(dtype: str) -> float:
    """Nats by which log-probabilities of a token may differ that are computed alike; others differ by more."""
    return 1e-2 if dtype == "float32" else 1.0
