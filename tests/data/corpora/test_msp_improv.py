"""MSP-IMPROV: the official layout, read from a made-up copy of it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from copies import msp_improv as copy

from emoprobe.data.ballots import count_votes
from emoprobe.data.corpora.msp_improv import CARD, CONSENSUS, TOTALS, WORDS, read_msp_improv
from emoprobe.data.policy import SoftLabelPolicy
from emoprobe.data.split_policy import SplitPolicy
from emoprobe.data.splits import count_folds, split_items
from emoprobe.data.utterance import Rating
from emoprobe.data.votes import soft_label
from emoprobe.labels import LabelSet, Scale
from emoprobe.recipes.inputs import prepare_run, read_corpus
from emoprobe.recipes.settings import read_dataset
from emoprobe.settings import compose, plain

HEADER, SCORES = copy.HEADER, copy.SCORES
RESTORE = "Restore the file from the corpus"
REMEDY = f"{RESTORE}, or leave the row out: dataset.on_error=skip"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The copy, not to be changed."""
    root = tmp_path_factory.mktemp("msp_improv")
    copy.write(root)
    return root


@pytest.fixture
def made(tmp_path: Path) -> Callable[..., Path]:
    """Writes a label file, without sound."""

    def make(labels: str | bytes, name: str = "Evalution.txt") -> Path:
        (tmp_path / name).write_bytes(labels if isinstance(labels, bytes) else labels.encode("latin-1"))
        return tmp_path

    return make


def label_set(name: str) -> LabelSet:
    return LabelSet(**plain(compose([f"labels={name}"]).labels))


# -------------------------------------------------------------------------------------------------------------- reading


def test_a_clip(whole: Path):
    corpus = read_msp_improv(whole)
    first = corpus.utterances[0]
    assert (first.id, first.speaker, first.split) == ("MSP-IMPROV-S01A-F01-S-FM01", "F01", None)
    assert first.audio == whole / "Audio/session1/S01A/S/MSP-IMPROV-S01A-F01-S-FM01.wav"
    assert (first.votes, first.num_raters, first.transcript, first.dialogue) == ({}, None, None, None)
    # W01 judged twice: both ratings are there.
    # Their activation of 4 is one of 2 from calm to active, and their 2 is 4.
    given = {"arousal": 2, "valence": 2, "dominance": 3, "naturalness": 4}
    third = {"arousal": 4, "valence": 3, "naturalness": 4}
    assert first.ratings == (
        Rating("W01", ("anger",), ("anger", "frustration"), values=given),
        Rating("W02", ("anger",), ("anger",), values=given),
        Rating("W03", ("neutral",), ("neutral",), values=third),
        Rating("W01", ("sad",), ("depressed",), values=given),
    )
    assert first.metadata == {
        "session": "1",
        "gender": "female",
        "scenario": "S01A",
        "condition": "S",
        "turn": "FM01",
        "consensus": "anger",
        "arousal": 2.4,  # 6 - 3.6
        "valence": 1.8,
        "dominance": 3.4,
        "naturalness": 4.0,
    }
    assert first.means == {"arousal": 2.4, "valence": 1.8, "dominance": 3.4, "naturalness": 4.0}
    assert first.scales == dict.fromkeys(("valence", "arousal", "dominance", "naturalness"), (1, 5))
    assert first.scales is corpus.utterances[-1].scales
    assert (first.file, first.row) == (whole / "Evalution.txt", 1)
    assert (len(corpus.utterances), corpus.skipped, corpus.card) == (51, (), CARD)
    assert all(utterance.audio.is_file() for utterance in corpus.utterances)


