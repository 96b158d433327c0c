"""MSP-Podcast: every spelling of every label file in every folder tells the same corpus."""

from __future__ import annotations

import csv
import itertools
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
from copies.labels import label_set
from copies.sound import write_sound

from emoprobe.data.corpora.msp_podcast import read_msp_podcast
from emoprobe.data.policy import SoftLabelPolicy
from emoprobe.data.utterance import Utterance
from emoprobe.data.votes import soft_label
from emoprobe.labels import LabelSet, Scale
from emoprobe.recipes.inputs import prepare_run, read_corpus
from emoprobe.recipes.settings import read_dataset
from emoprobe.settings import compose

COLUMNS = ("FileName", "EmoClass", "EmoAct", "EmoVal", "EmoDom", "SpkrID", "Gender", "Split_Set")
CLIPS = (
    ("MSP-PODCAST_0002_0033.wav", "H", "4.6", "5.2", "4.0", "12", "Female", "Train"),
    ("MSP-PODCAST_0002_0039.wav", "X", "2.5", "3.25", "4.0", "Unknown", "Unknown", "Development"),
    ("MSP-PODCAST_0153_0002_0001.wav", "A", "6.0", "1.5", "6.5", "12", "Female", "Test1"),
)
# Worker's number, main and secondary words, activation, valence, dominance.
RATINGS = (
    ((1, "Happy", "Happy,Amused", 5, 6, 4), (2, "Neutral", "", 4, 4, 4), (9, "Happy", "Excited", 5, 5.5, 4)),
    ((1, "Sad", "Sad,Disappointed", 2, 3, 4), (2, "Other-tired, bored", "Other-tired, bored,Neutral", 3, 3.5, 4)),
    ((9, "Angry", "Angry,Annoyed,Frustrated", 7, 1, 7), (3, "Contempt", "Contempt", 5, 2, 6)),
)


def table(file: Path, rows: Sequence[Sequence[object]]) -> None:
    with file.open("w", newline="") as handle:
        csv.writer(handle, lineterminator="\n").writerows(rows)


def facts(renamed: Mapping[str, str] | None = None) -> dict[str, dict[str, str]]:
    names = [(renamed or {}).get(name, name) for name in COLUMNS]
    return {clip[0]: dict(zip(names[1:], clip[1:], strict=True)) for clip in CLIPS}


def line(number: int, main: str, beside: str, *values: float) -> str:
    spelt = "; ".join(f"{letter}:{value:.6f}" for letter, value in zip("AVD", values, strict=True))
    return f"WORKER{number:08d}; {main}; {beside + '; ' if beside else ''}{spelt};"


def votes(clip: int, named: bool = False) -> list[dict]:
    keys = ("EmoClass_Major", "EmoClass_Second", "EmoAct", "EmoVal", "EmoDom")
    return [({"Name": f"WORKER{r[0]:08d}"} if named else {}) | _texts(keys, r) for r in RATINGS[clip]]


def _texts(keys: Sequence[str], rating: tuple) -> dict[str, str]:
    return {key: str(value) for key, value in zip(keys, rating[1:], strict=True)}


def in_columns(worker: str) -> list[list[object]]:
    header = ["FileName", worker, "EmoClass_Major", "EmoClass_Second", "EmoAct", "EmoVal", "EmoDom"]
    rows = [[clip[0], f"WORKER{r[0]:08d}", *r[1:]] for clip, given in zip(CLIPS, RATINGS, strict=True) for r in given]
    return [header, *rows]


def in_one_field() -> list[list[object]]:
    return [["FileName", "EmoDetail"]] + [
        [clip[0], line(*rating)] for clip, given in zip(CLIPS, RATINGS, strict=True) for rating in given
    ]


def by_worker() -> dict:
    return {
        clip[0]: {f"WORKER{r[0]:08d}": vote for r, vote in zip(given, votes(i), strict=True)}
        for i, (clip, given) in enumerate(zip(CLIPS, RATINGS, strict=True))
    }


def blocks() -> str:
    text = "Labels of a corpus\n\n"
    for clip, given in zip(CLIPS, RATINGS, strict=True):
        text += f"{clip[0]}; {clip[1]}; A:{clip[2]}; V:{clip[3]}; D:{clip[4]}; \n"
        text += "".join(line(*rating) + " \n" for rating in given) + "\n"
    return text


