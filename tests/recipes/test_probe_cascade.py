"""The recipes with a cascade: all readouts, what was told is kept, and no table takes it for a model that hears."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from scoring import write_corpus

from emoprobe.cli.analyse import main as analyse_main
from emoprobe.cli.judge import main as judge_main
from emoprobe.cli.report import main as report_main
from emoprobe.errors import InputError
from emoprobe.models.text import TEXT_ONLY
from emoprobe.models.transcribers.whisper import Whisper
from emoprobe.recipes import probe as probing
from emoprobe.recipes import train as training
from emoprobe.recipes.settings import read_probe, read_train
from emoprobe.run.folder import open_folder
from emoprobe.run.scores import read_scores, schema
from emoprobe.settings import compose

pytest.importorskip("parselmouth", reason="needs the extra acoustics")

READOUTS = ("label_likelihood", "averaged_logits", "generated_text", "sampled_text", "constrained_text", "layerwise")
SHORT = {"averaged_logits": 3, "generated_text": 4, "sampled_text": 2, "constrained_text": 3}


@pytest.fixture(scope="module")
def manifest(tmp_path_factory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def words(tiny_chat_path, tiny_whisper_path, manifest) -> list[str]:
    return [
        "model=cascade",
        f"model.path={tiny_chat_path('llama')}",
        f"model.transcriber.path={tiny_whisper_path}",
        "model.device=cpu",
        "dataset=manifest",
        f"dataset.path={manifest}",
        "logger=none",
        "analysis.figures=false",
        "trainer.enable_progress_bar=false",
    ]


def probe(words, output, *overrides) -> Path:
    quick = ["null_inputs.seconds=0.5", "null_inputs.noise_draws=1", "calibration=standard", "analysis.resamples=50"]
    chosen = [*words, *quick, "prompt=instruction/single_word", f"output_dir={output}", *overrides]
    return probing.run(read_probe(compose(chosen)))


@pytest.fixture(scope="module")
def finished(words, tmp_path_factory) -> Path:
    limits = [f"readout.{name}.max_new_tokens={count}" for name, count in SHORT.items()]
    own = [f"readout=[{','.join(READOUTS)}]", "readout.sampled_text.samples=2", *limits]
    prompts = "prompt=[instruction/single_word,instruction/probability_dict_acoustics,instruction/chain_of_thought]"
    return probe(words, tmp_path_factory.mktemp("run"), prompts, "prompt.chain_of_thought.reasoning_tokens=3", *own)


def test_every_readout_is_asked_and_what_was_told_is_kept(finished):
    scores = read_scores(finished).to_pandas()
    clips = scores[scores["input"] == "clip"]
    assert len(clips) == 7 * 3 * len(READOUTS)
    told = clips.groupby("utterance_id")["told"].unique()
    assert all(len(lines) == 1 for lines in told)
    assert all(lines[0].startswith(('The words spoken are: "', "No words")) for lines in told)
    nulls = scores[scores["input"] != "clip"].groupby("input")["told"].unique()
    assert list(nulls["no_audio"]) == [""]
    assert "pitch: not measurable; energy: not measurable" in nulls["silence"][0]


def test_other_models_have_no_such_column():
    assert "told" not in schema().names


def test_the_record_and_the_tables_say_that_it_did_not_hear(finished, words, tmp_path, capsys):
    record = open_folder(finished).record
    assert not record.model.hears
    assert record.model.name.endswith(TEXT_ONLY)
    assert json.loads((finished / "run.json").read_text())["model"]["hears"] is False
    metrics = json.loads((finished / "metrics.json").read_text())
    assert metrics["run"]["model"]["hears"] is False
    assert {row["model"] for row in metrics["rows"] if row["kind"] == "readout"} == {record.model.name}
    probe(words, tmp_path / "again", "readout=label_likelihood")
    out = " ".join(capsys.readouterr().out.split())
    assert "It does not hear: it was told words about each clip" in out
    assert f"{TEXT_ONLY}: the model did not hear" in out
    assert report_main([str(finished), str(tmp_path / "again"), "--out", str(tmp_path / "page")]) == 0
    assert "the model did not hear, but was told words" in (tmp_path / "page" / "leaderboard.md").read_text()
    assert TEXT_ONLY in (tmp_path / "page" / "index.html").read_text()


def test_it_is_analysed_and_judged_without_a_model(finished, tmp_path):
    own = ["calibration=batch", "analysis.resamples=50", f"output_dir={tmp_path / 'again'}"]
    assert analyse_main([str(finished), *own]) == 0
    assert judge_main([str(finished), "--resamples", "50"]) == 0


def test_the_same_command_again_scores_nothing_twice_and_another_transcriber_is_noticed(words, tmp_path, monkeypatch):
    first = probe(words, tmp_path / "a", "readout=label_likelihood")
    heard: list[int] = []
    encode = Whisper.encode
    monkeypatch.setattr(Whisper, "encode", lambda self, *waves: heard.append(1) or encode(self, *waves))
    probe(words, tmp_path / "a", "readout=label_likelihood")
    assert heard == []
    probe(words, tmp_path / "b", "readout=label_likelihood", f"resume={first}")
    assert len(heard) == 2  # silence and noise; the clips are taken over
    for other in ("model.transcriber.task=translate", "model.acoustics.rate=[2,4]", "model.acoustics=null"):
        with pytest.raises(InputError, match="scores of another configuration"):
            probe(words, tmp_path / "a", "readout=label_likelihood", other)


@pytest.mark.parametrize("head", ["lora", "linear_probe"])
def test_heads_on_the_decoder_are_trained(words, tmp_path, monkeypatch, head):
    monkeypatch.setenv("EMOPROBE_CACHE", str(tmp_path / "cache"))
    own = ["head.layers=[-1]", "head.source=decoder"] if head == "linear_probe" else []
    fit = ["fit.max_epochs=2", "prompt=instruction/single_word", "dataset.partition.folds=3"]
    run = training.run(
        read_train(compose([*words, f"head={head}", *own, *fit, f"output_dir={tmp_path / 'run'}"], "train"))
    )
    assert not open_folder(run).record.model.hears
    assert len(read_scores(run)) == 3  # those of the tested speaker


def test_heads_on_the_encoder_are_refused(words, tmp_path):
    own = ["head=linear_probe", "dataset.partition.folds=3", f"output_dir={tmp_path / 'run'}"]
    with pytest.raises(InputError, match="does not hear, so it has no encoder states"):
        training.run(read_train(compose([*words, *own], "train")))
