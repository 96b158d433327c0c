"""The answers that are being written about a batch of clips: each a branch of nodes of its own in one cache.

All of them see their clip's prefix, which is there once, and their own nodes. Keys and values are written in place.
"""

from __future__ import annotations

import emoprobe.models.torchaudio  # isort: skip  # noqa: F401  # before transformers

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

BLOCK = 64  # positions by which a buffer grows at least


def with_room(used: int, fixed: int) -> int:
    """Positions of a buffer that has to hold some: half as many again of those that grow, in whole blocks.

    Args:
        used: Positions that are needed.
        fixed: How many of them were there from the start and do not grow.
    """
    return -(-(used + (used - fixed) // 2 + BLOCK) // BLOCK) * BLOCK


class RoomyLayer(DynamicLayer):
    """Keys and values in buffers with room behind them: what is new is written there, and nothing is copied.

    Args:
        keys: What is there from the start, ``[clips, heads, positions, width]``; None for nothing.
        values: Likewise.
        moved: Told of keys and values from the start when they come to lie in other memory.
    """

    def __init__(
        self,
        keys: Tensor | None = None,
        values: Tensor | None = None,
        moved: Callable[[Tensor, Tensor], None] | None = None,
    ) -> None:
        super().__init__()
        self.moved, self.fixed, self.used = moved, 0, 0
        if keys is not None and values is not None:
            self._begin(keys, values)
            self.fixed = self.used

    def _begin(self, keys: Tensor, values: Tensor) -> None:
        self.lazy_initialization(keys, values)
        self.buffers = keys, values
        self._show(keys.shape[-2])

    def _show(self, used: int) -> None:
        self.used = used
        self.keys, self.values = self.held

    @property
    def held(self) -> tuple[Tensor, Tensor]:
        """Keys and values that are there, without the room behind them."""
        keys, values = self.buffers
        return keys[:, :, : self.used], values[:, :, : self.used]

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        if not self.is_initialized:
            self._begin(key_states[:, :, :0], value_states[:, :, :0])
        start, used = self.used, self.used + key_states.shape[-2]
        if used > self.buffers[0].shape[-2]:
            self._move(with_room(used, self.fixed))
        for buffer, new in zip(self.buffers, (key_states, value_states), strict=True):
            buffer[:, :, start:used] = new
        self._show(used)
        return self.held

    def _move(self, size: int) -> None:
        """Into buffers of another size, one after the other."""
        self.buffers = _moved(self.held[0], size), self.buffers[1]
        self.buffers = self.buffers[0], _moved(self.held[1], size)
        self._show(self.used)
        if self.moved is not None:
            keys, values = self.held
            self.moved(keys[:, :, : self.fixed], values[:, :, : self.fixed])

    def keep_clips(self, clips: Tensor) -> None:
        """Go on with some clips, in memory of their own."""
        self.moved = None
        keys, values = self.held
        clips = clips.to(keys.device)
        self.buffers = keys[clips], values[clips]
        self._move(with_room(self.used, self.fixed))

    def keep_places(self, places: Tensor) -> None:
        """Of what was added keep some positions of each clip, ``[clips, positions]``, counted behind the start."""
        index = places.to(self.buffers[0].device)[:, None, :, None]
        used = self.fixed + places.shape[1]
        for buffer in self.buffers:
            added = buffer[:, :, self.fixed : self.used]
            buffer[:, :, self.fixed : used] = added.gather(2, index.expand(-1, added.shape[1], -1, added.shape[-1]))
        self._show(used)


def _moved(part: Tensor, size: int) -> Tensor:
    made = part.new_empty(*part.shape[:2], size, part.shape[-1])
    made[:, :, : part.shape[-2]] = part
    return made


class Branches:
    """Continues the answers of a batch, one node each at a time.

    Args:
        cache: Of `RoomyLayer`, with all nodes so far.
        seen: Which of them the last node of each branch sees, ``[clips, branches, nodes]`` bool.
        positions: Position of each branch's last node, ``[clips, branches]``.
        forward: ``(tokens [clips, branches], mask to be added to attention [clips, 1, branches, nodes], positions
            [clips, branches])`` to the decoder's states, ``[clips, branches, width]``.
        dtype: Of the mask.
        device: Of the decoder's input.
        keep_clips: Told which clips the model goes on with.
    """

    def __init__(
        self,
        cache: DynamicCache,
        seen: Tensor,
        positions: Tensor,
        forward: Callable[[Tensor, Tensor, Tensor], Tensor],
        *,
        dtype: torch.dtype,
        device: torch.device,
        keep_clips: Callable[[Tensor], None] | None = None,
    ) -> None:
        self.cache, self.forward, self.narrow = cache, forward, keep_clips
        self.fixed, self.used = self.layers[0].fixed, seen.shape[-1]
        self.hidden = torch.finfo(dtype).min
        self.mask = torch.full((*seen.shape[:2], with_room(self.used, self.fixed)), self.hidden, dtype=dtype)
        self.mask[:, :, : self.used].masked_fill_(seen, 0.0)
        self.mask, self.positions = self.mask.to(device), positions.to(device)
        self.most = seen.shape[1]  # branches when the cache was last packed

    @property
    def layers(self) -> list[RoomyLayer]:
        """Those of the cache, which are held by it alone."""
        return [layer for layer in self.cache.layers if isinstance(layer, RoomyLayer)]

    def step(self, tokens: Tensor) -> Tensor:
        """States of one new node of every branch.

        Args:
            tokens: ``[clips, branches]``.
        """
        new = tokens.shape[1]
        if self.used + new > self.mask.shape[-1]:
            more = with_room(self.used + new, self.fixed) - self.mask.shape[-1]
            self.mask = torch.nn.functional.pad(self.mask, (0, more), value=self.hidden)
        self.mask[:, :, self.used : self.used + new].diagonal(dim1=1, dim2=2).zero_()
        self.used += new
        self.positions = self.positions + 1
        return self.forward(tokens.to(self.mask.device), self.mask[:, None, :, : self.used], self.positions)

    def keep(self, clips: Tensor | None, order: Tensor) -> None:
        """Go on with some branches only.

        Args:
            clips: Clips that are left, ``[clips left]``; None for all.
            order: Of each of them its branches, ``[clips left, branches left]``.
        """
        if clips is not None:
            clips = clips.to(self.mask.device)
            self.mask, self.positions = self.mask[clips], self.positions[clips]
            for layer in self.layers:
                layer.keep_clips(clips)
            if self.narrow is not None:
                self.narrow(clips)
        order = order.to(self.mask.device)
        self.mask = self.mask.gather(1, order[:, :, None].expand(-1, -1, self.mask.shape[-1]))
        self.positions = self.positions.gather(1, order)
        if 2 * order.shape[1] <= self.most:
            self._pack(order.shape[1])

    def _pack(self, branches: int) -> None:
        """Use the places of nodes that no branch sees any longer anew."""
        self.most = branches
        added = (self.mask[:, :, self.fixed : self.used] == 0).any(1)
        places = added.int().argsort(dim=1, descending=True, stable=True)[:, : int(added.sum(1).max())]
        for layer in self.layers:
            layer.keep_places(places)
        kept = self.mask[:, :, self.fixed : self.used].gather(2, places[:, None].expand(-1, branches, -1))
        used = self.fixed + places.shape[1]
        self.mask[:, :, self.fixed : used] = kept
        self.mask[:, :, used : self.used] = self.hidden
        self.used = used
