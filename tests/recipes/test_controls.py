"""A probe under controls, with a tiny audio LLM: each is an ordinary run of what it says that the model is given."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from emoprobe.recipes import probe as probing
from emoprobe.recipes.settings import read_probe
from emoprobe.run.folder import open_folder
from emoprobe.run.scores import read_scores
from emoprobe.settings import compose

EMOTIONS = ("anger", "disgust", "fear", "happy", "neutral", "sad")
COUNT = 4


def write(folder: Path, sounds, words) -> Path:
    """A manifest whose clips have the sound and the words of these clips."""
    folder.mkdir()
    with (folder / "manifest.csv").open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["path", "utterance_id", "speaker", "transcript", *(f"votes_{name}" for name in EMOTIONS)])
        for i in range(COUNT):
            rng = np.random.default_rng(sounds[i])
            wave = rng.normal(0, 0.1, 9000 + 1000 * sounds[i]) * np.hanning(9000 + 1000 * sounds[i])
            soundfile.write(folder / f"{i}.wav", wave, 16_000)
            writer.writerow([f"{i}.wav", f"u{i}", f"s{i}", f"words {words[i]}", *np.roll([5, 2, 1, 0, 0, 0], i)])
    return folder / "manifest.csv"


def settings(path: Path, manifest: Path, output: Path, *more: str):
    own = ["model=qwen2_audio", f"model.path={path}", "model.device=cpu", "dataset=manifest", f"output_dir={output}"]
    own += [f"dataset.path={manifest}", "null_inputs.kinds=[no_audio]", "calibration=none", "logger=none"]
    own += ["analysis.figures=false", "analysis.resamples=10", "trainer.enable_progress_bar=false"]
    own += ["readout=label_likelihood", "trainer.accelerator=cpu"]
    prompts = "prompt=[instruction/single_word_transcript,instruction/single_word]"
    return read_probe(compose([*own, prompts, *more]))


@pytest.fixture(scope="module")
def plain(tiny_path, tmp_path_factory) -> Path:
    home = tmp_path_factory.mktemp("controls")
    manifest = write(home / "corpus", range(COUNT), range(COUNT))
    return probing.run(settings(tiny_path("qwen2_audio"), manifest, home / "run"))


@pytest.fixture(scope="module")
def controlled(plain, tmp_path_factory) -> Path:
    from emoprobe.recipes.controls import run_controls

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EMOPROBE_CACHE", str(tmp_path_factory.mktemp("cache")))
        return run_controls(plain, plain.parent / "out", resamples=20)


def scores(folder: Path, kind: str = "clip") -> pd.Series:
    table = read_scores(folder).to_pandas()
    return table[table["input"] == kind].set_index(["utterance_id", "prompt"]).sort_index()["form_logprobs"]


def same(a: pd.Series, b: pd.Series) -> None:
    assert list(a.index) == list(b.index)
    np.testing.assert_allclose(np.stack(a), np.stack(b), atol=1e-5)


@pytest.mark.parametrize("name", ["sound_of_another", "words_of_another"])
def test_a_conflict_is_the_run_of_a_corpus_with_these_sounds_and_words(name, plain, controlled, tiny_path, tmp_path):
    utterances = open_folder(controlled / name).utterances.set_index("utterance_id")
    lent = [int(utterances["donor"][f"u{i}"][1:]) for i in range(COUNT)]
    own = list(range(COUNT))
    sounds, words = (lent, own) if name == "sound_of_another" else (own, lent)
    folder = probing.run(settings(tiny_path("qwen2_audio"), write(tmp_path / "c", sounds, words), tmp_path / "run"))
    same(scores(controlled / name), scores(folder))
    moved = np.abs(np.stack(scores(controlled / name)) - np.stack(scores(plain))).max(axis=1)
    heard = scores(plain).index.get_level_values("prompt") == "single_word"
    assert (moved[~heard] > 1e-6).all()
    assert (moved[heard] > 1e-6).all() == (name == "sound_of_another")


def test_without_sound_the_prompt_alone_is_asked(plain, controlled):
    found, null = scores(controlled / "no_sound"), scores(plain, "no_audio")
    for (_, prompt), values in found.items():
        if prompt == "single_word":
            np.testing.assert_allclose(values, null["", prompt], atol=1e-5)
    told = np.stack([values for (_, prompt), values in found.items() if prompt == "single_word_transcript"])
    assert np.abs(told - told[0]).max() > 1e-6  # each clip's own words


def test_the_table_has_a_row_per_control_and_the_runs_are_told_apart(plain, controlled, console):
    table = pd.read_csv(controlled / "controls.csv")
    expected = ["sound_shuffled", "sound_of_another", "silence", "words_of_another", "no_sound"]
    assert list(dict.fromkeys(table["control"])) == expected
    deaf = table[(table["control"] == "words_of_another") & (table["prompt"] == "single_word")]
    assert deaf["moved"].abs().max() < 1e-9
    assert (table.loc[table["control"] == "no_sound", "moved"] > 0).all()
    assert set(table.loc[table["num_conflicts"] > 0, "control"]) == {"sound_of_another", "words_of_another"}
    for name in ("controls.md", "controls.png", "controls.pdf"):
        assert (controlled / name).stat().st_size > 500
    names = {open_folder(controlled / name).record.identity.corpus for name in expected}
    assert len(names | {open_folder(plain).record.identity.corpus}) == 1 + len(expected)
    done = console("compare", plain, controlled / "silence")
    assert done.status == 2
    assert len(done.err.strip().splitlines()) == 1


def test_what_cannot_be_is_one_line(plain, controlled, console, tmp_path):
    done = console("controls", controlled / "silence", "-o", tmp_path / "a")
    assert (done.status, "under the control silence itself" in done.err) == (2, True)
    done = console("controls", plain, "--only", "nothing", "-o", tmp_path / "b")
    assert (done.status, "no control 'nothing'" in done.err) == (2, True)
    done = console("controls", tmp_path, "-o", tmp_path / "c")
    assert (done.status, done.err.count("\n")) == (2, 1)
