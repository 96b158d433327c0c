"""A run folder that was edited is refused, and the error says where; one that was only copied is not."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.special import logsumexp
from scoring import config, write_corpus

from emoprobe.cli.analyse import main as analyse
from emoprobe.cli.compare import main as compare
from emoprobe.cli.fuse import main as fuse
from emoprobe.cli.judge import main as judge
from emoprobe.cli.report import main as report
from emoprobe.errors import InputError
from emoprobe.labels import LabelSet
from emoprobe.recipes import probe as probing
from emoprobe.report.results import write_results
from emoprobe.run import integrity, score_integrity, sealing
from emoprobe.run.folder import open_folder
from emoprobe.run.record import Record
from emoprobe.run.scores import schema
from emoprobe.run.writing import write_skipped
from emoprobe.system.output import write_json

LABELS = LabelSet(
    "three", ("angry", "happy", "sad"), {name: {"noun": [name]} for name in ("angry", "happy", "sad")}, {}
)
SIZE = 24


def human(size: int = SIZE) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    votes = rng.multinomial(6, rng.dirichlet([1, 1, 1], size)).astype(float)
    frame = pd.DataFrame({"utterance_id": [f"u{i:06}" for i in range(size)], "role": "evaluated", "audio": ""})
    frame["speaker"] = [f"s{i % 6}" for i in range(size)]
    frame[["split", "transcript"]] = "x"
    frame["num_raters"] = pd.array([6.0] * size, dtype="Float64")
    said = [[label for label, n in zip(LABELS.labels, row, strict=True) for _ in range(int(n))] for row in votes]
    frame["rater_votes"] = [json.dumps({f"r{i}": {label: 1.0} for i, label in enumerate(words)}) for words in said]
    frame["metadata"] = "{}"
    for i, label in enumerate(LABELS.labels):
        frame[f"votes_{label}"], frame[f"target_{label}"] = votes[:, i], votes[:, i] / 6
    return frame


def score_rows(ids, prompts=("p", "q")) -> list[dict]:
    rng = np.random.default_rng(1)
    shared = {"draw": 0, "model": "m", "model_revision": "r1", "dtype": "float32", "label_set_hash": LABELS.hash}
    shared |= {"library_versions": "torch 2", "forms": list(LABELS.labels), "form_labels": list(LABELS.labels)}
    shared |= {"form_tokens": [[1, 0], [2, 0], [3, 0]], "form_own_tokens": [1, 1, 1], "readout_options": "{}"}
    rows = []
    for prompt in prompts:
        for name in [*ids, ""]:
            tokens = np.log(rng.dirichlet([1, 1, 1, 3])[:3])[:, None] + np.array([[0, -0.25]])
            tokens = tokens.astype(np.float32)
            sums = tokens.astype(np.float64).sum(axis=1)
            own = {"utterance_id": name, "input": "clip" if name else "silence", "prompt": prompt}
            own |= {"prompt_hash": f"hash of {prompt}", "audio_sha256": f"sound of {name}", "duration_seconds": 1.0}
            likelihood = {"form_token_logprobs": tokens.tolist(), "form_logprobs": sums.tolist()}
            likelihood |= {"log_label_mass": float(logsumexp(sums)), "readout": "label_likelihood"}
            layers = {"readout": "layerwise", "layer_form_logprobs": [*(sums - 1).tolist(), *sums.tolist()]}
            logits = {"readout": "averaged_logits", "kept_tokens": [1, 2, 3], "log_normalizers": [9.0, 8.0]}
            logits |= {"kept_logits": [1.0, 2.0, 3.0, 1.0, 2.0, 3.0], "generated_text": "angry"}
            logits |= {"generated_tokens": [1], "generated_ends": [5], "spelled_tokens": [[1, 2, 3], [4, 5, 6]]}
            logits |= {"spelled_logits": [1.0] * 12, "forced_logits": [[1.0, 2.0]] * 3}
            logits |= {"forced_log_normalizers": [[9.0, 9.0]] * 3}
            rows += [{**shared, **own, **of} for of in (likelihood, layers, logits)]
    return rows


def record() -> dict:
    labels = {"name": "three", "labels": list(LABELS.labels), "words": LABELS.words, "aliases": {}, "hash": LABELS.hash}
    return {
        "labels": labels,
        "corpus": {"name": "toy", "title": "Toy", "synthetic": True},
        "soft_label_policy": {"name": "relative frequency; outside votes: error", "hash": "abc"},
        "split": "test",
        "model": {"name": "m", "revision": "r1", "dtype": "float32", "device": "cpu"},
        "num_skipped": {},
        "seed": 0,
        "versions": {},
    }


def write_run(folder: Path, *, sealed: bool = True) -> Path:
    folder.mkdir(parents=True)
    frame = human()
    rows = score_rows(frame["utterance_id"])
    pq.write_table(pa.Table.from_pylist(rows, schema=schema()), folder / "scores.parquet")
    frame.to_parquet(folder / "utterances.parquet", index=False)
    write_skipped([], folder)
    stated = record() | ({"files": sealing.seal(folder)} if sealed else {})
    write_json(stated, folder / "run.json")
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run")


def read(folder: Path):
    """What an analysis asks a run for."""
    run = open_folder(folder)
    return run.table, run.utterances


def edit_scores(folder: Path, change) -> None:
    """Rewrite the score table after a change of its rows."""
    rows = pq.read_table(folder / "scores.parquet").to_pylist()
    pq.write_table(pa.Table.from_pylist(change(rows) or rows, schema=schema()), folder / "scores.parquet")


def edit_utterances(folder: Path, change) -> None:
    frame = pd.read_parquet(folder / "utterances.parquet")
    found = change(frame)
    (frame if found is None else found).to_parquet(folder / "utterances.parquet", index=False)


def test_what_the_run_wrote_is_read(run, capsys):
    found = open_folder(run)
    scores, utterances = found.table, found.utterances
    assert (len(scores), len(utterances)) == (2 * 3 * (SIZE + 1), SIZE)
    assert capsys.readouterr().out == ""
    stated = found.record.files["scores.parquet"]
    assert stated["rows"] == len(scores)
    assert {tuple(cell.values()) for cell in stated["cells"]} == {
        ("m", prompt, readout, SIZE)
        for prompt in "pq"
        for readout in ("label_likelihood", "layerwise", "averaged_logits")
    }
    assert len(stated["sha256"]) == 64


def test_a_copy_that_was_compressed_otherwise_is_the_same(run):
    table = pq.read_table(run / "scores.parquet")
    pq.write_table(table, run / "scores.parquet", compression="gzip", row_group_size=7, use_dictionary=False)
    pd.read_parquet(run / "utterances.parquet").to_parquet(run / "utterances.parquet", compression=None)
    read(run)


def _set(column, value, which=5):
    def change(rows):
        rows[which][column] = value

    return change


def _positive(rows):
    """Consistent with its tokens and its mass: only the sign gives it away."""
    sums = [0.5, -3.0, -4.0]
    tokens = [[value + 0.25, -0.25] for value in sums]
    rows[6] |= {"form_token_logprobs": tokens, "form_logprobs": sums, "log_label_mass": float(logsumexp(sums))}


def _heavy(rows):
    """Every form is likely, and all together likelier than certain."""
    sums = [-0.5, -0.5, -0.5]
    tokens = [[-0.25, -0.25]] * 3
    rows[6] |= {"form_token_logprobs": tokens, "form_logprobs": sums, "log_label_mass": float(logsumexp(sums))}


def _added(rows):
    """In every cell."""
    first = [row for row in rows if row["utterance_id"] == "u000000"]
    return [*rows, *({**row, "utterance_id": "x", "audio_sha256": "x"} for row in first)]


def _one_prompt(rows):
    return [row for row in rows if row["prompt"] == "p"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: [row for row in rows if row["utterance_id"] != "u000003"], "'u000003' is evaluated, and neither"),
        (lambda rows: rows[3:], "'u000000' is missing in the cell m, p, label_likelihood"),
        (lambda rows: rows[1:], "'u000000' is missing in the cell m, p, label_likelihood"),
        (_added, "'x' is scored and is no evaluated utterance"),
        (lambda rows: [*rows, {**rows[0], "utterance_id": "x"}], "'x' is missing in the cell"),
        (_positive, "form_logprobs of 'u000002' in the cell m, p, label_likelihood is no log-probability"),
        (_heavy, "log_label_mass of 'u000002' .* is above a probability of 1"),
        (_set("log_label_mass", -0.1, 3), "log_label_mass of 'u000001' .* is not that of its form_logprobs"),
        (_set("form_logprobs", [-1.0, -2.0, -3.0], 3), "of 'u000001'"),
        (_set("form_token_logprobs", [[-1.0, -1.0]] * 3, 3), "form_logprobs of 'u000001' .* is not the sum"),
        (_set("form_token_logprobs", [[-1.0, float("nan")]] * 3, 3), "form_token_logprobs of 'u000001'"),
        (_set("forced_logits", [[1.0, 2.0]] * 2, 5), "forced_logits of 'u000001' .* has not one list for each form"),
        (_set("forced_logits", [[1.0]] * 3, 5), "forced_logits of 'u000001' .* has not one value for each of a form's"),
        (_set("forced_logits", [[1.0, 9.1]] * 3, 5), "forced_logits of 'u000001' .* is above its forced_log_norm"),
        (
            _set("forced_log_normalizers", [[9.0]] * 3, 5),
            "forced_log_normalizers of 'u000001' .* not one value for each",
        ),
        (_set("spelled_logits", [1.0] * 11, 5), "spelled_logits of 'u000001' .* not one value per position, spelling"),
        (_set("generated_ends", [5, 6], 5), "generated_ends of 'u000001' .* has not one place per generated token"),
        (_set("layer_form_logprobs", [-1.0] * 5, 4), "layer_form_logprobs of 'u000001' .* wrong length"),
        (_set("layer_form_logprobs", [-1.0, -2.0, -3.0, 0.1, -2.0, -3.0], 4), "layer_form_logprobs of 'u000001'"),
        (_set("kept_logits", [1.0] * 5, 5), "kept_logits of 'u000001' .* one value per position and token"),
        (_set("kept_logits", [99.0] * 6, 5), "kept_logits of 'u000001' .* above its log_normalizer"),
        (_set("model_revision", "r2"), "is of several: 'r1' and 'r2' .*field model_revision"),
        (_set("dtype", "bfloat16"), "field dtype"),
        (_set("library_versions", "torch 1"), "field library_versions"),
        (_set("prompt_hash", "other"), "field prompt_hash"),
        (
            _set("form_labels", ["sad", "happy", "angry"], 3),
            "form_labels of 'u000001' .* differs from that",
        ),
        (_set("audio_sha256", "other"), "'u000001' has the checksums of two sounds"),
        # Nothing but the seal can show these.
        (_set("generated_text", "happy"), "changed in generated_text .*scores.parquet"),
        (_set("duration_seconds", 2.0), "changed in duration_seconds"),
        (lambda rows: rows[::-1], "changed in audio_sha256"),
        (_one_prompt, "75 rows instead of 150; 0 clips instead of 24 in m, q"),
    ],
)
def test_an_edited_score_table_is_refused(run, change, message):
    edit_scores(run, change)
    with pytest.raises(InputError, match=message) as caught:
        read(run)
    assert caught.value.file is not None
    assert "hydra.run.dir" in str(caught.value)


TARGETS = [f"target_{label}" for label in LABELS.labels]
VOTES = [f"votes_{label}" for label in LABELS.labels]


def _rotate(columns):
    def change(frame):
        frame[columns] = np.roll(frame[columns].to_numpy(), 1, axis=0)

    return change


def _put(column, value):
    def change(frame):
        frame.loc[4, column] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_rotate(TARGETS), "target_[a-z]+ of utterance 'u00000[0-9]' is not the share of its votes"),
        (_rotate(VOTES + TARGETS), "votes_[a-z]+ of utterance .* is not the sum of the single raters' votes"),
        (_rotate([*VOTES, *TARGETS, "rater_votes"]), "changed in rater_votes"),
        (_put("votes_sad", -1.0), "votes_sad of utterance 'u000004' is no number of votes .*row 5"),
        (_put("target_sad", 0.9), "utterance 'u000004' has shares that do not sum to 1"),
        (_put("speaker", "s0"), "changed in speaker .*utterances.parquet"),
        (_put("utterance_id", "u000005"), "'u000005' stands twice"),
        (lambda frame: frame.drop(index=4), "'u000004' is scored and is no evaluated utterance"),
        (
            lambda frame: pd.concat([frame, frame.tail(1).assign(utterance_id="x")]),
            "'x' is evaluated, and neither scored",
        ),
        (lambda frame: frame.assign(role=["training"] + ["evaluated"] * (SIZE - 1)), "'u000000' is scored and is no"),
    ],
)
def test_an_edited_human_side_is_refused(run, change, message):
    edit_utterances(run, change)
    with pytest.raises(InputError, match=message):
        read(run)


def test_what_was_skipped_may_be_missing(tmp_path):
    from emoprobe.data.utterance import Skipped

    folder = write_run(tmp_path / "run", sealed=False)
    edit_scores(folder, lambda rows: [row for row in rows if row["utterance_id"] != "u000003"])
    with pytest.raises(InputError, match="'u000003' is evaluated"):
        read(folder)
    write_skipped([Skipped("u000003", "unreadable", "gone", "", None)], folder)
    read(folder)


def test_a_run_without_a_seal_is_read_with_a_note_and_its_sums_are_checked(tmp_path, capsys):
    folder = write_run(tmp_path / "run", sealed=False)
    read(folder)
    assert capsys.readouterr().out.count("holds no checksums") == 1
    edit_scores(folder, _set("generated_text", "happy"))
    read(folder)
    edit_scores(folder, _positive)
    with pytest.raises(InputError, match="no log-probability"):
        read(folder)


def test_smoothed_targets_are_made_again():
    frame = human()
    frame[TARGETS] = 0.9 * frame[TARGETS] + 0.1 / 3
    stated = record()
    stated["soft_label_policy"]["name"] += "; smoothing 0.1"
    integrity.check_utterances(frame, Record.from_json(stated), Path("x"))
    with pytest.raises(InputError, match="is not the share"):
        integrity.check_utterances(frame, Record.from_json(record()), Path("x"))


ARGUMENTS = ["analysis.resamples=0", "analysis.figures=false", "calibration=none"]


def derive(folder: Path) -> None:
    """What probe.py derives at a run's end."""
    from emoprobe.analysis.derive import analyse as derived
    from emoprobe.analysis.options import AnalysisOptions
    from emoprobe.beliefs.calibrations.none import Uncalibrated

    run = open_folder(folder)
    analysis = derived(run.table, run.utterances, LABELS, AnalysisOptions([Uncalibrated()], resamples=0))
    write_results(folder, analysis, run.record, figures=False)


