"""The ways of training by the names that configs give them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from emoprobe.errors import InputError
from emoprobe.labels import LabelSet
from emoprobe.models.base import SpeechFoundationModel
from emoprobe.prompts.prompt import Prompt
from emoprobe.training.heads import HEADS
from emoprobe.training.lora import LORA_HEADS, LoraMethod
from emoprobe.training.losses import Loss
from emoprobe.training.method import Method
from emoprobe.training.probes import ProbeMethod


def make_method(
    sfm: SpeechFoundationModel, config: Mapping, labels: LabelSet, prompts: Sequence[Prompt], loss: Loss | None = None
) -> Method:
    """The method that a ``head`` config names.

    Raises:
        InputError: There is none of this name, an option is wrong, or several prompts are given.
    """
    name = config.get("name")
    known = {**dict.fromkeys(HEADS, ProbeMethod), **dict.fromkeys(LORA_HEADS, LoraMethod)}
    if name not in known:
        raise InputError(f"{name!r} cannot be trained", field="head.name", remedy=f"Choose one of {', '.join(known)}.")
    sfm.model.requires_grad_(False)
    return known[name](sfm, config, labels, prompts[0] if len(prompts) == 1 else None, loss)
