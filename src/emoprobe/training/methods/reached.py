"""Which modules a pass really calls: an adapter in another one would be trained in vain, without a word."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from emoprobe.models.answering import Question, answering
from emoprobe.models.base import SpeechFoundationModel

ROUTED = "experts"  # in the names of modules that a pass calls for some tokens only


def reached(sfm: SpeechFoundationModel, names: Sequence[str], question: Question | None = None) -> list[str]:
    """Those of the named modules whose ``forward`` is called where the model hears a second of noise.

    Some classes take a layer's weight and never call the layer (WavLM's attention), others have parts that no sound
    meets (towers for pictures). Experts of a mixture count as called.

    Args:
        sfm: The model.
        names: Names of modules in ``sfm.model``.
        question: What is asked then; None if only the encoder's states are used.
    """
    called: set[str] = set()

    def note(name: str) -> Callable:
        return lambda module, arguments, output: called.add(name)

    handles = [sfm.model.get_submodule(name).register_forward_hook(note(name)) for name in names]
    samples = max(sfm.min_samples, round(min(1.0, sfm.max_seconds) * sfm.sampling_rate))
    noise = torch.randn(samples, generator=torch.Generator().manual_seed(0)) * 0.1
    try:
        with torch.no_grad():
            heard = sfm.hear([noise], [] if question is not None else [sfm.num_encoder_layers])
            if question is not None:
                answering(sfm).answer(heard.sounds, question)
    finally:
        for handle in handles:
            handle.remove()
    return [name for name in names if name in called or ROUTED in name]
