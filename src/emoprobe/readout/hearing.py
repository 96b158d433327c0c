"""Does the model hear? Its scores of a clip must differ from those of silence and of noise."""

from __future__ import annotations

import torch
from torch import Tensor

from emoprobe.errors import EmoprobeError
from emoprobe.models.base import Question, SpeechFoundationModel

DEAF = 1e-4  # nats; far above rounding in float32, far below what any sound changes


def sound_effects(sfm: SpeechFoundationModel, waveform: Tensor, question: Question) -> dict[str, float]:
    """Largest change of any continuation token's log-probability (nats) when a clip is replaced.

    Args:
        sfm: The model.
        waveform: The clip, ``[samples]``.
        question: Asked of all of them.

    Returns:
        By replacement: ``silence``, ``noise`` (Gaussian, of the clip's loudness but at least 0.01 of full scale), and
        ``reversed`` (the same clip backwards: another clip of the same spectrum).
    """
    generator = torch.Generator().manual_seed(0)
    loudness = float(waveform.square().mean().sqrt().clamp_min(0.01))
    others = {
        "silence": torch.zeros_like(waveform),
        "noise": torch.randn(waveform.shape, generator=generator) * loudness,
        "reversed": waveform.flip(0),
    }
    context = sfm.encode([waveform, *others.values()])
    scores = torch.cat(sfm.score(context, [question])[0], dim=-1)  # [clips, tokens]
    return {name: (scores[i] - scores[0]).abs().max().item() for i, name in enumerate(others, start=1)}


def check_hearing(sfm: SpeechFoundationModel, waveform: Tensor, question: Question) -> None:
    """Refuse to go on with a model that answers the same whatever it is given to hear.

    Raises:
        EmoprobeError: Neither silence nor noise changes any score.
    """
    effects = sound_effects(sfm, waveform, question)
    if max(effects["silence"], effects["noise"]) < DEAF:
        raise EmoprobeError(
            f"{sfm.name} does not hear: its scores of a clip, of silence and of noise differ by less than {DEAF:g} "
            "nats. The sound is lost on its way into it; python -m emoprobe.doctor with the same model tells more."
        )
