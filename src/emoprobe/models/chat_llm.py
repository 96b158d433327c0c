"""Decoder-only chat models: a clip is embedded once, the shared prefix is prefilled once, questions form one tree.

What stands in the place of a clip is the embeddings that a subclass makes of it. All questions that share a prefix up
to them are asked of that prefix's key/value cache (`emoprobe.models.prefilled`) as one token tree
(`emoprobe.models.tree`).
"""

from __future__ import annotations

import emoprobe.models.torchaudio  # isort: skip  # noqa: F401  # before transformers

import math
import sys
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import RepetitionPenaltyLogitsProcessor

from emoprobe.models.answering import AudioContext, Generation, Question, Sampling
from emoprobe.models.attention import attention_window, check_window
from emoprobe.models.base import Heard, Network, Prepared
from emoprobe.models.branches import Branches
from emoprobe.models.families.turns import Turns
from emoprobe.models.generation import Decoder, decode_answers, limits_of
from emoprobe.models.positions import Positions, check_alike, seconds_covered, through_lens
from emoprobe.models.prefilled import PrefilledLLM, SoundState
from emoprobe.models.prefix import Prefix, own_places
from emoprobe.models.sound import Sound
from emoprobe.models.tree import abreast, at

MAX_NODES = 512  # nodes of one decoder pass; more questions are asked in further passes, in the same memory
MAX_ANSWERS = 64  # questions answered at once by generation, for the same reason


