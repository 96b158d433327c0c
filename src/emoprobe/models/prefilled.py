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
from emoprobe.models.prefix import Prefix
from emoprobe.models.span import common_start
from emoprobe.models.tree import TokenTree

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

    def questions(self, questions: Sequence[Question]) -> list[Question]:
        """What is left of the members behind the prefix, out of all questions."""
        cut = len(self.prefix.tokens)
        return [Question(questions[i].prefix[cut:], questions[i].continuations) for i in self.members]


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
        return self._embedding(tokens.to(self._embedding.weight.device))

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
            places = torch.arange(padded.shape[1])
            mask = (places >= starts[:, None]) & (places < (starts + lengths)[:, None])
            cache = DynamicCache()
            self.family.decoder(
                inputs_embeds=padded,
                attention_mask=mask.long().to(padded.device),
                position_ids=(places - starts[:, None]).clamp_min(0).to(padded.device),
                past_key_values=cache,
                use_cache=True,
            )
            layers = check_cache(cache, len(self.family.decoder.layers), padded.shape[1], self.name)
            if len(state.prefixes) >= MAX_PREFIXES:
                del state.prefixes[next(iter(state.prefixes))]
            state.prefixes[tokens] = Prefix(tokens, layers, lengths, starts)
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
            cache: Made by ``prefix.cache``.
            tokens: ``[clips, new]``.
            depths: Position of each new node behind the prefix, ``[new]``.
            visible: Which own nodes each new one attends to, ``[new, earlier + new]`` bool.
            options: For the decoder.
        """
        check_window(self.window, int(prefix.lengths.max() + depths.max()) + 1, self.name)
        clips, new = tokens.shape
        seen = torch.cat([prefix.visible[:, None].expand(-1, new, -1), visible[None].expand(clips, -1, -1)], dim=-1)
        embedded = self._embed(tokens)
        mask = torch.zeros(seen.shape, dtype=embedded.dtype).masked_fill_(~seen, torch.finfo(embedded.dtype).min)
        return self.family.decoder(
            inputs_embeds=embedded,
            attention_mask=mask[:, None].to(embedded.device),
            position_ids=(prefix.lengths[:, None] + depths).to(embedded.device),
            past_key_values=cache,
            use_cache=True,
            **options,
        )

    def _ask(
        self, context: AudioContext, group: QuestionGroup, tree: TokenTree, *, grow: bool = False, **options: Any
    ) -> tuple[DynamicCache, Any]:
        tokens = torch.tensor(tree.tokens).expand(context.size, -1)
        cache = group.prefix.cache(grow=grow)
        out = self._pass(group.prefix, cache, tokens, torch.tensor(tree.depths), tree.ancestors(), **options)
        return cache, out
