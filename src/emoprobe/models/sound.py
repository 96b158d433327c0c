"""What an audio LLM's own class makes of sounds, taken where it would hand them to its text decoder.

The class's forward pass is run on the inputs that its own processor makes of a chat with the sound, and stopped where
the text decoder would begin. So the embeddings are the class's own, whatever stands between encoder and decoder, and so
are the marks that the processor writes within the sound.

Clips of whose sound the processor makes inputs of equal shapes (windows of 30 s, equal lengths) go through the encoder
together: their chats stand one behind the other in one row, and no token looks at another before the text decoder.
Whether a class makes the same of them then is measured on two of them (`agree`), never assumed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from emoprobe.errors import EmoprobeError, InputError
from emoprobe.models.attention import NoTokenTreeError
from emoprobe.models.base import Clip, Network, shortest_clip
from emoprobe.models.families.chat import ChatFamily
from emoprobe.models.families.turns import ANY, TOKEN_TYPES, move

# What a decoder may be told beside embeddings, positions and mask without a consequence for its states.
_HARMLESS = frozenset(
    {"use_cache", "return_dict", "cache_position", "output_attentions", "output_hidden_states", "output_router_logits"}
    | {"logits_to_keep"}
)

# What a processor says of tokens; all else it says of the sound.
_OF_TOKENS = frozenset({"input_ids", "attention_mask", *TOKEN_TYPES})
# By dtype how much may differ of what is heard alone and together, in parts of the largest value: rounding.
_ROUNDING = {torch.float32: 1e-5, torch.bfloat16: 2**-6}
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


def shapes(clip: Clip) -> tuple:
    """Of all that is said of the sound; clips in which they differ are not heard together."""
    return tuple((name, value.shape) for name, value in sorted(clip.inputs.items()) if name not in _OF_TOKENS)


def clip_of(family: ChatFamily, waveform: Tensor) -> Clip:
    """A clip as the class is given it, in a chat that says as good as nothing else than the sound.

    Args:
        family: How the model's family hears.
        waveform: float32 mono, ``[samples]``.
    """
    made = family.inputs(ANY, waveform)
    return Clip(len(waveform), {name: value for name, value in made.items() if isinstance(value, Tensor)})


def hear_clips(
    model: Network, family: ChatFamily, clips: Sequence[Clip], layers: Sequence[int], name: str
) -> list[Sound] | None:
    """What the model's class makes of sounds in one pass.

    Args:
        model: The model.
        family: How its family hears.
        clips: One, or several of equal `shapes`.
        layers: Encoder layers to keep; 0 is the input of the first layer.
        name: The model's name, for errors.

    Returns:
        Of each clip; None where the encoder's states of several cannot be told apart.

    Raises:
        InputError: There is no such layer, or the class does not take what its processor made of the sound.
        EmoprobeError: The processor dropped the sound.
    """
    frame = family.frame(ANY)
    rows = [clip.inputs["input_ids"][0].tolist() for clip in clips]
    tokens = [frame.sound(row, family.audio_token_id) for row in rows]
    if any(len(clip.inputs) < 3 for clip in clips):
        raise EmoprobeError(f"the processor of {name} dropped the sound")
    with _kept_layers(family, layers) as kept:
        handed = _handed(model, family, _in_one_row(clips), name)[0]
    if len(clips) > 1 and any(len(states) != len(clips) for states in kept.values()):
        return None
    sounds, start = [], 0
    for i, (clip, row, own) in enumerate(zip(clips, rows, tokens, strict=True)):
        first = start + len(frame.head)
        states = {layer: kept[layer] if len(clips) == 1 else kept[layer][i : i + 1] for layer in layers}
        frames = {layer: family.frames(values, clip.samples) for layer, values in states.items()}
        sounds.append(Sound(own, handed[first : first + len(own)], frames))
        start += len(row)
    return sounds


@torch.no_grad()
def agree(model: Network, family: ChatFamily, clips: Sequence[Clip], layers: Sequence[int], name: str) -> bool:
    """Whether a class makes the same of sounds in one pass as of each alone, within rounding.

    Args:
        model: The model; where it is in training, what is random in it is off meanwhile.
        family: How its family hears.
        clips: Several of equal `shapes`.
        layers: Encoder layers whose states must be the same too.
        name: The model's name, for errors.
    """
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        alone = [_alone(hear_clips(model, family, [clip], layers, name)) for clip in clips]
        try:
            together = hear_clips(model, family, clips, layers, name)
        except torch.OutOfMemoryError:
            raise
        except (EmoprobeError, ValueError, RuntimeError, IndexError, TypeError):  # what a class says of a form of input
            return False
    finally:
        for module in training:
            module.training = True
    return together is not None and all(
        _is_near(a, b)
        for one, other in zip(alone, together, strict=True)
        for a, b in zip(_values(one), _values(other), strict=True)
    )


def _alone(sounds: list[Sound] | None) -> Sound:
    assert sounds is not None  # one clip is never divided
    return sounds[0]


def _values(sound: Sound) -> list[Tensor]:
    return [sound.embeddings, *sound.states.values()]


def _is_near(a: Tensor, b: Tensor) -> bool:
    if a.shape != b.shape:
        return False
    rounding = _ROUNDING.get(a.dtype, _ROUNDING[torch.bfloat16])
    return bool(((a - b).abs().amax() <= rounding * a.abs().amax()).item()) if a.numel() else True


def _in_one_row(clips: Sequence[Clip]) -> dict[str, Tensor]:
    """Inputs of several chats as those of one, in which all sounds stand."""
    return {
        name: torch.cat([clip.inputs[name] for clip in clips], dim=1 if name in _OF_TOKENS else 0)
        for name in clips[0].inputs
    }


def encoder_states(
    model: Network, family: ChatFamily, clip: Clip, layers: Sequence[int], name: str
) -> dict[int, Tensor]:
    """Encoder states of a sound whatever its decoder is told, layer -> ``[frames, width]``, of the clip's own frames.

    Args:
        model: The model.
        family: How its family hears.
        clip: The sound.
        layers: Encoder layers to keep; 0 is the input of the first layer.
        name: The model's name, for errors.

    Raises:
        InputError: The class does not take what its processor made of the sound.
    """
    with _kept_layers(family, layers) as kept:
        _told(model, family, clip.inputs, name, stop=not family.encoder_in_decoder)
    return {layer: family.frames(kept[layer], clip.samples) for layer in layers}


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
    model: Network, family: ChatFamily, inputs: Mapping[str, Tensor], name: str, stop: bool = True
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


def _handed(model: Network, family: ChatFamily, inputs: Mapping[str, Tensor], name: str) -> Tensor:
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
def _kept_layers(family: ChatFamily, layers: Sequence[int]) -> Iterator[dict[int, Tensor]]:
    """Encoder states of chosen layers of the next pass, as the class has them; 0 is the input of the first layer."""
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
