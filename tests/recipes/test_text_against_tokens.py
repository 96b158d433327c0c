"""What is written beside what tokens hold: ordinary probes as parts, their own numbers in one short table."""

from __future__ import annotations

import io
import shutil

import numpy as np
import pandas as pd
import pytest
from console import TWO, alone
from rich.console import Console
from scipy.spatial.distance import jensenshannon

from emoprobe.recipes.compare import compare_runs
from emoprobe.report.text_against_tokens import conclusions, contrast_frame, contrast_table
from emoprobe.run.folder import open_folder

EMOTIONS = ("anger", "disgust", "fear", "happy", "neutral", "sad")
# A tiny model's own answers fit no format; those that may say nothing else do.
READOUTS = "readout=[label_likelihood,averaged_logits,generated_text,constrained_text]"
LENGTHS = {"generated_text": 3, "averaged_logits": 3, "constrained_text": 40}
CELLS = (
    *("readout=constrained_text,variant=constrained", "readout=generated_text", "prompt=single_word"),
    "readout=label_likelihood,prompt=speaker_feeling",
)
PART, OTHER = "emoprobe_small", "whisper_base"


@pytest.fixture(scope="module")
def command(tiny_path, tiny_whisper_path):
    """A short study of two tiny models; its folder and further overrides are added."""
    llm = f'"model=qwen2_audio","model.path={tiny_path("qwen2_audio")}","{READOUTS}"'
    prompts = '"prompt=[instruction/probability_dict,instruction/single_word]"'
    limits = ",".join(f'"readout.{name}.max_new_tokens={tokens}"' for name, tokens in LENGTHS.items())
    return [
        "probe",
        "experiment=text_against_tokens",
        f"study.parts.{PART}=[{llm},{prompts},{limits}]",
        f'study.parts.{OTHER}=["model=whisper","model.path={tiny_whisper_path}","prompt=speaker_feeling"]',
        "study.cells=[" + ",".join(f'"{cell}"' for cell in CELLS) + "]",
        "model.device=cpu",
        "dataset.limit=24",
        "trainer.accelerator=cpu",
        "trainer.enable_progress_bar=false",
        "analysis.resamples=200",
    ]


@pytest.fixture(scope="module")
def finished(command, tmp_path_factory):
    """A finished study, and what it printed."""
    folder = tmp_path_factory.mktemp("text_against_tokens") / "study"
    done = alone(*command, "logger=csv", f"hydra.run.dir={folder}")
    assert done.status == 0, done.out[-2000:] + done.err[-4000:]
    return folder, done.out


def distances(folder, part, **cell):
    """JS of every clip to the votes, by SciPy, from what the part wrote; NaN where there is no distribution."""
    rows = pd.read_parquet(folder / part / "predictions.parquet")
    for name, value in {"calibration": "none", **cell}.items():
        rows = rows[rows[name].astype(str) == value]
    assert rows["utterance_id"].is_unique
    pred, target = (rows[[f"{prefix}_{label}" for label in EMOTIONS]].to_numpy(float) for prefix in ("p", "target"))
    return pd.Series(jensenshannon(pred, target, base=2, axis=1) ** 2, index=rows["utterance_id"])


def test_the_numbers_are_those_of_the_parts(finished):
    folder, _ = finished
    frame = pd.read_csv(folder / "text_against_tokens.csv")
    readouts = frame[frame["kind"].isin(["written", "tokens"])]
    assert list(readouts["part"].unique()) == [PART, OTHER]
    for row in readouts.to_dict("records"):
        names = ("prompt", "readout", "variant", "calibration")
        found = distances(folder, row["part"], **{name: row[name] for name in names})
        assert row["num_clips"] == len(found) == 24
        assert row["num_failed"] == found.isna().sum()
        table = pd.read_csv(folder / row["part"] / "metrics.csv")
        (own,) = table[(table[list(names)] == [row[name] for name in names]).all(axis=1)].to_dict("records")
        if row["num_failed"] == 24:
            assert np.isnan([row["js_divergence"], row["range"], row["wa"]]).all()
            continue
        assert row["js_divergence"] == pytest.approx(found.mean())
        assert row["range"] == own["share_of_range_js_divergence"]
        assert row["wa"] == own["wa"]
        for end in ("js_divergence_low", "js_divergence_high"):
            assert row[end] == own[end]
    assert list(frame["name"][-3:]) == ["floor: uniform", "floor: prior", "ceiling: human"]
    assert list(frame["range"][-2:]) == [0, 1]
    uniform = frame[frame["name"] == "floor: uniform"]["js_divergence"].item()
    votes = pd.read_parquet(folder / PART / "predictions.parquet").drop_duplicates("utterance_id")
    votes = votes[[f"target_{label}" for label in EMOTIONS]].to_numpy(float)
    assert uniform == pytest.approx(np.mean(jensenshannon(votes, np.full_like(votes, 1 / 6), base=2, axis=1) ** 2))


