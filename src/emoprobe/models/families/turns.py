"""How a chat is written for a decoder-only model, whatever a clip becomes in it: template, tokenizer, end."""

from __future__ import annotations

import emoprobe.models.torchaudio  # isort: skip  # noqa: F401  # before transformers

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from jinja2 import TemplateError
from torch import Tensor
from transformers import PreTrainedModel

from emoprobe.errors import InputError
from emoprobe.models.base import Network
from emoprobe.models.span import Frame
from emoprobe.models.text import PromptText
from emoprobe.models.vocabulary import VocabularyHead

ANY = PromptText(instruction="What do you hear?")  # the chat in which it is found out what a clip becomes
TOKEN_TYPES = ("token_type_ids", "mm_token_type_ids")  # which kind of input each token stands for; 0 is text
SHARED_END = 4  # tokens before an answer that must not depend on how a clip is written


class Turns(ABC):
    """How a chat with a clip in it is written.

    Args:
        model: The loaded model.
        processor: What renders a chat: a processor, or a tokenizer.
        tokenizer: Its tokenizer.

    Attributes:
        audio_token: How errors call the placeholder of a clip.
        audio_token_id: Its id among the tokens of a prompt.
        further: What the class's forward pass is told beside the inputs.
    """

    model: Network
    audio_token: str
    audio_token_id: int
    further: Mapping[str, Any] = MappingProxyType({})

    def __init__(self, model: PreTrainedModel, processor: Any, tokenizer: Any) -> None:
        self.model, self.processor, self.tokenizer = model, processor, tokenizer

    @property
    @abstractmethod
    def sampling_rate(self) -> int:
        """What waveforms must have, hertz."""

    @property
    @abstractmethod
    def max_seconds(self) -> float:
        """Longest clip that is taken whole, seconds."""

    @abstractmethod
    def messages(self, prompt: PromptText) -> list[dict]:
        """The conversation of a prompt, the clip without its content."""

    @abstractmethod
    def inputs(self, prompt: PromptText, waveform: Tensor) -> dict[str, Tensor]:
        """The model's inputs as transformers makes them of the whole chat with the clip in it."""

    @abstractmethod
    def frame(self, prompt: PromptText) -> Frame:
        """What stands around the clip in the tokens of a chat."""

    @property
    def decoder(self) -> Network:
        """The text decoder, from merged embeddings to normed states."""
        return self.model.get_decoder()

    @property
    def norm(self) -> Network:
        """The decoder's final norm."""
        return self.decoder.norm

    @property
    def head(self) -> VocabularyHead:
        """As the classes of transformers compute logits: divided (Granite), multiplied (Cohere), capped (Gemma)."""
        config = self.model.config.get_text_config(decoder=True)
        scale = getattr(config, "logit_scale", 1.0) / getattr(config, "logits_scaling", 1.0)
        cap = getattr(config, "final_logit_softcapping", None)
        return VocabularyHead(self.model.get_output_embeddings(), cap=cap, scale=scale)

    def class_logits(self, logits: Tensor) -> Tensor:
        """Logits of the model class's own forward pass as they should be, where it is known to depart from training."""
        return logits

    def render(self, messages: list[dict], **options: Any) -> str:
        """The chat template's text."""
        try:
            return self.processor.apply_chat_template(messages, tokenize=False, **options)
        except (ValueError, TemplateError) as error:
            raise InputError(
                f"its chat template cannot be used: {error}",
                field="model",
                remedy="Take a checkpoint with a chat template (chat_template.jinja), for example an instruct model.",
            ) from error

    def text(self, prompt: PromptText) -> str:
        """The rendered chat, up to where the answer begins."""
        return self.render(self.messages(prompt), add_generation_prompt=True) + prompt.before

    def tokens(self, prompt: PromptText, answer: str = "") -> tuple[int, ...]:
        """Prompt and answer tokenised together, the clip as one placeholder, without what a processor writes by it."""
        return self.encode_text(self.text(prompt) + answer)

    def encode_text(self, text: str) -> tuple[int, ...]:
        """Token ids of rendered text; a begin token is added where the template does not write it itself."""
        return tuple(self.tokenizer(text, add_special_tokens=self._begins(text)).input_ids)

    def _begins(self, text: str) -> bool:
        begin = self.tokenizer.bos_token
        return not (begin and text.startswith(begin))

    def answer_tokens(self, text: str) -> tuple[int, ...]:
        """Token ids of text in the middle of an answer."""
        return tuple(self.tokenizer(text, add_special_tokens=False).input_ids)

    def stop_tokens(self) -> tuple[int, ...]:
        """Tokens that end the model's turn; the first is the one its chat template writes."""
        config = self.model.generation_config
        ids = config.eos_token_id if config.eos_token_id is not None else self.tokenizer.eos_token_id
        ids = [ids] if isinstance(ids, int) else list(ids or ())
        if not ids:
            raise InputError("it has no end token", field="model", remedy="Set eos_token_id in generation_config.json.")
        written = self._written_end()
        return tuple(sorted(ids, key=lambda token: token != written))

    def _written_end(self) -> int | None:
        turn = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "happy"}]
        try:
            text = self.render(turn, add_generation_prompt=False)
        except (InputError, TypeError):
            return None
        _, written, after = text.rpartition("happy")
        if not written:
            return None
        ids = self.tokenizer(after, add_special_tokens=False).input_ids
        return ids[0] if ids else None

    def decode(self, tokens: Sequence[int]) -> str:
        """Text of generated tokens, special tokens included."""
        return self.tokenizer.decode(list(tokens), skip_special_tokens=False)

    def control_tokens(self) -> Mapping[str, int]:
        """Strings that the tokenizer would turn into control tokens or placeholders, with their ids."""
        return {str(token): i for token, i in self.tokenizer.get_added_vocab().items()}

    def repetition_penalty(self) -> float:
        """What the checkpoint's generation settings ask for."""
        return self.model.generation_config.repetition_penalty or 1.0


def move(inputs: Mapping[str, Tensor], device: torch.device, dtype: torch.dtype) -> dict[str, Tensor]:
    """Inputs on a device, floats in the model's dtype; nothing waits for them to arrive."""
    return {
        name: value.to(device, dtype if torch.is_floating_point(value) else None, non_blocking=True)
        for name, value in inputs.items()
        if isinstance(value, Tensor)
    }
