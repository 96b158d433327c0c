"""Fusing two runs made by hand; no model anywhere."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from scipy.special import rel_entr

from emoprobe.beliefs.crossfit import plan
from emoprobe.beliefs.opinion_pool import POOLS, best_weight, fuse_cells, pooled
from emoprobe.cli.fuse import main
from emoprobe.errors import InputError
from emoprobe.metrics.functional import evaluate
from emoprobe.recipes import fuse

LABELS = ["angry", "happy", "sad"]
P, TARGET, VOTES = ([f"{prefix}_{label}" for label in LABELS] for prefix in ("p", "target", "votes"))
GRID = np.linspace(0, 1, 2001)


def people(number=60, seed=0):
    """True distributions and the votes of eight raters."""
    rng = np.random.default_rng(seed)
    truth = rng.dirichlet([0.7, 0.7, 0.7], number)
    return truth, rng.multinomial(8, truth)


def heard(truth, noise, seed):
    """A model that hears the truth through noise."""
    logits = np.log(truth + 1e-3) + np.random.default_rng(seed).normal(0, noise, truth.shape)
    p = np.exp(logits)
    return p / p.sum(axis=1, keepdims=True)


def write_run(folder, cells, votes, ids=None, split=None, speakers=6, **record):
    """A run folder; ``cells`` is readout/calibration -> probabilities."""
    folder.mkdir()
    number = len(votes)
    ids = ids or [f"u{i:03}" for i in range(number)]
    base = pd.DataFrame({"utterance_id": ids, "speaker": [f"s{int(name[1:]) % speakers}" for name in ids]})
    base["split"] = split
    base["transcript"] = None
    base["num_raters"] = 8.0
    human = pd.DataFrame(np.hstack([votes / 8, votes]), columns=TARGET + VOTES, dtype=float)
    frames = []
    for name, probs in cells.items():
        readout, _, calibration = name.partition("/")
        frame = base.assign(duration_seconds=1.0, truncated=False).join(human)
        frame = frame.assign(model="m", prompt="p", readout=readout, variant="sum", calibration=calibration or "none")
        frame["fitted_on"] = "evaluated inputs" if calibration else ""
        frame["status"] = np.where(np.isnan(probs).any(axis=1), "refused", "ok")
        frames.append(frame.assign(generated_text=None, label_mass=0.5).join(pd.DataFrame(probs, columns=P)))
    keys = ["speaker", "split", "model", "prompt", "readout", "variant", "calibration", "fitted_on", "status"]
    predictions = pd.concat(frames, ignore_index=True)
    predictions.astype(dict.fromkeys(keys, "category")).to_parquet(folder / "predictions.parquet", index=False)
    base.assign(role="evaluated").join(human).to_parquet(folder / "utterances.parquet", index=False)
    forms = {label: {"adjective": [label]} for label in LABELS}
    facts = {
        "labels": {"name": "three", "labels": LABELS, "words": forms, "aliases": {}, "hash": "h"},
        "corpus": {"name": "hand", "title": "Made by hand", "synthetic": True},
        "soft_label_policy": {"name": "shares", "hash": "x"},
        "split": "all",
        "model": {"name": "m", "revision": "r", "dtype": "float32", "device": "cpu"},
        "versions": {},
        **record,
    }
    (folder / "run.json").write_text(json.dumps(facts))
    return folder


@pytest.fixture
def two(tmp_path):
    truth, votes = people()
    a = write_run(tmp_path / "a", {"label_likelihood": heard(truth, 1.0, 1)}, votes)
    b = write_run(tmp_path / "b", {"mlp_probe": heard(truth, 1.4, 2)}, votes)
    return a, b, votes


def read(folder):
    predictions = pd.read_parquet(folder / "predictions.parquet")
    return predictions, json.loads((folder / "metrics.json").read_text()), json.loads((folder / "run.json").read_text())


def kl(target, probs):
    return rel_entr(target, probs).sum(axis=1).mean()


def by_hand(a, b, w, pool):
    q = a**w * b ** (1 - w) if pool == "geometric" else w * a + (1 - w) * b
    return q / q.sum(axis=1, keepdims=True)


# -- weights -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("noises", [(0.5, 0.5), (0.5, 2.0), (3.0, 0.4), (1.5, 1.0)])
def test_the_weight_is_the_best_of_a_fine_grid(pool, noises):
    truth, votes = people(80)
    a, b = (heard(truth, noise, seed) for seed, noise in enumerate(noises))
    weight = best_weight(np.log(a), np.log(b), votes / 8, pool)
    losses = [kl(votes / 8, by_hand(a, b, w, pool)) for w in GRID]
    assert weight == pytest.approx(GRID[int(np.argmin(losses))], abs=GRID[1])
    assert kl(votes / 8, by_hand(a, b, weight, pool)) <= min(losses) + 1e-12
    np.testing.assert_allclose(np.exp(pooled(np.log(a), np.log(b), weight, pool)), by_hand(a, b, weight, pool))
    assert best_weight(np.log(b), np.log(a), votes / 8, pool) == pytest.approx(1 - weight, abs=1e-9)


@pytest.mark.parametrize("pool", POOLS)
def test_one_that_adds_nothing_gets_no_weight(pool):
    truth, votes = people(200)
    wrong = np.roll(truth, 1, axis=1) + 0.01
    wrong /= wrong.sum(axis=1, keepdims=True)
    right = truth + 1e-9
    right /= right.sum(axis=1, keepdims=True)
    weights = [best_weight(np.log(x), np.log(y), truth, pool) for x, y in ((right, wrong), (wrong, right))]
    assert weights == pytest.approx([1, 0], abs=1e-6)
    assert best_weight(np.log(right), np.log(right), votes / 8, pool) == 0.5


def test_at_its_ends_a_pool_is_one_of_the_two_even_with_zeros():
    with np.errstate(divide="ignore"):
        a, b = np.log([[1.0, 0.0], [0.5, 0.5]]), np.log([[0.25, 0.75], [0.0, 1.0]])
    for pool in POOLS:
        np.testing.assert_allclose(np.exp(pooled(a, b, 1.0, pool)), np.exp(a))
        np.testing.assert_allclose(np.exp(pooled(a, b, 0.0, pool)), np.exp(b))


@pytest.mark.parametrize("pool", POOLS)
def test_weights_are_those_of_the_other_speakers(pool):
    truth, votes = people(90)
    a, b, target = np.log(heard(truth, 1, 1)), np.log(heard(truth, 1, 2)), votes / 8
    ids, speakers = [f"u{i}" for i in range(90)], np.array([f"s{i % 9}" for i in range(90)])
    whose = plan(ids, speakers, [None] * 90, folds=3)
    fused, parts = fuse_cells(a, b, target, whose, ids, pool=pool)
    for part, number, weight in parts:
        others = ~part.apply
        assert number == others.sum()
        assert weight == pytest.approx(best_weight(a[others], b[others], target[others], pool), abs=1e-9)
        np.testing.assert_allclose(fused[part.apply], pooled(a[part.apply], b[part.apply], weight, pool))
    assert len({weight for _, _, weight in parts}) == 3
    turned = np.where((speakers == "s4")[:, None], np.roll(target, 1, axis=1), target)
    again, _ = fuse_cells(a, b, turned, whose, ids, pool=pool)
    np.testing.assert_array_equal(again[speakers == "s4"], fused[speakers == "s4"])
    assert np.abs(again - fused).max() > 1e-6
    order = np.random.default_rng(0).permutation(90)
    names = np.array(ids)[order]
    mixed, _ = fuse_cells(
        a[order], b[order], target[order], plan(names, speakers[order], [None] * 90, folds=3), names, pool=pool
    )
    np.testing.assert_array_equal(mixed, fused[order])


# -- runs --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pool", POOLS)
def test_a_fused_run_holds_the_fusion_both_parents_and_the_floors(two, tmp_path, capsys, pool):
    a, b, votes = two
    assert main([str(a), str(b), "-o", str(tmp_path / "out"), "--pool", pool, "--folds", "3"]) == 0
    printed = capsys.readouterr().out
    predictions, metrics, record = read(tmp_path / "out")
    assert [(row["kind"], row["readout"]) for row in metrics["rows"][:3]] == [
        ("readout", "fusion"),
        ("readout", "label_likelihood"),
        ("readout", "mlp_probe"),
    ]
    assert {row["kind"] for row in metrics["rows"][3:]} >= {"floor", "reference"}
    for word in (f"fusion, {pool}", "mlp probe", "floor: vote prior", "Weight", "SYNTHETIC"):
        assert word in printed
    assert set(predictions.columns) == set(pd.read_parquet(a / "predictions.parquet").columns)
    cells = {name: frame.set_index("utterance_id") for name, frame in predictions.groupby("readout", observed=True)}
    parents = [pd.read_parquet(folder / "predictions.parquet").set_index("utterance_id") for folder in (a, b)]
    fused = cells["fusion"]
    for parent, name in zip(parents, ("label_likelihood", "mlp_probe"), strict=True):
        np.testing.assert_allclose(cells[name][P], parent[P], atol=1e-12)
    assert record["fusion"]["fitted_on"] == "other speakers' votes (3 folds)"
    parts = {part["part"]: part for part in record["fusion"]["weights_of_first"]}
    assert sum(part["num_applied"] for part in parts.values()) == 60
    fits = 0
    for name in set(fused["speaker"]):
        own = fused[fused["speaker"] == name]
        x, y = (parent.loc[own.index, P].to_numpy() for parent in parents)
        fits += any(np.allclose(own[P], by_hand(x, y, part["weight"], pool), atol=1e-9) for part in parts.values())
    assert fits == 6
    expected = evaluate(fused[P].to_numpy(), votes / 8, votes)
    for name in ("js_divergence", "kl_target_pred", "vote_nll"):
        assert metrics["rows"][0]["metrics"][name] == pytest.approx(expected[name])
    scores = [row["metrics"]["kl_target_pred"] for row in metrics["rows"][:3]]
    assert scores[0] < min(scores[1:])
    assert [source["run"] for source in record["fusion"]["sources"]] == [str(a), str(b)]
    assert set(fused["fitted_on"]) == {"other speakers' votes (3 folds)"}
    assert (tmp_path / "out" / "figures").is_dir()
    assert len(pd.read_parquet(tmp_path / "out" / "utterances.parquet")) == 60


@pytest.mark.parametrize("pool", POOLS)
def test_a_run_fused_with_itself_is_itself(two, tmp_path, pool):
    a, _, _ = two
    fuse.fuse_runs(a, a, tmp_path / "out", pool=pool, figures=False)
    predictions, metrics, _ = read(tmp_path / "out")
    assert [row["readout"] for row in metrics["rows"] if row["kind"] == "readout"] == ["fusion", "label_likelihood"]
    one, two_ = (predictions[predictions["readout"] == name][P].to_numpy() for name in ("fusion", "label_likelihood"))
    np.testing.assert_allclose(one, two_, atol=1e-15)


def test_a_development_part_gives_the_weight(tmp_path):
    truth, votes = people()
    split = ["dev"] * 30 + ["test"] * 30
    ids = [f"u{i:03}" for i in range(60)]
    probs = [heard(truth, 1, 1), heard(truth, 1, 2)]
    folders = [
        write_run(tmp_path / name, {"label_likelihood": p}, votes, ids, split, speakers=60)
        for name, p in zip("ab", probs, strict=True)
    ]
    fuse.fuse_runs(*folders, tmp_path / "out", figures=False)
    predictions, metrics, record = read(tmp_path / "out")
    logs = [np.log(p[:30]) for p in probs]
    weight = best_weight(*logs, votes[:30] / 8)
    first = record["fusion"]["weights_of_first"][0]
    assert (first["part"], first["num_fitted"], first["num_applied"]) == ("development", 30, 30)
    assert first["weight"] == pytest.approx(weight, abs=1e-9)
    fused = predictions[predictions["readout"] == "fusion"].set_index("utterance_id").loc[ids, P]
    np.testing.assert_allclose(fused[30:], by_hand(*(p[30:] for p in probs), weight, "geometric"), atol=1e-9)
    assert fused.notna().all(axis=None)
    # Two runs whose cells are called alike are told apart by their prompts.
    assert [row["prompt"] for row in metrics["rows"][1:3]] == ["p [A]", "p [B]"]


def test_failures_stay_failures_and_what_one_run_lacks_is_listed(tmp_path):
    truth, votes = people()
    ids = [f"u{i:03}" for i in range(60)]
    first, second = heard(truth, 1, 1), heard(truth, 1, 2)
    first[4], second[7] = np.nan, np.nan
    second[9] = [1, 0, 0]
    a = write_run(tmp_path / "a", {"label_likelihood": first[:55]}, votes[:55], ids[:55])
    turned = np.arange(59, 4, -1)
    b = write_run(tmp_path / "b", {"generated_text/batch": second[turned]}, votes[turned], [ids[i] for i in turned])
    fuse.fuse_runs(a, b, tmp_path / "out", figures=False)
    predictions, metrics, record = read(tmp_path / "out")
    row = metrics["rows"][0]
    assert (row["num_utterances"], row["num_failed"], row["statuses"]) == (49, 1, {"ok": 49, "undefined": 1})
    assert row["fitted_on"] == "evaluated inputs + other speakers' votes (5 folds)"
    assert row["calibration"] == "none + batch"
    fused = predictions[predictions["readout"] == "fusion"].set_index("utterance_id")
    assert list(fused.index) == ids[5:55]
    assert fused.loc["u007", P].isna().all()
    skipped = pd.read_csv(tmp_path / "out" / "skipped.csv")
    assert sorted(skipped["utterance_id"]) == ids[:5] + ids[55:]
    assert record["num_skipped"] == {"only_in_one_run": 10}
    weights = [part["weight"] for part in record["fusion"]["weights_of_first"]]
    mixed = 0.99 * second[9] + 0.01 / 3  # the declared floor of a distribution with a zero
    assert any(
        np.allclose(fused.loc["u009", P].astype(float), by_hand(first[[9]], mixed[None], w, "geometric")[0], atol=1e-9)
        for w in weights
    )


def test_a_fused_run_can_be_fused_again(two, tmp_path):
    a, b, votes = two
    fuse.fuse_runs(a, b, tmp_path / "ab", figures=False)
    truth, _ = people()
    c = write_run(tmp_path / "c", {"linear_probe": heard(truth, 2, 3)}, votes)
    fuse.fuse_runs(tmp_path / "ab", c, tmp_path / "abc", cells=("readout=fusion", ""), figures=False)
    predictions, metrics, _ = read(tmp_path / "abc")
    assert [(row["readout"], row["prompt"]) for row in metrics["rows"][:3]] == [
        ("fusion", "p"),
        ("fusion", "p [A]"),
        ("linear_probe", "p"),
    ]
    keys = ["model", "prompt", "readout", "variant", "calibration", "utterance_id"]
    assert not predictions.duplicated(keys).any()
    fuse.fuse_runs(tmp_path / "ab", tmp_path / "ab", tmp_path / "abab", cells=("readout=fusion",) * 2, figures=False)
    assert not read(tmp_path / "abab")[0].duplicated(keys).any()


def test_an_analysis_inside_a_run_is_read_with_the_runs_own_record(two, tmp_path):
    a, b, votes = two
    truth, _ = people()
    again = write_run(tmp_path / "again", {"label_likelihood/vector_scaling": heard(truth, 1, 5)}, votes)
    (a / "analysis").mkdir()
    (again / "predictions.parquet").rename(a / "analysis" / "predictions.parquet")
    fuse.fuse_runs(a / "analysis", b, tmp_path / "out", figures=False)
    assert read(tmp_path / "out")[1]["rows"][1]["calibration"] == "vector_scaling"


def test_too_few_clips_of_other_speakers_leave_no_weight(tmp_path, capsys):
    truth, votes = people(5)
    a = write_run(tmp_path / "a", {"x": heard(truth, 1, 1)}, votes)
    b = write_run(tmp_path / "b", {"y": heard(truth, 1, 2)}, votes)
    fuse.fuse_runs(a, b, tmp_path / "out", figures=False)
    row = read(tmp_path / "out")[1]["rows"][0]
    assert (row["num_failed"], row["statuses"], row["metrics"]) == (5, {"not_fitted": 5}, {})
    assert "too few clips" in capsys.readouterr().out


# -- refusals ----------------------------------------------------------------------------------------------------------


def test_a_cell_that_is_not_clear_is_asked_for_with_a_list(tmp_path):
    truth, votes = people()
    cells = ("label_likelihood", "label_likelihood/batch", "averaged_logits")
    a = write_run(tmp_path / "a", {name: heard(truth, 1, i) for i, name in enumerate(cells)}, votes)
    for choice, message in (
        ("", r"the cell is not clear.*--cell-a.*readout=label_likelihood,calibration=batch"),
        ("readout=label_likelihood", r"2 of the run's 3 cells fit.*calibration=none\n  calibration=batch"),
        ("readout=nothing", r"none of the run's 3 cells fit.*averaged_logits"),
        ("readout", r"'readout' is no choice.*model, prompt, readout, variant, calibration"),
        ("colour=red", "'colour=red' is no choice"),
    ):
        with pytest.raises(InputError, match=f"(?s){message}"):
            fuse.fuse_runs(a, a, tmp_path / "out", cells=(choice, ""))
    chosen = fuse.read_source(a, "readout = label_likelihood, calibration=batch", "--cell-a")
    np.testing.assert_allclose(chosen.rows[P], heard(truth, 1, 1))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"corpus": {"name": "other", "title": "Other", "synthetic": False}}, "different corpora: hand, and other"),
        (
            {"soft_label_policy": {"name": "shares", "hash": "y"}},
            "different soft-label policies: shares x, and shares y",
        ),
        (
            {"labels": {"name": "three", "labels": LABELS, "words": {n: {"a": [n]} for n in LABELS}, "hash": "g"}},
            "different label sets: three h, and three g",
        ),
    ],
)
def test_runs_that_do_not_fit_together_are_refused(two, tmp_path, change, message):
    a, _, votes = two
    truth, _ = people()
    b = write_run(tmp_path / "other", {"mlp_probe": heard(truth, 1, 1)}, votes, **change)
    with pytest.raises(InputError, match=message):
        fuse.fuse_runs(a, b, tmp_path / "out")


def test_other_votes_other_speakers_and_no_shared_utterance_are_refused(two, tmp_path):
    a, _, votes = two
    truth, _ = people()
    probs = {"mlp_probe": heard(truth, 1, 1)}
    changed = votes.copy()
    changed[3] = np.roll(changed[3], 1)
    b = write_run(tmp_path / "votes", probs, changed)
    with pytest.raises(InputError, match="votes or the speaker of 1 of 60 shared utterances, u003"):
        fuse.fuse_runs(a, b, tmp_path / "out")
    b = write_run(tmp_path / "speakers", probs, votes, speakers=7)
    with pytest.raises(InputError, match="votes or the speaker"):
        fuse.fuse_runs(a, b, tmp_path / "out")
    b = write_run(tmp_path / "ids", probs, votes, [f"v{i:03}" for i in range(60)])
    with pytest.raises(InputError, match="share no utterance"):
        fuse.fuse_runs(a, b, tmp_path / "out")


def test_wrong_folders_and_options_end_in_one_line(two, tmp_path, capsys):
    a, b, _ = two
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    (tmp_path / "damaged").mkdir()
    for name in ("run.json", "utterances.parquet", "predictions.parquet"):
        (tmp_path / "damaged" / name).write_text("{}")
    out = ["-o", str(tmp_path / "out")]
    for arguments, message in (
        ([str(tmp_path / "none"), str(b), *out], "holds no readable run.json"),
        ([str(tmp_path / "damaged"), str(b), *out], "holds no readable run.json"),
        ([str(a), str(b), "-o", str(tmp_path / "full")], "the folder is not empty"),
        ([str(a), str(b), *out, "--floor", "1"], "1.0 is not a number from 0 to below 1 (field floor)"),
        ([str(a), str(b), *out, "--folds", "1"], "1 is not a whole number of at least 2"),
    ):
        assert main(arguments) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.startswith("error: ")
    assert not (tmp_path / "out").exists()
