"""IEMOCAP: the official layout, read from a made-up copy of it."""

from __future__ import annotations

import os
import shutil
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from copies import iemocap as copy

from emoprobe.data.ballots import count_votes
from emoprobe.data.corpora.iemocap import CARD, CONSENSUS, TOTALS, WORDS, read_iemocap
from emoprobe.data.policy import SoftLabelPolicy
from emoprobe.data.reading.files import MAX_LINE
from emoprobe.data.split_policy import SplitPolicy
from emoprobe.data.splits import count_folds, split_items
from emoprobe.data.utterance import Corpus, Rating, Utterance
from emoprobe.data.votes import soft_label
from emoprobe.labels import LabelSet, Scale
from emoprobe.recipes.inputs import prepare_run, read_corpus
from emoprobe.recipes.settings import read_dataset
from emoprobe.settings import compose, plain

FIRST = "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt"
SAID = "Session1/dialog/transcriptions/Ses01F_impro01.txt"
HEADER = copy.HEADER
RESTORE = "Restore the file from the corpus"
REMEDY = f"{RESTORE}, or leave the row out: dataset.on_error=skip"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The copy, not to be changed."""
    root = tmp_path_factory.mktemp("iemocap")
    copy.write(root)
    return root


@pytest.fixture
def made(tmp_path: Path) -> Callable[..., Path]:
    """Writes a corpus of one label file and one transcription, without sound."""

    def make(labels: str | bytes = copy.IMPRO, said: str | bytes | None = copy.IMPRO_SAID) -> Path:
        for name, text in ((FIRST, labels), (SAID, said)):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            if text is not None:
                (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode("latin-1"))
        return tmp_path

    return make


def turn(corpus: Corpus, name: str) -> Utterance:
    return next(utterance for utterance in corpus.utterances if utterance.id == name)


def label_set(name: str) -> LabelSet:
    return LabelSet(**plain(compose([f"labels={name}"]).labels))


# -------------------------------------------------------------------------------------------------------------- reading


def test_a_turn(whole: Path):
    corpus = read_iemocap(whole)
    first = corpus.utterances[0]
    assert (first.id, first.speaker, first.split, first.num_raters) == ("Ses01F_impro01_F000", "Ses01F", None, None)
    assert first.audio == whole / "Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav"
    assert first.votes == {}
    assert first.ratings == (
        Rating("E2", ("neutral",)),
        Rating("E3", ("neutral",), values={"valence": 3, "arousal": 2, "dominance": 2}),
        Rating("E4", ("neutral",), values={"valence": 2, "arousal": 3, "dominance": 2}),
        Rating("F1-Ses01", ("happy",), self_report=True, values={"valence": 3, "arousal": 2, "dominance": 1}),
    )
    assert first.means == {"valence": 2.5, "arousal": 2.5, "dominance": 2.0}
    assert first.scales == dict.fromkeys(("valence", "arousal", "dominance"), (1, 5))
    assert first.scales is corpus.utterances[-1].scales
    assert first.metadata == {
        "session": "1",
        "dialogue": "Ses01F_impro01",
        "scenario": "impro",
        "gender": "female",
        "start": 6.2901,
        "end": 8.2357,
        "consensus": "neutral",
        "valence": 2.5,
        "arousal": 2.5,
        "dominance": 2.0,
    }
    assert (first.file, first.row) == (whole / FIRST, 3)
    assert (len(corpus.utterances), corpus.skipped, corpus.card) == (30, (), CARD)
    assert all(utterance.audio.is_file() for utterance in corpus.utterances)


def test_a_rater_of_numbers_alone(whole: Path):
    numbers = turn(read_iemocap(whole), "Ses01F_impro01_F001").ratings
    assert [(rating.rater, rating.labels, rating.values) for rating in numbers] == [
        ("E2", ("other",), {}),
        ("E3", ("excited", "fear"), {}),
        ("E2", ("disgust",), {}),
        ("E4", (), {"valence": 2}),
    ]
    votes, raters = count_votes(turn(read_iemocap(whole), "Ses01F_impro01_F001"), SoftLabelPolicy())
    assert (votes, raters) == ({"other": 1, "excited": 0.5, "fear": 0.5}, 2)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("val 3; act 2; dom  1;\t()", {"valence": 3, "arousal": 2, "dominance": 1}),
        ("val 3;act 2;dom 1; ()", {"valence": 3, "arousal": 2, "dominance": 1}),
        ("dom 5; val 1; act 4;\t(a; b (c))", {"valence": 1, "arousal": 4, "dominance": 5}),
        ("val 2; act ; dom  ;\t(no", {"valence": 2}),
        ("val ; act ; dom  ;\t()", {}),
        ("val nan; act 2; dom NaN;\t()", {"arousal": 2}),
        ("\t()", {}),
        ("val 3.5; act 2;\t()", {"valence": 3.5, "arousal": 2}),
        ("Val 3; ACT 2; dom 1", {"valence": 3, "arousal": 2, "dominance": 1}),
    ],
)
def test_numbers_of_a_rater(made, text: str, values: dict):
    root = made(HEADER + f"C-E1:\tAnger;\t()\nA-E1:\t{text}\nA-M1:\t{text}\n")
    first, *others = read_iemocap(root).utterances[0].ratings
    assert (first.rater, first.labels, first.values) == ("E1", ("anger",), values)
    assert [(r.rater, r.labels, r.values, r.self_report) for r in others] == (
        [("M1-Ses01", (), values, True)] if values else []
    )


def test_numbers_may_stand_before_and_belong_in_order(made):
    lines = "A-E1:\tval 1;\t()\nC-E1:\tAnger;\t()\nC-E2:\tFear;\t()\n"
    lines += "C-E1:\tSadness;\t()\nA-E1:\tval 5;\t()\nA-E1:\tval 4;\t()\n"
    ratings = read_iemocap(made(HEADER + lines)).utterances[0].ratings
    assert [(r.rater, r.labels, r.values) for r in ratings] == [
        ("E1", ("anger",), {"valence": 1}),
        ("E2", ("fear",), {}),
        ("E1", ("sad",), {"valence": 5}),
        ("E1", (), {"valence": 4}),
    ]


@pytest.mark.parametrize(
    "text", ["val x; act 2; dom 1;\t()", "val 3; val 2;\t()", "pleasure 3;\t()", "3; 2; 1;\t()", "val -1;\t()"]
)
def test_numbers_of_another_form(made, refused, text: str):
    root = made(HEADER + f"C-E1:\tAnger;\t()\nA-E1:\t{text}\n")
    what = "is not A-RATER: val 1; act 1; dom 1; (comment)"
    refused(lambda: read_iemocap(root), what, file=root / FIRST, row=3, field="attributes", remedy=REMEDY)


def test_self_reports_of_a_dimension_count_under_their_policy(whole: Path):
    words = tuple("12345")
    arousal = LabelSet(
        "points", words, {word: {"noun": (word,)} for word in words}, scale=Scale("arousal", "calm", "active")
    )
    first = read_iemocap(whole).utterances[0]
    assert soft_label(first, arousal, SoftLabelPolicy()).votes.tolist() == [0, 1, 1, 0, 0]
    assert soft_label(first, arousal, SoftLabelPolicy(self_reports=True)).votes.tolist() == [0, 2, 1, 0, 0]


def test_sessions_and_scenarios(whole: Path):
    utterances = read_iemocap(whole).utterances
    assert Counter(utterance.metadata["session"] for utterance in utterances) == dict.fromkeys("12345", 6)
    script = turn(read_iemocap(whole), "Ses01M_script01_1b_F000")
    assert (script.speaker, script.metadata["gender"], script.metadata["scenario"]) == ("Ses01F", "female", "script")


def test_votes_by_hand(whole: Path):
    corpus = read_iemocap(whole)
    several = turn(corpus, "Ses01F_impro01_M000")
    votes, raters = count_votes(several, SoftLabelPolicy())
    # E2 half and half, E3 whole, E4 in thirds; the actor's own report is left out.
    assert votes == pytest.approx({"neutral": 1 / 2 + 1 / 3, "frustration": 3 / 2, "anger": 1 / 3, "sad": 1 / 3})
    assert raters == 3
    votes, raters = count_votes(several, SoftLabelPolicy(self_reports=True, several="each"))
    assert votes == {"neutral": 2, "frustration": 2, "anger": 1, "sad": 1, "excited": 1, "surprise": 1}
    assert raters == 4


def test_actors_of_two_sessions_are_two_raters(made, tmp_path: Path):
    made(HEADER + "C-F1:\tAnger;\t()\n")
    other = tmp_path / "Session2/dialog/EmoEvaluation/Ses02F_impro01.txt"
    other.parent.mkdir(parents=True)
    other.write_text(HEADER.replace("Ses01", "Ses02") + "C-F1:\tAnger;\t()\nC-E1:\tAnger;\t()\n")
    raters = [rating.rater for utterance in read_iemocap(tmp_path).utterances for rating in utterance.ratings]
    assert raters == ["F1-Ses01", "F1-Ses02", "E1"]


@pytest.mark.parametrize("code", CONSENSUS)
def test_consensus(made, code: str):
    corpus = read_iemocap(made(HEADER.replace("neu", code)))
    assert corpus.utterances[0].metadata["consensus"] == CONSENSUS[code]


def test_words(made):
    words = ("Neutral state", "Neutral", "Happiness", "Anger", "Sadness", "Frustration", "Excited", "Excitement")
    words += ("Surprise", "Disgust", "Fear", "Other", "Contempt")
    root = made(HEADER + "".join(f"C-E{i}:\t{word};\t()\n" for i, word in enumerate(words)))
    assert [rating.labels[0] for rating in read_iemocap(root).utterances[0].ratings] == [
        *("neutral", "neutral", "happy", "anger", "sad", "frustration", "excited", "excited"),
        *("surprise", "disgust", "fear", "other", "contempt"),
    ]
    assert set(CARD.words) == set(WORDS.values())


def test_an_unknown_consensus_is_passed_on(made):
    corpus = read_iemocap(made(HEADER.replace("neu", "Bor") + "C-E1:\t Boredom ;\t()\n"))
    assert corpus.utterances[0].metadata["consensus"] == "bor"


def test_a_turn_without_raters_has_no_votes(made):
    assert read_iemocap(made(HEADER)).utterances[0].ratings == ()


# --------------------------------------------------------------------------------------------- transcripts and dialogue


def test_transcripts(whole: Path):
    said = {utterance.id: utterance.transcript for utterance in read_iemocap(whole).utterances}
    assert said["Ses01F_impro01_F000"] == "Excuse me, caf\xe9?"
    assert said["Ses01F_impro01_F001"] == "Yeah. [LAUGHTER] Well, here."
    assert said["Ses01F_impro01_M001"] is None  # no line
    assert said["Ses01M_script01_1b_M000"] is None  # no file


@pytest.mark.parametrize(
    ("turns", "expected"),
    [
        (0, [None, None, None, None]),
        (1, ["", "F: Excuse me, caf\xe9?", "M: Do you have your forms?", "F: Yeah. [LAUGHTER] Well, here."]),
        (
            3,
            [
                "",
                "F: Excuse me, caf\xe9?",
                "F: Excuse me, caf\xe9?\nM: Yes.\nM: Do you have your forms?",
                "M: Yes.\nM: Do you have your forms?\nF: Yeah. [LAUGHTER] Well, here.",
            ],
        ),
    ],
)
def test_dialogue_in_the_order_of_time(whole: Path, turns: int, expected: list):
    utterances = read_iemocap(whole, context_turns=turns).utterances
    assert [utterance.dialogue for utterance in utterances[:4]] == expected
    assert utterances[4].dialogue is None  # no transcription


def test_three_turns_by_default(whole: Path):
    assert read_iemocap(whole).utterances == read_iemocap(whole, context_turns=3).utterances
    # Turns 3, 4, 5 come before turn 6, in time order and not in that of the names.
    assert turn(read_iemocap(whole), "Ses02F_impro02_M002").dialogue == "F: Line 2.\nM: Line 3.\nF: Line 4."


def test_a_turn_is_never_its_own_context(made):
    late = copy.IMPRO_SAID.replace("014.8872", "014.8871")
    assert turn(read_iemocap(made(said=late), 1), "Ses01F_impro01_F001").dialogue == "M: Do you have your forms?"


@pytest.mark.parametrize("text", ["caf\xe9".encode(), "caf\xe9".encode("latin-1")])
def test_encodings_of_a_transcript(made, text: bytes):
    root = made(HEADER, b"\xef\xbb\xbfSes01F_impro01_F009 [030.0000-031.0000]: " + text + b"\r\n")
    assert read_iemocap(root).utterances[0].transcript == "caf\xe9"


@pytest.mark.parametrize("said", [None, "", "Ses01F_impro01_F009 [030.0000-031.0000]:  \n"])
def test_nothing_transcribed(made, said: str | None):
    only = read_iemocap(made(HEADER, said)).utterances[0]
    assert (only.transcript, only.dialogue) == (None, None if said is None else "")


# ----------------------------------------------------------------------------------------------------- files and sounds


def test_some_sessions_only(whole: Path, tmp_path: Path):
    for session in (2, 4):
        shutil.copytree(whole / f"Session{session}", tmp_path / f"Session{session}")
    (tmp_path / "Session5").mkdir()
    corpus = read_iemocap(tmp_path)
    assert [utterance.metadata["session"] for utterance in corpus.utterances] == ["2"] * 6 + ["4"] * 6


# -------------------------------------------------------------------------------------------------------------- refused


def test_a_folder_without_label_files(tmp_path: Path, refused):
    (tmp_path / "Session1/dialog/EmoEvaluation").mkdir(parents=True)
    refused(lambda: read_iemocap(tmp_path), "no usable utterance", file=tmp_path, remedy=RESTORE)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"context_turns": -1}, "dataset.context_turns"),
        ({"context_turns": True}, "dataset.context_turns"),
        ({"context_turns": 1.5}, "dataset.context_turns"),
        ({"context_turns": "3"}, "dataset.context_turns"),
    ],
)
def test_wrong_options(whole: Path, refused, options: dict, field: str):
    remedy = "Use error or skip" if "on_error" in options else "Give a number of turns"
    refused(lambda: read_iemocap(whole, **options), "", file=None, field=field, remedy=remedy)


def test_raters_of_a_damaged_turn_do_not_join_the_turn_before(made):
    first = "".join(copy.IMPRO.splitlines(keepends=True)[2:6])
    for gap in ("", "\n"):
        text = first + gap + HEADER.replace("]\tS", "]S") + "C-E1:\tAnger;\t()\n"
        corpus = read_iemocap(made(text), on_error="skip")
        assert [rating.labels for rating in corpus.utterances[0].ratings] == [("neutral",)] * 3
        assert len(corpus.skipped) == 1


def test_an_empty_file(whole: Path, tmp_path: Path, refused):
    root = tmp_path / "copy"
    shutil.copytree(whole, root)
    (root / FIRST).write_text(copy.HEAD)
    call = lambda: read_iemocap(root)  # noqa: E731
    refused(call, "no turn in this file", file=root / FIRST, remedy=REMEDY, reason="bad_row")
    corpus = read_iemocap(root, on_error="skip")
    assert (len(corpus.utterances), len(corpus.skipped)) == (26, 1)


def test_nothing_usable(made, refused):
    root = made("junk\n")
    refused(
        lambda: read_iemocap(root, on_error="skip"), "no usable utterance", file=root, remedy="'junk' is not [START"
    )


def test_a_file_of_another_session(made, refused):
    root = made()
    wrong = root / "Session1/dialog/EmoEvaluation/Ses02F_impro01.txt"
    shutil.copy(root / FIRST, wrong)
    what = "a label file of session 2 lies in the folder of session 1"
    refused(lambda: read_iemocap(root), what, file=wrong, remedy="Move it to its own session")


def test_an_endless_line_of_a_transcription(made, refused):
    root = made(said="x" * (MAX_LINE + 1))
    refused(lambda: read_iemocap(root), "longer than", file=root / SAID, row=1, remedy=RESTORE)


def test_a_label_file_that_is_a_folder(made, refused):
    root = made()
    (root / FIRST).unlink()
    (root / FIRST).mkdir()
    refused(lambda: read_iemocap(root), "cannot be read", file=root / FIRST, remedy=RESTORE)


def test_a_folder_that_may_not_be_read(made, refused, monkeypatch: pytest.MonkeyPatch):
    root = made()

    def refuse(folder: Path) -> list[str]:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "listdir", refuse)
    what = "the folder cannot be read: Permission denied"
    refused(lambda: read_iemocap(root), what, file=(root / FIRST).parent, remedy="Make it readable")


# ---------------------------------------------------------------------------------------------------- card and configs


def test_card():
    assert not CARD.synthetic
    assert "10.1007/s10579-008-9076-6" in CARD.citation
    assert "Self-reports are left out of soft labels by default" in CARD.notes
    assert "one session out (five folds), or one speaker (ten folds)" in CARD.splits


def test_totals(whole: Path):
    counts = {total.what: total.count(read_iemocap(whole)) for total in TOTALS}
    assert counts == {
        "turns": 30,
        "speakers": 10,
        "turns of the four classes": 27,
        "turns of the four classes in session 1": 3,
        **{f"turns of the four classes in session {session}": 6 for session in (2, 3, 4, 5)},
        "turns with the consensus neutral": 9,
        "turns with the consensus anger": 5,
        "turns with the consensus sad": 4,
        "turns with the consensus happy": 5,
        "turns with the consensus excited": 4,
        "turns without agreement": 1,
    }
    expected = {total.what: total.expected for total in TOTALS}
    assert sum(expected[f"turns of the four classes in session {session}"] for session in range(1, 6)) == 5531
    words = ("neutral", "anger", "sad", "happy", "excited")
    assert sum(expected[f"turns with the consensus {word}"] for word in words) == 5531
    assert all(total.source for total in TOTALS)


def test_soft_labels_by_hand(whole: Path):
    config = compose(["dataset=iemocap", f"dataset.root={whole}", "labels=iemocap4"])
    corpus, labels = read_corpus(read_dataset(config)), label_set("iemocap4")
    items = {item.utterance.id: item.target for item in prepare_run(read_dataset(config), corpus, labels).items}
    assert labels.labels == ("anger", "happy", "neutral", "sad")
    # 5/6 neutral, 1/3 anger, 1/3 sad; 3/2 frustration are dropped.
    assert items["Ses01F_impro01_M000"].distribution == pytest.approx([2 / 9, 0, 5 / 9, 2 / 9])
    assert items["Ses01F_impro01_M000"].outside_votes == pytest.approx(1.5)
    # Happiness, Happiness and Excited, Neutral.
    assert items["Ses01M_script01_1b_M000"].distribution == pytest.approx([0, 2 / 3, 1 / 3, 0])
    assert "Ses01F_impro01_M001" not in items


def test_the_published_four_classes(whole: Path):
    config = compose(["dataset=iemocap4", f"dataset.root={whole}", "labels=basic4"])
    assert config.dataset.context_turns == 3
    corpus = read_corpus(read_dataset(config))
    prepared = prepare_run(read_dataset(config), corpus, label_set("basic4"))
    assert len(prepared.items) == 27
    assert {item.utterance.metadata["consensus"] for item in prepared.items} == {
        *("neutral", "anger", "sad", "happy", "excited")
    }
    excited = next(item for item in prepared.items if item.utterance.metadata["consensus"] == "excited")
    assert excited.target.votes[1] >= 2


def test_options_reach_the_reader(whole: Path):
    config = compose(["dataset=iemocap", f"dataset.root={whole}", "dataset.context_turns=0"])
    assert {utterance.dialogue for utterance in read_corpus(read_dataset(config)).utterances} == {None}


@pytest.mark.parametrize("dataset", ["iemocap", "iemocap4"])
def test_one_session_is_tested_and_one_develops(whole: Path, dataset: str):
    config = compose([f"dataset={dataset}", f"dataset.root={whole}", "labels=iemocap4"], "train")
    prepared = prepare_run(read_dataset(config), read_corpus(read_dataset(config)), label_set("iemocap4"))
    policy = SplitPolicy(**plain(config.dataset.partition))
    assert count_folds(prepared.items, policy) == 5
    split = split_items(prepared.items, policy)
    sessions = [{item.utterance.metadata["session"] for item in part} for part in (split.test, split.development)]
    assert sessions == [{"1"}, {"2"}]
    assert {item.utterance.metadata["session"] for item in split.train} == {"3", "4", "5"}


def test_as_many_turns_as_the_corpus_has_take_seconds(tmp_path: Path):
    for session in range(1, 6):
        for number in range(10):
            dialogue = f"Ses0{session}F_impro{number:02}"
            labels, said = copy.HEAD, ""
            for i in range(400):
                name = f"{dialogue}_{'FM'[i % 2]}{i:03}"
                labels += f"[{i}.0000 - {i}.9000]\t{name}\tneu\t[2.0000, 3.0000, 4.0000]\n"
                labels += "".join(f"C-E{rater}:\tNeutral; Anger;\t()\n" for rater in range(1, 5)) + "\n"
                said += f"{name} [{i}.0000-{i}.9000]: Some words.\n"
            for folder, text in (("EmoEvaluation", labels), ("transcriptions", said)):
                file = tmp_path / f"Session{session}/dialog/{folder}/{dialogue}.txt"
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text)
    start = time.perf_counter()
    assert len(read_iemocap(tmp_path).utterances) == 20_000
    assert time.perf_counter() - start < 20
