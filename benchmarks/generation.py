"""Written answers beside transformers' own batched ``generate``, in one run, on the true Qwen2-Audio class.

    python benchmarks/generation.py [--shape small] [--clips 2] [--prompts 4]
    python benchmarks/generation.py --shape 7b --device cuda --dtype bfloat16 --clips 8 --prompts 8 --tokens 64

Random weights, real speech (the demo corpus), the real processor, Whisper's vocabulary as tokenizer; greedy answers.
Both ways write all answers at once: rows are clips x prompts. Ours hears a clip and reads what its prompts share once;
``generate`` gets every row's own sound and prompt, padded on the left. The first tokens' seconds are those of sound and
prompt, until the vocabulary is reached; a token's are the others, divided by the number of further tokens. Then a share
of the vocabulary ends an answer, so that rows end at different steps. Both ways take turns, the best of each is shown.
"""

from __future__ import annotations

import argparse
import logging
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from prefix import PROMPTS, SHAPES, make_model, synchronise, timed
from torch import Tensor

from emoprobe.data.corpora.demo import read_demo
from emoprobe.data.sound.audio import read_audio
from emoprobe.labels import LabelSet
from emoprobe.models.answering import Question
from emoprobe.models.audio_llm import AudioLLM
from emoprobe.models.families.turns import move
from emoprobe.prompts.prompt import make_prompts
from emoprobe.readout.scoring.plan import make_plan
from emoprobe.settings import compose, plain


@dataclass(frozen=True)
class Written:
    """Answers of one way, one row for each clip and question.

    Args:
        tokens: Of each row, the end left out.
        first: Seconds until the first ones are chosen.
        seconds: For all of them.
        peak: Memory, MiB.
    """

    tokens: list[tuple[int, ...]]
    first: float
    seconds: float
    peak: float

    @property
    def count(self) -> int:
        """Tokens of all rows."""
        return sum(map(len, self.tokens))

    @property
    def per_token(self) -> float:
        """Seconds of each token behind the first ones."""
        return (self.seconds - self.first) / (self.count - len(self.tokens))


def measured(sfm: AudioLLM, write: Callable[[], list[tuple[int, ...]]]) -> Written:
    """What is written, with the time of the first pass through the vocabulary and the peak of memory."""
    reached: list[float] = []

    def note(*_: object) -> None:
        if not reached:
            synchronise()
            reached.append(time.perf_counter())

    forget_peak(sfm.model.device)
    handle = sfm.model.get_output_embeddings().register_forward_hook(note)
    start = time.perf_counter()
    seconds, tokens = timed(write)
    handle.remove()
    return Written(tokens, reached[0] - start, seconds, peak_mib(sfm.model.device))


def ours(sfm: AudioLLM, waves: list[Tensor], questions: list[Question], limit: int) -> Written:
    """All answers by emoprobe, from the waveforms on."""

    def write() -> list[tuple[int, ...]]:
        answers = sfm.generate(sfm.encode(waves), questions, max_new_tokens=limit)
        return [answer.tokens for clip in zip(*answers, strict=True) for answer in clip]

    return measured(sfm, write)


def theirs(sfm: AudioLLM, inputs: dict[str, Tensor], limit: int) -> Written:
    """All answers by ``generate``, from the processor's inputs on."""
    ends = list(sfm.stop_tokens)
    options = {"max_new_tokens": limit, "do_sample": False, "eos_token_id": ends, "pad_token_id": ends[0]}
    stop = set(ends)

    def write() -> list[tuple[int, ...]]:
        made = sfm.model.generate(**move(inputs, sfm.model.device, sfm.model.dtype), **options)
        rows = made[:, inputs["input_ids"].shape[1] :].tolist()
        lengths = [next((i for i, token in enumerate(row) if token in stop), len(row)) for row in rows]
        return [tuple(row[:length]) for row, length in zip(rows, lengths, strict=True)]

    return measured(sfm, write)


def batched(sfm: AudioLLM, waves: list[Tensor], questions: list[Question]) -> dict[str, Tensor]:
    """The processor's inputs of every clip and question side by side, padded on the left."""
    rows = [sfm.family.inputs(question.prompt, wave) for wave in waves for question in questions]
    width = max(row["input_ids"].shape[1] for row in rows)
    made = {}
    for name in rows[0]:
        values = [row[name] for row in rows]
        if name in ("input_ids", "attention_mask"):
            values = [torch.nn.functional.pad(value, (width - value.shape[1], 0)) for value in values]
        made[name] = torch.cat(values)
    return made


