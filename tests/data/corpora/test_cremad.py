"""CREMA-D: the official layout, read from a made-up copy of it."""

from __future__ import annotations

import csv
import hashlib
import io
import re
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from copies import cremad as copy
from copies.labels import label_set

from emoprobe.data.corpora.cremad import CARD, TOTALS, read_cremad
from emoprobe.data.corpora.cremad_checksums import CLIPS, DIGESTS, FEWER_CLIPS, check_sound
from emoprobe.data.policy import SoftLabelPolicy
from emoprobe.data.utterance import Rating, Utterance
from emoprobe.data.votes import soft_label
from emoprobe.errors import InputError
from emoprobe.labels import LabelSet, Scale
from emoprobe.recipes.inputs import prepare_run, read_corpus
from emoprobe.recipes.settings import read_dataset
from emoprobe.settings import compose

EMOTIONS = ("Anger", "Disgust", "Fear", "Happy", "Neutral", "Sad")
MEANS = ["meanEmoResp", *(f"mean{emotion}Resp" for emotion in EMOTIONS), "medianEmoResp"]
HEADER = ["", *"ADFHNS", "fileName", "numResponses", "agreement", "emoVote", *MEANS, *(f"{name}Norm" for name in MEANS)]
REMEDY = "Restore the file from the corpus, or leave the row out: dataset.on_error=skip"


def line(row_id: str, name: str, counts: str, responses: int | str | None = None) -> list[object]:
    """A row of the vote table; ``counts`` are the votes for A, D, F, H, N, S, separated by spaces."""
    votes = [int(count) for count in counts.split()]
    top = ":".join(letter for letter, count in zip("ADFHNS", votes, strict=True) if count == max(votes))
    total = sum(votes) if responses is None else responses
    return [row_id, *votes, name, total, max(votes) / max(sum(votes), 1), top, *[-1.0] * 16]


ROWS = [
    line("100001", "1001_IEO_NEU_XX", "0 0 0 1 10 0"),
    line("100002", "1001_IEO_HAP_LO", "0 0 2 3 3 1"),
    line("100003", "1006_TIE_HAP_XX", "1 0 0 8 0 0"),
    line("100004", "1076_MTI_SAD_XX", "1 1 0 0 6 2"),
    line("200001", "1001_IEO_NEU_XX", "0 0 0 0 9 0"),
    line("300001", "1001_IEO_NEU_XX", "0 1 0 0 9 0"),
]
ACTORS = (
    '"ActorID","Age","Sex","Race","Ethnicity"\n'
    '1001,51,"Male","Caucasian","Not Hispanic"\n'
    '1006,58,"Female","African American","Hispanic"\n'
)


def table(rows: list[list[object]]) -> str:
    """As R writes it: text is quoted, numbers are not."""
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
    writer.writerow(HEADER)
    writer.writerows(rows)
    return text.getvalue()


@pytest.fixture
def cremad(tmp_path: Path) -> Callable[..., Path]:
    """Writes a corpus folder."""

    def make(votes: str | bytes | None = None, actors: str | None = ACTORS) -> Path:
        for name in ("AudioWAV", "processedResults"):
            (tmp_path / name).mkdir(exist_ok=True)
        votes = table(ROWS) if votes is None else votes
        votes_file = tmp_path / "processedResults" / "tabulatedVotes.csv"
        votes_file.write_bytes(votes if isinstance(votes, bytes) else votes.encode())
        if actors is not None:
            (tmp_path / "VideoDemographics.csv").write_text(actors)
        return tmp_path

    return make


def votes_file(root: Path) -> Path:
    return root / "processedResults" / "tabulatedVotes.csv"


# -------------------------------------------------------------------------------------------------------------- reading


def test_a_clip_and_its_voice_votes(cremad):
    root = cremad()
    corpus = read_cremad(root)
    first, second = corpus.utterances[:2]
    assert (first.id, first.speaker, first.split, first.num_raters) == ("1001_IEO_NEU_XX", "1001", None, 11)
    assert first.votes == {"anger": 0, "disgust": 0, "fear": 0, "happy": 1, "neutral": 10, "sad": 0}
    assert first.audio == root / "AudioWAV" / "1001_IEO_NEU_XX.wav"
    assert first.metadata == {
        "votes_from": "voice",
        "acted_emotion": "neutral",
        "level": "XX",
        "sentence": "IEO",
        "gender": "male",
        "age": 51,
        "race": "Caucasian",
        "ethnicity": "Not Hispanic",
    }
    assert (first.file, first.row, second.row) == (votes_file(root), 2, 3)
    assert second.votes == {"anger": 0, "disgust": 0, "fear": 2, "happy": 3, "neutral": 3, "sad": 1}
    assert (second.metadata["acted_emotion"], second.metadata["level"]) == ("happy", "LO")
    assert (len(corpus.utterances), corpus.skipped, corpus.card) == (4, (), CARD)


