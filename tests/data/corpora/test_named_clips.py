"""Corpora whose files say by their names what is felt: real names of each, neighbours of them, folders, texts."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from copies import named
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emoprobe.data.corpora import CORPORA
from emoprobe.data.reading import named_clips
from emoprobe.data.utterance import Corpus, Utterance
from emoprobe.errors import InputError

COPIES = {copy.name: copy for copy in named.COPIES}
NAMES = sorted(COPIES)
each = pytest.mark.parametrize("name", NAMES)


@pytest.fixture
def root(tmp_path: Path, name: str) -> Path:
    root = tmp_path / "corpus"
    COPIES[name].write(root)
    return root


def read(name: str, root: Path, **options: object) -> Corpus:
    return CORPORA[name].read(root, **options)


def one(name: str, *paths: str, top: Path) -> Utterance | InputError:
    """What is read of a folder with these files alone."""
    for path in paths:
        file = top / name / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    try:
        corpus = read(name, top / name)
    except InputError as error:
        return error
    assert len(corpus.utterances) == 1
    return corpus.utterances[0]


# -- what names say ----------------------------------------------------------------------------------------------------

CLIPS = {  # corpus, path -> id, word, speaker, split, transcript, facts
    ("tess", "OAF_angry/OAF_back_angry.wav"): (
        ("OAF_back_angry", "anger", "OAF", None, "Say the word back"),
        {"acted_emotion": "anger", "target_word": "back", "gender": "female", "age": 64},
    ),
    ("tess", "YAF_pleasant_surprised/yaf_DOG_PS.WAV"): (
        ("YAF_dog_ps", "surprise", "YAF", None, "Say the word dog"),
        {"acted_emotion": "surprise", "target_word": "dog", "gender": "female", "age": 26},
    ),
    ("savee", "ALL/DC_sa07.wav"): (
        ("DC_sa07", "sad", "DC", None, None),
        {"acted_emotion": "sad", "sentence": 7, "gender": "male"},
    ),
    ("savee", "AudioData/KL/su01.wav"): (
        ("KL_su01", "surprise", "KL", None, None),
        {"acted_emotion": "surprise", "sentence": 1, "gender": "male"},
    ),
    ("emovo", "EMOVO/m3/tri-m3-n3.wav"): (
        ("tri-m3-n3", "sad", "m3", None, "Il gatto sta scorrendo nella pera."),
        {"acted_emotion": "sad", "sentence": "n3", "gender": "male"},
    ),
    ("subesco", "M_09_SHUMANTA_S_10_SURPRISE_5.wav"): (
        ("M_09_SHUMANTA_S_10_SURPRISE_5", "surprise", "M_09", None, None),
        {"acted_emotion": "surprise", "sentence": 10, "take": 5, "gender": "male"},
    ),
    ("subesco", "F_02_MONIKA_S_2_SURPRISE_3].wav"): (  # so named in the release
        ("F_02_MONIKA_S_2_SURPRISE_3", "surprise", "F_02", None, None),
        {"acted_emotion": "surprise", "sentence": 2, "take": 3, "gender": "female"},
    ),
    ("shemo", "f20n12.flac"): (
        ("F20N12", "neutral", "F20", None, None),
        {"consensus": "neutral", "gender": "female"},
    ),
    ("esd", "Emotion Speech Dataset/0020/Surprise/0020_001420.wav"): (
        ("0020_001420", "surprise", "0020", "development", None),
        {"acted_emotion": "surprise", "language": "english", "sentence": 20, "gender": "male"},
    ),
    ("esd", "0007_000021.wav"): (
        ("0007_000021", "neutral", "0007", "test", None),
        {"acted_emotion": "neutral", "language": "mandarin", "sentence": 21, "gender": "female"},
    ),
}


@pytest.mark.parametrize(("name", "path"), CLIPS, ids=map("-".join, CLIPS))
def test_what_a_name_says(name: str, path: str, tmp_path: Path):
    clip = one(name, path, top=tmp_path)
    (clip_id, word, *rest), facts = CLIPS[name, path]
    assert (clip.id, clip.votes, clip.num_raters) == (clip_id, {word: 1.0}, 1)
    assert [clip.speaker, clip.split, clip.transcript] == rest
    assert clip.metadata == facts
    assert clip.audio == tmp_path / name / path


# -- a whole copy has the published totals -----------------------------------------------------------------------------


def tess() -> list[str]:
    emotions = ("angry", "disgust", "fear", "happy", "neutral", "ps", "sad")
    names = itertools.product(("OAF", "YAF"), [f"w{chr(97 + i // 26)}{chr(97 + i % 26)}" for i in range(200)], emotions)
    return ["_".join(parts) for parts in names]


def savee() -> list[str]:
    counts = dict.fromkeys(("a", "d", "f", "h", "sa", "su"), 15) | {"n": 30}
    return [
        f"{who}_{code}{n:02}" for who in ("DC", "JE", "JK", "KL") for code in counts for n in range(1, counts[code] + 1)
    ]


def emovo() -> list[str]:
    sentences = ("b1", "b2", "b3", "l1", "l2", "l3", "l4", "n1", "n2", "n3", "n4", "n5", "d1", "d2")
    emotions = ("rab", "dis", "pau", "gio", "neu", "tri", "sor")
    return ["-".join(parts) for parts in itertools.product(emotions, ("f1", "f2", "f3", "m1", "m2", "m3"), sentences)]


def subesco() -> list[str]:
    emotions = ("ANGRY", "DISGUST", "FEAR", "HAPPY", "NEUTRAL", "SAD", "SURPRISE")
    return [
        f"{sex}_{number:02}_NAME_S_{sentence}_{emotion}_{take}"
        for sex, number, sentence, emotion, take in itertools.product(
            "FM", range(1, 11), range(1, 11), emotions, range(1, 6)
        )
    ]


def shemo() -> list[str]:
    speakers = [f"F{n:02}" for n in range(1, 32)] + [f"M{n:02}" for n in range(1, 57)]
    counts = {"A": 1059, "F": 38, "H": 201, "N": 1028, "S": 449, "W": 225}
    return [f"{speakers[n % 87]}{letter}{n // 87:02}" for letter, count in counts.items() for n in range(count)]


def esd() -> list[str]:
    return [f"{speaker:04}_{number:06}" for speaker in range(1, 21) for number in range(1, 1751)]


@pytest.mark.parametrize("names", [tess, savee, emovo, subesco, shemo, esd])
def test_a_whole_copy_has_the_published_totals(
    names: Callable[[], list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(named_clips, "_folders", lambda *_: [(Path(), [f"{name}.wav" for name in names()])])
    corpus = read(names.__name__, tmp_path)
    totals = CORPORA[names.__name__].totals
    assert [(total.what, total.count(corpus)) for total in totals] == [(total.what, total.expected) for total in totals]
    assert len(totals) >= 4


def test_half_of_esd(tmp_path: Path):
    for name in ("0001_000001", "0010_001750", "0011_000001", "0020_001750"):
        (tmp_path / f"{name}.wav").touch()
    ids = {
        part: [each.id for each in read("esd", tmp_path, language=part).utterances] for part in ("english", "mandarin")
    }
    assert ids == {"english": ["0011_000001", "0020_001750"], "mandarin": ["0001_000001", "0010_001750"]}
    half = read("esd", tmp_path, language="english")
    assert [total.count(half) for total in CORPORA["esd"].totals] == [None, None, 2, 2]
    with pytest.raises(InputError, match="unknown language 'german'") as caught:
        read("esd", tmp_path, language="german")
    assert caught.value.field == "dataset.language"


# -- names that are none -----------------------------------------------------------------------------------------------

NO_NAMES = {
    "tess": ("OAF_back_calm", "XAF_back_angry", "OAF_angry", "OAF_back_angry (1)", "OAF__angry", "AF_back_angry"),
    "savee": ("a01", "DC_a16", "DC_n31", "DC_a00", "DC_x01", "XX_a01", "DC_a1", "DC_a٠1"),
    "emovo": ("dis-f4-b1", "dis-f1-b4", "dis-f1-x1", "dis_f1_b1", "ang-f1-b1", "dis-f1-b1-2"),
    "subesco": ("X_01_A_S_1_SAD_1", "F_11_A_S_1_SAD_1", "F_00_A_S_1_SAD_1", "F_01_A_S_11_SAD_1", "F_01_A_S_1_CALM_1"),
    "shemo": ("F03X02", "X03S02", "F3S02", "F03S2", "F03S022"),
    "esd": ("0021_000001", "0000_000001", "0001_000000", "0001_001751", "0001-000001", "0001_1"),
}


@pytest.mark.parametrize(("name", "stem"), [(name, stem) for name, stems in NO_NAMES.items() for stem in stems])
def test_other_names_are_refused(name: str, stem: str, root: Path):
    file = root / "other" / f"{stem}.wav"
    file.parent.mkdir()
    file.touch()
    with pytest.raises(InputError) as caught:
        read(name, root)
    error = caught.value
    assert "\n" not in str(error)
    assert (error.file, error.reason) == (file, "bad_row")
    assert repr(file.name) in error.what
    assert "as in " in error.what
    assert "leave it out: dataset.on_error=skip" in error.remedy
    corpus = read(name, root, on_error="skip")
    assert [(row.id, row.file) for row in corpus.skipped] == [(stem, str(file))]
    file.unlink()
    assert corpus.utterances == read(name, root).utterances


ALMOST = {
    "tess": r"(O|Y|X)A?F?_[a-z]{0,3}_(angry|ps|sad|calm|FEAR)[ ]?",
    "savee": r"(DC|JE|XX)?_?(a|su|n|z)[0-9]{1,3}",
    "emovo": r"(dis|gio|xyz)-[fm][0-4]-[bx][0-9]",
    "subesco": r"[FMX]_[01][0-9]_[A-Z]{1,3}_S_1?[0-9]_(SAD|happy|CALM)_[0-7]",
    "shemo": r"[FMX][0-9]{2,3}[AHNX][0-9]{2}",
    "esd": r"00[0-2][0-9]_00[0-2][0-9]{3}",
}


@each
@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_name(tmp_path_factory: pytest.TempPathFactory, name: str, data: st.DataObject):
    any_text = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=9)
    stem = data.draw(any_text | st.from_regex(ALMOST[name], fullmatch=True))
    on_error = data.draw(st.sampled_from(["error", "skip"]))
    root = tmp_path_factory.mktemp("names")
    (root / f"{stem}.wav").touch()
    try:
        corpus = read(name, root, on_error=on_error)
    except InputError as error:
        outcome: Corpus | InputError = error
    else:
        outcome = corpus
    if isinstance(outcome, InputError):
        assert outcome.file.is_relative_to(root)
        assert outcome.remedy
        assert "\n" not in str(outcome)
        return
    (clip,) = outcome.utterances
    assert set(clip.votes) <= set(outcome.card.words)
    assert clip.audio == root / f"{stem}.wav"


CONTRADICTIONS = {
    ("tess", "OAF_sad/OAF_back_angry.wav"): "says anger, and its folder 'OAF_sad' sad",
    ("savee", "AudioData/DC/JE_a01.wav"): "is of JE, and lies in the folder DC",
    ("esd", "0011/Sad/0011_000351.wav"): "says anger, and its folder 'Sad' sad",
    ("esd", "0011/Angry/train/0011_000351.wav"): "says development, and its folder 'train' train",
}


@pytest.mark.parametrize(("name", "path"), CONTRADICTIONS, ids=map("-".join, CONTRADICTIONS))
def test_a_name_and_a_folder_that_contradict_each_other(name: str, path: str, tmp_path: Path):
    error = one(name, path, top=tmp_path)
    assert CONTRADICTIONS[name, path] in error.what
    assert error.file == tmp_path / name / path


# -- folders -----------------------------------------------------------------------------------------------------------


@each
def test_what_macs_and_people_leave_beside(name: str, root: Path):
    expected = read(name, root)
    clip = expected.utterances[0].audio
    (clip.parent / f"._{clip.name}").touch()
    (root / "__MACOSX" / "x").mkdir(parents=True)
    (root / "__MACOSX" / "x" / f"._{clip.name}").touch()
    for junk in (".DS_Store", "ReadMe.txt", "Thumbs.db", f"{clip.stem}.lab"):
        (root / junk).touch()
    assert read(name, root) == expected


@each
def test_one_more_folder_around(name: str, root: Path):
    words = [(each.id, each.votes, each.split) for each in read(name, root).utterances]
    inner = root / "Some Archive (1)" / "inner"
    inner.mkdir(parents=True)
    for entry in list(root.iterdir()):
        if entry != inner.parent:
            entry.rename(inner / entry.name)
    assert [(each.id, each.votes, each.split) for each in read(name, root).utterances] == words


@each
def test_a_second_copy_is_refused(name: str, root: Path):
    expected = read(name, root)
    shutil.copytree(root, root.parent / "again")
    shutil.move(root.parent / "again", root / "corpus")
    with pytest.raises(InputError, match="is there twice; the other is") as caught:
        read(name, root)
    assert caught.value.reason == "duplicate_id"
    assert "Set dataset.root to the folder of one copy" in caught.value.remedy
    corpus = read(name, root, on_error="skip")
    assert [each.id for each in corpus.utterances] == [each.id for each in expected.utterances]
    assert len(corpus.skipped) == len(corpus.utterances)
    assert len(read(name, root / "corpus").utterances) == len(expected.utterances)


# -- texts -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["esd"])
def test_texts_of_esd(root: Path):
    texts = {each.id: each.transcript for each in read("esd", root).utterances}
    assert texts == {
        "0001_000051": "打远一看",
        "0001_000351": "你好",
        "0011_000721": "I say neither yea nor nay.",
        "0011_001057": None,  # its line is damaged, as some of the corpus are
        "0012_000700": None,
        "0012_001451": None,
    }


@pytest.mark.parametrize("name", ["esd"])
@pytest.mark.parametrize(
    ("file", "encoding", "text"),
    [
        ("0001/0001.txt", "gb2312", "0001_000051\t打远一看\t中立\n"),
        ("0001/0001.txt", "utf-16", "0001_000051\t打远一看\t中立\n"),
        ("0001/0001.txt", "utf-8-sig", "0001_000051 打远一看 中立\n"),
        ("0011/0011.txt", "utf-16", "0011_000721\tIt’s in a café.\tHappy\n"),
        ("0011/0011.txt", "latin-1", "0011_000721\tIt's in a caf\u00e9.\tHappy \n"),
    ],
)
def test_encodings_of_the_texts_of_esd(root: Path, file: str, encoding: str, text: str):
    (root / file).write_bytes(text.encode(encoding))
    words = text.strip().replace("\t", " ").split(" ", 1)
    expected = words[1].rsplit(" ", 1)[0]
    assert {each.id: each.transcript for each in read("esd", root).utterances}[words[0]] == expected


@pytest.mark.parametrize("name", ["esd"])
def test_a_text_of_esd_that_contradicts_the_number(root: Path):
    file = root / "0011" / "0011.txt"
    file.write_text("0011_000002\tYes.\tNeutral\n0011_000721\tNo.\tSad\n")
    with pytest.raises(InputError, match="clip 0011_000721 is 'Sad' here, and another emotion by its number") as caught:
        read("esd", root)
    assert (caught.value.file, caught.value.row) == (file, 2)
    assert "it is optional" in caught.value.remedy


@pytest.mark.parametrize("name", ["shemo"])
def test_texts_of_shemo(root: Path):
    texts = {each.id: each.transcript for each in read("shemo", root).utterances}
    assert texts["F21N37"] == "سلام"
    assert texts["F03A01"] is None
    file = root / "shemo.json"
    clips = json.loads(file.read_text(encoding="utf-8"))
    for change, what in (
        (
            {"F21N37": clips["F21N37"] | {"emotion": "angry"}},
            "the emotion of F21N37 is 'angry', and its name says neutral",
        ),
        ({"F21N37": clips["F21N37"] | {"emotion": None}}, "the emotion of F21N37 is None"),
        ({"F21N37": "neutral"}, "'F21N37' is not a clip"),
        ({"clip": {}}, "'clip' is not a clip"),
    ):
        file.write_text(json.dumps(clips | change))
        with pytest.raises(InputError, match="the file is damaged") as caught:
            read("shemo", root)
        assert what in caught.value.what
        assert caught.value.file == file
