"""Does emoprobe run my model? Measured, for every speech class of the installed transformers, on tiny checkpoints.

Each class that hears speech has a tiny checkpoint in `emoprobe.checks.tiny`, which is loaded as a real one and goes
through the doctor; a class that emoprobe refuses is refused there by its own words. What else transformers has for
sound makes or codes it, and is named with the reason in `LEFT_OUT`. A class in neither place is shown as a gap.
"""

from __future__ import annotations

import emoprobe.models.torchaudio  # isort: skip  # noqa: F401  # before transformers

import json
import math
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from emoprobe.checks.verdict import Verdict
from emoprobe.errors import EmoprobeError, InputError
from emoprobe.models.text import PromptText
from emoprobe.settings import compose, make, read_node
from emoprobe.system.output import write_text
from emoprobe.system.places import conf_folder

if TYPE_CHECKING:
    from torch import Tensor

    from emoprobe.models.answering import Question
    from emoprobe.models.base import SpeechFoundationModel

SOUND_TASKS = (
    "AUDIO_CLASSIFICATION",
    "AUDIO_FRAME_CLASSIFICATION",
    "AUDIO_XVECTOR",
    "CTC",
    "RNNT",
    "SPEECH_SEQ_2_SEQ",
    "TDT",
)
CODEC = "codes sound as numbers from which it is made again"
SPEAKS = "makes speech out of text"
LINKS = "gives one vector for a whole sound, to compare with one of a text"
MUSIC = "makes music"
LEFT_OUT = {
    "clap": LINKS,
    "clvp": SPEAKS,
    "csm": SPEAKS,
    "dac": CODEC,
    "dia": SPEAKS,
    "embedding_gemma2": LINKS,
    "encodec": CODEC,
    "gradium_phonon_tts": SPEAKS,
    "higgs_audio_v2_tokenizer": CODEC,
    "mimi": CODEC,
    "moshi": "speaks while it hears, in tokens of its codec; it is asked nothing in words",
    "musicgen": MUSIC,
    "musicgen_melody": MUSIC,
    "nemotron3_diarization": "tells who speaks when, of frames of many speakers",
    "neucodec": CODEC,
    "pe_audio": LINKS,
    "pe_audio_video": LINKS,
    "pe_audio_video_encoder": LINKS,
    "pocket_tts": SPEAKS,
    "pocket_tts_audio_tokenizer": CODEC,
    "pop2piano": MUSIC,
    "qwen2_5_omni_thinker": "is what `qwen2_5_omni` is read by",
    "qwen3_omni_moe_thinker": "is what `qwen3_omni_moe` is read by",
    "univnet": "makes sound out of spectrograms",
    "vibevoice": SPEAKS,
    "vibevoice_acoustic_tokenizer": CODEC,
    "xcodec": CODEC,
    "xcodec2": CODEC,
}
"""By ``model_type``: why a class for sound is no speech foundation model in the sense of emoprobe."""


@dataclass(frozen=True)
class Support:
    """What emoprobe makes of a class.

    Args:
        kind: transformers' ``model_type``; a variant of it in brackets.
        config: How it is loaded, ``model=...``; empty where it is not.
        layers: Layers of the encoder.
        asked: All questions as one ``tree`` of tokens, or each in ``passes`` of its own; empty where none is asked.
        verdicts: Of the doctor.
        reason: Why it is refused or left out; empty otherwise.
        together: Clips of ``any`` or of ``equal`` length can go through the encoder in one pass; empty if none can.
    """

    kind: str
    config: str = ""
    layers: int | None = None
    asked: str = ""
    verdicts: Sequence[Verdict] = field(default_factory=tuple)
    reason: str = ""
    together: str = ""

    @property
    def failed(self) -> list[str]:
        """Names of the checks that failed."""
        return [verdict.check for verdict in self.verdicts if not verdict.passed]

    def worst(self, *beginnings: str) -> float | None:
        """Largest difference of the checks whose names begin so; None where none applies."""
        found = [v.difference for v in self.verdicts if v.check.startswith(beginnings) and v.difference is not None]
        return max(found, default=None)


