"""A cascade: a chat LLM that never hears, and reads what a transcriber and measures of the voice say of a clip.

The words stand in the user's turn where an audio LLM finds the sound. Their tokens are the clip's; what stands around
them is the prompt's, so that a clip is described once and all questions about it share a prefilled prefix.
"""

from __future__ import annotations

import emoprobe.models.torchaudio  # isort: skip  # noqa: F401  # before transformers

import copy
import hashlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from emoprobe.errors import InputError
from emoprobe.models.acoustics import MEASURES, Thresholds, describe, measure
from emoprobe.models.answering import AudioContext
from emoprobe.models.base import WINDOW, Network, Prepared, SpeechFoundationModel
from emoprobe.models.chat_llm import ChatLLM
from emoprobe.models.encoder_decoder import EncoderDecoder
from emoprobe.models.families.turns import ANY, Turns
from emoprobe.models.progress import watching
from emoprobe.models.sound import Sound
from emoprobe.models.span import Frame, common_start
from emoprobe.models.text import TEXT_ONLY, PromptText

LEAD = "The recording is not played to you but described in words."
CLOSE = "Nothing else is known of it."
SPOKEN, SILENT, VOICE = 'The words spoken are: "{}"', "No words are spoken.", "Acoustic description of the voice: {}"
# Descriptions that begin and end in different ways: what their chats share is not the clip's.
EXAMPLES = (SPOKEN.format("Yes"), SILENT, VOICE.format("low"))
SAMPLING_RATE = 16_000  # at which a voice is measured where nothing is transcribed


@dataclass(frozen=True)
class Describer:
    """A clip in words, line by line.

    Args:
        transcriber: Writes what is said; None to tell nothing of it.
        thresholds: What counts as low, medium and high in the voice; None to tell nothing of it.
    """

    transcriber: EncoderDecoder | None
    thresholds: Thresholds | None

    def __call__(self, waveform: Tensor) -> list[str]:
        """The lines of one clip, ``[samples]``."""
        lines = []
        if self.transcriber is not None:
            text = self.transcribe(self.transcriber, waveform)
            lines.append(SPOKEN.format(text) if text else SILENT)
        if self.thresholds is not None:
            lines.append(VOICE.format(describe(measure(waveform.numpy(), self.sampling_rate), self.thresholds)))
        return lines

    def in_words(self, name: str, revision: str) -> tuple[str, str]:
        """``(name, revision)`` of a cascade: what tables call it, and exact versions of all that it is made of.

        Args:
            name: Of the chat LLM.
            revision: Likewise.
        """
        told, versions = [], [revision]
        if self.transcriber is not None:
            heard = self.transcriber
            told.append(_short(heard.name))
            versions.append(f"{heard.name} {heard.revision} {heard.decode(heard.start_tokens)}")
        if self.thresholds is not None:
            told.append("voice in words")
            pairs = {measure: getattr(self.thresholds, measure) for measure in MEASURES}
            versions.append(", ".join(f"{measure} {pair.lower:g} {pair.upper:g}" for measure, pair in pairs.items()))
        return f"{' + '.join(told)} > {_short(name)} {TEXT_ONLY}", "; ".join(versions)

    @staticmethod
    def transcribe(transcriber: EncoderDecoder, waveform: Tensor) -> str:
        """The greedy transcript of a clip by itself, so that no batch can turn a near tie; in one line."""
        room = transcriber.max_positions - len(transcriber.start_tokens)
        question = transcriber.question(PromptText())
        context = transcriber.encode([waveform])
        with watching(None):  # who waits for answers waits for no transcript
            (answer,) = transcriber.generate(context, [question], max_new_tokens=room)[0]
        text = transcriber.tokenizer.decode(list(answer.tokens), skip_special_tokens=True)
        return " ".join(text.split())

    @property
    def sampling_rate(self) -> int:
        """What waveforms must have, hertz."""
        return SAMPLING_RATE if self.transcriber is None else self.transcriber.sampling_rate

    @property
    def max_seconds(self) -> float:
        """Longest clip that is described whole."""
        return float("inf") if self.transcriber is None else self.transcriber.max_seconds

    @property
    def min_samples(self) -> int:
        """Shortest clip that is described."""
        return round(WINDOW * SAMPLING_RATE) if self.transcriber is None else self.transcriber.min_samples


def _short(name: str) -> str:
    return name.rstrip("/").rpartition("/")[2]


