"""One command is run, resume and retry: killed at any write it goes on to the same files, and does nothing twice."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scoring import write_corpus

import emoprobe
from emoprobe.errors import InputError
from emoprobe.recipes import loaded
from emoprobe.recipes import probe as probing
from emoprobe.recipes import train as training
from emoprobe.recipes.settings import read_probe, read_train
from emoprobe.run.folder import open_folder
from emoprobe.run.scores import read_scores
from emoprobe.run.settings import asked, differences
from emoprobe.settings import compose
from emoprobe.system.claim import claimed


class PowerCutError(BaseException):
    """What no code foresees."""


class Cut:
    """The power is cut at the ``at``-th file that takes its place: before it does, or after."""

    def __init__(self, at: int, after: bool) -> None:
        self.at, self.after, self.seen = at, after, 0

    def __enter__(self) -> Cut:
        self.replace = os.replace
        os.replace = self._replace
        return self

    def __exit__(self, *_: object) -> None:
        os.replace = self.replace

    def _replace(self, *places: object) -> None:
        self.seen += 1
        if self.seen == self.at and not self.after:
            raise PowerCutError
        self.replace(*places)
        if self.seen == self.at:
            raise PowerCutError


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EMOPROBE_CACHE", str(tmp_path_factory.getbasetemp() / "features"))
        yield


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus"), count=4)


def probe(model, corpus, folder, *overrides):
    asked = [
        *("model=whisper", f"model.path={model}", "model.device=cpu", "dataset=manifest", f"dataset.path={corpus}"),
        *("prompt=bare_label", "readout=label_likelihood", "calibration=none", "null_inputs.kinds=[silence]"),
        *("null_inputs.seconds=0.2", "analysis.resamples=5", "analysis.figures=false", "batch_size=2", "logger=none"),
        *("trainer.accelerator=cpu", "trainer.enable_progress_bar=false", f"output_dir={folder}"),
    ]
    return probing.run(read_probe(compose([*asked, *overrides])))


def train(model, folder, *overrides):
    asked = [
        *("model=whisper", f"model.path={model}", "model.device=cpu", "dataset.limit=24", "logger=none"),
        *("head=mlp_probe", "head.layers=[-1]", "head.hidden=4", "head.members=2", "dataset.fold=all"),
        *("dataset.partition.folds=3", "fit.max_epochs=2", "fit.checkpoint_seconds=0", "fit.batch_size=8"),
        *("analysis.resamples=5", "analysis.figures=false", "trainer.enable_progress_bar=false"),
        *("trainer.accelerator=cpu", f"output_dir={folder}"),
    ]
    return training.run(read_train(compose([*asked, *overrides], "train")))


def same_results(one: Path, other: Path) -> None:
    """All that a reader sees is the same, to the bit; times are not."""
    tables = [read_scores(run).to_pandas().sort_values(["input", "draw", "utterance_id"]) for run in (one, other)]
    pd.testing.assert_frame_equal(*(table.reset_index(drop=True) for table in tables))
    for name in ("metrics.csv", "skipped.csv", "learning_curves.csv"):
        if (one / name).exists():
            assert (one / name).read_bytes() == (other / name).read_bytes(), name
    runs = open_folder(one), open_folder(other)
    pd.testing.assert_frame_equal(runs[0].predictions, runs[1].predictions)
    pd.testing.assert_frame_equal(runs[0].utterances, runs[1].utterances)
    pd.testing.assert_frame_equal(runs[0].metrics, runs[1].metrics)
    for head in one.glob("head_*"):
        for file in head.iterdir():
            assert file.read_bytes() == (other / head.name / file.name).read_bytes(), file
    assert sorted(each.name for each in one.iterdir()) == sorted(each.name for each in other.iterdir())


def cut_at_writes(run, whole: Path, folder: Path, step: int = 1) -> int:
    """Kill a command at each of its writes, give it again, and compare; returns how many there were."""
    at = 0
    while True:
        at += step
        place = folder / str(at)
        try:
            with Cut(at, after=bool(at % 2)):
                run(place)
        except PowerCutError:
            run(place)
            same_results(whole, place)
            shutil.rmtree(place)
        else:
            return at - 1


def cut_again_and_again(run, folder: Path) -> int:
    """Kill a command in one folder, a write later each time, until it comes to its end; returns how often."""
    at = 0
    while True:
        at += 1
        try:
            with Cut(at, after=bool(at % 2)):
                run(folder)
        except PowerCutError:
            continue
        return at - 1


@pytest.fixture(scope="module")
def probed(tiny_whisper_path, corpus, tmp_path_factory) -> Path:
    return probe(tiny_whisper_path, corpus, tmp_path_factory.mktemp("probed") / "run")


@pytest.fixture(scope="module")
def trained(tiny_whisper_path, tmp_path_factory) -> Path:
    return train(tiny_whisper_path, tmp_path_factory.mktemp("trained") / "run")


def test_a_probe_killed_at_any_write_goes_on(tiny_whisper_path, corpus, probed, tmp_path):
    def run(folder):
        return probe(tiny_whisper_path, corpus, folder)

    assert cut_at_writes(run, probed, tmp_path, step=3) > 12
    assert cut_again_and_again(run, tmp_path / "often") > 2
    same_results(probed, tmp_path / "often")


def test_a_training_killed_at_any_write_goes_on(tiny_whisper_path, trained, tmp_path):
    def run(folder):
        return train(tiny_whisper_path, folder)

    assert cut_at_writes(run, trained, tmp_path, step=11) > 20
    assert cut_again_and_again(run, tmp_path / "often") > 2
    same_results(trained, tmp_path / "often")


@pytest.fixture
def no_model(monkeypatch):
    """Whoever loads a model fails."""
    monkeypatch.setattr(loaded, "make", lambda *_: pytest.fail("a model was loaded"))


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_what_is_finished_is_not_repeated(tiny_whisper_path, corpus, probed, trained, capsys, no_model):
    for folder, again in (
        (probed, lambda *more: probe(tiny_whisper_path, corpus, probed, *more)),
        (trained, lambda *more: train(tiny_whisper_path, trained, *more)),
    ):
        before = files_of(folder)
        for more in ((), ("num_workers=0", "batch_size=3", "trainer.log_every_n_steps=7"), ("retry=failed",)):
            capsys.readouterr()
            assert again(*more) == folder
            said = capsys.readouterr().out
            assert said.startswith("Finished before with the same settings, and nothing of it has changed")
            assert "JS ↓" in said
        assert files_of(folder) == before


def test_what_is_derived_is_made_anew_without_the_model(
    tiny_whisper_path, corpus, probed, trained, tmp_path, capsys, no_model
):
    copy = Path(shutil.copytree(probed, tmp_path / "probed"))
    probe(tiny_whisper_path, corpus, copy, "calibration=[none,batch]", "dataset.soft_label.smoothing=0.5")
    assert "analysed anew, without the model" in capsys.readouterr().out
    run = open_folder(copy)
    assert set(run.predictions["calibration"]) == {"none", "batch"}
    assert not np.allclose(run.utterances["target_anger"], open_folder(probed).utterances["target_anger"])
    copy = Path(shutil.copytree(trained, tmp_path / "trained"))
    (copy / "metrics.json").unlink()
    train(tiny_whisper_path, copy)
    assert "analysed anew, without the model" in capsys.readouterr().out
    assert (copy / "metrics.json").read_bytes() == (trained / "metrics.json").read_bytes()


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("model.dtype=bfloat16", "model.dtype: float32 -> bfloat16"),
        ("seed=3", "seed: 0 -> 3"),
        ("dataset.audio.max_seconds=20", "dataset.audio.max_seconds: 30.0 -> 20"),
    ],
)
def test_other_settings_are_named_one_line_each(tiny_whisper_path, corpus, probed, trained, override, line, no_model):
    for again in (
        lambda: probe(tiny_whisper_path, corpus, probed, override),
        lambda: train(tiny_whisper_path, trained, override),
    ):
        with pytest.raises(InputError, match=r"Choose another folder with hydra.run.dir=DIR; what differs:") as caught:
            again()
        first, *lines = str(caught.value).splitlines()
        assert first.startswith("this output folder holds ")
        assert lines == [f"  {line}"]


def test_an_option_that_another_follows_is_named_alone():
    before = {"fit": {"max_epochs": 1}, "trainer": {"max_epochs": 1}, "dataset": {"root": "a", "reader": {"root": "a"}}}
    now = {"fit": {"max_epochs": 2}, "trainer": {"max_epochs": 2}, "dataset": {"root": "b", "reader": {"root": "b"}}}
    assert [str(each) for each in differences(before, now)] == ["fit.max_epochs: 1 -> 2", "dataset.root: a -> b"]
    assert differences({"new": None}, {}) == []
    secrets = [asked("probe", {"model": {"api_key": key}}) for key in ("open-sesame", "sesame-open")]
    assert differences(*secrets) == []
    assert "sesame" not in str(secrets)


def test_a_folder_of_the_other_verb_is_refused(tiny_whisper_path, corpus, probed, trained):
    with pytest.raises(InputError, match="holds a run of emoprobe train"):
        probe(tiny_whisper_path, corpus, trained)
    with pytest.raises(InputError, match="holds a run of emoprobe probe"):
        train(tiny_whisper_path, probed)


# What failed.


def damaged(folder: Path) -> tuple[Path, bytes]:
    manifest = write_corpus(folder, count=6)
    sound = (folder / "1.wav").read_bytes()
    (folder / "1.wav").write_bytes(b"no sound")
    os.rename(folder / "2.wav", folder / "2.away")
    return manifest, sound


def skipped(run: Path) -> dict[str, str]:
    table = pd.read_csv(run / "skipped.csv", dtype=str)
    return dict(zip(table["utterance_id"], table["reason"], strict=True))


SKIP = ("dataset.on_error=skip", "dataset.missing_audio=skip")


@pytest.mark.parametrize("killed", [False, True])
def test_clips_that_failed_stay_left_out_until_they_are_retried(tiny_whisper_path, tmp_path, capsys, killed):
    manifest, sound = damaged(tmp_path / "corpus")
    folder = tmp_path / "run"
    try:
        with Cut(12 if killed else 1000, after=True):
            probe(tiny_whisper_path, manifest, folder, *SKIP)
    except PowerCutError:
        assert killed
    (tmp_path / "corpus" / "1.wav").write_bytes(sound)
    os.rename(tmp_path / "corpus" / "2.away", tmp_path / "corpus" / "2.wav")
    capsys.readouterr()
    probe(tiny_whisper_path, manifest, folder, *SKIP)
    said = capsys.readouterr().out
    assert skipped(folder) == {"u1": "bad_audio", "u2": "missing_audio"}
    assert "Left out 2 that failed before: " in said
    assert "retry=failed tries them again" in said
    before = read_scores(folder).to_pandas()
    probe(tiny_whisper_path, manifest, folder, *SKIP, "retry=failed")
    assert "Trying again 2 that failed before: " in capsys.readouterr().out
    assert skipped(folder) == {}
    record = json.loads((folder / "run.json").read_text())
    assert (record["num_evaluated"], record["num_scored"], record["speed"]["clips"]) == (6, 6, 2)
    after = read_scores(folder).to_pandas()
    assert set(after["utterance_id"]) == set(before["utterance_id"]) | {"u1", "u2"}
    assert open_folder(folder).predictions["utterance_id"].nunique() == 6
    whole = read_scores(probe(tiny_whisper_path, manifest, tmp_path / "whole")).to_pandas()
    key = ["input", "draw", "utterance_id"]
    pd.testing.assert_frame_equal(*(t.sort_values(key).reset_index(drop=True) for t in (after, whole)))


def test_a_clip_that_fails_again_stays_left_out(tiny_whisper_path, tmp_path):
    manifest, _ = damaged(tmp_path / "corpus")
    for retry in ("null", "failed"):
        run = probe(tiny_whisper_path, manifest, tmp_path / "run", *SKIP, f"retry={retry}")
        assert skipped(run) == {"u1": "bad_audio", "u2": "missing_audio"}
    with pytest.raises(InputError, match=r"2\.wav|sound file"):
        probe(tiny_whisper_path, manifest, tmp_path / "run")


def test_a_training_learns_from_what_can_be_read_only_if_it_is_retried(tiny_whisper_path, tmp_path, capsys):
    manifest, sound = damaged(tmp_path / "corpus")
    own = [*SKIP, "dataset=manifest", f"dataset.path={manifest}", "head.members=1", "dataset.limit=null"]
    folder = train(tiny_whisper_path, tmp_path / "run", *own)
    weights = (folder / "head_fold0" / "head.safetensors").read_bytes()
    assert skipped(folder) == {"u1": "bad_audio", "u2": "missing_audio"}
    (tmp_path / "corpus" / "1.wav").write_bytes(sound)
    os.rename(tmp_path / "corpus" / "2.away", tmp_path / "corpus" / "2.wav")
    train(tiny_whisper_path, folder, *own)
    assert "Left out 2 that failed before" in capsys.readouterr().out
    assert (folder / "head_fold0" / "head.safetensors").read_bytes() == weights
    train(tiny_whisper_path, folder, *own, "retry=failed")
    assert "all heads are trained anew" in capsys.readouterr().out
    assert skipped(folder) == {}
    whole = train(tiny_whisper_path, tmp_path / "whole", *own)
    same_results(whole, folder)


def test_the_python_api_goes_on_too(tiny_whisper_path, corpus, tmp_path, capsys):
    asked = {
        "output_dir": tmp_path / "run",
        "prompt": "bare_label",
        "readout": "label_likelihood",
        "calibration": "none",
        "logger": "none",
        "overrides": [
            *("model.device=cpu", f"model.path={tiny_whisper_path}", "null_inputs.kinds=[]", "analysis.figures=false"),
            *("analysis.resamples=5", "trainer.enable_progress_bar=false", "dataset.limit=3"),
        ],
    }
    first = emoprobe.probe("whisper", **asked).metrics
    capsys.readouterr()
    again = emoprobe.probe("whisper", **asked)
    assert capsys.readouterr().out.startswith("Finished before")
    pd.testing.assert_frame_equal(again.metrics, first)


@pytest.mark.parametrize("verb", ["probe", "train", "analyse", "judge", "report", "fuse"])
def test_a_second_process_is_told_who_holds_the_folder(verb, tiny_whisper_path, corpus, probed, tmp_path, console):
    asked = ["model=whisper", f"model.path={tiny_whisper_path}", "model.device=cpu", "logger=none", "dataset.limit=24"]
    arguments = {
        "probe": [*asked, f"hydra.run.dir={tmp_path}"],
        "train": [*asked, f"hydra.run.dir={tmp_path}"],
        "analyse": [probed, "analysis.figures=false", "-o", tmp_path],
        "judge": [probed, "-o", tmp_path],
        "report": [probed, "-o", tmp_path],
        "fuse": [probed, probed, "--folds", "2", "-o", tmp_path],
    }[verb]
    with claimed(tmp_path, "probe"):
        done = console(verb, *map(str, arguments))
    assert done.status == 2
    (line,) = done.err.splitlines()
    assert f"another process is at work in this folder: probe, process {os.getpid()} on " in line


@pytest.mark.parametrize("verb", ["probe", "train"])
def test_a_refused_command_leaves_the_folder_as_it_was(verb, tiny_whisper_path, corpus, tmp_path, console):
    asked = {
        "probe": ["dataset=manifest", f"dataset.path={corpus}", "prompt=bare_label", "readout=label_likelihood"],
        "train": ["dataset.limit=24", "head.layers=[-1]", "fit.max_epochs=1"],
    }[verb]
    asked += ["model=whisper", f"model.path={tiny_whisper_path}", "model.device=cpu", "logger=none"]
    asked += ["analysis.resamples=5", "analysis.figures=false", f"hydra.run.dir={tmp_path}"]
    assert console(verb, *asked).status == 0
    before = files_of(tmp_path)
    done = console(verb, *asked, "seed=1", "analysis.resamples=6")
    assert done.status == 2
    assert done.err.splitlines()[1:] == ["  seed: 0 -> 1"]
    after = files_of(tmp_path)
    changed = {name for name in after if before.get(name) != after[name]}
    assert changed <= {".hydra/config.yaml", ".hydra/hydra.yaml"}  # resolved now; Hydra's own
    assert open_folder(tmp_path).config.analysis.resamples == 5


def test_a_folder_that_cannot_be_is_one_line(tmp_path, console):
    (tmp_path / "file").write_text("")
    done = console("probe", "logger=none", f"hydra.run.dir={tmp_path / 'file' / 'run'}")
    assert done.status == 2
    assert done.err == (
        f"error: the output folder cannot be written: Not a directory (file {tmp_path / 'file' / 'run'}, field "
        "hydra.run.dir). Choose another folder, hydra.sweep.dir of a sweep.\n"
    )
