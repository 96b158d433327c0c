"""What an audio LLM's own class makes of a sound, taken where it would hand it to its text decoder.

The class's forward pass is run on the inputs that its own processor makes of a chat with the sound, and stopped where
the text decoder would begin. So the embeddings are the class's own, whatever stands between encoder and decoder, and so
are the marks that the processor writes within the sound.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from emoprobe.errors import EmoprobeError, InputError
from emoprobe.models.attention import NoTokenTreeError
from emoprobe.models.base import Network, shortest_clip
from emoprobe.models.families.chat import ChatFamily
from emoprobe.models.families.turns import ANY, move

# What a decoder may be told beside embeddings, positions and mask without a consequence for its states.
_HARMLESS = frozenset(
    {"use_cache", "return_dict", "cache_position", "output_attentions", "output_hidden_states", "output_router_logits"}
    | {"logits_to_keep"}
)

_ENTRIES = ("hidden_states", "inputs_embeds")  # how a layer calls its input where it is given by name


class _StopError(Exception):
    """Raised where the text decoder would begin."""


@dataclass(frozen=True)
class Sound:
    """One sound as the decoder is given it.

    Args:
        tokens: Token ids at its positions, marks that the processor writes within it included.
        embeddings: The decoder's input embeddings at these positions, ``[positions, width]``.
        states: Encoder states of the layers asked for, layer -> ``[frames, width]``, of the clip's own frames.
    """

    tokens: tuple[int, ...]
    embeddings: Tensor
    states: dict[int, Tensor]


def hear_clip(model: Network, family: ChatFamily, waveform: Tensor, layers: Sequence[int], name: str) -> Sound:
    """What the model's class makes of a sound in a chat that says as good as nothing else.

    Args:
        model: The model.
        family: How its family hears.
        waveform: float32 mono, ``[samples]``.
        layers: Encoder layers to keep; 0 is the input of the first layer.
        name: The model's name, for errors.

    Raises:
        InputError: There is no such layer, or the class does not take what its processor made of the sound.
        EmoprobeError: The processor dropped the sound.
    """
    frame = family.frame(ANY)
    inputs = family.inputs(ANY, waveform)
    tokens = frame.sound(inputs["input_ids"][0].tolist(), family.audio_token_id)
    if len(inputs) < 3:
        raise EmoprobeError(f"the processor of {name} dropped the sound")
    with _kept_layers(family, layers, waveform) as states:
        handed = _handed(model, family, inputs, name)
    start = len(frame.head)
    return Sound(tokens, handed[0, start : start + len(tokens)], states)


def encoder_states(
    model: Network, family: ChatFamily, waveform: Tensor, layers: Sequence[int], name: str
) -> dict[int, Tensor]:
    """Encoder states of a sound whatever its decoder is told, layer -> ``[frames, width]``, of the clip's own frames.

    Args:
        model: The model.
        family: How its family hears.
        waveform: float32 mono, ``[samples]``.
        layers: Encoder layers to keep; 0 is the input of the first layer.
        name: The model's name, for errors.

    Raises:
        InputError: The class does not take what its processor made of the sound.
    """
    with _kept_layers(family, layers, waveform) as states:
        _told(model, family, family.inputs(ANY, waveform), name, stop=not family.encoder_in_decoder)
    return states


@torch.no_grad()
def shortest_sound(model: Network, family: ChatFamily) -> int:
    """Samples of the shortest sound that a family's processor makes a token of and its class takes."""

    def heard(waveform: Tensor) -> bool:
        try:
            inputs = family.inputs(ANY, waveform)
            _told(model, family, inputs, "", stop=not family.encoder_in_decoder)
        except (ValueError, RuntimeError, IndexError):  # what processors and convolutions say of too few samples
            return False
        return family.audio_token_id in inputs["input_ids"]

    return shortest_clip(family.sampling_rate, heard)


def _told(
    model: Network, family: ChatFamily, inputs: dict[str, Tensor], name: str, stop: bool = True
) -> dict[str, Any]:
    """What the model's own forward pass tells its text decoder.

    Raises:
        InputError: It refuses the inputs.
    """
    told: dict[str, Any] = {}

    def catch(module: Network, args: tuple, kwargs: dict) -> None:
        told.update(kwargs, args=args)
        if stop:
            raise _StopError

    handle = family.decoder.register_forward_pre_hook(catch, with_kwargs=True)
    try:
        model(**move(inputs, model.device, model.dtype), **family.further, use_cache=False)
    except _StopError:
        pass
    except (ValueError, IndexError) as error:
        raise InputError(
            f"{name} does not take what its own processor made of a sound: {error}", field="model"
        ) from error
    finally:
        handle.remove()
    return told


def _handed(model: Network, family: ChatFamily, inputs: dict[str, Tensor], name: str) -> Tensor:
    """The embeddings that the model's own forward pass hands to its text decoder, ``[1, positions, width]``.

    Raises:
        InputError: It refuses the inputs.
        NoTokenTreeError: It hands over more than embeddings in one row, which a token tree would lose.
    """
    told = _told(model, family, inputs, name)
    embeddings, positions = told.pop("inputs_embeds", None), told.pop("position_ids", None)
    length = inputs["input_ids"].shape[1]
    usual = positions is None or bool((positions == torch.arange(length, device=positions.device)).all())
    mask = told.pop("attention_mask", None)
    masks = mask.values() if isinstance(mask, dict) else [mask]  # a dictionary has one for each kind of layer
    usual = usual and all(one is None or one.ndim == 2 or _is_causal(one) for one in masks)
    further = sorted(key for key, value in told.items() if key not in _HARMLESS and value is not None and value != ())
    if embeddings is None or embeddings.shape[1] != length or not usual or further:
        what = " and ".join(further) or ("no embeddings" if embeddings is None else "positions or a mask of its own")
        raise NoTokenTreeError(name, "class", f"hands its text decoder {what}")
    return embeddings


def _is_causal(mask: Tensor) -> bool:
    """Whether a mask of one row, ``[1, 1, positions, positions]``, only hides what comes later."""
    seen = mask[0, 0] if mask.dtype == torch.bool else mask[0, 0] == 0
    return mask.shape[-1] == mask.shape[-2] and bool((seen == torch.ones_like(seen).tril()).all())


@contextmanager
def _kept_layers(family: ChatFamily, layers: Sequence[int], waveform: Tensor) -> Iterator[dict[int, Tensor]]:
    """Encoder states of chosen layers of the next pass, which hears a clip; 0 is the input of the first layer."""
    states: dict[int, Tensor] = {}
    modules = family.encoder_layers if layers else []

    def keep_input(module: Network, args: tuple, kwargs: dict) -> None:
        states[0] = args[0] if args else kwargs[next(name for name in _ENTRIES if name in kwargs)]

    def keep(layer: int) -> Callable:
        def hook(module: Network, args: tuple, output: Any) -> None:
            states[layer] = output if isinstance(output, Tensor) else output[0]

        return hook

    handles = [modules[0].register_forward_pre_hook(keep_input, with_kwargs=True)] if 0 in layers else []
    handles += [modules[layer - 1].register_forward_hook(keep(layer)) for layer in layers if layer]
    try:
        yield states
    finally:
        for handle in handles:
            handle.remove()
    for layer in layers:
        states[layer] = family.frames(states[layer], len(waveform))
