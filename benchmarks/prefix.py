"""Shared-prefix scoring of an audio LLM beside two naive ways, in one run, on the true Qwen2-Audio class.

    python benchmarks/prefix.py [--shape small] [--clips 4]
    python benchmarks/prefix.py --shape 7b --device cuda --dtype bfloat16 --clips 32 --batch-size 8

Random weights, real speech (the demo corpus), the real processor, Whisper's vocabulary as tokenizer; 8 instruction
prompts x 6 labels. (a) ours: the sound embedded once, the prefix prefilled once, questions as one token tree; (b) one
full forward pass per clip, prompt and label; (c) one forward pass per clip and prompt with the labels as a batch, the
sound encoded once for its rows. (b) and (c) run on a few clips and are given per clip. The last line compares with the
device's own matrix throughput, measured in the same run.
"""

from __future__ import annotations

import argparse
import json
import logging
import resource
import time
from collections.abc import Callable

import torch
from torch import Tensor

from emoprobe.data.audio import read_audio
from emoprobe.data.corpora.demo import read_demo
from emoprobe.labels import LabelSet
from emoprobe.models import weights
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


def ours(sfm: AudioLLM, waves: list[Tensor], questions: list[Question], batch_size: int, spent: dict) -> list[Tensor]:
    """Summed log-probability of every continuation, ``[continuations]`` per clip; adds the seconds spent."""
    sums = []
    for start in range(0, len(waves), batch_size):
        seconds, context = timed(lambda start=start: sfm.encode(waves[start : start + batch_size]))
        spent["sound"] += seconds
        seconds, scores = timed(lambda context=context: sfm.score(context, questions))
        spent["questions"] += seconds
        sums += list(torch.stack([tokens.sum(-1) for row in scores for tokens in row], dim=-1))
    return sums


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
    from emoprobe.models.tree import build_tree, find_scored

    def parameters(module) -> int:
        return sum(p.numel() for name, p in module.named_parameters() if p.dim() > 1 and "embed" not in name)

    context = sfm.encode(waves)
    group = next(sfm._groups(context, questions, 10**9))
    tree = build_tree(group.questions(questions))
    scored = len(find_scored(group.questions(questions), tree).nodes)
    positions = int(group.prefix.lengths.sum()) + len(waves) * len(tree.tokens)
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
    parser.add_argument("--naive-clips", type=int, default=1, help="clips for (b) and (c)")
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--prompts", type=int, default=len(PROMPTS), help="how many of the instruction prompts")
    parser.add_argument("--checkpoint", help="folder of the Whisper whose vocabulary is used, in place of Whisper base")
    options = parser.parse_args()

    logging.getLogger("transformers").setLevel(logging.ERROR)
    config = compose(["prompt=[" + ",".join(f"instruction/{name}" for name in PROMPTS[: options.prompts]) + "]"])
    labels = LabelSet(**plain(config.labels))
    sfm = make_model(options.shape, options.device, options.dtype, options.checkpoint)
    prompts = make_prompts(plain(config.prompt), labels)
    questions = [make_plan(sfm, prompt, labels).question for prompt in prompts]
    utterances = read_demo().utterances
    waves = [torch.from_numpy(read_audio(utterances[i % len(utterances)].audio).waveform) for i in range(options.clips)]
    few = waves[: options.naive_clips]

    spent = dict.fromkeys(("sound", "questions"), 0.0)
    ours(sfm, waves[: options.batch_size], questions[:1], options.batch_size, dict(spent))
    one_prompt = peak_mib(options.device)
    ours(sfm, waves[: options.batch_size], questions, options.batch_size, dict(spent))
    all_prompts = peak_mib(options.device)
    many = [q for q in questions for _ in range(4)]
    ours(sfm, waves[: options.batch_size], _distinct(sfm, many), options.batch_size, dict(spent))
    four_times = peak_mib(options.device)
    seconds, scores = timed(lambda: ours(sfm, waves, questions, options.batch_size, spent))
    seconds_ours = seconds / len(waves)
    seconds_cell, reference = timed(lambda: [per_cell(sfm, wave, questions) for wave in few])
    seconds_prompt, batched = timed(lambda: [per_prompt(sfm, wave, questions) for wave in few])
    seconds_cell, seconds_prompt = seconds_cell / len(few), seconds_prompt / len(few)
    gaps = [
        max((a - b).abs().max().item() for a, b in zip(scores, other, strict=False)) for other in (reference, batched)
    ]

    parameters = sum(p.numel() for p in sfm.model.parameters())
    cells = sum(len(question.continuations) for question in questions)
    print(
        f"{sfm.name}: {parameters / 1e6:,.0f} M parameters, {options.dtype}, {options.device}; "
        f"{len(questions)} prompts, {cells} continuations per clip"
    )
    print(f"(a) ours                        {seconds_ours:8.3f} s/clip   {1 / seconds_ours:.2f} clips/s")
    print(f"(b) forward per prompt, label   {seconds_cell:8.3f} s/clip   {seconds_cell / seconds_ours:5.1f} times")
    print(f"(c) forward per prompt          {seconds_prompt:8.3f} s/clip   {seconds_prompt / seconds_ours:5.1f} times")
    print(f"largest difference: (a)-(b) {gaps[0]:.2e}, (a)-(c) {gaps[1]:.2e} nats")
    print(f"of (a): sound {spent['sound'] / seconds:.1%}, prefix and questions {spent['questions'] / seconds:.1%}")
    print(
        f"peak memory: {one_prompt:.0f} MiB with 1 prompt, {all_prompts:.0f} with {len(questions)}, "
        f"{four_times:.0f} with {len(many)}"
    )
    done = operations(sfm, waves[: options.batch_size], questions) / min(options.batch_size, len(waves))
    share = done / seconds_ours / matrix_throughput(options.device, options.dtype)
    print(f"{done / 1e9:,.0f} G operations per clip in products with weights: {share:.0%} of the matrix throughput")


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
