"""A made-up corpus and a small zero-shot run, for tests of recipes."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import soundfile

from emoprobe.recipes.settings import read_probe
from emoprobe.settings import compose

EMOTIONS = ("anger", "disgust", "fear", "happy", "neutral", "sad")


def write_corpus(folder: Path, count: int = 7) -> Path:
    """A manifest with vote counts and clips of noise of different lengths."""
    rng = np.random.default_rng(3)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "manifest.csv").open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["path", "utterance_id", "speaker", "split", *(f"votes_{name}" for name in EMOTIONS)])
        for i in range(count):
            wave = rng.normal(0, 0.1, int(16_000 * (0.5 + 0.3 * i)))
            soundfile.write(folder / f"{i}.wav", wave, 16_000)
            votes = rng.multinomial(9, rng.dirichlet(np.ones(6)))
            writer.writerow([f"{i}.wav", f"u{i}", f"s{i % 3}", "train" if i < 2 else "test", *votes])
    return folder / "manifest.csv"


def config(model: Path, manifest: Path, output: Path, *overrides: str):
    return read_probe(
        compose(
            [
                f"model.path={model}",
                "model.device=cpu",
                "dataset=manifest",
                f"dataset.path={manifest}",
                f"output_dir={output}",
                "prompt=[voice_sounds,bare_label]",
                "null_inputs.seconds=0.5",
                "null_inputs.noise_draws=2",
                "readout.averaged_logits.max_new_tokens=3",
                "readout.generated_text.max_new_tokens=4",
                "calibration=all",
                "logger=none",
                "analysis.figures=false",
                "analysis.resamples=50",
                "trainer.enable_progress_bar=false",
                "trainer.accelerator=cpu",
                *overrides,
            ]
        )
    )
