"""Qwen2-Audio: the common form. Its template adds a default system turn and ``Audio 1:`` before the sound."""

from __future__ import annotations

from emoprobe.models.families import FAMILIES
from emoprobe.models.families.chat import ChatFamily


@FAMILIES.register("qwen2_audio")
class Qwen2Audio(ChatFamily):
    """Qwen2-Audio (arXiv 2407.10759)."""

    model_class = "Qwen2AudioForConditionalGeneration"