@pytest.mark.parametrize(("votes", "raters", "clips"), [("voice", 11, 4), ("face", 9, 1), ("audiovisual", 10, 1)])
def test_modes(cremad, votes: str, raters: int, clips: int):
    corpus = read_cremad(cremad(), votes=votes)
    assert len(corpus.utterances) == clips
    assert corpus.utterances[0].num_raters == raters
    assert {utterance.metadata["votes_from"] for utterance in corpus.utterances} == {votes}


def test_intensity_of_each_answer_and_of_a_clip(tmp_path: Path):
    copy.write(tmp_path)
    raw = {each.id: each for each in read_cremad(tmp_path).utterances}
    assert {each.scales["intensity"] for each in raw.values()} == {(0, 100)}
    assert [rating.values for rating in raw["1001_IEO_NEU_XX"].ratings] == [
        {"intensity": 40.0 + 10 * n} for n in range(1, 5)
    ]
    assert raw["1001_IEO_NEU_XX"].means == {"intensity": 65}
    assert [rating.values for rating in raw["1003_WSI_DIS_XX"].ratings] == [{}] * 3  # no level was given
    assert raw["1004_IOM_HAP_XX"].means == {"intensity": 65}  # its ratings do not sum to the votes
    (tmp_path / "finishedResponses.csv").unlink()
    for clip in read_cremad(tmp_path).utterances:
        # The published mean is that of the emotions' means, weighted by their votes (checked on all 22,326 real rows).
        row = next(
            r for r in csv.DictReader(votes_file(tmp_path).open()) if r["fileName"] == clip.id and r[""][0] == "1"
        )
        means = [
            float(row[f"mean{emotion}Resp"]) * int(row[letter])
            for emotion, letter in zip(EMOTIONS, "ADFHNS", strict=True)
        ]
        said = sum(mean for mean in means if mean > 0)
        assert clip.means["intensity"] == pytest.approx(said / clip.num_raters)
        assert clip.ratings == ()


def test_intensity_is_unknown_where_the_table_has_none(cremad):
    assert [each.means for each in read_cremad(cremad()).utterances] == [{}] * 4  # -1
    bare = "\n".join(",".join(row.split(",")[:11]) for row in table(ROWS).splitlines())
    assert [each.means for each in read_cremad(cremad(bare)).utterances] == [{}] * 4  # no such column
    assert len(read_cremad(cremad(bare)).utterances) == 4


def test_intensity_as_a_label_set(tmp_path: Path):
    copy.write(tmp_path)
    points = {str(point): {"noun": (str(point),)} for point in range(1, 6)}
    labels = LabelSet("intensity5", tuple(points), points, scale=Scale("intensity", "weak", "strong"))
    first = read_cremad(tmp_path).utterances[0]
    target = soft_label(first, labels, SoftLabelPolicy(repeated_raters="all"))
    # 50, 60, 70 and 80 of 100 are 3, 3.4, 3.8 and 4.2 of 1 to 5.
    assert target.votes.tolist() == pytest.approx([0, 0, 1.8, 2.0, 0.2])
    assert target.distribution @ np.arange(1, 6) == pytest.approx(1 + 65 / 100 * 4)


def test_actors_without_demographics(cremad):
    facts = read_cremad(cremad()).utterances[3].metadata
    assert set(facts) == {"votes_from", "acted_emotion", "level", "sentence", "known_defect"}


def test_no_demographics_at_all(cremad):
    root = cremad(actors=None)
    assert not (root / "VideoDemographics.csv").exists()
    facts = {"votes_from": "voice", "acted_emotion": "neutral", "level": "XX", "sentence": "IEO"}
    assert read_cremad(root).utterances[0].metadata == facts


def test_known_defects(cremad):
    defects = {u.id: u.metadata.get("known_defect") for u in read_cremad(cremad()).utterances}
    assert defects == {
        "1001_IEO_NEU_XX": None,
        "1001_IEO_HAP_LO": None,
        "1006_TIE_HAP_XX": "same sound as 1006_TIE_NEU_XX",
        "1076_MTI_SAD_XX": "silent",
    }
    clips = (
        "1006_TIE_HAP_XX",
        "1006_TIE_NEU_XX",
        "1013_WSI_DIS_XX",
        "1013_WSI_SAD_XX",
        "1017_IWW_ANG_XX",
        "1017_IWW_FEA_XX",
        "1076_MTI_SAD_XX",
    )
    assert set(CARD.defects) == set(clips)
    for clip in clips:
        assert clip in CARD.notes


