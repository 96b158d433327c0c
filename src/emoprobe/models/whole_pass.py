"""Audio LLMs whose decoder takes no token tree: every question and continuation is a whole pass of the class's own.

Nothing is shared and nothing is folded: what is asked is the inputs that the model's own processor makes of the sound,
with the tokens of the question around it. So it is right for recurrent layers, inputs per layer, windows and masks of
a class's own, and it is slow.
"""

from __future__ import annotations

import emoprobe.models.torchaudio  # isort: skip  # noqa: F401  # before transformers

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, NoReturn

import torch
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList

from emoprobe.errors import InputError
from emoprobe.models.answering import AudioContext, Generation, Question, Sampling
from emoprobe.models.attention import NoTokenTreeError
from emoprobe.models.audio_llm import AudioLLM, tolerance
from emoprobe.models.base import Clip, Heard, Network, Prepared, ready
from emoprobe.models.chat_model import ChatModel, with_tokens
from emoprobe.models.families.chat import ChatFamily
from emoprobe.models.families.turns import ANY, move
from emoprobe.models.generation import draw, limits_of
from emoprobe.models.positions import (
    Positions,
    check_alike,
    input_replaced,
    inputs_kept,
    seconds_covered,
    through_lens,
)
from emoprobe.models.progress import Step, tell
from emoprobe.models.sound import clip_of, encoder_states, shortest_sound


@dataclass(frozen=True)
class WholeClip:
    """What the class is given of a clip.

    Args:
        tokens: Token ids of the sound, marks within it included; empty where nothing is heard.
        inputs: The processor's inputs of a chat with the sound in it.
    """

    tokens: tuple[int, ...]
    inputs: Mapping[str, Tensor]


