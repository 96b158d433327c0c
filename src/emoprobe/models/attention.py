"""Which decoders can be asked as a token tree: those whose memory is nothing but keys and values of single tokens.

A state that runs along the sequence (Mamba, linear attention, convolutions) has no branches, and a layer that sees a
window or a chunk only, or reads another layer's keys, is not steered by a mask alone.
"""

from __future__ import annotations

import emoprobe.models.torchaudio  # isort: skip  # noqa: F401  # before transformers

from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, get_layer_types_and_kwargs

from emoprobe.errors import InputError
from emoprobe.models.base import Network


class NoTokenTreeError(InputError):
    """A model's decoder cannot be asked several questions at once.

    Args:
        name: The model's.
        part: What of it.
        why: What it does.
    """

    def __init__(self, name: str, part: str, why: str) -> None:
        self.reason = f"its {part} {why}"
        super().__init__(
            f"the {part} of {name} {why}, so it cannot be asked as a token tree",
            field="model",
            remedy="Choose a model whose decoder is a plain transformer; conf/model/ names those that are tested.",
        )


KNOWN = ("full_attention", "sliding_attention")
EMPTY = "dummy"  # transformers' word for a layer that keeps nothing, or uses what another layer keeps


def attention_window(decoder: Network, name: str) -> int | None:
    """Tokens that the narrowest of a decoder's layers looks back, itself included; None where all are seen.

    Raises:
        NoTokenTreeError: A layer is recurrent, or keeps something else than its own keys and values.
    """
    types, options = get_layer_types_and_kwargs(decoder.config.get_text_config(decoder=True))
    unknown = sorted(set(types) - set(KNOWN))
    if unknown or getattr(decoder, "_is_stateful", False):
        kinds = [f"{', '.join(kind for kind in unknown if kind != EMPTY) or 'recurrent'} layers"]
        if EMPTY in unknown:
            kinds = [*(kinds if len(unknown) > 1 else []), "layers without keys and values of their own"]
        raise NoTokenTreeError(name, "text decoder", f"has {' and '.join(kinds)}")
    return min((option["sliding_window"] for option in options if "sliding_window" in option), default=None)


def check_cache(cache: DynamicCache, layers: int, positions: int, name: str) -> tuple[tuple[Tensor, Tensor], ...]:
    """Keys and values of every layer, each ``[clips, heads, positions, width]``.

    Raises:
        NoTokenTreeError: The decoder kept something else, or not every layer and position.
    """
    plain = [layer for layer in cache.layers if type(layer) is DynamicLayer]
    kept = tuple((layer.keys, layer.values) for layer in plain if layer.keys is not None and layer.values is not None)
    if not len(kept) == len(cache.layers) == layers or any(keys.shape[-2] != positions for keys, _ in kept):
        raise NoTokenTreeError(name, "text decoder", "has layers without keys and values of their own")
    return kept


def check_window(window: int | None, length: int, name: str) -> None:
    """Refuse a sequence that some layer does not see whole.

    Raises:
        InputError: The sequence is longer than the window.
    """
    if window is not None and length > window:
        raise InputError(
            f"prompt, sound and answer have {length} tokens, and some layers of {name} look back {window} only",
            field="model",
            remedy="Shorten the prompt or the sound (dataset.audio.max_seconds).",
        )
