"""Gemma 3n and Gemma 4: what hears and writes of them; what sees stays out, and so is not loaded."""

from __future__ import annotations

import emoprobe.models.torchaudio  # isort: skip  # noqa: F401  # before transformers

from collections.abc import Sequence
from typing import Any

from torch import nn
from transformers import AutoModel, Gemma3nVisionConfig, PreTrainedModel
from transformers.utils import is_timm_available

from emoprobe.models.base import Network
from emoprobe.models.families import FAMILIES
from emoprobe.models.families.chat import ChatFamily


class BlindConfig(Gemma3nVisionConfig):
    """Configuration of a picture half that is not there."""


class Blind(PreTrainedModel):
    """Stands where a class insists on a picture half; it has no weights."""

    config_class = BlindConfig

    def __init__(self, config: BlindConfig) -> None:
        super().__init__(config)
        self.nothing = nn.Identity()


AutoModel.register(BlindConfig, Blind)


@FAMILIES.register("gemma3n")
class Gemma3n(ChatFamily):
    """Gemma 3n: every sound becomes 188 tokens, of up to 30 s; every layer of its decoder also looks up the tokens."""

    model_class = "Gemma3nForConditionalGeneration"
    left_out = r"^model\.vision_tower\."

    @classmethod
    def prepare(cls, config: Any) -> None:
        """Without timm its picture half cannot be made, only what it embeds picture tokens with."""
        if is_timm_available():
            return
        seen = config.vision_config
        config.vision_config = BlindConfig(
            **{name: getattr(seen, name) for name in ("hidden_size", "vocab_size", "vocab_offset", "rms_norm_eps")}
        )

    @property
    def encoder_layers(self) -> Sequence[Network]:
        base: Network = self.model.base_model
        return base.audio_tower.conformer


@FAMILIES.register("gemma4")
class Gemma4(ChatFamily):
    """Gemma 4 with an audio encoder: a token every 40 ms, of up to 30 s."""

    model_class = "Gemma4ForConditionalGeneration"
    left_out = r"^model\.(vision_tower|embed_vision)\."
    eager_parts: Sequence[str] = ("audio_config",)

    @classmethod
    def prepare(cls, config: Any) -> None:
        config.vision_config = None


@FAMILIES.register("gemma4_unified")
class Gemma4Unified(Gemma4):
    """Gemma 4 without encoders: frames of the waveform are projected, which is its one layer."""

    model_class = "Gemma4UnifiedForConditionalGeneration"
    eager_parts = ()

    @property
    def encoder_layers(self) -> Sequence[Network]:
        return [self.model.base_model.embed_audio]