def test_card():
    assert not CARD.synthetic
    assert "10.1109/TAFFC.2014.2336244" in CARD.citation
    assert "ODbL 1.0" in CARD.licence
    assert "DbCL 1.0" in CARD.licence
    assert CARD.words == ("anger", "disgust", "fear", "happy", "neutral", "sad")
    assert CARD.label_sets == ("basic6", "intensity5")


def test_other_sound_is_not_the_clip(cremad):
    root = cremad()
    (root / "AudioWAV" / "1006_TIE_HAP_XX.mp3").touch()
    assert read_cremad(root).utterances[2].audio.name == "1006_TIE_HAP_XX.wav"


# -------------------------------------------------------------------------------------------------------------- refused


def test_wrong_option(cremad, refused):
    root = cremad()
    call = lambda: read_cremad(root, votes="audio")  # noqa: E731
    refused(call, "unknown votes 'audio'", file=None, field="dataset.votes", remedy="Use")


@pytest.mark.parametrize(
    ("row", "what", "field", "reason"),
    [
        (line("100009", "1001_IEO_NEU", "0 0 0 1 1 0"), "is not ACTOR_SENTENCE_EMOTION_LEVEL", "fileName", "bad_row"),
        (line("100009", "1001_IEO_JOY_XX", "0 0 0 1 1 0"), "'1001_IEO_JOY_XX' is not", "fileName", "bad_row"),
        (line("100009", "../1001_IEO_SAD_XX", "0 0 0 1 1 0"), "is not ACTOR_", "fileName", "bad_row"),
        (line("400009", "1001_IEO_SAD_XX", "0 0 0 1 1 0"), "'400009' is not MNNNNN", "(first column)", "bad_row"),
        (line("", "1001_IEO_SAD_XX", "0 0 0 1 1 0"), "'' is not MNNNNN", "(first column)", "bad_row"),
        (
            line("100009", "1001_IEO_SAD_XX", "0 0 0 1 1 0", 3),
            "sum to 2 and numResponses says 3",
            "numResponses",
            "bad_votes",
        ),
        (line("100009", "1001_IEO_SAD_XX", "0 0 0 1 1 0", "NA"), "'NA' is not a whole", "numResponses", "bad_votes"),
        (line("100009", "1001_IEO_SAD_XX", "-1 0 0 1 1 0", 1), "'-1' is not a whole number", "A", "bad_votes"),
        (line("100009", "1001_IEO_SAD_XX", "0 0 99999999 1 1 0"), "'99999999' is not a whole", "F", "bad_votes"),
        (
            line("100009", "1001_IEO_SAD_XX", "0 0 0 1 1 0", "\u0662"),
            "'\u0662' is not a whole",
            "numResponses",
            "bad_votes",
        ),
        (line("100009", "1001_IEO_SAD_XX", "0 0 0 1 1 0", "2.0"), "'2.0' is not a whole", "numResponses", "bad_votes"),
        (line("100009", "1001_IEO_SAD_XX", "0 0 0 1 1 0")[:-1], "26 fields and the header 27", None, "bad_row"),
        ([*line("100009", "1001_IEO_SAD_XX", "0 0 0 1 1 0"), 0], "28 fields and the header 27", None, "bad_row"),
    ],
)
def test_bad_rows(cremad, refused, row: list, what: str, field: str | None, reason: str):
    root = cremad(table([*ROWS, row]))
    call = lambda: read_cremad(root)  # noqa: E731
    refused(call, what, file=votes_file(root), row=8, field=field, remedy=REMEDY, reason=reason)
    corpus = read_cremad(root, on_error="skip")
    assert len(corpus.utterances) == 4
    assert [(each.reason, each.row, each.file) for each in corpus.skipped] == [(reason, 8, str(votes_file(root)))]


@pytest.mark.parametrize("content", [table([]), table(ROWS[4:])])
def test_no_rows(cremad, content: str):
    root = cremad(content)
    with pytest.raises(InputError) as caught:
        read_cremad(root)
    assert caught.value.file == votes_file(root)
    assert "Restore the file" in caught.value.remedy


def test_only_bad_rows(cremad, refused):
    root = cremad(table([line("100001", "x", "1 0 0 0 0 0")]))
    call = lambda: read_cremad(root, on_error="skip")  # noqa: E731
    refused(call, "no usable utterance", file=votes_file(root), remedy="'x' is not ACTOR_SENTENCE")


