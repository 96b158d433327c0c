"""Time and memory of large corpora: reading 100,000 utterances' metadata, and a whole run over 10,000 clips.

    python benchmarks/corpora.py [--utterances 100000] [--clips 10000]

The labels are made up, in the formats of MSP-Podcast (rows per rater) and of a manifest (vote counts). The run is
`probe.py` on short clips of noise with a Whisper of one small random layer (tokenizer and audio front end are those of
tiny.en), so that what grows with the clips is not hidden by a model; its memory, workers included, is looked at every
second. `--clips 0` leaves it out.
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

import psutil

from emoprobe.run import files

ROOT = Path(__file__).resolve().parents[1]
WORDS = ("Neutral", "Happy", "Sad", "Angry", "Surprise", "Fear", "Disgust", "Contempt", "Other-not sure")
RATERS = 6
READ = """
import resource, sys, time
from emoprobe import runs
from emoprobe.labels import LabelSet
config = runs.compose(sys.argv[1:])
before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
corpus = runs.read_corpus(config)
read, peak = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
labels = runs.build(LabelSet, runs.plain(config.labels), "labels")
prepared = runs.prepare_run(config, corpus, labels, missing_audio="ignore")
print(len(corpus.utterances), read, time.perf_counter() - start - read, (peak - before) / 1024, len(prepared.items))
"""


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


def read_metadata(count: int) -> None:
    """Print seconds and memory for growing parts of the corpora."""
    print(f"Reading metadata ({RATERS} raters per clip of MSP-Podcast)")
    for write in (write_msp_podcast, write_manifest):
        for size in (count // 4, count // 2, count):
            with tempfile.TemporaryDirectory() as folder:
                overrides = write(Path(folder), size)
                out = subprocess.run(
                    [sys.executable, "-c", READ, *overrides], check=True, capture_output=True, text=True, cwd=ROOT
                ).stdout.split()
            read, labelled, grown = map(float, out[1:4])
            print(
                f"  {write.__name__.removeprefix('write_'):12} {int(out[0]):>8,} utterances: read in {read:5.1f} s, "
                f"soft labels in {labelled:5.1f} s, peak memory + {grown:6.0f} MiB ({grown * 1024 / size:.2f} KiB each)"
            )


def write_small_whisper(folder: Path) -> Path:
    """A random Whisper of one layer with the processor of tiny.en."""
    from emoprobe.models.weights import resolve  # isort: skip  # emoprobe.models comes before transformers

    from transformers import GenerationConfig, WhisperConfig, WhisperForConditionalGeneration, WhisperProcessor

    real = resolve("openai/whisper-tiny.en").path
    config = WhisperConfig.from_pretrained(real)
    config.encoder_layers = config.decoder_layers = config.num_hidden_layers = 1
    config.d_model, config.encoder_ffn_dim, config.decoder_ffn_dim = 32, 64, 64
    config.encoder_attention_heads = config.decoder_attention_heads = 2
    model = WhisperForConditionalGeneration(config)
    model.generation_config = GenerationConfig.from_pretrained(real)
    model.save_pretrained(folder)
    WhisperProcessor.from_pretrained(real).save_pretrained(folder)
    return folder


def run_over_clips(count: int, workers: int) -> None:
    """Print the memory of a run at every tenth of its clips."""
    import numpy as np
    import soundfile

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        rng = np.random.default_rng(0)
        with (root / "manifest.csv").open("w", newline="") as handle:
            table = csv.writer(handle)
            table.writerow(["path", "speaker", "votes_happy", "votes_sad"])
            for i in range(count):
                soundfile.write(root / f"{i:06d}.wav", rng.normal(0, 0.1, rng.integers(8_000, 32_000)), 16_000)
                table.writerow([f"{i:06d}.wav", f"s{i % 50}", 1, 2])
        model = write_small_whisper(root / "model")
        command = [sys.executable, "probe.py", "model=whisper", f"model.path={model}", "model.language=null"]
        command += ["readout=label_likelihood", "logger=none", "analysis.resamples=0"]
        command += ["dataset=manifest", f"dataset.path={root / 'manifest.csv'}", f"hydra.run.dir={root / 'run'}"]
        command += ["calibration=none", "analysis.figures=false", "trainer.enable_progress_bar=false"]
        command += ["batch_size=32", f"num_workers={workers}"]
        start = time.perf_counter()
        process = psutil.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
        seen = []  # MiB, once a second while clips are scored
        while process.poll() is None:
            try:
                family = [process, *process.children(recursive=True)]
                size = sum(each.memory_info().rss for each in family) / 2**20
            except psutil.NoSuchProcess:
                continue
            if (root / "run" / files.PARTS).exists():
                seen.append(size)
            time.sleep(1)
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
    options = parser.parse_args()
    read_metadata(options.utterances)
    if options.clips:
        run_over_clips(options.clips, options.workers)
    used = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"largest process: {used:,.0f} MiB")


if __name__ == "__main__":
    main()
