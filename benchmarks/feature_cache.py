"""One epoch of a linear probe from the feature cache beside the same epoch with every clip encoded again.

    python benchmarks/feature_cache.py [--clips 48] [--batch-size 8] [--dtype float32]

Real Whisper base and the demo corpus, in one run. Both epochs start from the same probe, take the clips in the same
order and pool the last encoder layer; their losses must agree up to rounding. At last an empty cache is filled by one
process and by two at once, each with one thread, and what they encode is counted.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Sequence
from multiprocessing.synchronize import Barrier
from pathlib import Path

import torch
from torch import Tensor

from emoprobe.data.corpora.demo import WORDS, read_demo
from emoprobe.data.sound.audio import read_audio
from emoprobe.data.sound.limits import AudioLimits
from emoprobe.data.utterance import Utterance
from emoprobe.models.load import load_transcriber
from emoprobe.models.transcribers.whisper import Whisper
from emoprobe.training.feature_spec import FeatureSpec
from emoprobe.training.features import extract
from emoprobe.training.store import FeatureStore


def epoch(read: Callable[[Sequence[Utterance]], Tensor], batches: Sequence[Sequence[Utterance]]) -> list[float]:
    """Cross-entropy with the raters' shares (nats) of each step of one epoch of a fresh linear probe."""
    probe = optimizer = None
    losses = []
    for batch in batches:
        features = read(batch)
        if probe is None:
            torch.manual_seed(0)
            probe = torch.nn.Linear(features.shape[-1], len(WORDS))
            optimizer = torch.optim.AdamW(probe.parameters(), lr=1e-3)
        votes = torch.tensor([[utterance.votes[word] for word in WORDS] for utterance in batch])
        loss = torch.nn.functional.cross_entropy(probe(features), votes / votes.sum(-1, keepdim=True))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def encode_again(sfm: Whisper, batch: Sequence[Utterance], layer: int) -> Tensor:
    """Mean and standard deviation over each clip's own frames, ``[clips, 2 * width]``."""
    waves = [torch.from_numpy(read_audio(utterance.audio).waveform) for utterance in batch]
    with torch.no_grad():
        states = [own[layer] for own in sfm.hear(waves, [layer]).states]
    return torch.stack([torch.cat([own.mean(0), own.std(0, correction=0)]) for own in states])


def timed(work: Callable[[], object]) -> tuple[float, object]:
    """Seconds and result."""
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def fill(options: argparse.Namespace, folder: str, start: Barrier, queue: multiprocessing.Queue) -> None:
    """In a process of its own: fill a cache once all are ready; tells how many clips it encoded, and its seconds."""
    torch.set_num_threads(1)
    logging.getLogger("transformers").setLevel(logging.ERROR)
    sfm = load_transcriber("openai/whisper-base", path=options.checkpoint, dtype=options.dtype, device="cpu")
    encoded, hear = [], sfm.hear

    def counted(waveforms, *args, **more):
        encoded.extend(map(len, waveforms))
        return hear(waveforms, *args, **more)

    utterances = read_demo().utterances[: options.clips]
    spec = FeatureSpec("encoder", (sfm.num_encoder_layers,), ("mean", "std"))
    sfm.hear = counted
    start.wait(timeout=600)
    seconds, _ = timed(
        lambda: extract(
            sfm, utterances, spec, AudioLimits(), batch_size=options.batch_size, progress=False, cache_dir=folder
        )
    )
    queue.put((len(encoded), seconds))


def filled_by(number: int, options: argparse.Namespace) -> tuple[list[int], int, float]:
    """Clips that each of so many processes has encoded, different sounds in their cache, seconds of the slowest."""
    context = multiprocessing.get_context("spawn")
    start, queue = context.Barrier(number), context.Queue()
    with tempfile.TemporaryDirectory() as folder:
        processes = [context.Process(target=fill, args=(options, folder, start, queue)) for _ in range(number)]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        if any(process.exitcode for process in processes):
            raise SystemExit("a process has failed")
        found = [queue.get() for _ in processes]
        (key,) = (Path(folder) / "features").iterdir()
        sounds = FeatureStore(key.parent, json.loads((key / "key.json").read_text())).entries
        return [count for count, _ in found], len(sounds), max(seconds for _, seconds in found)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=48)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--checkpoint", help="folder of a Whisper, in place of Whisper base")
    options = parser.parse_args()

    logging.getLogger("transformers").setLevel(logging.ERROR)
    sfm = load_transcriber("openai/whisper-base", path=options.checkpoint, dtype=options.dtype, device="cpu")
    utterances = read_demo().utterances[: options.clips]
    order = torch.randperm(len(utterances), generator=torch.Generator().manual_seed(0)).tolist()
    batches = [
        [utterances[i] for i in order[start : start + options.batch_size]]
        for start in range(0, len(order), options.batch_size)
    ]
    layer = sfm.num_encoder_layers
    spec = FeatureSpec("encoder", (layer,), ("mean", "std"))
    encode_again(sfm, batches[0][:1], layer)  # warm-up

    with tempfile.TemporaryDirectory() as folder:

        def get():
            return extract(
                sfm,
                utterances,
                spec,
                AudioLimits(),
                batch_size=options.batch_size,
                progress=False,
                cache_dir=folder,
            )

        seconds_first, _ = timed(get)
        seconds_found, features = timed(get)
        seconds_cache, cached = timed(
            lambda: epoch(lambda batch: features.stats([utterance.id for utterance in batch]).flatten(1), batches)
        )
    seconds_again, again = timed(lambda: epoch(lambda batch: encode_again(sfm, batch, layer), batches))
    gap = max(abs(a - b) for a, b in zip(cached, again, strict=True))

    print(
        f"{options.checkpoint or 'Whisper base'}, {options.dtype}, {torch.get_num_threads()} threads; "
        f"{len(utterances)} clips, {len(batches)} steps of {options.batch_size}"
    )
    print(f"epoch, every clip encoded again   {seconds_again:9.3f} s")
    print(
        f"epoch from the cache              {seconds_cache:9.3f} s   {seconds_again / seconds_cache:.0f} times faster"
    )
    print(f"filling the cache, once           {seconds_first:9.3f} s")
    print(f"finding it filled, once per run   {seconds_found:9.3f} s")
    print(f"loss of the last step: {cached[-1]:.6f} and {again[-1]:.6f}; largest difference of a step {gap:.1e} nats")
    for number in (1, 2):
        counts, sounds, seconds = filled_by(number, options)
        print(
            f"an empty cache, processes: {number}   {seconds:9.3f} s   {' + '.join(map(str, counts))} clips encoded, "
            f"{sounds} sounds kept"
        )


if __name__ == "__main__":
    main()
