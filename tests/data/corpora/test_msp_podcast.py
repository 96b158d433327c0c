"""MSP-Podcast: every generation of label files, options, sound and transcripts, damage."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from copies import msp_podcast as copy

from emoprobe.data.corpora.msp_podcast import CARD, read_msp_podcast
from emoprobe.data.split_policy import SplitPolicy
from emoprobe.data.splits import split_items
from emoprobe.data.utterance import Rating
from emoprobe.errors import InputError
from emoprobe.labels import LabelSet
from emoprobe.recipes.inputs import prepare_run, read_corpus
from emoprobe.recipes.settings import read_dataset
from emoprobe.settings import compose, plain

FIRST = "MSP-PODCAST_0001_0008"
SECOND = "MSP-PODCAST_0001_0019"
TEST3 = "MSP-PODCAST_test3_0001"
CONSENSUS, DETAILED = "Labels/labels_consensus.csv", "Labels/labels_detailed.csv"
RESTORE = "Restore the file from the corpus"
SKIP_CLIP = f"{RESTORE}, or leave the clip out: dataset.on_error=skip"
VALUES = {"arousal": 3, "valence": 4, "dominance": 3}
# (worker, primary words, secondary words) of the first two clips.
EXPECTED = [
    [
        (1, ("neutral",), ("neutral", "concerned")),
        (2, ("neutral",), ()),
        (3, ("happy",), ("happy", "amused")),
        (4, ("neutral",), ("neutral",)),
    ],
    [
        (1, ("anger",), ("anger", "annoyed", "frustration")),
        (2, ("anger",), ("anger",)),
        (1, ("contempt",), ("contempt",)),
        (5, ("other",), ("disappointed", "other")),
    ],
]


@pytest.fixture
def podcast(tmp_path: Path) -> Callable[..., Path]:
    """Writes a copy, with changes to its label files: ``{file: (old text, new text)}``."""

    def make(generation: str = "columns", changes: dict[str, tuple[str, str]] | None = None) -> Path:
        root = tmp_path / generation
        copy.write(root, generation)
        for name, (old, new) in (changes or {}).items():
            text = (root / name).read_text()
            assert text.count(old) >= 1
            (root / name).write_text(text.replace(old, new, 1))
        return root

    return make


def ratings(expected: list[tuple[int, tuple, tuple]]) -> tuple[Rating, ...]:
    return tuple(Rating(copy.worker(who), main, beside, values=VALUES) for who, main, beside in expected)


def label_set(name: str) -> LabelSet:
    return LabelSet(**plain(compose([f"labels={name}"]).labels))


# -- reading -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("generation", copy.GENERATIONS)
def test_generations(podcast, generation: str):
    root = podcast(generation)
    corpus = read_msp_podcast(root)
    first, second = corpus.utterances[:2]
    assert [first.ratings, second.ratings] == [ratings(expected) for expected in EXPECTED]
    assert (first.votes, first.num_raters) == ({}, None)
    assert first.audio == root / "Audios" / f"{FIRST}.wav"
    facts = {"consensus": "neutral", "arousal": 3.2, "valence": 4.4, "dominance": 3.8}
    listed = generation != "blocks"
    assert first.metadata == (facts | {"gender": "male"} if listed else facts)
    assert [u.metadata["consensus"] for u in corpus.utterances[:6]] == [
        "neutral",
        "anger",
        "no_agreement",
        "happy",
        "sad",
        "other",
    ]
    assert "gender" not in corpus.utterances[2].metadata
    assert (corpus.card, corpus.skipped) == (CARD, ())
    rows = {
        "list_json": (2, 6),
        "places": (None, None),
        "columns": (2, 6),
        "field": (2, 6),
        "json": (None, None),
        "json_nested": (None, None),
        "blocks": (2, 8),
    }
    assert (first.row, second.row) == rows[generation]
    assert first.file == root / copy.GENERATIONS[generation][0 if generation == "blocks" else 1]


def test_withheld_labels(podcast):
    root = podcast()
    last = read_msp_podcast(root).utterances[-1]
    assert (last.id, last.split, last.ratings, last.votes, last.metadata) == (TEST3, "test3", (), {}, {})
    assert (last.file, last.row) == (root / "Partitions.txt", 7)
    with (root / CONSENSUS).open("a") as handle:
        handle.write(f"{TEST3}.wav,,,,,,,Test3\n")
    last = read_msp_podcast(root).utterances[-1]
    assert (last.id, last.split, last.ratings, last.metadata) == (TEST3, "test3", (), {})


def test_every_secondary_word(podcast):
    found = "Neutral,Happy,Sad,Angry,Surprise,Fear,Disgust,Contempt,Amused,Frustrated,Depressed,Concerned,Disappointed,"
    found += "Excited,Confused,Annoyed,Dissapointed,Other"
    root = podcast("columns", {DETAILED: ('"Neutral,Concerned"', f'"{found}"')})
    words = read_msp_podcast(root).utterances[0].ratings[0].secondary
    assert words == (
        "neutral",
        "happy",
        "sad",
        "anger",
        "surprise",
        "fear",
        "disgust",
        "contempt",
        "amused",
        "frustration",
        "depressed",
        "concerned",
        "disappointed",
        "excited",
        "confused",
        "annoyed",
        "other",
    )
    assert set(words) == set(CARD.words)


@pytest.mark.parametrize(
    ("primary", "secondary", "labels", "words"),
    [
        ("Other-Curious", "Other-Curious,Amused", ("other",), ("other", "amused")),
        ("other - bored: very", "", ("other",), ()),
        ("Other", "Other-a, b,Sad, c", ("other",), ("other", "sad")),
        ('Other-he said ""no""', "", ("other",), ()),
        ("Other (bored, tired)", "Sad,Other (a, b)", ("other",), ("sad", "other")),
        ("other: hm", "OTHER bored", ("other",), ("other",)),
        ("other", "Neutral,", ("other",), ("neutral",)),
        ("Otherwise", "Otherworldly", ("otherwise",), ("otherworldly",)),
        ("Joyful ", "Neutral, Joyful", ("joyful",), ("neutral", "joyful")),
        ("ANGRY", " sad ,, ,", ("anger",), ("sad",)),
        ("", "Sad", (), ("sad",)),
    ],
)
@pytest.mark.parametrize("generation", ["columns", "json"])
def test_words(podcast, generation: str, primary: str, secondary: str, labels: tuple, words: tuple):
    if generation == "columns":
        root = podcast(generation, {DETAILED: ('Neutral,"Neutral,Concerned"', f'"{primary}","{secondary}"')})
    else:
        value = json.dumps({"EmoClass_Major": primary.replace('""', '"'), "EmoClass_Second": secondary})[1:-1]
        old = '"EmoClass_Major": "Neutral", "EmoClass_Second": "Neutral,Concerned"'
        root = podcast(generation, {"Labels/labels_detailed.json": (old, value)})
    assert read_msp_podcast(root).utterances[0].ratings[0] == Rating(copy.worker(1), labels, words, values=VALUES)


@pytest.mark.parametrize(
    ("text", "labels", "words"),
    [
        ("Neutral; A:1; V:2; D:3", ("neutral",), ()),
        ("Neutral; ; A:1; V:2; D:3;", ("neutral",), ()),
        ("Neutral;Neutral,Concerned;A:1.0;V:2.0;D:NaN; ; ", ("neutral",), ("neutral", "concerned")),
        ("Other-hm; so; A: x; Other,Sad; A:1; V:2; D:3;", ("other",), ("other", "sad")),
        ("Sad; Sad,Other-one; two; A:1; V:2; D:3;", ("sad",), ("sad", "other")),
        ("Sad; one; two; A:1; V:2; D:3;", ("sad",), ("one", "two")),
        ("Other-hm; odd; A:1; V:2; D:3;", ("other",), ("odd",)),
    ],
)
@pytest.mark.parametrize("generation", ["field", "blocks"])
def test_fields_from_the_end(podcast, generation: str, text: str, labels: tuple, words: tuple):
    file = {"field": DETAILED, "blocks": "Labels.txt"}[generation]
    old = "Neutral; Neutral,Concerned; A:3.000000; V:4.000000; D:3.000000;"
    root = podcast(generation, {file: (old, text)})
    values = {"arousal": 1, "valence": 2, "dominance": 3}
    values = {dimension: value for dimension, value in values.items() if "D:NaN" not in text or value < 3}
    assert read_msp_podcast(root).utterances[0].ratings[0] == Rating(copy.worker(1), labels, words, values=values)


def test_free_text_in_an_old_encoding(podcast):
    root = podcast()
    text = (root / DETAILED).read_bytes()
    (root / DETAILED).write_bytes(text.replace(b"Other-Curious", b"Other-r\xeaveuse"))
    assert read_msp_podcast(root).utterances[5].ratings[0].labels == ("other",)


@pytest.mark.parametrize("header", ["Workers", "WorkerID", "Worker", "<worker>"])
def test_names_of_the_workers_column(podcast, header: str):
    root = podcast("columns", {DETAILED: ("WorkerID", header)})
    assert read_msp_podcast(root).utterances[0].ratings == ratings(EXPECTED[0])


def test_workers_in_an_object_with_names(podcast):
    root = podcast("json")
    rating = {"Name": "WORKER7", "EmoClass_Major": "Sad", "EmoClass_Second": ["Sad", "Annoyed"]}
    clips = {f"{FIRST}.wav": {"Workers": {"1": rating, "WORKER8": {"EmoClass_Major": None}}}}
    (root / "Labels/labels_detailed.json").write_text(json.dumps(clips))
    assert read_msp_podcast(root).utterances[0].ratings == (
        Rating("WORKER7", ("sad",), ("sad", "annoyed")),
        Rating("WORKER8", ()),
    )


def test_order_of_columns_and_rows_does_not_matter(podcast):
    root = podcast()
    lines = (root / CONSENSUS).read_text().splitlines()
    turned = [",".join(line.split(",")[::-1]) for line in lines]
    (root / CONSENSUS).write_text("\n".join(turned) + "\n")
    lines = (root / DETAILED).read_text().splitlines()
    (root / DETAILED).write_text("\n".join([lines[0], *lines[:0:-1]]) + "\n")
    utterances = read_msp_podcast(root).utterances
    assert (utterances[0].ratings, utterances[0].speaker) == (ratings(EXPECTED[0])[::-1], "127")


@pytest.mark.parametrize("column", ["Gender", "EmoAct"])
def test_facts_that_a_release_lacks(podcast, column: str):
    root = podcast("columns", {CONSENSUS: (column, "x")})
    fact = {"Gender": "gender", "EmoAct": "arousal"}[column]
    assert fact not in read_msp_podcast(root).utterances[0].metadata


@pytest.mark.parametrize("name", ["partition.txt", "Labels/Partitions.txt"])
def test_places_and_names_of_the_partition(podcast, name: str):
    root = podcast("blocks")
    (root / "Partitions.txt").rename(root / name)
    assert [u.split for u in read_msp_podcast(root).utterances][3:] == ["development", "test1", "test2", "test3"]


def test_blocks_in_the_folder_of_labels(podcast):
    root = podcast("blocks")
    (root / "Labels.txt").rename(root / "Labels" / "labels.txt")
    assert read_msp_podcast(root).utterances[1].ratings == ratings(EXPECTED[1])


def test_other_lines_between_blocks(podcast):
    head = f"{FIRST}.wav; N"
    root = podcast("blocks", {"Labels.txt": (head, f"Labels of the corpus\n\n{head}")})
    assert read_msp_podcast(root).utterances[0].ratings == ratings(EXPECTED[0])


# -- options -----------------------------------------------------------------------------------------------------------


def test_the_newest_ratings_come_first(podcast):
    root = podcast()
    copy.write_labels(root / "old", "blocks")
    text = (root / "old" / "Labels.txt").read_text().replace("Neutral; Neutral,Concerned", "Sad; Neutral,Concerned")
    (root / "Labels" / "labels.txt").write_text(text)
    clips = {f"{FIRST}.wav": {"WORKER1": {"EmoClass_Major": "Fear"}}}
    (root / "Labels" / "labels_detailed.json").write_text(json.dumps(clips))
    found = {kind: read_msp_podcast(root, labels=kind) for kind in ("auto", "detailed_csv", "detailed_json", "blocks")}
    words = {kind: corpus.utterances[0].ratings[0].labels[0] for kind, corpus in found.items()}
    assert words == {"auto": "neutral", "detailed_csv": "neutral", "detailed_json": "fear", "blocks": "sad"}
    assert found["blocks"].utterances[0].speaker == "127"
    assert found["detailed_json"].utterances[1].ratings == ()


@pytest.mark.parametrize("generation", ["columns", "blocks"])
def test_consensus_only(podcast, generation: str):
    root = podcast(generation)
    utterances = read_msp_podcast(root, consensus_only=True).utterances
    assert [(dict(u.votes), u.num_raters, u.ratings) for u in utterances] == [
        ({"neutral": 1.0}, 1, ()),
        ({"anger": 1.0}, 1, ()),
        ({}, None, ()),
        ({"happy": 1.0}, 1, ()),
        ({"sad": 1.0}, 1, ()),
        ({"other": 1.0}, 1, ()),
        ({}, None, ()),
    ]


def test_consensus_only_needs_no_ratings(podcast, refused):
    root = podcast()
    (root / DETAILED).unlink()
    refused(
        lambda: read_msp_podcast(root),
        "no ratings of single workers: no labels_detailed.csv or labels_detailed.json or labels.txt",
        file=root / DETAILED,
        field="dataset.labels",
        remedy="dataset.consensus_only=true",
    )
    utterances = read_msp_podcast(root, consensus_only=True).utterances
    assert (utterances[0].votes, utterances[0].file, utterances[0].row) == ({"neutral": 1.0}, root / CONSENSUS, 2)


def test_transcripts(podcast):
    root = podcast()
    assert read_msp_podcast(root).utterances[0].transcript is None
    (root / "Transcripts" / f"{SECOND}.txt").write_bytes(b"\xef\xbb\xbfTwo\r\nlines \n")
    (root / "Transcripts" / "MSP-PODCAST_0023_0048.txt").write_text(" \n")
    utterances = read_msp_podcast(root, transcripts=True).utterances
    assert [u.transcript for u in utterances[:4]] == ["Words of clip 0.", "Two lines", None, None]


def test_through_the_config(podcast):
    root = podcast()
    config = compose(["dataset=msp_podcast", f"dataset.root={root}", "labels=msp8"])
    labels = LabelSet(**plain(config.labels))
    prepared = prepare_run(read_dataset(config), read_corpus(read_dataset(config)), labels)
    votes = [dict(zip(labels.labels, item.target.votes, strict=True)) for item in prepared.items]
    assert [{word: count for word, count in clip.items() if count} for clip in votes] == [
        {"neutral": 3, "happy": 1},
        {"anger": 2},
        {"sad": 1, "surprise": 1, "fear": 1, "disgust": 1},
        {"happy": 3, "neutral": 1},
        {"sad": 2, "neutral": 1},
        {"neutral": 1},
    ]
    # Of a worker's two ratings the first counts, and one vote was for Other.
    assert (prepared.items[1].target.num_raters, prepared.items[1].target.outside_votes) == (3, 1)
    assert [(row.id, row.reason) for row in prepared.skipped] == [(TEST3, "no_votes")]
    partition = plain(config.dataset.partition)
    assert partition["splits"] == {"train": ["train"], "development": ["development"], "test": ["test1"]}
    split = split_items(prepared.items, SplitPolicy(**partition))
    parts = (split.train, split.development, split.test, split.left_out)
    # One of the training clips has no known speaker.
    assert [len(part) for part in parts] == [3, 1, 1, 1]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["dataset.soft_label.repeated_raters=all"], {"anger": 2, "contempt": 1}),
        (["dataset.soft_label.repeated_raters=last"], {"anger": 1, "contempt": 1}),
        # 1/1.5 of the first worker's vote, and all of the second's.
        (["dataset.soft_label.secondary=0.5"], {"anger": 1 + 2 / 3}),
    ],
)
def test_policies(podcast, options: list[str], expected: dict):
    config = compose(["dataset=msp_podcast", f"dataset.root={podcast()}", "dataset.split=train", *options])
    labels = label_set("msp8")
    target = prepare_run(read_dataset(config), read_corpus(read_dataset(config)), labels).items[1].target
    found = {word: count for word, count in zip(labels.labels, target.votes, strict=True) if count}
    assert found == pytest.approx(expected)


def test_a_word_that_the_corpus_does_not_have(podcast):
    root = podcast("columns", {DETAILED: ("Neutral,", "Serene,")})
    common = ["dataset=msp_podcast", f"dataset.root={root}", "labels=msp8"]
    config = compose(common)
    with pytest.raises(InputError, match="'serene' is none of the corpus's emotion words"):
        prepare_run(read_dataset(config), read_corpus(read_dataset(config)), label_set("msp8"))
    config = compose([*common, "++dataset.soft_label.merge.serene=neutral"])
    items = prepare_run(read_dataset(config), read_corpus(read_dataset(config)), label_set("msp8")).items
    assert items[0].target.votes[label_set("msp8").labels.index("neutral")] == 3


def test_four_classes_of_the_test_split(podcast):
    root = podcast()
    config = compose(["dataset=msp_podcast", f"dataset.root={root}", "dataset.split=test1", "labels=basic4"])
    labels = label_set("basic4")
    prepared = prepare_run(read_dataset(config), read_corpus(read_dataset(config)), labels)
    assert dict(zip(labels.labels, prepared.items[0].target.votes, strict=True)) == {
        "anger": 0,
        "happy": 0,
        "neutral": 1,
        "sad": 2,
    }
    assert len(prepared.others) == 3


# -- sound -------------------------------------------------------------------------------------------------------------


def test_names_of_folders_and_suffixes(podcast):
    root = podcast()
    (root / "Audios").rename(root / "Audio")
    (root / "Audio" / f"{FIRST}.wav").rename(root / "Audio" / f"{FIRST}.WAV")
    (root / "Audio" / f"{SECOND}.wav").rename(root / "Audio" / f"{SECOND}.flac")
    assert [u.audio.name for u in read_msp_podcast(root).utterances[:2]] == [f"{FIRST}.WAV", f"{SECOND}.flac"]


def test_sound_in_folders_within(podcast, refused):
    root = podcast()
    inner = root / "Audios" / "part1"
    inner.mkdir()
    (root / "Audios" / f"{FIRST}.wav").rename(inner / f"{FIRST}.wav")
    utterances = read_msp_podcast(root).utterances
    assert [u.audio.parent.name for u in utterances[:2]] == ["part1", "Audios"]
    shutil.copy(inner / f"{FIRST}.wav", root / "Audios")
    what = f"there are several files {FIRST}.wav: Audios/{FIRST}.wav and Audios/part1/{FIRST}.wav"
    refused(lambda: read_msp_podcast(root), what, file=root / CONSENSUS, row=2, field="FileName", remedy=SKIP_CLIP)


# -- refused -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"labels": "csv"}, "unknown labels 'csv'"),
        ({"consensus_only": "yes"}, "'yes' is neither true nor false"),
        ({"transcripts": 1}, "1 is neither true nor false"),
    ],
)
def test_wrong_options(podcast, refused, options: dict, what: str):
    root = podcast()
    field = f"dataset.{next(iter(options))}"
    refused(lambda: read_msp_podcast(root, **options), what, file=None, field=field, remedy="Use")


def test_ratings_that_are_not_there(podcast, refused):
    root = podcast()
    refused(
        lambda: read_msp_podcast(root, labels="blocks"),
        "no ratings of single workers: no labels.txt",
        file=root / "Labels" / "labels.txt",
        field="dataset.labels",
        remedy="Restore the file",
    )


@pytest.mark.parametrize(("text", "speaker"), [("127.0", "127"), ("nan", None), ("None", None), ("NA", None)])
def test_speakers_as_other_programs_write_them(podcast, text: str, speaker: str | None):
    root = podcast("columns")
    (root / CONSENSUS).write_text((root / CONSENSUS).read_text().replace(",127,", f",{text},", 1))
    first, second = read_msp_podcast(root).utterances[:2]
    assert (first.speaker, second.speaker) == (speaker, "127")


def test_ratings_without_a_list_of_clips(podcast, refused):
    root = podcast("blocks")
    shutil.copy(root / "Labels.txt", root / "Labels" / "labels_detailed.csv")
    call = lambda: read_msp_podcast(root, labels="detailed_csv")  # noqa: E731
    refused(call, "the list of clips is missing", file=root / CONSENSUS, remedy="dataset.labels=blocks")
    assert read_msp_podcast(root).utterances[0].ratings == ratings(EXPECTED[0])


@pytest.mark.parametrize(
    ("file", "old", "new", "row", "what", "field", "reason", "lost"),
    [
        (CONSENSUS, "127,Male", "127,Mole", 2, "'Mole' is not Male, Female or Unknown", "Gender", "bad_row", FIRST),
        (CONSENSUS, ",3.2,", ",7.5,", 2, "'7.5' is not a number from 1 to 7", "arousal", "bad_row", FIRST),
        (CONSENSUS, ",4.4,", ",4_4,", 2, "'4_4' is not a number from 1 to 7", "valence", "bad_row", FIRST),
        (CONSENSUS, ",3.8,", ",³,", 2, "'³' is not a number from 1 to 7", "dominance", "bad_row", FIRST),
        (CONSENSUS, ",127,", ",1 2 7,", 2, "'1 2 7' is not the id of a speaker", "SpkrID", "bad_row", FIRST),
        (CONSENSUS, "Train", "Trian", 2, "'Trian' is none of train, development", "Split_Set", "bad_row", FIRST),
        (CONSENSUS, f"{SECOND}.wav", f"{FIRST}.wav", 3, "there before, in row 2", "FileName", "duplicate_id", None),
        (CONSENSUS, f"{FIRST}.wav", f"../{FIRST}.wav", 2, "not the name of a sound file", "FileName", "bad_row", ""),
        (CONSENSUS, f"{FIRST}.wav", f"{FIRST}.mp4", 2, "not the name of a sound file", "FileName", "bad_row", ""),
        (CONSENSUS, f"{FIRST}.wav,", f"{FIRST}.wav,,", 2, "the row has 9 fields and the header 8", None, "bad_row", ""),
        (DETAILED, copy.worker(1), "", 2, "'' is not the id of a worker", "WorkerID", "bad_row", FIRST),
        (DETAILED, copy.worker(1), "nan", 2, "'nan' is not the id of a worker", "WorkerID", "bad_row", FIRST),
        (DETAILED, copy.worker(1), "W\x07", 2, "is not the id of a worker", "WorkerID", "bad_row", FIRST),
        (DETAILED, f"{FIRST}.wav", "x", 2, "'x' is not the name of a sound file", "FileName", "bad_row", ""),
        (DETAILED, ",3,4,3", ",3,4,3,", 2, "the row has 8 fields and the header 7", None, "bad_row", ""),
        ("Partitions.txt", "Train; ", "Train, ", 1, "is not SPLIT; FILE", None, "bad_row", ""),
        ("Partitions.txt", "Train; ", "Test9; ", 1, "'Test9' is none of train", "Split_Set", "bad_row", ""),
        ("Partitions.txt", f"{FIRST}.wav", FIRST, 1, "not the name of a sound file", "FileName", "bad_row", ""),
        ("Partitions.txt", "Train; ", "Test1; ", 1, "is of test1 here and of train in", "Split_Set", "bad_row", FIRST),
        ("Partitions.txt", SECOND, FIRST, 2, "there before, in row 1", "FileName", "duplicate_id", FIRST),
    ],
)
def test_bad_rows(podcast, refused, file: str, old: str, new: str, row: int, what: str, field, reason: str, lost):
    root = podcast("columns", {file: (old, new)})
    call = lambda: read_msp_podcast(root)  # noqa: E731
    remedy = "dataset.on_error=skip"
    refused(call, what, file=root / file, row=row, field=field, remedy=remedy, reason=reason)
    corpus = read_msp_podcast(root, on_error="skip")
    first = corpus.skipped[0]
    assert (first.reason, first.file, first.row) == (reason, str(root / file), row)
    if lost is not None:
        assert first.id == lost
    if lost and reason == "bad_row":
        assert lost not in {u.id for u in corpus.utterances}
        assert len(corpus.skipped) == 1


def test_a_clip_with_a_bad_rating_is_left_out_as_a_whole(podcast):
    # Of a ragged row, too, of which only the text tells the clip.
    for change in ((copy.worker(3), ""), ("Happy,Amused", 'Happy","Amused'), ('"Happy,Amused"', "Happy,Amused")):
        root = podcast("columns", {DETAILED: change})
        corpus = read_msp_podcast(root, on_error="skip")
        assert FIRST not in {u.id for u in corpus.utterances}
        assert (len(corpus.utterances), len(corpus.skipped)) == (6, 1)


@pytest.mark.parametrize("generation", ["columns", "json"])
def test_ratings_of_a_clip_that_is_not_listed(podcast, refused, generation: str):
    listing = copy.GENERATIONS[generation][0]
    root = podcast(generation)
    lines = [line for line in (root / listing).read_text().splitlines(keepends=True) if SECOND not in line]
    (root / listing).write_text("".join(lines))
    file, row = root / copy.GENERATIONS[generation][1], 6 if generation == "columns" else None
    what = f"clip {SECOND} has ratings here, but {root / listing} does not have it"
    refused(lambda: read_msp_podcast(root), what, file=file, row=row, field="FileName", remedy=SKIP_CLIP)
    corpus = read_msp_podcast(root, on_error="skip")
    assert [(each.id, each.row) for each in corpus.skipped] == [(SECOND, row)]
    assert SECOND not in {u.id for u in corpus.utterances}


@pytest.mark.parametrize(
    ("old", "new", "row", "what", "field", "lost"),
    [
        (f"{FIRST}.wav; N; A:3.2", f"{FIRST}.wav; N; A:x", 1, "'x' is not a number from 1 to 7", "arousal", FIRST),
        (f"{FIRST}.wav; N;", f"{FIRST}.wav; N; N;", 1, "is not FILE; EMOTION", None, FIRST),
        (f"{SECOND}.wav", f"{FIRST}.wav", 7, "there before, in row 1", "FileName", FIRST),
        (f"{FIRST}.wav; N;", "", 1, "does not have two fields or more", "EmoDetail", ""),
        (f"{FIRST}.wav; N;", "WORKER1; Sad;", 1, "before the first clip", None, ""),
        (f"{SECOND}.wav; A;", f"{SECOND}; A;", 7, "begins with neither a clip nor a worker", None, FIRST),
        ("Neutral,Concerned; A:3.000000;", "Neutral,Concerned;", 2, "does not have two fields", "EmoDetail", FIRST),
        ("D:3.000000; \nWORKER00000002", "D:3.0\nW0RKER2", 3, "begins with neither", None, FIRST),
        (
            "WORKER00000002; Neutral; A:3.000000; V:4.000000; D:3.000000;",
            "WORKER00000002",
            3,
            "does not",
            "EmoDetail",
            FIRST,
        ),
    ],
)
def test_bad_lines_of_blocks(podcast, refused, old: str, new: str, row: int, what: str, field, lost):
    root = podcast("blocks", {"Labels.txt": (old, new)})
    refused(
        lambda: read_msp_podcast(root),
        what,
        file=root / "Labels.txt",
        row=row,
        field=field,
        remedy="dataset.on_error=skip",
    )
    corpus = read_msp_podcast(root, on_error="skip")
    first = corpus.skipped[0]
    assert (first.row, first.id) == (row, lost)
    # Ratings below a damaged line count for no other clip.
    kept = {u.id: u.ratings for u in corpus.utterances if u.ratings}
    assert kept.get(FIRST, ratings(EXPECTED[0])) == ratings(EXPECTED[0])
    assert kept.get(SECOND, ratings(EXPECTED[1])) == ratings(EXPECTED[1])
    assert len(kept) in (4, 5)


@pytest.mark.parametrize(
    ("content", "what", "row"),
    [
        ("", "this is not JSON", 1),
        ("[]", "this is not an object of clips", None),
        ('{"EmoClass_Major": "Sad"}', "this is not an object of clips", None),
        ("[" * 100_000, "this is not JSON", None),
        ('{"a": 1' + "0" * 5000 + "}", "this is not JSON", None),
        (b'{"\xff": 1}', "this is not JSON", None),
        ('{\n"a": {"b": {"EmoClass_Major": 1, "EmoClass_Major": 2}}}', "a rating has a key twice", None),
        ("{}", "no usable rating of any clip", None),
    ],
)
def test_bad_json(podcast, refused, content: str | bytes, what: str, row: int | None):
    root = podcast("json")
    file = root / "Labels" / "labels_detailed.json"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    refused(lambda: read_msp_podcast(root), what, file=file, row=row, remedy=RESTORE)


@pytest.mark.parametrize(
    ("value", "what", "field"),
    [
        ("null", f"the ratings of clip {FIRST} are neither an object nor a list", "Workers"),
        ('{"WORKER1": "Sad"}', f"a rating of clip {FIRST} has no EmoClass_Major", "EmoClass_Major"),
        ('{"WORKER1": {"EmoAct": "3"}}', "has no EmoClass_Major", "EmoClass_Major"),
        ('{"WORKER1": {"EmoClass_Major": 3}}', "has 3 where a word should be", "EmoClass_Major"),
        ('{"WORKER1": {"EmoClass_Major": "Sad", "EmoClass_Second": [1]}}', "has [1] where a word", "EmoClass_Major"),
        ('[{"EmoClass_Major": "Sad"}]', "'' is not the id of a worker", "WorkerID"),
        ('{"WORKER\\ud800": {"EmoClass_Major": "Sad"}}', "is not the id of a worker", "WorkerID"),
        (f'{{}}, "{FIRST}.wav": {{}}', f"clip {FIRST} is there twice", "FileName"),
    ],
)
def test_bad_clips_in_json(podcast, refused, value: str, what: str, field: str):
    root = podcast("json")
    file = root / "Labels" / "labels_detailed.json"
    lines = file.read_text().split(",\n")
    file.write_text(",\n".join([f'{{"{FIRST}.wav": {value}', *lines[1:]]))
    refused(lambda: read_msp_podcast(root), what, file=file, field=field, remedy=SKIP_CLIP)
    corpus = read_msp_podcast(root, on_error="skip")
    assert [row.id for row in corpus.skipped] == [FIRST]
    assert FIRST not in {u.id for u in corpus.utterances}


@pytest.mark.parametrize(
    ("old", "new", "what", "field"),
    [
        ("WorkerID", "who", "the workers' column is missing; there are FileName, who", "WorkerID"),
        ("EmoAct", "Workers", "the workers' column occurs twice", "WorkerID"),
    ],
)
def test_columns_of_the_ratings(podcast, refused, old: str, new: str, what: str, field: str):
    root = podcast("columns", {DETAILED: (old, new)})
    refused(lambda: read_msp_podcast(root), what, file=root / DETAILED, row=1, field=field, remedy=RESTORE)


def test_no_ratings_at_all(podcast, refused):
    root = podcast()
    header = (root / DETAILED).read_text().splitlines()[0]
    (root / DETAILED).write_text(header + "\n")
    refused(lambda: read_msp_podcast(root), "no usable rating of any clip", file=root / DETAILED, remedy=RESTORE)


def test_bad_transcript(podcast, refused):
    root = podcast()
    file = root / "Transcripts" / f"{FIRST}.txt"
    file.write_bytes(b"caf\xe9\n")
    call = lambda: read_msp_podcast(root, transcripts=True)  # noqa: E731
    refused(call, "byte 0xe9 is not UTF-8", file=file, row=1, remedy="dataset.transcripts=false")
    corpus = read_msp_podcast(root, transcripts=True, on_error="skip")
    assert [row.id for row in corpus.skipped] == [FIRST]


# -- any bytes ---------------------------------------------------------------------------------------------------------
