"""Paths as other systems write them, and names as they are on disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from emoprobe.data.corpora.manifest import read_manifest
from emoprobe.data.reading.files import RowError, SoundFolder
from emoprobe.data.reading.folders import here


@pytest.fixture
def manifest(tmp_path: Path) -> Callable[[str], Path]:
    """A manifest of one path, beside a folder of sound."""
    (tmp_path / "sub" / "d\u00e4r").mkdir(parents=True)
    for name in ("plain.wav", "\u00e4.wav", "two.wav", "two.flac", "d\u00e4r/in.wav", "100%25 b.wav"):
        (tmp_path / "sub" / name).touch()

    def to(path: str) -> Path:
        (tmp_path / "m.csv").write_text(f'path,label\n"{path}",sad\n', encoding="utf-8")
        return tmp_path / "m.csv"

    return to


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("{root}/sub/plain.wav", "plain.wav"),
        ("{root}/sub/../sub/plain.wav", "plain.wav"),
        ("sub\\plain.wav", "plain.wav"),
        (".\\sub\\PLAIN.WAV", "plain.wav"),
        ("SUB/plain.wav", "plain.wav"),
        ("file://{root}/sub/plain.wav", "plain.wav"),
        ("file://localhost{root}/sub/plain.wav", "plain.wav"),
        ("file:{root}/sub/plain.wav", "plain.wav"),
        ("FILE:///{root}/sub/100%2525%20b.wav", "100%25 b.wav"),
        ("sub/a\u0308.wav", "\u00e4.wav"),
        ("file://{root}/sub/a%CC%88.wav", "\u00e4.wav"),
        ("sub/da\u0308r/in.wav", "d\u00e4r/in.wav"),
        ("sub/plain.mp4", "plain.wav"),
        ("sub/plain.flac", "plain.wav"),
        ("sub\\plain.AVI", "plain.wav"),
        ("sub/two.wav", "two.wav"),
    ],
)
def test_a_path_that_is_found(manifest, tmp_path: Path, path: str, found: str):
    (clip,) = read_manifest(manifest(path.format(root=tmp_path))).utterances
    assert clip.audio == tmp_path / "sub" / found
    # Only a name that was converted keeps its own spelling.
    assert not clip.id.startswith("/")
    assert clip.id.lower().replace("%25 b", "").startswith("sub/")


@pytest.mark.parametrize(
    ("path", "what", "remedy"),
    [
        ("/elsewhere/plain.wav", "'/elsewhere/plain.wav' leaves the root", "dataset.root"),
        ("C:\\data\\plain.wav", "is a path of a Windows drive", "dataset.reader.path_base"),
        ("file:///D:/plain.wav", "is a path of a Windows drive", "dataset.reader.path_base"),
        ("file://server/plain.wav", "is no file of this computer", "path_base"),
        ("https://example.org/plain.wav", "is no file of this computer", "path_base"),
        ("s3://bucket/plain.wav", "is no file of this computer", "path_base"),
        ("\\\\server\\share\\plain.wav", "leaves the root", "dataset.root"),
        ("sub/two.mp4", "any of two.wav, two.flac may be meant", "dataset.on_error=skip"),
    ],
)
def test_a_path_that_is_refused(manifest, refused, path: str, what: str, remedy: str):
    table = manifest(path)
    refused(lambda: read_manifest(table), what, file=table, row=2, field="path", remedy=remedy)


def test_the_root_is_a_fence_that_can_be_widened(manifest, tmp_path: Path, refused):
    table = manifest(str(tmp_path / "sub" / "plain.wav"))
    (tmp_path / "other").mkdir()
    what = f"'{tmp_path}/sub/plain.wav' leaves the root {tmp_path}/other"
    call = lambda: read_manifest(table, root=tmp_path / "other")  # noqa: E731
    refused(call, what, file=table, row=2, field="path", remedy="a folder that really holds all of the sound")
    (clip,) = read_manifest(table, root=tmp_path.parent).utterances
    assert clip.audio == tmp_path / "sub" / "plain.wav"


@pytest.mark.parametrize(
    ("path", "base"),
    [
        ("C:\\Data\\sub\\plain.wav", "c:\\data"),
        ("C:/Data/sub/plain.wav", "C:/Data/"),
        ("file:///C:/Data/sub/plain.wav", "C:/Data"),
        ("/home/ann/data/sub/plain.wav", "/home/ann/data"),
        ("\\\\server\\share\\sub\\plain.wav", "\\\\server\\share"),
        ("data/sub/plain.wav", "data"),
    ],
)
def test_a_folder_of_another_computer(manifest, tmp_path: Path, path: str, base: str):
    (clip,) = read_manifest(manifest(path), path_base=base).utterances
    assert (clip.audio, clip.id) == (tmp_path / "sub" / "plain.wav", "sub/plain")


def test_a_name_may_hold_a_backslash_here(tmp_path: Path):
    (tmp_path / "a\\b.wav").touch()
    (tmp_path / "m.csv").write_text("path,label\na\\b.wav,sad\n")
    (clip,) = read_manifest(tmp_path / "m.csv").utterances
    assert clip.audio == tmp_path / "a\\b.wav"


def test_one_recording_under_two_spellings(manifest, tmp_path: Path, refused):
    table = manifest("sub/plain.wav")
    table.write_text("path,label\nsub/plain.wav,sad\nsub/plain.mp4,sad\n")
    refused(
        lambda: read_manifest(table), "was there before", file=table, row=3, field="utterance_id", remedy="its own id"
    )
    table.write_text("path,utterance_id,label\nsub/plain.wav,u1,sad\nsub/plain.mp4,u2,sad\n")
    refused(lambda: read_manifest(table), "would count twice", file=table, row=3, field="path", remedy="one row")


def test_a_film_beside_its_sound(tmp_path: Path):
    for name in ("a.mp4", "a.wav", "b.mp4", "c.m4a"):
        (tmp_path / name).touch()
    folder = SoundFolder(tmp_path, suffixes=(), converted=True)
    assert [folder.find(name).name for name in ("a.mp4", "b.mp4", "c.wav")] == ["a.wav", "b.mp4", "c.wav"]
    (tmp_path / "a.flac").touch()
    with pytest.raises(RowError, match=r"any of a\.wav, a\.flac may be meant"):
        SoundFolder(tmp_path, suffixes=(), converted=True).find("a.mp4")


def test_paths_that_mean_the_same_everywhere():
    assert here("a b/c%20d.wav") == "a b/c%20d.wav"
    assert here("a:b.wav") == "a:b.wav"
