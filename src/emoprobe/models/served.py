"""An audio LLM that a server holds: vLLM's protocol, the tokens of transformers.

Its labels are scored by walking the trie of their tokens: one request per node, which writes one token and is told the
log-probabilities of the node's children (``logprob_token_ids``). The server shares what the requests of a clip have in
common by its prefix cache; ``prompt_logprobs`` would not use it. Chats are written by the server; every answer brings
the tokens that the model was given, and they must be those of the model's own processor in transformers, which is here
without its weights.
"""

from __future__ import annotations

import emoprobe.models.torchaudio  # isort: skip  # noqa: F401  # before transformers

import base64
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

import soundfile
import torch
from torch import Tensor

from emoprobe.errors import InputError
from emoprobe.models.answering import AudioContext, Generation, Question, Sampling, UnansweredError
from emoprobe.models.base import WINDOW, Heard, Network, Prepared
from emoprobe.models.chat_model import ChatModel
from emoprobe.models.families.chat import ChatFamily
from emoprobe.models.server import Server
from emoprobe.models.text import PromptText

MOST_TOKENS = 128  # whose log-probabilities one request may ask for
NOTHING = -9999.0  # how the server writes minus infinity
MOST = 1.001  # sum of the probabilities of some tokens, rounding included
ANCHOR = 8  # tokens before a text that is decoded: some tokenizers drop a space at the beginning
SEEDS = 2**63


@dataclass
class Recording:
    """A clip on its way to the server.

    Args:
        waveform: ``[samples]``.
        content: It as a WAV file of 32-bit floats, base64.
        tokens: Chat -> the tokens that the model's own processor writes of it, the sound's among them.
    """

    waveform: Tensor
    content: str
    tokens: dict[PromptText, tuple[int, ...]] = field(default_factory=dict)


