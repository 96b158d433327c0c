"""Shared-prefix scoring of an audio LLM beside two naive ways, in one run, on the true Qwen2-Audio class.

    python benchmarks/prefix.py [--shape small] [--clips 4]
    python benchmarks/prefix.py --shape 7b --device cuda --dtype bfloat16 --clips 32 --batch-size 8

Random weights, real speech (the demo corpus), the real processor, Whisper's vocabulary as tokenizer; 8 instruction
prompts x 6 labels. (a) ours: the sound embedded once, the prefix prefilled once, questions as one token tree, clips
read and prepared ahead by the data module as in a run; (b) one full forward pass per clip, prompt and label; (c) one
forward pass per clip and prompt with the labels as a batch, the sound encoded once for its rows. (b) and (c) run on a
few clips and are given per clip. What (a) spends is measured in sequence, the device waited for after each part: so the
parts add up to more than (a) where they overlap. The last line compares with the device's own matrix throughput,
measured in the same run.
"""

from __future__ import annotations

import argparse
import json
import logging
import resource
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from emoprobe.data.corpora.demo import read_demo
from emoprobe.data.datamodule import SpeechDataModule, workers_beside
from emoprobe.data.sound.audio import read_audio
from emoprobe.data.sound.limits import AudioLimits
from emoprobe.data.utterance import Utterance
from emoprobe.labels import LabelSet
from emoprobe.models import audio_llm, weights
from emoprobe.models.answering import Question
from emoprobe.models.audio_llm import AudioLLM
from emoprobe.models.families.qwen2_audio import Qwen2Audio
from emoprobe.prompts.prompt import make_prompts
from emoprobe.readout.scoring.plan import make_plan
from emoprobe.settings import compose, plain

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|AUDIO|>", "<|audio_bos|>", "<|audio_eos|>"]
PROMPTS = ["percentages", "ranked_list", "single_word", "probability_dict"]
PROMPTS += [f"{name}_{kind}_stimulus" for name in PROMPTS[2:] for kind in ("emotional", "negative")]
# Layers, width, heads and feed-forward width of encoder and decoder; vocabulary (0: the tokenizer's).
SHAPES = {
    "tiny": ((2, 64, 2, 128), (2, 64, 2, 128), 0),
    "small": ((8, 512, 8, 2048), (12, 768, 12, 2048), 0),
    "7b": ((32, 1280, 20, 5120), (32, 4096, 32, 11008), 156032),
}


def processor(checkpoint: str | None):
    """The true processor with Whisper's byte-level vocabulary."""
    from transformers import Qwen2AudioProcessor, Qwen2Tokenizer, WhisperFeatureExtractor

    folder = weights.resolve("openai/whisper-base", path=checkpoint).path
    model = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]
    merges = [tuple(merge.split()) if isinstance(merge, str) else tuple(merge) for merge in model["merges"]]
    tokenizer = Qwen2Tokenizer(vocab=model["vocab"], merges=merges, eos_token=SPECIAL[0], pad_token=SPECIAL[0])
    tokenizer.add_tokens(SPECIAL, special_tokens=True)
    return Qwen2AudioProcessor(WhisperFeatureExtractor(feature_size=128, return_attention_mask=True), tokenizer)


def make_model(shape: str, device: str, dtype: str, checkpoint: str | None = None) -> AudioLLM:
    """A randomly initialised Qwen2-Audio of a shape."""
    from transformers import GenerationConfig, Qwen2AudioConfig, Qwen2AudioForConditionalGeneration

    made = processor(checkpoint)
    ids = dict(zip(SPECIAL, made.tokenizer.convert_tokens_to_ids(SPECIAL), strict=True))
    encoder, decoder, vocabulary = SHAPES[shape]
    names = ("encoder_layers", "d_model", "encoder_attention_heads", "encoder_ffn_dim")
    text = ("num_hidden_layers", "hidden_size", "num_attention_heads", "intermediate_size")
    config = Qwen2AudioConfig(
        audio_config=dict(zip(names, encoder, strict=True))
        | {"model_type": "qwen2_audio_encoder", "num_mel_bins": 128},
        text_config=dict(zip(text, decoder, strict=True))
        | {
            "model_type": "qwen2",
            "num_key_value_heads": decoder[2],
            "vocab_size": vocabulary or len(made.tokenizer),
            "bos_token_id": ids["<|endoftext|>"],
            "eos_token_id": ids["<|im_end|>"],
        },
        audio_token_index=ids["<|AUDIO|>"],
    )
    torch.manual_seed(0)
    torch.set_default_dtype(getattr(torch, dtype))
    with torch.device(device):
        model = Qwen2AudioForConditionalGeneration(config)
    torch.set_default_dtype(torch.float32)
    model.generation_config = GenerationConfig(eos_token_id=[ids["<|im_end|>"], ids["<|endoftext|>"]])
    return AudioLLM(model, Qwen2Audio(model, made), name=f"Qwen2-Audio, {shape}", revision="random")


