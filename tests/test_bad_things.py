"""Bad configurations, folders, sounds, caches, disks and signals: one line each, or a clip set aside by name."""

from __future__ import annotations

import errno
import os
import re
import shlex
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from scoring import config, write_corpus

from emoprobe.readout.scoring.module import ZeroShotProbe
from emoprobe.recipes import probe as probing
from emoprobe.run.scores import count_parts
from emoprobe.system import output
from emoprobe.system.claim import claimed

# -- what is refused before anything is loaded -------------------------------------------------------------------------

REFUSED = {
    # models
    "probe model=nothing": r"no model 'nothing' \(field model\)",
    "probe model.path=/nowhere": "no checkpoint: it has no config.json",
    "probe 'model.path=${oc.env:EMOPROBE_NOTHING}'": "EMOPROBE_NOTHING",
    "probe model.dtype=float8": r"field model\.dtype",
    "probe modle=whisper": "Did you mean model",
    "probe model=vllm model.url=nowhere": r"no address of a server \(field model\.url\)",
    "probe model=vllm model.url=http://127.0.0.1:9/v1 model.retries=0": r"no server of vLLM's kind.*model\.url",
    "tokens model=nothing": "no model 'nothing'",
    "doctor model=nothing": "no model 'nothing'",
    # numbers and choices
    "probe batch_size=0": r"at least 1 \(field batch_size\)",
    "probe batch_size=many": r"field batch_size",
    "probe seed=-1": r"field seed",
    "probe num_workers=-1": r"field num_workers",
    "probe report=perhaps": r"not true or false \(field report\)",
    "probe retry=everything": r"field retry",
    "probe optimize=nothing": r"optimize|nothing",
    "probe prompt=[]": "no prompt was chosen",
    "probe prompt=nothing": "no prompt 'nothing'",
    "probe readout=nothing": "no readout 'nothing'",
    "probe readout.label_likelihood.more=1": "no option 'more'",
    "probe calibration=nothing": "no calibration 'nothing'",
    "probe labels=nothing": "no labels 'nothing'",
    "probe labels.words=3": r"field labels\.words",
    "probe null_inputs.kinds=[shouting]": r"field null_inputs\.kinds",
    "probe null_inputs.seconds=0": r"field null_inputs\.seconds",
    "probe analysis.resamples=-5": r"field analysis\.resamples",
    "probe analysis.nothing=1": "no option 'nothing'",
    "probe logger=nothing": "no logger 'nothing'",
    "probe experiment=finetuning_study": "Use emoprobe train",
    "probe hydra/launcher=nothing": "no hydra/launcher 'nothing'",
    "probe --config-dir /nowhere": r"no such folder \(file /nowhere, field --config-dir\)",
    # corpora
    "probe dataset=nothing": "no dataset 'nothing'",
    "probe dataset=manifest dataset.path=/nowhere.csv": r"does not exist \(file /nowhere\.csv",
    "probe dataset=cremad dataset.root=/nowhere": r"field dataset\.root",
    "probe dataset.limit=0": r"field dataset\.limit",
    "probe dataset.split=nothing": "no split 'nothing'",
    "probe dataset.shard=5/4": "no part K/N",
    "probe dataset.shard=a": "no part K/N",
    "probe dataset.audio.min_seconds=40": r"field dataset\.audio\.min_seconds",
    "probe dataset.audio.long_audio=perhaps": r"field dataset\.audio\.long_audio",
    "probe dataset.on_error=ignore": r"field dataset\.on_error",
    "data check dataset=nothing": "no dataset 'nothing'",
    "data show dataset=cremad dataset.root=/nowhere": r"field dataset\.root",
    "floors dataset=nothing": "no dataset 'nothing'",
    # Lightning and its devices
    "probe trainer.devices=999 trainer.accelerator=cpu": "999 devices are asked for",
    "probe trainer.nothing=1": "no such argument",
    "probe trainer.precision=16-mixed": "precision is for training",
    "probe trainer.max_epochs=3": "scoring fits nothing",
    "probe trainer.limit_predict_batches=1": "leave clips unscored",
    "probe trainer.fast_dev_run=true": "leave clips unscored",
    "probe trainer.strategy=fsdp": "every process holds the whole model",
    "probe trainer.strategy=nothing": r"field trainer\.strategy",
    "probe callbacks.x._target_=nothing.Here": "no package of 'nothing.Here'",
    "train trainer.strategy=deepspeed": "every process holds the whole model",
    # training
    "train head=nothing": "no head 'nothing'",
    "train loss=nothing": "no loss 'nothing'",
    "train fit.max_epochs=0": r"field fit\.max_epochs",
    "train fit.learning_rate=-1": r"field fit\.learning_rate",
    "train fit.monitor=nothing": r"field fit\.monitor",
    "train fit.batch_size=1 loss=ccc labels=valence5": "one alone teaches nothing",
    "train dataset.shard=1/2": "divides it itself",
    "train dataset.split=test": "divides it itself",
    "train dataset.fold=99": r"fold",
    "train dataset.partition.folds=1": r"field dataset\.partition\.folds",
    # folders
    "probe head=bundle head.path=/nowhere": "not a readable head",
    "probe hydra.run.dir=/dev/null/x": "the output folder cannot be written",
    "analyse /nowhere": r"no readable run\.json",
    "judge /nowhere": r"no readable run\.json",
    "compare /nowhere": r"no readable run\.json",
    "fuse /nowhere /nowhere -o OUT": r"/nowhere",
    "report /nowhere": "no such folder",
    "merge /nowhere -o OUT": "no such folder",
    "sweep status /nowhere": "no sweep was found",
    "cache stats /nowhere": "no score cache",
    "cache prune /nowhere": "nothing is named that is to be deleted",
    "export /nowhere OUT": "not a readable head",
    "nothing": "no command 'nothing'",
}