COLUMNS = {
    "states": ("encoder states",),
    "scores": ("shared prefix", "whole passes", "reported logits"),
    "batch": ("batch of 1", "order of", "left against", "its own classes"),
    "text": ("generated text", "last layer"),
    "training": ("adapters",),
    "padding": ("padding with a mask",),
}
"""What a table shows of the verdicts: column -> beginnings of the names of the checks whose largest one it is."""
START, END = "<!-- emoprobe doctor --all -->", "<!-- end -->"


def as_row(support: Support) -> dict[str, str]:
    """One line of the table of `as_markdown`, column -> text."""
    row = {"class": f"`{support.kind}`", "`model=`": support.config and f"`{support.config}`"}
    row["asked"] = support.asked
    row["together"] = support.together
    row["layers"] = "" if support.layers is None else str(support.layers)
    for column, beginnings in COLUMNS.items():
        worst = support.worst(*beginnings)
        row[column] = "" if worst is None else f"{worst:.1g}".replace("e-0", "e-")
    row["failed"] = ", ".join(support.failed)
    return row


def as_markdown(supports: Sequence[Support]) -> str:
    """The measured classes as a table, then those that are refused or left out, with their reasons."""
    rows = [as_row(support) for support in supports if not support.reason]
    lines = []
    if rows:
        columns = [column for column in rows[0] if column != "failed" or any(row["failed"] for row in rows)]
        left = {"class", "`model=`", "asked", "together", "failed"}
        lines += [_line(columns), _line(["---" if column in left else "---:" for column in columns])]
        lines += [_line([row[column] for column in columns]) for row in rows]
    refused = [support for support in supports if support.reason]
    if refused:
        lines += ["", _line(["not asked, not heard", "because"]), _line(["---", "---"])]
        lines += [_line([f"`{support.kind}`", support.reason.replace("|", "\\|")]) for support in refused]
    return "\n".join(lines).strip() + "\n"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def write_table(supports: Sequence[Support], page: Path) -> None:
    """Put the table between the two marks of a page.

    Raises:
        InputError: The page has no such marks.
    """
    text = page.read_text(encoding="utf-8") if page.is_file() else ""
    before, start, rest = text.partition(START)
    _, end, after = rest.partition(END)
    if not start or not end:
        raise InputError(
            f"there is no place for the table: {START} ... {END}", file=page, remedy="Write the two marks into it."
        )
    write_text(f"{before}{START}\n\n{as_markdown(supports)}\n{END}{after}", page)


def speech_classes() -> list[str]:
    """Every ``model_type`` of the installed transformers that takes sound, parts of other classes left out."""
    from transformers.models.auto import configuration_auto, feature_extraction_auto, modeling_auto

    found = set(feature_extraction_auto.FEATURE_EXTRACTOR_MAPPING_NAMES)
    for task in SOUND_TASKS:
        found |= set(getattr(modeling_auto, f"MODEL_FOR_{task}_MAPPING_NAMES", ()))
    for name in configuration_auto.CONFIG_MAPPING_NAMES:
        if name not in found:
            parts = getattr(configuration_auto.CONFIG_MAPPING[name], "sub_configs", None) or {}
            found |= {name} if any("audio" in part for part in parts) else set()
    return sorted(found)


def left_out() -> dict[str, str]:
    """`LEFT_OUT`, and what the loaders refuse by name: ``model_type`` -> reason."""
    from emoprobe.models import families, transcribers

    return LEFT_OUT | transcribers.REFUSED | families.REFUSED


def measure_all(folder: Path, chosen: Sequence[str] = ()) -> Iterator[Support]:
    """The support of every speech class, one after the other.

    Args:
        folder: Where tiny checkpoints are written, one at a time.
        chosen: Only these; all by default.

    Raises:
        InputError: One of those chosen is unknown.
    """
    from emoprobe.checks.tiny import TINY

    reasons = left_out()
    known = {kind.partition(" ")[0] for kind in TINY} | set(reasons)
    gaps = [kind for kind in speech_classes() if kind not in known]
    unknown = sorted(set(chosen) - {*TINY, *reasons, *gaps})
    if unknown:
        raise InputError(
            f"{unknown[0]} is no speech class of transformers here",
            field="--all",
            remedy=f"Choose among {', '.join(TINY)}.",
        )
    for kind in sorted({*TINY, *reasons, *gaps}):
        if chosen and kind not in chosen:
            continue
        if kind in TINY:
            yield measure(kind, folder)
        else:
            yield Support(kind, reason=reasons.get(kind, "not measured: this version of emoprobe does not know it"))


