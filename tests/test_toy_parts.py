"""Parts of another installed package: a corpus, a chat family, a model, an answer format, a tracker."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from console import Done
from outside import emoprobe_commands, install, without, write_config

SOURCE = '''
"""A corpus of one file of words, and further parts."""

import json
import subprocess
import sys
from pathlib import Path

from lightning.pytorch.loggers import Logger

from emoprobe.data.corpora import register as register_corpus
from emoprobe.data.reading.files import Harvest, RowError, SoundFolder, open_root, text_lines
from emoprobe.data.utterance import CorpusCard, Rating, Total, Utterance
from emoprobe.models.families import FAMILIES
from emoprobe.models.families.chat import ChatFamily
from emoprobe.prompts.answers.formats import register as register_format
from emoprobe.prompts.answers.result import certain
from emoprobe.report.trackers import TRACKERS, Tracker

CARD = CorpusCard("toy", "The toy corpus", True, "CC0", "a test", "none", "one per word", words=("sad", "happy"))


@register_corpus("toy", CARD, [Total("clips", 3, lambda corpus: len(corpus.utterances), "the test")])
def read_toy(root, on_error="error"):
    harvest = Harvest(CARD, on_error)
    root = open_root(root, CARD, "words.txt")
    sound = SoundFolder(root)
    for row, line in text_lines(root / "words.txt"):
        name, *words = line.split()
        with harvest.row(name):
            if not words:
                raise RowError("nobody voted", file=root / "words.txt", row=row)
            ratings = tuple(Rating(f"{name}#{i}", (word,)) for i, word in enumerate(words))
            harvest.add(Utterance(name, sound.find(f"{name}.wav"), ratings=ratings, speaker=name, row=row))
    return harvest.corpus(root / "words.txt")


@FAMILIES.register("musicflamingo")
class ToyFlamingo(ChatFamily):
    def messages(self, prompt):
        messages = super().messages(prompt)
        messages[-1]["content"].append({"type": "text", "text": " Listen well."})
        return messages


def load_toy(folder, device):
    from emoprobe.models.load import load_transcriber

    return load_transcriber("toy", path=folder, device=device)


@register_format("any_text", max_new_tokens=5)
def parse(text, vocabulary, *, marked=False):
    return certain(1, vocabulary.size) if text else None


class ToyLogger(Logger):
    def __init__(self, save_dir):
        super().__init__()
        self.file = Path(save_dir) / "toy.jsonl"

    name = version = "toy"
    experiment = None

    def write(self, **sent):
        with self.file.open("a") as handle:
            handle.write(json.dumps(sent, default=str) + "\\n")

    def log_metrics(self, metrics, step=None):
        self.write(metrics=metrics)

    def log_hyperparams(self, params, *args, **kwargs):
        self.write(settings=params)

    def log_table(self, key, dataframe):
        self.write(table=key, rows=len(dataframe))

    def finalize(self, status):
        self.write(status=status)


@TRACKERS.register("ToyLogger")
class Toy(Tracker):
    def figure(self, name, file):
        self.logger.write(figure=name, there=file.is_file())
'''
CONFIGS = {
    ("dataset", "toy"): "defaults: [/dataset_options@_here_, override /labels@_global_.labels: basic4]\nname: toy\n"
    "root: ???\nreader:\n  _target_: toy_parts.read_toy\n  root: ${dataset.root}\n  on_error: ${dataset.on_error}\n",
    ("prompt", "any_text"): "any_text:\n  family: instruction\n  format: any_text\n"
    "  instruction: 'Which of these is it: {labels}?'\n",
    ("model", "toy"): "_target_: toy_parts.load_toy\nfolder: ???\ndevice: cpu\n",
    ("logger", "toy"): "_target_: toy_parts.ToyLogger\nsave_dir: ${output_dir}\n",
}
WORDS = {"a": "sad sad happy", "b": "happy", "c": "sad"}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package, its configs and a copy of its corpus."""
    home = tmp_path_factory.mktemp("toy")
    (home / "corpus").mkdir()
    (home / "corpus" / "words.txt").write_text("".join(f"{name} {words}\n" for name, words in WORDS.items()))
    for seed, name in enumerate(WORDS):
        soundfile.write(home / "corpus" / f"{name}.wav", np.random.default_rng(seed).normal(0, 0.1, 8_000), 16_000)
    return home