def test_a_clip_without_naturalness_and_with_missing_means(whole: Path):
    second, third = read_msp_improv(whole).utterances[1:3]
    assert second.metadata == {
        "session": "1",
        "gender": "male",
        "scenario": "S01A",
        "condition": "T",
        "turn": "MF02",
        "consensus": "no_agreement",
        "valence": 2.5,
        "dominance": 3.0,
    }
    # What is written after Other may hold semicolons, commas and Latin-1 bytes.
    assert second.ratings == (
        Rating("W01", ("happy",), ("excited", "happy"), values={"arousal": 2, "valence": 4, "dominance": 3}),
        Rating("W02", ("other",), ("frustration", "other"), values={"arousal": 2, "valence": 2, "dominance": 3}),
        Rating("W04", ("sad",)),
        Rating("W05", ("other",), ("sad",), values={"arousal": 4, "valence": 2, "dominance": 2}),
    )
    assert second.means == {"valence": 2.5, "dominance": 3.0}
    assert second.row == 7
    threes = dict.fromkeys(("arousal", "valence", "dominance", "naturalness"), 3)
    assert third.ratings == (
        Rating("W01", ("other",), values=threes),
        Rating("W02", ("happy",), ("happy",), values=threes),
    )
    assert "naturalness" not in third.metadata
    assert (third.metadata["consensus"], third.metadata["arousal"]) == ("other", 3.0)


def test_votes_by_hand(whole: Path):
    first, second = read_msp_improv(whole).utterances[:2]
    assert count_votes(first, SoftLabelPolicy()) == ({"anger": 2, "neutral": 1}, 3)
    assert count_votes(first, SoftLabelPolicy(repeated_raters="last")) == ({"anger": 1, "neutral": 1, "sad": 1}, 3)
    assert count_votes(first, SoftLabelPolicy(repeated_raters="all")) == ({"anger": 2, "neutral": 1, "sad": 1}, 4)
    assert count_votes(second, SoftLabelPolicy()) == ({"happy": 1, "other": 2, "sad": 1}, 4)


def test_speakers_and_sessions(whole: Path):
    utterances = read_msp_improv(whole).utterances
    assert len({utterance.speaker for utterance in utterances}) == 12
    for utterance in utterances:
        assert utterance.metadata["session"] == utterance.speaker[2]
        assert utterance.metadata["gender"] == {"F": "female", "M": "male"}[utterance.speaker[0]]
        assert f"/session{utterance.speaker[2]}/" in str(utterance.audio)
    assert Counter(utterance.metadata["session"] for utterance in utterances) == {
        "1": 11,
        **dict.fromkeys("23456", 8),
    }


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("Anger", "anger"),
        ("Angry", "anger"),
        ("Happiness", "happy"),
        ("Happy", "happy"),
        ("Sadness", "sad"),
        ("Sad", "sad"),
        ("Neutral", "neutral"),
        ("Neutral state", "neutral"),
        (" NEUTRAL STATE ", "neutral"),
        ("Other", "other"),
        ("Other-annoyed", "other"),
        ("Other: quite annoyed, really", "other"),
        ("Other (annoyed)", "other"),
        ("other annoyed", "other"),
        ("Frustrated", "frustration"),
        ("Depressed", "depressed"),
        ("Boredom", "boredom"),
        ("Otherworldly", "otherworldly"),
    ],
)
def test_words(made, text: str, word: str):
    root = made(f"{HEADER}W1; {text}; ; {SCORES}\nW2; Neutral; {text.replace(',', '')}; {SCORES}\n")
    first, second = read_msp_improv(root).utterances[0].ratings
    assert (first.labels, first.secondary, second.secondary) == ((word,), (), (word,))


@pytest.mark.parametrize("letter", ["A", "H", "S", "N", "O", "X"])
def test_consensus(made, letter: str):
    corpus = read_msp_improv(made(HEADER.replace("; N;", f"; {letter};", 1)))
    assert corpus.utterances[0].metadata["consensus"] == CONSENSUS[letter.lower()]


def test_a_clip_without_raters_has_no_votes(made):
    assert read_msp_improv(made(HEADER)).utterances[0].ratings == ()


# ----------------------------------------------------------------------------------------------------- files and sounds


@pytest.mark.parametrize(("name", "folder"), [("evalution.txt", "audio"), ("EVALUATION.TXT", "AUDIO")])
def test_the_case_of_names(made, name: str, folder: str):
    root = made(HEADER, name)
    sound = root / folder / "session2" / "S09N" / "P" / "MSP-IMPROV-S09N-F02-P-FM07.wav"
    sound.parent.mkdir(parents=True)
    sound.write_bytes(b"")
    (clip,) = read_msp_improv(root).utterances
    assert (clip.file, clip.audio) == (root / name, sound)