class WholePassLLM(ChatModel):
    """A native audio chat model that is asked in whole passes.

    Args:
        model: The loaded model.
        family: How its family renders a chat and hears sound.
        name: Hub name or path, for the record.
        revision: Exact version of the weights.
        reason: Why its decoder takes no token tree.
    """

    family: ChatFamily
    keeps_sound: ClassVar[bool] = False  # they are waveforms, which half precision would change

    def __init__(self, model: Network, family: ChatFamily, *, name: str, revision: str, reason: str) -> None:
        super().__init__(model, family, name=name, revision=revision)
        self.reason = reason

    def around(self, model: Network) -> WholePassLLM:
        """The same SFM around another copy of its model."""
        family = type(self.family)(model, self.family.processor)
        return WholePassLLM(model, family, name=self.name, revision=self.revision, reason=self.reason)

    @cached_property
    def min_samples(self) -> int:
        """Shortest clip that the processor makes a token of and the class takes."""
        return shortest_sound(self.model, self.family)

    @property
    def num_encoder_layers(self) -> int:
        """Layers of the audio encoder."""
        return len(self.family.encoder_layers)

    # Sound

    def prepare_clip(self, waveform: Tensor) -> Clip:
        """Inputs of the model's class, as its own processor makes them."""
        return clip_of(self.family, waveform)

    def hear(self, waveforms: Sequence[Tensor], layers: Sequence[int] = (), *, prepared: Prepared = ()) -> Heard:
        """Encoder states; what the decoder is given is made anew in every pass, so its sounds are the waveforms."""
        self.check_lengths(waveforms)
        self.check_layers(layers)
        clips = ready(self, waveforms, prepared)
        states: list[dict[int, Tensor]] = [{} for _ in clips]
        if layers:
            states = [encoder_states(self.model, self.family, clip, layers, self.name) for clip in clips]
        return Heard(states, list(waveforms), [self._whole(clip).tokens for clip in clips])

    def _clip(self, waveform: Tensor) -> WholeClip:
        return self._whole(self.prepare_clip(waveform))

    def _whole(self, clip: Clip) -> WholeClip:
        ids = clip.inputs["input_ids"][0].tolist()
        return WholeClip(self.family.frame(ANY).sound(ids, self.family.audio_token_id), clip.inputs)

    def encode(self, waveforms: Sequence[Tensor], *, prepared: Prepared = ()) -> AudioContext:
        """The processor's inputs of every clip."""
        self.check_lengths(waveforms)
        return AudioContext(len(waveforms), [self._whole(clip) for clip in ready(self, waveforms, prepared)])

    def encode_without_audio(self) -> AudioContext:
        """No sound at all: the place of the sound in the prompt is left empty."""
        return AudioContext(1, [WholeClip((), {"input_ids": torch.zeros(1, 0, dtype=torch.long)})])

    def select(self, context: AudioContext, clip: int) -> AudioContext:
        """The context of one clip of a batch."""
        return AudioContext(1, [context.state[clip]])

    def asked(self, context: AudioContext, clip: int, question: Question) -> list[int]:
        """Token ids that a clip is asked with."""
        return self._ids(context.state[clip], question.prefix)

    def _ids(self, clip: WholeClip, prefix: Sequence[int]) -> list[int]:
        place = prefix.index(self.family.audio_token_id)
        return [*prefix[:place], *clip.tokens, *prefix[place + 1 :]]

    # Passes

    def _inputs(self, clip: WholeClip, prefix: Sequence[int], written: Sequence[int] = ()) -> dict[str, Tensor]:
        return with_tokens(clip.inputs, [*self._ids(clip, prefix), *written])

    def _logits(self, clip: WholeClip, prefix: Sequence[int], continuation: Sequence[int]) -> Tensor:
        """Logits from the answer position on, one row for each token of the continuation, ``[tokens, vocabulary]``."""
        out = self._plain_pass(self._inputs(clip, prefix, continuation[:-1]))
        return self.family.class_logits(out.logits[0, -len(continuation) :].float())

    @torch.no_grad()
    def score_logits(self, context: AudioContext, questions: Sequence[Question]) -> list[list[Tensor]]:
        """Raw logits of every continuation token, a pass for each continuation and clip."""
        return [
            [
                torch.stack([self._form(clip, question.prefix, form) for clip in context.state])
                for form in question.continuations
            ]
            for question in questions
        ]

    def _form(self, clip: WholeClip, prefix: Sequence[int], form: Sequence[int]) -> Tensor:
        logits = self._logits(clip, prefix, form)
        return torch.stack([picked(logits, form), logits.logsumexp(-1)]).cpu()

    @torch.no_grad()
    def score_layers(self, context: AudioContext, questions: Sequence[Question]) -> list[list[Tensor]]:
        """As `score`, at every decoder layer through the final norm and the vocabulary matrix.

        Raises:
            InputError: The class keeps its layers' states in another form than these two read.
        """
        return [
            [
                torch.stack([self._layers(clip, question.prefix, form) for clip in context.state])
                for form in question.continuations
            ]
            for question in questions
        ]

    def _layers(self, clip: WholeClip, prefix: Sequence[int], form: Sequence[int]) -> Tensor:
        """Log-probabilities of a continuation's tokens at every layer, ``[layers + 1, tokens]``."""
        out = self._plain_pass(self._inputs(clip, prefix, form[:-1]), output_hidden_states=True)
        hidden = out.hidden_states
        if not self._are_plain(hidden):
            self._refuse_layers()
        states = [self.family.norm(layer[0, -len(form) :]) for layer in hidden[:-1]]
        rows = [self.family.head.logits(layer) for layer in (*states, hidden[-1][0, -len(form) :])]
        own = self.family.class_logits(out.logits[0, -len(form) :].float())
        values = [picked(row, form) - row.logsumexp(-1) for row in rows]
        score = picked(own, form) - own.logsumexp(-1)
        if not torch.allclose(values[-1], score, atol=tolerance(self.dtype), rtol=0):
            self._refuse_layers()
        return torch.stack([*values[:-1], score]).cpu()

    @torch.no_grad()
    def score_positions(
        self, context: AudioContext, clip: int, question: Question, written: Sequence[int], wanted: Sequence[int]
    ) -> Positions:
        """One pass of the class over prompt, sound and answer.

        Raises:
            InputError: The class keeps its layers' states in another form than these are read from.
        """
        out = self._plain_pass(self._inputs(context.state[clip], question.prefix, written), output_hidden_states=True)
        if not self._are_plain(out.hidden_states):
            self._refuse_layers()
        states = [self.family.norm(layer[0]) for layer in out.hidden_states[:-1]] + [out.hidden_states[-1][0]]
        log_probs = through_lens(self.family.head, states, wanted)
        own = self.family.class_logits(out.logits[0].float()).log_softmax(-1)[:, list(wanted)].cpu()
        if not torch.allclose(log_probs[-1], own, atol=tolerance(self.dtype), rtol=0):
            self._refuse_layers()
        tokens = (*self._ids(context.state[clip], question.prefix), *written)
        is_sound = tuple(token == self.family.audio_token_id for token in tokens)
        covers = seconds_covered(self.family, sum(is_sound))
        return Positions(tokens, is_sound, torch.cat([log_probs[:-1], own[None]]), covers)

    @torch.no_grad()
    def score_patched(
        self, receiver: AudioContext, donor: AudioContext, question: Question, layers: Sequence[int]
    ) -> Tensor:
        """A pass for each layer and continuation; what the class tells its layers beside states is the receiver's."""
        (own,), (other,) = receiver.state, donor.state
        check_alike(self.name, len(own.tokens), len(other.tokens))
        start = question.prefix.index(self.family.audio_token_id)
        span = slice(start, start + len(own.tokens))
        inner = {layer: self.family.decoder.layers[layer] for layer in layers if 0 < layer < self.num_decoder_layers}
        with inputs_kept(inner, span) as kept:
            self._plain_pass(self._inputs(other, question.prefix))
        rows = []
        for layer in layers:
            change = input_replaced(inner[layer], span, kept[layer]) if layer in inner else nullcontext()
            with change:
                clip = own if layer else other
                forms = [self._form(clip, question.prefix, form) for form in question.continuations]
            rows.append(torch.stack([(logits - normalizers).sum() for logits, normalizers in forms]))
        return torch.stack(rows)

    def _are_plain(self, hidden: Sequence[Tensor] | None) -> bool:
        """Whether there is one state of every layer and position."""
        return hidden is not None and len(hidden) == self.num_decoder_layers + 1 and all(x.ndim == 3 for x in hidden)

    def _refuse_layers(self) -> NoReturn:
        raise InputError(
            f"{self.name} keeps the states of its decoder's layers in a form of its own, so they cannot be read",
            field="readout",
            remedy="Use another readout than layerwise.",
        )

    @torch.no_grad()
    def logits(self, context: AudioContext, questions: Sequence[Question]) -> Tensor:
        """Raw next-token logits at the answer position, ``[clips, questions, vocabulary]`` float32."""
        rows = [[self._logits(clip, question.prefix, (0,))[0] for question in questions] for clip in context.state]
        return torch.stack([torch.stack(row) for row in rows]).cpu()

    @torch.no_grad()
    def hidden_states(self, context: AudioContext, question: Question) -> dict[int, Tensor]:
        """Decoder states at the answer position; of a class that keeps them in a form of its own, the last layer's."""
        rows = []
        for clip in context.state:
            with self._last_states() as kept:
                out = self._plain_pass(self._inputs(clip, question.prefix), output_hidden_states=True)
            hidden = out.hidden_states if self._are_plain(out.hidden_states) else ()
            rows.append(
                {self.num_decoder_layers: kept[0][0, -1]} | {i: states[0, -1] for i, states in enumerate(hidden)}
            )
        return {layer: torch.stack([row[layer] for row in rows]).float().cpu() for layer in sorted(rows[0])}

    # Training

    def answer(self, sounds: Sequence[Tensor], question: Question) -> tuple[Tensor, Tensor]:
        """A pass for each clip and continuation, encoder included, with gradients."""
        likelihoods, states = [], []
        for clip in map(self._clip, sounds):
            forms = question.continuations or ((0,),)
            values = []
            for form in forms:
                with self._last_states() as kept:
                    logits = self._logits(clip, question.prefix, form)
                values.append((picked(logits, form) - logits.logsumexp(-1)).sum())
            likelihoods.append(torch.stack(values)[: len(question.continuations)])
            states.append(kept[0][0, -len(forms[-1])])
        return torch.stack(likelihoods), torch.stack(states)

    def teacher_forced(self, sounds: Sequence[Tensor], question: Question, answers: Sequence[Sequence[int]]) -> Tensor:
        """A pass for each clip and its own answer, with gradients."""
        means = []
        for clip, answer in zip(map(self._clip, sounds), answers, strict=True):
            logits = self._logits(clip, question.prefix, answer)
            means.append((picked(logits, answer) - logits.logsumexp(-1)).mean())
        return torch.stack(means)

    @contextmanager
    def _last_states(self) -> Iterator[list[Tensor]]:
        """The decoder's normalised states of the next pass, ``[1, positions, width]``."""
        kept: list[Tensor] = []
        handle = self.family.decoder.register_forward_hook(lambda m, a, out: kept.append(out[0]))
        try:
            yield kept
        finally:
            handle.remove()

    # Generation

    def generate(
        self,
        context: AudioContext,
        questions: Sequence[Question],
        *,
        max_new_tokens: int | Sequence[int],
        keep: Sequence[Sequence[int]] | None = None,
        sampling: Sampling | None = None,
    ) -> list[list[Generation]]:
        """Answers by transformers' own ``generate``, with raw logits of chosen tokens."""
        keep = keep if keep is not None else [()] * len(questions)
        limits = limits_of(max_new_tokens, len(questions))
        generators: Sequence[Sequence[torch.Generator | None]]
        generators = sampling.generators() if sampling is not None else [[None] * context.size for _ in questions]
        temperature = sampling.temperature if sampling is not None else 1.0
        tell(Step(asked=len(questions) * context.size))
        return [
            [
                self._generation(clip, question.prefix, limit, ids, generator, temperature)
                for clip, generator in zip(context.state, row, strict=True)
            ]
            for question, limit, ids, row in zip(questions, limits, keep, generators, strict=True)
        ]

    @torch.no_grad()
    def _generation(
        self,
        clip: WholeClip,
        prefix: Sequence[int],
        max_new_tokens: int,
        keep: Sequence[int],
        generator: torch.Generator | None,
        temperature: float,
    ) -> Generation:
        """An answer, whose logits are those of one whole pass over it.

        transformers decodes with a cache. Where that departs from the whole pass, as recurrent layers before experts
        may, the answer is written again without one.
        """
        begun = None if generator is None else generator.get_state()
        for cached in (True, False):
            if generator is not None and begun is not None:
                generator.set_state(begun)
            inputs = self._inputs(clip, prefix)
            written, kept, said = self._write(inputs, max_new_tokens, cached, keep, generator, temperature)
            if self.family.audio_token_id in written:  # no whole pass takes a sound's token without a sound
                break
            logits = self._logits(clip, prefix, written)
            apart = (logits.logsumexp(-1).cpu() - said).abs().max()
            kept, said = logits[:, list(keep)].cpu(), logits.logsumexp(-1).cpu()
            if apart <= tolerance(self.dtype):
                break
        tell(Step(ended=1, settled=max_new_tokens - len(written)))
        finished = written[-1] in self.stop_tokens
        tokens = tuple(written[: len(written) - finished])
        return Generation(tokens, self.decode(tokens), finished, kept, said)

    def _write(
        self,
        inputs: Mapping[str, Tensor],
        max_new_tokens: int,
        cached: bool,
        keep: Sequence[int],
        generator: torch.Generator | None,
        temperature: float,
    ) -> tuple[list[int], Tensor, Tensor]:
        """Written tokens, and of the logits they were chosen from those to keep and the log-sum-exp of all."""
        kept: list[Tensor] = []
        said: list[Tensor] = []
        wanted = torch.tensor([*keep], dtype=torch.long, device=self.model.device)

        def note(module: Network, args: tuple, out: Any) -> None:
            logits = self.family.class_logits(out.logits[0, -1].float())
            kept.append(logits[wanted.to(logits.device)])
            said.append(logits.logsumexp(-1))
            tell(Step(tokens=1, settled=int(cached)))

        handle = self.model.register_forward_hook(note)
        try:
            row = self.model.generate(
                **move(inputs, self.model.device, self.model.dtype),
                **self.family.further,
                max_new_tokens=max_new_tokens,
                do_sample=False,
                num_beams=1,
                temperature=None,
                top_p=None,
                top_k=None,
                use_cache=cached,
                eos_token_id=list(self.stop_tokens),
                pad_token_id=self.stop_tokens[0],
                logits_processor=LogitsProcessorList([] if generator is None else [_Drawn(temperature, generator)]),
            )[0]
        finally:
            handle.remove()
        written = row[inputs["input_ids"].shape[1] :].tolist()
        return written, torch.stack(kept[: len(written)]).cpu(), torch.stack(said[: len(written)]).cpu()