class DescribedChat(Turns):
    """A chat in which a clip is described in words.

    Args:
        model: The chat LLM.
        tokenizer: Its tokenizer, with a chat template.
        describer: Describes clips.
    """

    audio_token, audio_token_id = "the description of the clip", -1  # no token of the tokenizer

    def __init__(self, model: PreTrainedModel, tokenizer: Any, describer: Describer) -> None:
        super().__init__(model, tokenizer, tokenizer)
        self.describer = describer
        self._known: dict[bytes, str] = {}

    @property
    def sampling_rate(self) -> int:
        return self.describer.sampling_rate

    @property
    def max_seconds(self) -> float:
        return self.describer.max_seconds

    def words(self, waveform: Tensor) -> str:
        """What is told of a clip; worked out once per clip.

        What the LLM would take for a control token is told with a space in it, with a note on stderr.

        Raises:
            InputError: It would take it for one all the same.
        """
        key = hashlib.sha256(waveform.numpy().tobytes()).digest()
        if key not in self._known:
            said = "\n".join(self.describer(waveform))
            told = self._defused(said)
            if told != said:
                print(f"note: a control token was transcribed, and is told as text: {told!r}", file=sys.stderr)
            self._known[key] = told
        return self._known[key]

    def _defused(self, text: str) -> str:
        control = {token: number for token, number in self.control_tokens().items() if token.strip()}
        for token in sorted(control, key=len, reverse=True):
            text = text.replace(token, f"{token[0]} {token[1:]}" if len(token) > 1 else " ")
        found = set(self.answer_tokens(text)) & (set(control.values()) - {self.tokenizer.unk_token_id})
        if found:
            raise InputError(
                f"the description {text!r:.200} is read with the control token {self.decode(sorted(found))!r}",
                field="model",
                remedy="Choose another chat LLM or transcriber, or leave the clip out.",
            )
        return text

    def messages(self, prompt: PromptText, words: str = EXAMPLES[0]) -> list[dict]:
        """The conversation of a prompt, with a description in the clip's place."""
        told = "\n".join([LEAD, words, CLOSE])
        parts = [part for part in (told, prompt.instruction) if part]
        content = "\n\n".join(parts if prompt.audio_first else parts[::-1])
        system = [] if prompt.system is None else [{"role": "system", "content": prompt.system}]
        return [*system, {"role": "user", "content": content}]

    def text(self, prompt: PromptText, words: str = EXAMPLES[0]) -> str:
        """The rendered chat, up to where the answer begins."""
        return self.render(self.messages(prompt, words), add_generation_prompt=True) + prompt.before

    def tokens(self, prompt: PromptText, answer: str = "") -> tuple[int, ...]:
        """Prompt and answer tokenised together, a description as one placeholder."""
        frame, _ = self._framed(prompt, answer)
        return (*frame.head, self.audio_token_id, *frame.tail)

    def frame(self, prompt: PromptText) -> Frame:
        """What stands around a description.

        Raises:
            InputError: The description has other tokens in this chat than in another.
        """
        frame, described = self._framed(prompt)
        if described != self._framed(ANY)[1]:
            raise InputError("its tokenizer reads a description differently in different chats", field="prompt")
        return frame

    def _framed(self, prompt: PromptText, answer: str = "") -> tuple[Frame, list[tuple[int, ...]]]:
        """What chats with different descriptions share, and the tokens of these descriptions."""
        rendered = [self.encode_text(self.text(prompt, words) + answer) for words in EXAMPLES]
        frame = Frame(common_start(rendered), common_start([ids[::-1] for ids in rendered])[::-1])
        return frame, [frame.between(ids) for ids in rendered]

    def inputs(self, prompt: PromptText, waveform: Tensor) -> dict[str, Tensor]:
        """The tokens of the whole chat with the description in it, tokenised together."""
        ids = torch.tensor([self.encode_text(self.text(prompt, self.words(waveform)))])
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}

    def clip_tokens(self, waveform: Tensor) -> tuple[int, ...]:
        """Tokens of a clip's description.

        Raises:
            InputError: They cannot be told apart from the chat's.
        """
        return self.frame(ANY).between(self.inputs(ANY, waveform)["input_ids"][0].tolist())

    def decode(self, tokens: Sequence[int]) -> str:
        """Text of tokens, special tokens included; the description's placeholder has none."""
        return super().decode([token for token in tokens if token != self.audio_token_id])


class Cascade(ChatLLM):
    """A transcriber, measures of the voice, and a chat LLM that is told what they say.

    Args:
        model: The chat LLM.
        family: Writes the chat with a clip's description in it.
        name: What tables call it.
        revision: Exact versions of all that it is made of.
    """

    hears = False
    family: DescribedChat

    def around(self, model: Network) -> Cascade:
        """The same cascade around another copy of its LLM; transcriber and descriptions are shared."""
        family = copy.copy(self.family)
        family.model = model
        return Cascade(model, family, name=self.name, revision=self.revision)

    @property
    def parts(self) -> Sequence[SpeechFoundationModel]:
        """The transcriber, if it has one."""
        transcriber = self.family.describer.transcriber
        return () if transcriber is None else (transcriber,)

    @property
    def min_samples(self) -> int:
        """Shortest clip that can be described."""
        return self.family.describer.min_samples

    @property
    def num_encoder_layers(self) -> int:
        """None: the transcriber's states do not reach the LLM."""
        return 0

    def encode(self, waveforms: Sequence[Tensor], padding: str = "right", *, prepared: Prepared = ()) -> AudioContext:
        """The embeddings of every clip's description."""
        context = super().encode(waveforms, padding)
        context.told = [self.family.words(waveform) for waveform in waveforms]
        return context

    def encode_without_audio(self) -> AudioContext:
        """Nothing is told: the place of the description is left empty."""
        context = super().encode_without_audio()
        context.told = [""]
        return context

    def select(self, context: AudioContext, clip: int) -> AudioContext:
        """The context of one clip of a batch."""
        part = super().select(context, clip)
        part.told = context.told[clip : clip + 1]
        return part

    def check_layers(self, layers: Sequence[int]) -> None:
        """Refuse all layers."""
        if layers:
            raise InputError(f"{self.name} does not hear: it has no encoder layer {layers[0]}", field="model")

    def _hear(self, waveforms: Sequence[Tensor], layers: Sequence[int] = (), prepared: Prepared = ()) -> list[Sound]:
        described = [self.family.clip_tokens(waveform) for waveform in waveforms]
        return [Sound(tokens, self._embed(torch.tensor(tokens)), {}) for tokens in described]
