"""The text side of models that transcribe: a decoder prompt, then a transcript that a label continues."""

from __future__ import annotations

import emoprobe.models.torchaudio  # isort: skip  # noqa: F401  # before transformers

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from emoprobe.errors import InputError
from emoprobe.models.answering import AnsweringModel, Question, split_answers
from emoprobe.models.text import PromptText

BAR = "▁"  # a space, to tokenizers of the SentencePiece kind
ANCHORS = (".", "0", "a")  # further text joins with one of them at most


class TranscribingModel(AnsweringModel):
    """An SFM whose text is a transcript.

    Attributes:
        processor: Feature extractor and tokenizer.
        start_tokens: What stands before a transcript, as the class's processor writes it.
    """

    processor: Any
    start_tokens: tuple[int, ...]

    @property
    @abstractmethod
    def max_positions(self) -> int:
        """Tokens that the decoder has positions for."""

    @property
    def tokenizer(self) -> Any:
        """The processor's."""
        return self.processor.tokenizer

    @cached_property
    def stop_tokens(self) -> tuple[int, ...]:
        """What ends a transcript; the first one is written behind labels."""
        ends = self.model.generation_config.eos_token_id
        ends = self.tokenizer.eos_token_id if ends is None else ends
        if ends is None:
            raise InputError(f"nothing says which token ends what {self.name} writes", field="model")
        return tuple(ends) if isinstance(ends, (list, tuple)) else (ends,)

    @property
    def end_token(self) -> int:
        """The first of the stop tokens."""
        return self.stop_tokens[0]

    def known(self, tokens: Sequence[int | None], texts: Sequence[str] = ()) -> tuple[int, ...]:
        """Tokens of the decoder prompt, if the tokenizer has them all.

        Args:
            tokens: What it made of them.
            texts: How they are written, for the error.

        Raises:
            InputError: It has not.
        """
        for i, token in enumerate(tokens):
            if token is None or token == self.unknown_token or (texts and self.decode([token]) != texts[i]):
                raise InputError(
                    f"the tokenizer of {self.name} lacks {texts[i] if texts else 'a token'} of its decoder prompt",
                    field="model",
                    remedy="Use a language that it was trained on, or the tokenizer of the checkpoint it was made of.",
                )
        return tuple(token for token in tokens if token is not None)

    def only_transcribes(self, task: str) -> None:
        """Refuse translation.

        Raises:
            InputError: It is asked for.
        """
        if task != "transcribe":
            raise InputError(f"{self.name} does not {task}", field="model.task", remedy="Use model.task=transcribe.")

    def control_tokens(self) -> Mapping[str, int]:
        """Languages, tasks, time stamps and the like."""
        return self.tokenizer.get_added_vocab()

    @property
    def unknown_token(self) -> int | None:
        """What the tokenizer writes for what it cannot say."""
        return self.tokenizer.unk_token_id

    def text_tokens(self, text: str) -> tuple[int, ...]:
        """Token ids of text by itself, without the space that some tokenizers put before any text."""
        for anchor in ANCHORS if self._prepends else ():
            ahead, joint = self._ids(anchor), self._ids(anchor + text)
            if joint[: len(ahead)] == ahead:
                return joint[len(ahead) :]
        return self._ids(text)

    def _ids(self, text: str) -> tuple[int, ...]:
        return tuple(self.tokenizer(text, add_special_tokens=False).input_ids)

    @cached_property
    def _prepends(self) -> bool:
        return self.tokenizer.convert_ids_to_tokens(self._ids("a")[0]).startswith(BAR)

    def question(self, prompt: PromptText, continuations: Sequence[str] = ()) -> Question:
        """Tokenise a prompt jointly with each continuation; transcripts begin with a space."""
        if prompt.instruction or prompt.system is not None:
            raise InputError(
                f"{self.name} transcribes: it cannot follow an instruction",
                field="prompt",
                remedy="Use a completion prompt (prompt=whisper_all has several), or an audio LLM.",
            )
        self.check_text(prompt.before, prompt.context, *continuations)
        before = f" {prompt.before}" if prompt.before else ""
        head, answers = split_answers(self.text_tokens, before, continuations, self.end_token, self.name)
        start = self.with_context(self.text_tokens(f" {prompt.context}")) if prompt.context else self.start_tokens
        return self._checked(Question((*start, *head), answers))

    def with_context(self, tokens: tuple[int, ...]) -> tuple[int, ...]:
        """The decoder prompt with the tokens of an earlier transcript in it.

        Raises:
            InputError: The class has no place for it.
        """
        raise InputError(
            f"{self.name} has no slot for the transcript of preceding speech",
            field="prompt.context",
            remedy="Use a prompt without context (prompt=completion_all has several), or this prompt with Whisper.",
        )

    def extend(
        self, question: Question, written: Sequence[int], text: str, continuations: Sequence[str] = ()
    ) -> Question:
        """The question after some generated tokens and some further text."""
        self.check_text(text, *continuations)
        head, answers = split_answers(self.text_tokens, text, continuations, self.end_token, self.name)
        return self._checked(Question((*question.prefix, *written, *head), answers))

    def _checked(self, question: Question) -> Question:
        longest = len(question.prefix) + max((len(answer) for answer in question.continuations), default=0)
        if longest > self.max_positions:
            raise InputError(
                f"the prompt with its longest label has {longest} tokens and {self.name} takes {self.max_positions}",
                field="prompt",
                remedy="Shorten the prompt's context or template.",
            )
        return question

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of generated tokens, special tokens included."""
        return self.tokenizer.decode(list(tokens), skip_special_tokens=False)