@pytest.mark.parametrize("command", REFUSED)
def test_it_is_one_line(command, tiny_whisper_path, tmp_path, console):
    words = [word.replace("OUT", str(tmp_path / "out")) for word in shlex.split(command)]
    if words[0] in ("probe", "train"):
        if not any(word.startswith("hydra.run.dir=") for word in words):
            words.append(f"hydra.run.dir={tmp_path / 'run'}")
        if not any(word.startswith("logger=") for word in words):
            words.append("logger=none")
        if not any(word.startswith("model") for word in words):
            words += ["model=whisper", f"model.path={tiny_whisper_path}", "model.device=cpu"]
    done = console(*words)
    said = done.err.strip().splitlines()
    assert (done.status, len(said)) == (2, 1), done.err[-2000:]
    assert re.search(REFUSED[command], said[0]), said[0]
    assert not (tmp_path / "run" / "scores.parquet").exists()


# -- what goes wrong in a run ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus"), count=5)


@pytest.fixture
def probe(tiny_whisper_path, corpus, tmp_path, console, monkeypatch) -> Callable:
    """A short probe of the corpus into ``tmp_path / run``."""
    monkeypatch.setenv("EMOPROBE_CACHE", str(tmp_path / "own cache"))

    def run(*more: object, verb: str = "probe"):
        words = ["model=whisper", f"model.path={tiny_whisper_path}", "model.device=cpu"]
        words += [f"hydra.run.dir={tmp_path / 'run'}", "logger=none", "batch_size=2"]
        words += ["trainer.enable_progress_bar=false", "trainer.accelerator=cpu", "analysis.figures=false"]
        words += ["analysis.resamples=10"]
        if verb == "probe":
            words += ["readout=label_likelihood", "calibration=none", "null_inputs.kinds=[]", "prompt=voice_sounds"]
            words += ["dataset=manifest", f"dataset.path={corpus}"]
        else:
            words += ["head.layers=[-1]", "fit.max_epochs=2", "dataset.partition.folds=3", "dataset.limit=24"]
        return console(verb, *words, *more)

    return run


def one_line(done, status: int, said: str) -> None:
    lines = [line for line in done.err.strip().splitlines() if line.startswith(("error:", "stopped:"))]
    assert (done.status, len(lines)) == (status, 1), done.err[-3000:]
    assert re.search(said, lines[0]), lines[0]
    assert "Traceback" not in done.err


WHOLE = ("run.json", "utterances.parquet", "scores.parquet", "predictions.parquet", "metrics.json", "metrics.csv")


@pytest.mark.parametrize("name", [*WHOLE, "skipped.csv", "settings.json", "job.json"])
def test_a_full_disk(name, probe, tmp_path, monkeypatch):
    replace, full = os.replace, {"on": True}

    def refuse(source, target, **options):
        if full["on"] and Path(target).name == name:
            raise OSError(errno.ENOSPC, "No space left on device", str(target))
        replace(source, target, **options)

    monkeypatch.setattr(output.os, "replace", refuse)
    one_line(probe(), 1, rf"No space left on device.*{re.escape(name)}")
    assert not (tmp_path / "run" / name).exists()
    assert not [file for file in (tmp_path / "run").rglob(".*") if file.suffix in (".json", ".csv", ".parquet")]
    full["on"] = False
    assert probe().status == 0
    assert (tmp_path / "run" / "metrics.csv").read_text().count("\n") > 3


