"""A head is not judged on what it has heard, whatever the names of files, clips, speakers and corpora."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from emoprobe.data.corpora.cremad import CARD as CREMAD
from emoprobe.data.corpora.emobox import CARD as EMOBOX
from emoprobe.data.corpora.manifest import CARD as MANIFEST
from emoprobe.data.prepare import Item
from emoprobe.data.utterance import Corpus, Utterance
from emoprobe.errors import InputError
from emoprobe.recipes import probe as probing
from emoprobe.recipes import train as recipe
from emoprobe.recipes.settings import read_probe, read_train
from emoprobe.run.scores import read_scores
from emoprobe.settings import compose
from emoprobe.training.seen import leave_out_seen, seen_facts


def corpus(folder: Path, card, rows: dict[str, tuple[str | None, str]]) -> Corpus:
    """Id -> speaker and what the file holds."""
    folder.mkdir(parents=True, exist_ok=True)
    utterances = []
    for name, (speaker, sound) in rows.items():
        (folder / f"{name}.wav").write_text(sound)
        utterances.append(Utterance(name, folder / f"{name}.wav", speaker=speaker))
    return Corpus(card, tuple(utterances))


def items(corpus: Corpus, ids=None) -> list[Item]:
    return [Item(utterance, None) for utterance in corpus.utterances if ids is None or utterance.id in ids]


def trained_on(corpus: Corpus, ids) -> dict:
    chosen = items(corpus, ids)
    sounds = {i.utterance.id: hashlib.sha256(i.utterance.audio.read_bytes()).hexdigest() for i in chosen}
    return json.loads(json.dumps(seen_facts(corpus.card, chosen, sounds)))


def reasons(seen, corpus, ids=None) -> dict[str, str]:
    kept, skipped = leave_out_seen(seen, corpus, items(corpus, ids))
    assert {item.utterance.id for item in kept}.isdisjoint(row.id for row in skipped)
    assert len(kept) + len(skipped) == len(items(corpus, ids))
    return {row.id: row.reason for row in skipped}


SOUND, SPEAKER = "seen_in_training", "speaker_seen_in_training"
OWN = {"a1": ("ann", "one"), "a2": ("ann", "two"), "b1": ("bea", "three"), "x": (None, "four"), "y": (None, "five")}


def test_the_same_rows_in_another_manifest_are_known_by_their_sound(tmp_path):
    card = replace(MANIFEST, name="train", title="train (manifest)")
    seen = trained_on(corpus(tmp_path / "mine", card, OWN), {"a1", "x"})
    rows = {f"new-{name}": ("S1" if speaker == "ann" else speaker, sound) for name, (speaker, sound) in OWN.items()}
    again = corpus(tmp_path / "elsewhere", replace(card, name="all", title="all (manifest)"), rows)
    expected = {"new-a1": SOUND, "new-a2": SPEAKER, "new-x": SOUND}
    assert reasons(seen, again) == expected
    assert reasons(seen, again, {"new-a2", "new-b1"}) == {"new-a2": SPEAKER}  # shown by a clip that is not evaluated


def test_strangers_who_share_names_exclude_nobody(tmp_path):
    card = replace(MANIFEST, name="train", title="train (manifest)")
    seen = trained_on(corpus(tmp_path / "mine", card, OWN), {"a1", "b1", "x"})
    theirs = {name: (speaker, f"another {sound}") for name, (speaker, sound) in OWN.items()}
    assert reasons(seen, corpus(tmp_path / "theirs", card, theirs)) == {}


def test_speakers_of_a_published_corpus_are_known_by_name(tmp_path):
    seen = trained_on(corpus(tmp_path / "mine", CREMAD, OWN), {"a1", "x"})
    encoded_anew = {name: (speaker, f"flac of {sound}") for name, (speaker, sound) in OWN.items()}
    assert reasons(seen, corpus(tmp_path / "copy", CREMAD, encoded_anew)) == {"a1": SPEAKER, "a2": SPEAKER, "x": SOUND}
    boxes = [replace(EMOBOX, title=f"EmoBox {name}") for name in ("esd", "ravdess")]  # both number their speakers
    seen = trained_on(corpus(tmp_path / "esd", boxes[0], OWN), {"a1", "x"})
    assert reasons(seen, corpus(tmp_path / "ravdess", boxes[1], encoded_anew)) == {}
    again = corpus(tmp_path / "esd2", boxes[0], encoded_anew)
    assert reasons(seen, again) == {"a1": SPEAKER, "a2": SPEAKER, "x": SOUND}


def test_nothing_left_to_judge_is_an_error(tmp_path):
    seen = trained_on(mine := corpus(tmp_path, replace(MANIFEST, name="train"), OWN), {"a1", "b1", "x", "y"})
    with pytest.raises(InputError, match=r"all 5 clips.*head\.seen=evaluate"):
        leave_out_seen(seen, mine, items(mine))


# From train.py to probe.py.

EMOTIONS = ("anger", "disgust", "fear", "happy", "neutral", "sad")


def write_manifest(file: Path, seed: int, rows) -> Path:
    """Rows of id, speaker and the number of a sound; the seed makes the sounds."""
    file.parent.mkdir(exist_ok=True)
    with file.open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["path", "utterance_id", "speaker", *(f"votes_{name}" for name in EMOTIONS)])
        for name, speaker, sound in rows:
            rng = np.random.default_rng([seed, sound])
            soundfile.write(file.parent / f"{name}.wav", rng.normal(0, 0.1, 6_000 + 100 * sound), 16_000)
            writer.writerow([f"{name}.wav", name, speaker, *([6, 1, 0, 1, 2, 0] if sound % 2 else [0, 0, 1, 1, 2, 6])])
    return file


@pytest.fixture(scope="module")
def settings(tiny_whisper_path, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EMOPROBE_CACHE", str(tmp_path_factory.getbasetemp() / "features"))
        yield [
            *("model=whisper", f"model.path={tiny_whisper_path}", "model.device=cpu", "dataset=manifest"),
            *("logger=none", "analysis.figures=false", "analysis.resamples=20", "trainer.enable_progress_bar=false"),
        ]


def train(settings, manifest, output, *more):
    options = ["head.layers=[-1]", "fit.max_epochs=2", "dataset.partition.folds=3", *more]
    return recipe.run(
        read_train(compose([*settings, f"dataset.path={manifest}", f"output_dir={output}", *options], "train"))
    )


def probe(settings, head, manifest, output):
    more = ["head=bundle", f"head.path={head}", "readout=[]", "null_inputs.kinds=[]", "calibration=none"]
    run = probing.run(read_probe(compose([*settings, *more, f"dataset.path={manifest}", f"output_dir={output}"])))
    skipped = {row["utterance_id"]: row["reason"] for row in csv.DictReader((run / "skipped.csv").open())}
    return set(read_scores(run).to_pandas()["utterance_id"]), skipped


def test_a_bundle_goes_by_sound_and_not_by_file_name(settings, tmp_path):
    rows = [(f"u{i}", f"s{i % 3}", i) for i in range(12)]
    run = train(settings, write_manifest(tmp_path / "mine" / "train.csv", 0, rows), tmp_path / "run")
    tested = set(read_scores(run).to_pandas()["utterance_id"])
    assert len(tested) == 4

    renamed = write_manifest(tmp_path / "again" / "all.csv", 0, [(f"v{i}", f"t{i % 3}", i) for i in range(12)])
    scored, skipped = probe(settings, run / "head_fold0", renamed, tmp_path / "probe1")
    assert scored == {name.replace("u", "v") for name in tested}
    assert set(skipped.values()) == {SOUND}
    assert len(skipped) == 8
    theirs = write_manifest(tmp_path / "theirs" / "train.csv", 1, rows)
    scored, skipped = probe(settings, run / "head_fold0", theirs, tmp_path / "probe2")
    assert (len(scored), skipped) == (12, {})


def test_a_test_clip_that_is_heard_in_training_under_another_id_is_left_out(settings, tmp_path):
    rows = [(f"u{i}", f"s{i % 3}", i) for i in range(12)] + [("twin", "s1", 3)]
    manifest = write_manifest(tmp_path / "data" / "own.csv", 2, rows)
    run = train(settings, manifest, tmp_path / "run", "dataset.fold=all")
    scores = read_scores(run).to_pandas()
    skipped = {row["utterance_id"]: row["reason"] for row in csv.DictReader((run / "skipped.csv").open())}
    assert skipped == {"u3": SOUND, "twin": SOUND}  # of s0 and of s1
    assert sorted(scores["utterance_id"]) == sorted({name for name, _, _ in rows} - set(skipped))


# Interrupted runs take over nothing of another fold.


def test_a_resumed_run_takes_no_head_or_checkpoint_of_another_fold(settings, tmp_path, monkeypatch):
    from emoprobe.training import folds
    from emoprobe.training.fit import ReaderModule

    whole = folds.FoldTraining.train

    manifest = write_manifest(tmp_path / "data" / "own.csv", 3, [(f"u{i}", f"s{i % 3}", i) for i in range(12)])
    options = ["dataset.fold=all", "fit.checkpoint_seconds=0"]
    monkeypatch.setattr(folds.FoldTraining, "train", lambda self, *parts: whole(self, *parts) and 1 / 0)
    with pytest.raises(ZeroDivisionError):
        train(settings, manifest, tmp_path / "run", *options)
    monkeypatch.undo()

    def again():
        train(settings, manifest, tmp_path / "run", *options)

    heads = [tmp_path / "run" / f"head_fold{i}" for i in range(3)]
    shutil.move(heads[0], tmp_path / "kept")
    shutil.copytree(heads[1], heads[0])
    with pytest.raises(InputError, match=r"its partition is another.*into another folder"):
        again()
    shutil.rmtree(heads[0])
    places = [tmp_path / "run" / "checkpoints" / f"fold{i}_member0" / "last.ckpt" for i in range(2)]
    own = places[0].read_bytes()
    shutil.copy(places[1], places[0])
    with pytest.raises(InputError, match=r"checkpoint is of another fit.*Delete it"):
        again()
    places[0].write_bytes(own[: len(own) // 2])
    with pytest.raises(InputError, match=r"checkpoint is damaged.*Delete it"):
        again()
    places[0].write_bytes(own)
    with monkeypatch.context() as patch:
        patch.setattr(ReaderModule, "on_load_checkpoint", lambda self, checkpoint: 1 / 0)
        with pytest.raises(ZeroDivisionError):  # its own is taken
            again()
    again()
    weights = [(folder / "head.safetensors").read_bytes() for folder in (heads[0], tmp_path / "kept")]
    assert weights[0] == weights[1]
    shutil.rmtree(tmp_path / "run" / "checkpoints", ignore_errors=True)
    text = manifest.read_text()
    manifest.write_text(text.replace("6,1,0,1,2,0", "5,2,0,1,2,0", 1))
    with pytest.raises(InputError, match="its clips is another"):
        again()
