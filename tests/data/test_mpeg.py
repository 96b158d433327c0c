"""MP3 files without a true length in them are decoded whole; those with one as libsndfile decodes them."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import scipy.signal
import soundfile

from emoprobe.data.corpora import demo
from emoprobe.data.sound import mpeg
from emoprobe.data.sound.audio import duration_seconds, read_audio
from emoprobe.data.sound.limits import AudioError, AudioLimits

MODES = ("CONSTANT", "AVERAGE", "VARIABLE")
ID3V1 = b"TAG" + bytes(125)
ID3V2 = b"ID3\x04\x00\x00" + bytes([0, 0, 2, 0]) + b"\xff\xfb\x90\xc4" * 64  # a picture may look like frames
APE = b"APETAGEX" + struct.pack("<IIIIQ", 2000, 40, 1, 0xA000_0000, 0) + b"\xff\xfb\x90\xc4" * 2
APE += b"APETAGEX" + struct.pack("<IIIIQ", 2000, 40, 1, 0x8000_0000, 0)
DELAY = 4 * 1152  # samples that encoder and decoder may add, at the file's rate


def speech(rate: int, seconds: float = 1.2, channels: int = 1, seed: int = 0) -> np.ndarray:
    """Noise in the band of speech that swells and fades like syllables, so that bit rates vary."""
    generator = np.random.default_rng(seed)
    noise = generator.normal(0, 0.1, (round(seconds * rate), 1))
    band = scipy.signal.butter(4, (200, 2_500), "bandpass", fs=rate, output="sos")
    swell = np.sin(2 * np.pi * 3 * np.arange(len(noise)) / rate)[:, None] ** 2
    return scipy.signal.sosfilt(band, noise, axis=0) * swell * np.array([1.0, 0.6])[:channels]


def encode(samples: np.ndarray, rate: int, mode: str = "VARIABLE") -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format="MP3", subtype="MPEG_LAYER_III", bitrate_mode=mode)
    return buffer.getvalue()


def bare(content: bytes) -> bytes:
    """Without its first frame, which says the length: as an encoder writes into a pipe."""
    return content[content.index(content[:2], 4) :]


def put(folder: Path, content: bytes) -> Path:
    path = folder / "a.mp3"
    path.write_bytes(content)
    return path


def decoded(path: Path, rate: int) -> np.ndarray:
    clip = read_audio(path, rate)
    assert clip.original_sampling_rate == rate
    assert clip.duration_seconds == len(clip.waveform) / rate == duration_seconds(path)
    return clip.waveform


def assert_holds(waveform: np.ndarray, samples: np.ndarray, parts: int = 1) -> None:
    """The waveform is the samples, whole, within what the codec adds, and sounds like them at their one best place."""
    mono = samples.mean(axis=1)
    assert 0 <= len(waveform) - len(mono) <= parts * DELAY
    lags = scipy.signal.correlate(waveform, mono, "valid")
    place = int(np.argmax(lags))
    assert np.corrcoef(waveform[place : place + len(mono)], mono)[0, 1] > 0.95


@pytest.mark.parametrize("name", [utterance.id for utterance in demo.read_demo().utterances[:4]])
def test_files_with_a_true_length_are_decoded_as_by_libsndfile(name: str):
    path = next(utterance.audio for utterance in demo.read_demo().utterances if utterance.id == name)
    with soundfile.SoundFile(path) as sound:
        expected = sound.read(sound.frames, dtype="float32")
    np.testing.assert_array_equal(decoded(path, sound.samplerate), expected)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("rate", "channels"), [(8_000, 1), (16_000, 2), (22_050, 1), (44_100, 1), (44_100, 2), (48_000, 1)]
)
def test_without_a_length_frame_the_whole_is_decoded(tmp_path: Path, rate: int, channels: int, mode: str):
    samples = speech(rate, channels=channels)
    content = encode(samples, rate, mode)
    assert_holds(decoded(put(tmp_path, bare(content)), rate), samples)
    whole = decoded(put(tmp_path, content), rate)
    assert len(whole) == len(samples)  # the length frame also says what the encoder added


@pytest.mark.parametrize("mode", MODES)
def test_the_decoder_alone_would_have_stopped_elsewhere(tmp_path: Path, mode: str):
    """That the test above can fail: libsndfile's length of such files is its guess."""
    samples = speech(44_100)
    path = put(tmp_path, bare(encode(samples, 44_100, mode)))
    assert soundfile.info(path).frames != len(decoded(path, 44_100))


