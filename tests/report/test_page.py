"""The page's data against numbers computed afresh, and the leaderboards and command around it."""

from __future__ import annotations

import base64
import csv
import gzip
import json
import math
import re
import shutil
import subprocess
import time
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest
import soundfile
from reporting.runs import KEYS, LABELS, PLAIN, TEXT, make_human, make_probs, make_record, page_data, write_run
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy as scipy_entropy

from emoprobe.cli.report import main
from emoprobe.metrics.functional import reliability_bins
from emoprobe.report import leaderboard
from emoprobe.report.collect import collect
from emoprobe.report.page import render
from emoprobe.report.page_data import embed_json
from emoprobe.report.page_sound import choose_clips, link
from emoprobe.report.summaries import FAILED, LEVELS
from emoprobe.run.settings import Told

SIZE = 40
HUMAN = make_human(SIZE)
CELLS = {PLAIN: make_probs(SIZE, seed=1), TEXT: make_probs(SIZE, seed=2, failed=[0, 7])}
HOSTILE = [
    "<script>window.hacked = 1</script>",
    "</script><script>window.hacked = 1</script>",
    "<img src=x onerror='window.hacked=1'>",
    "\"'`&amp;\\u003c\u2028\u2029\x00 ]]> <!-- --> {{DATA}} ${1}",
    "\ud800 lone",
]


def unpack(text: str, kind: str) -> np.ndarray:
    return np.frombuffer(gzip.decompress(base64.b64decode(text)), kind)


def unpack_json(text: str):
    return json.loads(gzip.decompress(base64.b64decode(text)))


def build(tmp_path: Path, *arguments: str, folders=None) -> tuple[Path, dict]:
    target = tmp_path / "report"
    folders = folders or [tmp_path / "runs"]
    assert main([*map(str, folders), "-o", str(target), "--no-figures", *arguments]) == 0
    return target, page_data(target / "index.html")


def row_of(group: dict, readout: str) -> dict:
    (row,) = [row for row in group["rows"] if row["names"]["readout"].removeprefix("floor: ").rstrip("*") == readout]
    return row