def permute_predictions(folder: Path) -> None:
    """Targets and votes given to other clips, in every cell alike."""
    frame = pd.read_parquet(folder / "predictions.parquet")
    names = sorted(set(frame["utterance_id"]))
    other = dict(zip(names, names[1:] + names[:1], strict=True))
    there = frame.drop_duplicates("utterance_id").set_index("utterance_id")[TARGETS + VOTES]
    frame[TARGETS + VOTES] = there.loc[[other[name] for name in frame["utterance_id"]]].to_numpy()
    frame.to_parquet(folder / "predictions.parquet", index=False)


def sharpen_predictions(folder: Path) -> None:
    """Distributions still, but others."""
    frame = pd.read_parquet(folder / "predictions.parquet")
    p = [f"p_{label}" for label in LABELS.labels]
    frame[p] = frame[p] ** 2
    frame[p] = frame[p].div(frame[p].sum(axis=1), axis=0)
    frame.to_parquet(folder / "predictions.parquet", index=False)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (permute_predictions, "is another than in utterances.parquet"),
        (sharpen_predictions, "not the one that the run wrote: changed in p_angry"),
        (lambda folder: edit_utterances(folder, _rotate(TARGETS)), "is not the share of its votes"),
        (lambda folder: edit_utterances(folder, _put("speaker", "s0")), "changed in speaker"),
    ],
)
def test_every_command_goes_through_the_same_door(run, tmp_path, capsys, damage, message):
    derive(run)
    other = write_run(tmp_path / "other")
    derive(other)
    one, two = "readout=label_likelihood,prompt=p", "readout=label_likelihood,prompt=q"
    quiet = [str(run), "--no-figures", "-o"]
    commands = {
        "judge": lambda: judge([*quiet, str(tmp_path / "j"), "--resamples", "20"]),
        "compare": lambda: compare([str(run), "--cells", one, "--cells", two, "--resamples", "50"]),
        "fuse": lambda: fuse([str(other), *quiet, str(tmp_path / "f"), "--cell-a", one, "--cell-b", one]),
        "report": lambda: report([*quiet, str(tmp_path / "r"), "--audio", "none"]),
    }
    damage(run)
    capsys.readouterr()
    for name, command in commands.items():
        assert command() == 2, name
        said = capsys.readouterr()
        assert re.search(message, said.err) or (name == "report" and "no finished run" in said.err), (name, said)
    if damage in (permute_predictions, sharpen_predictions):
        assert analyse([str(run), *ARGUMENTS]) == 0  # it derives them anew
    else:
        assert analyse([str(run), *ARGUMENTS]) == 2


