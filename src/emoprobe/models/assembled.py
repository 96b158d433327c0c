"""A small instruction-following audio LLM, assembled of Whisper base's encoder and SmolLM2 as a Qwen2-Audio.

Both come from the pinned data packages, never from a copy on the model hub: the weights are the same everywhere.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emoprobe.models.data_packages import SMOLLM2, WHISPER_BASE, DataPackage
from emoprobe.models.made import PROVENANCE, MadeCheckpoint

AUDIO_TOKENS = ("<|AUDIO|>", "<|audio_bos|>", "<|audio_eos|>")
PROJECTOR_SEED = 0
PROJECTOR_SPREAD = 4.0  # what a sound is embedded with, in standard deviations of the text model's embeddings

# SmolLM2's ChatML, the sound in the user's turn; a system turn stands only where one is given.
CHAT_TEMPLATE = """\
{%- for message in messages -%}
{{- '<|im_start|>' + message.role + '\\n' -}}
{%- if message.content is string -%}
{{- message.content -}}
{%- else -%}
{%- for item in message.content -%}
{%- if item.type == 'audio' -%}
{{- '<|audio_bos|><|AUDIO|><|audio_eos|>' -}}
{%- else -%}
{{- item.text -}}
{%- endif -%}
{%- endfor -%}
{%- endif -%}
{{- '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<|im_start|>assistant\\n' -}}
{%- endif -%}
"""


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
        from emoprobe.models.assembly import write_qwen2_audio

        hearing, text = self.hearing.made(cache), self.text.made(cache)
        write_qwen2_audio(hearing, text, target)
        records = [json.loads((folder / PROVENANCE).read_text()) for folder in (hearing, text)]
        return {"assembled_of": [{key: record[key] for key in record if key != "files"} for record in records]}


SMALL_BASE = SmallBase()
