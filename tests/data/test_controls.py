"""Controls: who lends to whom, what a changed sound is, and the contrary of how a clip sounds."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from emoprobe.data.controls import Control, donors, opposite, shuffled
from emoprobe.data.corpora.demo import read_demo
from emoprobe.data.policy import SoftLabelPolicy
from emoprobe.data.prepare import prepare
from emoprobe.errors import InputError
from emoprobe.recipes.settings import read_dataset, read_labels, read_train
from emoprobe.settings import compose


def test_each_clip_borrows_from_one_of_another_emotion_whatever_the_order():
    rng = np.random.default_rng(0)
    tops = {f"u{i}": frozenset(rng.choice(4, rng.integers(1, 3), replace=False).tolist()) for i in range(60)}
    found = donors(tops)
    assert set(found) == set(tops)
    assert not any(tops[name] & tops[donor] for name, donor in found.items())
    assert donors(dict(reversed(tops.items()))) == found
    assert donors(tops, seed=1) != found
    with pytest.raises(InputError, match="no clip is of another emotion than 'a'"):
        donors({"a": frozenset({1}), "b": frozenset({1, 2})})


def test_shuffled_segments_are_the_same_ones_in_another_order():
    samples = np.arange(1050.0)[:, None]
    found = shuffled(samples, 100, np.random.default_rng(0))
    assert sorted(found[:, 0]) == list(range(1050))
    assert not np.array_equal(found, samples)
    starts = np.flatnonzero(np.diff(found[:, 0]) != 1) + 1
    assert {int(found[start, 0]) % 100 for start in starts} == {0}


def test_the_contrary_of_how_a_clip_sounds():
    said = "pitch: low, moderately varied; energy: medium; speaking rate: high"
    assert opposite(said) == "pitch: high, moderately varied; energy: medium; speaking rate: low"
    assert opposite("pitch: not measurable; energy: low; speaking rate: medium").startswith("pitch: not measurable; en")
    assert opposite("pitch: high, monotone; energy: high; speaking rate: low") == (
        "pitch: low, varied; energy: low; speaking rate: high"
    )


def control(name: str) -> Control:
    return read_dataset(compose([f"control={name}"])).control


@pytest.mark.parametrize("name", ["sound_shuffled", "silence", "sound_of_another", "words_of_another", "no_sound"])
def test_one_channel_is_changed_and_the_votes_stay(name, tmp_path, monkeypatch):
    monkeypatch.setenv("EMOPROBE_CACHE", str(tmp_path))
    corpus = read_demo()
    prepared = prepare(corpus, read_labels(compose([])), SoftLabelPolicy(), limit=12)
    changed = control(name).of_prepared(prepared)
    assert control(name).of_prepared(prepared) == changed
    for before, after in zip(prepared.items, changed.items, strict=True):
        mine, theirs = before.utterance, after.utterance
        assert (mine.id, mine.votes, mine.speaker) == (theirs.id, theirs.votes, theirs.speaker)
        assert np.array_equal(before.target.distribution, after.target.distribution)
        assert (theirs.audio != mine.audio) == name.startswith(("sound", "silence"))
        assert (theirs.transcript != mine.transcript) <= (name == "words_of_another")
        assert (theirs.donor is not None) == name.endswith("another")
        if name in ("sound_shuffled", "silence"):
            (old, rate), (new, same) = soundfile.read(mine.audio, dtype="float32"), soundfile.read(theirs.audio)
            assert (rate, len(old)) == (same, len(new))
            assert np.array_equal(np.sort(old), np.sort(new)) if name == "sound_shuffled" else not new.any()
            assert not np.array_equal(old, new)
    named = control(name).of_corpus(corpus)
    assert (named.card.name, control(name).of_corpus(named)) == (f"{corpus.card.name}+{name}", named)
    assert "CONTROL" in named.card.title


def test_nothing_is_changed_by_default_and_a_control_has_a_name():
    corpus = read_demo()
    prepared = prepare(corpus, read_labels(compose([])), SoftLabelPolicy(), limit=4)
    assert Control().of_prepared(prepared) is prepared
    assert Control().of_corpus(corpus) is corpus
    with pytest.raises(InputError, match=r"'own' changes something.*dataset\.control\.name"):
        Control(sound="shuffled")
    with pytest.raises(InputError, match="'mine' changes nothing"):
        Control(name="mine")


def test_a_training_takes_none():
    with pytest.raises(InputError, match=r"controls change what a probe is given.*head=bundle"):
        read_train(compose(["+control=silence", "output_dir=o"], "train"))
