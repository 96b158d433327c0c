"""Whisper: an encoder-decoder SFM whose encoder output and cross-attention keys and values serve every question.

All questions about a batch of clips go through the decoder as one token tree (`emoprobe.models.tree`): the clip's keys
and values are shared by all nodes, never copied per prompt or label, and only the nodes that score a token reach the
vocabulary matrix. Suppress lists shape generated text only, never a stored logit.
"""

from __future__ import annotations

import emoprobe.models.torchaudio  # isort: skip  # noqa: F401  # before transformers

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, EncoderDecoderCache, WhisperForConditionalGeneration, WhisperProcessor
from transformers.cache_utils import DynamicLayer

from emoprobe.errors import InputError
from emoprobe.models.answering import AnsweringModel, AudioContext, Generation, Question, Sampling, split_answers
from emoprobe.models.base import WINDOW, Heard, Network
from emoprobe.models.generation import Decoder, decode_answers
from emoprobe.models.residual import widen
from emoprobe.models.text import PromptText
from emoprobe.models.tree import TokenTree, build_tree, find_scored
from emoprobe.models.vocabulary import VocabularyHead

ENGLISH_VOCABULARY = 51_864  # tokens of the English-only checkpoints; multilingual ones have more
UNSPOKEN = [*'"#()*+/:;<=>@[\\]^_`{|}~「」『』']
UNSPOKEN += ["<<", ">>", "<<<", ">>>", "--", "---", "-(", "-[", "('", '("', "((", "))", "(((", ")))", "[[", "]]"]
UNSPOKEN += ["{{", "}}", "♪♪", "♪♪♪"]
NOTES = "♩♪♫♬♭♮♯"
SAMPLES_PER_FRAME = 320  # 10 ms hop, halved by the encoder's second convolution: 20 ms at 16 kHz


def is_multilingual(model: WhisperForConditionalGeneration, tokenizer: Any) -> bool:
    """Whether a checkpoint is told a language and a task.

    Generation settings say so since 2023. Without them the tokens that older settings force after the first one tell it
    (English-only checkpoints are forced to write no time stamps at once), then the size of the vocabulary (51 864 is
    the English one), then whether the tokenizer has the tokens at all.
    """
    settings = model.generation_config
    said = getattr(settings, "is_multilingual", None)
    if said is not None:
        return bool(said)
    if getattr(settings, "lang_to_id", None):
        return True
    no_stamps = tokenizer.convert_tokens_to_ids("<|notimestamps|>")
    for source in (settings, model.config):
        forced = getattr(source, "forced_decoder_ids", None)
        if forced:
            return dict(forced).get(1) != no_stamps
    if model.config.vocab_size >= ENGLISH_VOCABULARY:
        return model.config.vocab_size > ENGLISH_VOCABULARY
    tokens = tokenizer.convert_tokens_to_ids(["<|en|>", "<|transcribe|>"])
    return tokenizer.decode(tokens) == "<|en|><|transcribe|>"


def suppressed_tokens(tokenizer: Any) -> tuple[list[int], list[int]]:
    """Tokens that Whisper's own decoding never writes, and those that it does not begin with.

    Brackets, notes and other signs that are not spoken, and the task's control tokens; at the beginning also a blank
    and the end (openai/whisper, ``tokenizer.py`` and ``decoding.py``).
    """

    def ids(text: str) -> list[int]:
        return tokenizer(text, add_special_tokens=False).input_ids

    found = {ids(" -")[0], ids(" '")[0]}
    for symbol in [*UNSPOKEN, *NOTES]:
        for tokens in (ids(symbol), ids(f" {symbol}")):
            if len(tokens) == 1 or symbol in NOTES:
                found.add(tokens[0])
    control = ("transcribe", "translate", "startoftranscript", "startofprev", "startoflm", "nospeech", "nocaptions")
    for name in control:
        token = tokenizer.convert_tokens_to_ids(f"<|{name}|>")
        if token is not None and tokenizer.decode([token]) == f"<|{name}|>":
            found.add(token)
    return sorted(found), [*ids(" ")[:1], tokenizer.convert_tokens_to_ids("<|endoftext|>")]


