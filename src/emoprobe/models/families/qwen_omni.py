"""Qwen2.5-Omni and Qwen3-Omni: the thinker, which reads, hears and writes; pictures and spoken output stay out."""

from __future__ import annotations

import emoprobe.models.torchaudio  # isort: skip  # noqa: F401  # before transformers

from pathlib import Path
from typing import Any

import transformers
from transformers import AutoFeatureExtractor, AutoTokenizer

from emoprobe.models.families import FAMILIES
from emoprobe.models.families.chat import ChatFamily


@FAMILIES.register("qwen2_5_omni")
@FAMILIES.register("qwen2_5_omni_thinker")
class Qwen25Omni(ChatFamily):
    """Qwen2.5-Omni thinker (arXiv 2503.20215)."""

    model_class = "Qwen2_5OmniThinkerForConditionalGeneration"
    processor_class = "Qwen2_5OmniProcessor"

    @classmethod
    def load_processor(cls, path: Path) -> Any:
        """The true processor without its picture and video parts, which need torchvision."""
        tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True, trust_remote_code=False)
        return _sound_only(getattr(transformers, cls.processor_class))(
            image_processor=_NoPictures,
            video_processor=_NoPictures,
            feature_extractor=AutoFeatureExtractor.from_pretrained(
                path, local_files_only=True, trust_remote_code=False
            ),
            tokenizer=tokenizer,
            chat_template=tokenizer.chat_template,
        )


class _NoPictures:
    """Stands where pictures and videos would be prepared: processors ask for its merge size even for sound alone."""

    merge_size = 1


def _sound_only(processor_class: Any) -> Any:
    """The processor class, except that it may be made without the parts that no sound meets."""

    def check(self: Any, name: str, value: object) -> Any:
        return None if value is _NoPictures else processor_class.check_argument_for_proper_class(self, name, value)

    return type(processor_class.__name__, (processor_class,), {"check_argument_for_proper_class": check})


@FAMILIES.register("qwen3_omni_moe")
@FAMILIES.register("qwen3_omni_moe_thinker")
class Qwen3Omni(Qwen25Omni):
    """Qwen3-Omni thinker (arXiv 2509.17765)."""

    model_class = "Qwen3OmniMoeThinkerForConditionalGeneration"
    processor_class = "Qwen3OmniMoeProcessor"
