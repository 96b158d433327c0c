"""What the score cache spares and costs: a sweep without one, with a cold one, a warm one, and with one prompt more.

    python benchmarks/score_cache.py --checkpoint DIR [--clips 48] [--prompts 4] [--batch-size 8] [--repeats 3]

The demo corpus, the likelihood of all labels, no null inputs; the model is loaded once and in no time below, the cache
is opened (its weights hashed, its keys read) and written in all of them. Every time is the shortest of its repeats.
Rows with a cold cache are those without one, and warm rows are those of the run that asked, bit by bit; the prompt that
is new is compared with a run that asks all prompts at once.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from emoprobe.data.corpora.demo import read_demo
from emoprobe.data.datamodule import Batch
from emoprobe.data.sound.audio import read_audio
from emoprobe.labels import LabelSet
from emoprobe.models.base import SpeechFoundationModel
from emoprobe.models.identity import sha256_of_weights
from emoprobe.models.load import load_transcriber
from emoprobe.prompts.prompt import Prompt, make_prompts
from emoprobe.readout.base import make_readouts
from emoprobe.readout.scoring.module import ZeroShotProbe
from emoprobe.readout.scoring.plan import Plans
from emoprobe.settings import compose, plain


class Sweep:
    """Prompts asked of all clips, and how long that took."""

    def __init__(
        self, sfm: SpeechFoundationModel, batches: Sequence[Batch], labels: LabelSet, prompts: Sequence[Prompt]
    ) -> None:
        self.sfm, self.batches, self.labels, self.prompts = sfm, batches, labels, prompts

    def run(self, cache: Path | None) -> tuple[float, list[dict], int]:
        """Seconds, rows, and how many of them came out of the cache."""
        plans, readouts = Plans(self.sfm, self.prompts, self.labels), make_readouts({"label_likelihood": {}})
        begun = time.perf_counter()
        probe = ZeroShotProbe(self.sfm, plans, readouts, cache)
        probe.heard = True  # the check of hearing is no part of the sweep
        with torch.no_grad():
            rows = [row for batch in self.batches for row in probe.predict_step(batch)]
        probe.flush()
        return time.perf_counter() - begun, rows, probe.known.cells


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", required=True, help="a Whisper on disk")
    parser.add_argument("--clips", type=int, default=48)
    parser.add_argument("--prompts", type=int, default=4, help="of the first sweep; the next has one more")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()

    logging.getLogger("transformers").setLevel(logging.ERROR)
    sfm = load_transcriber("a Whisper", path=options.checkpoint, device="cpu")
    config = compose(["prompt=bare_label"])
    labels = LabelSet(**plain(config.labels))
    templates = {f"prompt {i}": {"template": f"{'Again. ' * i}The voice sounds {{label}}."} for i in range(9)}
    prompts = make_prompts({name: {"family": "completion", **one} for name, one in templates.items()}, labels)
    prompts = prompts[: options.prompts + 1]
    utterances = read_demo().utterances[: options.clips]
    batches = [
        Batch(list(part), [read_audio(utterance.audio) for utterance in part], [])
        for part in (utterances[at : at + options.batch_size] for at in range(0, len(utterances), options.batch_size))
    ]
    first = Sweep(sfm, batches, labels, prompts[:-1])
    second = Sweep(sfm, batches, labels, prompts)
    second.run(None)  # warm-up
    spent: dict[str, list[float]] = {name: [] for name in ("plain", "cold", "again", "whole", "one more")}
    for _ in range(options.repeats):
        with tempfile.TemporaryDirectory() as folder:
            seconds, plain_rows, _ = first.run(None)
            spent["plain"].append(seconds)
            seconds, cold_rows, _ = first.run(Path(folder))
            spent["cold"].append(seconds)
            seconds, warm_rows, _ = first.run(Path(folder))
            spent["again"].append(seconds)
            seconds, whole_rows, _ = second.run(None)
            spent["whole"].append(seconds)
            seconds, more_rows, held = second.run(Path(folder))
            spent["one more"].append(seconds)
            size = sum(file.stat().st_size for file in Path(folder).glob("*/*.parquet"))
    best = {name: min(seconds) for name, seconds in spent.items()}
    begun = time.perf_counter()
    sha256_of_weights(sfm.model)
    hashed = time.perf_counter() - begun
    asked = len(more_rows) - held
    gap = max(
        float(np.abs(np.subtract(one["form_logprobs"], other["form_logprobs"])).max())
        for one, other in zip(whole_rows, more_rows, strict=True)
    )
    known = {(row["utterance_id"], row["prompt"]): row for row in cold_rows}
    kept = [row for row in more_rows if row["prompt"] != prompts[-1].name]
    parameters = sum(one.numel() for one in sfm.model.parameters())
    print(
        f"{options.checkpoint}, {torch.get_num_threads()} threads; {len(utterances)} clips, {len(prompts) - 1} prompts"
    )
    print(f"without a cache           {best['plain']:8.3f} s")
    print(f"with a cold one           {best['cold']:8.3f} s   {best['cold'] / best['plain']:.3f} of it")
    print(f"with a warm one           {best['again']:8.3f} s   {best['again'] / best['plain']:.3f} of it")
    print(f"one prompt more, none     {best['whole']:8.3f} s")
    print(
        f"one prompt more, warm     {best['one more']:8.3f} s   {best['one more'] / best['whole']:.3f} of it; asked "
        f"{asked} of {len(more_rows)} cells"
    )
    print(f"hash of the weights       {hashed:8.3f} s   {parameters / 1e6:.1f} M parameters")
    print(f"bytes of a cell           {size / len(more_rows):8.0f}")
    print(f"equal rows: cold {plain_rows == cold_rows}, warm {warm_rows == cold_rows}, with one prompt more", end=" ")
    print(all(row == known[row["utterance_id"], row["prompt"]] for row in kept))
    print(f"largest difference from all prompts at once {gap:.1e} nats")


if __name__ == "__main__":
    main()