class Whisper(AnsweringModel):
    """Any Whisper checkpoint of transformers behind the SFM interface.

    Args:
        model: The loaded model.
        processor: Its feature extractor and tokenizer.
        name: Hub name or path, for the record.
        revision: Exact version of the weights.
        language: Language token of a multilingual checkpoint; ignored by English-only ones.
        task: ``transcribe`` or ``translate``, likewise.
    """

    def __init__(
        self,
        model: WhisperForConditionalGeneration,
        processor: WhisperProcessor,
        *,
        name: str,
        revision: str,
        language: str = "en",
        task: str = "transcribe",
    ) -> None:
        self.model = model.eval()
        widen(self.decoder)
        self.processor = processor
        self.name, self.revision = name, revision
        self.dtype = str(model.dtype).removeprefix("torch.")
        self.sampling_rate = processor.feature_extractor.sampling_rate
        self.max_seconds = float(processor.feature_extractor.chunk_length)
        self.end_token = processor.tokenizer.convert_tokens_to_ids("<|endoftext|>")
        self.start_tokens = self._start_tokens(language, task)

    def around(self, model: WhisperForConditionalGeneration) -> Whisper:
        """The same SFM around another copy of its model."""
        other = copy.copy(self)
        other.model, other.dtype = model.eval(), str(model.dtype).removeprefix("torch.")
        return other

    @property
    def head(self) -> VocabularyHead:
        """From decoder states to logits."""
        return VocabularyHead(self.model.proj_out)

    def _start_tokens(self, language: str, task: str) -> tuple[int, ...]:
        tokenizer = self.processor.tokenizer
        names = ["<|startoftranscript|>"]
        if is_multilingual(self.model, tokenizer):
            names += [f"<|{language}|>", f"<|{task}|>"]
        names.append("<|notimestamps|>")
        ids = tokenizer.convert_tokens_to_ids(names)
        for token, text in zip(ids, names, strict=True):
            if token is None or tokenizer.decode([token]) != text:
                raise InputError(
                    f"this Whisper tokenizer has no token {text}",
                    field="model.language",
                    remedy="Use a language code of Whisper's, such as en, de or zh.",
                )
        return tuple(ids)

    def control_tokens(self) -> Mapping[str, int]:
        """Languages, tasks, time stamps and the like."""
        return self.processor.tokenizer.get_added_vocab()

    @property
    def unknown_token(self) -> int | None:
        """What the tokenizer writes for what it cannot say."""
        return self.processor.tokenizer.unk_token_id

    def text_tokens(self, text: str) -> tuple[int, ...]:
        """Token ids of text by itself."""
        return tuple(self.processor.tokenizer(text, add_special_tokens=False).input_ids)

    def question(self, prompt: PromptText, continuations: Sequence[str] = ()) -> Question:
        """Tokenise a prompt jointly with each continuation; Whisper's transcripts begin with a space."""
        if prompt.instruction or prompt.system is not None:
            raise InputError(
                f"{self.name} transcribes: it cannot follow an instruction",
                field="prompt",
                remedy="Use a completion prompt (prompt=whisper_all has several), or an audio LLM.",
            )
        self.check_text(prompt.before, prompt.context, *continuations)
        before = f" {prompt.before}" if prompt.before else ""
        head, answers = split_answers(self.text_tokens, before, continuations, self.end_token, self.name)
        context: tuple[int, ...] = ()
        if prompt.context:
            previous = self.processor.tokenizer.convert_tokens_to_ids("<|startofprev|>")
            context = (previous, *self.text_tokens(f" {prompt.context}"))
        return self._checked(Question((*context, *self.start_tokens, *head), answers))

    def extend(
        self, question: Question, written: Sequence[int], text: str, continuations: Sequence[str] = ()
    ) -> Question:
        """The question after some generated tokens and some further text."""
        self.check_text(text, *continuations)
        head, answers = split_answers(self.text_tokens, text, continuations, self.end_token, self.name)
        return self._checked(Question((*question.prefix, *written, *head), answers))

    def _checked(self, question: Question) -> Question:
        longest = len(question.prefix) + max((len(answer) for answer in question.continuations), default=0)
        if longest > self.model.config.max_target_positions:
            raise InputError(
                f"the prompt with its longest label has {longest} tokens and {self.name} takes "
                f"{self.model.config.max_target_positions}",
                field="prompt",
                remedy="Shorten the prompt's context or template.",
            )
        return question

    def input_features(self, waveforms: Sequence[Tensor]) -> Tensor:
        """Log-mel features of waveforms padded to 30 s, ``[clips, mels, 3000]``."""
        self.check_lengths(waveforms)
        features = self.processor.feature_extractor(
            [wave.numpy() for wave in waveforms],
            sampling_rate=self.sampling_rate,
            return_tensors="pt",
            device=self.model.device.type,
        )
        return features.input_features.to(self.model.device, self.model.dtype)

    @property
    def min_samples(self) -> int:
        """One window of the spectrogram."""
        return round(WINDOW * self.sampling_rate)

    def save_processor(self, folder: Path) -> None:
        """Write feature extractor and tokenizer."""
        self.processor.save_pretrained(folder)

    @property
    def decoder(self) -> Network:
        """The part of the model that reads tokens."""
        return self.model.model.decoder

    @property
    def num_encoder_layers(self) -> int:
        """Layers of the audio encoder."""
        return self.model.config.encoder_layers

    @property
    def num_decoder_layers(self) -> int:
        """Layers of the text decoder."""
        return self.model.config.decoder_layers

    def hear(self, waveforms: Sequence[Tensor], layers: Sequence[int] = ()) -> Heard:
        """Encoder states, of the 30 s that every clip is padded to."""
        self.check_layers(layers)
        out = self.model.model.encoder(self.input_features(waveforms), output_hidden_states=bool(layers))
        frames = [-(-len(waveform) // SAMPLES_PER_FRAME) for waveform in waveforms]
        states = [{layer: out.hidden_states[layer][i, :count] for layer in layers} for i, count in enumerate(frames)]
        return Heard(states, list(out.last_hidden_state))

    def answer(self, sounds: Sequence[Tensor], question: Question) -> tuple[Tensor, Tensor]:
        """One pass of the decoder over the token tree of a question, with gradients."""
        tree = build_tree([question])
        scored = find_scored([question], tree)
        device, dtype = self.model.device, self.model.dtype
        visible = tree.ancestors()
        mask = torch.zeros(visible.shape, dtype=dtype).masked_fill_(~visible, torch.finfo(dtype).min)
        states = self.decoder(
            input_ids=torch.tensor(tree.tokens, device=device).expand(len(sounds), -1),
            attention_mask=mask[None, None].to(device),
            position_ids=torch.tensor(tree.depths, device=device)[None],
            encoder_hidden_states=torch.stack(list(sounds)).to(device, dtype),
            use_cache=False,
        ).last_hidden_state
        values = self.head.log_probabilities(states[:, list(scored.nodes)], scored.wanted)
        return scored.likelihoods(values), states[:, tree.ends[0]]

    @torch.no_grad()
    def encode(self, waveforms: Sequence[Tensor]) -> AudioContext:
        """Encoder states and every decoder layer's cross-attention keys and values, once per clip."""
        return self.context_of(torch.stack(self.hear(waveforms).sounds))

    @torch.no_grad()
    def encode_without_audio(self) -> AudioContext:
        """Encoder states of zero: the decoder's cross-attention carries no information at all.

        How far bfloat16 is from float32 here: `emoprobe.models.residual`.
        """
        config = self.model.config
        shape = (1, config.max_source_positions, config.d_model)
        return self.context_of(torch.zeros(shape, dtype=self.model.dtype, device=self.model.device))

    @torch.no_grad()
    def context_of(self, states: Tensor) -> AudioContext:
        """The context of encoder states ``[clips, frames, width]``: each decoder layer's keys and values of them."""
        pairs = []
        for layer in self.model.model.decoder.layers:
            attention = layer.encoder_attn
            shape = (*states.shape[:2], attention.num_heads, attention.head_dim)
            keys = attention.k_proj(states).view(shape).transpose(1, 2)
            values = attention.v_proj(states).view(shape).transpose(1, 2)
            pairs.append((keys, values))
        return AudioContext(len(states), pairs)

    def select(self, context: AudioContext, clip: int) -> AudioContext:
        """The context of one clip of a batch."""
        one = slice(clip, clip + 1)
        return AudioContext(1, [(keys[one], values[one]) for keys, values in context.state])

    def _new_cache(self, context: AudioContext) -> EncoderDecoderCache:
        """A fresh self-attention cache beside the clip's own cross-attention keys and values, which are only read."""
        cross = DynamicCache()
        for keys, values in context.state:
            # `update` would concatenate, and so copy, tens of megabytes per clip.
            layer = DynamicLayer()
            layer.lazy_initialization(keys, values)
            layer.keys, layer.values = keys, values
            cross.layers.append(layer)
        return EncoderDecoderCache(DynamicCache(), cross)

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
        device, dtype = self.model.device, self.model.dtype
        mask = torch.zeros(visible.shape, dtype=dtype).masked_fill_(~visible, torch.finfo(dtype).min)
        # The decoder skips its cross-attention block when it is given no encoder states; with the cache filled it
        # does not look at their values, so an empty tensor says "there is audio" without keeping the states alive.
        present = torch.empty(context.size, 0, self.model.config.d_model, dtype=dtype, device=device)
        return self.model.model.decoder(
            input_ids=tokens.to(device),
            attention_mask=mask[None, None].to(device),
            position_ids=depths[None].to(device),
            encoder_hidden_states=present,
            past_key_values=cache,
            use_cache=True,
            output_hidden_states=hidden_layers,
        )

    def _ask(
        self, context: AudioContext, tree: TokenTree, cache: EncoderDecoderCache | None = None, **options: Any
    ) -> Any:
        """States of all nodes of a tree; ``cache`` collects them if given."""
        tokens = torch.tensor(tree.tokens).expand(context.size, -1)
        cache = cache if cache is not None else self._new_cache(context)
        return self._decode(context, cache, tokens, torch.tensor(tree.depths), tree.ancestors(), **options)

    @torch.no_grad()
    def score_logits(self, context: AudioContext, questions: Sequence[Question]) -> list[list[Tensor]]:
        """Raw logits of every continuation token, all questions in one decoder pass."""
        tree = build_tree(questions)
        scored = find_scored(questions, tree)
        states = self._ask(context, tree).last_hidden_state
        return scored.pick(self.head.token_logits(states[:, list(scored.nodes)], scored.wanted))

    @torch.no_grad()
    def score_layers(self, context: AudioContext, questions: Sequence[Question]) -> list[list[Tensor]]:
        """As `score`, at every decoder layer through the final norm and the vocabulary matrix."""
        tree = build_tree(questions)
        scored = find_scored(questions, tree)
        out = self._ask(context, tree, hidden_layers=True)
        states = [self.model.model.decoder.layer_norm(layer[:, list(scored.nodes)]) for layer in out.hidden_states[:-1]]
        states.append(out.last_hidden_state[:, list(scored.nodes)])
        values = [self.head.log_probabilities(layer, scored.wanted) for layer in states]
        return scored.pick(torch.stack(values, dim=1))

    @torch.no_grad()
    def logits(self, context: AudioContext, questions: Sequence[Question]) -> Tensor:
        """Raw next-token logits at the answer position, ``[clips, questions, vocabulary]`` float32."""
        tree = build_tree([Question(question.prefix) for question in questions])
        return self.head.logits(self._ask(context, tree).last_hidden_state[:, list(tree.ends)]).cpu()

    @torch.no_grad()
    def generate(
        self,
        context: AudioContext,
        questions: Sequence[Question],
        *,
        max_new_tokens: int,
        keep: Sequence[Sequence[int]] | None = None,
        sampling: Sampling | None = None,
    ) -> list[list[Generation]]:
        """Answers as transformers' own ``generate`` gives them, with raw logits of chosen tokens.

        One node per question is added at each step, so that the clip's keys and values are shared by all questions.
        """
        config = self.model.generation_config
        suppressed = list(config.suppress_tokens or [])
        suppressed_first = suppressed + list(config.begin_suppress_tokens or [])
        tree = build_tree([Question(question.prefix) for question in questions])
        ends, ancestors = list(tree.ends), tree.ancestors()
        cache = self._new_cache(context)
        states = self._ask(context, tree, cache).last_hidden_state[:, ends]
        visible, depths = ancestors[ends], torch.tensor([tree.depths[end] for end in ends])

        def step(tokens: Tensor) -> Tensor | None:
            nonlocal visible, depths
            depths = depths + 1
            if int(depths.max()) >= self.model.config.max_target_positions:
                return None
            visible = torch.cat([visible, torch.eye(len(ends), dtype=torch.bool)], dim=1)
            return self._decode(context, cache, tokens, depths, visible).last_hidden_state

        def process(logits: Tensor, sequence: Tensor) -> Tensor:
            logits[..., suppressed if sequence.shape[-1] else suppressed_first] = -torch.inf
            return logits

        decoder = Decoder(self.head, step, process, (self.end_token,), self.decode)
        return decode_answers(decoder, states, max_new_tokens=max_new_tokens, keep=keep, sampling=sampling)

    @torch.no_grad()
    def reference(self, waveform: Tensor, question: Question, continuation: Sequence[int] = ()) -> Tensor:
        """Logits of one plain forward pass of encoder and decoder."""
        ids = torch.tensor([[*question.prefix, *continuation]], device=self.model.device)
        out = self.model(self.input_features([waveform]), decoder_input_ids=ids, use_cache=False)
        return out.logits[0].float().cpu()

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of generated tokens, special tokens included."""
        return self.processor.tokenizer.decode(list(tokens), skip_special_tokens=False)

    @torch.no_grad()
    def hidden_states(self, context: AudioContext, question: Question) -> dict[int, Tensor]:
        """Decoder states at the answer position."""
        out = self._ask(context, build_tree([Question(question.prefix)]), hidden_layers=True)
        return {layer: states[:, -1].float().cpu() for layer, states in enumerate(out.hidden_states)}
