"""The small audio LLM as checkpoints that are made in the cache."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from emoprobe.models.data_packages import SMOLLM2, WHISPER_BASE, DataPackage, how_to_install
from emoprobe.models.made import PROVENANCE, MadeCheckpoint
from emoprobe.models.small.recipe import AUDIO_TOKENS, CHAT_TEMPLATE, PROJECTOR_SEED, PROJECTOR_SPREAD


@dataclass(frozen=True)
class SmallBase(MadeCheckpoint):
    """The untrained model: its projector is drawn, its text model has never heard a sound."""

    hearing: DataPackage = WHISPER_BASE
    text: DataPackage = SMOLLM2
    name: str = "emoprobe/small-base"

    disk = 400_000_000
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
        return how_to_install(self.hearing, self.text)

    def check_sources(self, cache: Path) -> None:
        for package in (self.hearing, self.text):
            if not package.folder(cache).is_dir():  # converted before
                package.check_sources(cache)

    def write(self, target: Path, cache: Path) -> dict[str, Any]:
        return self.assemble(target, cache)

    def assemble(self, target: Path, cache: Path, adapter: Path | None = None) -> dict[str, Any]:
        """`write`, with what training added where it is given."""
        from emoprobe.models.small.assembly import write_qwen2_audio

        hearing, text = self.hearing.made(cache), self.text.made(cache)
        write_qwen2_audio(hearing, text, target, adapter)
        records = [json.loads((folder / PROVENANCE).read_text()) for folder in (hearing, text)]
        return {"assembled_of": [{key: record[key] for key in record if key != "files"} for record in records]}


@dataclass(frozen=True)
class Small(MadeCheckpoint):
    """The trained model: the untrained one with the adapter that emoprobe brings."""

    base: SmallBase = SmallBase()
    adapter: Path = Path(__file__).parent
    name: str = "emoprobe/small"

    disk = SmallBase.disk
    published = False

    @property
    def identity(self) -> str:
        from emoprobe.models.small.adapter import read_card

        return hashlib.sha256(json.dumps([self.base.identity, asdict(read_card(self.adapter))]).encode()).hexdigest()

    @property
    def revision(self) -> str:  # type: ignore[override]  # read only
        from emoprobe.models.small.adapter import read_card

        return f"{self.base.revision}/adapter@{read_card(self.adapter).sha256[:16]}"

    @property
    def remedy(self) -> str:
        return self.base.remedy

    def check_sources(self, cache: Path) -> None:
        from emoprobe.models.small.adapter import check_adapter

        check_adapter(self.adapter)
        self.base.check_sources(cache)

    def write(self, target: Path, cache: Path) -> dict[str, Any]:
        card = json.loads((self.adapter / "card.json").read_text(encoding="utf-8"))
        return self.base.assemble(target, cache, self.adapter) | {"card": card}


SMALL_BASE, SMALL = SmallBase(), Small()
