"""Chat families of native audio LLMs: one small file per family that departs from the common form in `chat.py`."""

from __future__ import annotations

from importlib import import_module

# model_type in config.json -> module and class; any other native chat model takes the common form.
FAMILIES = {
    "qwen2_audio": "qwen2_audio:Qwen2Audio",
    "qwen2_5_omni": "qwen_omni:Qwen25Omni",
    "qwen2_5_omni_thinker": "qwen_omni:Qwen25Omni",
    "qwen3_omni_moe": "qwen_omni:Qwen3Omni",
    "qwen3_omni_moe_thinker": "qwen_omni:Qwen3Omni",
    "voxtral": "voxtral:Voxtral",
    "granite_speech": "granite_speech:GraniteSpeech",
    "audioflamingo3": "audio_flamingo3:AudioFlamingo3",
}


def family_class(model_type: str) -> type:
    """The chat family of a transformers ``model_type``."""
    module, _, name = FAMILIES.get(model_type, "chat:ChatFamily").partition(":")
    return getattr(import_module(f"{__name__}.{module}"), name)
