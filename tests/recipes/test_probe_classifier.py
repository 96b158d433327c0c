"""A fine-tuned classification checkpoint as one more row of the table, from its settings to the page."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from classes import CODES, plain_classes, write_classifier
from console import TWO, alone
from scoring import EMOTIONS, write_corpus
from transformers import CohereAsrForConditionalGeneration, CohereAsrProcessor

import emoprobe
from emoprobe.api.models import Model
from emoprobe.checks.tiny import TINY
from emoprobe.cli.analyse import main as analyse_main
from emoprobe.errors import EmoprobeError, InputError
from emoprobe.models.encoder import Encoder
from emoprobe.models.load_encoder import load_encoder
from emoprobe.recipes import probe as probing
from emoprobe.recipes.compare import compare_runs
from emoprobe.recipes.judge import judge
from emoprobe.recipes.settings import read_probe
from emoprobe.report.text_against_tokens import contrast_frame, contrast_markdown
from emoprobe.report.write import write_report
from emoprobe.run.folder import open_folder
from emoprobe.run.scores import read_scores
from emoprobe.settings import compose

MEANT = dict(zip(CODES, EMOTIONS, strict=False))  # all but the last, which is left out
MAP = "readout.classifier.map"
CLASSIFIER = ("readout=classifier", f"{MAP}={{cal:null}}")


def settings(corpus: Path, output: Path, *overrides: str):
    """A run of readouts in short; the model is given to it."""
    return read_probe(
        compose(
            [
                "dataset=manifest",
                f"dataset.path={corpus}",
                f"output_dir={output}",
                "null_inputs.seconds=0.5",
                "logger=none",
                "analysis.figures=false",
                "analysis.resamples=50",
                "trainer.enable_progress_bar=false",
                "trainer.accelerator=cpu",
                *overrides,
            ]
        )
    )


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    return write_classifier(tmp_path_factory.mktemp("classifier"))


@pytest.fixture(scope="module")
def sfm(checkpoint) -> Encoder:
    return load_encoder("tiny/classified", path=checkpoint, device="cpu")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def finished(sfm, corpus, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("run")
    return probing.run(settings(corpus, output, *CLASSIFIER, "analysis.figures=true", "batch_size=3"), sfm=sfm)


def expected(checkpoint: Path, sound: Path) -> np.ndarray:
    """The plain softmax, its classes given to labels by hand; behind them the class that is left out."""
    probs = plain_classes(checkpoint, soundfile.read(sound, dtype="float32")[0])
    return np.array([*(probs[name] for name in MEANT), probs["cal"]])


def test_its_distributions_are_the_softmax_of_the_plain_class(finished, checkpoint, corpus):
    predictions = pd.read_parquet(finished / "predictions.parquet").query("calibration == 'none'")
    assert len(predictions) == 7
    for row in predictions.to_dict("records"):
        *kept, left = expected(checkpoint, corpus.parent / f"{row['utterance_id'][1:]}.wav")
        found = [row[f"p_{label}"] for label in EMOTIONS]
        np.testing.assert_allclose(found, np.array(kept) / sum(kept), atol=1e-6)
        assert row["label_mass"] == pytest.approx(1 - left, abs=1e-6)
    assert predictions[[f"p_{label}" for label in EMOTIONS]].to_numpy().std(axis=0).min() > 1e-3  # the sound matters


def test_a_row_of_the_score_table_holds_classes_labels_and_the_map(finished, checkpoint, corpus):
    table = read_scores(finished)
    assert len(table) == 7
    row = next(row for row in table.to_pylist() if row["utterance_id"] == "u2")
    assert row["input"] == "clip"
    assert (row["prompt"], row["prompt_hash"], row["question_hash"], row["readout"]) == ("-", "", "", "classifier")
    assert row["forms"] == list(CODES[:-1])
    assert row["form_labels"] == list(EMOTIONS)
    assert json.loads(row["readout_options"]) == {"map": {**MEANT, "cal": None}, "knows_votes": False}
    of_classes = expected(checkpoint, corpus.parent / "2.wav")
    np.testing.assert_allclose(np.exp(row["form_logprobs"]), of_classes[:-1], atol=1e-6)
    assert np.exp(row["log_label_mass"]) == pytest.approx(of_classes[:-1].sum(), abs=1e-6)
    assert row["form_tokens"] is None
    assert len(row["audio_sha256"]) == 64


def test_it_is_a_supervised_row_of_the_table(sfm, corpus, tmp_path, capsys):
    done = probing.run(settings(corpus, tmp_path, *CLASSIFIER, "calibration=[standard,temperature]"), sfm=sfm)
    out = capsys.readouterr().out
    assert "note: readout classifier reads ang as anger, dis as disgust, fea as fear, hap as happy" in out
    assert "left out: cal" in out
    assert any(line.startswith("classifier") for line in out.splitlines())
    rows = [row for row in json.loads((done / "metrics.json").read_text())["rows"] if row["kind"] == "readout"]
    assert {(row["prompt"], row["readout"], row["variant"]) for row in rows} == {("-", "classifier", "supervised")}
    # What takes out an answer to silence has nothing to take it from; what is fitted on clips or votes applies.
    assert {row["calibration"] for row in rows} >= {"none", "batch", "training_prior", "temperature"}
    assert not {row["calibration"] for row in rows} & {"contextual_silence", "contextual_noise", "pmi"}
    assert not any(row["fitted_on"] for row in rows if row["calibration"] == "none")


def test_a_checkpoint_that_knows_the_votes_has_no_rank(sfm, corpus, tmp_path, capsys):
    done = probing.run(settings(corpus, tmp_path, *CLASSIFIER, "readout.classifier.knows_votes=true"), sfm=sfm)
    rows = [row for row in json.loads((done / "metrics.json").read_text())["rows"] if row["kind"] == "readout"]
    assert {row["fitted_on"] for row in rows} == {"evaluated votes"}
    out = capsys.readouterr().out
    assert "No readout has a rank: all saw the votes they are judged by." in out
    assert "saw the votes they are judged by: no rank" in out


def test_it_is_analysed_judged_compared_and_shown_without_the_model(finished, corpus, tiny_whisper, tmp_path):
    assert analyse_main([str(finished), "analysis.figures=false", "-o", str(tmp_path / "again")]) == 0
    first, again = (pd.read_parquet(place / "predictions.parquet") for place in (finished, tmp_path / "again"))
    pd.testing.assert_frame_equal(first, again)
    other = probing.run(
        settings(corpus, tmp_path / "whisper", "readout=label_likelihood", "prompt=voice_sounds"), sfm=tiny_whisper
    )
    judged = judge(finished, resamples=50)
    assert set(pd.read_csv(judged / "strata.csv")["readout"]) >= {"classifier"}
    frame = compare_runs([finished, other], ["calibration=none"], resamples=50)
    assert len(frame) == 1
    assert frame["num_utterances"].tolist() == [7]
    page = write_report([finished, other], tmp_path / "report", audio="none", clips=3)
    text = (page if page.is_file() else tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    assert "classifier.supervised" in text


def test_the_prompt_of_the_configuration_changes_nothing(finished, sfm, corpus, tmp_path):
    own = ["labels.forms=wrath", "prompt=[voice_sounds,instruction/single_word_transcript]"]  # no label has such a word
    with pytest.raises(InputError, match=r"label 'anger' has no surface form"):
        settings(corpus, tmp_path, "readout=label_likelihood", *own)
    other = probing.run(settings(corpus, tmp_path, *CLASSIFIER, *own), sfm=sfm)
    key = ["utterance_id", "form_logprobs", "readout_options"]
    pd.testing.assert_frame_equal(read_scores(finished).to_pandas()[key], read_scores(other).to_pandas()[key])


def test_an_interrupted_run_goes_on(sfm, corpus, tmp_path, monkeypatch, capsys):
    from emoprobe.readout.scoring.record import BatchRecorder

    original, calls = BatchRecorder.on_predict_batch_end, []

    def die_at_second(self, *arguments, **options):
        calls.append(1)
        if len(calls) == 2:
            raise KeyError("power cut")
        original(self, *arguments, **options)

    monkeypatch.setattr(BatchRecorder, "on_predict_batch_end", die_at_second)
    with pytest.raises(KeyError):
        probing.run(settings(corpus, tmp_path / "a", *CLASSIFIER, "batch_size=3"), sfm=sfm)
    monkeypatch.undo()
    assert len(read_scores(tmp_path / "a")) == 3
    elsewhere = [*CLASSIFIER, f"resume={tmp_path / 'a'}"]
    for folder, own in (("b", elsewhere), ("a", CLASSIFIER)):
        capsys.readouterr()
        done = probing.run(settings(corpus, tmp_path / folder, *own), sfm=sfm)
        assert "taken over from an earlier run: 3 of 7" in capsys.readouterr().out
        assert len(read_scores(done)) == 7
        assert json.loads((done / "run.json").read_text())["num_scored"] == 7
    with pytest.raises(InputError, match="scores of another configuration"):
        probing.run(settings(corpus, tmp_path / "a", CLASSIFIER[0], "readout.classifier.map={cal:sad}"), sfm=sfm)


@pytest.fixture(scope="module")
def slotted(tmp_path_factory, spectra) -> Path:
    """A checkpoint that answers, and has a place for an emotion in its decoder's prompt."""
    return TINY["cohere_asr"](tmp_path_factory.mktemp("slotted"))