@pytest.mark.parametrize("name", ["utterances", "predictions"])
@pytest.mark.parametrize("column", ["utterance_id", "target_sad", "votes_sad", "speaker"])
def test_a_lost_column_is_named(run, tmp_path, capsys, name, column):
    derive(run)
    frame = pd.read_parquet(run / f"{name}.parquet")
    frame.drop(columns=column).to_parquet(run / f"{name}.parquet", index=False)
    one, two = "readout=label_likelihood,prompt=p", "readout=label_likelihood,prompt=q"
    assert judge([str(run), "--no-figures", "-o", str(tmp_path / "j")]) == 2
    assert compare([str(run), "--cells", one, "--cells", two]) == 2
    assert analyse([str(run), *ARGUMENTS]) == (2 if name == "utterances" else 0)
    assert capsys.readouterr().err.count(f"no column {column!r}") == 2 + (name == "utterances")


@pytest.mark.parametrize("value", ["x", ["x"], {"predictions.parquet": 3, "utterances.parquet": 3}])
def test_checksums_that_cannot_be_read_are_said_and_none_are_none(run, tmp_path, capsys, value):
    derive(run)

    def write(files) -> None:
        for name in ("run.json", "metrics.json"):
            stated = json.loads((run / name).read_text())
            (run / name).write_text(json.dumps(stated | {"files": files}))

    write(value)
    assert judge([str(run), "--no-figures", "-o", str(tmp_path / "j")]) == 2
    assert analyse([str(run), *ARGUMENTS]) == 2
    assert capsys.readouterr().err.count("cannot be read") == 2
    write(None)
    assert judge([str(run), "--no-figures", "-o", str(tmp_path / "j"), "--resamples", "20"]) == 0
    assert "no checksums" in capsys.readouterr().out