def test_both_spellings_of_the_label_file(made, tmp_path: Path):
    assert len(read_msp_improv(made(HEADER, "Evaluation.txt")).utterances) == 1
    made(HEADER + "\n" + HEADER.replace("FM07", "FM08"), "Evalution.txt")
    assert len(read_msp_improv(tmp_path).utterances) == 2


@pytest.mark.parametrize(
    "change",
    [
        lambda t: b"\n\n" + t.rstrip(b"\n"),
        lambda t: t.replace(b"\n\n", b"\n"),
        lambda t: t.replace(b" ;", b";"),
        lambda t: t.replace(b"UTD-IMPROV", b"MSP-IMPROV"),
    ],
)
def test_variants_of_the_file(made, whole: Path, change: Callable[[bytes], bytes]):
    found = read_msp_improv(made(change((whole / "Evalution.txt").read_bytes()))).utterances
    for one, other in zip(found, read_msp_improv(whole).utterances, strict=True):
        assert (one.id, one.ratings, one.metadata) == (other.id, other.ratings, other.metadata)


# -------------------------------------------------------------------------------------------------------------- refused


def test_raters_of_a_damaged_clip_do_not_join_the_clip_before(made):
    for gap in ("", "\n"):
        for damage in (("UTD", "XTD"), ("IMPROV", "IMPROX"), (".avi", ".xvi")):
            bad = HEADER.replace("FM07", "FM08").replace(*damage)
            root = made(f"{HEADER}W1; Neutral; ; {SCORES}\n{gap}{bad}W2; Sad; ; {SCORES}\n")
            corpus = read_msp_improv(root, on_error="skip")
            assert [rating.rater for utterance in corpus.utterances for rating in utterance.ratings] == ["W1"]
            assert len(corpus.skipped) == 1


def test_nothing_usable(made, refused):
    root = made("junk\n")
    call = lambda: read_msp_improv(root, on_error="skip")  # noqa: E731
    refused(call, "no usable utterance", file=root / "Evalution.txt", remedy="'junk' is not a clip")


# ---------------------------------------------------------------------------------------------------- card and configs


def test_card_and_totals(whole: Path):
    assert not CARD.synthetic
    assert "10.1109/TAFFC.2016.2515617" in CARD.citation
    assert set(CARD.words) == set(WORDS.values())
    counts = {total.what: total.count(read_msp_improv(whole)) for total in TOTALS}
    assert (counts["sessions"], counts["clips"], counts["clips with the consensus anger"]) == (6, 51, 13)
    assert (counts["read target sentences (R)"], counts["clips without agreement"]) == (13, 1)
    expected = {total.what: total.expected for total in TOTALS}
    assert sum(n for what, n in expected.items() if what.endswith(")")) == expected["clips"] == 8438
    assert sum(n for what, n in expected.items() if "consensus" in what or "agreement" in what) == 8438


@pytest.mark.parametrize(
    ("scores", "values"),
    [
        ("A:1; V:5; D:3; N:2;", {"arousal": 5, "valence": 5, "dominance": 3, "naturalness": 2}),
        ("N:2; D:3; V:5; A:5", {"arousal": 1, "valence": 5, "dominance": 3, "naturalness": 2}),
        ("A:nan; V:NaN; D:2.5;", {"dominance": 2.5}),
        ("V: 4.000000 ;", {"valence": 4}),
        ("", {}),
    ],
)
def test_numbers_of_a_rater(made, scores: str, values: dict):
    root = made(f"{HEADER}W1; Neutral; ; {scores}\nW2; Other-A:, b; Sad; {scores}\n")
    first, second = read_msp_improv(root).utterances[0].ratings
    assert (first.values, second.values) == (values, values)
    assert (first.labels, second.labels, second.secondary) == (("neutral",), ("other",), ("sad",))


