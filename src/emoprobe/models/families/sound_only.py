"""Processors without their picture and video parts, which need torchvision and which no sound meets."""

from __future__ import annotations

import emoprobe.models.torchaudio  # isort: skip  # noqa: F401  # before transformers

import json
from inspect import signature
from pathlib import Path
from typing import Any

import transformers
from transformers import AutoFeatureExtractor, AutoTokenizer
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING_NAMES
from transformers.utils import PushToHubMixin

LOCAL: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
PICTURES = ("image_processor", "video_processor")


class NoPictures(PushToHubMixin):
    """Stands where pictures and videos would be prepared; processors ask for these even of sound alone."""

    merge_size = 1
    model_input_names = ()
    _auto_class = None  # transformers' mark of code that lies beside a checkpoint

    def to_dict(self) -> dict[str, Any]:
        """Nothing of it is saved."""
        return {}

    def save_pretrained(self, *args: Any, **options: Any) -> None:
        """Nothing of it is saved."""


def processor_class(path: Path) -> Any:
    """The processor's class as the checkpoint names it, or as transformers does; None where neither says."""
    for file in ("processor_config.json", "preprocessor_config.json", "tokenizer_config.json"):
        if (path / file).is_file():
            name = json.loads((path / file).read_text(encoding="utf-8")).get("processor_class")
            if name:
                return getattr(transformers, name, None)
    kind = json.loads((path / "config.json").read_text(encoding="utf-8")).get("model_type")
    return getattr(transformers, PROCESSOR_MAPPING_NAMES.get(kind) or "", None)


def sees(kind: Any) -> bool:
    """Whether processors of a class have a part for pictures or videos."""
    return kind is not None and any(part in signature(kind.__init__).parameters for part in PICTURES)


def load_sound_only(path: Path, kind: Any) -> Any:
    """A checkpoint's processor of a class, made without what prepares pictures.

    Args:
        path: The checkpoint's folder.
        kind: The processor's class.
    """
    settings, _ = kind.get_processor_dict(path, **LOCAL)
    parts = list(signature(kind.__init__).parameters)
    made = {name: value for name, value in settings.items() if name in parts and not isinstance(value, dict)}
    for part in parts:
        if part in PICTURES:
            made[part] = NoPictures()
        elif part == "tokenizer":
            made[part] = AutoTokenizer.from_pretrained(path, **LOCAL)
        elif part in ("feature_extractor", "audio_processor"):
            made[part] = AutoFeatureExtractor.from_pretrained(path, **LOCAL)
    made["chat_template"] = settings.get("chat_template") or made["tokenizer"].chat_template

    def check(self: Any, name: str, value: object) -> Any:
        return None if isinstance(value, NoPictures) else kind.check_argument_for_proper_class(self, name, value)

    return type(kind.__name__, (kind,), {"check_argument_for_proper_class": check})(**made)
