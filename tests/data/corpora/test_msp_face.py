"""MSP-Face and BIIC-Podcast: what they have of their own beside MSP-Podcast."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from copies import biic_podcast, msp_face

from emoprobe.data.corpora.biic_podcast import TOTALS as BIIC_TOTALS
from emoprobe.data.corpora.biic_podcast import read_biic_podcast
from emoprobe.data.corpora.msp_face import TOTALS, read_msp_face
from emoprobe.data.corpora.msp_podcast import read_msp_podcast
from emoprobe.data.utterance import Rating


@pytest.fixture
def face(tmp_path: Path) -> Path:
    msp_face.write(tmp_path)
    return tmp_path


def test_a_clip_of_face(face: Path):
    first = read_msp_face(face).utterances[0]
    assert first.audio == face / "Segments/MSP-FACE_0263_0003/Audio/MSP-FACE_0263_0003.wav"
    assert first.ratings == (
        Rating(
            "WORKER0000013",
            ("contempt",),
            ("contempt", "annoyed"),
            values={"arousal": 4, "valence": 3, "dominance": 5},
        ),
        Rating("WORKER0000002", ("anger",), ("anger",), values={"arousal": 3.5, "valence": 4, "dominance": 4}),
    )
    assert first.means == {"arousal": 3.75, "valence": 3.5, "dominance": 4.583333333333333}
    assert first.scales == dict.fromkeys(("valence", "arousal", "dominance"), (1, 7))
    assert first.metadata == {**first.means, "consensus": "contempt", "gender": "male"}


@pytest.mark.parametrize("consensus", ["labels_concensus.json", "labels_consensus.json", "Label_Consensus.JSON"])
@pytest.mark.parametrize("details", ["labels_detailed.json", "labels_details.json", "label_detailed.json"])
@pytest.mark.parametrize("folder", ["Labels", "labels", "Label", "."])
def test_names_of_the_files_of_face(face: Path, consensus: str, details: str, folder: str):
    expected = read_msp_face(face).utterances
    files = [(msp_face.CONSENSUS, consensus), (msp_face.DETAILED, details)]
    texts = [(face / old).read_text() for old, _ in files]
    for old, _ in files:
        (face / old).unlink()
    (face / "Labels").rmdir()
    (face / folder).mkdir(exist_ok=True)
    for (_, new), text in zip(files, texts, strict=True):
        (face / folder / new).write_text(text)
    for found, before in zip(read_msp_face(face).utterances, expected, strict=True):
        assert (found.id, found.ratings, found.means, found.split) == (
            before.id,
            before.ratings,
            before.means,
            before.split,
        )


def test_the_hard_label_of_face(face: Path):
    (face / msp_face.DETAILED).unlink()
    votes = [dict(utterance.votes) for utterance in read_msp_face(face, consensus_only=True).utterances]
    assert votes == [{"contempt": 1}, {"happy": 1}, {}, {"neutral": 1}, {"surprise": 1}]


@pytest.mark.parametrize("folder", ["Audio", "Audios", "segments"])
def test_sound_of_face_in_another_folder(face: Path, folder: str):
    found = face / "Segments/MSP-FACE_0263_0003/Audio/MSP-FACE_0263_0003.wav"
    content = found.read_bytes()
    (face / "Segments").rename(face / "elsewhere")
    (face / folder).mkdir()
    (face / folder / "MSP-FACE_0263_0003.flac").write_bytes(content)
    assert read_msp_face(face).utterances[0].audio == face / folder / "MSP-FACE_0263_0003.flac"


def test_a_partition_that_says_otherwise(face: Path, refused):
    file = face / msp_face.PARTITION
    file.write_text(file.read_text().replace("Train", "Test", 1))
    what = "clip MSP-FACE_0263_0003 is of test here and of train in"
    refused(lambda: read_msp_face(face), what, file=file, row=1, field="Split_Set", remedy="dataset.on_error=skip")


def test_published_totals(face: Path):
    counts = {total.what: (total.count(read_msp_face(face)), total.expected) for total in TOTALS}
    assert counts["clips"] == (5, 9370)
    assert counts["known speakers"] == (4, 322)
    assert counts["clips of development"] == (2, 926)
    assert counts["clips with the consensus no_agreement"] == (1, 2936)
    for ends in (" consensus ", "clips of "):
        assert sum(expected for what, (_, expected) in counts.items() if ends in what) == 9370
    assert [total.expected for total in BIIC_TOTALS] == [70_000, 48_815, 10_845, 10_340]


def test_a_video_is_no_clip_of_a_podcast(tmp_path: Path, refused):
    biic_podcast.write(tmp_path)
    file = tmp_path / biic_podcast.CONSENSUS
    file.write_text(file.read_text().replace(".wav", ".mp4", 1))
    for read in (read_biic_podcast, read_msp_podcast):
        remedy = "dataset.on_error=skip"
        what = "'BIIC-PODCAST_1000_0321_0003.mp4' is not the name of a sound file"
        refused(lambda read=read: read(tmp_path), what, file=file, row=2, field="FileName", remedy=remedy)


def test_numbered_test_sets_are_no_splits_of_biic(tmp_path: Path, refused):
    biic_podcast.write(tmp_path)
    file = tmp_path / biic_podcast.CONSENSUS
    file.write_text(file.read_text().replace(",Test", ",Test2", 1))
    what = "'Test2' is none of train, development, test, validation"
    call = lambda: read_biic_podcast(tmp_path)  # noqa: E731
    refused(call, what, file=file, row=6, field="Split_Set", remedy="dataset.on_error=skip")
    assert read_msp_podcast(tmp_path).utterances[4].split == "test2"


def test_ratings_of_biic(tmp_path: Path):
    biic_podcast.write(tmp_path)
    corpus = read_biic_podcast(tmp_path)
    assert (corpus.card.name, corpus.utterances[2].speaker) == ("biic_podcast", "12")
    assert corpus.utterances[5].ratings[0] == Rating(
        "S01", ("other",), ("other",), values={"arousal": 4, "valence": 4, "dominance": 4}
    )
    json_file = tmp_path / "Labels" / "labels_detailed.json"
    clips = {
        f"BIIC-PODCAST_{name}.wav": {
            who: {"EmoClass_Major": main, "EmoClass_Second": beside, "EmoAct": a, "EmoVal": v, "EmoDom": d}
            for who, main, beside, a, v, d in ratings
        }
        for (name, *_), ratings in zip(biic_podcast.CLIPS, biic_podcast.RATINGS, strict=True)
    }
    json_file.write_text(json.dumps(clips))
    by_json = read_biic_podcast(tmp_path, labels="detailed_json")
    assert [u.ratings for u in by_json.utterances] == [u.ratings for u in corpus.utterances]