def full_for(monkeypatch, pattern: str) -> dict:
    """No room for files of this name, as long as its ``on`` is true; what was refused is counted."""
    replace, full = os.replace, {"on": True, "refused": 0}

    def refuse(source, target, **options):
        if full["on"] and Path(target).match(pattern):
            full["refused"] += 1
            raise OSError(errno.ENOSPC, "No space left on device", str(target))
        replace(source, target, **options)

    monkeypatch.setattr(os, "replace", refuse)
    return full


IN_TRAINING = ("head.json", "last.ckpt", "learning_curves.csv", "features/*/*.safetensors")


@pytest.mark.parametrize("pattern", IN_TRAINING)
def test_a_full_disk_in_a_training(pattern, probe, tmp_path, monkeypatch):
    full = full_for(monkeypatch, pattern)
    asked = ("fit.checkpoint_seconds=0", "dataset.limit=12")
    one_line(probe(*asked, verb="train"), 1, "No space left on device")
    assert full["refused"]
    assert not (tmp_path / "run" / "metrics.json").exists()
    full["on"] = False
    assert probe(*asked, verb="train").status == 0


IN_A_REPORT = ("index.html", "leaderboard.csv", "leaderboard.md", "figures/*.pdf", "figures/*.png")


@pytest.mark.parametrize("pattern", IN_A_REPORT)
def test_a_full_disk_in_a_report(pattern, finished, tmp_path, console, monkeypatch):
    full = full_for(monkeypatch, pattern)
    one_line(console("report", finished, "-o", tmp_path / "page"), 1, "No space left on device")
    assert full["refused"]
    assert not [file for file in (tmp_path / "page").rglob("*") if file.match(pattern) or file.name.startswith(".tmp")]


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EROFS, errno.EIO])
def test_a_folder_that_cannot_be_locked(number, probe, monkeypatch):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", refuse)
    status = 2 if number == errno.ENOLCK else 1
    one_line(probe(), status, rf"the output folder cannot be written: {os.strerror(number)}.*field hydra\.run\.dir")


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_signal_in_a_probe(signum, probe, tmp_path, monkeypatch):
    rows, calls = ZeroShotProbe._rows, []

    def told(self, part):
        calls.append(part)
        if len(calls) == 2:
            os.kill(os.getpid(), signum)
        return rows(self, part)

    monkeypatch.setattr(ZeroShotProbe, "_rows", told)
    one_line(probe(), 128 + signum, rf"by {signum.name}; what was finished is kept.*{tmp_path.name}|folder")
    assert count_parts(tmp_path / "run") == 2  # the batch it was at was finished
    monkeypatch.undo()
    done = probe()
    assert done.status == 0
    assert "taken over from an earlier run: 4 of 5 utterances" in done.out


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_signal_in_a_training(signum, probe, tmp_path, monkeypatch):
    from emoprobe.training.going_on import GoingOn

    ended, calls = GoingOn.on_train_epoch_end, []

    def told(self, trainer, module):
        calls.append(1)
        if len(calls) == 1:
            os.kill(os.getpid(), signum)
        ended(self, trainer, module)

    monkeypatch.setattr(GoingOn, "on_train_epoch_end", told)
    one_line(probe("fit.max_epochs=4", verb="train"), 128 + signum, f"by {signum.name}")
    assert list((tmp_path / "run" / "checkpoints").rglob("last.ckpt"))
    monkeypatch.undo()
    assert probe("fit.max_epochs=4", verb="train").status == 0


def test_another_process_at_work(probe, tmp_path):
    with claimed(tmp_path / "run", "probe"):
        one_line(probe(), 2, rf"another process is at work in this folder: probe, process {os.getpid()} on .*, since ")


RUINED = {
    "a folder of other settings": (lambda run: None, ["prompt=bare_label"], "prompt"),
    "a score table that was edited": (lambda run: cut(run / "scores.parquet"), [], "scores.parquet"),
    "a file in place of the folder": (lambda run: (shutil.rmtree(run), run.write_text("")), [], "cannot be written"),
}


