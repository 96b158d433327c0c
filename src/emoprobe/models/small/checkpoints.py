"""The small audio LLM as checkpoints that are made in the cache."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emoprobe.models.data_packages import SMOLLM2, WHISPER_BASE, DataPackage
from emoprobe.models.made import PROVENANCE, MadeCheckpoint
from emoprobe.models.small.recipe import AUDIO_TOKENS, CHAT_TEMPLATE, PROJECTOR_SEED, PROJECTOR_SPREAD


@dataclass(frozen=True)
class SmallBase(MadeCheckpoint):
    """The untrained model: its projector is drawn, its text model has never heard a sound."""

    hearing: DataPackage = WHISPER_BASE
    text: DataPackage = SMOLLM2
    name: str = "emoprobe/small-base"
    disk: int = 400_000_000

    published = False

    @property
    def identity(self) -> str:
        recipe = (self.hearing.identity, self.text.identity, AUDIO_TOKENS, CHAT_TEMPLATE)
        projector = (PROJECTOR_SEED, PROJECTOR_SPREAD)
        return hashlib.sha256(json.dumps((*recipe, *projector)).encode()).hexdigest()

    @property
    def revision(self) -> str:  # type: ignore[override]  # read only
        return f"assembled@{self.identity[:16]}"

    @property
    def remedy(self) -> str:
        return f"{self.hearing.remedy} and {self.text.remedy}"

    def check_sources(self, cache: Path) -> None:
        for package in (self.hearing, self.text):
            if not package.folder(cache).is_dir():
                package.check_sources(cache)

    def write(self, target: Path, cache: Path) -> dict[str, Any]:
        from emoprobe.models.small.assembly import write_qwen2_audio

        hearing, text = self.hearing.made(cache), self.text.made(cache)
        write_qwen2_audio(hearing, text, target)
        records = [json.loads((folder / PROVENANCE).read_text()) for folder in (hearing, text)]
        return {"assembled_of": [{key: record[key] for key in record if key != "files"} for record in records]}


SMALL_BASE = SmallBase()
