"""Phi-4-multimodal: it hears with an adapter that lies beside its weights."""

from __future__ import annotations

import emoprobe.models.torchaudio  # isort: skip  # noqa: F401  # before transformers and peft

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from emoprobe.errors import InputError
from emoprobe.models.base import Network
from emoprobe.models.families import FAMILIES
from emoprobe.models.families.chat import ChatFamily

ADAPTER = "speech-lora"
MERGED = "speech_adapter_merged"  # said in the configuration of a model that is saved with its adapter in its weights


@FAMILIES.register("phi4_multimodal")
class Phi4Multimodal(ChatFamily):
    """Phi-4-multimodal (arXiv 2503.01743), its speech adapter merged into the weights."""

    model_class = "Phi4MultimodalForCausalLM"
    encoder_in_decoder = True

    @classmethod
    def complete(cls, model: Any, path: Path) -> Any:
        """The model with its speech adapter.

        Raises:
            InputError: There is none.
        """
        if getattr(model.config, MERGED, False) or model.device.type == "meta":  # merged, or without weights
            return model
        if not (path / ADAPTER / "adapter_config.json").is_file():
            raise InputError(
                f"it hears with an adapter, and there is no {ADAPTER}/ beside its weights",
                file=path,
                field="model",
                remedy="Take the whole repository of the checkpoint.",
            )
        from peft import PeftModel

        merged = PeftModel.from_pretrained(model, path / ADAPTER).merge_and_unload()
        setattr(merged.config, MERGED, True)
        return merged

    @property
    def sampling_rate(self) -> int:
        return self.processor.audio_processor.sampling_rate

    @property
    def max_seconds(self) -> float:
        return 30.0

    @property
    def encoder_layers(self) -> Sequence[Network]:
        return self.decoder.embed_tokens_extend.audio_embed.encoder.encoders