# -------------------------------------------------------------------------------------------------- who said what


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    """A copy with the answers of single raters."""
    copy.write(tmp_path)
    return tmp_path


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), encoding="utf-8")


def words(utterance: Utterance) -> list[str]:
    return [word for rating in utterance.ratings for word in rating.labels]


def test_ratings_stand_in_for_votes(whole: Path):
    first = read_cremad(whole).utterances[0]
    assert words(first) == ["neutral", "neutral", "neutral", "happy"]  # without the slow anger
    assert first.ratings[3] == Rating("SSI_1132000004", ("happy",), values={"intensity": 80.0})
    assert (first.votes, first.num_raters) == ({}, None)
    assert "ratings_differ" not in first.metadata


def test_votes_that_differ_from_the_ratings_are_kept(whole: Path):
    clip = next(each for each in read_cremad(whole).utterances if each.id == "1004_IOM_HAP_XX")
    assert clip.votes == {"anger": 0, "disgust": 0, "fear": 0, "happy": 2, "neutral": 1, "sad": 1}
    assert (clip.num_raters, clip.ratings, clip.metadata["ratings_differ"]) == (4, (), 1.0)


def test_a_rater_who_answers_twice_stays_one_person(whole: Path, six: LabelSet):
    clip = next(each for each in read_cremad(whole).utterances if each.id == "1003_ITS_FEA_XX")
    assert [rating.rater[-1] for rating in clip.ratings] == ["1", "1", "2"]
    np.testing.assert_array_equal(soft_label(clip, six, SoftLabelPolicy()).votes, [0, 0, 1, 0, 0, 1])
    policy = SoftLabelPolicy(repeated_raters="all")
    np.testing.assert_array_equal(soft_label(clip, six, policy).votes, [0, 0, 2, 0, 0, 1])


def test_ratings_of_other_modes(whole: Path):
    assert words(read_cremad(whole, votes="face").utterances[2]) == ["anger", "disgust"]
    assert words(read_cremad(whole, votes="audiovisual").utterances[0]) == ["disgust", "neutral", "neutral"]


def test_without_the_times_slow_answers_cannot_be_told(whole: Path):
    (whole / "finishedEmoResponses.csv").unlink()
    differing = [each.id for each in read_cremad(whole).utterances if each.metadata.get("ratings_differ")]
    assert differing == ["1001_IEO_NEU_XX", "1002_DFA_ANG_XX", "1004_IOM_HAP_XX"]


def test_a_time_that_is_no_number_keeps_its_answer(whole: Path):
    edit(whole / "finishedEmoResponses.csv", '"12345"', '"NA"')
    differing = [each.id for each in read_cremad(whole).utterances if each.metadata.get("ratings_differ")]
    assert len(differing) == 2


def test_without_answers_there_are_only_votes(whole: Path):
    (whole / "finishedResponses.csv").unlink()
    corpus = read_cremad(whole)
    assert not any(each.ratings or each.metadata.get("ratings_differ") for each in corpus.utterances)
    assert corpus.utterances[0].votes == {"anger": 0, "disgust": 0, "fear": 0, "happy": 1, "neutral": 3, "sad": 0}


@pytest.mark.parametrize("answer", ["F", "f", "FEA", "fear", "F_50", " Fea_80"])
def test_ways_to_write_an_answer(whole: Path, answer: str):
    edit(whole / "finishedResponses.csv", '"1001_IEO_HAP_LO",3001,"F"', f'"1001_IEO_HAP_LO",3001,"{answer}"')
    assert words(read_cremad(whole).utterances[1]) == ["fear", "fear", "happy", "neutral"]


def test_the_answer_with_its_level_stands_in(whole: Path):
    edit(whole / "finishedResponses.csv", '"1001_IEO_HAP_LO",3001,"F"', '"1001_IEO_HAP_LO",3001,""')
    assert words(read_cremad(whole).utterances[1]) == ["fear", "fear", "happy", "neutral"]


def test_a_clip_without_one_of_its_answers_has_the_votes_of_the_table(whole: Path):
    edit(whole / "finishedResponses.csv", 'LO",3001,"F"', 'LO",3001,"X"')
    clip = read_cremad(whole, on_error="skip").utterances[1]
    assert (clip.ratings, clip.num_raters, clip.metadata["ratings_differ"]) == ((), 4, 1.0)