def test_the_difference_is_of_the_clips_that_have_both_and_that_of_emoprobe_compare(finished):
    folder, out = finished
    frame = pd.read_csv(folder / "text_against_tokens.csv")
    row = frame[frame["num_both"].notna() & (frame["part"] == PART)].iloc[0]
    assert (row["readout"], row["prompt"]) == ("constrained_text", "probability_dict")
    tokens = frame[(frame["kind"] == "tokens") & (frame["part"] == PART)].iloc[0]
    assert row["against"] == tokens["name"]
    written = distances(folder, PART, readout="constrained_text", variant="constrained", prompt="probability_dict")
    held = distances(folder, PART, readout=tokens["readout"], variant=tokens["variant"], prompt="single_word")
    both = pd.concat([written, held], axis=1).dropna()
    assert 0 < row["num_both"] == len(both) == 24 - row["num_failed"]
    assert row["difference"] == pytest.approx((both[0] - both[1]).mean())
    names = ("readout", "prompt", "variant", "calibration")
    cells = [",".join(f"{name}={each[name]}" for name in names) for each in (row, tokens)]
    (test,) = compare_runs([folder / PART], cells).to_dict("records")
    sign = 1 if "constrained" in test["a"] else -1
    assert row["difference"] == pytest.approx(sign * test["difference"])
    ends = sorted((sign * test["low"], sign * test["high"]))
    assert [row["difference_low"], row["difference_high"]] == pytest.approx(ends)
    assert test["num_utterances"] == row["num_both"]
    said = " ".join(out.split())
    assert f"on the {len(both)} of 24 clips where both have a distribution" in said
    assert f"{OTHER}: nothing that it writes states a distribution (parsed 0 of 24, 24 truncated)" in said


def test_it_ends_in_the_table_and_where_the_page_lies(finished):
    folder, out = finished
    table = out[out.rindex("how it went") :]
    assert all(len(line) <= 100 for line in table.split("Results")[0].splitlines())
    last = [line for line in out.splitlines() if line.strip()][-1]
    assert last.startswith(f"Written  {folder / 'report' / 'index.html'}")
    page = (folder / "report" / "index.html").read_text()
    assert "constrained_text" in page
    assert "tiny" not in (folder / "text_against_tokens.md").read_text()
    assert f"| **{OTHER}** | | | | |" in (folder / "text_against_tokens.md").read_text()
    assert (folder / "text_against_tokens.png").stat().st_size > 10_000
    assert list(folder.rglob("csv")), "the tracker has nothing"
    for part in (PART, OTHER):
        assert (folder / part / "metrics.json").is_file()


@pytest.mark.parametrize("width", [80, 100])
def test_names_break_between_words_only(width, finished):
    folder, _ = finished
    frame = contrast_frame({part: open_folder(folder / part) for part in (PART, OTHER)}, CELLS)
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(contrast_table(frame, width))
    text = console.export_text()
    assert max(len(line.rstrip()) for line in text.splitlines()) <= width
    words = set(text.split())
    for row in frame.to_dict("records"):
        assert set(row["name"].replace(",", "").split()) <= {word.strip(",*") for word in words} | words
    assert "batch-calibrated*" in words
    assert "parsed 0 of 24" in text
    assert text.index("─") < text.index("floor: uniform")


def test_what_is_concluded_says_who_is_closer_whoever_wins(finished):
    row = {"part": "mine", "name": "written: dict", "against": "tokens: word", "num_clips": 64, "num_failed": 3}
    row |= {"num_both": 61.0, "went": "parsed 61 of 64, 3 ambiguous"}

    def said(difference, low, high, **other):
        ends = {"difference": difference, "difference_low": low, "difference_high": high}
        (sentence,) = conclusions(pd.DataFrame([row | ends | other]))
        return sentence

    where = "in JS, paired, on the 61 of 64 clips where both have a distribution."
    assert said(0.15, 0.12, 0.18) == (
        f"mine: its tokens (word) are 0.150 [0.120, 0.180] closer to the raters than what it writes (dict), {where}"
    )
    assert said(-0.15, -0.18, -0.12) == (
        f"mine: what it writes (dict) is 0.150 [0.120, 0.180] closer to the raters than its tokens (word), {where}"
    )
    assert "not surely apart: JS differs by +0.010 [-0.020, +0.040]" in said(0.01, -0.02, 0.04)
    assert "(no interval: one speaker)" in said(0.01, np.nan, np.nan)
    assert "nothing that it writes states a distribution" in said(np.nan, np.nan, np.nan, num_failed=64, num_both=0.0)


