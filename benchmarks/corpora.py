"""Time and memory of large corpora: reading 100,000 utterances' metadata, and a whole run over 10,000 clips.

    python benchmarks/corpora.py [--utterances 100000] [--clips 10000]

The labels are made up, in the formats of MSP-Podcast (rows per rater), of a manifest with vote counts, and of one with
a row per rating (six a clip, 2,000 raters, secondary words, two dimensions). The run is `probe.py` on short clips of
noise with a Whisper of one small random layer (tokenizer and audio front end are those of tiny.en), so that what grows
with the clips is not hidden by a model; its memory, workers included, is looked at every second. `--clips 0` leaves it
out.
"""

from __future__ import annotations

import argparse
import csv
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
import soundfile

from emoprobe.recipes.inputs import prepare_run, read_corpus
from emoprobe.recipes.settings import read_dataset, read_labels
from emoprobe.run import files
from emoprobe.settings import compose

ROOT = Path(__file__).resolve().parents[1]
WORDS = ("Neutral", "Happy", "Sad", "Angry", "Surprise", "Fear", "Disgust", "Contempt", "Other-not sure")
RATERS = 6


def read(overrides: list[str]) -> None:
    """Read a corpus and make its soft labels in this process; print counts, seconds and MiB that came on top."""
    config = compose(overrides)
    labels, dataset = read_labels(config), read_dataset(config)
    before, start, busy = peak_mib(resource.RUSAGE_SELF), time.perf_counter(), time.process_time()
    corpus = read_corpus(dataset)
    seconds, used, peak = time.perf_counter() - start, time.process_time() - busy, peak_mib(resource.RUSAGE_SELF)
    prepared = prepare_run(dataset, corpus, labels, missing_audio="ignore")
    labelled = time.perf_counter() - start - seconds
    print(len(corpus.utterances), seconds, used, labelled, peak - before, len(prepared.items))


def peak_mib(who: int) -> float:
    """Peak memory of this process or of its largest child, MiB."""
    return resource.getrusage(who).ru_maxrss / 1024


def write_msp_podcast(root: Path, count: int) -> list[str]:
    """A made-up release with six raters per clip; returns the overrides that read it."""
    rng = random.Random(0)
    (root / "Labels").mkdir(parents=True)
    with (root / "Labels" / "labels_consensus.csv").open("w", newline="") as handle:
        table = csv.writer(handle)
        table.writerow(["FileName", "EmoClass", "EmoAct", "EmoVal", "EmoDom", "SpkrID", "Gender", "Split_Set"])
        for i in range(count):
            facts = (rng.choice("ASHUFDCNOX"), 4.2, 3.8, 4.0, i % 2000, "Female", "Train")
            table.writerow([f"MSP-PODCAST_{i:06d}.wav", *facts])
    with (root / "Labels" / "labels_detailed.csv").open("w", newline="") as handle:
        table = csv.writer(handle)
        table.writerow(["FileName", "Workers", "EmoClass_Major", "EmoClass_Second", "EmoAct", "EmoVal", "EmoDom"])
        for i in range(count):
            for _ in range(RATERS):
                word = rng.choice(WORDS)
                worker = f"WORKER{rng.randrange(10_000):08d}"
                table.writerow([f"MSP-PODCAST_{i:06d}.wav", worker, word, f"{word},Concerned", 4, 4, 4])
    return ["dataset=msp_podcast", f"dataset.root={root}"]


def write_manifest(root: Path, count: int) -> list[str]:
    """Vote counts of six emotions; returns the overrides that read it."""
    rng = random.Random(0)
    labels = ("anger", "disgust", "fear", "happy", "neutral", "sad")
    with (root / "manifest.csv").open("w", newline="") as handle:
        table = csv.writer(handle)
        table.writerow(["path", "speaker", "split", "transcript", *(f"votes_{label}" for label in labels)])
        for i in range(count):
            votes = [rng.randrange(4) for _ in labels]
            table.writerow([f"{i:06d}.wav", f"s{i % 2000}", "train", "some words that were said", *votes[:-1], 1])
    return ["dataset=manifest", f"dataset.path={root / 'manifest.csv'}"]


def write_ratings(root: Path, count: int) -> list[str]:
    """One row per rating; returns the overrides that read it."""
    rng = random.Random(0)
    labels = ("anger", "disgust", "fear", "happy", "neutral", "sad")
    with (root / "ratings.csv").open("w", newline="") as handle:
        table = csv.writer(handle)
        table.writerow(["path", "speaker", "split", "rater", "emotion", "secondary", "valence", "arousal"])
        for i in range(count):
            for _ in range(RATERS):
                said = (rng.choice(labels), rng.choice(("", "", *labels)), rng.randint(1, 7), rng.randint(1, 7))
                table.writerow([f"{i:06d}.wav", f"s{i % 2000}", "train", f"r{rng.randrange(2_000)}", *said])
    scales = "dataset.scales={valence:[1,7],arousal:[1,7]}"
    return ["dataset=manifest", f"dataset.path={root / 'ratings.csv'}", scales]


