"""The interface of an SFM that answers: encode a clip once, ask it many questions.

A *question* is a token prefix (everything the model reads before it answers) with the continuations whose likelihood is
wanted; several questions are asked of a batch of clips in one call.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from emoprobe.errors import EmoprobeError, InputError
from emoprobe.models.base import Network, Prepared, SpeechFoundationModel
from emoprobe.models.positions import Positions, no_positions
from emoprobe.models.text import PromptText, unasked


class UnansweredError(EmoprobeError):
    """A clip about which nothing was answered; others may be."""


@dataclass(frozen=True)
class Question:
    """A tokenised prompt with the continuations to be scored.

    Args:
        prefix: Token ids before the answer.
        continuations: Token ids of each continuation; the last one is the model's end token, so that no continuation
            is credited for a longer word that begins like it.
        prompt: What the prefix was made of; None for a part of a question.
        added: How many of the prefix's last tokens were written after the prompt.
    """

    prefix: tuple[int, ...]
    continuations: tuple[tuple[int, ...], ...] = ()
    prompt: PromptText | None = None
    added: int = 0


@dataclass(frozen=True)
class Generation:
    """What a model wrote after one prompt, with what it thought at every step.

    Args:
        tokens: Generated token ids, without the end token.
        text: Their text.
        finished: Whether the model ended its answer itself (rather than reaching the limit).
        kept_logits: Raw float32 logits of the kept tokens at each generated position, ``[positions, kept]``. Position 0
            is the answer position. The position at which the end token was chosen is included.
        log_normalizer: log-sum-exp over the whole vocabulary's logits at each position, ``[positions]``, nats.
    """

    tokens: tuple[int, ...]
    text: str
    finished: bool
    kept_logits: Tensor
    log_normalizer: Tensor


@dataclass(frozen=True)
class Sampling:
    """Draw answers instead of taking the likeliest token.

    Args:
        temperature: Divides the logits.
        seeds: By question and clip, so that a draw depends neither on the batch nor on the order.
    """

    temperature: float
    seeds: Sequence[Sequence[int]]

    def of(self, questions: Sequence[int]) -> Sampling:
        """That of some questions, by their numbers."""
        return Sampling(self.temperature, [self.seeds[i] for i in questions])

    def generators(self) -> list[list[torch.Generator]]:
        """A fresh generator per question and clip."""
        return [[torch.Generator().manual_seed(seed) for seed in clips] for clips in self.seeds]


@dataclass
class AudioContext:
    """A batch of clips after the audio part of the work; readers never modify it.

    Args:
        size: Number of clips.
        state: What the model family needs to answer questions (encoder states, key/value caches).
        told: Per clip what a model that does not hear was told of it, in words.
    """

    size: int
    state: Any
    told: list[str] = field(default_factory=list)


class AnsweringModel(SpeechFoundationModel):
    """A speech foundation model that reads and writes text.

    Attributes:
        pads: Whether clips of unequal length are padded for the decoder (`encode` then takes ``padding``).
        instructed: Whether the model follows instructions.
        takes_context: Whether a prompt may bring the transcript of preceding speech.
        served: Whether a server computes, of which only answers come: log-probabilities and text.
        engine: What computes, where it is not this process: name and version.
    """

    answers = True
    pads: ClassVar[bool] = False
    instructed: ClassVar[bool] = False
    takes_context: ClassVar[bool] = False
    served: ClassVar[bool] = False
    engine: str = ""

    @abstractmethod
    def control_tokens(self) -> Mapping[str, int]:
        """Texts that the tokenizer would turn into control tokens or placeholders, with their ids."""

    @property
    @abstractmethod
    def unknown_token(self) -> int | None:
        """What the tokenizer writes for what it cannot say."""

    @abstractmethod
    def text_tokens(self, text: str) -> tuple[int, ...]:
        """Token ids of text by itself."""

    def check_text(self, *texts: str) -> None:
        """Refuse text that the model would not read as text.

        Raises:
            InputError: The tokenizer finds a control token in it.
        """
        control = {token: number for token, number in self.control_tokens().items() if token.strip()}
        for text in texts:
            # Some tokenizers find control tokens in other spellings too; the unknown one stands for strange letters.
            ids = set(self.text_tokens(text)) - {self.unknown_token}
            found = sorted(token for token, number in control.items() if token in text or number in ids)
            if found:
                raise InputError(
                    f"the text holds {found[0]!r}, which {self.name} would take for a control token",
                    field="prompt",
                    remedy="Remove it from the prompt, label, transcript or dialogue.",
                )

    @abstractmethod
    def question(self, prompt: PromptText, continuations: Sequence[str]) -> Question:
        """Tokenise a prompt jointly with each continuation and split them where the answer begins.

        Raises:
            InputError: A continuation has no token of its own, or joins with the prompt's last token.
        """

    @abstractmethod
    def extend(
        self, question: Question, written: Sequence[int], text: str, continuations: Sequence[str] = ()
    ) -> Question:
        """The question after the model has written some tokens of its answer and then some text was added.

        Args:
            question: Its prefix is continued.
            written: Generated token ids.
            text: What is added after them.
            continuations: Texts that continue ``text``.
        """

    @property
    @abstractmethod
    def decoder(self) -> Network:
        """The part of ``model`` that reads tokens."""

    @property
    @abstractmethod
    def num_decoder_layers(self) -> int:
        """Layers of ``decoder``; states exist of layers 0 (the embeddings) to this number."""

    @abstractmethod
    def answer(self, sounds: Sequence[Tensor], question: Question) -> tuple[Tensor, Tensor]:
        """One pass over prefix and continuations, nothing cached, through which gradients flow: what training uses.

        Args:
            sounds: Of `hear`.
            question: Asked of every clip.

        Returns:
            Log-likelihood of every continuation, end token included, float32 nats ``[clips, continuations]``, and the
            decoder's last normalised state at the answer position ``[clips, width]``. They equal those of `score` and
            `hidden_states`.
        """

    def teacher_forced(self, sounds: Sequence[Tensor], question: Question, answers: Sequence[Sequence[int]]) -> Tensor:
        """One pass over prefix and a given answer of each clip, through which gradients flow: how answers are taught.

        Args:
            sounds: Of `hear`.
            question: Its prefix is asked of every clip.
            answers: Token ids of each clip's answer, end token included.

        Returns:
            Mean over an answer's tokens of their log-likelihood, float32 nats ``[clips]``.

        Raises:
            InputError: The model does not follow instructions.
        """
        raise InputError(
            f"{self.name} follows no instructions, so it is taught no answers in words",
            field="answers",
            remedy="Use answers=none, or an audio LLM.",
        )

    @abstractmethod
    def encode(self, waveforms: Sequence[Tensor], *, prepared: Prepared = ()) -> AudioContext:
        """Do the audio part of the work once per clip.

        Args:
            waveforms: As of `hear`.
            prepared: Likewise.
        """

    @abstractmethod
    def encode_without_audio(self) -> AudioContext:
        """A context of size one in which the model hears nothing at all (not even silence)."""

    @abstractmethod
    def score_logits(self, context: AudioContext, questions: Sequence[Question]) -> list[list[Tensor]]:
        """Raw logits of every continuation's tokens, each at its own position after the earlier ones.

        Returns:
            For every question and every continuation a float32 tensor ``[clips, 2, tokens of the continuation]``: the
            logits, then the log-sum-exp over the whole vocabulary at each position.
        """

    def score(self, context: AudioContext, questions: Sequence[Question]) -> list[list[Tensor]]:
        """Log-probabilities, token by token: ``log P(token | audio, prefix, earlier tokens)``, in nats.

        Returns:
            For every question and every continuation a float32 tensor ``[clips, tokens of the continuation]``.
        """
        return [[one[:, 0] - one[:, 1] for one in forms] for forms in self.score_logits(context, questions)]

    @abstractmethod
    def score_layers(self, context: AudioContext, questions: Sequence[Question]) -> list[list[Tensor]]:
        """As `score`, read at every decoder layer through the final norm and the vocabulary matrix (logit lens).

        Returns:
            For every question and continuation ``[clips, layers + 1, tokens]``; layer 0 is the embeddings, the last one
            equals `score`.
        """

    def score_positions(
        self, context: AudioContext, clip: int, question: Question, written: Sequence[int], wanted: Sequence[int]
    ) -> Positions:
        """What would come next after every position of a prompt and of an answer, read at every decoder layer.

        Args:
            context: Encoded clips.
            clip: The one that is asked about.
            question: Its prefix is read.
            written: Token ids of an answer, which stand behind it.
            wanted: Token ids whose log-probabilities are wanted.

        Raises:
            InputError: The model does not show its states.
        """
        raise no_positions(self.name, "layer_positions")

    def score_patched(
        self, receiver: AudioContext, donor: AudioContext, question: Question, layers: Sequence[int]
    ) -> Tensor:
        """Log-likelihoods of a question's continuations, the donor's sound in the receiver's from a decoder layer on.

        In a decoder-only model the donor's states at the sound's positions enter the layer instead of the receiver's;
        what stands behind the sound has by then seen the receiver's in the layers before. An encoder-decoder looks at
        the donor's encoder states from that layer on. At layer 0 it is the donor's sound alone, behind the last layer
        (their number) the receiver's.

        Args:
            receiver: A context of one clip.
            donor: Another, of the same number of samples.
            question: Asked of both.
            layers: Decoder layers, 0 to their number.

        Returns:
            ``[layers, continuations]`` float32 nats.

        Raises:
            InputError: The model does not show its states, or the clips differ in their positions.
        """
        raise no_positions(self.name, "patching")

    @abstractmethod
    def select(self, context: AudioContext, clip: int) -> AudioContext:
        """The context of one clip of a batch; what was computed for it is shared, not copied."""

    @abstractmethod
    def logits(self, context: AudioContext, questions: Sequence[Question]) -> Tensor:
        """Raw float32 next-token logits at the answer position, ``[clips, questions, vocabulary]``."""

    @abstractmethod
    def generate(
        self,
        context: AudioContext,
        questions: Sequence[Question],
        *,
        max_new_tokens: int | Sequence[int],
        keep: Sequence[Sequence[int]] | None = None,
        sampling: Sampling | None = None,
    ) -> list[list[Generation]]:
        """Answers to every question, by question and clip; greedy unless ``sampling`` is given.

        Args:
            context: Encoded clips.
            questions: Their prefixes are used, their continuations are not.
            max_new_tokens: Longest answer, tokens; one for all questions, or one for each.
            keep: Per question the token ids whose raw logits are kept at every generated position.
            sampling: How to draw; a question given several times is answered several times.
        """

    def generate_each(
        self,
        context: AudioContext,
        questions: Sequence[Sequence[Question]],
        *,
        max_new_tokens: int | Sequence[int],
        keep: Sequence[Sequence[int]] | None = None,
        sampling: Sampling | None = None,
    ) -> list[list[Generation]]:
        """As `generate`, of questions that read otherwise for each clip, but begin alike up to the sound.

        Args:
            context: Encoded clips.
            questions: By question and clip.
            max_new_tokens: As of `generate`.
            keep: Likewise.
            sampling: Likewise.
        """
        by_clip = []
        for clip in range(context.size):
            own = None if sampling is None else Sampling(sampling.temperature, [[row[clip]] for row in sampling.seeds])
            asked = [row[clip] for row in questions]
            one = self.select(context, clip)
            made = self.generate(one, asked, max_new_tokens=max_new_tokens, keep=keep, sampling=own)
            by_clip.append([row[0] for row in made])
        return [list(row) for row in zip(*by_clip, strict=True)]

    @abstractmethod
    def decode(self, tokens: Sequence[int]) -> str:
        """The text of generated tokens, special tokens included."""

    @abstractmethod
    def reference(self, waveform: Tensor, question: Question, continuation: Sequence[int] = ()) -> Tensor:
        """Logits of one plain forward pass of the model's class over a whole sequence, nothing shared or cached.

        The slow, obvious way, which `emoprobe.checks.doctor` and the tests compare with.

        Args:
            waveform: The clip, ``[samples]``.
            question: Its prefix is used.
            continuation: Tokens after the prefix.

        Returns:
            ``[positions, vocabulary]`` float32; the last ``len(continuation) + 1`` rows are those from the answer
            position on.
        """

    @abstractmethod
    def around(self, model: Network) -> AnsweringModel:
        """The same SFM around another copy of its model, for example in another precision."""

    @abstractmethod
    def hidden_states(self, context: AudioContext, question: Question) -> dict[int, Tensor]:
        """The decoder's states at the last token of a question's prefix, layer -> ``[clips, width]`` float32."""


def split_answers(
    tokenize: Callable[[str], Sequence[int]], text: str, continuations: Sequence[str], end: int, name: str
) -> tuple[tuple[int, ...], tuple[tuple[int, ...], ...]]:
    """Tokens of a text, and of each continuation tokenised jointly with it and split off, the end token appended.

    Raises:
        InputError: A continuation has no token of its own, or joins with the text's last token.
    """
    head = tuple(tokenize(text))
    answers = []
    for continuation in continuations:
        joint = tuple(tokenize(text + continuation))
        if joint[: len(head)] != head:
            raise InputError(
                f"the tokenizer of {name} joins the end of {text[-40:]!r} with the label in {continuation!r}",
                field="prompt.template",
                remedy="Put a space or another word between the template's text and {label}.",
            )
        if len(joint) == len(head):
            raise InputError(
                f"{continuation!r} has no token in {name}", field="labels.words", remedy="Use another surface form."
            )
        answers.append((*joint[len(head) :], end))
    return head, tuple(answers)


def answering(sfm: SpeechFoundationModel) -> AnsweringModel:
    """The model, if it answers.

    Raises:
        InputError: It only hears.
    """
    if not isinstance(sfm, AnsweringModel):
        raise unasked(sfm.name)
    return sfm