def test_an_interrupted_study_goes_on_to_the_same_table(command, finished, console):
    folder, _ = finished
    before = pd.read_csv(folder / "text_against_tokens.csv")
    other = folder.parent / "again"
    shutil.copytree(folder, other)
    shutil.rmtree(other / OTHER)
    shutil.rmtree(other / "report")
    done = console(*command, "logger=none", f"hydra.run.dir={other}")
    assert done.status == 0, done.out[-2000:] + done.err[-4000:]
    assert done.out.count("Finished before with the same settings") == 1
    pd.testing.assert_frame_equal(pd.read_csv(other / "text_against_tokens.csv"), before)
    changed = ["labels=basic4", "dataset.soft_label.outside=drop"]
    refused = console(*command, "logger=none", f"hydra.run.dir={other}", *changed)
    assert refused.status == 2
    assert "this output folder holds scores of another configuration" in refused.err


REFUSED = [
    (["model=whisper_tiny_en"], f"the part {PART} has a model of its own (field model)"),
    (["prompt=voice_sounds"], "has a prompt of its own (field prompt)"),
    ([f'study.parts.{OTHER}=["model=whisper_base","batch_size=many"]'], "'many' is not a whole number"),
    ([f'study.parts.{OTHER}=["model=whisper_base","dataset.limit=3"]'], "differ in their dataset (field study.parts"),
    ([f'study.parts.{OTHER}=["experiment=text_against_tokens"]'], f"the part {OTHER} is a study itself"),
    (['+study.parts.report=["model=whisper_base"]'], "'report' cannot be the folder of a part (field study.parts)"),
    (['study.cells=["likelihood"]'], "'likelihood' is no choice of cells (field study.cells)"),
    (["study.parts=null"], "null is not a mapping from names to overrides of emoprobe probe (field study.parts)"),
]


@pytest.mark.parametrize(("overrides", "message"), REFUSED)
def test_what_is_wrong_is_refused_before_any_model_is_asked(overrides, message, console, tmp_path):
    done = console("probe", "experiment=text_against_tokens", "logger=none", f"hydra.run.dir={tmp_path}", *overrides)
    assert done.status == 2
    assert message in done.err
    assert done.err.count("\n") == 1
    assert not list(tmp_path.rglob("run.json"))


def test_another_process_of_the_study_is_refused(console, tmp_path, monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "1")
    done = console("probe", "experiment=text_against_tokens", "logger=none", f"hydra.run.dir={tmp_path}")
    assert done.status == 2
    assert "a study of several runs is one process (field study)" in done.err


def test_a_study_is_the_command_s(console, tmp_path):
    import emoprobe
    from emoprobe.errors import InputError

    with pytest.raises(InputError, match=r"a study is several runs.*emoprobe probe"):
        emoprobe.probe(overrides=["experiment=text_against_tokens"])
    done = console("train", "experiment=text_against_tokens", f"hydra.run.dir={tmp_path}")
    assert done.status == 2
    assert "text_against_tokens is an experiment of emoprobe probe (field experiment)" in done.err


@pytest.mark.slow
def test_two_processes_make_the_table_of_one(command, finished, tmp_path):
    folder, _ = finished
    done = alone(*command, "logger=none", *TWO, f"hydra.run.dir={tmp_path}")
    assert done.status == 0, done.out[-2000:] + done.err[-4000:]
    frames = [pd.read_csv(place / "text_against_tokens.csv") for place in (folder, tmp_path)]
    pd.testing.assert_frame_equal(*frames, atol=1e-4)


@pytest.mark.slow
def test_a_sweep_over_studies_has_one_table_each(command, tmp_path, console):
    swept = ["logger=none", "dataset.limit=16,20", f"hydra.sweep.dir={tmp_path}"]
    done = console("probe", "-m", *command[1:], *swept)
    assert done.status == 0, done.out[-2000:] + done.err[-4000:]
    for job, clips in ((0, 16), (1, 20)):
        frame = pd.read_csv(tmp_path / str(job) / "text_against_tokens.csv")
        assert frame["range"].isna().all() == (clips < 20)  # no ceiling, and so no range
        assert set(frame[frame["kind"] == "tokens"]["num_clips"]) == {clips}