class ChatLLM(PrefilledLLM):
    """A decoder-only chat model of transformers behind the SFM interface; a subclass says what becomes of a clip.

    Args:
        model: The loaded model.
        family: How its family renders a chat with a clip in it.
        name: Hub name or path, for the record.
        revision: Exact version of the weights.
    """

    pads = True

    def __init__(self, model: Network, family: Turns, *, name: str, revision: str) -> None:
        super().__init__(model, family, name=name, revision=revision)
        self.window = attention_window(family.decoder, name)

    # Sound

    @abstractmethod
    def _hear(self, waveforms: Sequence[Tensor], layers: Sequence[int] = (), prepared: Prepared = ()) -> list[Sound]:
        """What stands in the place of each clip, with the encoder states of chosen layers."""

    def hear(self, waveforms: Sequence[Tensor], layers: Sequence[int] = (), *, prepared: Prepared = ()) -> Heard:
        """The decoder's input embeddings of every clip."""
        self.check_lengths(waveforms)
        self.check_layers(layers)
        sounds = self._hear(waveforms, layers, prepared)
        return Heard(
            [sound.states for sound in sounds],
            [sound.embeddings for sound in sounds],
            [sound.tokens for sound in sounds],
        )

    @torch.no_grad()
    def encode(self, waveforms: Sequence[Tensor], padding: str = "right", *, prepared: Prepared = ()) -> AudioContext:
        """The decoder's input embeddings of every clip.

        Args:
            waveforms: float32 mono waveforms at ``sampling_rate``.
            padding: Side of the padding of unequal prefixes, ``right`` or ``left``; results do not depend on it.
            prepared: As of `hear`.
        """
        heard = self.hear(waveforms, prepared=prepared)
        return AudioContext(len(waveforms), SoundState(heard.sounds, heard.tokens, padding))

    @torch.no_grad()
    def encode_without_audio(self) -> AudioContext:
        """No sound at all: the place of the sound in the prompt is left empty."""
        weight = self._embedding.weight
        empty = torch.zeros(0, weight.shape[1], dtype=weight.dtype, device=weight.device)
        return AudioContext(1, SoundState([empty], [()]))

    def asked(self, context: AudioContext, clip: int, question: Question) -> list[int]:
        """Token ids that a clip is asked with, the sound's as far as there are embeddings of them."""
        state: SoundState = context.state
        place = question.prefix.index(self.family.audio_token_id)
        sound = state.tokens[clip][: len(state.embeddings[clip])]
        return [*question.prefix[:place], *sound, *question.prefix[place + 1 :]]

    def select(self, context: AudioContext, clip: int) -> AudioContext:
        """The context of one clip of a batch."""
        state: SoundState = context.state
        prefixes = {tokens: prefix.select(clip) for tokens, prefix in state.prefixes.items()}
        part = SoundState([state.embeddings[clip]], [state.tokens[clip]], state.padding, prefixes)
        return AudioContext(1, part)

    # Answers

    def answer(self, sounds: Sequence[Tensor], question: Question) -> tuple[Tensor, Tensor]:
        """One pass over sound, prefix and token tree, with gradients and without a cache."""
        cut = len(question.prefix) - 1  # the tree begins with the token whose state answers
        asked = self._fold([Question(question.prefix[cut:], question.continuations)])
        prefix, lengths, starts = self._assemble(question.prefix[:cut], sounds)
        check_window(self.window, int(lengths.max()) + max(asked.tree.depths) + 1, self.name)
        nodes = self._embed(asked.tokens).expand(len(sounds), -1, -1)
        embedded = torch.cat([prefix, nodes], dim=1)
        ahead, new, device = prefix.shape[1], nodes.shape[1], embedded.device
        places = torch.arange(ahead, device=device)
        seen = torch.zeros(len(sounds), ahead + new, ahead + new, dtype=torch.bool, device=device)
        seen[:, :ahead, :ahead] = places <= places[:, None]
        seen[:, ahead:, :ahead] = own_places(lengths, starts, ahead, device)[:, None]
        seen[:, ahead:, ahead:] = asked.visible
        mask = embedded.new_zeros(seen.shape).masked_fill_(~seen, torch.finfo(embedded.dtype).min)
        behind = lengths[:, None].to(device, non_blocking=True) + asked.depths
        out = self.family.decoder(
            inputs_embeds=embedded,
            attention_mask=mask[:, None],
            position_ids=torch.cat([places.expand(len(sounds), -1), behind], dim=1),
            use_cache=False,
        )
        states = out.last_hidden_state[:, ahead:]
        values = self.family.head.log_probabilities(at(states, asked.nodes), asked.wanted)
        return asked.scored.likelihoods(values), states[:, asked.tree.ends[0]]

    def teacher_forced(self, sounds: Sequence[Tensor], question: Question, answers: Sequence[Sequence[int]]) -> Tensor:
        """One causal pass over sound, prefix and each clip's own answer, padded behind, where nothing looks."""
        prefix, lengths, _ = self._assemble(question.prefix, sounds)
        rows = [
            torch.cat([prompt[:length], self._embed(torch.tensor(answer[:-1], dtype=torch.long))])
            for prompt, length, answer in zip(prefix, lengths.tolist(), answers, strict=True)
        ]
        embedded = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
        check_window(self.window, embedded.shape[1], self.name)
        states = self.family.decoder(
            inputs_embeds=embedded,
            position_ids=torch.arange(embedded.shape[1], device=embedded.device)[None],
            use_cache=False,
        ).last_hidden_state
        own = [
            row[n - 1 : n - 1 + len(answer)] for row, n, answer in zip(states, lengths.tolist(), answers, strict=True)
        ]
        logits = self.family.head.logits(torch.cat(own))
        wanted = torch.tensor([token for answer in answers for token in answer], device=logits.device)
        values = logits.gather(-1, wanted[:, None])[:, 0] - logits.logsumexp(-1)
        return torch.stack([part.mean() for part in values.split([len(answer) for answer in answers])])

    @torch.no_grad()
    def score_logits(self, context: AudioContext, questions: Sequence[Question]) -> list[list[Tensor]]:
        """Raw logits of every continuation token, questions that share their prefix in one pass."""
        return self._score(context, questions, layers=False)

    @torch.no_grad()
    def score_layers(self, context: AudioContext, questions: Sequence[Question]) -> list[list[Tensor]]:
        """As `score`, at every decoder layer through the final norm and the vocabulary matrix."""
        return self._score(context, questions, layers=True)

    def _score(self, context: AudioContext, questions: Sequence[Question], layers: bool) -> list[list[Tensor]]:
        results: list[list[Tensor]] = [[] for _ in questions]
        for group in self._groups(context, questions, MAX_NODES):
            asked = self._fold(group.questions(questions))
            out = self._ask(context, group, asked, output_hidden_states=layers)
            last = at(out.last_hidden_state, asked.nodes)
            if layers:
                states = [self.family.norm(at(layer, asked.nodes)) for layer in out.hidden_states[:-1]] + [last]
                values = torch.stack([self.family.head.log_probabilities(s, asked.wanted) for s in states], dim=1)
            else:
                values = self.family.head.token_logits(last, asked.wanted)
            for i, picked in zip(group.members, asked.scored.pick(values), strict=True):
                results[i] = picked
        return results

    @torch.no_grad()
    def score_positions(
        self, context: AudioContext, clip: int, question: Question, written: Sequence[int], wanted: Sequence[int]
    ) -> Positions:
        """One causal pass over sound, prompt and answer, nothing cached."""
        sound = context.state.embeddings[clip]
        embedded, _, _ = self._assemble((*question.prefix, *written), [sound])
        check_window(self.window, embedded.shape[1], self.name)
        out = self.family.decoder(
            inputs_embeds=embedded,
            position_ids=torch.arange(embedded.shape[1], device=embedded.device)[None],
            use_cache=False,
            output_hidden_states=True,
        )
        states = [self.family.norm(layer[0]) for layer in out.hidden_states[:-1]] + [out.last_hidden_state[0]]
        tokens = (*self.asked(context, clip, question), *written)
        is_sound = tuple(token == self.family.audio_token_id for token in tokens)
        covers = seconds_covered(self.family, sum(is_sound))
        return Positions(tokens, is_sound, through_lens(self.family.head, states, wanted), covers)

    @torch.no_grad()
    def score_patched(
        self, receiver: AudioContext, donor: AudioContext, question: Question, layers: Sequence[int]
    ) -> Tensor:
        """The keys and values of prompt and sound up to the sound's end, some layers' of one clip, some of the other.

        Nothing before the sound's end looks behind it, so that these are all that the states put in ever change.
        """
        head = question.prefix[: question.prefix.index(self.family.audio_token_id) + 1]
        own, other = self._prefill(receiver, head), self._prefill(donor, head)
        check_alike(self.name, int(own.lengths[0]), int(other.lengths[0]))
        state, rows = receiver.state, []
        for layer in layers:
            mixed = Prefix(head, own.layers[:layer] + other.layers[layer:], own.lengths, own.starts)
            context = AudioContext(1, SoundState(state.embeddings, state.tokens, state.padding, {head: mixed}))
            (forms,) = self.score(context, [question])
            rows.append(torch.stack([values[0].sum() for values in forms]))
        return torch.stack(rows)

    @torch.no_grad()
    def logits(self, context: AudioContext, questions: Sequence[Question]) -> Tensor:
        """Raw next-token logits at the answer position, ``[clips, questions, vocabulary]`` float32."""
        bare = [Question(question.prefix) for question in questions]
        rows: list[Tensor] = [torch.empty(0)] * len(bare)
        for group in self._groups(context, bare, MAX_NODES):
            asked = self._fold(group.questions(bare))
            out = self._ask(context, group, asked)
            values = self.family.head.logits(at(out.last_hidden_state, asked.ends)).cpu()
            for column, i in enumerate(group.members):
                rows[i] = values[:, column]
        return torch.stack(rows, dim=1)

    @torch.no_grad()
    def generate(
        self,
        context: AudioContext,
        questions: Sequence[Question],
        *,
        max_new_tokens: int | Sequence[int],
        keep: Sequence[Sequence[int]] | None = None,
        sampling: Sampling | None = None,
    ) -> list[list[Generation]]:
        """Answers as transformers' own ``generate`` gives them, with raw logits of chosen tokens."""
        each = [[question] * context.size for question in questions]
        return self.generate_each(context, each, max_new_tokens=max_new_tokens, keep=keep, sampling=sampling)

    @torch.no_grad()
    def generate_each(
        self,
        context: AudioContext,
        questions: Sequence[Sequence[Question]],
        *,
        max_new_tokens: int | Sequence[int],
        keep: Sequence[Sequence[int]] | None = None,
        sampling: Sampling | None = None,
    ) -> list[list[Generation]]:
        """All clips' own questions in the same passes."""
        clips, limits = context.size, limits_of(max_new_tokens, len(questions))
        bare = [Question(question.prefix) for row in questions for question in row]
        keep = keep if keep is not None else [()] * len(questions)
        answers: list[list[Generation]] = [[] for _ in questions]
        for group in self._groups(context, bare, sys.maxsize):
            rows = sorted({i // clips for i in group.members})
            if len(rows) * clips != len(group.members):
                raise ValueError("a question has another beginning for each clip")
            for part in self._parts(group.prefix, rows, limits):
                made = self._answer(
                    context,
                    group.prefix,
                    [[bare[i * clips + clip] for i in part] for clip in range(clips)],
                    limits=[limits[i] for i in part],
                    keep=[keep[i] for i in part],
                    sampling=None if sampling is None else sampling.of(part),
                )
                for i, answer in zip(part, made, strict=True):
                    answers[i] = answer
        return answers

    def _parts(self, prefix: Prefix, members: Sequence[int], limits: Sequence[int]) -> list[list[int]]:
        """Questions in parts of about one size, whose answers fit into the memory that is left on a GPU."""
        fit = prefix.positions_that_fit()
        most = math.ceil(len(members) / math.ceil(len(members) / MAX_ANSWERS))
        parts: list[list[int]] = [[]]
        size = 0
        for i in members:
            if parts[-1] and (len(parts[-1]) == most or size + limits[i] > fit):
                parts.append([])
                size = 0
            parts[-1].append(i)
            size += limits[i]
        return parts

    def _answer(
        self, context: AudioContext, prefix: Prefix, questions: Sequence[Sequence[Question]], **options: Any
    ) -> list[list[Generation]]:
        """Answers by question and clip, of each clip's questions."""
        cut = len(prefix.tokens)
        folds = [self._fold([Question(question.prefix[cut:]) for question in row]) for row in questions]
        asked = abreast(folds[:1] if all(one is folds[0] for one in folds) else folds, context.size)
        with prefix.growing() as cache:
            out = self._pass(prefix, cache, asked.tokens, asked.depths, asked.visible[:, None])
            states, seen = asked.at_ends(out.last_hidden_state), asked.seen
            ahead = prefix.visible[:, None].expand(-1, seen.shape[1], -1).to(seen.device)
            seen = torch.cat([ahead, seen], dim=-1)
            positions = prefix.ends.to(seen.device) + asked.depths.gather(1, asked.ends)

            def forward(tokens: Tensor, mask: Tensor, positions: Tensor) -> Tensor:
                if self.window is not None:
                    check_window(self.window, int(positions.max()) + 1, self.name)
                return self.family.decoder(
                    inputs_embeds=self._embed(tokens),
                    attention_mask=mask,
                    position_ids=positions,
                    past_key_values=cache,
                    use_cache=True,
                ).last_hidden_state

            placed = {"dtype": self._embedding.weight.dtype, "device": self._embedding.weight.device}
            branches = Branches(cache, seen, positions, forward, **placed)
            process = self._processing(context, questions, states.device)
            decoder = Decoder(self.family.head, branches, process, self.stop_tokens, self.decode)
            return decode_answers(decoder, states, **options)

    def _processing(
        self, context: AudioContext, questions: Sequence[Sequence[Question]], device: torch.device
    ) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
        """What the family's generation settings do to logits, see `emoprobe.models.generation.Decoder`."""
        penalty = self.family.repetition_penalty()
        if penalty == 1.0:
            return lambda logits, numbers, written: logits
        processor = RepetitionPenaltyLogitsProcessor(penalty)
        each = [sorted(set(self.asked(context, clip, one))) for clip, row in enumerate(questions) for one in row]
        longest = max(map(len, each))  # a token twice is as a token once
        prompts = torch.tensor([[*ids, *ids[:1] * (longest - len(ids))] for ids in each], device=device)
        return lambda logits, numbers, written: processor(torch.cat([prompts[numbers], written], dim=1), logits)

    @torch.no_grad()
    def hidden_states(self, context: AudioContext, question: Question) -> dict[int, Tensor]:
        """Decoder states at the answer position."""
        (group,) = self._groups(context, [Question(question.prefix)], MAX_NODES)
        asked = self._fold(group.questions([Question(question.prefix)]))
        out = self._ask(context, group, asked, output_hidden_states=True)
        return {layer: states[:, -1].float().cpu() for layer, states in enumerate(out.hidden_states)}