def test_joined_files_are_decoded_one_after_the_other(tmp_path: Path):
    first, second = speech(44_100), speech(44_100, 0.7, seed=1)
    contents = [encode(first, 44_100), encode(second, 44_100)]
    for content in (
        contents[0] + contents[1],
        ID3V2 + contents[0] + APE + ID3V1 + ID3V2 + contents[1] + ID3V1,
        contents[0] + bytes(300) + contents[1],
    ):
        waveform = decoded(put(tmp_path, content), 44_100)
        alone = [decoded(put(tmp_path, part), 44_100) for part in contents]
        np.testing.assert_array_equal(waveform, np.concatenate(alone))
    for content in (bare(contents[0]) + bare(contents[1]), contents[0] + bare(contents[1])):
        waveform = decoded(put(tmp_path, content), 44_100)
        middle = len(first) + DELAY // 4
        assert_holds(waveform[:middle], first)
        assert_holds(waveform[len(first) :], second, parts=2)


@pytest.mark.parametrize(
    "around",
    [
        (ID3V2, b""),
        (b"", ID3V1),
        (b"", APE + ID3V1),
        (ID3V2, APE),
        (b"", bytes(3_000)),
        (b"", b"\xff\xfb rubbish \xff"),
    ],
)
@pytest.mark.parametrize("with_length", [True, False])
def test_tags_and_rubbish_are_no_sound(tmp_path: Path, around: tuple[bytes, bytes], with_length: bool):
    content = encode(speech(16_000), 16_000)
    content = content if with_length else bare(content)
    expected = decoded(put(tmp_path, content), 16_000)
    np.testing.assert_array_equal(decoded(put(tmp_path, around[0] + content + around[1]), 16_000), expected)


def test_rubbish_between_frames_is_passed_over(tmp_path: Path):
    content = bare(encode(speech(16_000), 16_000))
    (part,) = mpeg.parts(content)
    rubbish = np.random.default_rng(0).bytes(5_000)
    cut = sum(map(len, part.frames[:20]))
    broken = content[:cut] + rubbish + content[cut:]
    np.testing.assert_array_equal(decoded(put(tmp_path, broken), 16_000), decoded(put(tmp_path, content), 16_000))


