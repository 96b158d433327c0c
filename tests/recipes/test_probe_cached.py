"""A run with a score cache: the rows of a run without one; asked is what nobody has asked before, and nothing else."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import soundfile
import torch
from scoring import write_corpus

from emoprobe.models.load import load_cascade, load_transcriber
from emoprobe.readout.base import make_readouts
from emoprobe.readout.scoring import module
from emoprobe.readout.scoring.cached import cell_keys, facts_of
from emoprobe.readout.scoring.plan import Plans
from emoprobe.recipes import probe
from emoprobe.recipes.settings import ProbeSettings, read_probe
from emoprobe.run.scores import read_scores
from emoprobe.settings import compose

KEY = ["input", "draw", "utterance_id", "prompt", "readout"]
DRAWN = ["readout=[label_likelihood,sampled_text]", "readout.sampled_text.samples=2"]
DRAWN += ["readout.sampled_text.max_new_tokens=3"]


def config(model: Path, manifest: Path, output: Path, *overrides: str) -> ProbeSettings:
    own = [f"model.path={model}", "model.device=cpu", "dataset=manifest", f"dataset.path={manifest}"]
    own += [f"output_dir={output}", "null_inputs.seconds=0.5", "null_inputs.noise_draws=2", "calibration=none"]
    own += ["logger=none", "analysis.figures=false", "analysis.resamples=20", "trainer.enable_progress_bar=false"]
    return read_probe(compose([*own, "prompt=[voice_sounds,bare_label]", *overrides]))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus"), count=5)


@pytest.fixture
def asked(monkeypatch) -> list[tuple[int, int, int]]:
    """Clips, prompts and readouts of every time that the model is asked."""
    calls = []

    def read(sfm, context, plans, readouts, sounds):
        calls.append((context.size, len(plans), len(readouts)))
        return ours(sfm, context, plans, readouts, sounds)

    ours = module.read
    monkeypatch.setattr(module, "read", read)
    return calls


def rows(folder: Path) -> list[dict]:
    table = read_scores(folder).to_pandas().sort_values(KEY).to_dict("records")
    return [{name: str(value) for name, value in row.items()} for row in table]


def test_only_what_is_new_is_asked_and_the_rows_are_the_same(tiny_whisper_path, corpus, tmp_path, asked, capsys):
    def run(name: str, *more: str) -> Path:
        asked.clear()
        return probe.run(
            config(
                tiny_whisper_path,
                corpus,
                tmp_path / name,
                *(more if any("readout" in each for each in more) else [*DRAWN, *more]),
            )
        )

    cached = f"cache.scores={tmp_path / 'cache'}"
    plain = rows(run("plain"))
    cold = run("cold", cached)
    assert rows(cold) == plain
    capsys.readouterr()
    warm = run("warm", cached, "batch_size=2")
    assert asked == []
    assert "from the score cache: 36 rows" in capsys.readouterr().out  # (5 clips + 4 null inputs) x 2 prompts x 2
    assert rows(warm) == plain
    more = run("more", cached, "prompt=[voice_sounds,bare_label,speaker_feeling]")
    assert {(prompts, readouts) for _, prompts, readouts in asked} == {(1, 2)}
    assert [row for row in rows(more) if row["prompt"] != "speaker_feeling"] == plain
    assert "from the score cache: 36 rows" in capsys.readouterr().out
    run(
        "another readout",
        cached,
        "readout=[label_likelihood,generated_text]",
        "readout.generated_text.max_new_tokens=4",
    )
    assert {(prompts, readouts) for _, prompts, readouts in asked} == {(2, 1)}
    folder = run("another clip", cached, f"dataset.path={_with_another(corpus, tmp_path / 'more clips')}")
    assert {clips for clips, _, _ in asked} == {1}  # the one that was added
    assert len(rows(folder)) == len(plain) + 4


def _with_another(corpus: Path, folder: Path) -> Path:
    shutil.copytree(corpus.parent, folder)
    sound, rate = soundfile.read(folder / "0.wav")
    soundfile.write(folder / "new.wav", sound[::-1], rate)
    with (folder / corpus.name).open("a") as handle:
        handle.write("new.wav,new,s9,test,3,3,3,0,0,0\n")
    return folder / corpus.name


def test_a_damaged_cache_gives_the_same_rows(tiny_whisper_path, corpus, tmp_path, capsys):
    def run(name: str) -> list[dict]:
        cached = f"cache.scores={tmp_path / 'cache'}"
        return rows(probe.run(config(tiny_whisper_path, corpus, tmp_path / name, *DRAWN, cached)))

    first = run("first")
    for file in (tmp_path / "cache").glob("*/*.parquet"):
        file.write_bytes(file.read_bytes()[:100])
    assert run("second") == first
    assert "is set aside" in capsys.readouterr().out


# -- the key, field by field -------------------------------------------------------------------------------------------


@pytest.fixture
def sfm(tiny_whisper_path):
    return load_transcriber("", path=tiny_whisper_path, device="cpu")


def _another_weight(sfm) -> None:
    with torch.no_grad():
        next(iter(sfm.model.parameters())).view(-1)[5] += 1e-3


MODEL_FIELDS = {
    "weights": _another_weight,
    "config": lambda sfm: setattr(sfm.model.config, "scale_embedding", not sfm.model.config.scale_embedding),
    "generation": lambda sfm: setattr(sfm.model.generation_config, "suppress_tokens", [1]),
    "attention": lambda sfm: setattr(sfm.model.config, "_attn_implementation", "eager"),
    "revision": lambda sfm: setattr(sfm, "revision", "another"),
    "dtype": lambda sfm: setattr(sfm, "dtype", "bfloat16"),
    "context": lambda sfm: setattr(sfm, "context", "clip"),
}


@pytest.mark.parametrize("name", MODEL_FIELDS)
def test_every_field_of_a_model_counts(sfm, name):
    before = facts_of(sfm, "{}")
    MODEL_FIELDS[name](sfm)
    assert facts_of(sfm, "{}")[name] != before[name]


def test_weights_that_changed_places_count(sfm):
    before = facts_of(sfm, "{}")
    weight = max(sfm.model.parameters(), key=torch.Tensor.numel)
    with torch.no_grad():
        weight[[5, 6]] = weight[[6, 5]]  # what adds up to the same
    assert facts_of(sfm, "{}")["weights"] != before["weights"]


def test_versions_count_and_names_do_not(sfm):
    before = facts_of(sfm, "{}")
    assert facts_of(sfm, '{"torch": "3"}') != before
    sfm.name = "called otherwise"
    assert facts_of(sfm, "{}") == before


def test_a_cascade_is_its_transcriber_too(tiny_chat_path, tiny_whisper_path):
    sfm = load_cascade("", path=tiny_chat_path("llama"), transcriber={"path": tiny_whisper_path}, device="cpu")
    before = facts_of(sfm, "{}")
    _another_weight(sfm.parts[0])
    assert facts_of(sfm, "{}") != before


def keys(sfm, **changed: object) -> list[str]:
    """Keys of one sound under one prompt by two readouts, one of them drawn."""
    said = {"heard": "h", "sound": "s", "prompt": {}, "labels": (), "readout": {}} | changed
    composed = config(Path("m"), Path("c"), Path("o"), "prompt=voice_sounds", *said["labels"])
    plan = Plans(sfm, [replace(composed.prompts[0], **said["prompt"])], composed.labels).shared[0]
    readouts = make_readouts({"label_likelihood": {}, "sampled_text": {"samples": 2} | said["readout"]})
    return cell_keys(said["heard"], said["sound"], [(plan, readout) for readout in readouts], composed.labels.hash)


@pytest.mark.parametrize(
    ("changed", "differ"),
    [
        ({"heard": "another"}, (True, True)),
        ({"sound": "another file of it"}, (False, True)),  # draws have the file's seeds
        ({"prompt": {"template": "A {label} voice."}}, (True, True)),
        ({"prompt": {"name": "renamed"}}, (False, False)),
        ({"labels": ["labels=basic4"]}, (True, True)),
        ({"labels": ["labels.forms=capitalised"]}, (True, True)),
        ({"readout": {"temperature": 0.5}}, (False, True)),
        ({"readout": {"seed": 1}}, (False, True)),
        ({"readout": {"max_new_tokens": 9}}, (False, True)),
    ],
    ids=str,
)
def test_every_field_of_a_cell_counts(sfm, changed, differ):
    pairs = zip(keys(sfm), keys(sfm, **changed), strict=True)
    assert tuple(one != two for one, two in pairs) == differ