CONSENSUS: dict[str, Callable[[Path], None]] = {
    "labels_consensus.csv": lambda file: table(file, [COLUMNS, *CLIPS]),
    "labels_concensus.csv": lambda file: table(file, CLIPS),  # by their places
    "Labels_Concensus.CSV": lambda file: table(file, [[name.lower() for name in COLUMNS], *CLIPS]),
    "label_consensus.csv": lambda file: table(
        file, [("file", "class", "act", "val", "dom", "SpkrID", "Gender", "Split_Set"), *CLIPS]
    ),
    "labels_consensus.json": lambda file: file.write_text(json.dumps(facts(), indent=1)),
    "labels_concensus.json": lambda file: file.write_text(
        json.dumps({name: [clip] for name, clip in facts({"EmoClass": "EmoClass_Major"}).items()})
    ),
}
DETAILED: dict[str, Callable[[Path], None]] = {
    "labels_detailed.csv": lambda file: table(file, in_columns("Workers")),
    "labels_Detailed.csv": lambda file: table(
        file, [[cell.lower() for cell in in_columns("WorkerID")[0]], *in_columns("")[1:]]
    ),
    "label_details.csv": lambda file: table(file, in_one_field()),
    "labels_detailed.json": lambda file: file.write_text(json.dumps(by_worker())),
    "labels_details.json": lambda file: file.write_text(
        json.dumps({clip[0]: {"Workers": votes(i, named=True)} for i, clip in enumerate(CLIPS)})
    ),
    "label_details.json": lambda file: file.write_text(
        json.dumps({clip[0]: votes(i, named=True) for i, clip in enumerate(CLIPS)})
    ),
    "Labels.txt": lambda file: file.write_text(blocks()),
}
FOLDERS = ("label", "labels", "Labels", ".")


def told(root: Path, **options: object) -> list[Utterance]:
    return list(read_msp_podcast(root, **options).utterances)


def what(utterance: Utterance) -> tuple:
    return (
        utterance.id,
        utterance.speaker,
        utterance.split,
        utterance.ratings,
        dict(utterance.means),
        dict(utterance.scales),
        dict(utterance.metadata),
    )


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> list[tuple]:
    root = tmp_path_factory.mktemp("plain")
    (root / "Labels").mkdir()
    for names in (CONSENSUS, DETAILED):
        name = next(iter(names))
        names[name](root / "Labels" / name)
    return [what(utterance) for utterance in told(root)]


def test_what_they_tell(expected: list[tuple]):
    ids = [clip[0].removesuffix(".wav") for clip in CLIPS]
    assert [row[:3] for row in expected] == [
        (ids[0], "12", "train"),
        (ids[1], None, "development"),
        (ids[2], "12", "test1"),
    ]
    said = [[(r.rater, "+".join(r.labels), "+".join(r.secondary)) for r in row[3]] for row in expected]
    assert said == [
        [
            ("WORKER00000001", "happy", "happy+amused"),
            ("WORKER00000002", "neutral", ""),
            ("WORKER00000009", "happy", "excited"),
        ],
        [("WORKER00000001", "sad", "sad+disappointed"), ("WORKER00000002", "other", "other+neutral")],
        [("WORKER00000009", "anger", "anger+annoyed+frustration"), ("WORKER00000003", "contempt", "contempt")],
    ]
    given = [[(r.values["arousal"], r.values["valence"], r.values["dominance"]) for r in row[3]] for row in expected]
    assert given == [[rating[3:] for rating in ratings] for ratings in RATINGS]
    assert [row[4] for row in expected] == [
        {"arousal": float(clip[2]), "valence": float(clip[3]), "dominance": float(clip[4])} for clip in CLIPS
    ]
    assert expected[0][5] == {"valence": (1, 7), "arousal": (1, 7), "dominance": (1, 7)}
    assert expected[1][6] == {"consensus": "no_agreement", **expected[1][4]}


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_generation_tells_the_same(folder: str, expected: list[tuple], tmp_path: Path):
    for number, (listing, detailed) in enumerate(itertools.product(CONSENSUS, DETAILED)):
        root = tmp_path / str(number)
        (root / folder).mkdir(parents=True, exist_ok=True)
        CONSENSUS[listing](root / folder / listing)
        DETAILED[detailed](root / folder / detailed)
        assert [what(utterance) for utterance in told(root)] == expected, (listing, detailed)


