"""Key/value caches of a shared prefix: computed once per clip, read by every question, modified by none."""

from __future__ import annotations

import emoprobe.models.torchaudio  # isort: skip  # noqa: F401  # before transformers

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from emoprobe.models.branches import RoomyLayer


@dataclass(frozen=True)
class Prefix:
    """The decoder's keys and values of a token prefix with the clip's sound in it, for a batch of clips.

    Args:
        tokens: The prefix as tokens, the sound as one placeholder.
        layers: Keys and values of each layer, ``[clips, heads, positions, width]``, padded.
        lengths: Positions each clip really has, ``[clips]``, on the CPU.
        starts: First real position of each clip: 0 with padding on the right, ``[clips]``, likewise.
    """

    tokens: tuple[int, ...]
    layers: list[tuple[Tensor, Tensor]]
    lengths: Tensor
    starts: Tensor

    @cached_property
    def visible(self) -> Tensor:
        """Which positions hold the clip's own prefix, ``[clips, positions]`` bool, beside keys and values."""
        keys = self.layers[0][0]
        return own_places(self.lengths, self.starts, keys.shape[-2], keys.device)

    @cached_property
    def ends(self) -> Tensor:
        """Position that follows each clip's prefix, ``[clips, 1]``, likewise."""
        return self.lengths[:, None].to(self.layers[0][0].device, non_blocking=True)

    def select(self, clip: int) -> Prefix:
        """The prefix of one clip, without padding; a view."""
        start, length = int(self.starts[clip]), int(self.lengths[clip])
        part = (slice(clip, clip + 1), slice(None), slice(start, start + length))
        layers = [(keys[part], values[part]) for keys, values in self.layers]
        return Prefix(self.tokens, layers, self.lengths[clip : clip + 1], torch.zeros(1, dtype=torch.long))

    def positions_that_fit(self) -> float:
        """Further positions of every clip for which half of a GPU's free memory has room; endless elsewhere."""
        free = free_bytes(self.layers[0][0].device)
        each = sum(part[:, :, :1].nbytes for pair in self.layers for part in pair)
        return math.inf if free is None else free / 2 / each

    def cache(self) -> DynamicCache:
        """A cache whose past is this prefix, for passes of which nothing is kept.

        A pass sees prefix and new tokens together: only one layer's concatenation exists at a time.
        """
        cache = DynamicCache()
        cache.layers = [_PrefixLayer(keys, values) for keys, values in self.layers]
        return cache

    @contextmanager
    def growing(self) -> Iterator[DynamicCache]:
        """A cache whose past is this prefix and that keeps what is added, for token-by-token generation.

        The prefix moves into the cache's memory meanwhile, layer by layer, so that it is there once only.
        """

        def layer(i: int) -> RoomyLayer:
            def moved(keys: Tensor, values: Tensor) -> None:
                self.layers[i] = keys, values

            return RoomyLayer(*self.layers[i], moved)

        cache = DynamicCache()
        cache.layers = [layer(i) for i in range(len(self.layers))]
        yield cache
        while cache.layers:  # the room goes with its layer
            cache.layers.pop()
            keys, values = self.layers[len(cache.layers)]
            self.layers[len(cache.layers)] = _alone(keys), _alone(values)


def _alone(part: Tensor) -> Tensor:
    return part.clone(memory_format=torch.contiguous_format)


def own_places(lengths: Tensor, starts: Tensor, positions: int, device: torch.device) -> Tensor:
    """Which of padded positions are a clip's own, ``[clips, positions]`` bool on a device."""
    first, count = torch.stack([starts, lengths])[..., None].to(device, non_blocking=True)
    places = torch.arange(positions, device=device)
    return (places >= first) & (places < first + count)


def free_bytes(device: torch.device) -> int | None:
    """What can still be allocated on a GPU; None of another device."""
    if device.type != "cuda":
        return None
    held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + held


class _PrefixLayer(DynamicLayer):
    """Answers with prefix and own keys and values, and never touches the prefix."""

    def __init__(self, prefix_keys: Tensor, prefix_values: Tensor) -> None:
        super().__init__()
        self.prefix = prefix_keys, prefix_values
        self.lazy_initialization(prefix_keys, prefix_values)

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        return torch.cat([self.prefix[0], key_states], dim=-2), torch.cat([self.prefix[1], value_states], dim=-2)

    def get_seq_length(self) -> int:
        return self.prefix[0].shape[-2]