def measure(kind: str, folder: Path) -> Support:
    """The support of one class, on its tiny checkpoint.

    Args:
        kind: Its name in `emoprobe.checks.tiny.TINY`.
        folder: Where the checkpoint is written; it is removed afterwards.

    Returns:
        What the doctor says of it, a reason where it is refused, or as a failed check what broke down.
    """
    from transformers.utils import logging

    from emoprobe.checks.doctor import bundled_clips, examine
    from emoprobe.checks.tiny import TINY
    from emoprobe.models.whole_pass import WholePassLLM

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    path = folder / re.sub(r"\W+", "_", kind)
    path.mkdir(parents=True)
    try:
        TINY[kind](path)
        sfm, config = load(path, encoder=bool(re.search("encoder|classifier", kind.partition(" ")[2])))
        clips = bundled_clips(sfm)
        verdicts = examine(sfm, clips, ask(sfm), other_dtype=False)  # of random weights it says nothing
        asked = ("passes" if isinstance(sfm, WholePassLLM) else "tree") if sfm.answers else ""
        return Support(kind, config, sfm.num_encoder_layers, asked, verdicts, together=together(sfm, clips))
    except EmoprobeError as error:
        said = error.what if isinstance(error, InputError) else str(error).splitlines()[0]
        return Support(kind, reason=said.replace(str(path), "it"))
    except ImportError as error:
        return Support(kind, reason=f"not measured here: {' '.join(str(error).split())}")
    except Exception as error:  # another version of transformers may raise anything, which is one line of the table
        said = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        return Support(kind, verdicts=[Verdict(said.replace(str(path), "it"), math.inf)])
    finally:
        shutil.rmtree(path)


def together(sfm: SpeechFoundationModel, waveforms: Sequence[Tensor]) -> str:
    """Which clips a model can hear in one pass, see `Support`."""
    shortest = min(map(len, waveforms))
    if sfm.hears_together(waveforms):
        return "any"
    return "equal" if sfm.hears_together([waveform[:shortest] for waveform in waveforms]) else ""


CONFIGS = {
    "audioflamingo3": "audio_flamingo3",
    "glmasr": "glm_asr",
    "moonshine": "moonshine_asr",
    "musicflamingo": "music_flamingo",
    "parakeet_ctc": "parakeet",
    "qwen2_5_omni_thinker": "qwen2_5_omni",
    "qwen3_omni_moe_thinker": "qwen3_omni",
    "seamless_m4t_v2": "seamless_asr",
    "wav2vec2-bert": "w2v_bert",
}
"""Names of ``model`` configs that are not the ``model_type`` with underscores."""


def load(path: Path, *, encoder: bool = False) -> tuple[SpeechFoundationModel, str]:
    """A checkpoint as the ``model`` config of its class loads it, on the CPU in float32, and that config's name.

    Args:
        path: The checkpoint.
        encoder: Its encoder alone, of a model that also answers.
    """
    from emoprobe.models.families import FAMILIES
    from emoprobe.models.transcribers import TRANSCRIBERS

    kind = json.loads((path / "config.json").read_text(encoding="utf-8"))["model_type"]
    chats = kind in FAMILIES or (path / "chat_template.jinja").is_file()
    general = "transcriber" if kind in TRANSCRIBERS else "audio_llm" if chats else "encoder"
    own = CONFIGS.get(kind, kind.replace("-", "_"))
    config = "encoder" if encoder else own if (conf_folder() / "model" / f"{own}.yaml").is_file() else general
    composed = compose([f"model={config}", f"model.path={path}", "model.device=cpu", "model.dtype=float32"])
    return make(read_node(composed, "model"), "model"), config


def ask(sfm: SpeechFoundationModel) -> list[Question]:
    """Two questions with three answers each, of a model that answers."""
    from emoprobe.models.answering import AnsweringModel

    if not isinstance(sfm, AnsweringModel):
        return []
    prompts = [PromptText("The voice sounds"), PromptText("The speaker is feeling")]
    if sfm.instructed:
        prompts = [
            PromptText(instruction="What is the emotion? Answer with one word."),
            PromptText(instruction="What does the person feel?", before="The emotion is"),
        ]
    words = ("happy", "sad", "angry")
    return [sfm.question(prompt, [f" {word}" if prompt.before else word for word in words]) for prompt in prompts]
