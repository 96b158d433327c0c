"""Does the model hear, and is it read rightly? Both are tried on the first clip of every run."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from emoprobe.errors import EmoprobeError
from emoprobe.models.answering import AnsweringModel, Question
from emoprobe.models.base import SpeechFoundationModel

DEAF = 1e-4  # nats; far above rounding in float32, far below what any sound changes
# Nats between a token's score and its plain forward pass; a prompt that lacks a token is rarely so near.
ROUNDING = {"float32": 1e-2}
COARSE_ROUNDING = 0.5  # in bfloat16 and with quantised weights


def sound_effects(sfm: AnsweringModel, waveform: Tensor, question: Question) -> dict[str, float]:
    """Largest change of any continuation token's log-probability (nats) when a clip is replaced.

    Args:
        sfm: The model.
        waveform: The clip, ``[samples]``.
        question: Asked of all of them.

    Returns:
        By replacement: ``silence``, ``noise`` (Gaussian, of the clip's loudness but at least 0.01 of full scale), and
        ``reversed`` (the same clip backwards: another clip of the same spectrum).
    """
    others = _others(waveform)
    context = sfm.encode([waveform, *others.values()])
    scores = torch.cat(sfm.score(context, [question])[0], dim=-1)  # [clips, tokens]
    return _changes(scores, others)


def class_effects(sfm: SpeechFoundationModel, waveform: Tensor) -> dict[str, float]:
    """The same of a model's classes: largest change of any one's log-probability (nats), by replacement."""
    others = _others(waveform)
    return _changes(sfm.classify([waveform, *others.values()]), others)


def _others(waveform: Tensor) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    loudness = float(waveform.square().mean().sqrt().clamp_min(0.01))
    return {
        "silence": torch.zeros_like(waveform),
        "noise": torch.randn(waveform.shape, generator=generator) * loudness,
        "reversed": waveform.flip(0),
    }


def _changes(scores: Tensor, others: Mapping[str, Tensor]) -> dict[str, float]:
    return {name: (scores[i] - scores[0]).abs().max().item() for i, name in enumerate(others, start=1)}


def check_hearing(sfm: SpeechFoundationModel, effects: Mapping[str, float]) -> None:
    """Refuse to go on with a model that says the same whatever it is given to hear.

    Args:
        sfm: The model.
        effects: Of `sound_effects` or `class_effects`.

    Raises:
        EmoprobeError: Neither silence nor noise changes any score.
    """
    if max(effects["silence"], effects["noise"]) < DEAF:
        raise EmoprobeError(
            f"{sfm.name} does not hear: its scores of a clip, of silence and of noise differ by less than {DEAF:g} "
            "nats. The sound is lost on its way into it; emoprobe doctor with the same model tells more."
        )


def check_reading(sfm: AnsweringModel, waveform: Tensor, question: Question) -> None:
    """Refuse to go on with a model whose scores are not those of its class's own forward pass.

    Its processor, decoder or sound may do what emoprobe does not know of; the doctor tries far more than this.

    A served model has no forward pass here.

    Raises:
        EmoprobeError: The first continuation's scores differ by more than rounding explains.
    """
    if sfm.served:
        return  # every answer brings the tokens that it is one to
    continuation = question.continuations[0]
    scores = sfm.score(sfm.encode([waveform]), [question])[0][0][0]
    plain = sfm.reference(waveform, question, continuation[:-1])[-len(continuation) :].log_softmax(-1)
    gap = (scores - plain.gather(-1, torch.tensor(continuation)[:, None])[:, 0]).abs().max().item()
    if not gap <= ROUNDING.get(sfm.dtype, COARSE_ROUNDING):
        raise EmoprobeError(
            f"{sfm.name} is not read rightly: its scores differ by {gap:.2g} nats from its own forward pass. "
            "emoprobe doctor with the same model tells more."
        )