def forget_peak(device: torch.device) -> None:
    """Measure the peak of memory from here on."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    elif Path("/proc/self/clear_refs").exists():
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_mib(device: torch.device) -> float:
    """Peak memory since `forget_peak` of the device, or on a CPU of this process, MiB."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = [line for line in status.read_text(encoding="ascii").splitlines() if line.startswith("VmHWM")]
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def side_by_side(
    sfm: AudioLLM, waves: list[Tensor], questions: list[Question], inputs: dict[str, Tensor], limit: int, repeats: int
) -> tuple[Written, Written]:
    """Both ways in turn, of each the run whose tokens were fastest."""
    runs = [(ours(sfm, waves, questions, limit), theirs(sfm, inputs, limit)) for _ in range(repeats)]
    return min((a for a, _ in runs), key=lambda a: a.per_token), min((b for _, b in runs), key=lambda b: b.per_token)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, default="small")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--clips", type=int, default=2)
    parser.add_argument("--prompts", type=int, default=4, help="how many of the instruction prompts")
    parser.add_argument("--tokens", type=int, default=32, help="longest answer")
    parser.add_argument("--ends", type=float, default=0.05, help="share of the vocabulary that ends an answer")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--checkpoint", help="folder of the Whisper whose vocabulary is used, in place of Whisper base")
    options = parser.parse_args()

    logging.getLogger("transformers").setLevel(logging.ERROR)
    config = compose(["prompt=[" + ",".join(f"instruction/{name}" for name in PROMPTS[: options.prompts]) + "]"])
    labels = LabelSet(**plain(config.labels))
    sfm = make_model(options.shape, options.device, options.dtype, options.checkpoint)
    questions = [make_plan(sfm, prompt, labels).free for prompt in make_prompts(plain(config.prompt), labels)]
    utterances = read_demo().utterances
    waves = [torch.from_numpy(read_audio(utterances[i % len(utterances)].audio).waveform) for i in range(options.clips)]
    inputs = batched(sfm, waves, questions)
    rows = len(waves) * len(questions)

    own_stop, vocabulary = sfm.stop_tokens, sfm.model.get_output_embeddings().weight.shape[0]
    sfm.stop_tokens = own_stop[:1]
    asked = sfm, waves, questions, inputs
    side_by_side(*asked, 2, 1)
    whole = side_by_side(*asked, options.tokens, options.repeats)
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randperm(vocabulary, generator=generator)[: int(vocabulary * options.ends)].tolist()
    sfm.stop_tokens = (*own_stop, *drawn)
    ended = side_by_side(*asked, options.tokens, options.repeats)

    parameters = sum(p.numel() for p in sfm.model.parameters())
    print(
        f"{sfm.name}: {parameters / 1e6:,.0f} M parameters, {options.dtype}, {options.device}; {len(waves)} clips x "
        f"{len(questions)} prompts = {rows} rows, {options.tokens} tokens"
    )
    for name, made in zip(("(a) ours", "(b) generate"), whole, strict=True):
        each = made.per_token
        print(f"{name:16} {each * 1e3:9.3f} ms/token {1 / each:10.1f} tokens/s  peak {made.peak:.0f} MiB")
    print(f"(a) takes {whole[0].per_token / whole[1].per_token:.2f} times as long as (b) for a token")
    print(f"sound, prompts and first tokens: (a) {whole[0].first:.3f} s, (b) {whole[1].first:.3f} s")
    print(f"in all: (a) {whole[0].seconds:.3f} s, (b) {whole[1].seconds:.3f} s")
    lengths = [len(tokens) for tokens in ended[0].tokens]
    print(f"answers that end, after {min(lengths)} to {max(lengths)} tokens, {sum(lengths) / rows:.1f} on average:")
    ratio = ended[0].per_token / ended[1].per_token
    print(f"in all: (a) {ended[0].seconds:.3f} s, (b) {ended[1].seconds:.3f} s; for a token {ratio:.2f} times")
    same = [sum(map(tuple.__eq__, a.tokens, b.tokens)) for a, b in (whole, ended)]
    print(f"equal greedy answers: {same[0]} of {rows}, and {same[1]} of {rows} that end")


if __name__ == "__main__":
    main()