def of_slot(folder: Path, sound: Path) -> np.ndarray:
    """Anger, happy, neutral, sad: the softmax of their tokens where the processor's own prompt has ``undefined``."""
    model = CohereAsrForConditionalGeneration.from_pretrained(folder).eval()
    processor = CohereAsrProcessor.from_pretrained(folder)
    wave = soundfile.read(sound, dtype="float32")[0]
    inputs = dict(processor(audio=[wave], sampling_rate=16_000, language="en", return_tensors="pt"))
    names = ["undefined", "angry", "happy", "neutral", "sad"]
    undefined, *ids = processor.tokenizer.convert_tokens_to_ids([f"<|emo:{name}|>" for name in names])
    prompt = processor.get_decoder_prompt_ids(language="en")
    inputs["decoder_input_ids"] = torch.tensor([prompt[: prompt.index(undefined)]])
    with torch.no_grad():
        return model(**inputs).logits[0, -1, ids].softmax(-1).numpy()


def test_beside_readouts_that_ask_it_has_one_row_per_clip(slotted, corpus, tmp_path):
    asked = ["readout=[label_likelihood,classifier]", "prompt=[voice_sounds,bare_label]", "labels=iemocap4"]
    model = ["model=cohere_asr", f"model.path={slotted}", "model.device=cpu", "dataset.soft_label.outside=drop"]
    done = probing.run(settings(corpus, tmp_path, *model, *asked, "batch_size=2"))
    scores = read_scores(done).to_pandas()
    counts = scores.groupby(["input", "prompt", "readout"]).size().to_dict()
    prompts = ("voice_sounds", "bare_label")
    of_nulls = {"silence": 1, "noise": 4, "no_audio": 1}
    expected = {("clip", prompt, "label_likelihood"): 7 for prompt in prompts} | {("clip", "-", "classifier"): 7}
    expected |= {(kind, prompt, "label_likelihood"): n for kind, n in of_nulls.items() for prompt in prompts}
    assert counts == expected
    predictions = pd.read_parquet(done / "predictions.parquet")
    own = predictions.query("readout == 'classifier' and calibration == 'none'").set_index("utterance_id")
    assert set(own["prompt"]) == {"-"}
    assert own["label_mass"].tolist() == pytest.approx([1] * 7)
    for name, row in own.iterrows():
        found = row[[f"p_{label}" for label in ("anger", "happy", "neutral", "sad")]].to_numpy(float)
        np.testing.assert_allclose(found, of_slot(slotted, corpus.parent / f"{name[1:]}.wav"), atol=1e-5)
    assert "ensemble_arithmetic(2)" in set(predictions.query("readout == 'label_likelihood'")["prompt"])
    judge(done, resamples=50)
    frame = contrast_frame({"slotted": open_folder(done)}, ["calibration=none"])
    named = frame.query("kind == 'classes'")
    assert named["name"].tolist() == ["classes: classifier, supervised"]
    assert named["went"].tolist() == ["label mass 1"]
    assert set(frame.query("kind == 'tokens'")["readout"]) == {"label_likelihood"}
    assert "classes: classifier, supervised" in contrast_markdown(frame)


