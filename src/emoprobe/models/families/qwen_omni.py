"""Qwen2.5-Omni and Qwen3-Omni: the thinker, which reads, hears and writes; pictures and spoken output stay out."""

from __future__ import annotations

from emoprobe.models.families import FAMILIES
from emoprobe.models.families.chat import ChatFamily


@FAMILIES.register("qwen2_5_omni")
@FAMILIES.register("qwen2_5_omni_thinker")
class Qwen25Omni(ChatFamily):
    """Qwen2.5-Omni thinker (arXiv 2503.20215)."""

    model_class = "Qwen2_5OmniThinkerForConditionalGeneration"


@FAMILIES.register("qwen3_omni_moe")
@FAMILIES.register("qwen3_omni_moe_thinker")
class Qwen3Omni(Qwen25Omni):
    """Qwen3-Omni thinker (arXiv 2509.17765)."""

    model_class = "Qwen3OmniMoeThinkerForConditionalGeneration"