@pytest.mark.parametrize("folder", FOLDERS)
def test_blocks_and_a_partition_tell_all_but_the_speakers(folder: str, expected: list[tuple], tmp_path: Path):
    (tmp_path / folder).mkdir(exist_ok=True)
    (tmp_path / folder / "Labels.txt").write_text(blocks())
    renamed = {"Development": "Validation"}
    lines = [f"{renamed.get(clip[-1], clip[-1])}; {clip[0]}" for clip in CLIPS]
    (tmp_path / "Partitions.txt").write_text("\r\n".join(lines) + ";\r\n")
    for utterance, row in zip(told(tmp_path), expected, strict=True):
        assert what(utterance)[2:6] == row[2:6]
        assert utterance.speaker is None


@pytest.mark.parametrize("columns", [5, 7, 8])
def test_early_tables_have_fewer_columns(columns: int, expected: list[tuple], tmp_path: Path):
    rows = [clip[:columns] for clip in CLIPS]
    for number, header in enumerate(([], [COLUMNS[:columns]])):
        root = tmp_path / str(number)
        (root / "Labels").mkdir(parents=True)
        table(root / "Labels" / "labels_concensus.csv", [*header, *rows])
        DETAILED["Labels.txt"](root / "Labels" / "Labels.txt")
        (root / "Partitions.txt").write_text("\n".join(f"{clip[-1]}; {clip[0]}" for clip in CLIPS))
        for utterance, row in zip(told(root), expected, strict=True):
            assert (utterance.split, utterance.ratings, utterance.means) == (row[2], row[3], row[4])
            assert utterance.speaker == (row[1] if columns > 5 else None)


def test_a_table_by_places_of_another_width(tmp_path: Path, refused):
    file = tmp_path / "labels_concensus.csv"
    table(file, [clip[:4] for clip in CLIPS])
    DETAILED["labels_detailed.csv"](tmp_path / "labels_detailed.csv")
    what_is = "the table has no header, and 4 columns instead of 5, 7 or 8: FileName, EmoClass"
    refused(lambda: told(tmp_path), what_is, file=file, row=1, field="FileName", remedy="Restore the file")


@pytest.mark.parametrize("name", ["127", "127.0", " 127 ", "127.00"])
@pytest.mark.parametrize("listing", ["labels_consensus.csv", "labels_consensus.json"])
def test_a_speaker_is_one_person(name: str, listing: str, tmp_path: Path):
    CONSENSUS[listing](tmp_path / listing)
    text = (tmp_path / listing).read_text()
    old, new = (",12,", f",{name},") if listing.endswith("csv") else ('"SpkrID": "12"', f'"SpkrID": "{name}"')
    (tmp_path / listing).write_text(text.replace(old, new))
    DETAILED["labels_detailed.csv"](tmp_path / "labels_detailed.csv")
    assert [utterance.speaker for utterance in told(tmp_path)] == ["127", None, "127"]


@pytest.mark.parametrize("value", [127, 127.0])
def test_a_speaker_who_is_a_number_in_json(value: float, tmp_path: Path):
    text = json.dumps(facts()).replace('"SpkrID": "12"', f'"SpkrID": {value}')
    (tmp_path / "labels_consensus.json").write_text(text)
    DETAILED["labels_detailed.csv"](tmp_path / "labels_detailed.csv")
    assert told(tmp_path)[0].speaker == "127"


def test_two_folders_of_labels(tmp_path: Path, refused):
    for folder in ("Labels", "label"):
        (tmp_path / folder).mkdir()
        CONSENSUS["labels_consensus.csv"](tmp_path / folder / "labels_consensus.csv")
        DETAILED["labels_detailed.csv"](tmp_path / folder / "labels_detailed.csv")
    refused(
        lambda: told(tmp_path),
        "the labels of MSP-Podcast are in two places",
        file=tmp_path / "label" / "labels_consensus.csv",
        field="dataset.root",
        remedy="Remove one of them",
    )


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("labels_concensus.csv", "labels_consensus.csv"),
        ("LABELS_CONSENSUS.csv", "labels_consensus.csv"),
        ("label_details.csv", "labels_detailed.csv"),
    ],
)
def test_two_spellings_in_one_folder(one: str, other: str, tmp_path: Path, refused):
    CONSENSUS["labels_consensus.csv"](tmp_path / "labels_consensus.csv")
    DETAILED["labels_detailed.csv"](tmp_path / "labels_detailed.csv")
    (tmp_path / one).write_text((tmp_path / other).read_text().replace("Happy", "Sad"))
    what_is = f"there are two files of the same labels, {min(one, other)} and {max(one, other)}"
    file = tmp_path / max(one, other)
    refused(lambda: told(tmp_path), what_is, file=file, field="dataset.root", remedy="Remove or rename one")


