"""Adapters in the SFM, read through the label likelihoods of the prompt."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator

from emoprobe.options import Count, Positive, ShareBelowOne, options
from emoprobe.training.heads.base import HEADS, Trainable


def _expression(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{pattern!r} is no regular expression: {error}") from error
    return pattern


@HEADS.register("lora")
@options("head")
class Lora(Trainable):
    """Low-rank adapters.

    Args:
        part: Where modules are adapted; a frozen encoder hears every clip only once.
        target_modules: Regular expression that is found in the names of the adapted linear modules.
        whole_modules: Regular expression that is found in the names of modules whose own weights are trained, such as
            the projector between encoder and decoder; None for none.
        rank: Of the adapters.
        alpha: Their scale.
        dropout: Share of an adapter's inputs dropped in training.
        rslora: Scale by the root of the rank (arXiv 2312.03732).
        dora: Adapt direction and magnitude apart (arXiv 2402.09353).
        gradient_checkpointing: Compute activations twice rather than keep them.
        cache_sound: Keep a frozen encoder's output on disk.
        sound_dtype: In which precision.
    """

    method: ClassVar[str] = "lora"
    windows: ClassVar[bool] = False

    part: Literal["decoder", "encoder", "all"] = "decoder"
    target_modules: Annotated[str, AfterValidator(_expression)] = (
        "(q_proj|v_proj|query_proj|value_proj|out_proj|o_proj|fc1|fc2|up_proj|down_proj"
        "|linear_q|linear_v|linear_out|linear1|linear2|intermediate_dense|output_dense)$"  # of encoders
    )
    whole_modules: Annotated[str, AfterValidator(_expression)] | None = None
    rank: Count = 16
    alpha: Positive = 32
    dropout: ShareBelowOne = 0.0
    rslora: bool = False
    dora: bool = False
    gradient_checkpointing: bool = False
    cache_sound: bool = True
    sound_dtype: Literal["float32", "float16"] = "float32"
