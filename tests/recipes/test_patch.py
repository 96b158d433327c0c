"""One clip's sound in another's place, from the command to its files, against plain scores of the donor's sound."""

from __future__ import annotations

import pandas as pd
import pytest
import torch

from emoprobe.analysis.patching import fitted
from emoprobe.data.corpora.demo import read_demo
from emoprobe.data.sound.audio import read_audio
from emoprobe.labels import LabelSet
from emoprobe.prompts.prompt import make_prompts
from emoprobe.readout.scoring.plan import make_plan
from emoprobe.recipes.settings import read_labels
from emoprobe.settings import compose, plain

ASKED = ["dataset.limit=3", "model.device=cpu"]


@pytest.fixture(scope="module")
def words(tiny_path):
    return ["model=qwen2_audio", f"model.path={tiny_path('qwen2_audio')}", "prompt=instruction/single_word", *ASKED]


def test_the_command_writes_pairs_layers_and_a_figure(words, tiny_llm, tmp_path, console):
    done = console("patch", *words, "--layers", "1,2", "--resamples", "100", "-o", tmp_path / "new")
    assert done.status == 0, done.err
    assert "a clip put into itself changes no log-likelihood by more than" in done.out
    assert "is the last one tried at which another clip's sound moves the belief half of the way" in done.out
    pairs, layers = (pd.read_csv(tmp_path / "new" / f"{name}.csv") for name in ("patching", "patching_layers"))
    assert layers["layer"].tolist() == [0, 1, 2, 3]
    assert layers["share"].iloc[0] == 1
    assert layers["share"].iloc[-1] == 0
    assert len(pairs) == 3 * 4
    assert (tmp_path / "new" / "patching.png").stat().st_size > 10_000
    labels: LabelSet = read_labels(compose(words))
    sfm = tiny_llm("qwen2_audio")
    plan = make_plan(sfm, make_prompts(plain(compose(words).prompt), labels)[0], labels)
    sounds = {u.id: read_audio(u.audio).waveform for u in read_demo().utterances}
    for row in pairs[pairs["layer"].isin([0, 3])].to_dict("records"):
        heard = sounds[row["receiver"]]
        heard = fitted(sounds[row["donor"]], len(heard)) if row["layer"] == 0 else heard
        scores = sfm.score(sfm.encode([torch.from_numpy(heard)]), [plan.question])[0]
        forms = torch.stack([tokens[0].sum() for tokens in scores])
        own = [[i for i, owner in enumerate(plan.labels) if owner == label] for label in labels.labels]
        expected = torch.stack([forms[i].logsumexp(0) for i in own]).softmax(0)
        found = torch.tensor([row[f"p_{label}"] for label in labels.labels], dtype=torch.float32)
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_an_encoder_decoder_is_patched_too(tiny_whisper_path, tmp_path, console):
    words = ["model=whisper", f"model.path={tiny_whisper_path}", "prompt=voice_sounds", *ASKED]
    done = console("patch", *words, "--no-figures", "-o", tmp_path / "new")
    assert done.status == 0, done.err
    assert not (tmp_path / "new" / "patching.png").exists()
    assert (tmp_path / "new" / "patching_layers.csv").is_file()


@pytest.mark.parametrize(
    ("more", "error"),
    [
        (["--layers", "9"], "has no decoder layer 9 (field --layers). Layers are 0 to 3."),
        (["--layers", "a"], "is not numbers with commas between them"),
        (["prompt=instruction/chain_of_thought"], "speaks of the single clip"),
        (["dataset.limit=1"], "1 clips can be heard and 2 are needed"),
    ],
)
def test_what_cannot_be_done_is_one_line(words, more, error, tmp_path, console):
    done = console("patch", *words, *more, "-o", tmp_path / "new")
    assert done.status == 2
    assert error in done.err.splitlines()[-1]
