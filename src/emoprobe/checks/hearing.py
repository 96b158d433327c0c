"""Self-checks of what a model makes of sound: states of every encoder layer, and its own classes."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from emoprobe.checks.verdict import Verdict, gap, relative_gap

if TYPE_CHECKING:
    from torch import Tensor

    from emoprobe.models.base import SpeechFoundationModel

# Largest difference of states that must agree, in standard deviations of the states.
TOLERANCE = {"float32": 1e-3, "bfloat16": 0.5}
# Least difference that another sound makes, likewise.
HEARD = {"float32": 1e-3, "bfloat16": 1e-2}
UNIT = "standard deviations of the states"


def examine_states(sfm: SpeechFoundationModel, waveforms: Sequence[Tensor]) -> list[Verdict]:
    """Whether a clip's states are its own, whatever it is heard with.

    Args:
        sfm: A model that hears.
        waveforms: At least two clips of different length, ``[samples]`` at the model's rate.
    """
    name = "encoder states alone against among other clips"
    if not sfm.hears:
        return [Verdict(name, None, note="does not apply: it is told words, not sound")]
    tolerance = TOLERANCE.get(sfm.dtype, TOLERANCE["bfloat16"])
    alone = _states(sfm, waveforms[:1])
    together = _states(sfm, [*waveforms[1:], waveforms[0]])
    verdicts = [Verdict(name, _worst(alone, together), tolerance, note=UNIT)]
    if sfm.classes:
        both = sfm.classify(waveforms[:1])[0], sfm.classify(list(waveforms[::-1]))[-1]
        wrong = max(gap(*both), abs(both[0].exp().sum().item() - 1))
        verdicts.append(Verdict("its own classes alone against among other clips", wrong, tolerance))
    return verdicts


def examine_encoder(
    sfm: SpeechFoundationModel, waveforms: Sequence[Tensor], *, other_dtype: bool = True
) -> list[Verdict]:
    """Every check of a model that hears and does not answer; arguments as of `examine_states`."""
    import torch

    floor = HEARD.get(sfm.dtype, HEARD["bfloat16"])
    clip = waveforms[0]
    loudness = float(clip.square().mean().sqrt().clamp_min(0.01))
    shorter = min(map(len, waveforms[:2]))
    others = {
        "silence": (clip, torch.zeros_like(clip)),
        "noise": (clip, torch.randn(clip.shape, generator=torch.Generator().manual_seed(0)) * loudness),
        "another clip": (clip[:shorter], waveforms[1][:shorter]),
    }
    verdicts = examine_states(sfm, waveforms)
    verdicts.append(_plain(sfm, waveforms))
    for name, pair in others.items():
        one, other = (_states(sfm, [waveform])[sfm.num_encoder_layers] for waveform in pair)
        check, effect = f"the clip against {name}", relative_gap(other, one)
        if math.isinf(effect):
            verdicts.append(Verdict(check, None, note=f"does not apply: no numbers come of {name}"))
        else:
            verdicts.append(Verdict(check, effect, floor, least=True, note=UNIT))
    verdicts.append(_padded(sfm, waveforms))
    if other_dtype:
        verdicts.append(_other_dtype(sfm, waveforms))
    return verdicts


def _states(sfm: SpeechFoundationModel, waveforms: Sequence[Tensor]) -> dict[int, Tensor]:
    """Float32 states of the last clip, layer -> ``[frames, width]``."""
    import torch

    with torch.no_grad():
        heard = sfm.hear(list(waveforms), range(sfm.num_encoder_layers + 1)).states[-1]
    return {layer: states.float().cpu() for layer, states in heard.items()}


def _worst(ours: dict[int, Tensor], theirs: dict[int, Tensor]) -> float:
    return max(relative_gap(ours[layer], theirs[layer]) for layer in theirs)


def _plain(sfm: SpeechFoundationModel, waveforms: Sequence[Tensor]) -> Verdict:
    """States against one plain forward pass of the class over what its feature extractor makes of the clip."""
    import torch

    from emoprobe.models.encoder import Encoder

    name = "encoder states against the class's own pass"
    if not isinstance(sfm, Encoder):
        return Verdict(name, None, note="does not apply: a model with an encoder of its own")
    worst = 0.0
    for waveform in waveforms:
        with torch.no_grad():
            out = sfm.encoder(**sfm.inputs(waveform), output_hidden_states=True, return_dict=True)
        ours = _states(sfm, [waveform])
        if len(out.hidden_states) != len(ours):
            return Verdict(name, math.inf, 0.0, note=UNIT)
        plain = {layer: states[0].float().cpu() for layer, states in enumerate(out.hidden_states[:-1])}
        plain[len(ours) - 1] = out.last_hidden_state[0].float().cpu()
        own = {layer: states[: len(ours[layer])] for layer, states in plain.items()}
        worst = max(worst, _worst(ours, own))
    return Verdict(name, worst, TOLERANCE.get(sfm.dtype, TOLERANCE["bfloat16"]), note=UNIT)


def _padded(sfm: SpeechFoundationModel, waveforms: Sequence[Tensor]) -> Verdict:
    """How far states would be off if clips were padded to one length with the class's own mask, which is never done."""
    import torch

    from emoprobe.models.encoder import Encoder

    name = "padding with a mask, which is not done"
    if not isinstance(sfm, Encoder):
        return Verdict(name, None, note="does not apply")
    pair = sorted(waveforms, key=len)[:: len(waveforms) - 1]
    try:
        made = sfm.extractor(
            [waveform.numpy() for waveform in pair],
            sampling_rate=sfm.sampling_rate,
            padding=True,
            return_attention_mask=True,
            return_tensors="pt",
        )
        kept = {key: value.to(sfm.model.device) for key, value in made.items()}
        kept = {k: v.to(sfm.model.dtype) if v.is_floating_point() else v for k, v in kept.items()}
        with torch.no_grad():
            padded = sfm.encoder(**kept).last_hidden_state[0].float().cpu()
    except (RuntimeError, ValueError, TypeError, KeyError) as error:
        return Verdict(name, None, note=f"the class does not take it: {str(error).splitlines()[0]:.60}")
    own = _states(sfm, pair[:1])[sfm.num_encoder_layers]
    return Verdict(name, relative_gap(padded[: len(own)], own), math.inf, note=UNIT)


def _other_dtype(sfm: SpeechFoundationModel, waveforms: Sequence[Tensor]) -> Verdict:
    """One minus the cosine between mean states of the last layer in the two precisions."""
    import torch

    other = sfm.around(copy.deepcopy(sfm.model).to(torch.bfloat16 if sfm.dtype == "float32" else torch.float32))
    last = sfm.num_encoder_layers
    worst = 0.0
    for waveform in waveforms:
        one, two = (_states(each, [waveform])[last].mean(0) for each in (sfm, other))
        worst = max(worst, 1 - torch.nn.functional.cosine_similarity(one, two, dim=0).item())
    return Verdict("bfloat16 against float32", worst, 0.05, note="1 - cosine of mean states")
