"""Decoder-only audio LLMs: the sound's embeddings come out of the true model class (`emoprobe.models.sound`)."""

from __future__ import annotations

import emoprobe.models.torchaudio  # isort: skip  # noqa: F401  # before transformers

from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor
from transformers import DynamicCache

from emoprobe.models.attention import NoTokenTreeError, check_cache
from emoprobe.models.base import Clip, Network, Prepared, ready
from emoprobe.models.chat_llm import ChatLLM
from emoprobe.models.families.chat import ChatFamily
from emoprobe.models.sound import Sound, agree, clip_of, hear_clips, shapes, shortest_sound
from emoprobe.models.span import probe_sounds

TOGETHER = 16  # clips of one encoder pass on a GPU; more would need more memory and gain little


class AudioLLM(ChatLLM):
    """A native audio chat model of transformers behind the SFM interface.

    On a GPU clips whose inputs have equal shapes are heard together where the class makes the same of them then, which
    is measured on two of them; elsewhere one by one, since padding leaks into a clip's own frames in some classes.

    Args:
        model: The loaded model.
        family: How its family renders a chat and hears sound.
        name: Hub name or path, for the record.
        revision: Exact version of the weights.
    """

    family: ChatFamily

    def __init__(self, model: Network, family: ChatFamily, *, name: str, revision: str) -> None:
        super().__init__(model, family, name=name, revision=revision)
        # Whether clips are heard together, by whether layers are asked for and whether the clips' lengths differ.
        self._batches: dict[tuple[bool, bool], bool] = {}

    def around(self, model: Network) -> AudioLLM:
        """The same SFM around another copy of its model."""
        return AudioLLM(model, type(self.family)(model, self.family.processor), name=self.name, revision=self.revision)

    @cached_property
    def min_samples(self) -> int:
        """Shortest clip that the processor makes a token of and the class takes."""
        return shortest_sound(self.model, self.family)

    @property
    def num_encoder_layers(self) -> int:
        """Layers of the audio encoder."""
        return len(self.family.encoder_layers)

    def prepare_clip(self, waveform: Tensor) -> Clip:
        """Inputs of the model's class, as its own processor makes them."""
        return clip_of(self.family, waveform)

    def _hear(self, waveforms: Sequence[Tensor], layers: Sequence[int] = (), prepared: Prepared = ()) -> list[Sound]:
        clips = ready(self, waveforms, prepared)
        alike: dict[tuple, list[int]] = {}
        for i, clip in enumerate(clips):
            alike.setdefault(shapes(clip), []).append(i)
        heard: dict[int, Sound] = {}
        for members in alike.values():
            size = clips_at_once(self.model.device)
            if size > 1 and not self._goes_together([clips[i] for i in members], layers):
                size = 1
            for start in range(0, len(members), size):
                part = members[start : start + size]
                heard |= zip(part, self._heard([clips[i] for i in part], layers), strict=True)
        return [heard[i] for i in range(len(clips))]

    def _heard(self, clips: Sequence[Clip], layers: Sequence[int]) -> list[Sound]:
        """Clips in one pass, or one by one where its states cannot be told apart."""
        sounds = hear_clips(self.model, self.family, clips, layers, self.name)
        return [self._heard([clip], layers)[0] for clip in clips] if sounds is None else sounds

    def hears_together(self, waveforms: Sequence[Tensor]) -> bool:
        """Measured on these clips, whose inputs must have equal shapes."""
        clips = ready(self, waveforms, ())
        return len(set(map(shapes, clips))) == 1 and agree(self.model, self.family, clips, (), self.name)

    def _goes_together(self, clips: Sequence[Clip], layers: Sequence[int]) -> bool:
        """Whether clips of equal shapes are heard in one pass; measured on two of them where it is not known yet."""
        if len(clips) < 2:
            return False
        pair = [choose(clips, key=lambda clip: clip.samples) for choose in (min, max)]
        if pair[0] is pair[1]:
            pair = list(clips[:2])
        known = bool(layers), pair[0].samples != pair[1].samples
        if known not in self._batches:
            self._batches[known] = agree(self.model, self.family, pair, layers, self.name)
        return self._batches[known]

    @torch.no_grad()
    def check_tree(self) -> None:
        """Find out, of one sound and one token, whether the decoder can be asked as a token tree.

        Weights that are not there (`emoprobe tokens`) are not asked.

        Raises:
            NoTokenTreeError: It cannot.
        """
        if self.model.device.type == "meta":
            return
        self._hear(probe_sounds(self.sampling_rate)[-1:])
        cache, token = DynamicCache(), torch.tensor([self.stop_tokens[:1]])
        states = self.decoder(inputs_embeds=self._embed(token), past_key_values=cache, use_cache=True).last_hidden_state
        check_cache(cache, self.num_decoder_layers, 1, self.name)
        plain = self._plain_pass({"input_ids": token, "attention_mask": torch.ones_like(token)}).logits
        ours, own = self.family.head.logits(states), self.family.class_logits(plain.float())
        if not torch.allclose(ours.log_softmax(-1), own.log_softmax(-1), atol=tolerance(self.dtype), rtol=0):
            raise NoTokenTreeError(self.name, "class", "makes logits of its decoder's states in a way of its own")


def clips_at_once(device: torch.device) -> int:
    """Most clips of one encoder pass; a CPU is as fast with one at a time, whose states stay in its caches."""
    return 1 if device.type == "cpu" else TOGETHER


def tolerance(dtype: str) -> float:
    """Nats by which log-probabilities of a token may differ that are computed alike; others differ by more."""
    return 1e-2 if dtype == "float32" else 1.0