def synchronise() -> None:
    """Wait for the device."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def timed(work: Callable[[], object]) -> tuple[float, object]:
    """Seconds and result."""
    synchronise()
    start = time.perf_counter()
    result = work()
    synchronise()
    return time.perf_counter() - start, result


def sums_of(scores: list[list[Tensor]]) -> list[Tensor]:
    """Summed log-probability of every continuation, ``[continuations]`` per clip."""
    return list(torch.stack([tokens.sum(-1) for row in scores for tokens in row], dim=-1))


def in_parts(sfm: AudioLLM, waves: list[Tensor], questions: list[Question], batch_size: int) -> Counter[str]:
    """Seconds of each part of the work, one after the other."""
    spent: Counter[str] = Counter()
    for start in range(0, len(waves), batch_size):
        batch = waves[start : start + batch_size]
        spent["processor"], clips = add(spent["processor"], lambda b=batch: [sfm.prepare_clip(wave) for wave in b])
        spent["encoder"], context = add(spent["encoder"], lambda b=batch, c=clips: sfm.encode(b, prepared=c))
        spent["questions"], _ = add(spent["questions"], lambda c=context: sfm.score(c, questions))
    return spent


def add(before: float, work: Callable[[], object]) -> tuple[float, object]:
    """Seconds before and of some work, and its result."""
    seconds, result = timed(work)
    return before + seconds, result


def ours(
    sfm: AudioLLM, utterances: Sequence[Utterance], questions: list[Question], batch_size: int, workers: int
) -> list[Tensor]:
    """Every clip's `sums_of`, read and prepared by the data module; the longest clip first."""
    data = SpeechDataModule(
        utterances,
        sfm.sampling_rate,
        AudioLimits(),
        batch_size=batch_size,
        num_workers=workers,
        prepare=sfm.prepare_clip,
    )
    sums = []
    for batch in data.predict_dataloader():
        waves = [torch.from_numpy(clip.waveform) for clip in batch.clips]
        sums += sums_of(sfm.score(sfm.encode(waves, prepared=batch.prepared), questions))
    return sums