class _Drawn(LogitsProcessor):
    """Leaves the one token that a generator draws."""

    def __init__(self, temperature: float, generator: torch.Generator) -> None:
        self.temperature, self.generator = temperature, generator

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        uniform = torch.rand(1, generator=self.generator).double().to(scores.device)
        token = draw(scores, self.temperature, uniform)
        return torch.full_like(scores, -torch.inf).scatter(-1, token[:, None], 0.0)


def read_audio_llm(model: Network, family: ChatFamily, *, name: str, revision: str) -> AudioLLM | WholePassLLM:
    """An audio LLM that is asked as a token tree where its decoder can be, and in whole passes where it cannot."""
    try:
        tree = AudioLLM(model, family, name=name, revision=revision)
        tree.check_placeholder(ANY)
        tree.check_tree()
    except NoTokenTreeError as error:
        print(f"note: {name} is asked every question in a pass of its own: {error.reason}", file=sys.stderr)
        whole = WholePassLLM(model, family, name=name, revision=revision, reason=error.reason)
        whole.check_placeholder(ANY)
        return whole
    return tree


def picked(logits: Tensor, tokens: Sequence[int]) -> Tensor:
    """Of each row its own token's logit, ``[tokens]``."""
    return logits.gather(-1, torch.tensor([*tokens], device=logits.device)[:, None])[:, 0]