class ServedModel(ChatModel):
    """A model whose weights are with a server.

    Args:
        model: The model's class without weights.
        family: How its family renders a chat.
        server: The server.
        revision: Exact version of the processor.
    """

    family: ChatFamily
    served = True

    def __init__(self, model: Network, family: ChatFamily, server: Server, *, revision: str) -> None:
        engine = f"vllm {server.version}"
        super().__init__(model, family, name=f"{server.model} ({engine})", revision=f"{revision} {server.serves}")
        self.server, self.engine, self.dtype = server, engine, "served"

    @property
    def device(self) -> str:
        return self.server.url

    @property
    def min_samples(self) -> int:
        """One window of a spectrogram."""
        return round(WINDOW * self.sampling_rate)

    def question(self, prompt: PromptText, continuations: Sequence[str] = ()) -> Question:
        """As of every chat model, if each part of a label is read as its own tokens when it is sent as text.

        Raises:
            InputError: It is read as others, such as half a letter, or a label cannot be told from the prompt.
        """
        question = super().question(prompt, continuations)
        for node in _nodes(question):
            last = len(node) + 1
            read = self.family.tokens(prompt, self._text_after(question, node))
            if read[-last:] != (*question.prefix, *node)[-last:]:
                raise InputError(
                    f"the label {self.decode(node)!r}... is read as other tokens when this part of it is sent as text",
                    field="labels",
                    remedy="Choose another word for it, or load the model itself.",
                )
        return question

    # Clips

    def encode(self, waveforms: Sequence[Tensor], *, prepared: Prepared = ()) -> AudioContext:
        """The clips as files; the server hears each once, and shares it between the requests about it."""
        self.server.check_same()
        self.check_lengths(waveforms)
        return AudioContext(len(waveforms), [self._recording(waveform) for waveform in waveforms])

    def _recording(self, waveform: Tensor) -> Recording:
        file = io.BytesIO()
        soundfile.write(file, waveform.numpy(), self.sampling_rate, format="WAV", subtype="FLOAT")
        return Recording(waveform, base64.b64encode(file.getvalue()).decode())

    def encode_without_audio(self) -> AudioContext:
        """Refused: a chat without a sound is written otherwise around its place."""
        raise InputError(
            f"{self.name} cannot be asked without any sound",
            field="null_inputs.kinds",
            remedy="Use null_inputs.kinds=[silence,noise].",
        )

    def select(self, context: AudioContext, clip: int) -> AudioContext:
        """One of the clips."""
        return AudioContext(1, [context.state[clip]])

    def asked(self, context: AudioContext, clip: int, question: Question) -> list[int]:
        """Token ids that a clip is asked with, as the processor writes them."""
        return list(self._expected(context.state[clip], question))

    def _expected(self, recording: Recording, question: Question, after: Sequence[int] = ()) -> tuple[int, ...]:
        prompt = _prompt_of(question)
        if prompt not in recording.tokens:
            made = self.family.inputs(prompt, recording.waveform)
            recording.tokens[prompt] = tuple(made["input_ids"][0].tolist())
        return (*recording.tokens[prompt], *_added(question), *after)

    # Requests

    def _body(self, recording: Recording, question: Question, after: Sequence[int] = ()) -> dict[str, Any]:
        """A chat up to some tokens of its answer."""
        prompt = _prompt_of(question)
        written = prompt.before + self._text_after(question, after)
        messages = [self._with_sound(message, recording) for message in self.family.messages(prompt)]
        if written:
            messages.append({"role": "assistant", "content": written})
        return {
            "messages": messages,
            "add_generation_prompt": not written,
            "continue_final_message": bool(written),
            "return_token_ids": True,
            "return_tokens_as_token_ids": True,
            "skip_special_tokens": False,
            # the server's defaults are the checkpoint's
            **{"temperature": 0.0, "top_p": 1.0, "top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0},
            **{"presence_penalty": 0.0, "frequency_penalty": 0.0},
        }

    def _text_after(self, question: Question, after: Sequence[int]) -> str:
        added = _added(question)
        anchor = question.prefix[: len(question.prefix) - len(added)][-ANCHOR:]
        before, whole = self.decode(anchor), self.decode((*anchor, *added, *after))
        return whole.removeprefix(before)

    @staticmethod
    def _with_sound(message: Mapping[str, Any], recording: Recording) -> dict[str, Any]:
        sound = {"type": "input_audio", "input_audio": {"data": recording.content, "format": "wav"}}
        content = message["content"]
        parts = content if isinstance(content, str) else [sound if p["type"] == "audio" else p for p in content]
        return {"role": message["role"], "content": parts}

    def _check_tokens(self, answer: Mapping[str, Any], expected: Sequence[int], written: int) -> None:
        """Refuse an answer to another chat than transformers would write.

        Args:
            answer: The answer.
            expected: What the model should have been given.
            written: How many of these, from the end, the model has written itself or labels are made of.

        Raises:
            UnansweredError: The text of what was written is read as other tokens when it is given back.
            InputError: The model was given other tokens, or the server does not tell which.
        """
        given = answer.get("prompt_token_ids")
        if given is None:
            raise self._too_old("the tokens that the model is given (return_token_ids)")
        if list(given) != list(expected):
            at = next(
                (i for i, pair in enumerate(zip(given, expected, strict=False)) if pair[0] != pair[1]),
                min(len(given), len(expected)),
            )
            if at >= len(expected) - written:
                text = self.decode(expected[len(expected) - written :])
                raise UnansweredError(f"the tokens of {text[-40:]!r} are others when their text is read")
            raise InputError(
                f"the server gives the model other tokens than its processor: {len(given)} and {len(expected)}, first "
                f"different at {at}: {self.decode(given[at : at + 8])!r} and {self.decode(expected[at : at + 8])!r}",
                field="model",
                remedy="Name the checkpoint that is served (model.path or model.name); its chat template must be the "
                "same, and the server must not change it.",
            )

    def _too_old(self, what: str) -> InputError:
        return InputError(
            f"{self.server.url} does not tell {what}", field="model.url", remedy="Use vLLM 0.26 or a later version."
        )

    # Scores

    def score_logits(self, context: AudioContext, questions: Sequence[Question]) -> list[list[Tensor]]:
        """Log-probabilities in place of logits, whose normalizers are then 0: a server tells no logits."""
        nodes = [_nodes(question) for question in questions]
        jobs = [
            (clip, number, node, children[start : start + MOST_TOKENS])
            for clip in range(context.size)
            for number, of in enumerate(nodes)
            for node, children in of.items()
            for start in range(0, len(children), MOST_TOKENS)
        ]
        bodies = [
            self._body(context.state[clip], questions[number], node)
            | {"max_tokens": 1, "logprobs": True, "logprob_token_ids": list(children)}
            for clip, number, node, children in jobs
        ]
        found: dict[tuple, float] = {}
        for (clip, number, node, children), answer in zip(jobs, self.server.ask_all(bodies), strict=True):
            written = questions[number].added + len(node)
            self._check_tokens(answer, self._expected(context.state[clip], questions[number], node), written)
            told = self._logprobs(answer)
            for child in children:
                if child not in told:
                    raise self._too_old("the log-probabilities of the tokens that are asked for (logprob_token_ids)")
                found[clip, number, node, child] = told[child]
        return [
            [self._tensor(found, context.size, number, form) for form in question.continuations]
            for number, question in enumerate(questions)
        ]

    @staticmethod
    def _tensor(found: Mapping[tuple, float], clips: int, number: int, form: Sequence[int]) -> Tensor:
        values = [[found[clip, number, tuple(form[:i]), form[i]] for i in range(len(form))] for clip in range(clips)]
        logprobs = torch.tensor(values)
        return torch.stack([logprobs, torch.zeros_like(logprobs)], 1)

    def _logprobs(self, answer: Mapping[str, Any]) -> dict[int, float]:
        """Token id -> log-probability at the first position of an answer."""
        try:
            told = answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
            pairs = {int(each["token"].removeprefix("token_id:")): float(each["logprob"]) for each in told}
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise self._too_old("log-probabilities by token id") from error
        values = list(pairs.values())
        finite = all(NOTHING < value < math.inf for value in values)  # not of NaN either
        if not finite or max(values, default=0.0) > 1.0 or sum(map(math.exp, values)) > MOST:
            what = "logits or the like as log-probabilities" if finite else "a score that is not a finite number"
            raise InputError(
                f"{self.server.url} gives {what}",
                field="model.url",
                remedy="Start it with --logprobs-mode raw_logprobs, and with --dtype float32 if that does not help.",
            )
        return pairs

    def score_layers(self, context: AudioContext, questions: Sequence[Question]) -> list[list[Tensor]]:
        """Refused."""
        self._refuse("its layers")

    # Answers

    def generate(
        self,
        context: AudioContext,
        questions: Sequence[Question],
        *,
        max_new_tokens: int | Sequence[int],
        keep: Sequence[Sequence[int]] | None = None,
        sampling: Sampling | None = None,
    ) -> list[list[Generation]]:
        """Answers as text and tokens; kept logits are not a number, for a server tells none."""
        limits = [max_new_tokens] * len(questions) if isinstance(max_new_tokens, int) else list(max_new_tokens)
        bodies, expected = [], []
        for number, (question, limit) in enumerate(zip(questions, limits, strict=True)):
            for clip in range(context.size):
                body = self._body(context.state[clip], question) | {
                    "max_tokens": limit,
                    "stop_token_ids": list(self.stop_tokens),
                    "repetition_penalty": self.family.repetition_penalty(),
                }
                if sampling is not None:
                    seed = sampling.seeds[number][clip] % SEEDS
                    body |= {"temperature": sampling.temperature, "seed": seed}
                bodies.append(body)
                expected.append(self._expected(context.state[clip], question))
        answers = self.server.ask_all(bodies)
        for i, (answer, tokens) in enumerate(zip(answers, expected, strict=True)):
            self._check_tokens(answer, tokens, questions[i // context.size].added)
        counts = [0] * len(questions) if keep is None else [len(tokens) for tokens in keep]
        made = [self._generation(answer, counts[i // context.size]) for i, answer in enumerate(answers)]
        return [made[i : i + context.size] for i in range(0, len(made), context.size)]

    def _generation(self, answer: Mapping[str, Any], kept: int) -> Generation:
        try:
            choice = answer["choices"][0]
            tokens, ended = tuple(map(int, choice["token_ids"])), choice["finish_reason"] == "stop"
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise self._too_old("the tokens of an answer (return_token_ids)") from error
        ends = bool(tokens) and ended and tokens[-1] in self.stop_tokens
        own = tokens[:-1] if ends else tokens
        unknown = torch.full((len(own) + ended, kept), torch.nan)
        return Generation(own, self.decode(own), ended, unknown, unknown.new_full((len(own) + ended,), torch.nan))

    # What a server does not do

    def logits(self, context: AudioContext, questions: Sequence[Question]) -> Tensor:
        """Refused."""
        self._refuse("its logits")

    def hidden_states(self, context: AudioContext, question: Question) -> dict[int, Tensor]:
        """Refused."""
        self._refuse("its states")

    def hear(self, waveforms: Sequence[Tensor], layers: Sequence[int] = (), *, prepared: Prepared = ()) -> Heard:
        """Refused."""
        self._refuse("its states")

    def answer(self, sounds: Sequence[Tensor], question: Question) -> tuple[Tensor, Tensor]:
        """Refused."""
        self._refuse("its states")

    def reference(self, waveform: Tensor, question: Question, continuation: Sequence[int] = ()) -> Tensor:
        """Refused."""
        self._refuse("a forward pass of its own")

    def around(self, model: Network) -> ServedModel:
        """Refused."""
        self._refuse("its weights")

    @property
    def num_encoder_layers(self) -> int:
        """None that can be seen."""
        return 0

    def _refuse(self, what: str) -> NoReturn:
        raise InputError(
            f"{self.name} is with a server, which does not give {what}",
            field="model",
            remedy="Load the model itself, such as model=qwen2_audio; a served one answers "
            "readout=[label_likelihood,generated_text,sampled_text,constrained_text].",
        )


def _prompt_of(question: Question) -> PromptText:
    if question.prompt is None:
        raise ValueError("a part of a question has no chat of its own")
    return question.prompt


def _added(question: Question) -> tuple[int, ...]:
    return question.prefix[len(question.prefix) - question.added :]


def _nodes(question: Question) -> dict[tuple[int, ...], tuple[int, ...]]:
    """The trie of a question's continuations: tokens so far -> tokens that may follow."""
    children: dict[tuple[int, ...], dict[int, None]] = {}
    for form in question.continuations:
        for i, token in enumerate(form):
            children.setdefault(tuple(form[:i]), {})[token] = None
    return {node: tuple(tokens) for node, tokens in children.items()}
