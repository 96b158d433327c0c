"""EMO-SUPERB: smoothed shares turned back, folds of several corpora, read from a made-up copy."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from copies import emosuperb as copy
from copies import iemocap
from copies.labels import label_set
from copies.sound import write_sound

from emoprobe.data.corpora.emosuperb import CARD, read_emosuperb
from emoprobe.data.prepare import Item
from emoprobe.data.split_policy import SplitPolicy
from emoprobe.data.splits import split_items
from emoprobe.errors import InputError
from emoprobe.recipes.inputs import prepare_run, read_corpus
from emoprobe.recipes.settings import read_dataset
from emoprobe.settings import compose, plain

ROW = "Restore the file from the corpus, or leave the row out: dataset.on_error=skip"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    copy.write(tmp_path)
    return tmp_path


def rewrite(root: Path, old: str, new: str, file: str = copy.TABLE) -> Path:
    text = (root / file).read_text()
    assert old in text
    (root / file).write_text(text.replace(old, new, 1))
    return root / file


# -------------------------------------------------------------------------------------------------------------- reading


def test_shares_are_turned_back(root: Path):
    corpus = read_emosuperb(root)
    first = corpus.utterances[0]
    # Written as 0.574, 0.01, 0.292, 0.01, 0.104, 0.01 in angry, sad, disgust, fear, neutral, happy.
    assert "1001_DFA_ANG_XX.wav,0.574,0.01,0.292,0.01,0.104,0.01,1001" in (root / copy.TABLE).read_text()
    expected = {"anger": 0.6, "sad": 0, "disgust": 0.3, "fear": 0, "neutral": 0.1, "happy": 0}
    assert first.votes == pytest.approx(expected, abs=1e-9)
    assert (first.num_raters, first.ratings, first.speaker, first.split) == (None, (), "1001", "train")
    assert (first.id, first.metadata, first.row) == ("1001_DFA_ANG_XX", {"gender": "male"}, 2)
    assert first.audio == root / "data/CREMA-D/Audios/1001_DFA_ANG_XX.wav"
    assert (corpus.card.name, corpus.card.title) == ("emosuperb", "EMO-SUPERB CREMA-D")
    assert set(corpus.card.words) >= {word for utterance in corpus.utterances for word in utterance.votes}


def test_every_row_is_what_its_counts_say(root: Path):
    for utterance, (name, counts, *_) in zip(read_emosuperb(root).utterances, copy.CREMAD, strict=True):
        assert utterance.id == name
        assert list(utterance.votes.values()) == pytest.approx([n / sum(counts) for n in counts], abs=2e-6)
        assert sum(utterance.votes.values()) == pytest.approx(1, abs=1e-12)
        assert all((share == 0) == (n == 0) for share, n in zip(utterance.votes.values(), counts, strict=True))


def test_unknown_gender_is_left_out(root: Path):
    assert read_emosuperb(root).utterances[-1].metadata == {}


def test_iemocap_speakers_are_told_apart_by_gender(root: Path):
    corpus = read_emosuperb(root, "iemocap")
    first, second, tie, last = corpus.utterances
    assert [u.speaker for u in corpus.utterances] == ["01F", "01M", "02M", "03F"]
    assert [u.split for u in corpus.utterances] == ["train", "train", "test", "development"]
    facts = {"gender": "female", "arousal": 3.333333, "valence": 2.0, "dominance": 3.0, "session": "01"}
    assert first.metadata == facts
    assert "dominance" not in second.metadata
    assert {word: share for word, share in first.votes.items() if share} == pytest.approx(
        {"frustration": 1 / 3, "excited": 2 / 3}, abs=2e-6
    )
    assert (tie.votes["anger"], tie.votes["neutral"]) == pytest.approx((0.5, 0.5))
    assert last.votes["neutral"] == 1.0


def test_table_whose_first_column_has_no_name(root: Path):
    first, second, _ = read_emosuperb(root, "NNIME").utterances
    assert (first.id, first.speaker) == ("neutral_02_A_048", "3")
    assert (first.votes["neutral"], first.votes["joy"]) == pytest.approx((0.8, 0.2))
    assert second.votes["relaxed"] == pytest.approx(1 / 3)
    assert first.metadata == {"gender": "female", "arousal": 1.833333333, "valence": 3.0}


def test_the_data_folder_itself(root: Path):
    assert read_emosuperb(root / "data").utterances == read_emosuperb(root).utterances


def test_session_of_improv(root: Path):
    folder = root / "data/IMPROV"
    (root / "data/CREMA-D").rename(folder)
    first = read_emosuperb(root, "IMPROV").utterances[0]
    assert (first.speaker, first.metadata["session"]) == ("1001", "1001")


@pytest.mark.parametrize("name", ["Unknown", "nan", "NaN", "None", ""])
def test_unknown_speaker(root: Path, name: str):
    rewrite(root, ",1001,Male", f",{name},Male")
    assert read_emosuperb(root).utterances[0].speaker is None


def test_a_speaker_who_is_a_number(root: Path):
    rewrite(root, ",1001,Male", ",1001.0,Male")
    assert read_emosuperb(root).utterances[0].speaker == "1001"


def test_primary_and_secondary(root: Path):
    secondary = root / "data/CREMA-D/Secondary"
    secondary.mkdir()
    (secondary / "config.json").write_text(copy.config(copy.NINE, ""))
    (secondary / "labels_consensus_2.csv").write_text((root / copy.IEMOCAP).read_text())
    assert len(read_emosuperb(root, emotions="Secondary", fold=2).utterances) == 4
    assert len(read_emosuperb(root, emotions="Primary").utterances) == 8
    assert len(read_emosuperb(root).utterances) == 8


def test_other_words_pass_through_and_are_refused_later(root: Path):
    rewrite(root, '"angry"', '"Rage "', copy.CONFIG)
    rewrite(root, "angry", "Rage")
    corpus = read_emosuperb(root)
    assert "rage" in corpus.utterances[0].votes
    config = compose(["dataset=emosuperb", f"dataset.root={root}", "labels=basic6"])
    with pytest.raises(InputError, match="'rage' is none of the corpus's emotion words"):
        prepare_run(read_dataset(config), corpus, label_set("basic6"))


# ---------------------------------------------------------------------------------------------------------------- sound


def test_sound_is_found_anywhere_below(root: Path):
    other = root / "elsewhere"
    for name in ("deep/down/1001_dfa_ang_xx.WAV", "1002_IEO_NEU_XX.flac"):
        write_sound(other / name)
    found = {u.id: u.audio for u in read_emosuperb(root, audio_root=other).utterances}
    assert found["1001_DFA_ANG_XX"] == other / "deep/down/1001_dfa_ang_xx.WAV"
    assert found["1002_IEO_NEU_XX"] == other / "1002_IEO_NEU_XX.flac"
    assert found["1004_IWW_SAD_XX"] == other / "1004_IWW_SAD_XX.wav"


def test_other_sound_folders(root: Path):
    (root / "data/CREMA-D/Audios").rename(root / "data/CREMA-D/AudioWAV")
    assert read_emosuperb(root).utterances[0].audio.parent.name == "AudioWAV"


def test_the_same_name_twice(root: Path, refused):
    for folder in ("a", "b"):
        write_sound(root / "other" / folder / "1001_DFA_ANG_XX.wav")
    call = lambda: read_emosuperb(root, audio_root=root / "other")  # noqa: E731
    refused(
        call,
        "in more than one place",
        file=root / copy.TABLE,
        row=2,
        field="FileName",
        remedy="Set dataset.audio_root",
    )


# --------------------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("options", "what", "field", "remedy"),
    [
        ({"corpus": "MELD"}, "there is no corpus 'MELD'", "dataset.corpus", "Use one of CREMA-D, IEMOCAP, NNIME"),
        ({"corpus": None}, "there is no corpus 'None'", "dataset.corpus", "Use one of"),
        ({"emotions": "Tertiary"}, "unknown value", "dataset.emotions", "Primary or Secondary"),
        ({"emotions": "Secondary"}, "has no secondary emotions", "dataset.emotions", "Use Primary"),
        ({"fold": 7}, "has no fold 7", "dataset.official_fold", "Use one of 1"),
        ({"fold": 0}, "not a whole number", "dataset.official_fold", "counted from 1"),
        ({"fold": True}, "not a whole number", "dataset.official_fold", "counted from 1"),
        ({"audio_root": "/nowhere"}, "does not exist", "dataset.audio_root", "Correct it"),
    ],
)
def test_options(root: Path, options: dict, what: str, field: str, remedy: str):
    with pytest.raises(InputError) as caught:
        read_emosuperb(root, **options)
    assert what in caught.value.what
    assert (caught.value.field, remedy in caught.value.remedy) == (field, True)


def test_corpus_without_any_table(root: Path, refused):
    (root / copy.TABLE).unlink()
    call = lambda: read_emosuperb(root)  # noqa: E731
    refused(call, "has no fold 1", file=root / copy.TABLE, field="dataset.official_fold", remedy="Restore the file")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "the file is damaged"),
        ("[]", "it is not an object"),
        ("{}", "'data_split_type' is missing"),
        (copy.config(["angry"], ""), "two or more different emotions"),
        (copy.config(["angry", "ANGRY"], ""), "two or more different emotions"),
        (copy.config(["angry", "angry"], ""), "two or more different emotions"),
        (copy.config(["angry", 3], ""), "3 is not a name"),
        (copy.config(copy.SIX, "").replace('"Test"', '"Train"'), "have the same name"),
        (json.dumps({"data_split_type": [], "categorical": {}}), "the file is damaged"),
        ("[" * 100_000, "the file is damaged"),
    ],
)
def test_damaged_config(root: Path, text: str, what: str):
    (root / copy.CONFIG).write_text(text)
    with pytest.raises(InputError, match="Restore the file") as caught:
        read_emosuperb(root)
    assert what in caught.value.what
    assert caught.value.file == root / copy.CONFIG


# ----------------------------------------------------------------------------------------------------------------- runs


def test_a_run(root: Path):
    config = compose(["dataset=emosuperb", f"dataset.root={root}", "labels=basic6"])
    corpus = read_corpus(read_dataset(config))
    prepared = prepare_run(read_dataset(config), corpus, label_set("basic6"))
    assert len(prepared.items) == 8
    assert prepared.items[0].target.distribution == pytest.approx([0.6, 0.3, 0, 0, 0.1, 0], abs=1e-9)
    policy = SplitPolicy(**{"kind": plain(config.dataset.partition)["kind"]})
    split = split_items(prepared.items, policy)
    assert [len(part) for part in (split.train, split.development, split.test)] == [4, 2, 2]


# ---------------------------------------------------------------------------------------- two routes to IEMOCAP's votes

OWN = ("dataset.soft_label.self_reports=true", "dataset.soft_label.several=each")


def prepared(root: Path, *more: str, name: str = "emosuperb") -> dict[str, Item]:
    """The items of a run by id, with the nine classes that the tables have."""
    overrides = [f"dataset={name}", f"dataset.root={root}", "labels=iemocap9"]
    overrides += ["dataset.corpus=IEMOCAP"] if name == "emosuperb" else []
    dataset = read_dataset(compose([*overrides, "dataset.soft_label.outside=drop", *more]))
    items = prepare_run(dataset, read_corpus(dataset), label_set("iemocap9"), missing_audio="ignore").items
    return {item.utterance.id: item for item in items}


@pytest.fixture
def both(tmp_path: Path) -> tuple[Path, Path]:
    """IEMOCAP, and EMO-SUPERB with the shares of the same turns, counted from the text as the published ones are."""
    iemocap.write(tmp_path / "iemocap")
    copy.write(tmp_path / "superb")
    columns = dict(zip(copy.NINE, ("Frus", "Ang", "Sad", "Disg", "Exc", "Fear", "Neut", "Sur", "Happ"), strict=True))
    text = copy.line("FileName", *copy.NINE, "EmoAct", "EmoVal", "EmoDom", "SpkrID", "Gender", "Split_Set")
    for evaluation in iemocap.EVALUATIONS.values():
        for block in evaluation.split("\n\n"):
            turn = re.search(r"\t(Ses\S+)\t", block)
            given = re.findall(r"^C-(\w+):\t([^\t(]*)", block, re.MULTILINE)
            # Of a turn that one rater judged twice the published tables do not say what they counted.
            if not turn or len({rater for rater, _ in given}) < len(given):
                continue
            said = [word.strip() for _, labels in given for word in labels.split(";")]
            counts = [sum(word.startswith(start) for word in said) for start in columns.values()]
            sex = {"F": "Female", "M": "Male"}[turn[1].split("_")[-1][0]]
            text += copy.line(f"{turn[1]}.wav", *copy.smoothed(counts), 3, 3, 3, turn[1][3:5], sex, "Train")
    (tmp_path / "superb" / copy.IEMOCAP).write_text(text)
    return tmp_path / "iemocap", tmp_path / "superb"


def test_published_shares_of_iemocap_need_their_own_policy(both, refused):
    superb = both[1]
    for policy in ((), OWN[:1], OWN[1:]):
        refused(
            lambda policy=policy: prepared(superb, *policy, "dataset.on_error=skip"),
            "these votes were counted with self_reports=true, several=each, which cannot be undone",
            file=superb / copy.IEMOCAP,
            row=2,
            field="dataset.soft_label.self_reports",
            remedy=" ".join(OWN),
        )


def test_both_routes_agree_on_the_published_policy(both):
    ratings_root, superb = both
    there, here = prepared(ratings_root, *OWN, name="iemocap"), prepared(superb, *OWN)
    assert len(here) == 29
    assert set(there) - set(here) == {"Ses01F_impro01_F001"}  # a rater occurs twice
    for name, item in here.items():
        np.testing.assert_allclose(item.target.distribution, there[name].target.distribution, atol=1e-5)
    # The self-report of happiness counts beside three raters' neutral.
    first = here["Ses01F_impro01_F000"].target.distribution
    np.testing.assert_allclose(first[[5, 6]], [0.25, 0.75], atol=1e-5)


def test_both_routes_agree_on_observers_alone(both):
    ratings_root, superb = both
    there, here = prepared(ratings_root, name="iemocap"), prepared(superb, f"dataset.ratings_root={ratings_root}")
    assert len(here) == 29
    for name, item in here.items():
        np.testing.assert_array_equal(item.target.distribution, there[name].target.distribution)
        assert item.target.num_raters == there[name].target.num_raters
    first = here["Ses01F_impro01_F000"]
    np.testing.assert_array_equal(first.target.votes, [0, 0, 0, 0, 0, 0, 3, 0, 0])
    assert (first.utterance.speaker, first.utterance.split, first.target.num_raters) == ("01F", "train", 3)
    # The means of its raters, where the table's 3, 3, 3 hold those of the actor.
    assert [first.utterance.metadata[fact] for fact in ("valence", "arousal", "dominance")] == [2.5, 2.5, 2.0]


def test_a_turn_that_iemocap_does_not_have(both, refused):
    ratings_root, superb = both
    table = rewrite(superb, "Ses02F_impro02_F000", "Ses02F_impro09_F000", copy.IEMOCAP)
    row = table.read_text().split("Ses02F_impro09_F000")[0].count("\n") + 1
    call = lambda **options: read_emosuperb(superb, "IEMOCAP", ratings_root=ratings_root, **options)  # noqa: E731
    what = "the corpus has no clip 'Ses02F_impro09_F000'"
    refused(call, what, file=table, row=row, field="FileName", remedy="Check dataset.ratings_root")
    assert [skipped.row for skipped in call(on_error="skip").skipped] == [row]


def test_single_ratings_of_another_corpus(root: Path, both, refused):
    call = lambda: read_emosuperb(root, ratings_root=both[0])  # noqa: E731
    refused(call, "the corpus is CREMA-D", file=None, field="dataset.ratings_root", remedy="Leave it out")


def test_the_card():
    assert CARD.raters
    assert CARD.licence
    assert "own reports" in CARD.notes
    assert "self_reports=true" in CARD.notes
    assert set(CARD.words) >= {"anger", "frustration", "relaxed", "joy", "amused"}
