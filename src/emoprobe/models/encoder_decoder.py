"""Encoder-decoders that transcribe: a clip's encoder states, and their keys and values, serve every question about it.

All questions about a batch of clips go through the decoder as one token tree (`emoprobe.models.tree`): the clip's keys
and values are shared by all nodes, never copied per prompt or label, and only the nodes that score a token reach the
vocabulary matrix. Suppress lists shape generated text only, never a stored logit.
"""

from __future__ import annotations

import emoprobe.models.torchaudio  # isort: skip  # noqa: F401  # before transformers

import copy
import warnings
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import repeat
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
import transformers
from torch import Tensor
from transformers import EncoderDecoderCache

from emoprobe.errors import InputError
from emoprobe.models.answering import AudioContext, Generation, Question, Sampling
from emoprobe.models.base import Clip, Heard, Network, Prepared, shortest_clip
from emoprobe.models.branches import Branches, RoomyLayer
from emoprobe.models.cross import Cross, together
from emoprobe.models.generation import Decoder, decode_answers, limits_of
from emoprobe.models.positions import Positions, through_lens
from emoprobe.models.processor_files import check_fit, check_processor_files
from emoprobe.models.transcript import TranscribingModel
from emoprobe.models.tree import Fold, at, fold
from emoprobe.models.vocabulary import VocabularyHead
from emoprobe.models.whole import keep_whole


