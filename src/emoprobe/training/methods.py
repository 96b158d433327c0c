"""The ways of training by the names that configs give them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from emoprobe.labels import LabelSet
from emoprobe.models.base import SpeechFoundationModel
from emoprobe.prompts.prompt import Prompt
from emoprobe.training.lora import LoraMethod
from emoprobe.training.losses import Loss
from emoprobe.training.method import Method
from emoprobe.training.options import LoraOptions, head_options
from emoprobe.training.probes import ProbeMethod


def make_method(
    sfm: SpeechFoundationModel, config: Mapping, labels: LabelSet, prompts: Sequence[Prompt], loss: Loss | None = None
) -> Method:
    """The method that a ``head`` config names.

    Raises:
        InputError: There is none of this name, an option is wrong, or several prompts are given.
    """
    options = head_options(config)
    kind = LoraMethod if isinstance(options, LoraOptions) else ProbeMethod
    sfm.model.requires_grad_(False)
    return kind(sfm, config, labels, prompts[0] if len(prompts) == 1 else None, loss)
