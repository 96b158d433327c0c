"""What a model would say after every position of what it reads, layer by layer, and where its sound stands there."""

from __future__ import annotations

import emoprobe.models.torchaudio  # isort: skip  # noqa: F401  # before transformers

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from emoprobe.errors import InputError
from emoprobe.models.base import Network
from emoprobe.models.vocabulary import VocabularyHead

WINDOW_SECONDS = 30.0  # what a feature extractor with a fixed window takes, where it does not say
_ENTRIES = ("hidden_states", "inputs_embeds")  # how a layer calls its input where it is given by name


@dataclass(frozen=True)
class Positions:
    """A clip's sequence, with what would come next after each of its positions (logit lens).

    Args:
        tokens: Token ids at the positions; those that the model wrote stand last.
        is_sound: Which of them stand for the clip's sound.
        log_probs: Log-probabilities of the wanted tokens as the next one, float32 nats ``[layers + 1, positions,
            wanted]``; layer 0 is the embeddings.
        covers: Seconds of sound that the sound's positions stand for; 0 where that is the clip itself, or nothing.
    """

    tokens: tuple[int, ...]
    is_sound: tuple[bool, ...]
    log_probs: Tensor
    covers: float = 0.0


def through_lens(head: VocabularyHead, states: Sequence[Tensor], wanted: Sequence[int]) -> Tensor:
    """Log-probabilities of a few tokens after every position, ``[layers, positions, wanted]``.

    Args:
        head: The vocabulary head.
        states: Per layer its normalised states, ``[positions, width]``.
        wanted: Token ids.
    """
    ids = torch.tensor([*wanted], dtype=torch.long)
    return torch.cat([head.log_probabilities(one[None], ids.expand(len(one), -1)) for one in states])


def seconds_covered(family: Any, count: int) -> float:
    """Seconds of sound that a clip's positions stand for, 0 where they are as many as the clip is long.

    A processor that makes as many positions of a short sound as of a longer one gives the decoder whole windows.

    Args:
        family: How a model's family hears; of one that is told words nothing is known.
        count: Positions of the sound.
    """
    sounds = getattr(family, "probed_sounds", ())
    each = {sound.count(family.audio_token_id) for sound in sounds}
    if not count or len(each) != 1:
        return 0.0
    extractor = getattr(family.processor, "feature_extractor", None)
    return count / each.pop() * float(getattr(extractor, "chunk_length", WINDOW_SECONDS))


def no_positions(name: str, readout: str) -> InputError:
    """The error of a model that does not show the states of single positions."""
    return InputError(
        f"{name} does not show what its decoder holds at single positions, so {readout} cannot be read",
        field="readout",
        remedy="Use label_likelihood, or layerwise where the model gives its layers.",
    )


def check_alike(name: str, receiver: int, donor: int) -> None:
    """Refuse to put a sound in the place of one of other length.

    Raises:
        InputError: They have different numbers of positions.
    """
    if receiver != donor:
        raise InputError(
            f"{name} hears {receiver} positions of one clip and {donor} of the other, which do not fit each other",
            field="model",
            remedy="Give both clips the same number of samples.",
        )


@contextmanager
def inputs_kept(layers: Mapping[int, Network], span: slice) -> Iterator[dict[int, Tensor]]:
    """The states that enter some layers in the next pass at a span of positions, ``[..., span, width]`` by layer."""
    kept: dict[int, Tensor] = {}

    def keep(layer: int) -> Any:
        def hook(module: Network, args: tuple, kwargs: dict) -> None:
            states = args[0] if args else kwargs[_entry(kwargs)]
            kept[layer] = states[..., span, :].clone()

        return hook

    handles = [
        module.register_forward_pre_hook(keep(layer), with_kwargs=True, prepend=True)
        for layer, module in layers.items()
    ]
    try:
        yield kept
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def input_replaced(layer: Network, span: slice, states: Tensor) -> Iterator[None]:
    """Let a layer be given other states at a span of positions, ``[..., span, width]``."""

    def hook(module: Network, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        given = args[0] if args else kwargs[_entry(kwargs)]
        changed = given.clone()
        changed[..., span, :] = states
        if args:
            return (changed, *args[1:]), kwargs
        return args, {**kwargs, _entry(kwargs): changed}

    handle = layer.register_forward_pre_hook(hook, with_kwargs=True, prepend=True)
    try:
        yield
    finally:
        handle.remove()


def _entry(kwargs: Mapping[str, Any]) -> str:
    return next(name for name in _ENTRIES if name in kwargs)