@pytest.mark.parametrize(
    ("change", "said", "field"),
    [
        (lambda clip: [clip, clip], "the facts of clip MSP-PODCAST_0002_0033 are not an object", "EmoClass"),
        (lambda clip: "H", "are not an object with EmoClass", "EmoClass"),
        (lambda clip: {**clip, "EmoAct": "8"}, "'8' is not a number from 1 to 7", "arousal"),
        (lambda clip: {**clip, "EmoVal": [1]}, "has [1] where a word or a number should be", "EmoVal"),
        (lambda clip: {**clip, "Split_Set": "Trian"}, "'Trian' is none of train", "Split_Set"),
        (lambda clip: {key: clip[key] for key in clip if key != "Split_Set"}, "has no Split_Set", "Split_Set"),
        (lambda clip: {key: clip[key] for key in clip if key != "EmoClass"}, "has no EmoClass", "EmoClass"),
        (lambda clip: {**clip, "Gender": "F"}, "'F' is not Male, Female or Unknown", "Gender"),
    ],
)
def test_bad_clips_of_a_list_in_json(change: Callable, said: str, field: str, tmp_path: Path, refused):
    clips = facts()
    first = CLIPS[0][0]
    clips[first] = change(clips[first])
    file = tmp_path / "labels_consensus.json"
    file.write_text(json.dumps(clips))
    DETAILED["labels_detailed.json"](tmp_path / "labels_detailed.json")
    refused(lambda: told(tmp_path), said, file=file, field=field, remedy="dataset.on_error=skip")
    corpus = read_msp_podcast(tmp_path, on_error="skip")
    assert [row.id for row in corpus.skipped] == [first.removesuffix(".wav")]
    assert [utterance.id for utterance in corpus.utterances] == [clip[0].removesuffix(".wav") for clip in CLIPS[1:]]


def test_a_clip_twice_in_json(tmp_path: Path, refused):
    text = json.dumps(facts())
    file = tmp_path / "labels_consensus.json"
    file.write_text(text[:-1] + ", " + text[1:])
    DETAILED["labels_detailed.json"](tmp_path / "labels_detailed.json")
    said = "clip MSP-PODCAST_0002_0033 was there before"
    refused(lambda: told(tmp_path), said, file=file, field="FileName", reason="duplicate_id", remedy="Restore")


@pytest.mark.parametrize("value", ["0", "8", "7.5", "-1", "3.5.", "inf", "1e1", "x"])
@pytest.mark.parametrize("detailed", list(DETAILED))
def test_numbers_that_are_not_on_the_scale(value: str, detailed: str, tmp_path: Path, refused):
    CONSENSUS["labels_consensus.csv"](tmp_path / "labels_consensus.csv")
    file = tmp_path / detailed
    DETAILED[detailed](file)
    text = file.read_text()
    old = "V:5.500000" if "V:5.500000" in text else "5.5"
    assert text.count(old) == 1
    file.write_text(text.replace(old, ("V:" if "V:" in old else "") + value))
    said = re.escape(f"{value!r} is not a number from 1 to 7")
    with pytest.raises(Exception, match=said) as caught:
        told(tmp_path)
    assert (caught.value.field, caught.value.file) == ("valence", file)
    assert "dataset.on_error=skip" in caught.value.remedy
    assert [row.id for row in read_msp_podcast(tmp_path, on_error="skip").skipped] == ["MSP-PODCAST_0002_0033"]


@pytest.mark.parametrize("value", ["", "nan", "NaN", "None", "N/A"])
@pytest.mark.parametrize("detailed", list(DETAILED))
def test_numbers_that_were_not_given(value: str, detailed: str, tmp_path: Path):
    CONSENSUS["labels_consensus.csv"](tmp_path / "labels_consensus.csv")
    DETAILED[detailed](tmp_path / detailed)
    text = (tmp_path / detailed).read_text()
    old = "V:5.500000" if "V:5.500000" in text else "5.5"
    (tmp_path / detailed).write_text(text.replace(old, ("V:" if "V:" in old else "") + value))
    last = told(tmp_path)[0].ratings[-1]
    assert (last.labels, last.values) == (("happy",), {"arousal": 5, "dominance": 4})