def test_a_clip_and_a_corpus_are_read_in_python(checkpoint, corpus, finished, tmp_path):
    model = emoprobe.load_model("encoder", path=checkpoint, device="cpu")
    files = [str(corpus.parent / f"{i}.wav") for i in (1, 4)]
    own = ["readout.classifier.map={cal:null}"]
    beliefs = model.read(files, labels="basic6", readout="classifier", overrides=own)
    for i, file in enumerate(files):
        *kept, left = expected(checkpoint, Path(file))
        np.testing.assert_allclose(beliefs["classifier"][i], np.array(kept) / sum(kept), atol=1e-6)
        (mass,) = beliefs.label_mass.values()
        assert mass[i] == pytest.approx(1 - left, abs=1e-6)
    one = model.read(files[0], labels="basic6", readout="classifier", calibration="contextual_silence", overrides=own)
    assert list(one.distributions) == []  # nothing is taken out of what is asked nothing
    quiet = ["trainer.enable_progress_bar=false", "analysis.figures=false", "analysis.resamples=0"]
    manifest = emoprobe.load_corpus("manifest", path=corpus)
    run = emoprobe.probe(
        model, manifest, labels="basic6", readout="classifier", output_dir=tmp_path, overrides=[*own, *quiet]
    )
    key = ["utterance_id", "readout_options", "form_logprobs"]
    pd.testing.assert_frame_equal(run.scores[key], read_scores(finished).to_pandas()[key])


