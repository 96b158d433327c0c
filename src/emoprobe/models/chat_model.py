"""What all chat models share, however their decoder is asked: how a chat is written, and its plain forward pass."""

from __future__ import annotations

import emoprobe.models.torchaudio  # isort: skip  # noqa: F401  # before transformers

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from emoprobe.errors import InputError
from emoprobe.models.answering import AnsweringModel, AudioContext, Question, split_answers
from emoprobe.models.base import Network
from emoprobe.models.families.turns import SHARED_END, TOKEN_TYPES, Turns, move
from emoprobe.models.text import PromptText


class ChatModel(AnsweringModel):
    """A decoder-only chat model of transformers.

    Args:
        model: The loaded model.
        family: How its family renders a chat with a clip in it.
        name: Hub name or path, for the record.
        revision: Exact version of the weights.
    """

    instructed = True

    def __init__(self, model: Network, family: Turns, *, name: str, revision: str) -> None:
        self.model, self.family = model.eval(), family
        self.name, self.revision = name, revision
        self.dtype = str(model.dtype).removeprefix("torch.")
        self.sampling_rate = family.sampling_rate
        self.max_seconds = family.max_seconds
        self.stop_tokens = family.stop_tokens()

    # Prompts

    def question(self, prompt: PromptText, continuations: Sequence[str] = ()) -> Question:
        """Render the chat and tokenise it jointly with each continuation."""
        if prompt.context:
            raise InputError(
                f"{self.name} has no slot for the transcript of preceding speech",
                field="prompt.context",
                remedy="Put it into an instruction, or use this prompt with Whisper.",
            )
        self.check_text(prompt.instruction, prompt.before, prompt.system or "", *continuations)
        self.check_placeholder(prompt)
        placeholder = self.family.audio_token_id
        base = replace(prompt, before="")

        def tokenize(answer: str) -> tuple[int, ...]:
            return self.family.tokens(base, answer)

        plain, answers = split_answers(tokenize, prompt.before, continuations, self.stop_tokens[0], self.name)
        header = tokenize("")
        joined = plain[: len(header)] != header  # the chat's last token joins with the beginning of the answer
        frame = self.family.frame(prompt if joined else base)
        written = plain if joined else header
        end = written[written.index(placeholder) + 1 :][-SHARED_END:]
        if frame.tail[len(frame.tail) - len(end) :] != end:
            raise InputError(
                f"the processor of {self.name} ends the chat with other tokens than its tokenizer", field="model"
            )
        tail = (*frame.tail, *plain[len(written) :])
        return Question((*frame.head, placeholder, *tail), answers, prompt)

    def check_placeholder(self, prompt: PromptText) -> None:
        """Refuse a chat that has not one place for the sound.

        Raises:
            InputError: It has none, or several.
        """
        places = self.family.tokens(prompt).count(self.family.audio_token_id)
        if places != 1:
            raise InputError(
                f"the rendered prompt has {places} placeholders for sound and one clip is asked about",
                field="prompt",
                remedy=f"Check the chat template of {self.name}: it must write {self.family.audio_token!r} once.",
            )

    def extend(
        self, question: Question, written: Sequence[int], text: str, continuations: Sequence[str] = ()
    ) -> Question:
        """The question after some generated tokens and some further text, which is tokenised by itself."""
        self.check_text(text, *continuations)
        head, answers = split_answers(self.family.answer_tokens, text, continuations, self.stop_tokens[0], self.name)
        added = question.added + len(written) + len(head)
        return Question((*question.prefix, *written, *head), answers, question.prompt, added)

    def control_tokens(self) -> Mapping[str, int]:
        """What the family's tokenizer takes for more than text."""
        return self.family.control_tokens()

    @property
    def unknown_token(self) -> int | None:
        """What the tokenizer writes for what it cannot say."""
        return self.family.tokenizer.unk_token_id

    def text_tokens(self, text: str) -> tuple[int, ...]:
        """Token ids of text in the middle of an answer."""
        return self.family.answer_tokens(text)

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of generated tokens, special tokens included."""
        return self.family.decode(tokens)

    @abstractmethod
    def asked(self, context: AudioContext, clip: int, question: Question) -> list[int]:
        """Token ids that a clip is asked with, those at the sound's place included."""

    # Parts

    def save_processor(self, folder: Path) -> None:
        """Write the family's processor."""
        self.family.processor.save_pretrained(folder)

    @property
    def decoder(self) -> Network:
        """The part of the model that reads tokens."""
        return self.family.decoder

    @property
    def num_decoder_layers(self) -> int:
        """Layers of the text decoder."""
        return len(self.family.decoder.layers)

    @torch.no_grad()
    def reference(self, waveform: Tensor, question: Question, continuation: Sequence[int] = ()) -> Tensor:
        """Logits of one plain forward pass of the processor's own inputs, with what was written after the prompt."""
        if question.prompt is None:
            raise ValueError("a part of a question has no plain forward pass of its own")
        inputs = self.family.inputs(question.prompt, waveform)
        written = (*question.prefix[len(question.prefix) - question.added :], *continuation)
        ids = (*inputs["input_ids"][0].tolist(), *written)
        logits = self._plain_pass(with_tokens(inputs, ids)).logits[0].float()
        return self.family.class_logits(logits).cpu()

    def _plain_pass(self, inputs: Mapping[str, Tensor], **options: Any) -> Any:
        """What the class's own forward pass makes of its processor's inputs."""
        moved = move(inputs, self.model.device, self.model.dtype)
        return self.model(**moved, **self.family.further, **options, use_cache=False)


def with_tokens(inputs: Mapping[str, Tensor], ids: Sequence[int]) -> dict[str, Tensor]:
    """A processor's inputs of a chat with other token ids, among which the chat's own keep their kind.

    Args:
        inputs: Of a chat with a sound in it.
        ids: The new ones; those that are not in the chat are text.
    """
    old = inputs["input_ids"]
    made = {}
    for name in TOKEN_TYPES:
        if name in inputs:
            kinds = dict(zip(old[0].tolist(), inputs[name][0].tolist(), strict=True))
            made[name] = torch.tensor([[kinds.get(i, 0) for i in ids]], dtype=inputs[name].dtype)
    row = torch.tensor([list(ids)], dtype=old.dtype)
    return {**inputs, **made, "input_ids": row, "attention_mask": torch.ones_like(row)}