def read_metadata(count: int) -> None:
    """Print seconds and memory for growing parts of the corpora."""
    print(f"Reading metadata ({RATERS} raters per clip of MSP-Podcast)")
    for write in (write_msp_podcast, write_manifest, write_ratings):
        for size in (count // 4, count // 2, count):
            with tempfile.TemporaryDirectory() as folder:
                overrides = write(Path(folder), size)
                out = subprocess.run(
                    [sys.executable, __file__, "--read", *overrides], check=True, stdout=subprocess.PIPE, text=True
                ).stdout.split()
            seconds, used, labelled, grown = map(float, out[1:5])
            print(
                f"  {write.__name__.removeprefix('write_'):12} {int(out[0]):>8,} utterances: read in {seconds:5.1f} s "
                f"({used:.1f} s of one CPU), "
                f"soft labels in {labelled:5.1f} s, peak memory + {grown:6.0f} MiB ({grown * 1024 / size:.2f} KiB each)"
            )


def write_small_whisper(folder: Path, checkpoint: Path | None) -> Path:
    """A random Whisper of one layer with the processor of a real one; its imports would hide the memory of `read`."""
    import emoprobe.models.torchaudio  # isort: skip  # noqa: F401  # before transformers

    from transformers import GenerationConfig, WhisperConfig, WhisperForConditionalGeneration, WhisperProcessor

    from emoprobe.models.weights import resolve

    real = resolve("openai/whisper-tiny.en", path=checkpoint).path
    config = WhisperConfig.from_pretrained(real)
    config.encoder_layers = config.decoder_layers = config.num_hidden_layers = 1
    config.d_model, config.encoder_ffn_dim, config.decoder_ffn_dim = 32, 64, 64
    config.encoder_attention_heads = config.decoder_attention_heads = 2
    model = WhisperForConditionalGeneration(config)
    model.generation_config = GenerationConfig.from_pretrained(real)
    model.save_pretrained(folder)
    WhisperProcessor.from_pretrained(real).save_pretrained(folder)
    return folder


def run_over_clips(count: int, workers: int, checkpoint: Path | None, every: float) -> None:
    """Print the memory of a run, looked at `every` so many seconds, at every tenth of its clips."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        rng = np.random.default_rng(0)
        with (root / "manifest.csv").open("w", newline="") as handle:
            table = csv.writer(handle)
            table.writerow(["path", "speaker", "votes_happy", "votes_sad"])
            for i in range(count):
                soundfile.write(root / f"{i:06d}.wav", rng.normal(0, 0.1, rng.integers(8_000, 32_000)), 16_000)
                table.writerow([f"{i:06d}.wav", f"s{i % 50}", 1, 2])
        model = write_small_whisper(root / "model", checkpoint)
        language = "null" if checkpoint is None else "en"  # that of the data package speaks English only
        command = [sys.executable, "probe.py", "model=whisper", f"model.path={model}", f"model.language={language}"]
        command += ["readout=label_likelihood", "logger=none", "analysis.resamples=0"]
        command += ["dataset=manifest", f"dataset.path={root / 'manifest.csv'}", f"hydra.run.dir={root / 'run'}"]
        command += ["calibration=none", "analysis.figures=false", "trainer.enable_progress_bar=false"]
        command += ["batch_size=32", f"num_workers={workers}"]
        start = time.perf_counter()
        process = psutil.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
        seen = []  # MiB, while clips are scored
        while process.poll() is None:
            try:
                family = [process, *process.children(recursive=True)]
                size = sum(each.memory_info().rss for each in family) / 2**20
            except psutil.NoSuchProcess:
                continue
            if (root / "run" / files.PARTS).exists():
                seen.append(size)
            time.sleep(every)
        seconds = time.perf_counter() - start
    if process.returncode:
        sys.exit("the run failed")
    print(f"A run over {count:,} clips (one prompt, {workers} worker): {seconds:.0f} s")
    tenths = [max(part) for part in np.array_split(seen, 10) if len(part)]
    print("  peak of each tenth, MiB: " + ", ".join(f"{size:,.0f}" for size in tenths))
    print(f"  last tenth beside the second: {tenths[-1] / tenths[1]:.3f}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--utterances", type=int, default=100_000)
    parser.add_argument("--clips", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--every", type=float, default=1, help="seconds between two looks at the memory of a run")
    parser.add_argument("--checkpoint", type=Path, help="folder of a Whisper, in place of tiny.en")
    parser.add_argument("--read", nargs="+", metavar="OVERRIDE", help="only read what these settings name")
    options = parser.parse_args()
    if options.read:
        read(options.read)
        return
    read_metadata(options.utterances)
    if options.clips:
        run_over_clips(options.clips, options.workers, options.checkpoint, options.every)
    print(f"largest process: {peak_mib(resource.RUSAGE_CHILDREN):,.0f} MiB")


if __name__ == "__main__":
    main()
