"""Chat families of native audio LLMs: one small file per family that departs from the common form in `chat.py`.

A new family is one file here, or in a package of your own (see `emoprobe.registry`)::

    @FAMILIES.register("qwen2_audio")  # the model_type in config.json
    class Qwen2Audio(ChatFamily): ...

and one config ``model/NAME.yaml`` that calls `emoprobe.models.load.load_audio_llm`.
"""

from __future__ import annotations

from emoprobe.models.families.chat import ChatFamily
from emoprobe.registry import Registry

FAMILIES: Registry[type[ChatFamily]] = Registry("chat family", "emoprobe.models.families")


def family_class(model_type: str) -> type[ChatFamily]:
    """The chat family of a transformers ``model_type``; any native chat model without one takes the common form."""
    return FAMILIES.get(model_type, ChatFamily)
