"""Whisper: an encoder-decoder SFM whose encoder output and cross-attention keys and values serve every question.

All questions about a batch of clips go through the decoder as one token tree (`emoprobe.models.tree`): the clip's keys
and values are shared by all nodes, never copied per prompt or label, and only the nodes that score a token reach the
vocabulary matrix. Suppress lists shape generated text only, never a stored logit.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import DynamicCache, EncoderDecoderCache, WhisperForConditionalGeneration, WhisperProcessor
from transformers.cache_utils import DynamicLayer

from emoprobe.errors import InputError
from emoprobe.models.base import (
    AudioContext,
    Generation,
    PromptText,
    Question,
    SpeechFoundationModel,
    pool,
)
from emoprobe.models.tree import build_tree

SAMPLES_PER_FRAME = 320  # 10 ms hop, halved by the encoder's second convolution: 20 ms at 16 kHz
VOCABULARY_ROWS = 256  # how many full-vocabulary rows are held at once: 53 MB in float32


class Whisper(SpeechFoundationModel):
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
        self.processor = processor
        self.name, self.revision = name, revision
        self.dtype = str(model.dtype).removeprefix("torch.")
        self.sampling_rate = processor.feature_extractor.sampling_rate
        self.max_seconds = float(processor.feature_extractor.chunk_length)
        self.end_token = model.config.eos_token_id
        self.start_tokens = self._start_tokens(language, task)

    def _start_tokens(self, language: str, task: str) -> tuple[int, ...]:
        tokenizer = self.processor.tokenizer
        names = ["<|startoftranscript|>"]
        if self.model.generation_config.is_multilingual:
            names += [f"<|{language}|>", f"<|{task}|>"]
        names.append("<|notimestamps|>")
        ids = tokenizer.convert_tokens_to_ids(names)
        for token, text in zip(ids, names, strict=True):
            if token is None or token == tokenizer.unk_token_id != self.end_token or tokenizer.decode([token]) != text:
                raise InputError(
                    f"this Whisper tokenizer has no token {text}",
                    field="model.language",
                    remedy="Use a language code of Whisper's, such as en, de or zh.",
                )
        return tuple(ids)

    def _text_tokens(self, text: str) -> tuple[int, ...]:
        return tuple(self.processor.tokenizer(text, add_special_tokens=False).input_ids)

    def question(self, prompt: PromptText, continuations: Sequence[str] = ()) -> Question:
        """Tokenise a prompt jointly with each continuation; Whisper's transcripts begin with a space."""
        if prompt.instruction or prompt.system is not None:
            raise InputError(
                f"{self.name} transcribes: it cannot follow an instruction",
                field="prompt",
                remedy="Use a completion prompt (prompt=whisper_all has several), or an audio LLM.",
            )
        before = f" {prompt.before}" if prompt.before else ""
        head = self._text_tokens(before)
        answers = []
        for text in continuations:
            joint = self._text_tokens(before + text)
            if joint[: len(head)] != head or len(joint) == len(head):
                raise InputError(
                    f"the tokenizer of {self.name} joins the end of the prompt {before!r} with the label in {text!r}",
                    field="prompt.template",
                    remedy="Put a space or another word between the template's text and {label}.",
                )
            answers.append((*joint[len(head) :], self.end_token))
        context: tuple[int, ...] = ()
        if prompt.context:
            previous = self.processor.tokenizer.convert_tokens_to_ids("<|startofprev|>")
            context = (previous, *self._text_tokens(f" {prompt.context}"))
        prefix = (*context, *self.start_tokens, *head)
        longest = len(prefix) + max((len(answer) for answer in answers), default=0)
        if longest > self.model.config.max_target_positions:
            raise InputError(
                f"the prompt with its longest label has {longest} tokens and {self.name} takes "
                f"{self.model.config.max_target_positions}",
                field="prompt",
                remedy="Shorten the prompt's context or template.",
            )
        return Question(prefix, tuple(answers))

    def input_features(self, waveforms: Sequence[Tensor]) -> Tensor:
        """Log-mel features of waveforms padded to 30 s, ``[clips, mels, 3000]``."""
        too_long = [i for i, wave in enumerate(waveforms) if len(wave) > self.max_seconds * self.sampling_rate + 1]
        if too_long:
            raise InputError(
                f"clip {too_long[0]} of the batch is longer than the {self.max_seconds:g} s that {self.name} hears",
                field="dataset.audio.max_seconds",
                remedy="Truncate or refuse long audio when reading it.",
            )
        features = self.processor.feature_extractor(
            [wave.numpy() for wave in waveforms],
            sampling_rate=self.sampling_rate,
            return_tensors="pt",
            device=self.model.device.type,
        )
        return features.input_features.to(self.model.device, self.model.dtype)

    @torch.no_grad()
    def encode(self, waveforms: Sequence[Tensor], layers: Sequence[int] = ()) -> AudioContext:
        """Encoder states and every decoder layer's cross-attention keys and values, once per clip."""
        features = self.input_features(waveforms)
        out = self.model.model.encoder(features, output_hidden_states=bool(layers))
        depth = self.model.config.encoder_layers
        unknown = [layer for layer in layers if not 0 <= layer <= depth]
        if unknown:
            raise InputError(f"{self.name} has no encoder layer {unknown[0]}", remedy=f"Layers are 0 to {depth}.")
        hidden = {layer: out.hidden_states[layer] for layer in layers}
        context = self.context_of(out.last_hidden_state)
        most = out.last_hidden_state.shape[1]
        context.frames = torch.tensor([min(-(-len(wave) // SAMPLES_PER_FRAME), most) for wave in waveforms])
        context.hidden = hidden
        return context

    @torch.no_grad()
    def encode_without_audio(self) -> AudioContext:
        """Encoder states of zero: the decoder's cross-attention carries no information at all."""
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
        return AudioContext(len(states), pairs, torch.full((len(states),), states.shape[1]))

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
    ):
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

    @torch.no_grad()
    def score(self, context: AudioContext, questions: Sequence[Question]) -> list[list[Tensor]]:
        """Log-probability of every continuation token, all questions in one decoder pass."""
        tree = build_tree(questions)
        tokens = torch.tensor(tree.tokens).expand(context.size, -1)
        cache = self._new_cache(context)
        states = self._decode(context, cache, tokens, torch.tensor(tree.depths), tree.ancestors()).last_hidden_state

        targets: dict[int, dict[int, int]] = {}  # node -> token -> its column among the node's targets
        for question, rows in zip(questions, tree.rows, strict=True):
            for continuation, nodes in zip(question.continuations, rows, strict=True):
                for node, token in zip(nodes, continuation, strict=True):
                    columns = targets.setdefault(node, {})
                    columns.setdefault(token, len(columns))
        place = {node: i for i, node in enumerate(targets)}
        wanted = torch.zeros(len(targets), max(map(len, targets.values())), dtype=torch.long)
        for node, columns in targets.items():
            wanted[place[node], : len(columns)] = torch.tensor(list(columns))
        values = self._log_probabilities(states[:, list(targets)], wanted)
        return [
            [
                torch.stack(
                    [
                        values[:, place[node], targets[node][token]]
                        for node, token in zip(nodes, continuation, strict=True)
                    ],
                    dim=-1,
                )
                for continuation, nodes in zip(question.continuations, rows, strict=True)
            ]
            for question, rows in zip(questions, tree.rows, strict=True)
        ]

    def _log_probabilities(self, states: Tensor, wanted: Tensor) -> Tensor:
        """Log-softmax over the whole vocabulary, in float32, of a few tokens per row.

        Only `VOCABULARY_ROWS` rows of the vocabulary exist at a time, in one buffer that is used again: allocating and
        first touching it for every row costs as much as the arithmetic.

        Args:
            states: ``[clips, rows, width]``.
            wanted: Token ids ``[rows, tokens]``.

        Returns:
            ``[clips, rows, tokens]`` on the CPU.
        """
        flat = states.reshape(-1, states.shape[-1])
        ids = wanted.to(flat.device).repeat(states.shape[0], 1)
        matrix = self.model.proj_out.weight
        size = min(VOCABULARY_ROWS, len(flat)) * len(matrix)
        buffer = torch.empty(size, dtype=matrix.dtype, device=flat.device)
        parts = []
        for start in range(0, len(flat), VOCABULARY_ROWS):
            rows = flat[start : start + VOCABULARY_ROWS]
            # Vocabulary first: on CPUs the product is nearly twice as fast this way round.
            out = buffer[: len(matrix) * len(rows)].view(len(matrix), len(rows))
            logits = torch.mm(matrix, rows.T, out=out).float()
            chosen = logits.gather(0, ids[start : start + VOCABULARY_ROWS].T)
            top = logits.amax(0)
            normalizer = logits.sub_(top).exp_().sum(0).log_() + top
            parts.append((chosen - normalizer).T.cpu())
        return torch.cat(parts).view(*states.shape[:2], -1)

    @torch.no_grad()
    def logits(self, context: AudioContext, questions: Sequence[Question]) -> Tensor:
        """Raw next-token logits at the answer position, ``[clips, questions, vocabulary]`` float32."""
        tree = build_tree([Question(question.prefix) for question in questions])
        tokens = torch.tensor(tree.tokens).expand(context.size, -1)
        cache = self._new_cache(context)
        states = self._decode(context, cache, tokens, torch.tensor(tree.depths), tree.ancestors()).last_hidden_state
        return self.model.proj_out(states[:, list(tree.ends)]).float().cpu()

    @torch.no_grad()
    def generate(
        self,
        context: AudioContext,
        questions: Sequence[Question],
        *,
        max_new_tokens: int,
        keep: Sequence[Sequence[int]] | None = None,
    ) -> list[list[Generation]]:
        """Greedy answers as transformers' own ``generate`` gives them, with raw logits of chosen tokens.

        One node per question is added at each step, so that the clip's keys and values are shared by all questions.
        """
        keep = keep if keep is not None else [()] * len(questions)
        config = self.model.generation_config
        suppressed = list(config.suppress_tokens or [])
        suppressed_first = suppressed + list(config.begin_suppress_tokens or [])
        limit = self.model.config.max_target_positions
        tree = build_tree([Question(question.prefix) for question in questions])
        ends = list(tree.ends)
        ancestors = tree.ancestors()
        cache = self._new_cache(context)
        tokens = torch.tensor(tree.tokens).expand(context.size, -1)
        states = self._decode(context, cache, tokens, torch.tensor(tree.depths), ancestors).last_hidden_state[:, ends]

        visible = ancestors[ends]
        own = torch.eye(len(questions), dtype=torch.bool)
        depths = torch.tensor([tree.depths[end] for end in ends])
        done = torch.zeros(context.size, len(questions), dtype=torch.bool)
        steps: list[Tensor] = []
        kept: list[list[Tensor]] = [[] for _ in questions]
        normalizers: list[Tensor] = []
        for step in range(max_new_tokens):
            logits = self.model.proj_out(states).float()
            normalizers.append(logits.logsumexp(-1).cpu())
            for i, ids in enumerate(keep):
                kept[i].append(logits[:, i, list(ids)].cpu())
            logits[..., suppressed if step else suppressed_first] = -torch.inf
            chosen = logits.argmax(-1).cpu()
            steps.append(chosen.masked_fill(done, self.end_token))
            done |= chosen == self.end_token
            depths = depths + 1
            if done.all() or int(depths.max()) >= limit:
                break
            visible = torch.cat([visible, own], dim=1)
            states = self._decode(context, cache, steps[-1], depths, visible).last_hidden_state
        sequence = torch.stack(steps, dim=-1)  # [clips, questions, steps]
        lse = torch.stack(normalizers, dim=-1)
        return [
            [
                self._generation(sequence[clip, i], torch.stack([row[clip] for row in kept[i]]), lse[clip, i])
                for clip in range(context.size)
            ]
            for i in range(len(questions))
        ]

    def _generation(self, sequence: Tensor, kept: Tensor, normalizer: Tensor) -> Generation:
        ids = sequence.tolist()
        finished = self.end_token in ids
        length = ids.index(self.end_token) if finished else len(ids)
        positions = length + 1 if finished else length
        text = self.decode(ids[:length])
        return Generation(tuple(ids[:length]), text, finished, kept[:positions], normalizer[:positions])

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of generated tokens, special tokens included."""
        return self.processor.tokenizer.decode(list(tokens), skip_special_tokens=False)

    @torch.no_grad()
    def hidden_states(
        self, context: AudioContext, *, pooling: str = "mean", question: Question | None = None
    ) -> dict[int, Tensor]:
        """Encoder states pooled over the clip's own frames, or decoder states at the answer position."""
        if question is not None:
            tree = build_tree([Question(question.prefix)])
            tokens = torch.tensor(tree.tokens).expand(context.size, -1)
            cache = self._new_cache(context)
            out = self._decode(context, cache, tokens, torch.tensor(tree.depths), tree.ancestors(), hidden_layers=True)
            return {layer: states[:, -1].float().cpu() for layer, states in enumerate(out.hidden_states)}
        return {layer: pool(states.float().cpu(), context.frames, pooling) for layer, states in context.hidden.items()}
