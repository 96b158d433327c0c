"""Muse Spark: its logits are multiplied before they are capped, and its encoder reads the waveform."""

from __future__ import annotations

from torch import Tensor

from emoprobe.models.families import FAMILIES
from emoprobe.models.families.chat import ChatFamily
from emoprobe.models.vocabulary import VocabularyHead


@FAMILIES.register("muse_spark")
class MuseSpark(ChatFamily):
    """Muse Spark: a sound of 24 kHz, of which earlier layers of the encoder have more frames."""

    model_class = "MuseSparkForConditionalGeneration"

    @property
    def head(self) -> VocabularyHead:
        config = self.model.config.text_config
        return VocabularyHead(
            self.model.get_output_embeddings(), cap=config.final_logit_softcapping, scale=config.output_multiplier
        )

    def frames(self, states: Tensor, samples: int) -> Tensor:
        return states[0]
