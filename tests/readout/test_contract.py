"""What every readout keeps: its name, its columns, and distributions of what it has stored, read without torch."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from classes import write_classifier

from emoprobe.labels import LabelSet
from emoprobe.models.load_encoder import load_encoder
from emoprobe.prompts.prompt import make_prompts
from emoprobe.readout.base import READOUTS, PromptReadout, SoundReadout, make_readouts
from emoprobe.readout.scoring.plan import make_plan
from emoprobe.readout.scoring.read import read, read_sounds
from emoprobe.run.scores import OF_EVERY_READOUT, schema
from emoprobe.settings import compose, plain

LABELS = LabelSet("two", ("happy", "sad"), {"happy": {"adjective": ["happy"]}, "sad": {"adjective": ["sad"]}})
NAMES = sorted(READOUTS)


@pytest.fixture(scope="module")
def stored(tiny_llm, voices, tmp_path_factory) -> dict[str, list[dict]]:
    """Rows of every readout, as its config asks for them, about two clips."""
    sfm = tiny_llm("qwen2_audio")
    prompt = {"family": "instruction", "instruction": "Which of {labels}?"}
    plan = make_plan(sfm, make_prompts({"p": prompt}, LABELS)[0], LABELS)
    config = compose([f"readout=[{','.join(NAMES)}]"])
    readouts = make_readouts(plain(config.readout))
    asking = [readout for readout in readouts if isinstance(readout, PromptReadout)]
    clips = read(sfm, sfm.encode(voices[:2]), [plan], asking, ["a", "b"])
    folder = write_classifier(tmp_path_factory.mktemp("classes"), ("happy", "sad"))
    classified = load_encoder("tiny", path=folder, device="cpu")
    listening = [each.of(classified, LABELS) for each in readouts if isinstance(each, SoundReadout)]
    clips += read_sounds(classified, voices[:2], listening, LABELS.hash)
    assert len(asking) + len(listening) == len(readouts)
    rows = [row for clip in clips for row in clip]
    return {name: [row for row in rows if row["readout"] == name] for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_its_name_is_that_of_its_file_and_of_its_config(name):
    assert READOUTS[name].name == name
    assert READOUTS[name].__module__ == f"emoprobe.readout.{name}"
    assert list(compose([f"readout={name}"]).readout) == [name]


@pytest.mark.parametrize("name", NAMES)
def test_it_stores_the_columns_that_it_declares(name, stored):
    own = {each.name for each in READOUTS[name].columns}
    for row in stored[name]:
        assert set(row) - set(OF_EVERY_READOUT.names) == own


@pytest.mark.parametrize("name", NAMES)
def test_what_it_has_stored_becomes_distributions(name, stored):
    readout = READOUTS[name]
    rows = pa.Table.from_pylist(stored[name], schema=schema(frozenset(each.name for each in readout.columns)))
    assert not any(found.wrong.any() for found in readout.contradictions(rows))
    options = None if readout.analysis is None else readout.analysis()
    readings = readout.read(rows, LABELS, options)
    assert len({reading.variant for reading in readings}) == len(readings) > 0
    for reading in readings:
        found = reading.derive(rows)
        assert found.probs.shape == (2, 2)
        usable = np.isfinite(found.probs).all(axis=1)
        np.testing.assert_allclose(found.probs[usable].sum(axis=1), 1)
        assert all(good or status != "ok" for status, good in zip(found.status, usable, strict=True))
        assert reading.stated == (readout.channel == "text") == (reading.texts is not None)
        if reading.form_scores is not None:
            assert reading.form_scores(rows).shape == (2, 2)


def test_they_are_read_without_torch():
    code = (
        "import sys\nfrom emoprobe.readout.base import READOUTS\nfrom emoprobe.analysis import derive\n"
        "assert len(READOUTS) > 5\nprint(sorted({'torch', 'lightning', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == "[]"
