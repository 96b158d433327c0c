"""EmoBox: labels and folds of many corpora, read from a made-up copy."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from copies import emobox as copy
from copies.labels import label_set
from copies.sound import write_sound

from emoprobe.data.corpora.emobox import CARD, LABEL_SETS, read_emobox
from emoprobe.errors import InputError
from emoprobe.recipes.inputs import prepare_run, read_corpus
from emoprobe.recipes.settings import read_dataset
from emoprobe.settings import compose

ROW = "Restore the file from the corpus, or leave the row out: dataset.on_error=skip"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    copy.write(tmp_path)
    return tmp_path


def rewrite(root: Path, value: object, file: str = copy.TRAIN, row: int = 1) -> Path:
    """Put another object (or text) in a row of a fold."""
    lines = (root / file).read_text().splitlines()
    lines[row - 1] = value if isinstance(value, str) else json.dumps(value)
    (root / file).write_text("\n".join(lines) + "\n")
    return root / file


# -------------------------------------------------------------------------------------------------------------- reading


def test_a_clip(root: Path):
    corpus = read_emobox(root, "CREMAD")
    first = corpus.utterances[0]
    assert (first.id, first.speaker, first.split) == ("cremad-1001-IEO-ANG-HI", "1001", "train")
    assert (first.votes, first.num_raters, first.ratings) == ({"anger": 1.0}, 1, ())
    assert first.audio == root / "downloads/cremad/AudioWAV/1001_IEO_ANG_HI.wav"
    assert first.metadata == {
        "code": "ANG",
        "expected_frames": 3200,
        "expected_sample_rate": 16000,
        "expected_channels": 1,
        "expected_seconds": 0.2,
    }
    assert (first.file, first.row) == (root / copy.TRAIN, 1)
    assert corpus.card.title == "EmoBox cremad"


def test_iemocap_counts_excited_as_happy(root: Path):
    corpus = read_emobox(root, "iemocap")
    # The speaker is who says the turn, not whom the dialogue is named after.
    assert [(u.speaker, *u.votes, u.metadata["code"]) for u in corpus.utterances] == [
        ("Ses02F", "happy", "hap"),
        ("Ses03M", "anger", "ang"),
        ("Ses01M", "happy", "exc"),
        ("Ses01F", "neutral", "neu"),
    ]


def test_clips_without_agreement_have_no_vote(root: Path):
    first, second, third, _ = read_emobox(root, "msppodcast").utterances
    assert [(first.split, first.votes), (third.split, third.votes)] == [
        ("development", {"neutral": 1.0}),
        ("test", {"other": 1.0}),
    ]
    assert (second.votes, second.num_raters, second.speaker) == ({}, 0, None)
    assert (second.metadata["consensus"], second.metadata["code"]) == ("no_agreement", "X")


def test_folds_in_two_spellings(root: Path):
    first, second = read_emobox(root, "emodb").utterances
    assert [(first.id, first.speaker, *first.votes), (second.id, second.speaker, *second.votes)] == [
        ("emodb-03a01Wa", "03", "anger"),
        ("emodb-08b02La", "08", "boredom"),
    ]


@pytest.mark.parametrize("fold", [1, 2])
def test_older_names_of_keys_and_files(root: Path, fold: int):
    (only,) = read_emobox(root, "mer2023", fold=fold).utterances
    assert (only.votes, only.split, only.metadata["expected_frames"]) == ({"worried": 1.0}, "test", 80640)


@pytest.mark.parametrize(
    ("corpus", "key", "speaker"),
    [
        ("ased", "ased-a5-02-01-01-33", "33"),
        ("asvpesd", "asvpesd-03-01-09-01-06-136-02-02-01-39", "136"),
        ("cafe", "cafe-12-P-2-5", "12"),
        ("casia", "casia-239-wangzhe-neutral", "wangzhe"),
        ("emovdb", "emovdb-jenie-Amused-0057", "jenie"),
        ("emovo", "emovo-gio-f2-b2", "f2"),
        ("esd", "esd-0005-000001", "0005"),
        ("jlcorpus", "jlcorpus-female2-concerned-6b-1", "female2"),
        ("mead", "mead-W019-neutral-level-1-020", "W019"),
        ("oreau", "oreau-29a13Ja", "29"),
        ("polish", "polish-m3.s_trzymaj_5", "m3"),
        ("ravdess", "ravdess-03-01-07-02-02-02-11", "11"),
        ("savee", "savee-JE-n23", "JE"),
        ("shemo", "shemo-M32S01", "M32"),
        ("subesco", "subesco-M_09_SHUMANTA_S_2_FEAR_2", "M_09"),
        ("tess", "tess-OAF-should-fear", "OAF"),
        ("turevdb", "turevdb-1984_sk_orgu.wav", "1984"),
        ("urdu", "urdu-SM5_F63_N091", "SM5"),
        ("meld", "meld-dia0_utt0-test", None),
        ("ravdess", "something else", None),
    ],
)
def test_speakers(tmp_path: Path, corpus: str, key: str, speaker: str | None):
    folder = tmp_path / corpus / "fold_1"
    folder.mkdir(parents=True)
    (folder.parent / "label_map.json").write_text('{"a": "Angry"}')
    (folder / f"{corpus}_test_fold_1.jsonl").write_text(copy.lines({"key": key, "wav": "a.wav", "emo": "a"}))
    (only,) = read_emobox(tmp_path, corpus).utterances
    assert (only.speaker, only.metadata) == (speaker, {"code": "a"})


def test_codes_that_the_map_lacks_pass_through(root: Path):
    (root / copy.LABELS).write_text('{"ANG": "Angry", "SAD": "Gloomy "}')
    corpus = read_emobox(root, "cremad")
    assert [next(iter(u.votes)) for u in corpus.utterances[:3]] == ["anger", "gloomy", "hap"]


# ---------------------------------------------------------------------------------------------------------------- sound


def test_leading_folders_may_be_missing(root: Path):
    sounds = root / "mine"
    (root / "downloads/cremad").rename(sounds)
    assert read_emobox(root, "cremad", audio_root=sounds).utterances[0].audio == sounds / "AudioWAV/1001_IEO_ANG_HI.wav"
    flat = sounds / "AudioWAV"
    assert read_emobox(root, "cremad", audio_root=flat).utterances[0].audio == flat / "1001_IEO_ANG_HI.wav"


def test_the_longest_end_that_exists(root: Path):
    for name in ("AudioWAV/1001_IEO_ANG_HI.wav", "1001_IEO_ANG_HI.wav", "1001_IEO_SAD_LO.wav"):
        write_sound(root / "mine" / name)
    first, second, third = read_emobox(root, "cremad", audio_root=root / "mine").utterances[:3]
    assert first.audio == root / "mine/AudioWAV/1001_IEO_ANG_HI.wav"
    assert second.audio == root / "mine/1001_IEO_SAD_LO.wav"
    assert third.audio == root / "mine/downloads/cremad/AudioWAV/1002_TIE_HAP_XX.wav"


def test_other_suffix(root: Path):
    folder = root / "downloads/cremad/AudioWAV"
    (folder / "1001_IEO_SAD_LO.wav").rename(folder / "1001_IEO_SAD_LO.flac")
    assert read_emobox(root, "cremad").utterances[1].audio.name == "1001_IEO_SAD_LO.flac"


def test_the_data_folder_itself(root: Path):
    assert read_emobox(root / "data", "cremad").utterances == read_emobox(root, "cremad").utterances


def test_paths_that_go_up_and_stay_inside(root: Path):
    rewrite(root, {**copy.cremad("1001_IEO_ANG_HI"), "wav": "downloads/x/../cremad/AudioWAV/1001_IEO_ANG_HI.wav"})
    assert "1001_IEO_ANG_HI" in str(read_emobox(root, "cremad").utterances[0].audio)


# --------------------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("options", "what", "field", "remedy"),
    [
        ({"corpus": "nemo"}, "there is no corpus 'nemo'", "dataset.corpus", "Use one of cremad, emodb, iemocap"),
        ({"fold": 3}, "has no fold 3", "dataset.official_fold", "Use one of 1"),
        ({"corpus": "mer2023", "fold": 9}, "has no fold 9", "dataset.official_fold", "Use one of 1, 2"),
        ({"fold": "1"}, "not a whole number", "dataset.official_fold", "counted from 1"),
        ({"audio_root": "/nowhere"}, "does not exist", "dataset.audio_root", "Correct it"),
    ],
)
def test_options(root: Path, options: dict, what: str, field: str, remedy: str):
    with pytest.raises(InputError) as caught:
        read_emobox(root, **{"corpus": "cremad", **options})
    assert what in caught.value.what
    assert (caught.value.field, remedy in caught.value.remedy) == (field, True)


def test_empty_fold(root: Path, refused):
    for name in (copy.TRAIN, copy.TEST):
        (root / name).unlink()
    what = "neither a training nor a test file"
    refused(lambda: read_emobox(root, "cremad"), what, file=root / copy.TRAIN, remedy="Restore")


def test_a_clip_in_two_parts(root: Path, refused):
    file = rewrite(root, copy.cremad("1001_IEO_ANG_HI"), copy.TEST)
    refused(
        lambda: read_emobox(root, "cremad"),
        "was there before, in row 1",
        file=file,
        row=1,
        field="key",
        remedy=ROW,
        reason="duplicate_id",
    )


def test_stretches_of_a_long_file_are_refused(root: Path, refused):
    file = root / "data/pavoque/fold_1/pavoque_train_fold_1.jsonl"
    refused(
        lambda: read_emobox(root, "pavoque"),
        "a stretch of a longer file",
        file=file,
        row=1,
        field="start_time",
        remedy="dataset=manifest",
    )
    refused(
        lambda: read_emobox(root, "pavoque", on_error="skip"),
        "no usable utterance",
        file=file,
        remedy="a stretch of a longer file",
    )


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "the file is damaged"),
        ("{}", "it has no label"),
        ('["Angry"]', "it is not an object"),
        ('{"a": 1}', "the label of 'a' is not a word"),
        ('{"a": "Angry", "a": "Sad"}', "a key occurs twice"),
    ],
)
def test_damaged_labels(root: Path, refused, text: str, what: str):
    (root / copy.LABELS).write_text(text)
    refused(lambda: read_emobox(root, "cremad"), what, file=root / copy.LABELS, remedy="Restore")


# ----------------------------------------------------------------------------------------------------------------- runs


def test_a_run(root: Path):
    overrides = ["dataset=emobox", f"dataset.root={root}", "dataset.corpus=cremad", "labels=basic6"]
    config = compose(overrides)
    corpus = read_corpus(read_dataset(config))
    assert len(prepare_run(read_dataset(config), corpus, label_set("basic6")).items) == 8
    config = compose([*overrides, "dataset.split=test"])
    assert len(prepare_run(read_dataset(config), corpus, label_set("basic6")).items) == 3


def test_clips_without_a_vote_are_left_out(root: Path):
    overrides = ["dataset=emobox", f"dataset.root={root}", "dataset.corpus=msppodcast", "labels=msp8"]
    dataset = read_dataset(compose([*overrides, "dataset.soft_label.outside=drop"]))
    prepared = prepare_run(dataset, read_corpus(dataset), label_set("msp8"), missing_audio="ignore")
    assert ([i.utterance.metadata["code"] for i in prepared.items], len(prepared.skipped)) == (["N", "H"], 2)


LAYOUTS = {  # corpus -> folds, parts, label words, as the repository has them
    "aesdd": (1, "train test", ["Angry", "Disgust", "Fear", "Happy", "Sad"]),
    "ased": (1, "train test", ["Angry", "Fear", "Happy", "Neutral", "Sad"]),
    "asvpesd": (
        1,
        "train test",
        [
            "Angry",
            "Boredom",
            "Disgust",
            "Excited",
            "Fear",
            "Happy",
            "Neutral",
            "Sad",
            "Surprise",
            "UnKnown",
            "breath",
            "disappointment, disapproval",
            "pain, groan",
            "pleasure",
        ],
    ),
    "cafe": (3, "train test", ["Angry", "Disgust", "Fear", "Happy", "Neutral", "Sad", "Surprise"]),
    "casia": (4, "train test", ["Angry", "Fear", "Happy", "Neutral", "Sad", "Surprise"]),
    "cremad": (1, "train test", ["Angry", "Disgust", "Fear", "Happy", "Neutral", "Sad"]),
    "emns": (1, "train test", ["Angry", "Disgust", "Excited", "Happy", "Neutral", "Sad", "Sarcastic", "Surprise"]),
    "emodb": (5, "train test", ["Angry", "Boredom", "Disgust", "Fear", "Happy", "Neutral", "Sad"]),
    "emovdb": (1, "train test", ["Amused", "Angry", "Disgust", "Neutral", "Sleepy"]),
    "emovo": (6, "train test", ["Angry", "Disgust", "Fear", "Happy", "Neutral", "Sad", "Surprise"]),
    "emozionalmente": (1, "train test", ["Angry", "Disgust", "Fear", "Happy", "Neutral", "Sad", "Surprise"]),
    "enterface": (1, "train test", ["Angry", "Disgust", "Fear", "Happy", "Sad", "Surprise"]),
    "esd": (5, "train test", ["Angry", "Happy", "Neutral", "Sad", "Surprise"]),
    "iemocap": (5, "train test", ["Angry", "Happy", "Neutral", "Sad"]),
    "jlcorpus": (
        4,
        "train test",
        [
            "Angry",
            "Anxious",
            "Apologetic",
            "Assertive",
            "Concerned",
            "Encouraging",
            "Excited",
            "Happy",
            "Neutral",
            "Sad",
        ],
    ),
    "m3ed": (1, "train valid test", ["Angry", "Disgust", "Fear", "Happy", "Neutral", "Sad", "Surprise"]),
    "mead": (1, "train test", ["Angry", "Contempt", "Disgust", "Fear", "Happy", "Neutral", "Sad", "Surprise"]),
    "meld": (1, "train valid test", ["Angry", "Disgust", "Fear", "Happy", "Neutral", "Sad", "Surprise"]),
    "mer2023": (1, "train test test1 test2 test3", ["Angry", "Happy", "Neutral", "Sad", "Surprise", "Worried"]),
    "mesd": (1, "train test", ["Angry", "Disgust", "Fear", "Happy", "Neutral", "Sad"]),
    "msppodcast": (
        1,
        "train valid test",
        ["Angry", "Contempt", "Disgust", "Fear", "Happy", "Neutral", "No-agreement", "Other", "Sad", "Surprise"],
    ),
    "oreau": (1, "train test", ["Angry", "Disgust", "Fear", "Happy", "Neutral", "Sad", "Surprise"]),
    "pavoque": (1, "train test", ["Angry", "Happy", "Neutral", "Poker", "Sad"]),
    "polish": (5, "train test", ["Angry", "Fear", "Neutral"]),
    "ravdess": (6, "train test", ["Angry", "Calm", "Disgust", "Fear", "Happy", "Neutral", "Sad", "Surprise"]),
    "resd": (1, "train test", ["Angry", "Disgust", "Enthusiastic", "Fear", "Happy", "Neutral", "Sad"]),
    "savee": (4, "train test", ["Angry", "Disgust", "Fear", "Happy", "Neutral", "Sad", "Surprise"]),
    "shemo": (1, "train test", ["Angry", "Fear", "Happy", "Neutral", "Sad", "Surprise"]),
    "subesco": (5, "train test", ["Angry", "Disgust", "Fear", "Happy", "Neutral", "Sad", "Surprise"]),
    "tess": (1, "train test", ["Angry", "Disgust", "Fear", "Happy", "Neutral", "Sad", "Surprise"]),
    "turevdb": (1, "train test", ["Angry", "Calm", "Happy", "Sad"]),
    "urdu": (1, "train test", ["Angry", "Happy", "Neutral", "Sad"]),
}


def layout(root: Path, corpus: str, spelling: str = "_fold_") -> None:
    """A corpus with one clip of every label in every part of every fold."""
    folds, parts, words = LAYOUTS[corpus]
    folder = root / "data" / corpus
    for fold in range(1, folds + 1):
        (folder / f"fold_{fold}").mkdir(parents=True, exist_ok=True)
        for part in parts.split():
            # The first test set of MER2023 is there under two names.
            name = "test" if part == "test1" else part
            clips = [copy.clip(corpus, f"{name}-{code}", f"{name}/{code}.wav", str(code)) for code in range(len(words))]
            file = folder / f"fold_{fold}" / f"{corpus}_{part}{spelling}{fold}.jsonl"
            file.write_text(copy.lines(*clips))
    (folder / "label_map.json").write_text(json.dumps({str(code): word for code, word in enumerate(words)}))


@pytest.mark.parametrize("corpus", LAYOUTS)
def test_all_corpora_have_a_label_set_with_their_words_and_no_others(tmp_path: Path, corpus: str):
    layout(tmp_path, corpus)
    folds, parts, words = LAYOUTS[corpus]
    (name,) = read_emobox(tmp_path, corpus).card.label_sets
    labels = label_set(name)
    assert f"{corpus} {name}" in CARD.notes
    assert name in CARD.label_sets
    splits = {"valid": "development", "test1": "test"}
    for fold in range(1, folds + 1):
        corpus_read = read_emobox(tmp_path, corpus, fold=fold)
        assert {clip.split for clip in corpus_read.utterances} == {splits.get(part, part) for part in parts.split()}
        for split in {clip.split for clip in corpus_read.utterances}:
            clips = [clip for clip in corpus_read.utterances if clip.split == split]
            said = [word for clip in clips for word in clip.votes]
            assert len(clips) == len(words)
            assert {labels.resolve(word) for word in said} == set(labels.labels)
            assert len(said) == len(words) - ("UnKnown" in words) - ("No-agreement" in words)
    with pytest.raises(InputError, match=f"{corpus} has no fold {folds + 1}"):
        read_emobox(tmp_path, corpus, fold=folds + 1)


def test_every_corpus_of_the_collection_is_known():
    assert set(LABEL_SETS) == set(LAYOUTS)
    assert len(LAYOUTS) == 32


def test_a_label_set_that_does_not_fit_is_named_with_the_one_that_does(tmp_path: Path):
    layout(tmp_path, "emodb")
    dataset = read_dataset(compose(["dataset=emobox", f"dataset.root={tmp_path}", "dataset.corpus=emodb"]))
    with pytest.raises(InputError, match="a vote for 'boredom', which is none of anger, disgust") as caught:
        prepare_run(dataset, read_corpus(dataset), label_set("basic6"), missing_audio="ignore")
    assert caught.value.remedy.startswith("Use labels=emodb7, made for EmoBox emodb. Map the word")
    assert "\n" not in str(caught.value)


def test_the_card():
    assert "CREMA-D" in CARD.notes
    assert "pain" in CARD.words