def test_what_a_rater_wrote_may_look_like_a_number(made):
    root = made(f"{HEADER}W1; Other-well; A: b; V:1; Neutral,Other; A:1; V:2; D:3;\nW2; Other; N:x; Sad;\n")
    first, second = read_msp_improv(root).utterances[0].ratings
    assert (first.labels, first.secondary) == (("other",), ("neutral", "other"))
    assert first.values == {"arousal": 5, "valence": 2, "dominance": 3}
    assert (second.secondary, second.values) == (("sad",), {})


def test_the_direction_of_activation(made):
    """Of this clip public code prints what the file says, and EMO-SUPERB's table, which turned it, has 2.666667."""
    line = "UTD-IMPROV-S01A-F02-R-FF01.avi; A; A:3.333333; V:2.333333; D:3.000000 ; N:3.666667;\n"
    means = read_msp_improv(made(line)).utterances[0].means
    assert means == {"arousal": 2.666667, "valence": 2.333333, "dominance": 3.0, "naturalness": 3.666667}


def test_a_number_twice(made, refused):
    root = made(f"{HEADER}W1; Neutral; ; A:1; A:2;\n")
    what = "has a number for A or another letter twice"
    refused(lambda: read_msp_improv(root), what, file=root / "Evalution.txt", row=2, field="A", remedy=REMEDY)


def test_a_number_beside_the_scale_concerns_its_dimension_alone(made, refused):
    root = made(f"{HEADER}W1; Neutral; ; A:3; V:6; D:3;\nW2; Sad; ; A:3; V:2; D:3;\n")
    clip = read_msp_improv(root).utterances[0]
    assert count_votes(clip, SoftLabelPolicy()) == ({"neutral": 1, "sad": 1}, 2)
    words = tuple("12345")
    of = {
        name: LabelSet(name, words, {word: {"noun": (word,)} for word in words}, scale=Scale(name, "low", "high"))
        for name in ("arousal", "valence")
    }
    assert soft_label(clip, of["arousal"], SoftLabelPolicy()).votes.tolist() == [0, 0, 2, 0, 0]
    what = "6 is not on the scale from 1 to 5"
    file = root / "Evalution.txt"
    call = lambda: soft_label(clip, of["valence"], SoftLabelPolicy())  # noqa: E731
    refused(call, what, file=file, row=1, field="votes", remedy="Correct the rating", reason="bad_votes")


def test_the_config_reads_and_gives_soft_labels(whole: Path):
    config = compose(["dataset=msp_improv", f"dataset.root={whole}", "labels=basic4"])
    corpus, labels = read_corpus(read_dataset(config)), label_set("basic4")
    prepared = prepare_run(read_dataset(config), corpus, labels)
    assert labels.labels == ("anger", "happy", "neutral", "sad")
    assert len(prepared.items) == 51
    # Three raters, of whom one judged twice; two of four said other.
    assert prepared.items[0].target.distribution == pytest.approx([2 / 3, 0, 1 / 3, 0])
    assert prepared.items[1].target.distribution == pytest.approx([0, 1 / 2, 0, 1 / 2])
    assert prepared.items[1].target.outside_votes == 2
    assert prepared.skipped == ()


def test_one_session_is_tested_and_one_develops(whole: Path):
    config = compose(["dataset=msp_improv", f"dataset.root={whole}", "labels=basic4", "dataset.fold=5"], "train")
    prepared = prepare_run(read_dataset(config), read_corpus(read_dataset(config)), label_set("basic4"))
    policy = SplitPolicy(**plain(config.dataset.partition), fold=config.dataset.fold)
    assert count_folds(prepared.items, policy) == 6
    split = split_items(prepared.items, policy)
    sessions = [{item.utterance.metadata["session"] for item in part} for part in (split.test, split.development)]
    assert sessions == [{"6"}, {"1"}]


def test_many_clips_take_seconds(made):
    clips = [HEADER.replace("S09N", f"S{i % 100:02}N").replace("FM07", f"FM{i // 100:02}") for i in range(10_000)]
    root = made("\n".join(clip + f"W1; Neutral; Neutral,Frustrated; {SCORES}\n" * 6 for clip in clips))
    start = time.perf_counter()
    assert len(read_msp_improv(root).utterances) == 10_000
    assert time.perf_counter() - start < 20