class EncoderDecoder(TranscribingModel):
    """A model of transformers that transcribes, behind the SFM interface; a subclass says what its class does.

    Args:
        model: The loaded model.
        processor: Its feature extractor and tokenizer.
        name: Hub name or path, for the record.
        revision: Exact version of the weights.
        language: Language that is spoken, where the class is told one.
        task: ``transcribe`` or ``translate`` (into English), likewise.
        punctuation: Whether to write punctuation and capitals, likewise.
        context: One of ``contexts``, see `emoprobe.models.transcribers.whisper`.
    """

    model_class: ClassVar[str]  # in transformers
    processor_class: ClassVar[str]
    tokenizer_files: ClassVar[Sequence[Sequence[str]]] = (("tokenizer.json",),)
    # Where in the class lies what is used here.
    encoder_place: ClassVar[str] = "model.encoder"
    decoder_place: ClassVar[str] = "model.decoder"
    cross_attention: ClassVar[str] = "encoder_attn"  # of a decoder's layer
    final_norm: ClassVar[str] = "norm"  # of the decoder
    contexts: ClassVar[Sequence[str]] = ("window",)  # how much the encoder may be given beside a clip
    left_out: ClassVar[str] = ""  # weights that the model does without, as a regular expression

    def __init__(
        self,
        model: Network,
        processor: Any,
        *,
        name: str,
        revision: str,
        language: str = "en",
        task: str = "transcribe",
        punctuation: bool = True,
        context: str = "window",
    ) -> None:
        if context not in self.contexts:
            raise InputError(
                f"{name} knows no context {context!r}: its encoder is given every clip by itself",
                field="model.context",
                remedy="Leave it out; model.context=clip is for Whisper, whose clips are padded to 30 s.",
            )
        self.model, self.processor, self.context = model.eval(), processor, context
        self.name, self.revision = name, revision
        self.dtype = str(model.dtype).removeprefix("torch.")
        self.sampling_rate = processor.feature_extractor.sampling_rate
        self.start_tokens = self.decoder_prompt(language, task, punctuation)
        self.classes = self.find_classes()
        self.max_seconds = self.longest_clip()

    @classmethod
    def load_processor(cls, path: Path) -> Any:
        """The processor of a checkpoint folder; code that lies there is not run."""
        check_processor_files(path, cls.tokenizer_files)
        found = getattr(transformers, cls.processor_class)
        return found.from_pretrained(path, local_files_only=True, trust_remote_code=False)

    @classmethod
    def prepare(cls, model: Network, processor: Any, path: Path) -> None:
        """Check that what was loaded from a folder fits together, and do to it what its class needs.

        Raises:
            InputError: It does not.
        """
        check_fit(model, model.get_submodule(cls.encoder_place), processor, path)
        keep_whole(model)

    @abstractmethod
    def decoder_prompt(self, language: str, task: str, punctuation: bool) -> tuple[int, ...]:
        """Tokens that the class's processor writes before a transcript.

        Raises:
            InputError: There is no such language or task.
        """

    @abstractmethod
    def longest_clip(self) -> float:
        """What is heard whole, seconds."""

    def find_classes(self) -> tuple[str, ...]:
        """Names of classes that the checkpoint can tell apart, see `classify`."""
        return ()

    @abstractmethod
    def inputs(self, waveform: Tensor) -> dict[str, Tensor]:
        """The encoder's inputs as the class's processor makes them of one clip."""

    def around(self, model: Network) -> Self:
        """The same SFM around another copy of its model."""
        other = copy.copy(self)
        other.model, other.dtype = model.eval(), str(model.dtype).removeprefix("torch.")
        return other

    @property
    def head(self) -> VocabularyHead:
        """From decoder states to logits."""
        return VocabularyHead(self.model.get_output_embeddings())

    # Sound

    @cached_property
    def min_samples(self) -> int:
        """Shortest clip that the encoder makes a frame of."""

        def heard(waveform: Tensor) -> bool:
            try:
                sound = self._hear(waveform)[0]
            except (ValueError, RuntimeError, IndexError):
                return False
            return len(sound) > 0 and bool(sound.isfinite().all())

        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a front end's, of what is too short to be normalised
            return shortest_clip(self.sampling_rate, heard)

    def save_processor(self, folder: Path) -> None:
        """Write feature extractor and tokenizer."""
        self.processor.save_pretrained(folder)

    @property
    def encoder(self) -> Network:
        """The part of the model that hears."""
        return self.model.get_submodule(self.encoder_place)

    @property
    def decoder(self) -> Network:
        """The part of the model that reads tokens."""
        return self.model.get_submodule(self.decoder_place)

    @property
    def max_positions(self) -> int:
        """Tokens that the decoder has positions for."""
        return self.decoder.config.max_position_embeddings

    @property
    def num_encoder_layers(self) -> int:
        """Layers of the audio encoder."""
        return len(self.encoder.layers)

    @property
    def num_decoder_layers(self) -> int:
        """Layers of the text decoder."""
        return len(self.decoder.layers)

    def prepare_clip(self, waveform: Tensor) -> Clip | None:
        """The encoder's inputs."""
        return Clip(len(waveform), self.inputs(waveform))

    def hear(self, waveforms: Sequence[Tensor], layers: Sequence[int] = (), *, prepared: Prepared = ()) -> Heard:
        """Encoder states, clip by clip: padding changes what some encoders and front ends make of a clip."""
        self.check_layers(layers)
        self.check_lengths(waveforms)
        clips = zip(waveforms, prepared or repeat(None, len(waveforms)), strict=True)
        heard = [self._hear(waveform, layers, made) for waveform, made in clips]
        return Heard([states for _, states in heard], [sound for sound, _ in heard])

    def _hear(
        self, waveform: Tensor, layers: Sequence[int] = (), made: Clip | None = None
    ) -> tuple[Tensor, dict[int, Tensor]]:
        """What the decoder is given of a clip, and states of chosen layers, without frames that the class masks."""
        inputs = self._placed(made.inputs if made else self.inputs(waveform))
        out = self.encoder(**inputs, output_hidden_states=bool(layers))
        mask = getattr(out, "attention_mask", None)
        own = out.last_hidden_state.shape[1] if mask is None else int(mask.sum())
        return out.last_hidden_state[0, :own], {layer: out.hidden_states[layer][0, :own] for layer in layers}

    def _placed(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Inputs on the model's device and, unless they count or mask something, in its precision."""
        device, dtype = self.model.device, self.model.dtype
        return {k: v.to(device, dtype) if v.is_floating_point() else v.to(device) for k, v in inputs.items()}

    @torch.no_grad()
    def encode(self, waveforms: Sequence[Tensor], *, prepared: Prepared = ()) -> AudioContext:
        """Encoder states and every decoder layer's cross-attention keys and values, once per clip."""
        return self.context_of(self.hear(waveforms, prepared=prepared).sounds)

    @torch.no_grad()
    def encode_without_audio(self) -> AudioContext:
        """Encoder states of zero: the decoder's cross-attention carries no information at all.

        Attention over frames that are all alike does not depend on how many they are, so that one is enough.
        """
        return self.context_of([torch.zeros(1, self._width, dtype=self.model.dtype, device=self.model.device)])

    @property
    def _width(self) -> int:
        return self.encoder.config.hidden_size

    def looked_at(self, states: Tensor) -> Tensor:
        """What the decoder makes keys and values of, of encoder states ``[clips, frames, width]``."""
        return states

    @torch.no_grad()
    def context_of(self, sounds: Sequence[Tensor]) -> AudioContext:
        """The context of encoder states, one ``[frames, width]`` per clip: each decoder layer's keys and values."""
        padded, hidden = together(sounds, self.model.device, self.model.dtype)
        states, pairs = self.looked_at(padded), []
        for layer in self.decoder.layers:
            attention = getattr(layer, self.cross_attention)
            shape = (*states.shape[:2], -1, attention.head_dim)
            keys = attention.k_proj(states).view(shape).transpose(1, 2)
            values = attention.v_proj(states).view(shape).transpose(1, 2)
            pairs.append((keys, values))
        return AudioContext(len(padded), Cross(pairs, hidden, padded.new_empty(len(padded), 0, padded.shape[-1])))

    def select(self, context: AudioContext, clip: int) -> AudioContext:
        """The context of one clip of a batch."""
        return AudioContext(1, context.state.select(clip))

    # Answers

    def answer(self, sounds: Sequence[Tensor], question: Question) -> tuple[Tensor, Tensor]:
        """One pass of the decoder over the token tree of a question, with gradients."""
        asked = self._fold([question])
        sound, hidden = together(sounds, self.model.device, self.model.dtype)
        states = self.decoder(
            input_ids=asked.tokens.expand(len(sounds), -1),
            attention_mask=self._mask(asked.visible),
            position_ids=asked.depths[None],
            encoder_hidden_states=sound,
            use_cache=False,
            **Cross([], hidden, sound).options(),
        ).last_hidden_state
        values = self.head.log_probabilities(at(states, asked.nodes), asked.wanted)
        return asked.scored.likelihoods(values), states[:, asked.tree.ends[0]]

    def _fold(self, questions: Sequence[Question]) -> Fold:
        return fold(tuple(questions), self.model.device)

    def _mask(self, visible: Tensor) -> Tensor:
        dtype = self.model.dtype
        mask = torch.zeros(visible.shape, dtype=dtype, device=visible.device)
        return mask.masked_fill_(~visible, torch.finfo(dtype).min)[None, None]

    def _decode(
        self,
        context: AudioContext,
        cache: EncoderDecoderCache,
        tokens: Tensor,
        depths: Tensor,
        visible: Tensor,
        hidden_layers: bool = False,
    ) -> Any:
        """States of new nodes.

        Args:
            context: Encoded clips.
            cache: Earlier nodes; the new ones are appended.
            tokens: ``[clips, new]``.
            depths: Position of each new node, ``[new]``.
            visible: Which nodes each new one attends to, ``[new, earlier + new]`` bool.
            hidden_layers: Whether to return the states of all layers.
        """
        cross = context.state
        return self.decoder(
            input_ids=tokens.to(self.model.device),
            attention_mask=self._mask(visible),
            position_ids=depths[None].to(self.model.device),
            encoder_hidden_states=cross.absent,
            past_key_values=cache,
            use_cache=True,
            output_hidden_states=hidden_layers,
            **cross.options(),
        )

    def _ask(self, context: AudioContext, asked: Fold, cache: EncoderDecoderCache | None = None, **options: Any) -> Any:
        """States of all nodes of a tree; ``cache`` collects them if given."""
        tokens = asked.tokens.expand(context.size, -1)
        cache = cache if cache is not None else context.state.new_cache()
        return self._decode(context, cache, tokens, asked.depths, asked.visible, **options)

    @torch.no_grad()
    def score_logits(self, context: AudioContext, questions: Sequence[Question]) -> list[list[Tensor]]:
        """Raw logits of every continuation token, all questions in one decoder pass."""
        asked = self._fold(questions)
        states = self._ask(context, asked).last_hidden_state
        return asked.scored.pick(self.head.token_logits(at(states, asked.nodes), asked.wanted))

    @torch.no_grad()
    def score_layers(self, context: AudioContext, questions: Sequence[Question]) -> list[list[Tensor]]:
        """As `score`, at every decoder layer through the final norm and the vocabulary matrix."""
        asked = self._fold(questions)
        out, norm = self._ask(context, asked, hidden_layers=True), getattr(self.decoder, self.final_norm)
        states = [norm(at(layer, asked.nodes)) for layer in out.hidden_states[:-1]]
        states.append(at(out.last_hidden_state, asked.nodes))
        values = [self.head.log_probabilities(layer, asked.wanted) for layer in states]
        return asked.scored.pick(torch.stack(values, dim=1))

    @torch.no_grad()
    def score_positions(
        self, context: AudioContext, clip: int, question: Question, written: Sequence[int], wanted: Sequence[int]
    ) -> Positions:
        """One pass of the decoder over prompt and answer; the sound has no position among them."""
        alone, tokens = self.select(context, clip), (*question.prefix, *written)
        row, places = torch.tensor([tokens]), torch.arange(len(tokens), device=self.model.device)
        seen = places <= places[:, None]
        out = self._decode(alone, alone.state.new_cache(), row, places, seen, hidden_layers=True)
        norm = getattr(self.decoder, self.final_norm)
        states = [norm(layer[0]) for layer in out.hidden_states[:-1]] + [out.last_hidden_state[0]]
        return Positions(tokens, (False,) * len(tokens), through_lens(self.head, states, wanted))

    @torch.no_grad()
    def score_patched(
        self, receiver: AudioContext, donor: AudioContext, question: Question, layers: Sequence[int]
    ) -> Tensor:
        """Cross-attention looks at the receiver in the layers before, and at the donor from that layer on."""
        own, other, rows = receiver.state, donor.state, []
        for layer in layers:
            mixed = Cross(own.pairs[:layer] + other.pairs[layer:], own.hidden, own.absent)
            (forms,) = self.score(AudioContext(1, mixed), [question])
            rows.append(torch.stack([values[0].sum() for values in forms]))
        return torch.stack(rows)

    @torch.no_grad()
    def logits(self, context: AudioContext, questions: Sequence[Question]) -> Tensor:
        """Raw next-token logits at the answer position, ``[clips, questions, vocabulary]`` float32."""
        asked = self._fold([Question(question.prefix) for question in questions])
        return self.head.logits(at(self._ask(context, asked).last_hidden_state, asked.ends)).cpu()

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
        """Answers as transformers' own ``generate`` gives them, with raw logits of chosen tokens.

        One node per question is added at each step, so that the clip's keys and values are shared by all questions.
        """
        config = self.model.generation_config
        suppressed = [token for token in config.suppress_tokens or () if token >= 0]  # -1 stands for no list
        suppressed_first = suppressed + list(config.begin_suppress_tokens or ())
        asked, cross = self._fold([Question(question.prefix) for question in questions]), context.state
        cache = cross.new_cache([RoomyLayer() for _ in cross.pairs])
        own = cache.self_attention_cache
        states = at(self._ask(context, asked, cache).last_hidden_state, asked.ends)

        def keep_clips(clips: Tensor) -> None:
            nonlocal cross, cache
            cross = cross.rows(clips)
            cache = cross.new_cache(own.layers)

        def forward(tokens: Tensor, mask: Tensor, positions: Tensor) -> Tensor:
            return self.decoder(
                input_ids=tokens,
                attention_mask=mask,
                position_ids=positions.clamp_max(self.max_positions - 1),  # an ended row's may lie behind the last
                encoder_hidden_states=cross.absent,
                past_key_values=cache,
                use_cache=True,
                **cross.options(),
            ).last_hidden_state

        def process(logits: Tensor, numbers: Tensor, written: Tensor) -> Tensor:
            logits[..., suppressed if written.shape[-1] else suppressed_first] = -torch.inf
            return logits

        placed: dict[str, Any] = {"dtype": self.model.dtype, "device": self.model.device}
        seen = asked.visible[asked.ends].expand(context.size, -1, -1)
        depths = asked.depths[asked.ends].expand(context.size, -1)
        branches = Branches(own, seen, depths, forward, keep_clips=keep_clips, **placed)
        room = [self.max_positions + 1 - len(question.prefix) for question in questions]
        limits = [*map(min, limits_of(max_new_tokens, len(room)), room)]
        decoder = Decoder(self.head, branches, process, self.stop_tokens, self.decode)
        keep = keep if keep is not None else [()] * len(room)
        return decode_answers(decoder, states, limits=limits, keep=keep, sampling=sampling)

    @torch.no_grad()
    def reference(self, waveform: Tensor, question: Question, continuation: Sequence[int] = ()) -> Tensor:
        """Logits of one plain forward pass of the processor's own inputs through encoder and decoder."""
        ids = torch.tensor([[*question.prefix, *continuation]], device=self.model.device)
        return self._plain_pass(waveform, decoder_input_ids=ids, use_cache=False).logits[0].float().cpu()

    def _plain_pass(self, waveform: Tensor, **options: Any) -> Any:
        """What the class's own forward pass makes of its processor's inputs."""
        return self.model(**self._placed(self.inputs(waveform)), **options)

    @torch.no_grad()
    def hidden_states(self, context: AudioContext, question: Question) -> dict[int, Tensor]:
        """Decoder states at the answer position."""
        out = self._ask(context, self._fold([Question(question.prefix)]), hidden_layers=True)
        return {layer: states[:, -1].float().cpu() for layer, states in enumerate(out.hidden_states)}