def test_a_length_frame_that_promises_too_little_is_not_believed(tmp_path: Path):
    samples = speech(44_100)
    content = bytearray(encode(samples, 44_100))
    place = content.index(b"Xing") + 8
    frames = int.from_bytes(content[place : place + 4], "big")
    for stated in (0, 1, frames // 2, frames - 1):
        content[place : place + 4] = stated.to_bytes(4, "big")
        waveform = decoded(put(tmp_path, bytes(content)), 44_100)
        assert len(waveform) == frames * 1152
        assert_holds(waveform, samples)


def test_a_length_frame_that_promises_too_much_means_a_truncated_file(tmp_path: Path, refused):
    content = encode(speech(44_100), 44_100)
    place = content.index(b"Xing") + 8
    frames = int.from_bytes(content[place : place + 4], "big")
    path = put(tmp_path, content[:-10])
    what = f"truncated: its header promises {frames} frames and {frames - 1} are there"
    refused(lambda: read_audio(path), what, file=path, remedy="dataset.on_error=skip", reason="bad_audio")
    assert duration_seconds(path) == 0.0
    shorter = decoded(put(tmp_path, bare(content)[:-10]), 44_100)
    assert len(shorter) == (frames - 1) * 1152  # nothing says that a frame was lost


@pytest.mark.parametrize("mark", ["VBRI", "no count", "behind a checksum"])
def test_length_frames_that_the_decoder_does_not_know(tmp_path: Path, mark: str):
    samples = speech(44_100)
    content = bytearray(encode(samples, 44_100))
    frames = content[29:33]
    if mark == "VBRI":
        content[4:33] = bytes(29)
        content[36:54] = b"VBRI\x00\x01\x04\x71\x00\x4b" + bytes(4) + frames
    elif mark == "no count":
        content[28] &= 0xFE
    else:
        size = content.index(content[:2], 4)
        content[1] &= 0xFE
        content[4:size] = bytes(2) + content[4 : size - 2]
    waveform = decoded(put(tmp_path, bytes(content)), 44_100)
    assert len(waveform) == int.from_bytes(frames, "big") * 1152
    assert_holds(waveform, samples)


def test_a_change_of_rate_or_channels_is_refused(tmp_path: Path, refused):
    one = encode(speech(44_100), 44_100)
    for other, what in (
        (encode(speech(48_000), 48_000), "48000 Hz, 1 channel"),
        (encode(speech(44_100, channels=2), 44_100), "2 channels"),
    ):
        path = put(tmp_path, one + other)
        error = refused(
            lambda p=path: read_audio(p), what, file=path, remedy="dataset.on_error=skip", reason="bad_audio"
        )
        assert "joined" in error.what


@pytest.mark.parametrize("name", ["._a.mp3", ".AppleDouble/a.mp3"])
def test_a_file_of_attributes_beside_it_changes_nothing(tmp_path: Path, name: str):
    """As macOS writes on other systems' disks: 26 bytes of header, one entry."""
    path = put(tmp_path, encode(speech(16_000), 16_000))
    expected = decoded(path, 16_000)
    (tmp_path / name).parent.mkdir(exist_ok=True)
    entry = struct.pack(">II16sHIII", 0x0005_1607, 0x2_0000, b"Mac OS X        ", 1, 9, 38, 4058)
    (tmp_path / name).write_bytes(entry + bytes(4058))
    np.testing.assert_array_equal(decoded(path, 16_000), expected)


def test_what_is_cut_off_by_the_limit(tmp_path: Path):
    samples = speech(44_100)
    path = put(tmp_path, bare(encode(samples, 44_100)))
    whole = read_audio(path, 44_100)
    clip = read_audio(path, 44_100, AudioLimits(max_seconds=0.5, long_audio="truncate"))
    assert (clip.truncated, clip.duration_seconds, len(clip.waveform)) == (True, whole.duration_seconds, 22_050)
    np.testing.assert_allclose(clip.waveform, whole.waveform[:22_050], atol=1e-6)
    with pytest.raises(AudioError) as caught:
        read_audio(path, 44_100, AudioLimits(max_seconds=0.5))
    assert caught.value.reason == "too_long"


def test_mp3_in_wav(tmp_path: Path):
    samples = speech(44_100)
    content = bare(encode(samples, 44_100))
    form = struct.pack("<HHIIHHH", 0x55, 1, 44_100, 16_000, 1, 0, 12) + bytes(12)
    chunks = b"fmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(content)) + content
    path = tmp_path / "a.wav"
    path.write_bytes(b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks)
    assert_holds(decoded(path, 44_100), samples)


@pytest.mark.parametrize(
    ("word", "size", "samples", "rate", "channels"),
    [  # 144 (or 72, or 12 * 4) x bit rate / sampling rate, by hand
        ("fffb9064", 417, 1152, 44_100, 2),
        ("fffb92c4", 418, 1152, 44_100, 1),
        ("fff388c4", 288, 576, 16_000, 1),
        ("ffe388c4", 576, 576, 8_000, 1),
        ("fffda404", 576, 1152, 48_000, 2),
        ("ffff1404", 32, 384, 48_000, 2),
    ],
)
def test_headers_by_hand(word: str, size: int, samples: int, rate: int, channels: int):
    header = mpeg.read_header(bytes.fromhex(word), 0)
    assert (header.size, header.samples, header.rate, header.channels) == (size, samples, rate, channels)


@pytest.mark.parametrize("word", ["fffbf064", "fffb9c64", "ffeb9064", "fff99064", "ff000000", "fffb9066"])
def test_what_is_no_header(word: str):
    assert mpeg.read_header(bytes.fromhex(word), 0) is None


def test_damage_never_ends_in_anything_but_an_audio_error(tmp_path: Path):
    content = bare(encode(speech(16_000), 16_000))
    generator = np.random.default_rng(5)
    for _ in range(60):
        damaged = bytearray(content[: generator.integers(1, len(content))])
        for place in generator.integers(0, len(damaged), 4):
            damaged[place] = generator.integers(0, 256)
        try:
            clip = read_audio(put(tmp_path, bytes(damaged)), limits=AudioLimits(min_seconds=0))
        except AudioError:
            continue
        assert len(clip.waveform) <= len(content) // 24 * 576