def test_many_answers_are_read_within_seconds(whole: Path):
    header = (whole / "finishedResponses.csv").read_text().splitlines()[0]
    row = '"{0}","SSI_{1}",1,"F_50","3245",2,0,2,{0},4,"1001_IEO_HAP_LO",{1},"F","50","H",50,"L"'
    rows = [row.format(number, number % 2_443) for number in range(100_000)]
    (whole / "finishedResponses.csv").write_text("\n".join([header, *rows]))
    start = time.perf_counter()
    read_cremad(whole)
    assert time.perf_counter() - start < 20  # about 1 s alone on a machine


# ----------------------------------------------------------------------------------------------------- sound and config


@pytest.mark.parametrize("mode", ["face", "audiovisual"])
def test_the_config_says_whose_votes(whole: Path, mode: str):
    config = compose(["dataset=cremad", f"dataset.root={whole}", f"dataset.votes={mode}", "labels=basic6"])
    corpus = read_corpus(read_dataset(config))
    assert {utterance.metadata["votes_from"] for utterance in corpus.utterances} == {mode}
    assert len(prepare_run(read_dataset(config), corpus, label_set("basic6")).items) == 8


# --------------------------------------------------------------------------------------------- totals and checksums


def test_totals_are_counted_from_ratings_and_from_votes(whole: Path):
    counts = {total.what: total.count(read_cremad(whole)) for total in TOTALS}
    acted = {"anger": 1, "disgust": 1, "fear": 1, "happy": 2, "neutral": 2, "sad": 1}
    others = [total.what for total in TOTALS if "face" in total.what or "audiovisual" in total.what]
    assert counts == {
        "clips": 8,
        "actors": 4,
        **{f"clips acted as {word}": count for word, count in acted.items()},
        "voice votes": 29,  # ratings 4 + 4 + 4 + 4 + 3 + 3 + 3, and the votes of one clip, 4
        "clips with a tie for the top voice vote": 1,
        "clips with unanimous voice votes": 1,
        **dict.fromkeys(others),
    }
    assert len(others) == 6
    expected = {total.what: total.expected for total in TOTALS}
    assert {what: expected[what] for what in expected if what.endswith(("clips", "actors")) or "voice" in what} == {
        "clips": 7_442,
        "actors": 91,
        "voice votes": 68_568,
        "clips with a tie for the top voice vote": 644,
        "clips with unanimous voice votes": 383,
    }
    assert [expected[f"clips acted as {word}"] for word in CARD.words] == [1271, 1271, 1271, 1271, 1087, 1271]


@pytest.mark.parametrize("mode", ["voice", "face", "audiovisual"])
def test_totals_of_one_mode_do_not_apply_to_other_votes(whole: Path, mode: str):
    counts = {total.what: total.count(read_cremad(whole, votes=mode)) for total in TOTALS}
    counted = {what: count for what, count in counts.items() if count is not None}
    assert (counted["clips"], counted["actors"], len(counted)) == (8, 4, 11)
    assert {what for what in counted if "vote" in what} == {
        f"{mode} votes",
        f"clips with a tie for the top {mode} vote",
        f"clips with unanimous {mode} votes",
    }


def test_every_actor_has_a_digest():
    assert sorted(DIGESTS) == [str(1001 + number) for number in range(91)]
    assert all(re.fullmatch("[0-9a-f]{16}", value) for value in DIGESTS.values())
    assert len(set(DIGESTS.values())) == 91
    assert sum(FEWER_CLIPS.get(actor, CLIPS) for actor in DIGESTS) == 7_442


def test_sound_is_compared_actor_by_actor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    first = {f"1001_TIE_{number:03}": hashlib.sha256(b"%d" % number).hexdigest() for number in range(82)}
    second = {f"1002_TIE_{number:03}": hashlib.sha256(b"%d" % number).hexdigest() for number in range(81)}
    lines = "".join(f"{name} {first[name]}\n" for name in sorted(first))
    monkeypatch.setitem(DIGESTS, "1001", hashlib.sha256(lines.encode()).hexdigest()[:16])
    assert check_sound(tmp_path, first) == []
    assert check_sound(tmp_path, dict(reversed(first.items())) | {"notes": "0"}) == []
    (message,) = check_sound(tmp_path, first | second)
    assert message.startswith("actor 1002: the sound differs from the official release")
    assert str(tmp_path) in message
    changed = first | {"1001_TIE_000": "0" * 64}
    assert [each[:11] for each in check_sound(tmp_path, changed | second)] == ["actor 1001:", "actor 1002:"]
    # Where a clip is missing, nothing can be said.
    del changed["1001_TIE_001"], second["1002_TIE_001"]
    assert check_sound(tmp_path, changed | second) == []


# ------------------------------------------------------------------------------------------------------------ any bytes
