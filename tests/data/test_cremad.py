"""CREMA-D: the official layout, read from a made-up copy of it."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emoprobe.data.cremad import CARD, read_cremad
from emoprobe.data.utterance import Corpus
from emoprobe.data.votes import SoftLabelPolicy, prepare
from emoprobe.errors import InputError
from emoprobe.labels import LabelSet

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


def test_the_header_is_the_official_one():
    assert len(HEADER) == 27
    assert HEADER[11:19] == [
        "meanEmoResp",
        "meanAngerResp",
        "meanDisgustResp",
        "meanFearResp",
        "meanHappyResp",
        "meanNeutralResp",
        "meanSadResp",
        "medianEmoResp",
    ]


def test_a_clip_and_its_voice_votes(cremad):
    root = cremad()
    corpus = read_cremad(root)
    first, second = corpus.utterances[:2]
    assert (first.id, first.speaker, first.split, first.num_raters) == ("1001_IEO_NEU_XX", "1001", None, 11)
    assert first.votes == {"anger": 0, "disgust": 0, "fear": 0, "happy": 1, "neutral": 10, "sad": 0}
    assert first.audio == root / "AudioWAV" / "1001_IEO_NEU_XX.wav"
    assert first.metadata == {
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


def test_actors_without_demographics(cremad):
    facts = read_cremad(cremad()).utterances[3].metadata
    assert set(facts) == {"acted_emotion", "level", "sentence", "known_defect"}


def test_no_demographics_at_all(cremad):
    root = cremad(actors=None)
    assert not (root / "VideoDemographics.csv").exists()
    assert read_cremad(root).utterances[0].metadata == {"acted_emotion": "neutral", "level": "XX", "sentence": "IEO"}


def test_known_defects(cremad):
    defects = {u.id: u.metadata.get("known_defect") for u in read_cremad(cremad()).utterances}
    assert defects == {
        "1001_IEO_NEU_XX": None,
        "1001_IEO_HAP_LO": None,
        "1006_TIE_HAP_XX": "same sound as 1006_TIE_NEU_XX",
        "1076_MTI_SAD_XX": "silent",
    }
    for clip in (
        "1006_TIE_HAP_XX",
        "1006_TIE_NEU_XX",
        "1013_WSI_DIS_XX",
        "1013_WSI_SAD_XX",
        "1017_IWW_ANG_XX",
        "1017_IWW_FEA_XX",
        "1076_MTI_SAD_XX",
    ):
        assert clip in CARD.notes


def test_card():
    assert not CARD.synthetic
    assert "10.1109/TAFFC.2014.2336244" in CARD.citation
    assert "ODbL 1.0" in CARD.licence
    assert "DbCL 1.0" in CARD.licence


def test_suffix_of_the_sound_in_any_case(cremad):
    root = cremad()
    for name in ("1001_IEO_NEU_XX.WAV", "1001_IEO_HAP_LO.wav", "1006_TIE_HAP_XX.mp3"):
        (root / "AudioWAV" / name).touch()
    names = [utterance.audio.name for utterance in read_cremad(root).utterances]
    assert names[:3] == ["1001_IEO_NEU_XX.WAV", "1001_IEO_HAP_LO.wav", "1006_TIE_HAP_XX.wav"]


def test_a_partial_copy_says_how_much_is_missing(cremad, six: LabelSet):
    root = cremad()
    (root / "AudioWAV" / "1001_IEO_NEU_XX.wav").touch()
    with pytest.raises(InputError, match="3 of 4 utterances"):
        prepare(read_cremad(root), six, SoftLabelPolicy())
    prepared = prepare(read_cremad(root), six, SoftLabelPolicy(), missing_audio="skip")
    assert [item.utterance.id for item in prepared.items] == ["1001_IEO_NEU_XX"]


@pytest.mark.parametrize("change", [lambda t: "\ufeff" + t, lambda t: t.replace("\n", "\r\n"), lambda t: t + "\n\n"])
def test_other_line_ends_byte_order_mark_and_blank_lines(cremad, change: Callable[[str], str]):
    assert len(read_cremad(cremad(change(table(ROWS)))).utterances) == 4


# -------------------------------------------------------------------------------------------------------------- refused


def test_another_folder(tmp_path: Path, refused):
    refused(
        lambda: read_cremad(tmp_path),
        "not CREMA-D: it has no processedResults/tabulatedVotes.csv",
        file=votes_file(tmp_path),
        field="dataset.root",
        remedy="https://github.com/CheyneyComputerScience/CREMA-D",
    )


@pytest.mark.parametrize("root", ["~no-such-user/corpus", "a" * 5000, "a\0b"])
def test_root_that_is_no_folder(refused, root: str):
    file = votes_file(Path(root).absolute())
    refused(lambda: read_cremad(root), "not CREMA-D", file=file, field="dataset.root", remedy="Get the corpus")


@pytest.mark.parametrize(
    ("options", "field"), [({"votes": "audio"}, "dataset.votes"), ({"on_error": "ignore"}, "dataset.on_error")]
)
def test_wrong_options(cremad, refused, options: dict, field: str):
    root = cremad()
    refused(lambda: read_cremad(root, **options), "unknown", file=None, field=field, remedy="Use")


@pytest.mark.parametrize(
    ("row", "what", "field", "reason"),
    [
        (line("100009", "1001_IEO_NEU_XX", "0 0 0 1 1 0"), "there before, in row 2", "fileName", "duplicate_id"),
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


@pytest.mark.parametrize("column", ["", "A", "S", "fileName", "numResponses"])
def test_missing_column(cremad, refused, column: str):
    root = cremad(table(ROWS).replace(f'"{column}"', '"x"', 1))
    what = f"the column {column!r} is missing; there are "
    refused(lambda: read_cremad(root), what, file=votes_file(root), row=1, field=column, remedy="Restore the file")


@pytest.mark.parametrize("column", ["A", "fileName", "numResponses"])
def test_column_twice(cremad, refused, column: str):
    # The later of the two would silently win.
    root = cremad(table(ROWS).replace('"meanEmoResp"', f'"{column}"', 1))
    what = f"the column {column!r} occurs twice"
    refused(lambda: read_cremad(root), what, file=votes_file(root), row=1, field=column, remedy="Restore the file")


@pytest.mark.parametrize("content", ["", "\n", table([]), table(ROWS[4:])])
def test_no_rows(cremad, content: str):
    root = cremad(content)
    with pytest.raises(InputError) as caught:
        read_cremad(root)
    assert caught.value.file == votes_file(root)
    assert "Restore the file" in caught.value.remedy


def test_only_bad_rows(cremad, refused):
    root = cremad(table([line("100001", "x", "1 0 0 0 0 0")]))
    call = lambda: read_cremad(root, on_error="skip")  # noqa: E731
    refused(call, "no usable rows of voice votes", file=votes_file(root), remedy="'x' is not ACTOR_SENTENCE")


def test_git_lfs_pointer_instead_of_the_table(cremad, refused):
    root = cremad("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n")
    refused(lambda: read_cremad(root), "is missing", file=votes_file(root), row=1, field="", remedy="Restore the file")


def test_not_utf_8(cremad, refused):
    root = cremad(table(ROWS).encode() + b"\xff\n")
    refused(lambda: read_cremad(root), "cannot be read as UTF-8", file=votes_file(root), remedy="Restore the file")


def test_quote_that_is_never_closed(cremad, refused):
    root = cremad(table(ROWS) + '"100009,0')
    refused(lambda: read_cremad(root), "this is not CSV", file=votes_file(root), row=8, remedy="Restore the file")


@pytest.mark.parametrize(
    ("row", "field"),
    [('1002,21,"?","Asian","Hispanic"', "Sex"), ('1002,²1,"Male","Asian","Hispanic"', "Age"), ("1002", None)],
)
def test_bad_demographics(cremad, refused, row: str, field: str | None):
    root = cremad(actors=ACTORS + row + "\n")
    file = root / "VideoDemographics.csv"
    for on_error in ("error", "skip"):
        call = lambda on_error=on_error: read_cremad(root, on_error=on_error)  # noqa: E731
        refused(call, "", file=file, row=4, field=field, remedy="or remove it: it is optional")


# ------------------------------------------------------------------------------------------------------------ any bytes


def check_outcome(root: Path, content: bytes, on_error: str) -> None:
    (root / "processedResults").mkdir(exist_ok=True)
    votes_file(root).write_bytes(content)
    outcome = corpus_or_error(root, on_error)
    if isinstance(outcome, InputError):
        assert outcome.file == votes_file(root)
        assert outcome.remedy
        return
    for utterance in outcome.utterances:
        assert sum(utterance.votes.values()) == utterance.num_raters
        assert utterance.audio.parent == root / "AudioWAV"


def corpus_or_error(root: Path, on_error: str) -> Corpus | InputError:
    try:
        return read_cremad(root, on_error=on_error)
    except InputError as error:
        return error


@settings(max_examples=50, deadline=None, derandomize=True)
@given(content=st.binary(max_size=300))
def test_random_bytes(tmp_path_factory: pytest.TempPathFactory, content: bytes):
    check_outcome(tmp_path_factory.getbasetemp(), content, "error")


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    edits=st.lists(st.tuples(st.integers(0, 1200), st.integers(0, 3), st.binary(max_size=4)), min_size=1, max_size=4),
    on_error=st.sampled_from(["error", "skip"]),
)
def test_mutated_tables(tmp_path_factory: pytest.TempPathFactory, edits: list, on_error: str):
    content = table(ROWS).encode()
    for position, removed, added in edits:
        content = content[:position] + added + content[position + removed :]
    check_outcome(tmp_path_factory.getbasetemp(), content, on_error)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    cells=st.lists(st.tuples(st.integers(0, 8), st.text(max_size=6)), min_size=1, max_size=3),
    on_error=st.sampled_from(["error", "skip"]),
)
def test_any_text_in_the_cells(tmp_path_factory: pytest.TempPathFactory, cells: list, on_error: str):
    row = list(ROWS[1])
    for column, text in cells:
        row[column] = text
    content = table([ROWS[0], row]).encode(errors="replace")
    check_outcome(tmp_path_factory.getbasetemp(), content, on_error)