@pytest.mark.parametrize("name", RUINED)
def test_a_run_folder_that_is_not_its_own(name, probe, tmp_path):
    assert probe().status == 0
    ruin, more, said = RUINED[name]
    ruin(tmp_path / "run")
    done = probe(*more)
    assert done.status == 2, done.err
    assert re.search(said, done.err)
    assert "Traceback" not in done.err


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-50])


@pytest.fixture(scope="module")
def finished(tiny_whisper_path, corpus, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("finished") / "run"
    return probing.run(config(tiny_whisper_path, corpus, folder, "prompt=voice_sounds", "calibration=none"))


@pytest.mark.parametrize("name", [*WHOLE[:-1]])
@pytest.mark.parametrize("verb", ["analyse", "report"])
def test_a_finished_run_with_a_damaged_file(name, verb, finished, tmp_path, console):
    shutil.copytree(finished, tmp_path / "run")
    cut(tmp_path / "run" / name)
    words = [tmp_path / "run"] + (["-o", tmp_path / "page"] if verb == "report" else [])
    done = console(verb, *words)
    assert "Traceback" not in done.err
    made_anew = verb == "analyse" and name in ("predictions.parquet", "metrics.json")  # of the scores
    unread = verb == "report" and name == "scores.parquet"
    assert (done.status == 0 and (made_anew or unread)) or name in done.out + done.err


# -- caches ------------------------------------------------------------------------------------------------------------


def test_a_cache_that_is_a_file(probe, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    one_line(probe(f"cache.scores={tmp_path / 'file'}"), 2, r"score cache cannot be written.*cache\.scores")
    monkeypatch.setenv("EMOPROBE_CACHE", str(tmp_path / "file"))
    one_line(probe(verb="train"), 2, "features cannot be written")


@pytest.mark.parametrize("damage", [cut, lambda file: file.write_bytes(b""), lambda file: file.write_bytes(b"x" * 99)])
def test_damaged_scores_in_the_cache(damage, probe, tmp_path):
    cache = f"cache.scores={tmp_path / 'scores'}"
    assert probe(cache).status == 0
    for file in (tmp_path / "scores").glob("*/*.parquet"):
        damage(file)
    shutil.rmtree(tmp_path / "run")
    done = probe(cache)
    assert done.status == 0
    assert "is set aside" in done.out


@pytest.mark.parametrize("damage", [cut, lambda file: file.write_bytes(b""), lambda file: file.write_bytes(b"x" * 99)])
def test_damaged_features(damage, probe, tmp_path):
    assert probe(verb="train").status == 0
    for file in (tmp_path / "own cache").rglob("*.safetensors"):
        damage(file)
    shutil.rmtree(tmp_path / "run")
    done = probe(verb="train")
    assert done.status in (0, 2)
    assert "Traceback" not in done.err
    assert done.status == 0 or "Delete" in done.err


# -- sounds ------------------------------------------------------------------------------------------------------------

SOUNDS = {
    "missing": lambda file: file.unlink(),
    "empty": lambda file: file.write_bytes(b""),
    "text": lambda file: file.write_text("path,label\n"),
    "cut": lambda file: file.write_bytes(file.read_bytes()[:2000]),
    "a folder": lambda file: (file.unlink(), file.mkdir()),
    "silence": lambda file: soundfile.write(file, np.zeros(16_000), 16_000),
    "too short": lambda file: soundfile.write(file, np.full(20, 0.1), 16_000),
    "not finite": lambda file: soundfile.write(file, np.full(16_000, np.nan), 16_000, subtype="FLOAT"),
    "integers as floats": lambda file: soundfile.write(file, np.full(16_000, 3e4), 16_000, subtype="FLOAT"),
}


@pytest.mark.parametrize("name", SOUNDS)
def test_a_bad_sound_is_named_or_set_aside(name, probe, corpus, tmp_path):
    own = tmp_path / "corpus"
    shutil.copytree(corpus.parent, own)
    SOUNDS[name](own / "3.wav")
    path = f"dataset.path={own / corpus.name}"
    one_line(probe(path), 2, r"3\.wav")
    done = probe(path, "dataset.on_error=skip", "dataset.missing_audio=skip")
    assert done.status == 0, done.err
    rows = (tmp_path / "run" / "skipped.csv").read_text().splitlines()
    assert [row.partition(",")[0] for row in rows[1:]] == ["u3"]


def test_there_are_enough_of_them():
    disks = [*WHOLE, *IN_TRAINING, *IN_A_REPORT]
    assert len(REFUSED) + len(disks) + len(RUINED) + len(SOUNDS) >= 60
    assert len(REFUSED) >= 60
