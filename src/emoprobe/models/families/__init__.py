"""Chat families of native audio LLMs: one small file per family that departs from the common form in `chat.py`.

A new family is one file here, or in a package of your own (see `emoprobe.registry`)::

    @FAMILIES.register("qwen2_audio")  # the model_type in config.json
    class Qwen2Audio(ChatFamily): ...

and one config ``model/NAME.yaml`` that calls `emoprobe.models.load.load_audio_llm`.
"""

from __future__ import annotations

from emoprobe.errors import InputError
from emoprobe.models.families.chat import ChatFamily
from emoprobe.registry import Registry

FAMILIES: Registry[type[ChatFamily]] = Registry("chat family", "emoprobe.models.families")

_STREAM = "it writes along with the sound, a token for every 80 ms of it, and cannot be asked anything"
REFUSED: dict[str, str] = {
    "kyutai_speech_to_text": _STREAM,
    "voxtral_realtime": _STREAM,
}
"""Models of transformers' own tables of what hears and writes that no chat can be held with, and why."""


def family_class(model_type: str) -> type[ChatFamily]:
    """The chat family of a transformers ``model_type``; any native chat model without one takes the common form.

    Raises:
        InputError: No chat can be held with such a model.
    """
    if model_type in REFUSED:
        raise InputError(
            f"{model_type} is no chat model: {REFUSED[model_type]}",
            field="model",
            remedy="Choose a native audio chat model; docs/models.md has them.",
        )
    return FAMILIES.get(model_type, ChatFamily)
