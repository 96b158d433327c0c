"""What an audio LLM's own class makes of a sound, taken where it would hand it to its text decoder.

The class's forward pass is run on the sound's placeholders and stopped where the text decoder would begin, so that the
embeddings are the class's own, whatever stands between encoder and decoder.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from emoprobe.errors import EmoprobeError, InputError
from emoprobe.models.families.chat import ChatFamily, move


class _StopError(Exception):
    """Raised where the text decoder would begin."""


def hear_clip(
    model: nn.Module, family: ChatFamily, waveform: Tensor, layers: Sequence[int], name: str
) -> tuple[Tensor, dict[int, Tensor]]:
    """The decoder's input embeddings of one sound, ``[positions, width]``, and encoder states of chosen layers.

    Args:
        model: The model.
        family: How its family hears.
        waveform: float32 mono, ``[samples]``.
        layers: Encoder layers to keep; 0 is the input of the first layer.
        name: The model's name, for errors.

    Raises:
        InputError: There is no such layer.
        EmoprobeError: The processor dropped the sound.
    """
    with _kept_layers(family, layers, name) as states:
        inputs = move(family.audio_inputs(waveform), model.device, model.dtype)
        places = inputs["input_ids"][0] == family.audio_token_id
        embeddings = _merged(model, family, inputs)[0, places]
    if len(inputs) < 3 or not len(embeddings):
        raise EmoprobeError(f"the processor of {name} dropped the sound")
    return embeddings, states


def _merged(model: nn.Module, family: ChatFamily, inputs: dict[str, Tensor]) -> Tensor:
    """The embeddings that the model's own forward pass hands to its text decoder, ``[1, positions, width]``."""
    caught: dict = {}

    def catch(module, args, kwargs):
        caught.update(kwargs)
        raise _StopError

    handle = family.decoder.register_forward_pre_hook(catch, with_kwargs=True)
    try:
        model(**inputs, use_cache=False)
    except _StopError:
        pass
    finally:
        handle.remove()
    return caught["inputs_embeds"]


@contextmanager
def _kept_layers(family: ChatFamily, layers: Sequence[int], name: str) -> Iterator[dict[int, Tensor]]:
    """Encoder states of chosen layers of the next pass; 0 is the input of the first layer."""
    states: dict[int, Tensor] = {}
    modules = family.encoder_layers if layers else []
    unknown = [layer for layer in layers if not 0 <= layer <= len(modules)]
    if unknown:
        raise InputError(f"{name} has no encoder layer {unknown[0]}", remedy=f"Layers are 0 to {len(modules)}.")

    def keep_input(module, args, kwargs):
        states[0] = _flat(args[0] if args else kwargs["hidden_states"])

    def keep(layer):
        def hook(module, args, output):
            states[layer] = _flat(output[0] if isinstance(output, tuple) else output)

        return hook

    handles = [modules[0].register_forward_pre_hook(keep_input, with_kwargs=True)] if 0 in layers else []
    handles += [modules[layer - 1].register_forward_hook(keep(layer)) for layer in layers if layer]
    try:
        yield states
    finally:
        for handle in handles:
            handle.remove()


def _flat(states: Tensor) -> Tensor:
    """States of the one clip that was encoded, ``[frames, width]``."""
    return states.reshape(-1, states.shape[-1])


def stack_layers(
    hidden: Sequence[dict[int, Tensor]], layers: Sequence[int], frames: Sequence[int]
) -> tuple[dict[int, Tensor], Tensor]:
    """Layer -> ``[clips, frames, width]``, padded, and the number of each clip's own frames."""
    counts = [min([count, *map(len, states.values())]) for count, states in zip(frames, hidden, strict=True)]
    pad = torch.nn.utils.rnn.pad_sequence
    stacked = {layer: pad([states[layer] for states in hidden], batch_first=True) for layer in layers}
    return stacked, torch.tensor(counts)