class Operations(TorchDispatchMode):
    """Counts what is handed to the device: on a GPU as good as the launches, which take the CPU's time."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        """One more."""
        self.count += 1
        return func(*args, **(kwargs or {}))


@contextmanager
def counted(module: torch.nn.Module, sizes: list[tuple[int, ...]]) -> Iterator[None]:
    """Keeps the shape of what goes into a module, pass by pass, of passes that come to their end."""

    def keep(module, args, kwargs, output):
        sizes.append(tuple((args[0] if args else kwargs["inputs_embeds"]).shape))

    handle = module.register_forward_hook(keep, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


def passes(sfm: AudioLLM, waves: list[Tensor], questions: list[Question]) -> str:
    """What goes through the model for one batch, in words."""
    clips = [sfm.prepare_clip(wave) for wave in waves]
    heard: list[tuple[int, ...]] = []
    read: list[tuple[int, ...]] = []
    with counted(sfm.family.encoder_layers[0], heard), counted(sfm.family.decoder, read), Operations() as operations:
        sfm.score(sfm.encode(waves, prepared=clips), questions)
    positions = [clips * positions for clips, positions, _ in read]
    return (
        f"a batch of {len(waves)}: {len(heard)} encoder passes of {len(waves) / len(heard):.1f} clips, "
        f"{len(read)} decoder passes of {' and '.join(f'{number:,}' for number in positions)} positions, "
        f"{operations.count:,} operations handed over"
    )


@torch.no_grad()
def per_cell(sfm: AudioLLM, wave: Tensor, questions: list[Question]) -> Tensor:
    """One plain forward pass per prompt and label."""
    sums = []
    for question in questions:
        for continuation in question.continuations:
            logits = sfm.reference(wave, question, continuation[:-1]).log_softmax(-1)
            sums.append(logits[-len(continuation) :].gather(-1, torch.tensor(continuation)[:, None]).sum())
    return torch.stack(sums)


@torch.no_grad()
def per_prompt(sfm: AudioLLM, wave: Tensor, questions: list[Question]) -> Tensor:
    """One forward pass per prompt: the labels are rows, padded on the right, over one encoding of the sound."""
    sums = []
    token = sfm.family.audio_token_id
    for question in questions:
        sound = sfm.hear([wave]).sounds[0]
        place = question.prefix.index(token)
        longest = max(map(len, question.continuations)) - 1
        rows, mask = [], []
        for continuation in question.continuations:
            body = list(continuation[:-1])
            rows.append([*question.prefix, *body, *[0] * (longest - len(body))])
            mask.append([1] * (len(question.prefix) + len(sound) - 1 + len(body)) + [0] * (longest - len(body)))
        embedded = sfm.model.get_input_embeddings()(torch.tensor(rows, device=sfm.model.device))
        merged = torch.cat([embedded[:, :place], sound.expand(len(rows), -1, -1), embedded[:, place + 1 :]], dim=1)
        attention = torch.tensor(mask, device=sfm.model.device)
        logits = sfm.model(inputs_embeds=merged, attention_mask=attention, use_cache=False).logits
        start = merged.shape[1] - longest - 1
        for row, continuation in enumerate(question.continuations):
            values = logits[row, start : start + len(continuation)].float().log_softmax(-1).cpu()
            sums.append(values.gather(-1, torch.tensor(continuation)[:, None]).sum())
    return torch.stack(sums)


def peak_mib(device: str) -> float:
    """Peak memory of the device, or of this process on a CPU, MiB."""
    if device != "cpu":
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def matrix_throughput(device: str, dtype: str) -> float:
    """Measured floating-point operations per second of a large matrix product."""
    size = 8192 if device != "cpu" else 1024
    a = torch.randn(size, size, device=device, dtype=getattr(torch, dtype))
    a @ a
    seconds, _ = timed(lambda: [a @ a for _ in range(10)])
    return 10 * 2 * size**3 / seconds


def operations(sfm: AudioLLM, waves: list[Tensor], questions: list[Question]) -> float:
    """Floating-point operations of our way, matrix products with weights only (attention left out)."""
    from emoprobe.models.tree import fold

    def parameters(module) -> int:
        return sum(p.numel() for name, p in module.named_parameters() if p.dim() > 1 and "embed" not in name)

    context = sfm.encode(waves)
    group = next(sfm._groups(context, questions, 10**9))
    asked = fold(group.questions(questions), torch.device("cpu"))
    scored = len(asked.nodes)
    positions = int(group.prefix.lengths.sum()) + len(waves) * len(asked.tokens)
    head = sfm.model.get_output_embeddings().weight.numel()
    encoder = parameters(sfm.model.get_submodule("model.audio_tower")) * 1500 * len(waves)
    return 2.0 * (encoder + parameters(sfm.family.decoder) * positions + head * scored * len(waves))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, default="small")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--clips", type=int, default=8, help="clips for (a)")
    parser.add_argument("--naive-clips", type=int, default=1, help="clips for (b) and (c), 0 to leave them out")
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--prompts", type=int, default=len(PROMPTS), help="how many of the instruction prompts")
    parser.add_argument("--checkpoint", help="folder of the Whisper whose vocabulary is used, in place of Whisper base")
    parser.add_argument("--workers", type=int, help="processes that prepare clips ahead, in place of the default")
    parser.add_argument("--together", type=int, help="most clips of an encoder pass, in place of the default")
    options = parser.parse_args()

    logging.getLogger("transformers").setLevel(logging.ERROR)
    config = compose(["prompt=[" + ",".join(f"instruction/{name}" for name in PROMPTS[: options.prompts]) + "]"])
    labels = LabelSet(**plain(config.labels))
    sfm = make_model(options.shape, options.device, options.dtype, options.checkpoint)
    prompts = make_prompts(plain(config.prompt), labels)
    questions = [make_plan(sfm, prompt, labels).question for prompt in prompts]
    if options.together:
        audio_llm.clips_at_once = lambda device: options.together
    demo = read_demo().utterances
    utterances = [replace(demo[i % len(demo)], id=f"{i:04}") for i in range(options.clips)]
    waves = [torch.from_numpy(read_audio(utterance.audio).waveform) for utterance in utterances]
    few = waves[: options.naive_clips]
    batch, size = waves[: options.batch_size], options.batch_size
    workers = workers_beside(options.workers, sfm.model.device)

    in_parts(sfm, batch, questions[:1], size)
    one_prompt = peak_mib(options.device)
    in_parts(sfm, batch, questions, size)
    all_prompts = peak_mib(options.device)
    many = [q for q in questions for _ in range(4)]
    in_parts(sfm, batch, _distinct(sfm, many), size)
    four_times = peak_mib(options.device)
    seconds, _ = timed(lambda: ours(sfm, utterances, questions, size, workers))
    seconds_ours = seconds / len(waves)
    spent = in_parts(sfm, waves, questions, size)
    whole = spent.total()

    parameters = sum(p.numel() for p in sfm.model.parameters())
    cells = sum(len(question.continuations) for question in questions)
    print(
        f"{sfm.name}: {parameters / 1e6:,.0f} M parameters, {options.dtype}, {options.device}; "
        f"{len(questions)} prompts, {cells} continuations per clip"
    )
    print(f"(a) ours                        {seconds_ours:8.4f} s/clip   {1 / seconds_ours:.2f} clips/s")
    if few:
        against_plain(sfm, few, questions, seconds_ours)
    parts = ", ".join(f"{name} {seconds / len(waves):.4f} s ({seconds / whole:.1%})" for name, seconds in spent.items())
    print(f"in sequence {whole / len(waves):.4f} s/clip: {parts}; (a) reads and prepares in {workers} processes")
    print(passes(sfm, batch, questions))
    print(
        f"peak memory: {one_prompt:.0f} MiB with 1 prompt, {all_prompts:.0f} with {len(questions)}, "
        f"{four_times:.0f} with {len(many)}"
    )
    done = operations(sfm, waves[: options.batch_size], questions) / min(options.batch_size, len(waves))
    share = done / seconds_ours / matrix_throughput(options.device, options.dtype)
    print(f"{done / 1e9:,.0f} G operations per clip in products with weights: {share:.0%} of the matrix throughput")


def against_plain(sfm: AudioLLM, waves: list[Tensor], questions: list[Question], seconds_ours: float) -> None:
    """Time the naive ways on some clips, and print them with the largest difference from ours."""
    scores = sums_of(sfm.score(sfm.encode(waves), questions))
    seconds_cell, reference = timed(lambda: [per_cell(sfm, wave, questions) for wave in waves])
    seconds_prompt, batched = timed(lambda: [per_prompt(sfm, wave, questions) for wave in waves])
    seconds_cell, seconds_prompt = seconds_cell / len(waves), seconds_prompt / len(waves)
    gaps = [
        max((a - b).abs().max().item() for a, b in zip(scores, other, strict=True)) for other in (reference, batched)
    ]
    print(f"(b) forward per prompt, label   {seconds_cell:8.4f} s/clip   {seconds_cell / seconds_ours:5.1f} times")
    print(f"(c) forward per prompt          {seconds_prompt:8.4f} s/clip   {seconds_prompt / seconds_ours:5.1f} times")
    print(f"largest difference: (a)-(b) {gaps[0]:.2e}, (a)-(c) {gaps[1]:.2e} nats")


def _distinct(sfm: AudioLLM, questions: list[Question]) -> list[Question]:
    """Questions made different by one token before their last, as further prompts would be."""
    turned = []
    for i, question in enumerate(questions):
        place = question.prefix.index(sfm.family.audio_token_id) + 3
        prefix = (*question.prefix[:place], i, *question.prefix[place:])
        turned.append(Question(prefix, question.continuations))
    return turned


if __name__ == "__main__":
    main()