def test_what_a_model_cannot_do_is_said_in_one_line(sfm, tiny_whisper, corpus, tmp_path):
    for readout in ("label_likelihood", "all", "layerwise", "sampled_text", "[generated_text,classifier]"):
        with pytest.raises(InputError, match=r"hears and does not answer.*readout=classifier") as caught:
            probing.run(settings(corpus, tmp_path / "a", f"readout={readout}"), sfm=sfm)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=r"has no classes of its own"):
        probing.run(settings(corpus, tmp_path / "b", "readout=classifier"), sfm=tiny_whisper)
    with pytest.raises(InputError, match=r"hears and does not answer"):
        Model("classified", {}, sfm).read(str(corpus.parent / "1.wav"))
    assert not any((tmp_path / name / "scores.parquet").exists() for name in "ab")


def test_a_checkpoint_that_does_not_hear_is_refused(sfm, corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(Encoder, "classify", lambda self, waves: torch.zeros(len(waves), len(CODES)).log_softmax(-1))
    with pytest.raises(EmoprobeError, match=r"does not hear"):
        probing.run(settings(corpus, tmp_path, *CLASSIFIER), sfm=sfm)


def test_scores_that_are_no_numbers_are_refused(sfm, corpus, tmp_path, monkeypatch):
    plain = Encoder.classify

    def broken(self, waves):
        return plain(self, waves) * (torch.nan if len(waves) == 7 else 1)

    monkeypatch.setattr(Encoder, "classify", broken)
    with pytest.raises(EmoprobeError, match=r"gave a score that is not a finite number in float32"):
        probing.run(settings(corpus, tmp_path, *CLASSIFIER), sfm=sfm)


def words(checkpoint: Path, corpus: Path, output: Path, *overrides: str) -> list[str]:
    """The command for a checkpoint in a folder."""
    own = [
        "model=encoder",
        f"model.path={checkpoint}",
        "model.device=cpu",
        "dataset=manifest",
        f"dataset.path={corpus}",
    ]
    quiet = ["logger=none", "analysis.figures=false", "analysis.resamples=0", "trainer.accelerator=cpu"]
    return ["probe", *own, *quiet, f"hydra.run.dir={output}", *overrides]


@pytest.mark.slow
def test_two_processes_give_the_rows_of_one(checkpoint, corpus, finished, tmp_path):
    done = alone(*words(checkpoint, corpus, tmp_path, *CLASSIFIER, "batch_size=2"), *TWO)
    assert done.status == 0, done.err[-3000:]
    key = ["utterance_id", "input", "prompt", "readout", "readout_options", "forms", "form_labels"]
    one, two = (
        read_scores(each).to_pandas().sort_values("utterance_id").reset_index(drop=True)
        for each in (finished, tmp_path)
    )
    pd.testing.assert_frame_equal(one[key], two[key])
    np.testing.assert_allclose(np.stack(one["form_logprobs"]), np.stack(two["form_logprobs"]), atol=1e-6)


def test_mistakes_end_in_one_line_and_exit_status_two(checkpoint, corpus, tmp_path, console):
    deaf = "hears and does not answer"
    commands = [
        (words(checkpoint, corpus, tmp_path, "readout=label_likelihood"), deaf),
        (words(checkpoint, corpus, tmp_path), deaf),
        (words(checkpoint, corpus, tmp_path, "readout=classifier"), "'readout.classifier.map={ang:anger,dis:disgust"),
        (words(checkpoint, corpus, tmp_path, CLASSIFIER[0], f"{MAP}={{cal:null,sad:null}}"), "no class for sad"),
        (words(checkpoint, corpus, tmp_path, CLASSIFIER[0], f"{MAP}={{cal:calm}}"), "'calm' is no label of basic6"),
        (["tokens", "model=encoder", f"model.path={checkpoint}"], deaf),
        (["probe", "model=wavlm"], f"microsoft/wavlm-base-plus {deaf}"),  # said before its weights are looked for
    ]
    for command, message in commands:
        done = console(*command)
        assert done.status == 2, (command, done.err)
        (line,) = [line for line in done.err.splitlines() if line.startswith("error: ")]
        assert done.err.splitlines()[-1] == line
        assert message in line


def test_a_trained_head_is_read_beside_it_or_alone(checkpoint, tmp_path, console, monkeypatch):
    monkeypatch.setenv("EMOPROBE_CACHE", str(tmp_path / "features"))
    shared = ["model=encoder", f"model.path={checkpoint}", "model.device=cpu", "dataset.limit=20", "logger=none"]
    shared += ["trainer.enable_progress_bar=false", "analysis.figures=false", "analysis.resamples=0"]
    fitted = ["head=linear_probe", "head.layers=last", "fit.max_epochs=1", f"hydra.run.dir={tmp_path / 'trained'}"]
    assert console("train", *shared, *fitted).status == 0
    head = ["head=bundle", f"head.path={tmp_path / 'trained' / 'head_fold0'}", "head.seen=evaluate"]
    for name, own in (("beside", CLASSIFIER), ("alone", ["readout=[]"])):
        done = console("probe", *shared, *head, *own, f"hydra.run.dir={tmp_path / name}")
        assert done.status == 0, done.err[-3000:]
        rows = json.loads((tmp_path / name / "metrics.json").read_text())["rows"]
        found = {(row["prompt"], row["readout"], row["variant"]) for row in rows if row["kind"] == "readout"}
        expected = {("-", "linear_probe", "trained")}
        assert found == expected | ({("-", "classifier", "supervised")} if name == "beside" else set())
