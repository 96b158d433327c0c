"""Headers that do not fit their files are refused with what they say and what is there; those that fit are read."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from emoprobe.data.sound.audio import AudioClip, duration_seconds, read_audio
from emoprobe.data.sound.limits import AudioError, AudioLimits

RATE = 16_000
SKIP = "dataset.on_error=skip"
ANY = AudioLimits(min_seconds=0, max_seconds=60)


def noise(seconds: float = 0.5, channels: int = 1) -> np.ndarray:
    return np.random.default_rng(0).uniform(-0.5, 0.5, (round(seconds * RATE), channels))


def encode(samples: np.ndarray, kind: str, subtype: str | None = None, endian: str | None = None) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, RATE, format=kind, subtype=subtype, endian=endian)
    return buffer.getvalue()


def put(folder: Path, content: bytes) -> Path:
    path = folder / "a.bin"
    path.write_bytes(content)
    return path


def wav(
    data: bytes, *, tag=1, channels=1, rate=RATE, byte_rate=None, align=None, bits=16, length=None, after=b"", riff=None
):
    """A WAV file with any header."""
    align = channels * bits // 8 if align is None else align
    form = struct.pack("<HHIIHH", tag, channels, rate, rate * align if byte_rate is None else byte_rate, align, bits)
    body = b"WAVEfmt " + struct.pack("<I", 16) + form + b"data"
    body += struct.pack("<I", len(data) if length is None else length) + data + after
    return b"RIFF" + struct.pack("<I", len(body) if riff is None else riff) + body


DATA = (noise() * 32767).astype("<i2").tobytes()  # 8,000 samples of 2 bytes
TONE = bytes(range(128, 228)) * 80  # 8,000 samples of 8 bits
LIST = b"LIST" + struct.pack("<I", 8) + b"INFOabcd"


@pytest.mark.parametrize(
    ("content", "says", "there"),
    [
        (wav(DATA, length=8_000), "8000 bytes of sound", "16000 are there"),
        (wav(DATA, length=8_000, riff=36 + 8_000), "8000 bytes of sound", "16000 are there"),
        (wav(DATA, length=0), "0 bytes of sound", "16000 are there"),
        (wav(DATA, length=0, riff=0), "0 bytes of sound", "16000 are there"),
        (wav(DATA, length=15_998), "15998 bytes of sound", "16000 are there"),
        (wav(DATA, length=15_999), "15999 bytes of sound", ""),
        (wav(DATA, length=8_000, after=LIST), "8000 bytes of sound", "16016 are there"),
        (wav(DATA, length=20_000), "promises 20000 bytes of sound", "16000 are there"),
        (wav(DATA, length=16_001), "promises 16001 bytes of sound", "16000 are there"),
        (wav(DATA, after=wav(DATA)), "16000 bytes of sound", "32044 are there"),
        (wav(DATA, after=b"data" + struct.pack("<I", len(DATA)) + DATA), "16000 bytes of sound", "32008 are there"),
        (wav(DATA[:-1]), "15999 bytes of sound", "a sample of all channels has 2"),
        (wav(TONE, bits=8, length=7_999), "7999 bytes of sound", "8000 are there"),
        (wav(DATA, bits=3, align=2), "PCM of 3 bits in 1 channels", "2 bytes per sample"),
        (wav(TONE, bits=3, align=1), "PCM of 3 bits", "1 bytes per sample"),
        (wav(DATA, bits=9, align=1), "PCM of 9 bits", "1 bytes per sample"),
        (wav(DATA, bits=24, align=2), "PCM of 24 bits", "2 bytes per sample"),
        (wav(DATA, bits=24, align=4), "PCM of 24 bits", "4 bytes per sample"),
        (wav(DATA, bits=0, align=2), "PCM of 0 bits", "2 bytes per sample"),
        (wav(DATA, channels=2, align=2), "16 bits in 2 channels", "2 bytes per sample"),
        (wav(DATA, channels=0, align=0), "16 bits in 0 channels", "0 bytes per sample"),
        (wav(DATA, align=0, byte_rate=32_000), "16 bits in 1 channels", "0 bytes per sample"),
        (wav(DATA, byte_rate=16_000), "at 16000 Hz, that is 32000 bytes per second", "16000 bytes per second"),
        (wav(DATA, rate=48_000, byte_rate=32_000), "at 48000 Hz, that is 96000 bytes per second", "32000 bytes"),
        (wav(DATA, rate=0), "0 samples per second", "4000 to 768000"),
        (wav(DATA, rate=16), "16 samples per second", "4000 to 768000"),
        (wav(DATA, rate=16_000_000), "16000000 samples per second", "4000 to 768000"),
    ],
)
def test_wav_that_lies(tmp_path: Path, refused, content: bytes, says: str, there: str):
    path = put(tmp_path, content)
    error = refused(lambda: read_audio(path, limits=ANY), says, file=path, remedy=SKIP, reason="bad_audio")
    assert there in error.what


@pytest.mark.parametrize(
    "content",
    [
        wav(DATA),
        wav(DATA, riff=0),
        wav(DATA, after=LIST),
        wav(DATA, after=LIST + b"abcd" + struct.pack("<I", 3) + b"xyz"),
        wav(DATA, after=LIST[:-2]),  # cut within the metadata
        wav(DATA, riff=36 + len(DATA), after=b"TAG" + bytes(125)),
        wav(DATA, riff=36 + len(DATA), after=bytes(512)),
        wav(DATA, length=0xFFFF_FFFF, riff=0xFFFF_FFFF),
        wav(DATA + b"\1", length=0xFFFF_FFFF),
        wav(DATA, length=0x7FFF_F000),
        wav(DATA, bits=12, align=2),  # 12 bits in the upper part of 16
        wav(DATA, bits=16)[:12] + b"JUNK" + struct.pack("<I", 3) + b"abc\0" + wav(DATA)[12:],
    ],
)
def test_wav_that_is_odd_but_clear(tmp_path: Path, content: bytes):
    clip = read_audio(put(tmp_path, content), limits=ANY)
    np.testing.assert_array_equal(clip.waveform, np.frombuffer(DATA, "<i2").astype(np.float32) / 32768)


FORMATS = [
    (kind, subtype, endian)
    for kind in ("WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "NIST", "FLAC", "OGG", "MP3")
    for subtype in soundfile.available_subtypes(kind)
    for endian in ("FILE", "LITTLE", "BIG")
    if soundfile.check_format(kind, subtype, endian)
    and (endian == "FILE" or kind in ("WAV", "AIFF", "AU", "CAF", "NIST"))
    and not (subtype.startswith("DWVW"))  # libsndfile cannot seek in what it writes
]


@pytest.mark.parametrize(("kind", "subtype", "endian"), FORMATS)
def test_what_libsndfile_writes_is_read(tmp_path: Path, kind: str, subtype: str, endian: str):
    for size in (4_000, 4_001):
        for channels in (1, 2, 3):
            samples = noise(size / RATE, channels)
            try:
                content = encode(samples, kind, subtype, endian)
            except soundfile.LibsndfileError:
                continue  # it does not write so many channels
            with soundfile.SoundFile(path := put(tmp_path, content)) as sound:
                expected = sound.read(sound.frames, dtype="float32", always_2d=True)
            clip = read_audio(path, limits=ANY)
            np.testing.assert_array_equal(clip.waveform, expected.mean(axis=1, dtype=np.float32))


SEALED = [("WAV", "PCM_16"), ("RF64", "PCM_16"), ("W64", "PCM_16"), ("AIFF", "PCM_16"), ("AU", "PCM_16")]
SEALED += [("CAF", "PCM_16"), ("NIST", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("OGG", "OPUS")]


@pytest.mark.parametrize(("kind", "subtype"), SEALED)
def test_cut_and_joined_files_of_every_container(tmp_path: Path, refused, kind: str, subtype: str):
    content = encode(noise(), kind, subtype)
    for changed in (*(content[:-cut] for cut in (1, 2, 7, 100, len(content) // 2)), content + content):
        path = put(tmp_path, changed)
        refused(lambda path=path: read_audio(path, limits=ANY), "", file=path, remedy=SKIP, reason="bad_audio")


@pytest.mark.parametrize(
    ("kind", "place", "what"),
    [
        ("AIFF", 22, "its header says"),  # COMM: frames
        ("AU", 8, "are there"),
        ("FLAC", 22, ""),
        ("CAF", None, "are there"),
        ("W64", None, "are there"),
        ("RF64", 28, "are there"),  # ds64: bytes of sound
    ],
)
def test_lengths_that_lie_in_other_containers(tmp_path: Path, refused, kind: str, place: int | None, what: str):
    """The stated length is halved where it is found as it should be: bytes or samples."""
    content = bytearray(encode(noise(), kind, "PCM_16"))
    order = "little" if kind in ("RF64", "W64") else "big"
    size = {"AIFF": 4, "AU": 4, "FLAC": 4}.get(kind, 8)
    if place is None:
        place = content.index(b"data") + (4 if kind == "CAF" else 16)
    stated = int.from_bytes(content[place : place + size], order)
    assert stated in (8_000, 16_000, 16_004, 16_024)
    content[place : place + size] = (stated // 2 + stated % 2).to_bytes(size, order)
    path = put(tmp_path, bytes(content))
    refused(lambda: read_audio(path, limits=ANY), what, file=path, remedy=SKIP, reason="bad_audio")


@pytest.mark.parametrize(
    ("kind", "name", "skipped"),
    [
        ("WAV", b"data", 0),
        ("RF64", b"ds64", 12),
        ("W64", b"data", 12),
        ("AIFF", b"SSND", 0),
        ("CAF", b"data", 0),
        ("AU", b".snd", 4),
    ],
)
def test_a_length_of_zero_says_what_is_there(tmp_path: Path, refused, kind: str, name: bytes, skipped: int):
    """As a recorder writes that was switched off: the header was never filled in."""
    content = bytearray(encode(noise(), kind, "PCM_16"))
    size = {"RF64": 8, "W64": 8, "CAF": 8}.get(kind, 4)
    # What a chunk counts beside its sound: its own name and length, or where the sound begins.
    own = {"W64": 24, "AIFF": 8, "CAF": 4}.get(kind, 0)
    place = content.index(name) + 4 + skipped
    content[place : place + size] = own.to_bytes(size, "little" if kind in ("WAV", "RF64", "W64") else "big")
    path = put(tmp_path, bytes(content))
    error = refused(lambda: read_audio(path, limits=ANY), "its header says", file=path, remedy=SKIP, reason="bad_audio")
    assert "are there" in error.what


@pytest.mark.parametrize(
    "kind", [kind for kind in soundfile.available_formats() if kind not in ("RAW", "SD2", *(f[0] for f in FORMATS))]
)
def test_containers_whose_length_is_not_checked_are_refused(tmp_path: Path, refused, kind: str):
    """libsndfile takes half of such a file for a whole one; where it does not (HTK), the file is read."""
    content = encode(noise(), kind, "ALAW" if kind == "WVE" else "DPCM_16" if kind == "XI" else "PCM_16")
    path = put(tmp_path, content[: len(content) // 4 * 2])
    refused(lambda: read_audio(path, limits=ANY), "", file=path, remedy=SKIP, reason="bad_audio")
    path = put(tmp_path, content)
    if kind == "HTK":
        np.testing.assert_allclose(read_audio(path, limits=ANY).waveform, noise()[:, 0], atol=1e-4)
    else:
        refused(lambda: read_audio(path, limits=ANY), "whether it is whole", file=path, remedy=SKIP, reason="bad_audio")


@pytest.mark.parametrize("subtype", ["PCM_16", "IMA_ADPCM", "MS_ADPCM"])
def test_joined_w64_files(tmp_path: Path, refused, subtype: str):
    content = encode(noise(), "W64", subtype)
    path = put(tmp_path, content + content)
    refused(lambda: read_audio(path, limits=ANY), "are there", file=path, remedy=SKIP, reason="bad_audio")


def test_w64_whose_padding_is_counted_with_the_sound(tmp_path: Path, refused):
    """As ffmpeg writes 24 bits: 4,001 samples of 3 bytes, and 5 bytes that fill up to a multiple of 8."""
    content = bytearray(encode(noise(4_001 / RATE), "W64", "PCM_24"))
    place = content.index(b"data") + 16
    assert int.from_bytes(content[place : place + 8], "little") == 24 + 12_003
    content = content[: place + 8 + 12_003] + bytes(5)
    content[place : place + 8] = (24 + 12_008).to_bytes(8, "little")
    clip = read_audio(put(tmp_path, bytes(content)), limits=ANY)
    np.testing.assert_allclose(clip.waveform[:4_001], noise(4_001 / RATE)[:, 0], atol=1e-6)
    assert not clip.waveform[4_001:].any()


def test_nist_sphere_that_lies(tmp_path: Path, refused):
    content = encode(noise(), "NIST", "PCM_16")
    assert b"sample_count -i 8000" in content
    for old, new in ((b"-i 8000", b"-i 4000"), (b"channel_count -i 1", b"channel_count -i 2")):
        path = put(tmp_path, content.replace(old, new))
        refused(lambda p=path: read_audio(p), "16000 are there", file=path, remedy=SKIP, reason="bad_audio")


def test_flac_that_says_too_little(tmp_path: Path, refused):
    """By the MD5 sum; where an encoder left that out, by reading on."""
    content = bytearray(encode(noise(), "FLAC", "PCM_16"))
    assert int.from_bytes(content[22:26]) == 8_000
    content[22:26] = (6_000).to_bytes(4)
    path = put(tmp_path, bytes(content))
    refused(lambda: read_audio(path), "MD5", file=path, remedy=SKIP, reason="bad_audio")
    content[26:42] = bytes(16)
    path = put(tmp_path, bytes(content))
    refused(lambda: read_audio(path), "6000 samples, and more are there", file=path, remedy=SKIP, reason="bad_audio")
    content[22:26] = (8_000).to_bytes(4)
    assert len(read_audio(put(tmp_path, bytes(content))).waveform) == 8_000


def test_flac_whose_rate_is_not_that_of_its_frames(tmp_path: Path, refused):
    content = bytearray(encode(noise(), "FLAC", "PCM_16"))
    content[18:21] = ((8_000 << 4) | (content[20] & 15)).to_bytes(3)
    path = put(tmp_path, bytes(content))
    what = "8000 samples per second, and its frames say 16000"
    refused(lambda: read_audio(path), what, file=path, remedy=SKIP, reason="bad_audio")


def test_ogg_that_lost_a_page(tmp_path: Path, refused):
    content = encode(noise(3.0), "OGG", "VORBIS")
    pages = [at for at in range(len(content)) if content[at : at + 4] == b"OggS"]
    path = put(tmp_path, content[: pages[-2]] + content[pages[-1] :])
    refused(lambda: read_audio(path), "pages are missing", file=path, remedy=SKIP, reason="bad_audio")
    path = put(tmp_path, content[: pages[-1]])
    refused(lambda: read_audio(path), "not marked as the end", file=path, remedy=SKIP, reason="bad_audio")


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"\0\0\0\x20ftypM4A " + bytes(100), "M4A"),
        (b"\xff\xf1\x50\x80\x20\x1f\xfc" + bytes(100), "AAC"),
        (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11" + bytes(100), "WMA"),
        (b"\x1a\x45\xdf\xa3" + bytes(100), "WebM"),
        (b"#!AMR\n" + bytes(100), "AMR"),
    ],
)
def test_formats_that_are_not_supported_are_named(tmp_path: Path, refused, content: bytes, name: str):
    path = put(tmp_path, content)
    refused(lambda: read_audio(path), name, file=path, remedy="Convert it to WAV or FLAC", reason="bad_audio")


@pytest.mark.parametrize("suffix", [".snd", ".au", ".gsm", ".vox"])
def test_the_name_of_a_file_is_no_header(tmp_path: Path, refused, suffix: str):
    """libsndfile would take any bytes of such a name for sound."""
    path = tmp_path / f"a{suffix}"
    path.write_bytes(np.random.default_rng(0).bytes(9_000))
    refused(lambda: read_audio(path), "no header", file=path, remedy=SKIP, reason="bad_audio")
    assert duration_seconds(path) == 0.0


@pytest.mark.parametrize(("subtype", "channels", "head"), [("PCM_16", 1, 44), ("PCM_16", 2, 44), ("PCM_24", 1, 44)])
def test_a_wav_header_with_one_wrong_byte_is_refused_or_changes_nothing(
    tmp_path: Path, subtype: str, channels: int, head: int
):
    content = encode(noise(0.1, channels), "WAV", subtype)
    expected = read_audio(put(tmp_path, content), limits=ANY).waveform

    def read(place: int, value: int) -> AudioClip | None:
        changed = bytearray(content)
        changed[place] = value
        try:
            return read_audio(put(tmp_path, bytes(changed)), limits=ANY)
        except AudioError:
            return None

    results = [read(place, content[place] ^ 1 << bit) for place in range(head) for bit in range(8)]
    assert sum(clip is None for clip in results) > 200
    for clip in results:
        if clip is not None:
            np.testing.assert_array_equal(clip.waveform, expected)