@pytest.mark.parametrize("key", list(CELLS))
def test_embedded_numbers_equal_those_recomputed_from_the_predictions(tmp_path, key):
    run = write_run(tmp_path / "runs/a", HUMAN, CELLS)
    _, data = build(tmp_path)
    (group,) = data["groups"]
    row = row_of(group, key[2])
    frame = pd.read_parquet(run / "predictions.parquet")
    frame = frame[np.logical_and.reduce([frame[name] == value for name, value in zip(KEYS, key, strict=True)])]
    frame = frame.sort_values("utterance_id")
    p, t, v = (frame[[f"{kind}_{label}" for label in LABELS]].to_numpy() for kind in ("p", "target", "votes"))
    ok = np.isfinite(p).all(axis=1)
    js = np.array([jensenshannon(a, b, base=2) ** 2 for a, b in zip(p[ok], t[ok], strict=True)])
    top = t == t.max(axis=1, keepdims=True)
    single = ok & (top.sum(axis=1) == 1)
    expected = {
        "js_divergence": js.mean(),
        "bhattacharyya": np.sqrt(p[ok] * t[ok]).sum(axis=1).mean(),
        "brier": ((p[ok] - t[ok]) ** 2).mean(),
        "kl_target_pred": scipy_entropy(t[ok], p[ok], axis=1).mean(),
        "vote_nll": -(v[ok] * np.log(p[ok])).sum() / v[ok].sum(),
        "r2_within_clip": np.mean([np.corrcoef(a, b)[0, 1] ** 2 for a, b in zip(p[ok], t[ok], strict=True)]),
        "wa": (p[single].argmax(axis=1) == t[single].argmax(axis=1)).mean(),
    }
    for name, value in expected.items():
        assert row["metrics"][name] == pytest.approx(value, abs=1e-12), name
    assert (row["n"], row["failed"]) == (int(ok.sum()), int((~ok).sum()))
    np.testing.assert_allclose(row["mean"], p[ok].mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(row["human"], t[ok].mean(axis=0), atol=1e-12)
    cell = row["cell"]
    quantised = unpack(cell["p"], "<u2").reshape(p.shape)
    assert (quantised[~ok] == FAILED).all()
    np.testing.assert_allclose(quantised[ok] / LEVELS, p[ok], atol=0.5000001 / LEVELS)
    embedded = unpack(cell["js"], "<f4")
    np.testing.assert_allclose(embedded[ok], js, atol=1e-6)
    assert np.isnan(embedded[~ok]).all()
    assert [cell["statuses"][i] for i in unpack(cell["status"], "u1")] == frame["status"].tolist()
    clips = group["clips"]
    np.testing.assert_array_equal(unpack(clips["target"], "<f4"), t.astype("<f4").ravel())
    np.testing.assert_array_equal(unpack(clips["votes"], "<f4"), v.astype("<f4").ravel())
    np.testing.assert_allclose(unpack(clips["entropy"], "<f4"), scipy_entropy(t, base=2, axis=1), atol=1e-6)
    facts = unpack_json(clips["facts"])
    assert facts["utterance_id"] == frame["utterance_id"].tolist()
    assert facts["duration_seconds"] == frame["duration_seconds"].tolist()


def test_floors_are_embedded_clip_by_clip(tmp_path):
    write_run(tmp_path / "runs/a", HUMAN, CELLS)
    (group,) = build(tmp_path, "--cells", "0")[1]["groups"]
    target = HUMAN[[f"target_{label}" for label in LABELS]].to_numpy()
    for name, constant in (("uniform", np.full(4, 0.25)), ("prior", target.mean(axis=0))):
        cell = row_of(group, name)["cell"]
        quantised = unpack(cell["p"], "<u2").reshape(SIZE, 4)
        np.testing.assert_allclose(quantised / LEVELS, np.tile(constant, (SIZE, 1)), atol=0.5000001 / LEVELS)
        js = [jensenshannon(constant, row, base=2) ** 2 for row in target]
        np.testing.assert_allclose(unpack(cell["js"], "<f4"), js, atol=1e-6)
    assert row_of(group, "label_likelihood")["cell"] is None
    assert row_of(group, "label_likelihood")["mean"] is not None


def test_bins_are_means_over_what_falls_into_them():
    pred = np.array([[0.0, 0.1, 0.1 + 0.2, 0.6], [0.05, 0.25, 0.3, 0.4]])
    target = np.array([[0.0, 0.5, 0.5, 0.0], [1.0, 0.0, 0.0, 0.0]])
    bins = list(zip(*(of.tolist() for of in reliability_bins(pred, target)), strict=True))
    assert [count for count, _, _ in bins] == [3, 0, 3, 1, 0, 1, 0, 0, 0, 0]
    assert bins[0][1:] == pytest.approx((0.05, 0.5))
    assert bins[2][1:] == pytest.approx(((0.3 + 0.25 + 0.3) / 3, 0.5 / 3))
    assert math.isnan(bins[1][1])


def test_optional_columns_are_shown_where_they_are_there(tmp_path):
    more = {"intervals": {"js_divergence": [0.1, 0.4], "wa": None, "vote_nll": [1.0, "inf"]}, "shuffled": {"wa": 0.25}}
    write_run(tmp_path / "runs/a", HUMAN, CELLS, more=more | {"share_of_range": {"js_divergence": -0.5}})
    target, data = build(tmp_path, "--intervals")
    row = row_of(data["groups"][0], "label_likelihood")
    assert row["intervals"] == {"js_divergence": [0.1, 0.4], "vote_nll": [1.0, "inf"]}
    assert (row["shuffled"], row["share"]) == ({"wa": 0.25}, {"js_divergence": -0.5})
    with (target / "leaderboard.csv").open() as handle:
        line = next(line for line in csv.DictReader(handle) if line["readout"] == "label_likelihood")
    assert (line["js_divergence_low"], line["js_divergence_high"], line["vote_nll_high"]) == ("0.1", "0.4", "inf")
    assert (line["shuffled_wa"], line["share_of_range_js_divergence"]) == ("0.25", "-0.5")
    assert r"[0.100, 0.400\]" in (target / "leaderboard.md").read_text()
    assert "{[}0.100, 0.400{]}" in (target / "leaderboard.tex").read_text()


@pytest.mark.parametrize("metric", ["js_divergence", "bhattacharyya"])
def test_only_the_best_cells_are_embedded(tmp_path, metric):
    target = HUMAN[[f"target_{label}" for label in LABELS]].to_numpy()
    near = {(*PLAIN[:1], f"p{i}", *PLAIN[2:]): (1 - w) * target + w / 4 for i, w in enumerate((0.9, 0.1, 0.5))}
    failing = target.copy()
    failing[5] = np.nan  # the best of all, were it not for one clip
    write_run(tmp_path / "runs/a", HUMAN, near | {(*PLAIN[:1], "p3", *PLAIN[2:]): failing})
    (group,) = build(tmp_path, "--cells", "2", "--metric", metric)[1]["groups"]
    embedded = {row["names"]["prompt"] for row in group["rows"] if row["kind"] == "readout" and row["cell"]}
    assert embedded == {"p1", "p2"}


def hostile_run(folder: Path) -> Path:
    human = HUMAN.copy()
    for i, text in enumerate(HOSTILE[:4]):
        human.loc[i, "transcript"] = text
        human.loc[i, "utterance_id"] = f"{text} {i}"
        human.loc[i, "speaker"] = text
    key = (HOSTILE[0], HOSTILE[1], HOSTILE[2], "", HOSTILE[3].replace("\x00", ""))
    record = make_record(corpus={"name": "x", "title": HOSTILE[1], "synthetic": True})
    texts = {key: [HOSTILE[i % 4] for i in range(SIZE)]}
    return write_run(folder, human, {key: CELLS[PLAIN]}, record=record, texts=texts)


def test_hostile_texts_come_back_whole_and_never_as_markup(tmp_path):
    hostile_run(tmp_path / "runs/a")
    target, data = build(tmp_path, "--title", HOSTILE[1])
    page = (target / "index.html").read_text(encoding="utf-8")
    assert len(re.findall(r"<script", page)) == len(re.findall(r"</script", page)) == 2
    assert "<img" not in page
    assert "\u2028" not in page
    assert data["title"] == HOSTILE[1]
    (group,) = data["groups"]
    facts = unpack_json(group["clips"]["facts"])
    assert set(HOSTILE[:4]) <= set(facts["transcript"])
    row = next(row for row in group["rows"] if row["kind"] == "readout")
    assert unpack_json(row["cell"]["texts"])[:2] != [None, None]
    assert row["names"]["model"] == HOSTILE[0]


@pytest.mark.parametrize("text", HOSTILE)
def test_json_cannot_leave_its_element_and_keeps_every_character(text):
    embedded = embed_json({text: [text, math.nan, math.inf, -math.inf]})
    assert not set("<>&\u2028\u2029") & set(embedded)
    assert json.loads(embedded) == {text: [text, None, "inf", "-inf"]}


def test_the_policy_allows_this_script_and_this_style_only_and_no_network():
    import hashlib

    page = render("t", {})
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1]
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    assert "http" not in policy
    for tag, source in (("script", "script-src"), ("style", "style-src")):
        content = re.search(rf"<{tag}>(.*?)</{tag}>", page, re.S)[1]
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{source} 'sha256-{digest}'" in policy
    assert not re.search(r"(src|href)=\"(?!#|data:)", page)
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|fetch\(|XMLHttp|import\(", page
    )


# -- sound -------------------------------------------------------------------------------------------------------------


def with_sound(tmp_path: Path) -> list[str]:
    folder = tmp_path / "sound"
    folder.mkdir()
    paths = [str(folder / f"ö #{i}%.wav") for i in range(SIZE)]
    for i, path in enumerate(paths):
        soundfile.write(path, 0.1 * np.sin(np.arange(1600) * (0.05 + 0.002 * i)), 16_000)
    write_run(tmp_path / "runs/a", HUMAN, CELLS, audio=paths)
    return paths


def test_links_lead_to_the_files(tmp_path):
    paths = with_sound(tmp_path)
    target, data = build(tmp_path)
    links = unpack_json(data["groups"][0]["sound"]["links"])
    assert [(target / unquote(address)).resolve() for address in links] == [Path(path) for path in paths]
    assert not any(sign in address for address in links for sign in "#% ö" if sign != "%")
    assert link("/a/javascript:alert(1)", Path("/a")) == "javascript%3Aalert%281%29"


def test_embedded_clips_are_the_ones_of_largest_disagreement_and_a_spread(tmp_path):
    paths = with_sound(tmp_path)
    Path(paths[0]).unlink()
    _, data = build(tmp_path, "--audio", "embed", str(SIZE))
    clips = data["groups"][0]["sound"]["clips"]
    assert set(clips) == {str(i) for i in range(1, SIZE)}
    kind, _, content = clips["3"].partition(",")
    assert kind == "data:audio/wav;base64"
    (tmp_path / "back.wav").write_bytes(base64.b64decode(content))
    waveform, rate = soundfile.read(tmp_path / "back.wav")
    expected, _ = soundfile.read(paths[3])
    assert rate == 16_000
    np.testing.assert_allclose(waveform, expected, atol=1e-4)
    assert any("1 clips could not be embedded" in note for note in data["notes"])
    assert build(tmp_path, "--audio", "none")[1]["groups"][0]["sound"] == {"mode": "none"}


def test_half_of_the_clips_disagree_most_and_half_are_spread_evenly():
    js = np.array([0.1, 0.9, np.nan, 0.8, 0.2, 0.3, 0.4, 0.5])
    entropy = np.arange(8.0)
    assert choose_clips(js, entropy, 5) == [1, 3, 7, 0, 6]
    assert sorted(choose_clips(js, entropy, 100)) == list(range(8))
    assert choose_clips(js, entropy, 0) == []


# -- leaderboards and command ------------------------------------------------------------------------------------------


def test_the_csv_has_every_row_metric_and_fact(tmp_path):
    write_run(tmp_path / "runs/a", HUMAN, CELLS)
    write_run(tmp_path / "runs/b", HUMAN, {PLAIN: make_probs(SIZE, seed=5)}, record=make_record(seed=3))
    target, _ = build(tmp_path)
    frame = pd.read_csv(target / "leaderboard.csv", keep_default_na=False)
    assert len(frame) == 3 + 4
    of_b = frame[(frame["run"] == "b") & (frame["kind"] == "readout")].iloc[0]
    (rows,) = [json.loads((tmp_path / "runs/b/metrics.json").read_text())["rows"]]
    for name, value in rows[0]["metrics"].items():
        if name in collect([tmp_path / "runs"]).groups[0].definitions:
            assert float(of_b[name]) == pytest.approx(float(value), abs=1e-15), name
    assert (of_b["seed"], of_b["version_torch"], of_b["policy_hash"]) == ("3", "2.0", "2222bbbb")
    assert of_b["folder"] == str(tmp_path / "runs/b")
    floor = frame[frame["readout"] == "uniform"].iloc[0]
    assert (floor["run"], floor["seed"]) == ("a b", "")


def test_markdown_ranks_and_marks_the_best_that_never_failed(tmp_path):
    target = HUMAN[[f"target_{label}" for label in LABELS]].to_numpy()
    failing = target.copy()
    failing[0] = np.nan
    cells = {TEXT: failing, PLAIN: make_probs(SIZE, seed=1), (*PLAIN[:4], "batch"): 0.5 * target + 0.125}
    fitted = {(*PLAIN[:4], "batch"): "evaluated inputs"}
    write_run(tmp_path / "runs/a", HUMAN, cells, fitted=fitted)
    folder, _ = build(tmp_path)
    lines = [line for line in (folder / "leaderboard.md").read_text().splitlines() if line.startswith("| ")]
    assert [line.split("|")[2].strip() for line in lines[1:]] == [
        "label_likelihood",
        "label_likelihood",
        "generated_text",
        "floor: uniform",
        r"floor: prior\*\*",
        r"floor: majority\*\*",
        "reference: one_hot_of_top_vote",
    ]
    assert r"batch\*" in lines[1]
    assert "**" in lines[1].replace(r"\*", "")
    assert "**" not in lines[3].replace(r"\*", "")


def test_latex_escapes_everything_and_compiles_in_structure(tmp_path):
    hostile_run(tmp_path / "runs/a")
    text = (build(tmp_path)[0] / "leaderboard.tex").read_text()
    body = text.split("\\toprule")[1].split("\\bottomrule")[0]
    rows = [line for line in body.splitlines() if line.endswith(r"\\")]
    assert len({len(re.findall(r"(?<!\\)&", row)) for row in rows}) == 1
    assert leaderboard.escape_latex("a_b & 50% $x$ #1 {c} ~^\\ [d]*") == (
        r"a\_b \& 50\% \$x\$ \#1 \{c\} \textasciitilde{}\textasciicircum{}\textbackslash{} {[}d{]}{*}"
    )
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == 1


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_latex_compiles(tmp_path):
    write_run(tmp_path / "runs/a", HUMAN, CELLS)
    folder, _ = build(tmp_path)
    (tmp_path / "paper.tex").write_text(
        "\\documentclass{article}\\usepackage{booktabs,graphicx}\\usepackage[T1]{fontenc}\n\\begin{document}\n"
        f"\\input{{{folder / 'leaderboard.tex'}}}\n\\end{{document}}\n"
    )
    subprocess.run(["pdflatex", "-interaction=batchmode", "paper.tex"], cwd=tmp_path, check=True, capture_output=True)


def test_figures_are_written_for_print_and_show_intervals_and_floors(tmp_path):
    more = {"intervals": {"js_divergence": [0.2, 0.6]}}
    write_run(tmp_path / "runs/a", HUMAN, CELLS, more=more)
    assert main([str(tmp_path / "runs"), "-o", str(tmp_path / "report")]) == 0
    names = {file.name for file in (tmp_path / "report/figures").iterdir()}
    kinds = ("study", "js_divergence", "best_mean", "best_clips", "best_entropy", "best_reliability")
    assert names == {f"made_{kind}.{suffix}" for kind in kinds for suffix in ("pdf", "png")}
    assert (tmp_path / "report/figures/made_js_divergence.pdf").read_bytes()[:5] == b"%PDF-"
    (group,) = collect([tmp_path / "runs"]).groups
    (axes,) = leaderboard.dot_plot(group, "js_divergence").axes
    rows = {entry.row["readout"]: entry.row["metrics"]["js_divergence"] for entry in group.entries}
    dots = sorted(x for drawn in axes.collections for x, _ in drawn.get_offsets())
    assert dots == pytest.approx(sorted([rows["label_likelihood"], rows["generated_text"]]))
    lines = [tuple(line.get_xdata()) for line in axes.lines]
    assert (0.2, 0.6) in lines
    verticals = sorted(line[0] for line in lines if line[0] == line[1])
    assert verticals == pytest.approx(sorted(rows[n] for n in ("uniform", "prior", "majority", "one_hot_of_top_vote")))
    study = leaderboard.study(group, "js_divergence")
    assert [tick.get_text().split("\n")[0] for tick in study.axes[0].get_yticklabels()[::-1]] == [
        "generated text, 38 of 40 clips",
        "label likelihood",
    ]
    legend = [text.get_text() for text in study.legends[0].get_texts()]
    assert {"written", "tokens", f"floor: uniform {rows['uniform']:.3f}".replace("0.", ".")} <= set(legend)


def test_the_command_says_what_it_read_and_ends_with_a_status(tmp_path, capsys):
    write_run(tmp_path / "runs/a", HUMAN, CELLS)
    write_run(tmp_path / "runs/b", HUMAN, CELLS, record=make_record(split="all"))
    (tmp_path / "runs/c").mkdir()
    Told(verb="train", settings={}, inputs={}).write(tmp_path / "runs/c")
    target, data = build(tmp_path)
    printed = capsys.readouterr().out
    assert "Group    made-test: 1 run, 2 readouts" in printed
    assert "split: all" in printed
    assert f"Missing  {tmp_path / 'runs/c'}: training was interrupted" in printed
    assert [group["name"] for group in data["groups"]] == ["made-test", "made-all"]
    assert len(data["missing"]) == 1
    assert main([str(tmp_path / "report"), "-o", str(tmp_path / "x")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "x").exists()
    assert main([str(tmp_path / "runs"), "-o", str(target), "--metric", "nonsense"]) == 2
    assert "Choose from kl_target_pred" in capsys.readouterr().err
    with pytest.raises(SystemExit) as caught:
        main([str(tmp_path / "runs"), "--audio", "embed"])
    assert caught.value.code == 2


def test_twenty_runs_of_a_whole_corpus_stay_small(tmp_path):
    names = ("anger", "disgust", "fear", "happy", "neutral", "sad")
    human = make_human(7_442, names)
    keys = [(*PLAIN[:4], calibration) for calibration in ("none", "batch", "contextual_silence")]
    for i in range(20):
        cells = {key: make_probs(7_442, names, seed=10 * i + k) for k, key in enumerate((*keys, TEXT))}
        answers = {TEXT: [f"Answer {n % 400} of run {i}: the speaker sounds {names[n % 6]}." for n in range(7_442)]}
        write_run(tmp_path / f"runs/{i:02}", human, cells, record=make_record(names=names, seed=i), texts=answers)
    start = time.perf_counter()
    target, data = build(tmp_path, "--cells", "80")
    size = (target / "index.html").stat().st_size / 2**20
    print(f"20 runs x 7,442 clips, all 80 readouts clip by clip: {time.perf_counter() - start:.1f} s, {size:.1f} MiB")
    assert size < 30
    assert sum(row["cell"] is not None for row in data["groups"][0]["rows"]) == 84
