"""Parts that were scored by themselves, merged, are the run that one job would have made; anything else is refused."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from checkout import PROJECT
from omegaconf import OmegaConf
from scoring import config, write_corpus

from emoprobe.cli import main
from emoprobe.errors import InputError
from emoprobe.readout.scoring.record import BatchRecorder
from emoprobe.recipes import probe as probing
from emoprobe.recipes.compare import compare_runs
from emoprobe.recipes.judge import judge
from emoprobe.recipes.merge import merge
from emoprobe.recipes.settings import read_probe
from emoprobe.report.write import write_report
from emoprobe.run.folder import RunFolder, open_folder
from emoprobe.run.scores import read_scores
from emoprobe.run.sealing import fingerprint, seal
from emoprobe.run.settings import read_told
from emoprobe.settings import compose

KEY = ["input", "draw", "utterance_id", "prompt", "readout"]
OPTIONS = ("dataset.split=test", "dataset.on_error=skip", "dataset.soft_label.no_votes=skip", "batch_size=1")


def run(model: Path, manifest: Path, folder: Path, *overrides: str) -> Path:
    """A run, with its configuration beside it as the command leaves it there."""
    settings = config(model, manifest, folder, *OPTIONS, *overrides)
    (folder / ".hydra").mkdir(parents=True)
    OmegaConf.save(OmegaConf.create(dict(settings.composed)), folder / ".hydra" / "config.yaml")
    return probing.run(settings)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    manifest = write_corpus(tmp_path_factory.mktemp("corpus"), count=14)
    (manifest.parent / "4.wav").write_bytes(b"no sound")
    (manifest.parent / "9.wav").write_bytes(b"none either")
    with manifest.open("a") as handle:
        handle.write("3.wav,unheard,s1,test,0,0,0,0,0,0\n")
    return manifest


@pytest.fixture(scope="module")
def whole(tiny_whisper_path, corpus, tmp_path_factory) -> Path:
    return run(tiny_whisper_path, corpus, tmp_path_factory.mktemp("whole") / "run")


@pytest.fixture(scope="module")
def parts(tiny_whisper_path, corpus, tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("parts")
    for number in (1, 2, 3, 4):
        run(tiny_whisper_path, corpus, root / f"part{number}", f"dataset.shard={number}/4")
    return root


@pytest.fixture(scope="module")
def merged(parts, tmp_path_factory) -> Path:
    return merge([parts], tmp_path_factory.mktemp("merged") / "run")


def skipped(folder: Path) -> list[dict]:
    with (folder / "skipped.csv").open(newline="") as handle:
        return sorted(csv.DictReader(handle), key=str)


def assert_same_run(one: Path, two: Path) -> None:
    """Bit by bit, but for the order of scored and skipped clips, which follows the batches."""
    a, b = (read_scores(each).sort_by([(name, "ascending") for name in KEY]) for each in (one, two))
    assert fingerprint(a) == fingerprint(b)
    assert skipped(one) == skipped(two)
    pd.testing.assert_frame_equal(RunFolder(one).utterances, RunFolder(two).utterances)
    pd.testing.assert_frame_equal(RunFolder(one).predictions, RunFolder(two).predictions)
    pd.testing.assert_frame_equal(RunFolder(one).metrics, RunFolder(two).metrics)
    assert (one / "metrics.csv").read_text() == (two / "metrics.csv").read_text()
    records = [json.loads((folder / "run.json").read_text()) for folder in (one, two)]
    for record in records:
        record["files"].pop("scores.parquet")
        for name in ("speed", "merged"):
            record.pop(name, None)
    assert records[0] == records[1]


def test_the_parts_merged_are_the_whole(whole, merged):
    assert_same_run(whole, merged)
    record = open_folder(merged).record
    assert (record.num_evaluated, record.num_scored) == (12, 10)
    assert sum(record.num_skipped.values()) == 3
    assert [each["part"] for each in record.merged] == ["1/4", "2/4", "3/4", "4/4"]
    assert record.speed["clips"] == 10
    first = read_scores(merged).to_pandas()["input"].tolist()
    assert first.index("clip") == sum(name != "clip" for name in first)  # null inputs stand before all clips


def test_a_part_run_again_is_the_same_part(tiny_whisper_path, corpus, parts, tmp_path):
    again = run(tiny_whisper_path, corpus, tmp_path / "again", "dataset.shard=2/4")
    assert_same_run(parts / "part2", again)


def test_batches_of_another_size_change_nothing_that_counts(tiny_whisper_path, corpus, parts, whole, tmp_path):
    for name in ("part1", "part2", "part4"):
        shutil.copytree(parts / name, tmp_path / name)
    run(tiny_whisper_path, corpus, tmp_path / "part3", "dataset.shard=3/4", "batch_size=5")
    made = merge([tmp_path], tmp_path / "made")
    a, b = (read_scores(each).to_pandas().sort_values(KEY).reset_index(drop=True) for each in (whole, made))
    pd.testing.assert_frame_equal(a[[*KEY, "audio_sha256"]], b[[*KEY, "audio_sha256"]])
    for one, two in zip(a["form_logprobs"], b["form_logprobs"], strict=True):
        if one is not None:
            np.testing.assert_allclose(one, two, atol=1e-4)


def test_a_part_that_was_cut_goes_on_and_is_merged(tiny_whisper_path, corpus, parts, whole, tmp_path, monkeypatch):
    for name in ("part1", "part2", "part4"):
        shutil.copytree(parts / name, tmp_path / name)
    written = BatchRecorder.on_predict_batch_end

    def cut(self, *arguments, **options):
        written(self, *arguments, **options)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(BaseException):  # noqa: B017, PT011
        patch.setattr(BatchRecorder, "on_predict_batch_end", cut)
        run(tiny_whisper_path, corpus, tmp_path / "part3", "dataset.shard=3/4")
    with pytest.raises(InputError, match=r"part 3/4 did not finish \(interrupted: .* finished batches"):
        merge([tmp_path], tmp_path / "made")
    probing.run(config(tiny_whisper_path, corpus, tmp_path / "part3", *OPTIONS, "dataset.shard=3/4"))
    assert_same_run(whole, merge([tmp_path], tmp_path / "made"))


def test_the_same_command_again_makes_the_same_run_and_goes_on(parts, merged, tmp_path, monkeypatch):
    made = tmp_path / "made"
    with monkeypatch.context() as patch, pytest.raises(RuntimeError):
        patch.setattr("emoprobe.recipes.merge.finish_run", lambda *_: (_ for _ in ()).throw(RuntimeError))
        merge([parts], made)
    assert not (made / "metrics.json").exists()
    folders = [parts / f"part{number}" for number in (4, 2, 1, 3)]  # in whatever order
    merge(folders, made)
    files = {file.name: file.read_bytes() for file in made.iterdir() if file.suffix in (".parquet", ".csv", ".json")}
    merge(folders, made)
    assert files == {name: (made / name).read_bytes() for name in files}
    assert_same_run(merged, made)


def test_a_merged_run_is_one_like_any_other(whole, merged, tmp_path, console):
    assert console("analyse", merged, "-o", tmp_path / "a", "calibration=none").status == 0
    assert judge(merged, output=tmp_path / "judged", resamples=20, figures=False).is_dir()
    frame = compare_runs([whole, merged], ["readout=label_likelihood,calibration=none,prompt=bare_label"], resamples=20)
    assert frame["difference"].tolist() == [0.0]
    write_report([whole, merged], tmp_path / "report", figures=False)
    assert "Group" in console("report", whole, merged, "-o", tmp_path / "r", "--no-figures").out


def test_a_report_says_of_parts_that_they_are_parts(whole, parts, tmp_path, capsys):
    write_report([whole, parts / "part1", parts / "part2"], tmp_path, figures=False)
    said = capsys.readouterr().out
    assert said.count("Group ") == 3
    for number in (1, 2):
        assert f"PART {number}/4" in said
        assert f"part: only {number}/4, not the whole run; emoprobe merge puts parts together" in said
    assert "part: all" in said
    assert "part1of4" in (tmp_path / "leaderboard.md").read_text()
    assert "PART 1/4" in (tmp_path / "index.html").read_text()


def test_a_sweep_over_parts_is_merged_by_its_folder(tiny_whisper_path, corpus, whole, tmp_path, console):
    shared = [
        f"model.path={tiny_whisper_path}",
        "model.device=cpu",
        "dataset=manifest",
        f"dataset.path={corpus}",
        "prompt=bare_label",
        "readout=label_likelihood",
        "null_inputs.kinds=[silence]",
        "calibration=[none,batch]",
        "logger=none",
        "analysis.figures=false",
        "analysis.resamples=20",
        "trainer.enable_progress_bar=false",
        *OPTIONS,
    ]
    swept = ["dataset.shard=1/3,2/3,3/3", f"hydra.sweep.dir={tmp_path / 'swept'}"]
    assert console("probe", "-m", *shared, *swept).status == 0
    done = console("merge", tmp_path / "swept", "-o", tmp_path / "made")
    assert (done.status, done.err) == (0, "")
    assert "Merged   3 parts, 10 clips scored" in done.out
    assert console("probe", *shared, f"hydra.run.dir={tmp_path / 'one'}").status == 0
    assert_same_run(tmp_path / "one", tmp_path / "made")
    kept = OmegaConf.load(tmp_path / "made" / ".hydra" / "config.yaml")
    assert kept.dataset.shard is None
    assert "dataset.shard" not in (tmp_path / "made" / ".hydra" / "overrides.yaml").read_text()
    again = console("probe", *shared, f"hydra.run.dir={tmp_path / 'made'}")  # the whole is what this run would make
    assert again.status == 0
    assert "Scoring" not in again.err


def test_parts_without_a_clip_are_parts(tiny_whisper_path, corpus, tmp_path, capsys):
    for number in (1, 2, 3, 4):
        run(tiny_whisper_path, corpus, tmp_path / str(number), f"dataset.shard={number}/4", "dataset.limit=2")
    said = capsys.readouterr().out
    assert "holds no clip to score; emoprobe merge takes it with the others." in said
    alone = run(tiny_whisper_path, corpus, tmp_path / "alone" / "run", "dataset.limit=2")
    whole = [tmp_path / str(number) for number in (1, 2, 3, 4)]
    assert_same_run(alone, merge(whole, tmp_path / "made"))
    empty = next(folder for folder in whole if open_folder(folder).record.num_scored == 0)
    write_report([alone, empty], tmp_path / "report", figures=False)
    assert "of a run, without a clip; emoprobe merge takes it" in capsys.readouterr().out


# -- what is refused ---------------------------------------------------------------------------------------------------


def in_json(**values) -> Callable[[Path], None]:
    """Change what a record says, ``model__dtype`` being ``dtype`` of ``model``."""

    def change(root: Path) -> None:
        file = root / "part3" / "run.json"
        record = json.loads(file.read_text())
        for name, value in values.items():
            node, *inside = record, *name.split("__")
            for part in inside[:-1]:
                node = node[part]
            node[inside[-1]] = value
        file.write_text(json.dumps(record))

    return change


def in_config(place: str, value: object) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        told = read_told(root / "part3")
        values = OmegaConf.create(dict(told.settings))
        OmegaConf.update(values, place, value, merge=False, force_add=True)
        replace(told, settings=OmegaConf.to_container(values)).write(root / "part3")

    return change


def in_scores(column: str, value: object, of: str = "", sealed: bool = True) -> Callable[[Path], None]:
    """Change a column of some rows, with a seal that fits."""

    def change(root: Path) -> None:
        folder = root / "part3"
        table = pq.read_table(folder / "scores.parquet")
        rows = table.to_pylist()
        for row in rows:
            if row["input"] == (of or row["input"]) and row[column] is not None:
                row[column] = value(row[column]) if callable(value) else value
        pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), folder / "scores.parquet")
        if sealed:
            in_json(files=seal(folder))(root)

    return change


def move(name: str, to: str = "") -> Callable[[Path], None]:
    def change(root: Path) -> None:
        shutil.rmtree(root / name) if not to else shutil.copytree(root / name, root / to)

    return change


def both(*changes: Callable[[Path], None]) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        for one in changes:
            one(root)

    return change


def spoil(name: str, content: bytes | None) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        (root / "part3" / name).unlink() if content is None else (root / "part3" / name).write_bytes(content)

    return change


def without_votes(root: Path) -> None:
    file = root / "part3" / "utterances.parquet"
    frame = pd.read_parquet(file)
    frame["speaker"] = "nobody"
    frame.to_parquet(file, index=False)


REFUSALS = {
    "one missing": (move("part3"), r"1 of 4 parts are missing: 3/4"),
    "several missing": (both(move("part3"), move("part1")), r"2 of 4 parts are missing: 1/4, 3/4"),
    "one twice": (move("part3", "part5"), r"part 3/4 is there twice, in .*part3 too"),
    "another division": (in_json(shard__part="3/8"), r"parts of 4 and of 8 are mixed"),
    "no part": (in_json(shard=None), r"this is no part of a run.*field dataset\.shard"),
    "no such part": (in_json(shard__part="5/4"), r"'5/4' is no part K/N"),
    "a damaged record": (spoil("run.json", b"{"), r"no readable run\.json"),
    "another corpus": (in_json(corpus__title="other"), r"corpus\.title is manifest .* and other.*part3.*run\.json"),
    "a clip more": (in_json(shard__sha256="0" * 64), r"shard\.sha256 is .* and 000"),
    "another size": (in_json(shard__utterances=13), r"shard\.utterances is 12 and 13"),
    "another model": (in_json(model__name="other"), r"model\.name is .* and other"),
    "another revision": (in_json(model__revision="other"), r"model\.revision"),
    "another dtype": (in_json(model__dtype="bfloat16"), r"model\.dtype is float32 and bfloat16"),
    "another library": (in_json(versions__transformers="1"), r"versions\.transformers is .* and 1"),
    "another decoder": (in_json(versions__soundfile="1"), r"versions\.soundfile"),
    "another label set": (in_json(labels__hash="0"), r"label_set_hash"),
    "another policy": (in_json(soft_label_policy__hash="0"), r"soft_label_policy\.hash"),
    "another split": (in_json(split="train"), r"split is test and train"),
    "another seed": (in_json(seed=7), r"seed is 0 and 7"),
    "other calibrations": (in_config("calibration", {"none": {"name": "none"}}), r"calibration .*config\.yaml"),
    "other resamples": (in_config("analysis.resamples", 7), r"analysis\.resamples is 50 and 7.*config\.yaml"),
    "another prompt": (in_config("prompt.bare_label.template", "x {label}"), r"prompt\.bare_label\.template"),
    "other limits": (in_config("dataset.audio.max_seconds", 9), r"dataset\.audio\.max_seconds is 30\.0 and 9"),
    "other clips": (in_config("dataset.keep", {"speaker": "s1"}), r"dataset\.keep"),
    "another quantisation": (in_config("model.quantization", "4bit"), r"model\.quantization is .* and 4bit"),
    "unfinished": (in_json(num_scored=None), r"part 3/4 did not finish"),
    "no scores": (spoil("scores.parquet", None), r"part 3/4 did not finish \(scores\.parquet is missing\)"),
    "cut scores": (spoil("scores.parquet", b"PAR1"), r"not a readable Parquet file.*part3"),
    "edited scores": (in_scores("duration_seconds", 1.0, sealed=False), r"not the one that the run wrote: changed in"),
    "edited votes": (without_votes, r"not the one that the run wrote.*utterances\.parquet"),
    "no skipped": (spoil("skipped.csv", None), r"part3"),
    "rows of a prompt": (in_scores("prompt_hash", "other"), r"prompt_hash is .* and other.*part3/scores\.parquet"),
    "rows of options": (in_scores("readout_options", "{}"), r"readout_options"),
    "rows of versions": (in_scores("library_versions", "{}"), r"library_versions"),
    "rows of a readout": (in_scores("prompt", "other"), r"the cell .* is (True and False|False and True)|.*prompt"),
    "null inputs": (in_scores("audio_sha256", "0", of="silence"), r"null inputs is"),
    "null answers": (
        in_scores("form_logprobs", lambda old: [value - 0.01 for value in old], of="silence"),
        r"form_logprobs|sums",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_anything_but_the_parts_of_one_run_is_refused_in_one_line(case, parts, tmp_path, console):
    change, words = REFUSALS[case]
    shutil.copytree(parts, tmp_path / "parts")
    change(tmp_path / "parts")
    done = console("merge", tmp_path / "parts", "-o", tmp_path / "made")
    assert done.status == 2
    assert re.search(words, done.err), done.err
    assert done.err.count("\n") == 1
    assert not (tmp_path / "made" / "metrics.json").exists()


@pytest.mark.parametrize("held", ["a file", "other files", "another run", "other parts"])
def test_a_result_never_takes_the_place_of_something_else(held, parts, whole, merged, tmp_path, console):
    made = tmp_path / "made"
    if held == "a file":
        made.write_text("mine")
    elif held == "other files":
        made.mkdir()
        (made / "notes.txt").write_text("mine")
    else:
        shutil.copytree(whole if held == "another run" else merged, made)
    if held == "other parts":
        record = json.loads((made / "run.json").read_text())
        record["merged"][0]["sha256"] = "0"
        (made / "run.json").write_text(json.dumps(record))
    before = {file: file.read_bytes() for file in made.rglob("*") if file.is_file()} if made.is_dir() else {}
    done = console("merge", parts, "-o", made)
    assert done.status == 2
    assert "holds something else than the run of these parts" in done.err
    assert before == {file: file.read_bytes() for file in before}


@pytest.mark.parametrize("folder", ["nowhere", "empty"])
def test_a_folder_without_parts_is_refused(folder, tmp_path, console):
    (tmp_path / "empty").mkdir()
    done = console("merge", tmp_path / folder, "-o", tmp_path / "made")
    assert done.status == 2
    assert done.err.count("\n") == 1
    assert main(["merge", str(tmp_path / "empty"), "-o", str(tmp_path / "made")]) == 2


SLURM = re.findall(r"```sh\n(#!/bin/bash\n.*?)```", (PROJECT / "docs" / "cluster.md").read_text(), flags=re.DOTALL)[0]
STUBS = {
    "emoprobe": "echo \"$@\" > given; trap 'echo stopped > state; exit 143' TERM; echo running > state\n"
    "for i in $(seq 100); do [ -e done ] && exit $(cat done); sleep 0.05; done",
    "scontrol": 'echo "$@" > requeued',
}


@pytest.mark.parametrize("end", ["0", "2", "TERM"])
def test_the_job_of_the_page_asks_for_its_part_and_is_requeued_when_its_time_is_up(end, tmp_path):
    for name, text in STUBS.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{text}\n")
        (tmp_path / name).chmod(0o755)
    given = {"PATH": f"{tmp_path}:/usr/bin:/bin", "SLURM_ARRAY_JOB_ID": "90", "SLURM_ARRAY_TASK_ID": "7", "MSP": "/m"}
    with subprocess.Popen(["bash", "-c", SLURM], cwd=tmp_path, env=given) as job:
        for _ in range(200):
            if (tmp_path / "state").exists():
                break
            time.sleep(0.02)
        if end == "TERM":
            job.terminate()
        else:
            (tmp_path / "done").write_text(end)
    asked = (tmp_path / "given").read_text().split()
    assert {"dataset.shard=7/64", "hydra.run.dir=runs/msp/7", "dataset.root=/m"} <= set(asked)
    read_probe(compose([each for each in asked[1:] if not each.startswith("hydra.run")] + ["output_dir=out"]))
    assert (job.returncode, (tmp_path / "requeued").exists()) == (0 if end == "TERM" else int(end), end == "TERM")
    if end == "TERM":
        assert (tmp_path / "state").read_text() == "stopped\n"
        assert (tmp_path / "requeued").read_text() == "requeue 90_7\n"
