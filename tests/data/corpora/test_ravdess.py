"""RAVDESS: names of files, folders and links, damage."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from copies import ravdess as copy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emoprobe.data.corpora.ravdess import CARD, TOTALS, read_ravdess
from emoprobe.data.utterance import Corpus
from emoprobe.errors import InputError

WORDS = ["neutral", "calm", "happy", "sad", "anger", "fear", "disgust", "surprise"]


@pytest.fixture
def ravdess(tmp_path: Path) -> Path:
    root = tmp_path / "ravdess"
    copy.write(root)
    return root


# -- reading -----------------------------------------------------------------------------------------------------------


def test_a_clip(ravdess: Path):
    corpus = read_ravdess(ravdess)
    clip = corpus.utterances[12]
    assert (clip.id, clip.speaker, clip.split) == ("03-01-05-02-02-01-01", "01", None)
    assert (clip.votes, clip.num_raters, clip.ratings) == ({"anger": 1.0}, 1, ())
    assert clip.transcript == "Dogs are sitting by the door"
    assert clip.audio == clip.file == ravdess / "Actor_01" / "03-01-05-02-02-01-01.wav"
    assert clip.metadata == {
        "acted_emotion": "anger",
        "intensity": "strong",
        "statement": 2,
        "repetition": 1,
        "gender": "male",
    }
    assert (corpus.card, corpus.skipped, len(corpus.utterances)) == (CARD, (), 24)


def test_all_clips(ravdess: Path):
    utterances = read_ravdess(ravdess).utterances
    assert {u.speaker: u.metadata["gender"] for u in utterances} == {"01": "male", "02": "female", "24": "female"}
    assert {u.audio.suffix for u in utterances} == {".wav", ".flac"}


def test_songs(ravdess: Path):
    songs = read_ravdess(ravdess, channel="song").utterances
    assert [(u.id, *u.votes) for u in songs] == [
        ("03-02-03-01-01-01-01", "happy"),
        ("03-02-04-02-02-02-02", "sad"),
    ]


def test_a_whole_copy_has_the_published_totals(tmp_path: Path):
    for actor in range(1, 25):
        for emotion in range(1, 9):
            for intensity in (1,) if emotion == 1 else (1, 2):
                for take in ("01-01", "01-02", "02-01", "02-02"):
                    (tmp_path / f"03-01-{emotion:02}-{intensity:02}-{take}-{actor:02}.wav").touch()
    corpus = read_ravdess(tmp_path)
    assert [total.count(corpus) for total in TOTALS] == [total.expected for total in TOTALS]
    assert [total.expected for total in TOTALS] == [1440, 24, 96, *[192] * 7]


def test_any_depth_suffixes_in_any_case_and_hidden_files(ravdess: Path):
    shutil.move(ravdess / "Actor_01", ravdess / "speech" / "men" / "Actor_01")
    file = ravdess / "Actor_02" / "03-01-01-01-02-01-02.wav"
    file.rename(file.with_suffix(".WAV"))
    (ravdess / "Actor_02" / "._03-01-01-01-02-01-02.wav").touch()
    (ravdess / "README.txt").touch()
    utterances = {u.id: u for u in read_ravdess(ravdess).utterances}
    assert len(utterances) == 24
    assert utterances[file.stem].audio == file.with_suffix(".WAV")


def test_links_within_the_root(ravdess: Path):
    # A link to a folder that is there anyway gives no second copy, and a circle is not followed.
    (ravdess / "Actor_01").rename(ravdess / "hidden")
    (ravdess / "Actor_01").symlink_to(ravdess / "hidden", target_is_directory=True)
    (ravdess / "Actor_02" / "circle").symlink_to(ravdess, target_is_directory=True)
    clip = ravdess / "Actor_24" / "03-01-01-01-02-01-24.wav"
    clip.rename(ravdess / "elsewhere.bin")
    clip.symlink_to(ravdess / "elsewhere.bin")
    assert len(read_ravdess(ravdess).utterances) == 24


# -- refused -----------------------------------------------------------------------------------------------------------


def test_wrong_option(ravdess: Path, refused):
    call = lambda: read_ravdess(ravdess, channel="video")  # noqa: E731
    refused(call, "unknown channel 'video'", file=None, field="dataset.channel", remedy="Use")


@pytest.mark.parametrize(
    "name",
    [
        "03-01-09-01-01-01-01",
        "03-01-00-01-01-01-01",
        "03-01-05-03-01-01-01",
        "03-01-05-01-03-01-01",
        "03-01-05-01-01-03-01",
        "03-01-05-01-01-01-25",
        "03-01-05-01-01-01-00",
        "04-01-05-01-01-01-01",
        "03-03-05-01-01-01-01",
        "03-01-05-01-01-01",
        "03-01-05-01-01-01-01-01",
        "03-01-05-01-01-01-01 (1)",
        "٠3-01-05-01-01-01-01",
        "noise",
    ],
)
def test_other_names(ravdess: Path, refused, name: str):
    file = ravdess / "Actor_02" / f"{name}.wav"
    file.touch()
    remedy = "Take the file away, or leave it out: dataset.on_error=skip"
    refused(lambda: read_ravdess(ravdess), f"'{name}.wav' is not seven codes", file=file, remedy=remedy)
    corpus = read_ravdess(ravdess, on_error="skip")
    assert len(corpus.utterances) == 24
    assert [(row.id, row.reason, row.file) for row in corpus.skipped] == [(name, "bad_row", str(file))]


def test_two_copies(ravdess: Path, refused):
    # As in a copy that is widely passed on.
    shutil.copytree(ravdess / "Actor_01", ravdess / "audio_speech_actors_01-24" / "Actor_01")
    second = ravdess / "audio_speech_actors_01-24" / "Actor_01" / "03-01-01-01-02-01-01.wav"
    refused(
        lambda: read_ravdess(ravdess),
        f"there twice; the other is {ravdess / 'Actor_01' / second.name}",
        file=second,
        remedy="Set dataset.root to the folder of one copy",
        reason="duplicate_id",
    )
    corpus = read_ravdess(ravdess, on_error="skip")
    assert (len(corpus.utterances), [row.reason for row in corpus.skipped]) == (24, ["duplicate_id"] * 8)
    assert corpus.utterances[0].audio == ravdess / "Actor_01" / second.name


def test_only_video(tmp_path: Path, refused):
    (tmp_path / "01-01-03-01-01-01-01.wav").touch()
    refused(lambda: read_ravdess(tmp_path), "no usable utterance", file=tmp_path, remedy="Restore")


def test_a_linked_folder_that_leaves_the_root(ravdess: Path, tmp_path: Path, refused):
    inside = ravdess / "Actor_24"
    inside.rename(tmp_path / "outside")
    inside.symlink_to(tmp_path / "outside")
    refused(
        lambda: read_ravdess(ravdess), "leaves the root", file=inside, field="path", remedy="Give paths relative to"
    )
    corpus = read_ravdess(ravdess, on_error="skip")
    assert len(corpus.utterances) == 16
    assert [row.file for row in corpus.skipped] == [str(inside)]


# -- any name ----------------------------------------------------------------------------------------------------------


@settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    name=st.one_of(
        st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=9),
        st.from_regex(r"0[0-4](-0[0-9]){5}-[0-2][0-9]", fullmatch=True),
    ),
    on_error=st.sampled_from(["error", "skip"]),
)
def test_any_name(tmp_path_factory: pytest.TempPathFactory, name: str, on_error: str):
    root = tmp_path_factory.mktemp("names")
    file = root / f"{name}.wav"
    file.touch()
    outcome = corpus_or_error(root, on_error)
    if isinstance(outcome, InputError):
        assert outcome.file in (file, root, root / "Actor_01" / "03-01-01-01-01-01-01.wav")
        return
    assert set(outcome.utterances[0].votes) <= set(WORDS)
    assert outcome.utterances[0].id == name


def corpus_or_error(root: Path, on_error: str) -> Corpus | InputError:
    try:
        return read_ravdess(root, on_error=on_error)
    except InputError as error:
        return error
