"""Self-check of training: do low-rank adapters in a model get gradients, and is the training pass the scoring one?"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from emoprobe.checks.verdict import Verdict, gap, relative_gap
from emoprobe.training.heads.lora import Lora

if TYPE_CHECKING:
    from torch import Tensor

    from emoprobe.models.answering import Question
    from emoprobe.models.base import SpeechFoundationModel

NAME = "adapters: the training pass against the scoring one"


def examine_adapters(
    sfm: SpeechFoundationModel, waveforms: Sequence[Tensor], questions: Sequence[Question], tolerance: float
) -> Verdict:
    """Fresh adapters change nothing and all that a pass uses get a gradient; infinite where none gets one.

    Args:
        sfm: The model, which is as it was afterwards.
        waveforms: Clips, ``[samples]`` at the model's rate; the first is used.
        questions: Of a model that answers; the first is asked.
        tolerance: Of log-probabilities (nats), or of states in their standard deviations.
    """
    import torch
    from peft import LoraConfig, LoraModel

    from emoprobe.models.answering import AnsweringModel
    from emoprobe.training.methods.reached import reached

    if getattr(sfm.model, "is_quantized", False):
        return Verdict(NAME, None, note="not run: the weights are quantised")
    output = sfm.model.get_output_embeddings()
    linear = [n for n, m in sfm.model.named_modules() if isinstance(m, torch.nn.Linear) and m is not output]
    matching = [name for name in linear if re.search(Lora.target_modules, name)]
    targets = reached(sfm, matching, questions[0] if questions else None)
    if not targets:
        ends = ", ".join(sorted({name.rpartition(".")[2] for name in linear}))
        return Verdict(NAME, None, note=f"head.target_modules must be given; linear modules end in {ends}")
    waveform = waveforms[0]
    asked = sfm if isinstance(sfm, AnsweringModel) else None
    with torch.no_grad():
        if asked is not None:
            scored = asked.score(asked.encode([waveform]), questions[:1])[0]
            plain = torch.stack([tokens.sum(-1) for tokens in scored], dim=-1)
        else:
            plain = sfm.hear([waveform], [sfm.num_encoder_layers]).states[0][sfm.num_encoder_layers]
    sfm.model.requires_grad_(False)
    tuner = LoraModel(sfm.model, LoraConfig(r=2, target_modules=targets), "default")
    try:
        heard = sfm.hear([waveform], [] if asked is not None else [sfm.num_encoder_layers])
        if asked is not None:
            made, _ = asked.answer(heard.sounds, questions[0])
        else:
            made = heard.states[0][sfm.num_encoder_layers]
        made.float().square().sum().backward()
        gradients = [p.grad for n, p in sfm.model.named_parameters() if "lora_B" in n and p.grad is not None]
        flows = any(bool(gradient.any()) for gradient in gradients)
        finite = all(bool(gradient.isfinite().all()) for gradient in gradients)
        made = made.detach().float().cpu()
    finally:
        tuner.unload()
        sfm.model.requires_grad_(False)
    if not (flows and finite):
        return Verdict(NAME, math.inf, tolerance, note="no finite gradient reaches them")
    plain = plain.float().cpu()
    difference = gap(made, plain) if asked is not None else relative_gap(made, plain)
    return Verdict(NAME, difference, tolerance, note="nats" if asked is not None else "standard deviations")
