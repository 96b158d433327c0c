"""Audio Flamingo 3: the common form."""

from __future__ import annotations

from emoprobe.models.families import FAMILIES
from emoprobe.models.families.chat import ChatFamily


@FAMILIES.register("audioflamingo3")
class AudioFlamingo3(ChatFamily):
    """Audio Flamingo 3 (arXiv 2507.08128). Longer audio would be cut into windows of 30 s; one window is heard here."""

    model_class = "AudioFlamingo3ForConditionalGeneration"
