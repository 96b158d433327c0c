"""Our scoring beside the naive ways of the field, in one run on real Whisper base and the demo corpus.

    python benchmarks/scoring.py [--clips 16] [--batch-size 8] [--dtype float32]

(a) ours: encode once, all prompts and labels as one token tree; (b) one full forward pass per clip, prompt and label;
(c) generation with scores, once per clip and prompt. (b) and (c) run on a few clips only and are given per clip. The
memory line runs (a) on one batch and on all clips: the peak must not grow.
"""

from __future__ import annotations

import argparse
import logging
import resource
import time
from collections.abc import Callable

import torch

from emoprobe.data.corpora.demo import read_demo
from emoprobe.data.sound.audio import read_audio
from emoprobe.labels import LabelSet
from emoprobe.models.answering import Question
from emoprobe.models.load import load_transcriber
from emoprobe.models.transcribers.whisper import Whisper
from emoprobe.prompts.prompt import make_prompts
from emoprobe.readout.scoring.plan import make_plan
from emoprobe.settings import compose, plain


def timed(work: Callable[[], object]) -> tuple[float, object]:
    """Seconds and result."""
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def ours(
    sfm: Whisper, waves: list[torch.Tensor], questions: list[Question], batch_size: int, spent: dict[str, float]
) -> list[torch.Tensor]:
    """Summed log-probability of every continuation, ``[continuations]`` per clip; adds encoder and decoder seconds."""
    sums = []
    for start in range(0, len(waves), batch_size):
        batch = waves[start : start + batch_size]
        seconds, features = timed(lambda batch=batch: sfm.input_features(batch))
        spent["features"] += seconds
        with torch.no_grad():
            seconds, states = timed(lambda features=features: sfm.model.model.encoder(features).last_hidden_state)
        spent["encoder"] += seconds
        seconds, scores = timed(lambda states=states: sfm.score(sfm.context_of(states), questions))
        spent["decoder"] += seconds
        flat = torch.stack([tokens.sum(-1) for per_question in scores for tokens in per_question], dim=-1)
        sums += list(flat)
    return sums


@torch.no_grad()
def naive(sfm: Whisper, wave: torch.Tensor, questions: list[Question]) -> torch.Tensor:
    """One plain transformers forward pass per prompt and label."""
    features = sfm.input_features([wave])
    sums = []
    for question in questions:
        for continuation in question.continuations:
            ids = torch.tensor([[*question.prefix, *continuation]])
            logits = sfm.model(input_features=features, decoder_input_ids=ids).logits.float().log_softmax(-1)
            size = len(continuation)
            sums.append(logits[0, -size - 1 : -1].gather(-1, ids[0, -size:, None]).sum())
    return torch.stack(sums)


@torch.no_grad()
def generation(sfm: Whisper, wave: torch.Tensor, questions: list[Question], max_new_tokens: int) -> None:
    """transformers' generate with scores, once per prompt."""
    features = sfm.input_features([wave])
    for question in questions:
        sfm.model.generate(
            features,
            decoder_input_ids=torch.tensor([question.prefix]),
            max_new_tokens=max_new_tokens,
            return_dict_in_generate=True,
            output_scores=True,
        )


def peak_mib() -> float:
    """Peak memory of this process, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=16, help="clips for (a)")
    parser.add_argument("--naive-clips", type=int, default=2, help="clips for (b) and (c)")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--prompts", type=int, default=8, help="how many of the Whisper prompts")
    parser.add_argument("--max-new-tokens", type=int, default=16, help="for (c)")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--checkpoint", help="folder of a Whisper, in place of Whisper base")
    options = parser.parse_args()

    logging.getLogger("transformers").setLevel(logging.ERROR)
    config = compose(["prompt=whisper_all"])
    labels = LabelSet(**plain(config.labels))
    # One surface form per label, so that a prompt asks exactly six continuations.
    prompts = [prompt for prompt in make_prompts(plain(config.prompt), labels) if len(prompt.forms) == 1]
    sfm = load_transcriber("openai/whisper-base", path=options.checkpoint, dtype=options.dtype, device="cpu")
    questions = [make_plan(sfm, prompt, labels).question for prompt in prompts[: options.prompts]]
    utterances = read_demo().utterances
    waves = [torch.from_numpy(read_audio(utterances[i % len(utterances)].audio).waveform) for i in range(options.clips)]
    few = waves[: options.naive_clips]

    ours(
        sfm,
        waves[: options.batch_size],
        questions,
        options.batch_size,
        dict.fromkeys(("features", "encoder", "decoder"), 0.0),
    )
    before = peak_mib()
    spent = dict.fromkeys(("features", "encoder", "decoder"), 0.0)
    seconds_ours, scores = timed(lambda: ours(sfm, waves, questions, options.batch_size, spent))
    after = peak_mib()
    seconds_ours /= len(waves)

    naive(sfm, few[0], questions[:1])  # warm-up
    seconds_naive, reference = timed(lambda: [naive(sfm, wave, questions) for wave in few])
    seconds_naive /= len(few)
    generation(sfm, few[0], questions[:1], options.max_new_tokens)
    seconds_generate, _ = timed(lambda: [generation(sfm, wave, questions, options.max_new_tokens) for wave in few])
    seconds_generate /= len(few)
    gap = max((ours_ - theirs).abs().max().item() for ours_, theirs in zip(scores, reference, strict=False))

    total = sum(spent.values())
    count = sum(len(question.continuations) for question in questions)
    threads = torch.get_num_threads()
    print(
        f"{options.checkpoint or 'Whisper base'}, {options.dtype}, {threads} threads; "
        f"{len(questions)} prompts, {count} continuations per clip"
    )
    print(
        f"(a) ours                 {seconds_ours:7.3f} s/clip   {len(waves)} clips in batches of {options.batch_size}"
    )
    print(f"(b) forward per cell     {seconds_naive:7.3f} s/clip   {seconds_naive / seconds_ours:5.1f} times ours")
    print(
        f"(c) generate per prompt  {seconds_generate:7.3f} s/clip   {seconds_generate / seconds_ours:5.1f} times ours"
    )
    print(f"largest difference (a)-(b)    {gap:.2e} nats")
    print(
        f"of (a): encoder {spent['encoder'] / total:.1%}, features {spent['features'] / total:.1%}, "
        f"cross-attention and decoder {spent['decoder'] / total:.1%}"
    )
    print(f"peak memory of (a): {before:.0f} MiB after one batch, {after:.0f} MiB after {len(waves)} clips")


if __name__ == "__main__":
    main()