@pytest.mark.parametrize("detailed", ["labels_detailed.csv", "labels_detailed.json"])
def test_ratings_without_numbers_are_ratings(detailed: str, tmp_path: Path):
    CONSENSUS["labels_consensus.csv"](tmp_path / "labels_consensus.csv")
    if detailed.endswith("csv"):
        table(tmp_path / detailed, [row[:4] for row in in_columns("WorkerID")])
    else:
        clips = {
            name: {who: {"EmoClass_Major": vote["EmoClass_Major"]} for who, vote in given.items()}
            for name, given in by_worker().items()
        }
        (tmp_path / detailed).write_text(json.dumps(clips))
    first = told(tmp_path)[0]
    assert [rating.labels for rating in first.ratings] == [("happy",), ("neutral",), ("happy",)]
    assert all(rating.values == {} for rating in first.ratings)
    assert first.means["valence"] == 5.2


def test_secondary_words_may_be_lacking_as_a_column(tmp_path: Path):
    CONSENSUS["labels_consensus.csv"](tmp_path / "labels_consensus.csv")
    table(tmp_path / "labels_detailed.csv", [row[:3] + row[4:] for row in in_columns("Worker")])
    assert [rating.secondary for rating in told(tmp_path)[0].ratings] == [(), (), ()]


def test_columns_that_nobody_knows_are_passed_over(expected: list[tuple], tmp_path: Path):
    table(tmp_path / "labels_consensus.csv", [(*COLUMNS, "Duration"), *((*clip, "3.1") for clip in CLIPS)])
    rows = in_columns("WorkerID")
    table(tmp_path / "labels_detailed.csv", [[*row, "note" if i == 0 else 'a "b",\nc'] for i, row in enumerate(rows)])
    assert [what(utterance) for utterance in told(tmp_path)] == expected


@pytest.mark.parametrize("folder", ["Audios", "Audio", "audios", "AUDIO"])
def test_places_of_sound(folder: str, tmp_path: Path):
    CONSENSUS["labels_consensus.csv"](tmp_path / "labels_consensus.csv")
    DETAILED["labels_detailed.csv"](tmp_path / "labels_detailed.csv")
    (tmp_path / folder).mkdir()
    (tmp_path / folder / CLIPS[0][0]).write_bytes(b"")
    assert told(tmp_path)[0].audio == tmp_path / folder / CLIPS[0][0]


def valence(points: int) -> LabelSet:
    words = tuple(str(point) for point in range(1, points + 1))
    return LabelSet(
        "points", words, {word: {"noun": (word,)} for word in words}, scale=Scale("valence", "1", str(points))
    )


def test_a_dimension_is_a_distribution_of_its_raters_numbers(tmp_path: Path):
    CONSENSUS["labels_consensus.csv"](tmp_path / "labels_consensus.csv")
    DETAILED["labels_detailed.csv"](tmp_path / "labels_detailed.csv")
    first = told(tmp_path)[0]
    target = soft_label(first, valence(7), SoftLabelPolicy())
    # 6, 4 and 5.5, which is half of 5 and half of 6.
    assert target.votes.tolist() == [0, 0, 0, 1, 0.5, 1.5, 0]
    assert target.num_raters == 3
    only = told(tmp_path, consensus_only=True)[0]
    assert soft_label(only, valence(7), SoftLabelPolicy()).votes.tolist() == pytest.approx([0, 0, 0, 0, 0.8, 0.2, 0])


def test_labels_without_released_sound_are_counted(tmp_path: Path):
    CONSENSUS["labels_consensus.csv"](tmp_path / "labels_consensus.csv")
    DETAILED["labels_detailed.csv"](tmp_path / "labels_detailed.csv")
    (tmp_path / "Audios").mkdir()
    write_sound(tmp_path / "Audios" / CLIPS[0][0])
    dataset = read_dataset(compose(["dataset=msp_podcast", f"dataset.root={tmp_path}"]))
    prepared = prepare_run(dataset, read_corpus(dataset), label_set("msp8"))
    assert [item.utterance.id for item in prepared.items] == [CLIPS[0][0].removesuffix(".wav")]
    assert [(row.id, row.reason) for row in prepared.skipped] == [
        (clip[0].removesuffix(".wav"), "missing_audio") for clip in CLIPS[1:]
    ]