@pytest.fixture(scope="module")
def environment(home: Path) -> dict[str, str]:
    return install(home / "site", "toy_parts", SOURCE)


@pytest.fixture(scope="module")
def searched(home: Path) -> str:
    """The override that has its configs searched."""
    (found,) = {write_config(home / "conf", group, name, text) for (group, name), text in CONFIGS.items()}
    return found


@pytest.fixture(scope="module")
def told(home, environment, searched, tiny_path, tiny_whisper_path) -> dict[str, Done]:
    """What the commands say with the package."""
    corpus = [searched, "dataset=toy", f"dataset.root={home / 'corpus'}"]
    family = ["model=audio_llm", f"model.path={tiny_path('music_flamingo')}", "model.device=cpu", "prompt=any_text"]
    run = ["readout=[label_likelihood,generated_text]", "calibration=none", "null_inputs.kinds=[]", "logger=toy"]
    run += ["analysis.resamples=50", "trainer.accelerator=cpu", "trainer.enable_progress_bar=false"]
    commands = {
        "card": ["data", "card", "toy"],
        "cards": ["data", "card"],
        "check": ["data", "check", *corpus],
        "show": ["data", "show", *corpus, "-n", "1"],
        "probe": ["probe", *corpus, *family, *run, f"hydra.run.dir={home / 'run'}"],
        "tokens of a family": ["tokens", searched, "labels=basic4", *family],
        "tokens of a model": ["tokens", searched, "labels=basic4", "model=toy", f"model.folder={tiny_whisper_path}"],
    }
    return dict(zip(commands, emoprobe_commands(environment, *commands.values()), strict=True))


@pytest.fixture(scope="module")
def told_without(tiny_path) -> list[Done]:
    """What the commands say without the package."""
    family = ["model=audio_llm", f"model.path={tiny_path('music_flamingo')}", "model.device=cpu"]
    tokens = ["tokens", *family, "prompt=instruction/single_word"]
    return emoprobe_commands(without(), ["data", "card", "toy"], tokens)


def test_its_corpus_has_a_card_and_is_checked(told):
    for name in ("card", "cards", "check", "show"):
        assert told[name].status == 0, told[name]
    assert "The toy corpus (SYNTHETIC)" in told["card"].out
    assert "clips 3" in told["card"].out
    assert "The toy corpus" in told["cards"].out
    assert "clips: 3 (the test)" in told["check"].out
    assert "of 3 utterances" in told["show"].out


def test_without_the_package_its_corpus_is_unknown(told_without):
    assert told_without[0].status == 2
    assert "unknown corpus 'toy'" in told_without[0].err


def test_a_run_of_its_corpus_family_format_and_tracker(home, told):
    assert told["probe"].status == 0, told["probe"].err
    votes = pd.read_parquet(home / "run" / "utterances.parquet").set_index("utterance_id")
    assert set(votes.index) == set(WORDS)
    scores = pd.read_parquet(home / "run" / "scores.parquet")
    assert set(scores["answer_format"]) == {"any_text"}
    assert not scores["finished"].astype(float).sum()  # the tiny model does not come to an end within five tokens
    sent = [json.loads(line) for line in (home / "run" / "toy.jsonl").read_text().splitlines()]
    assert sent[0]["settings"]["dataset"]["name"] == "toy"
    assert any("js_divergence" in name for row in sent for name in row.get("metrics", ()))
    assert {row["table"] for row in sent if "table" in row} == {"results", "predictions"}
    figures = [row for row in sent if "figure" in row]
    assert figures
    assert all(row["there"] for row in figures)
    assert sent[-1] == {"status": "success"}


def test_its_family_and_its_model_are_asked(told, told_without):
    assert told["tokens of a family"].status == 0, told["tokens of a family"].err
    assert "Listen well." in told["tokens of a family"].out
    assert told_without[1].status == 0, told_without[1].err
    assert "Listen well." not in told_without[1].out
    assert told["tokens of a model"].status == 0, told["tokens of a model"].err
    assert "toy" in told["tokens of a model"].out


def test_its_format_is_parsed(environment):
    code = (
        "from emoprobe.prompts.answers import parse_answer; "
        "print(*(parse_answer(text, ('anger', 'happy'), (), answer_format='any_text').status for text in ('hm', '')))"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["single_label", "unparsed"]
    done = subprocess.run([sys.executable, "-c", code], env=without(), capture_output=True, text=True, check=False)
    assert "unknown answer format 'any_text'" in done.stderr
