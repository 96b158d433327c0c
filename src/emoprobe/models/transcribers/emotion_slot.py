"""A decoder prompt with a place for what the speaker feels, and one for earlier text: NeMo's second Canary prompt.

It reads ``<|startofcontext|>`` earlier text ``<|startoftranscript|><|emo:undefined|>``, then languages and the rest.
A checkpoint has tokens such as ``<|emo:happy|>`` for that place, where a model may predict one when it is given the
prompt up to there (NeMo, ``collections/common/prompts/canary2.py``). Whether it was taught to, its files do not say.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor

from emoprobe.models.answering import Question
from emoprobe.models.encoder_decoder import EncoderDecoder

SLOT = re.compile(r"<\|emo:(.+)\|>")
UNSAID = "undefined"
CONTEXT, TRANSCRIPT = "<|startofcontext|>", "<|startoftranscript|>"


class EmotionSlot(EncoderDecoder):
    """An encoder-decoder whose decoder prompt may have a place for an emotion."""

    takes_context = True

    @cached_property
    def _emotions(self) -> dict[str, int]:
        """Token ids of the emotions that the vocabulary names, in the order of their ids; none without a place."""
        named = {match[1]: i for text, i in self.tokenizer.get_vocab().items() if (match := SLOT.fullmatch(text))}
        if not set(named.values()) & set(self.start_tokens):
            return {}
        return dict(sorted(named.items(), key=lambda pair: pair[1]))

    def find_classes(self) -> tuple[str, ...]:
        """The emotions that can be said: without ``undefined``, which says that none is."""
        return tuple(name for name in self._emotions if name != UNSAID)

    @torch.no_grad()
    def classify(self, waveforms: Sequence[Tensor]) -> Tensor:
        """Log-probability of each emotion where the prompt has its place, given that one of `classes` is said."""
        if not self.classes:
            return super().classify(waveforms)
        place = next(i for i, token in enumerate(self.start_tokens) if token in self._emotions.values())
        logits = self.logits(self.encode(waveforms), [Question(self.start_tokens[:place])])[:, 0]
        return logits[:, [self._emotions[name] for name in self.classes]].log_softmax(-1)

    def with_context(self, tokens: tuple[int, ...]) -> tuple[int, ...]:
        """Earlier text where the prompt has its place."""
        begin, end = self.tokenizer.convert_tokens_to_ids([CONTEXT, TRANSCRIPT])
        for i, pair in enumerate(zip(self.start_tokens, self.start_tokens[1:], strict=False)):
            if pair == (begin, end):
                return (*self.start_tokens[: i + 1], *tokens, *self.start_tokens[i + 1 :])
        return super().with_context(tokens)