@pytest.mark.parametrize(
    "change",
    [
        lambda row: row["metrics"].update(wa=0.99),
        lambda row: row["share_of_range"].update(js_divergence=0.9),
        lambda row: row.update(fitted_on="training votes"),
    ],
)
def test_an_edited_number_in_a_row_is_not_reported(run, tmp_path, capsys, change):
    derive(run)
    file = run / "metrics.json"
    stated = json.loads(file.read_text())
    asked = [str(run), "-o", str(tmp_path / "r"), "--no-figures", "--audio", "none"]
    file.write_text(json.dumps(stated))  # another layout
    assert report(asked) == 0
    change(stated["rows"][0])
    file.write_text(json.dumps(stated))
    assert report(asked) == 2
    assert "its rows are not those that the run wrote" in capsys.readouterr().err


def test_every_command_reads_what_was_not_edited(run, tmp_path, capsys):
    derive(run)
    one = "readout=label_likelihood,prompt=p"
    assert analyse([str(run), *ARGUMENTS]) == 0
    assert judge([str(run / "analysis"), "--no-figures", "--resamples", "20", "-o", str(tmp_path / "j")]) == 0
    assert compare([str(run), "--cells", one, "--cells", "readout=label_likelihood,prompt=q", "--resamples", "50"]) == 0
    target = tmp_path / "f"
    cells = ["--cell-a", one, "--cell-b", "readout=label_likelihood,prompt=q"]
    assert fuse([str(run), str(run), "-o", str(target), "--no-figures", *cells]) == 0
    assert report([str(run), str(target), "-o", str(tmp_path / "r"), "--no-figures", "--audio", "none"]) == 0
    assert "no checksums" not in capsys.readouterr().out


