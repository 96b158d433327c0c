"""Questions asked of a decoder behind a prefix whose keys and values are computed once per clip.

Positions and masks are explicit, so that neither padding nor the batch can change a result.
"""

from __future__ import annotations

import emoprobe.models.torchaudio  # isort: skip  # noqa: F401  # before transformers

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from emoprobe.errors import InputError
from emoprobe.models.answering import AudioContext, Question
from emoprobe.models.attention import check_cache, check_window
from emoprobe.models.base import Network
from emoprobe.models.chat_model import ChatModel
from emoprobe.models.prefix import Prefix, own_places
from emoprobe.models.span import common_start
from emoprobe.models.tree import Fold, fold

MAX_PREFIXES = 4  # prefilled prefixes kept per batch of clips


@dataclass
class SoundState:
    """What a chat model keeps of a batch of clips.

    Args:
        embeddings: Per clip the decoder's input embeddings of the sound, ``[positions, width]``.
        tokens: Per clip the token ids at these positions.
        padding: Side on which prefixes of unequal length are padded.
        prefixes: Prefilled prefixes by their tokens; a memo, filled on first use.
    """

    embeddings: list[Tensor]
    tokens: list[tuple[int, ...]]
    padding: str = "right"
    prefixes: dict[tuple[int, ...], Prefix] = field(default_factory=dict)


@dataclass(frozen=True)
class QuestionGroup:
    """Questions that are asked behind one prefix in one pass.

    Args:
        prefix: What they share.
        members: Their numbers.
    """

    prefix: Prefix
    members: list[int]

    def questions(self, questions: Sequence[Question]) -> tuple[Question, ...]:
        """What is left of the members behind the prefix, out of all questions."""
        cut = len(self.prefix.tokens)
        return tuple(Question(questions[i].prefix[cut:], questions[i].continuations) for i in self.members)


