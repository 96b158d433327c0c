"""EmoDB: names of files, what listeners recognised, damage."""

from __future__ import annotations

from pathlib import Path

import pytest
from copies import emodb as copy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emoprobe.data.corpora.emodb import CARD, EMOTIONS, SENTENCES, SPEAKERS, TOTALS, read_emodb
from emoprobe.data.utterance import Corpus
from emoprobe.errors import InputError


@pytest.fixture
def emodb(tmp_path: Path) -> Path:
    root = tmp_path / "emodb"
    copy.write(root)
    return root


def listeners(root: Path, *rows: str, header: str = copy.LISTENERS[0]) -> Path:
    file = root / "erkennung.txt"
    file.write_bytes("\n".join((header, *rows, "")).encode("latin-1"))
    return file


# -- reading -----------------------------------------------------------------------------------------------------------


def test_a_clip(emodb: Path):
    corpus = read_emodb(emodb)
    first = corpus.utterances[0]
    assert (first.id, first.speaker, first.split) == ("03a01Wa", "03", None)
    assert (first.votes, first.num_raters, first.ratings) == ({"anger": 1.0}, 1, ())
    assert first.transcript == "Der Lappen liegt auf dem Eisschrank."
    assert first.audio == first.file == emodb / "wav" / "03a01Wa.wav"
    assert first.metadata == {
        "acted_emotion": "anger",
        "sentence": "a01",
        "gender": "male",
        "age": 31,
        "recognised": 1.0,
        "natural": 0.75,
    }
    assert (corpus.card, corpus.skipped) == (CARD, ())


def test_all_clips(emodb: Path):
    utterances = read_emodb(emodb).utterances
    assert [u.metadata.get("recognised") for u in utterances] == [1.0, 0.95, 0.8, None, 0.85, 0.9, 1.0, 0.95]
    assert {u.speaker: (u.metadata["gender"], u.metadata["age"]) for u in utterances} == {
        "03": ("male", 31),
        "08": ("female", 34),
        "14": ("female", 35),
    }


def test_speakers():
    assert {speaker: f"{gender[0]}{age}" for speaker, (gender, age) in SPEAKERS.items()} == {
        "03": "m31",
        "08": "f34",
        "09": "f21",
        "10": "m32",
        "11": "m26",
        "12": "m30",
        "13": "f32",
        "14": "f35",
        "15": "m25",
        "16": "f31",
    }


def test_a_whole_copy_has_the_published_totals(tmp_path: Path):
    counts = {"W": 127, "L": 81, "E": 46, "A": 69, "F": 71, "T": 62, "N": 79}
    for letter, count in counts.items():
        for number in range(count):
            speaker, sentence = list(SPEAKERS)[number % 10], list(SENTENCES)[number // 10 % 10]
            (tmp_path / f"{speaker}{sentence}{letter}{'abcd'[number // 100]}.wav").touch()
    corpus = read_emodb(tmp_path)
    assert [total.count(corpus) for total in TOTALS] == [total.expected for total in TOTALS]
    assert {total.what: total.expected for total in TOTALS if "of" in total.what} == {
        f"clips of {EMOTIONS[letter]}": count for letter, count in counts.items()
    }


def test_without_listeners(emodb: Path):
    (emodb / "erkennung.txt").unlink()
    assert set(read_emodb(emodb).utterances[0].metadata) == {"acted_emotion", "sentence", "gender", "age"}


def test_the_folder_of_sound_itself(emodb: Path):
    corpus = read_emodb(emodb / "wav")
    assert len(corpus.utterances) == 8
    assert "recognised" not in corpus.utterances[0].metadata
    (emodb / "erkennung.txt").rename(emodb / "wav" / "erkennung.txt")
    assert read_emodb(emodb / "wav").utterances[0].metadata["natural"] == 0.75


def test_latin_1(emodb: Path):
    text = "\n".join(("Nr.\tSatz\terkannt\tnatürlich", *copy.LISTENERS[1:], "9\tgröße.wav\t5,00\t5,00", ""))
    (emodb / "erkennung.txt").write_bytes(text.encode("latin-1"))
    assert read_emodb(emodb).utterances[0].metadata["natural"] == 0.75


def test_suffixes_and_hidden_files(emodb: Path):
    (emodb / "wav" / "03a01Wa.wav").rename(emodb / "wav" / "03a01Wa.WAV")
    (emodb / "wav" / "03a02Nc.wav").rename(emodb / "wav" / "03a02Nc.flac")
    (emodb / "wav" / "._03a01Wa.wav").touch()
    (emodb / "wav" / "notes.txt").touch()
    assert [u.audio.name for u in read_emodb(emodb).utterances[:2]] == ["03a01Wa.WAV", "03a02Nc.flac"]


def test_rows_of_clips_that_were_not_published_do_not_matter(emodb: Path):
    listeners(emodb, "1\t03a01Wa.wav\t100\t75", "2\t99x99Qq.wav\t?\t?", "3\t03a01Wa.wav\t100,00\t75,0")
    assert read_emodb(emodb).utterances[0].metadata["natural"] == 0.75


# -- refused -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["01a01Wa", "03a03Wa", "03a01Xa", "03a01W", "03a01WA", "03a01Waa", "3a01Wa", "noise", "٠٣a01Wa"]
)
def test_other_names(emodb: Path, refused, name: str):
    file = emodb / "wav" / f"{name}.wav"
    file.touch()
    remedy = "Take the file away, or leave it out: dataset.on_error=skip"
    refused(lambda: read_emodb(emodb), f"'{name}.wav' is not SPEAKER, SENTENCE", file=file, remedy=remedy)
    corpus = read_emodb(emodb, on_error="skip")
    assert len(corpus.utterances) == 8
    assert [(row.id, row.reason, row.file) for row in corpus.skipped] == [(name, "bad_row", str(file))]


def test_two_copies_of_a_clip(emodb: Path, refused):
    (emodb / "wav" / "03a01Wa.flac").touch()
    file = emodb / "wav" / "03a01Wa.wav"
    what = f"there twice; the other is {file.with_suffix('.flac')}"
    refused(lambda: read_emodb(emodb), what, file=file, remedy="Take one away", reason="duplicate_id")
    corpus = read_emodb(emodb, on_error="skip")
    assert (len(corpus.utterances), [row.id for row in corpus.skipped]) == (8, ["03a01Wa"])


def test_nothing_but_other_names(tmp_path: Path, refused):
    (tmp_path / "noise.wav").touch()
    call = lambda: read_emodb(tmp_path, on_error="skip")  # noqa: E731
    refused(call, "no usable utterance", file=tmp_path, remedy="'noise.wav' is not SPEAKER")


# -- any bytes ---------------------------------------------------------------------------------------------------------


@settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    name=st.one_of(
        st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=9),
        st.from_regex(r"[01][0-9][ab][0-9]{2}[A-Z][a-d]", fullmatch=True),
    )
)
def test_any_name(tmp_path_factory: pytest.TempPathFactory, name: str):
    root = tmp_path_factory.mktemp("names")
    (root / f"{name}.wav").touch()
    outcome = corpus_or_error(root, "error")
    if isinstance(outcome, InputError):
        assert outcome.file in (root / f"{name}.wav", root / "wav" / "03a01Fa.wav")
        return
    assert set(outcome.utterances[0].votes) <= set(CARD.words)
    assert outcome.utterances[0].id == name


def corpus_or_error(root: Path, on_error: str) -> Corpus | InputError:
    try:
        return read_emodb(root, on_error=on_error)
    except InputError as error:
        return error
