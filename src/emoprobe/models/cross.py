"""What a decoder with cross-attention looks at of a batch of clips, computed once and only read afterwards."""

from __future__ import annotations

import emoprobe.models.torchaudio  # isort: skip  # noqa: F401  # before transformers

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import DynamicCache, EncoderDecoderCache
from transformers.cache_utils import CacheLayerMixin, DynamicLayer


@dataclass(frozen=True)
class Cross:
    """A batch of clips to the decoder.

    Args:
        pairs: Per decoder layer keys and values of the encoder's states, ``[clips, heads, frames, width]``.
        hidden: What is added to attention so that a clip's own frames alone are seen, ``[clips, 1, 1, frames]``; None
            where all clips have the same number of frames.
        absent: Encoder states of no frame: with keys and values known, the decoder only asks whether there is sound.
    """

    pairs: list[tuple[Tensor, Tensor]]
    hidden: Tensor | None
    absent: Tensor

    def new_cache(self, own: Sequence[CacheLayerMixin] = ()) -> EncoderDecoderCache:
        """A self-attention cache beside the clips' own cross-attention keys and values.

        Args:
            own: Layers of the self-attention cache; a fresh one without any.
        """
        cross = DynamicCache()
        for keys, values in self.pairs:
            # `update` would concatenate, and so copy, tens of megabytes per clip.
            layer = DynamicLayer()
            layer.lazy_initialization(keys, values)
            layer.keys, layer.values = keys, values
            cross.layers.append(layer)
        cache = DynamicCache()
        cache.layers = list(own)
        return EncoderDecoderCache(cache, cross)

    def options(self) -> dict[str, Tensor]:
        """What the decoder is told beside the states: nothing where all clips have the same length."""
        return {} if self.hidden is None else {"encoder_attention_mask": self.hidden}

    def select(self, clip: int) -> Cross:
        """One clip of the batch, shared and not copied."""
        return self.rows(slice(clip, clip + 1))

    def rows(self, clips: slice | Tensor) -> Cross:
        """Some clips of the batch; copied where they are given by their numbers, layer by layer."""
        pairs = [(keys[clips], values[clips]) for keys, values in self.pairs]
        return Cross(pairs, None if self.hidden is None else self.hidden[clips], self.absent[clips])


def together(sounds: Sequence[Tensor], device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
    """Encoder states of clips side by side.

    Args:
        sounds: Per clip ``[frames, width]``.
        device: Of the decoder.
        dtype: Likewise.

    Returns:
        ``[clips, frames, width]``, and `Cross.hidden`.
    """
    states = pad_sequence(list(sounds), batch_first=True).to(device, dtype)
    lengths = torch.tensor([len(sound) for sound in sounds])
    if len(lengths.unique()) == 1:
        return states, None
    beyond = (torch.arange(states.shape[1]) >= lengths[:, None])[:, None, None].to(device)
    return states, torch.zeros(beyond.shape, dtype=dtype, device=device).masked_fill_(beyond, torch.finfo(dtype).min)
