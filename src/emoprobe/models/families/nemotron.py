"""Nemotron 3 Omni and Nemotron 3.5 Transcribe: a text model with recurrent, attention and expert layers."""

from __future__ import annotations

from collections.abc import Sequence

from emoprobe.models.base import Network
from emoprobe.models.families import FAMILIES
from emoprobe.models.families.chat import ChatFamily
from emoprobe.models.vocabulary import VocabularyHead


class Nemotron(ChatFamily):
    """What both share: their final norm is called otherwise than elsewhere."""

    @property
    def norm(self) -> Network:
        return self.decoder.norm_f


@FAMILIES.register("nemotron_h_omni")
class NemotronHOmni(Nemotron):
    """Nemotron 3 Omni: a whole language model stands within the class, with its own vocabulary matrix."""

    model_class = "NemotronH_Omni_Reasoning_V3"

    @property
    def decoder(self) -> Network:
        model: Network = self.model
        return model.language_model.get_decoder()

    @property
    def head(self) -> VocabularyHead:
        model: Network = self.model
        return VocabularyHead(model.language_model.get_output_embeddings())


@FAMILIES.register("nemo_speechlm")
class NemotronTranscribe(Nemotron):
    """Nemotron 3.5 Transcribe: its encoder of speech, beside one that tells speakers apart."""

    model_class = "Nemotron3_5TranscribeForConditionalGeneration"

    @property
    def encoder_layers(self) -> Sequence[Network]:
        base: Network = self.model.base_model
        return base.audio_tower.asr_encoder.layers