def test_it_is_fast():
    """A hundred thousand rows in seconds."""
    times, part = 400, score_rows([f"u{i}" for i in range(40)])
    table = pa.concat_tables([pa.Table.from_pylist(part, schema=schema())] * times)
    names = [f"{name} {i // len(part)}" for i, name in enumerate(table["utterance_id"].to_pylist())]
    for column in ("utterance_id", "audio_sha256"):
        table = table.set_column(table.column_names.index(column), column, pa.array(names))
    frame = human(len(table) // 6)
    started = time.perf_counter()
    integrity.check_utterances(frame, Record.from_json(record()), Path("x"))
    score_integrity.check_scores(table, Path("x"))
    sealing.fingerprint(table)
    assert time.perf_counter() - started < 30


def test_edited_scores_are_not_taken_over_by_another_run(tiny_whisper_path, tmp_path):
    manifest = write_corpus(tmp_path / "corpus", count=3)
    options = ("calibration=none", "prompt=bare_label")
    first = probing.run(config(tiny_whisper_path, manifest, tmp_path / "a", *options))
    table = pq.read_table(first / "scores.parquet")
    other = pa.array([text + " " for text in table["audio_sha256"].to_pylist()])
    place = table.column_names.index("audio_sha256")
    pq.write_table(table.set_column(place, "audio_sha256", other), first / "scores.parquet")
    for folder, resume in (("a", ()), ("b", (f"resume={first}",))):
        with pytest.raises(InputError, match="not the one that the run wrote: changed in audio_sha256"):
            probing.run(config(tiny_whisper_path, manifest, tmp_path / folder, *options, *resume))
