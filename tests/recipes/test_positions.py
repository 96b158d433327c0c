"""From the probe to the judgement's tables and figures of where the belief sits; no other readout is needed."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from emoprobe.errors import InputError
from emoprobe.recipes import probe as probing
from emoprobe.recipes.judge import judge
from emoprobe.recipes.settings import read_probe
from emoprobe.run.scores import read_scores, schema
from emoprobe.settings import compose

QUICK = ["calibration=none", "null_inputs.kinds=[no_audio]", "logger=none", "analysis.figures=false"]
QUICK += ["analysis.resamples=50", "trainer.enable_progress_bar=false", "dataset.limit=2", "model.device=cpu"]


@pytest.mark.parametrize("kind", ["qwen2_audio", "whisper"])
def test_a_run_is_judged_by_layer_time_and_token(kind, tiny_path, tiny_whisper_path, tmp_path):
    hears = kind == "qwen2_audio"
    model = [f"model={kind}", f"model.path={tiny_path(kind) if hears else tiny_whisper_path}"]
    prompt = "prompt=instruction/single_word" if hears else "prompt=voice_sounds"
    words = [*model, prompt, "readout=layer_positions", "readout.layer_positions.max_new_tokens=3", *QUICK]
    run = probing.run(read_probe(compose([*words, f"output_dir={tmp_path / 'run'}"])))
    assert set(read_scores(run).column_names) - set(schema().names) >= {"position_label_scores", "position_kinds"}
    folder = judge(run, resamples=50, figures=hears, label="sad")
    by_layer = pd.read_csv(folder / "positions_by_layer.csv").set_index(["where", "layer"])
    assert ("sound" in by_layer.index.levels[0]) == hears == (folder / "positions_by_time.csv").is_file()
    rows = [row for row in json.loads((run / "metrics.json").read_text())["rows"] if row["kind"] == "readout"]
    for row in rows:
        found = by_layer.loc[("answer position", int(row["variant"].removeprefix("layer_"))), "js"]
        assert found == pytest.approx(row["metrics"]["js_divergence"], abs=1e-6)
    assert len(rows) == by_layer.loc["answer position"].shape[0]
    with pytest.raises(InputError, match=r"has no 'joy' \(field --label\)\. It has anger"):
        judge(run, label="joy")
    drawn = sorted(str(file.relative_to(folder / "figures").parent) for file in (folder / "figures").rglob("*.png"))
    assert drawn == (["."] + ["positions"] * 2 if hears else [])