class PrefilledLLM(ChatModel):
    """The decoder's side of a chat model.

    Attributes:
        window: Tokens that the narrowest of its layers looks back; None where all are seen.
    """

    window: int | None

    @property
    def _embedding(self) -> Network:
        return self.model.get_input_embeddings()

    def _embed(self, tokens: Tensor) -> Tensor:
        return self._embedding(tokens.to(self._embedding.weight.device, non_blocking=True))

    def _fold(self, questions: Sequence[Question]) -> Fold:
        return fold(tuple(questions), self._embedding.weight.device)

    def _assemble(
        self, tokens: Sequence[int], sounds: Sequence[Tensor], padding: str = "right"
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Embedded tokens with each clip's sound in its place.

        Returns:
            ``[clips, positions, width]``, padded with zeros; the clips' own lengths and first positions ``[clips]``.
        """
        place = tokens.index(self.family.audio_token_id)
        embedded = self._embed(torch.tensor([*tokens[:place], *tokens[place + 1 :]], dtype=torch.long))
        rows = [torch.cat([embedded[:place], sound.to(embedded), embedded[place:]]) for sound in sounds]
        lengths = torch.tensor([len(row) for row in rows])
        padded = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_side=padding)
        starts = padded.shape[1] - lengths if padding == "left" else torch.zeros_like(lengths)
        return padded, lengths, starts

    def _prefill(self, context: AudioContext, tokens: tuple[int, ...]) -> Prefix:
        """Keys and values of a prefix with each clip's sound in its place; computed once per context and prefix."""
        state: SoundState = context.state
        if tokens not in state.prefixes:
            padded, lengths, starts = self._assemble(tokens, state.embeddings, state.padding)
            own = own_places(lengths, starts, padded.shape[1], padded.device)
            cache = DynamicCache()
            self.family.decoder(
                inputs_embeds=padded,
                attention_mask=own.long(),
                position_ids=(own.cumsum(1) - 1).clamp_min(0),
                past_key_values=cache,
                use_cache=True,
            )
            layers = check_cache(cache, len(self.family.decoder.layers), padded.shape[1], self.name)
            if len(state.prefixes) >= MAX_PREFIXES:
                del state.prefixes[next(iter(state.prefixes))]
            state.prefixes[tokens] = Prefix(tokens, list(layers), lengths, starts)
        return state.prefixes[tokens]

    def _groups(self, context: AudioContext, questions: Sequence[Question], limit: int) -> Iterator[QuestionGroup]:
        """Questions that share everything up to the sound, in parts of at most ``limit`` nodes, with their prefix.

        The prefix is the longest that all questions of a group share; one that is already prefilled is used if it fits.
        Every question keeps at least its last token for the tree, whose state answers it.
        """
        by_head: dict[tuple[int, ...], list[int]] = {}
        for i, question in enumerate(questions):
            place = question.prefix.index(self.family.audio_token_id) + 1
            if place == len(question.prefix):
                raise InputError(
                    "the prompt ends with the sound", field="prompt", remedy="Use a chat template's header."
                )
            by_head.setdefault(question.prefix[:place], []).append(i)
        for members in by_head.values():
            prefixes = [questions[i].prefix for i in members]
            common = common_start(prefixes)[: min(map(len, prefixes)) - 1]
            known = [
                tokens
                for tokens in context.state.prefixes
                if all(len(tokens) < len(prefix) and prefix[: len(tokens)] == tokens for prefix in prefixes)
            ]
            prefix = self._prefill(context, max(known, key=len, default=common))
            parts: list[list[int]] = [[]]
            size = 0
            for i in members:
                cut = len(prefix.tokens)
                nodes = len(questions[i].prefix) - cut + sum(len(tokens) - 1 for tokens in questions[i].continuations)
                if parts[-1] and size + nodes > limit:
                    parts.append([])
                    size = 0
                parts[-1].append(i)
                size += nodes
            yield from (QuestionGroup(prefix, part) for part in parts)

    def _pass(
        self, prefix: Prefix, cache: DynamicCache, tokens: Tensor, depths: Tensor, visible: Tensor, **options: Any
    ) -> Any:
        """States of new nodes behind a prefix.

        Args:
            prefix: The prefilled prefix.
            cache: Made by ``prefix.cache`` or ``prefix.growing``.
            tokens: ``[clips, new]``.
            depths: Position of each new node behind the prefix, ``[new]`` or ``[clips, new]``.
            visible: Which of them each one attends to, ``[new, new]`` bool or ``[clips, 1, new, new]``.
            options: For the decoder.
        """
        if self.window is not None:  # or a device would be waited for
            check_window(self.window, int(prefix.lengths.max()) + int(depths.max()) + 1, self.name)
        embedded = self._embed(tokens)
        device = embedded.device
        return self.family.decoder(
            inputs_embeds=embedded,
            attention_mask=_mask(prefix.visible.to(device), visible.to(device, non_blocking=True), embedded),
            position_ids=prefix.ends.to(device) + depths.to(device, non_blocking=True),
            past_key_values=cache,
            use_cache=True,
            **options,
        )

    def _ask(self, context: AudioContext, group: QuestionGroup, asked: Fold, **options: Any) -> Any:
        """States of all nodes of a tree."""
        tokens = asked.tokens.expand(context.size, -1)
        return self._pass(group.prefix, group.prefix.cache(), tokens, asked.depths, asked.visible, **options)


def _mask(before: Tensor, visible: Tensor, embedded: Tensor) -> Tensor:
    """What is added to attention: nothing where a node looks, and else the least number, ``[clips, 1, new, all]``.

    Args:
        before: Which positions of the prefix are a clip's own, ``[clips, positions]`` bool.
        visible: Which own nodes each new one looks at, ``[new, nodes]`` bool, or ``[clips, 1, new, nodes]``.
        embedded: The new nodes' embeddings, ``[clips, new, width]``.
    """
    clips, new, _ = embedded.shape
    ahead = before.shape[1]
    shape = (clips, 1, new, ahead + visible.shape[-1])
    mask = embedded.new_full(shape, torch.finfo(embedded.dtype).min)
    mask[..., :ahead].masked_fill_(before[:, None, None], 0)
    mask[..., ahead:].masked_fill_(visible, 0)
    return mask
