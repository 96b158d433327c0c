"""Where a sound stands among the tokens that a processor makes of a whole chat.

A processor may write marks around the sound or between its parts (Music Flamingo's begin and end, MOSS's seconds). All
of it belongs to the prompt, so the tokens are taken from the processor's own rendering of the whole chat *with* the
sound: what stands before and after every sound is the prompt's, what stands between is the clip's, be it a number of
seconds that the chat template tells of it (VibeVoice-ASR).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from emoprobe.errors import InputError

PROBE_SECONDS = (0.93, 2.71)  # two sounds by which it is told what of the rendered chat depends on the sound


@dataclass(frozen=True)
class Frame:
    """What a processor writes around the sound of a chat, the same for every sound.

    Args:
        head: Token ids before the sound.
        tail: Token ids after it.
    """

    head: tuple[int, ...]
    tail: tuple[int, ...]

    def sound(self, ids: Sequence[int], placeholder: int) -> tuple[int, ...]:
        """Tokens of the sound, marks within and behind it included, out of those of the whole chat.

        Raises:
            InputError: The chat is another one around this sound, or the sound has no token in it.
        """
        tokens = self.between(ids)
        if placeholder not in tokens:
            raise InputError("its processor makes no token of the sound", field="model")
        return tokens

    def between(self, ids: Sequence[int]) -> tuple[int, ...]:
        """Tokens between head and tail out of those of the whole chat.

        Raises:
            InputError: The chat is another one around them.
        """
        start, end = len(self.head), len(ids) - len(self.tail)
        if end < start or tuple(ids[:start]) != self.head or tuple(ids[end:]) != self.tail:
            raise InputError("its processor writes other text around this sound than around others", field="model")
        return tuple(ids[start:end])


def probe_sounds(sampling_rate: int) -> list[Tensor]:
    """Quiet and loud noise of two durations, ``[samples]``."""
    generator = torch.Generator().manual_seed(0)
    lengths = [round(seconds * sampling_rate) for seconds in PROBE_SECONDS]
    return [torch.randn(length, generator=generator) * 0.01 * (i + 1) for i, length in enumerate(lengths)]


def find_frame(rendered: Sequence[Sequence[int]], placeholder: int) -> Frame:
    """What stands around the sound in renderings of one chat with different sounds.

    What differs between them, for example a number of seconds before or behind the sound, is the sound's.

    Raises:
        InputError: There is no sound in it.
    """
    heads, tails = [], []
    for ids in rendered:
        places = [i for i, token in enumerate(ids) if token == placeholder]
        if not places:
            raise InputError("its processor dropped the sound: the rendered chat has no token of it", field="model")
        heads.append(tuple(ids[: places[0]]))
        tails.append(tuple(ids[: places[-1] : -1]))
    return Frame(common_start(heads), common_start(tails)[::-1])


def common_start(sequences: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """The longest beginning that all sequences share."""
    first, last = min(sequences), max(sequences)
    length = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    return first[:length]
