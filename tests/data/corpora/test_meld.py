"""MELD: facts of a turn, the turns before it, the folders that its tables and its sound may lie in."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from copies import meld as copy
from copies.sound import write_sound

from emoprobe.data.corpora.meld import CARD, TOTALS, read_meld
from emoprobe.data.utterance import Utterance
from emoprobe.errors import InputError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    copy.write(tmp_path / "corpus")
    return tmp_path / "corpus"


def by_id(root: Path, **options: object) -> dict[str, Utterance]:
    return {clip.id: clip for clip in read_meld(root, **options).utterances}


def test_a_turn(root: Path):
    clip = by_id(root)["train_dia0_utt2"]
    assert (clip.speaker, clip.split, clip.votes, clip.num_raters) == ("Chandler", "train", {"happy": 1.0}, 1)
    assert clip.transcript == "That I did, “that” I did."
    assert clip.dialogue == "Chandler: also I was the point person.\nThe Interviewer: You must’ve had your hands full."
    assert clip.audio == root / "train" / "train_splits" / "dia0_utt2.wav"
    assert clip.metadata == {
        "consensus": "happy",
        "turn": 2,
        "dialogue": "train_dia0",
        "sentiment": "positive",
        "season": "8",
        "episode": "21",
        "start": "00:16:13,059",
        "end": "00:16:14,731",
    }


@pytest.mark.parametrize(("turns", "said"), [(0, None), (1, "The Interviewer: You must’ve had your hands full.")])
def test_turns_before(root: Path, turns: int, said: str | None):
    clips = by_id(root, context_turns=turns)
    assert clips["train_dia0_utt2"].dialogue == said
    # The first turn of a dialogue, of which another part has one with the same number.
    assert clips["train_dia1_utt3"].dialogue == ("" if turns else None)


def test_turns_are_in_the_order_of_their_numbers(root: Path):
    before = by_id(root)
    file = root / copy.TABLES[0]
    header, *rows = file.read_text(encoding="utf-8").splitlines()
    file.write_text("\n".join([header, *reversed(rows)]) + "\n", encoding="utf-8")
    assert {name: clip.dialogue for name, clip in by_id(root).items()} == {
        name: clip.dialogue for name, clip in before.items()
    }


@pytest.mark.parametrize("turns", [-1, 1.5, "3", True, None])
def test_turns_are_a_number(root: Path, turns: object):
    with pytest.raises(InputError, match="is not a whole number of at least 0") as caught:
        read_meld(root, context_turns=turns)
    assert caught.value.field == "dataset.context_turns"


@pytest.mark.parametrize("places", [("data/MELD",) * 3, ("MELD.Raw/train", "MELD.Raw", "MELD.Raw"), ("", "", "")])
def test_places_of_the_tables(root: Path, places: tuple[str, ...]):
    expected = {name: clip.votes for name, clip in by_id(root).items()}
    for table, place in zip(copy.TABLES, places, strict=True):
        (root / place).mkdir(parents=True, exist_ok=True)
        (root / table).rename(root / place / Path(table).name)
    assert {name: clip.votes for name, clip in by_id(root).items()} == expected


@pytest.mark.parametrize("place", ["{part}", "audio/{part}", "wav/{part}", "MELD.Raw/{films}", "{part}/{films}"])
@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_places_of_the_sound(root: Path, tmp_path: Path, place: str, suffix: str):
    for part, folder in zip(("train", "dev", "test"), copy.FOLDERS, strict=True):
        there = tmp_path / "sound" / place.format(part=part, films=Path(folder).name)
        there.mkdir(parents=True)
        for file in (root / folder).iterdir():
            write_sound(there / f"{file.stem}{suffix}", suffix[1:].upper())
        shutil.rmtree(root / folder)
    clips = by_id(root, audio_root=tmp_path / "sound")
    assert all(clip.audio.is_file() and clip.audio.suffix == suffix for clip in clips.values())
    # Three parts have clips of the same name.
    assert len({clip.audio for clip in clips.values()}) == len(clips)


def test_films_stay_where_nothing_was_converted(root: Path):
    folder = root / copy.FOLDERS[1]
    shutil.copy(folder / "dia0_utt1.wav", folder / "dia0_utt1.mp4")
    (folder / "dia0_utt0.wav").rename(folder / "dia0_utt0.mp4")
    clips = by_id(root)
    assert clips["dev_dia0_utt0"].audio.name == "dia0_utt0.mp4"
    assert clips["dev_dia0_utt1"].audio.name == "dia0_utt1.wav"


def test_a_part_of_the_corpus(root: Path):
    (root / copy.TABLES[0]).unlink()
    corpus = read_meld(root)
    assert {clip.split for clip in corpus.utterances} == {"development", "test"}
    assert [total.count(corpus) for total in TOTALS[:3]] == [None, 2, 2]
    with pytest.raises(InputError, match="the folder does not exist") as caught:
        read_meld(root, audio_root=root / "none")
    assert caught.value.field == "dataset.audio_root"


def test_known_defects(root: Path):
    file = root / copy.TABLES[0]
    file.write_text(file.read_text(encoding="utf-8").replace("negative,1,3", "negative,125,3"), encoding="utf-8")
    clips = by_id(root)
    assert (
        clips["train_dia125_utt3"].metadata["known_defect"] == CARD.defects["train_dia125_utt3"] == "its film is broken"
    )
