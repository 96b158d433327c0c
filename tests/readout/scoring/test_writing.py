"""Whoever waits for written answers is told from the first batch on how fast they come and what time is left."""

from __future__ import annotations

import io
import re

import pytest
from tqdm import tqdm

from emoprobe.models.progress import Step, tell, watching
from emoprobe.readout.scoring import writing
from emoprobe.readout.scoring.writing import WritingNote
from emoprobe.recipes import probe as probing
from emoprobe.recipes.settings import read_probe
from emoprobe.settings import compose


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(writing.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def bar(monkeypatch):
    bar = tqdm(total=12, file=io.StringIO(), mininterval=0)
    monkeypatch.setattr(type(bar), "format_dict", {**bar.format_dict, "elapsed": 30.0})
    return bar


def test_the_time_left_is_that_of_the_tokens_that_may_still_be_written(clock, bar):
    """Of 12 clips 4 are asked at once; each may be answered with 50 tokens."""
    note = WritingNote(bar, 4, 200)
    clock[0] += 2  # the sound
    note(Step(asked=4))
    for _ in range(10):
        clock[0] += 0.5
        note(Step(tokens=4, settled=4))
    # 40 of 200 tokens in 7 s, of which 5 were spent writing; the run, at a fifteenth, has taken 30 s.
    assert note.text(clock[0]) == "about 00:28 left of this batch, 07:00 of all, 8 tokens/s, 0 of 4 answers ended"
    note(Step(tokens=2, ended=2, settled=2 + 2 * 40))
    assert "about 00:04 left of this batch" in note.text(clock[0])
    assert "2 of 4 answers ended" in note.text(clock[0])


def test_no_time_is_told_where_none_is_known(clock, bar):
    note = WritingNote(bar, 4, 0)
    note(Step(asked=4))
    clock[0] += 1
    note(Step(tokens=4, settled=4))
    assert note.text(clock[0]) == "4 tokens/s, 0 of 4 answers ended"
    again = WritingNote(bar, 4, 6)  # a batch that is done again in parts: more than was thought
    again(Step(asked=4))
    again(Step(tokens=8, settled=8))
    assert "left" not in again.text(clock[0] + 1)


def test_the_bar_is_drawn_no_more_often_than_it_would_be(clock, bar, monkeypatch):
    bar.mininterval = 1.0
    drawn = []
    monkeypatch.setattr(bar, "set_postfix_str", drawn.append)
    note = WritingNote(bar, 4, 200)
    note(Step(asked=4))
    for _ in range(25):
        note(Step(tokens=4, settled=4))
        clock[0] += 0.125
    assert len(drawn) == 4


def test_who_watches_is_told_and_nobody_else():
    told, inner = [], []
    tell(Step(asked=1))
    with watching(told.append):
        tell(Step(asked=2))
        with watching(inner.append):
            tell(Step(asked=3))
        with watching(None):
            tell(Step(asked=4))
        tell(Step(asked=5))
    tell(Step(asked=6))
    assert [step.asked for step in told] == [2, 5]
    assert [step.asked for step in inner] == [3]


@pytest.mark.parametrize("shown", [True, False])
def test_a_run_tells_from_its_first_batch_on(shown, tiny_path, tmp_path, capsys):
    settings = [
        "model=qwen2_audio",
        f"model.path={tiny_path('qwen2_audio')}",
        "model.device=cpu",
        "dataset=demo",
        f"output_dir={tmp_path / 'run'}",
        "prompt=instruction/single_word",
        "readout=[generated_text,sampled_text]",
        "readout.generated_text.max_new_tokens=3",
        "readout.sampled_text.max_new_tokens=2",
        "readout.sampled_text.samples=2",
        "null_inputs.kinds=[silence]",
        "null_inputs.seconds=0.5",
        "calibration=none",
        "logger=none",
        "analysis.figures=false",
        "analysis.resamples=10",
        "batch_size=2",
        "trainer.accelerator=cpu",
        f"trainer.enable_progress_bar={shown}",
    ]
    probing.run(read_probe(compose(settings)))
    lines = re.split(r"[\r\n]+", capsys.readouterr().err)
    first = [line for line in lines if re.search(r"Scoring: +0%.*left of this batch, .* of all.* answers ended", line)]
    nulls = [line for line in lines if re.search(r"Null inputs: +0%.*left of this batch.* answers ended", line)]
    assert bool(first) == bool(nulls) == shown
    assert any("Scoring" in line for line in lines) == shown
    last = [line for line in lines if re.search(r"Scoring: 100%", line)]
    assert all("answers" not in line for line in last[-1:])
