"""Inkling: quantised mel bins are embedded, which is its one encoder layer, and logits are divided."""

from __future__ import annotations

from emoprobe.models.families import FAMILIES
from emoprobe.models.families.chat import ChatFamily
from emoprobe.models.vocabulary import VocabularyHead


@FAMILIES.register("inkling_mm_model")
class Inkling(ChatFamily):
    """Inkling: its text model has short convolutions, windows and relative logits."""

    model_class = "InklingForConditionalGeneration"

    @property
    def head(self) -> VocabularyHead:
        multiplier = self.model.config.text_config.logits_mup_width_multiplier
        return VocabularyHead(self.model.get_output_embeddings(), scale=1.0 / multiplier)
