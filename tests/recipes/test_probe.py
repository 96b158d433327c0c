"""The zero-shot recipe from configuration to files, on a tiny model of the true class and made-up speech."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import soundfile
from scoring import EMOTIONS, config, write_corpus

from emoprobe.cli.analyse import main as analyse_main
from emoprobe.cli.floors import main as floors_main
from emoprobe.errors import InputError
from emoprobe.recipes import probe as probing
from emoprobe.run.scores import read_scores
from emoprobe.run.sealing import seal


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def finished(tiny_whisper_path, corpus, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("run")
    return probing.run(config(tiny_whisper_path, corpus, output, "analysis.figures=true", "dataset.split=test"))


def test_a_run_writes_what_it_promises(finished):
    for name in ("scores", "predictions", "utterances"):
        assert (finished / f"{name}.parquet").is_file()
    for name in ("metrics.json", "metrics.csv", "run.json", "skipped.csv", "figures/overview.png"):
        assert (finished / name).is_file()
    record = json.loads((finished / "run.json").read_text())
    assert record["num_evaluated"] == 5
    assert record["model"]["revision"].startswith("sha256:")
    assert record["versions"]["torch"]
    assert record["speed"]["clips"] == 5


def test_score_table_has_every_cell_and_null_input(finished):
    scores = read_scores(finished).to_pandas()
    clips = scores[scores["input"] == "clip"]
    assert len(clips) == 5 * 2 * 3
    assert scores.groupby("input").size().to_dict() == {"clip": 30, "silence": 6, "noise": 12, "no_audio": 6}
    likelihood = clips[clips["readout"] == "label_likelihood"]
    sums = [np.sum([np.sum(np.float64(form)) for form in row]) for row in likelihood["form_token_logprobs"]]
    np.testing.assert_allclose(sums, likelihood["form_logprobs"].map(np.sum), atol=1e-5)
    mass = likelihood["form_logprobs"].map(lambda values: np.log(np.exp(values).sum()))
    np.testing.assert_allclose(likelihood["log_label_mass"], mass, atol=1e-9)
    assert (likelihood["log_label_mass"] <= 0).all()


def test_predictions_are_distributions_beside_their_targets(finished, corpus):
    predictions = pd.read_parquet(finished / "predictions.parquet")
    probs = predictions[[f"p_{name}" for name in EMOTIONS]].to_numpy()
    failed = ~np.isfinite(probs).all(axis=1)
    np.testing.assert_allclose(probs[~failed].sum(axis=1), 1)
    assert set(predictions["status"][failed]) <= {"truncated", "unparsed", "ambiguous", "undefined", "refused"}
    votes = pd.read_csv(corpus).set_index("utterance_id")[[f"votes_{name}" for name in EMOTIONS]]
    one = predictions[predictions["utterance_id"] == "u3"].iloc[0]
    expected = votes.loc["u3"] / votes.loc["u3"].sum()
    np.testing.assert_allclose(one[[f"target_{name}" for name in EMOTIONS]].astype(float), expected)


def test_metrics_recomputed_from_predictions_are_the_reported_ones(finished):
    from scipy.spatial.distance import jensenshannon

    rows = json.loads((finished / "metrics.json").read_text())["rows"]
    predictions = pd.read_parquet(finished / "predictions.parquet")
    cells = [row for row in rows if row["kind"] == "readout" and row["num_utterances"]]
    assert len(cells) > 40
    for row in cells:
        cell = predictions
        for key in ("prompt", "readout", "variant", "calibration"):
            cell = cell[cell[key] == row[key]]
        cell = cell.dropna(subset=[f"p_{name}" for name in EMOTIONS])
        assert len(cell) == row["num_utterances"]
        p = cell[[f"p_{name}" for name in EMOTIONS]].to_numpy()
        q = cell[[f"target_{name}" for name in EMOTIONS]].to_numpy()
        assert row["metrics"]["js_divergence"] == pytest.approx((jensenshannon(p, q, base=2, axis=1) ** 2).mean())
        assert row["metrics"]["brier"] == pytest.approx(((p - q) ** 2).mean())


def test_the_prior_floor_comes_from_the_training_split(finished, corpus):
    rows = json.loads((finished / "metrics.json").read_text())["rows"]
    prior = next(row for row in rows if row["readout"] == "prior")
    assert prior["fitted_on"] == "training votes"
    table = pd.read_csv(corpus)
    votes = table[[f"votes_{name}" for name in EMOTIONS]].to_numpy(float)
    shares = votes / votes.sum(axis=1, keepdims=True)
    test = (table["split"] == "test").to_numpy()
    expected = ((shares[~test].mean(axis=0) - shares[test]) ** 2).mean()
    assert prior["metrics"]["brier"] == pytest.approx(expected)


def test_same_numbers_at_any_batch_size_and_in_any_sweep(finished, tiny_whisper_path, corpus, tmp_path):
    alone = probing.run(
        config(tiny_whisper_path, corpus, tmp_path, "dataset.split=test", "batch_size=1", "prompt=bare_label")
    )
    key = ["utterance_id", "input", "draw", "readout"]
    one = read_scores(alone).to_pandas().sort_values(key).reset_index(drop=True)
    many = read_scores(finished).to_pandas()
    many = many[many["prompt"] == "bare_label"].sort_values(key).reset_index(drop=True)
    assert (one[key] == many[key]).all(axis=None)
    for column in ("form_logprobs", "kept_logits", "log_normalizers"):
        for a, b in zip(one[column], many[column], strict=True):
            if a is not None:
                np.testing.assert_allclose(a, b, atol=1e-4)
    assert (one["generated_text"].fillna("") == many["generated_text"].fillna("")).all()


def test_analysing_again_needs_no_model_and_agrees(finished, capsys):
    assert analyse_main([str(finished), "calibration=batch", "analysis.figures=false"]) == 0
    again = pd.read_csv(finished / "analysis" / "metrics.csv")
    before = pd.read_csv(finished / "metrics.csv")
    key = ["prompt", "readout", "variant", "calibration"]
    merged = before.merge(again[again["kind"] == "readout"], on=key, suffixes=("", "_again"))
    assert len(merged) > 10
    np.testing.assert_allclose(merged["js_divergence"], merged["js_divergence_again"])
    assert set(again["calibration"].dropna()) == {"batch", "none"}  # text answers are never calibrated
    assert "fitted on the evaluated clips" in capsys.readouterr().out


def test_the_analysis_modules_never_import_a_model(finished):
    code = (
        "import sys; from emoprobe.cli.analyse import main\n"
        f"assert main([{str(finished)!r}, 'analysis.figures=false', '-o', {str(finished / 'elsewhere')!r}]) == 0\n"
        "print('HEAVY', sorted({'transformers', 'lightning', 'emoprobe.models.base'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert "HEAVY []" in done.stdout


def test_the_same_command_again_scores_nothing_twice(tiny_whisper_path, corpus, tmp_path, capsys):
    first = probing.run(config(tiny_whisper_path, corpus, tmp_path / "a", "calibration=none"))
    before = read_scores(first).to_pandas()
    capsys.readouterr()
    probing.run(config(tiny_whisper_path, corpus, tmp_path / "a", "calibration=none"))
    assert capsys.readouterr().out.startswith("Finished before with the same settings")
    assert len(read_scores(first)) == len(before)
    with pytest.raises(InputError, match=r"scores of another configuration .*\n  prompt\.bare_label: \{.*\} -> null$"):
        probing.run(config(tiny_whisper_path, corpus, tmp_path / "a", "prompt=voice_sounds"))


def test_a_run_that_died_is_resumed_in_another_folder(tiny_whisper_path, corpus, tmp_path, monkeypatch):
    from emoprobe.readout.scoring.record import BatchRecorder

    original, calls = BatchRecorder.on_predict_batch_end, []

    def die_at_second(self, *arguments, **options):
        calls.append(1)
        if len(calls) == 2:
            raise KeyError("power cut")
        original(self, *arguments, **options)

    monkeypatch.setattr(BatchRecorder, "on_predict_batch_end", die_at_second)
    with pytest.raises(KeyError):
        probing.run(config(tiny_whisper_path, corpus, tmp_path / "dead", "batch_size=3"))
    monkeypatch.undo()
    left = read_scores(tmp_path / "dead").to_pandas()
    assert left[left["input"] == "clip"]["utterance_id"].nunique() == 3
    assert analyse_main([str(tmp_path / "dead"), "analysis.figures=false"]) == 0
    resumed = probing.run(
        config(tiny_whisper_path, corpus, tmp_path / "alive", f"resume={tmp_path / 'dead'}", "batch_size=2")
    )
    record = json.loads((resumed / "run.json").read_text())
    assert record["speed"]["clips"] == 4
    fresh = probing.run(config(tiny_whisper_path, corpus, tmp_path / "fresh"))
    a, b = pd.read_csv(resumed / "metrics.csv"), pd.read_csv(fresh / "metrics.csv")
    np.testing.assert_allclose(a["js_divergence"], b["js_divergence"], atol=1e-5)


def test_a_run_of_an_earlier_version_is_read_as_far_as_it_goes_and_asked_again(
    finished, tiny_whisper_path, corpus, tmp_path, capsys
):
    old = shutil.copytree(finished, tmp_path / "old")
    scores = pq.read_table(old / "scores.parquet")
    later = [each.name for each in scores.schema if (each.metadata or {}).get(b"since")]
    table = scores.drop_columns(later).replace_schema_metadata({b"emoprobe_schema_version": b"3"})
    pq.write_table(table, old / "scores.parquet")
    record = json.loads((old / "run.json").read_text())
    (old / "run.json").write_text(json.dumps(record | {"files": seal(old)}))
    assert analyse_main([str(old), "analysis.figures=false"]) == 0
    readings = "analysis.averaged_logits=[softmax_of_mean_without_end,raw_logit_ratio]"
    assert analyse_main([str(old), readings, "analysis.figures=false"]) == 0
    assert "holds no checksums" not in capsys.readouterr().out
    assert analyse_main([str(old), "analysis.averaged_logits=[softmax_forced]", "analysis.figures=false"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: the score table holds no forced_logits, which softmax_forced is read from")
    assert f"(file {old / 'scores.parquet'}, field analysis.averaged_logits). Run the probe again into a new" in line
    probing.run(config(tiny_whisper_path, corpus, tmp_path / "new", f"resume={old}", "dataset.split=test"))
    assert "taken over" not in capsys.readouterr().out
    again = read_scores(tmp_path / "new")
    asked = again.filter(pc.equal(again["readout"], "averaged_logits"))
    assert not any(asked[name].null_count for name in later)


def test_changed_sound_is_never_taken_over(tiny_whisper_path, tmp_path, capsys):
    manifest = write_corpus(tmp_path / "own", count=3)
    first = probing.run(config(tiny_whisper_path, manifest, tmp_path / "a", "calibration=none"))
    soundfile.write(manifest.parent / "1.wav", np.random.default_rng(9).normal(0, 0.1, 16_000), 16_000)
    capsys.readouterr()
    probing.run(config(tiny_whisper_path, manifest, tmp_path / "b", f"resume={first}", "calibration=none"))
    assert "taken over from an earlier run: 2 of 3" in capsys.readouterr().out


def test_bad_sound_is_quarantined_and_the_rest_goes_on(tiny_whisper_path, tmp_path):
    manifest = write_corpus(tmp_path / "own", count=4)
    (manifest.parent / "1.wav").write_bytes(b"not audio at all")
    soundfile.write(manifest.parent / "2.wav", np.zeros(16_000), 16_000)
    with pytest.raises(InputError, match=r"[12]\.wav"):
        probing.run(config(tiny_whisper_path, manifest, tmp_path / "strict"))
    done = probing.run(config(tiny_whisper_path, manifest, tmp_path / "lenient", "dataset.on_error=skip"))
    skipped = pd.read_csv(done / "skipped.csv")
    assert set(skipped["utterance_id"]) == {"u1", "u2"}
    assert set(skipped["reason"]) == {"bad_audio"}
    assert pd.read_parquet(done / "predictions.parquet")["utterance_id"].nunique() == 2


def test_near_silent_clips_are_named_kept_or_left_out(tiny_whisper_path, tmp_path, capsys):
    manifest = write_corpus(tmp_path / "own", count=4)
    hum = 1e-4 * np.sin(2 * np.pi * 50 * np.arange(16_000) / 16_000)
    for i in (1, 3):
        soundfile.write(manifest.parent / f"{i}.wav", hum * (1 + i), 16_000)
    plain = ("prompt=bare_label", "calibration=none", "dataset.audio.near_silent_dbfs=-65")
    kept = probing.run(config(tiny_whisper_path, manifest, tmp_path / "kept", *plain))
    line = "warning: 2 near-silent (below -65 dBFS): u1, u3; dataset.audio.near_silent=skip leaves them out"
    assert line in capsys.readouterr().out
    assert json.loads((kept / "run.json").read_text())["near_silent"] == {"below_dbfs": -65, "utterances": ["u1", "u3"]}
    assert pd.read_parquet(kept / "predictions.parquet")["utterance_id"].nunique() == 4
    # Scores of an earlier run that took them are not taken over.
    for extra in ([], [f"resume={kept}"]):
        folder = tmp_path / f"skip{len(extra)}"
        options = [*plain, "dataset.audio.near_silent=skip", *extra]
        done = probing.run(config(tiny_whisper_path, manifest, folder, *options))
        skipped = pd.read_csv(done / "skipped.csv")
        assert list(zip(skipped["utterance_id"], skipped["reason"], strict=True)) == [
            ("u1", "near_silent"),
            ("u3", "near_silent"),
        ]
        assert set(pd.read_parquet(done / "predictions.parquet")["utterance_id"]) == {"u0", "u2"}
        assert "near-silent" not in capsys.readouterr().out


def test_long_audio_is_truncated_and_flagged(tiny_whisper_path, tmp_path):
    manifest = write_corpus(tmp_path / "own", count=3)
    done = probing.run(
        config(
            tiny_whisper_path,
            manifest,
            tmp_path / "run",
            "dataset.audio.max_seconds=0.6",
            "dataset.audio.long_audio=truncate",
        )
    )
    predictions = pd.read_parquet(done / "predictions.parquet").drop_duplicates("utterance_id")
    assert predictions.set_index("utterance_id")["truncated"].to_dict() == {"u0": False, "u1": True, "u2": True}


def test_failures_can_be_scored_as_uniform(finished):
    assert analyse_main([str(finished), "analysis.failures=uniform", "analysis.figures=false"]) == 0
    rows = json.loads((finished / "analysis" / "metrics.json").read_text())["rows"]
    text = [row for row in rows if row["readout"] == "generated_text"]
    assert all(row["num_utterances"] == 5 for row in text)
    assert any(row["num_failed"] == 5 for row in text)
    uniform = next(row for row in rows if row["readout"] == "uniform")
    whole = next(row for row in text if row["num_failed"] == 5)
    assert whole["metrics"]["js_divergence"] == pytest.approx(uniform["metrics"]["js_divergence"])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model=whispr"], "whispr"),
        (["dataset=cremad"], "dataset.root"),
        (["dataset=cremad", "dataset.root=/nowhere"], "not CREMA-D"),
        (["model.dtype=float16", "dataset.limit=1"], "is not float32 or bfloat16 (float16 overflows)"),
        (["dataset.split=evening"], "no split"),
    ],
)
def test_mistakes_end_in_one_line_and_exit_status_two(overrides, message, tmp_path, console):
    done = console("probe", "logger=none", f"hydra.run.dir={tmp_path}", *overrides)
    assert done.status == 2
    assert message in done.out + done.err
    assert "Traceback" not in done.err


def test_floors_from_votes_alone(corpus, tmp_path, capsys):
    status = floors_main(["dataset=manifest", f"dataset.path={corpus}", "dataset.split=test", "-o", str(tmp_path)])
    assert status == 0
    floors = pd.read_csv(tmp_path / "floors.csv").set_index("readout")
    assert floors.loc["one_hot_of_top_vote", "wa"] == 1.0
    assert "5 utterances" in capsys.readouterr().out


def test_analyse_reports_mistakes(tmp_path, capsys):
    assert analyse_main([str(tmp_path)]) == 2
    assert "no readable run.json" in capsys.readouterr().err
