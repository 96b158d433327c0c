"""Sound files: what is decoded, how it is resampled, and what is refused."""

from __future__ import annotations

import hashlib
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import scipy.signal
import scipy.stats
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from emoprobe.data.corpora.demo import read_demo
from emoprobe.data.sound.audio import AudioClip, clip_of_array, duration_seconds, read_audio
from emoprobe.data.sound.faults import level_dbfs
from emoprobe.data.sound.limits import AudioError, AudioLimits
from emoprobe.errors import InputError

RATE = 16_000
SKIP = "dataset.on_error=skip"


def noise(seconds: float = 0.5, rate: int = RATE, channels: int = 1, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return generator.uniform(-0.5, 0.5, (round(seconds * rate), channels))


def sine(hertz: float, rate: int, seconds: float = 1.0, amplitude: float = 0.5) -> np.ndarray:
    return amplitude * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def write(path: Path, samples: np.ndarray, rate: int = RATE, **options: str) -> Path:
    soundfile.write(path, samples, rate, **options)
    return path


def spectrum(waveform: np.ndarray, rate: int) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies in hertz and amplitudes; the ends, where a resampling filter starts and stops, are left out."""
    middle = waveform[len(waveform) // 10 : -len(waveform) // 10].astype(np.float64)
    window = scipy.signal.windows.blackmanharris(len(middle))
    return np.fft.rfftfreq(len(middle), 1 / rate), np.abs(np.fft.rfft(middle * window)) * 2 / window.sum()


# ---------------------------------------------------------------------------------------------------------- decoding


@pytest.mark.parametrize(
    ("name", "subtype", "tolerance"),
    [
        ("a.wav", "PCM_16", 2**-15),
        ("a.wav", "PCM_24", 2**-23),
        ("a.wav", "FLOAT", 1e-7),
        ("a.wav", "ULAW", 0.02),
        ("a.flac", "PCM_16", 2**-15),
        ("a.aiff", "PCM_16", 2**-15),
        ("a.w64", "PCM_16", 2**-15),
        ("a.caf", "PCM_16", 2**-15),
    ],
)
def test_waveform_is_what_was_written(tmp_path: Path, name: str, subtype: str, tolerance: float):
    samples = noise()
    clip = read_audio(write(tmp_path / name, samples, subtype=subtype))
    assert clip.waveform.dtype == np.float32
    assert clip.waveform.flags.c_contiguous
    np.testing.assert_allclose(clip.waveform, samples[:, 0], atol=tolerance)
    assert (clip.sampling_rate, clip.original_sampling_rate, clip.channels) == (RATE, RATE, 1)
    assert (clip.duration_seconds, clip.truncated) == (0.5, False)


@pytest.mark.parametrize("name", ["a.ogg", "a.mp3"])
def test_lossy_formats_sound_like_what_was_written(tmp_path: Path, name: str):
    samples = sine(440, RATE)
    clip = read_audio(write(tmp_path / name, samples))
    assert clip.duration_seconds == pytest.approx(1.0, abs=0.01)
    assert np.corrcoef(clip.waveform, samples)[0, 1] > 0.99


def test_the_suffix_does_not_matter(tmp_path: Path):
    path = write(tmp_path / "a.flac", noise())
    renamed = path.rename(tmp_path / "a.wav")
    assert len(read_audio(renamed).waveform) == 8000


def test_channels_are_averaged(tmp_path: Path):
    samples = noise(channels=3)
    clip = read_audio(write(tmp_path / "a.wav", samples, subtype="FLOAT"))
    assert clip.channels == 3
    np.testing.assert_allclose(clip.waveform, samples.sum(axis=1) / 3, atol=1e-6)


def test_sha256_is_that_of_the_file(tmp_path: Path):
    path = write(tmp_path / "a.wav", noise())
    assert read_audio(path).sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_float_samples_beyond_full_scale_are_kept(tmp_path: Path):
    samples = 3 * noise()
    clip = read_audio(write(tmp_path / "a.wav", samples, subtype="FLOAT"))
    assert np.abs(clip.waveform).max() > 1.4
    np.testing.assert_allclose(clip.waveform, samples[:, 0], atol=1e-6)


# -------------------------------------------------------------------------------------------------------- resampling


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000])
def test_resampled_speech_band_equals_an_independent_resampler(tmp_path: Path, rate: int):
    samples = sum(sine(hertz, rate, amplitude=0.1) for hertz in (110, 440, 1230, 2500))
    waveform = read_audio(write(tmp_path / "a.wav", samples, rate, subtype="FLOAT")).waveform
    greatest = np.gcd(rate, RATE)
    window = ("kaiser", 12.0)
    reference = scipy.signal.resample_poly(samples, RATE // greatest, rate // greatest, window=window)
    assert abs(len(waveform) - RATE) <= 1
    middle = slice(1000, 15_000)
    np.testing.assert_allclose(waveform[middle], reference[middle], atol=2e-3)


@pytest.mark.parametrize("rate", [8_000, 44_100, 48_000])
def test_a_tone_keeps_its_frequency_and_amplitude(tmp_path: Path, rate: int):
    clip = read_audio(write(tmp_path / "a.wav", sine(1000, rate, seconds=2), rate, subtype="FLOAT"))
    frequencies, amplitudes = spectrum(clip.waveform, RATE)
    assert clip.original_sampling_rate == rate
    assert frequencies[amplitudes.argmax()] == pytest.approx(1000, abs=1)
    assert amplitudes.max() == pytest.approx(0.5, rel=0.002)
    assert amplitudes[np.abs(frequencies - 1000) > 20].max() < 0.5e-4  # 80 dB down


@pytest.mark.parametrize("hertz", [8_100, 9_000, 11_000, 12_000, 15_000, 23_000])
def test_tones_that_the_new_rate_cannot_hold_do_not_alias(tmp_path: Path, hertz: float):
    clip = read_audio(write(tmp_path / "a.wav", sine(hertz, 48_000, seconds=2), 48_000, subtype="FLOAT"))
    assert spectrum(clip.waveform, RATE)[1].max() < 0.5e-4


def test_a_tone_just_below_the_limit_leaves_nothing_elsewhere(tmp_path: Path):
    clip = read_audio(write(tmp_path / "a.wav", sine(7_920, 48_000, seconds=2), 48_000, subtype="FLOAT"))
    frequencies, amplitudes = spectrum(clip.waveform, RATE)
    assert amplitudes[np.abs(frequencies - 7_920) > 20].max() < 0.5e-4


def test_any_wanted_rate(tmp_path: Path):
    clip = read_audio(write(tmp_path / "a.wav", noise()), sampling_rate=24_000)
    assert (clip.sampling_rate, clip.original_sampling_rate, len(clip.waveform)) == (24_000, RATE, 12_000)


# -------------------------------------------------------------------------------------------------------- truncation


@pytest.mark.parametrize("rate", [16_000, 48_000])
def test_truncation_keeps_the_beginning_and_says_so(tmp_path: Path, rate: int):
    path = write(tmp_path / "a.wav", noise(3.0, rate), rate)
    clip = read_audio(path, limits=AudioLimits(max_seconds=1.0, long_audio="truncate"))
    whole = read_audio(path)
    assert (clip.truncated, whole.truncated) == (True, False)
    assert clip.duration_seconds == whole.duration_seconds == 3.0
    assert len(clip.waveform) == RATE
    middle = slice(0, 15_500)  # a resampling filter at the cut does not know what follows
    np.testing.assert_allclose(clip.waveform[middle], whole.waveform[middle], atol=1e-4)


def test_a_clip_of_exactly_the_limit_is_whole(tmp_path: Path):
    path = write(tmp_path / "a.wav", noise(0.3, 44_100), 44_100)
    for long_audio in ("refuse", "truncate"):
        assert not read_audio(path, limits=AudioLimits(max_seconds=0.3, long_audio=long_audio)).truncated


def test_what_is_cut_off_is_not_decoded(tmp_path: Path):
    path = write(tmp_path / "a.flac", noise(10.0))
    data = bytearray(path.read_bytes())
    data[len(data) // 2 :] = bytes(len(data) - len(data) // 2)
    path.write_bytes(data)
    assert read_audio(path, limits=AudioLimits(max_seconds=2.0, long_audio="truncate")).truncated
    with pytest.raises(AudioError, match="decod"):
        read_audio(path)


# ------------------------------------------------------------------------------------------------------------ refused


def test_missing_file(tmp_path: Path, refused):
    path = tmp_path / "nowhere" / "a.wav"
    remedy = "dataset.missing_audio=skip"
    refused(lambda: read_audio(path), "missing", file=path, remedy=remedy, reason="missing_audio")


def test_link_to_nothing(tmp_path: Path, refused):
    path = tmp_path / "a.wav"
    path.symlink_to(tmp_path / "annex" / "object")
    remedy = "dataset.missing_audio=skip"
    refused(lambda: read_audio(path), "link leads nowhere", file=path, remedy=remedy, reason="missing_audio")


def test_folder(tmp_path: Path, refused):
    refused(lambda: read_audio(tmp_path), "this is a folder", file=tmp_path, remedy=SKIP, reason="bad_audio")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_pipe_is_refused_without_waiting_for_it(tmp_path: Path, refused):
    path = tmp_path / "a.wav"
    os.mkfifo(path)
    refused(lambda: read_audio(path), "not a regular file", file=path, remedy=SKIP, reason="bad_audio")
    assert duration_seconds(path) == 0.0


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_unreadable_file(tmp_path: Path, refused):
    path = write(tmp_path / "a.wav", noise())
    path.chmod(0)
    refused(lambda: read_audio(path), "Permission denied", file=path, remedy=SKIP, reason="bad_audio")


def test_unreadable_file_where_permissions_do_not_bind(tmp_path: Path, refused, monkeypatch: pytest.MonkeyPatch):
    path = write(tmp_path / "a.wav", noise())

    def deny(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", deny)
    refused(lambda: read_audio(path), "Permission denied", file=path, remedy=SKIP, reason="bad_audio")


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "the file is empty"),
        (b"This is a text, not a sound." * 20, "libsndfile cannot decode it"),
        (b"RIFF\x00\x00\x00\x00WAVE", "libsndfile cannot decode it"),
        (bytes(1000), "libsndfile cannot decode it"),
    ],
)
def test_not_audio(tmp_path: Path, refused, data: bytes, what: str):
    path = tmp_path / "a.wav"
    path.write_bytes(data)
    refused(lambda: read_audio(path), what, file=path, remedy=SKIP, reason="bad_audio")


def test_headerless_sound(tmp_path: Path, refused):
    path = tmp_path / "a.raw"
    path.write_bytes(bytes(1000))
    refused(lambda: read_audio(path), "cannot decode", file=path, remedy="Convert it to WAV", reason="bad_audio")


def test_git_lfs_pointer(tmp_path: Path, refused):
    path = tmp_path / "a.wav"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n")
    refused(lambda: read_audio(path), "git-lfs pointer", file=path, remedy="git lfs pull", reason="bad_audio")


def test_no_samples(tmp_path: Path, refused):
    path = write(tmp_path / "a.wav", np.zeros(0))
    refused(lambda: read_audio(path), "no samples", file=path, remedy=SKIP, reason="bad_audio")


@pytest.mark.parametrize("name", ["a.wav", "a.aiff", "a.flac", "a.caf", "a.mp3"])
@pytest.mark.parametrize("part", [0.3, 0.6, 0.95])
def test_file_cut_short(tmp_path: Path, refused, name: str, part: float):
    path = write(tmp_path / name, noise(3.0))
    data = path.read_bytes()
    path.write_bytes(data[: int(part * len(data))])
    refused(lambda: read_audio(path), "", file=path, remedy=SKIP, reason="bad_audio")


def test_wav_cut_by_one_sample_behind_a_comment(tmp_path: Path, refused):
    path = write(tmp_path / "a.wav", noise())
    data = path.read_bytes()
    comment = b"LIST" + struct.pack("<I", 7) + b"INFOabc" + b"\0"  # chunks are padded to even lengths
    path.write_bytes(data[:36] + comment + data[36:])
    assert len(read_audio(path).waveform) == 8000
    path.write_bytes(data[:36] + comment + data[36:-2])
    refused(
        lambda: read_audio(path),
        "promises 16000 bytes of sound, and 15998 are there",
        file=path,
        remedy=SKIP,
        reason="bad_audio",
    )


@pytest.mark.parametrize("length", [0xFFFFFFFF, 0x7FFFF000])
def test_wav_written_to_a_pipe_does_not_know_its_length(tmp_path: Path, length: int):
    path = write(tmp_path / "a.wav", noise())
    data = bytearray(path.read_bytes())
    data[4:8] = data[40:44] = struct.pack("<I", length)
    path.write_bytes(data)
    assert len(read_audio(path).waveform) == 8000


def test_flac_written_to_a_pipe(tmp_path: Path, refused):
    path = write(tmp_path / "a.flac", noise())
    data = bytearray(path.read_bytes())
    data[21] &= 0xF0  # the count of samples: the low four bits of byte 21 and the four bytes after it
    data[22:26] = bytes(4)
    path.write_bytes(data)
    refused(lambda: read_audio(path), "does not state the length", file=path, remedy="sox", reason="bad_audio")
    assert duration_seconds(path) == 0.0


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_not_finite(tmp_path: Path, refused, value: float):
    samples = noise(channels=2)
    samples[4000, 1] = value
    path = write(tmp_path / "a.wav", samples, subtype="FLOAT")
    what = "1 samples are NaN or infinite, the first at 0.250 s"
    refused(lambda: read_audio(path), what, file=path, remedy=SKIP, reason="bad_audio")


def test_too_large_for_single_precision(tmp_path: Path, refused):
    path = write(tmp_path / "a.wav", noise() * 1e300, subtype="DOUBLE")
    refused(lambda: read_audio(path), "infinite", file=path, remedy=SKIP, reason="bad_audio")


def test_integers_written_as_floats(tmp_path: Path, refused):
    path = write(tmp_path / "a.wav", noise() * 32768, subtype="FLOAT")
    remedy = "Divide them by full scale"
    refused(lambda: read_audio(path), "where full scale is 1", file=path, remedy=remedy, reason="bad_audio")


@pytest.mark.parametrize("rate", [16_000, 48_000])
def test_silence(tmp_path: Path, refused, rate: int):
    path = write(tmp_path / "a.wav", np.zeros(rate), rate)
    field, remedy = "dataset.audio.allow_silence", "++dataset.audio.allow_silence=true"
    refused(lambda: read_audio(path), "silent", file=path, field=field, remedy=remedy, reason="bad_audio")
    assert not read_audio(path, limits=AudioLimits(allow_silence=True)).waveform.any()


def test_channels_that_cancel_out(tmp_path: Path, refused):
    samples = noise()
    path = write(tmp_path / "a.wav", np.hstack([samples, -samples]), subtype="FLOAT")
    field, remedy = "dataset.audio.allow_silence", SKIP
    refused(lambda: read_audio(path), "cancel out", file=path, field=field, remedy=remedy, reason="bad_audio")


def test_too_short(tmp_path: Path, refused):
    path = write(tmp_path / "a.wav", noise(0.05))
    refused(
        lambda: read_audio(path),
        "lasts 0.050 s and at least 0.1 s",
        file=path,
        field="dataset.audio.min_seconds",
        remedy="dataset.audio.min_seconds lower, or leave it out: dataset.on_error=skip",
        reason="too_short",
    )
    assert len(read_audio(path, limits=AudioLimits(min_seconds=0.05)).waveform) == 800


def test_so_short_that_resampling_leaves_nothing(tmp_path: Path, refused):
    path = write(tmp_path / "a.wav", noise(1 / 48_000, 48_000), 48_000)
    limits = AudioLimits(min_seconds=0)
    refused(lambda: read_audio(path, limits=limits), "not one sample", file=path, remedy=SKIP, reason="too_short")


def test_too_long(tmp_path: Path, refused):
    path = write(tmp_path / "a.wav", noise(2.5))
    error = refused(
        lambda: read_audio(path, limits=AudioLimits(max_seconds=2)),
        "lasts 2.50 s and at most 2 s",
        file=path,
        field="dataset.audio.max_seconds",
        remedy="dataset.audio.long_audio=truncate",
        reason="too_long",
    )
    assert SKIP in error.remedy


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"min_seconds": -1}, "min_seconds"),
        ({"min_seconds": float("nan")}, "min_seconds"),
        ({"min_seconds": "0.1"}, "min_seconds"),
        ({"min_seconds": 2.0, "max_seconds": 1.0}, "min_seconds"),
        ({"max_seconds": float("inf")}, "max_seconds"),
        ({"max_seconds": None}, "max_seconds"),
        ({"long_audio": "cut"}, "long_audio"),
        ({"allow_silence": "no"}, "allow_silence"),
        ({"near_silent": "drop"}, "near_silent"),
        ({"near_silent_dbfs": 3}, "near_silent_dbfs"),
        ({"near_silent_dbfs": "-70"}, "near_silent_dbfs"),
        ({"near_silent_dbfs": float("nan")}, "near_silent_dbfs"),
    ],
)
def test_wrong_limits(options: dict, field: str):
    with pytest.raises(InputError) as caught:
        AudioLimits(**options)
    assert caught.value.field == f"dataset.audio.{field}"


# ------------------------------------------------------------------------------------------------------- near silence

STEP = 1 / 32768


def almost_nothing(what: str, rate: int = RATE) -> np.ndarray:
    """Two seconds ``[samples, channels]`` of what is not digital silence, and nothing to be heard."""
    generator, size = np.random.default_rng(1), 2 * rate
    samples = np.zeros((size, 1))
    if what == "dither":
        samples += generator.integers(-1, 2, samples.shape) * STEP
    elif what == "a click":
        samples[rate] = 0.9
    elif what == "a click of one step":
        samples[rate] = STEP
    elif what == "sparse clicks":
        samples[:: rate // 10] = 0.5
    elif what == "an offset":
        samples -= 3 * STEP
    elif what == "a large offset with dither":
        samples += 0.25 + generator.integers(-1, 2, samples.shape) * STEP
    elif what == "an offset that is switched on":
        samples[rate:] = 0.1
    elif what == "hum":
        samples[:, 0] = sine(50, rate, 2, 1e-4)
    elif what == "speech at 1e-6":
        samples[:, 0] = 1e-6 * sine(200, rate, 2, 1.0) * (1 + sine(3, rate, 2, 0.9))
    elif what == "channels that cancel to a step":
        left = np.round(generator.normal(0, 0.1, size) / STEP)
        samples = np.stack([left, -left + generator.integers(0, 2, size)], axis=1) * STEP
    elif what == "a tone that the model cannot hear":
        samples[:, 0] = sine(20_000, rate, 2, 0.5) if rate > 40_000 else 0
    return samples


NOTHING = (
    "dither",
    "a click",
    "a click of one step",
    "sparse clicks",
    "an offset",
    "a large offset with dither",
    "an offset that is switched on",
    "hum",
    "speech at 1e-6",
    "channels that cancel to a step",
)


@pytest.mark.parametrize("what", NOTHING)
@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_what_carries_no_speech_is_near_silent(tmp_path: Path, refused, what: str, rate: int):
    subtype = "FLOAT" if what in ("speech at 1e-6", "hum") else "PCM_16"
    path = write(tmp_path / "a.wav", almost_nothing(what, rate), rate, subtype=subtype)
    clip = read_audio(path)
    assert clip.near_silent
    assert clip.level_dbfs < -80
    for choice in ("skip", "error"):
        refused(
            lambda choice=choice: read_audio(path, limits=AudioLimits(near_silent=choice)),
            "near-silent: its level is",
            file=path,
            field="dataset.audio.near_silent_dbfs",
            remedy="dataset.audio.near_silent=keep",
            reason="near_silent",
        )


def test_a_tone_beyond_the_model_s_hearing_is_near_silent(tmp_path: Path):
    path = write(tmp_path / "a.wav", almost_nothing("a tone that the model cannot hear", 48_000), 48_000)
    assert read_audio(path).near_silent
    assert not read_audio(path, sampling_rate=48_000).near_silent


@pytest.mark.parametrize("what", ["quiet speech", "one short word", "a deep voice of pulses", "an offset"])
def test_what_carries_speech_is_not_near_silent(tmp_path: Path, what: str):
    samples = np.zeros((10 * RATE, 1))
    if what == "quiet speech":  # as quiet as the quietest acted clips known
        samples[:, 0] = sine(200, RATE, 10, 0.003) * sine(2, RATE, 10, 1.0) ** 2
    elif what == "one short word":
        samples[RATE : RATE + 3200, 0] = sine(200, RATE, 0.2, 0.01)
    elif what == "a deep voice of pulses":
        ring = 0.05 * np.exp(-np.arange(400) / 60) * np.sin(2 * np.pi * 500 * np.arange(400) / RATE)
        pulses = np.zeros(len(samples))
        pulses[RATE : 2 * RATE : 200] = 1.0
        samples[:, 0] = np.convolve(pulses, ring)[: len(samples)]
    else:
        samples[:, 0] = 0.5 + sine(200, RATE, 10, 0.01)
    clip = read_audio(write(tmp_path / "a.wav", samples), limits=AudioLimits(near_silent="error"))
    assert not clip.near_silent


@pytest.mark.parametrize("amplitude", [1.0, 0.1, 1e-3])
def test_the_level_of_a_sine_is_its_rms(amplitude: float):
    level = level_dbfs(sine(400, RATE, 1.0, amplitude).astype(np.float32) + np.float32(0.2), RATE)
    assert level == pytest.approx(20 * np.log10(amplitude / np.sqrt(2)), abs=0.05)


def test_the_level_against_scipy():
    samples = np.random.default_rng(2).normal(0, 0.05, RATE) * np.repeat([0.0, 1.0, 0.3, 0.01], RATE // 4)
    frames = samples.reshape(-1, 320)
    expected = np.sort(scipy.stats.median_abs_deviation(frames, axis=1))[-5]
    assert level_dbfs(samples, RATE) == pytest.approx(20 * np.log10(expected), abs=1e-9)
    assert level_dbfs(samples[4000:4010], RATE) > -60  # shorter than a frame
    assert level_dbfs(np.zeros(100), RATE) == -np.inf


def test_silence_that_is_allowed_is_near_silent_and_taken(tmp_path: Path):
    path = write(tmp_path / "a.wav", np.zeros(RATE))
    clip = read_audio(path, limits=AudioLimits(allow_silence=True, near_silent="error"))
    assert (clip.near_silent, clip.level_dbfs) == (True, -np.inf)
    assert not read_audio(path, limits=AudioLimits(allow_silence=True, near_silent_dbfs=-np.inf)).near_silent


def test_the_bundled_clips_are_not_near_silent():
    clips = [
        read_audio(utterance.audio, limits=AudioLimits(near_silent="error")) for utterance in read_demo().utterances
    ]
    assert min(clip.level_dbfs for clip in clips) > -50


# ----------------------------------------------------------------------------------------------------------- duration


def test_duration_by_the_header(tmp_path: Path):
    assert duration_seconds(write(tmp_path / "a.wav", noise(0.75, 44_100), 44_100)) == 0.75


def test_duration_of_what_cannot_be_read_is_zero(tmp_path: Path):
    text = tmp_path / "a.raw"
    text.write_text("no sound")
    assert [duration_seconds(path) for path in (text, tmp_path, tmp_path / "nowhere.wav")] == [0.0, 0.0, 0.0]


# ---------------------------------------------------------------------------------------------------------- any bytes


def clip_or_error(path: Path) -> AudioClip | AudioError:
    try:
        return read_audio(path, limits=AudioLimits(min_seconds=0, long_audio="truncate"))
    except AudioError as error:
        return error


@settings(max_examples=150, deadline=None, derandomize=True)
@given(data=st.data(), name=st.sampled_from(["a.wav", "a.flac", "a.ogg", "a.aiff"]))
def test_damaged_files_give_a_clip_or_an_audio_error(tmp_path_factory: pytest.TempPathFactory, data, name: str):
    path = tmp_path_factory.mktemp("damaged") / name
    write(path, noise(0.2), format=name[2:].upper())
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, min(len(content) - 1, 200)))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    result = clip_or_error(path)
    if isinstance(result, AudioError):
        assert result.file == path
        assert result.reason in ("bad_audio", "too_short", "too_long")
    else:
        assert np.isfinite(result.waveform).all()
        assert len(result.waveform) > 0


@pytest.mark.parametrize("kind", ["float32", "float64", "int16", "int32", "uint8"])
@pytest.mark.parametrize("channels", [1, 2])
def test_an_array_is_heard_as_its_file(tmp_path, kind, channels):
    rng = np.random.default_rng(0)
    sound = 0.3 * rng.normal(0, 0.3, (8000, channels)).clip(-1, 1)
    subtype = {"float32": "FLOAT", "float64": "DOUBLE", "int16": "PCM_16", "int32": "PCM_32", "uint8": "PCM_U8"}[kind]
    if kind[0] != "f":
        full = 2 ** (8 * np.dtype(kind).itemsize - 1)
        sound = np.round(sound * full) + (full if kind[0] == "u" else 0)
    sound = sound.astype(kind)
    as_written = ((sound.astype(int) - 128) * 256).astype("int16") if kind == "uint8" else sound
    soundfile.write(tmp_path / "a.wav", as_written, 22_050, subtype=subtype)
    file, array = read_audio(tmp_path / "a.wav"), clip_of_array(sound, 22_050)
    np.testing.assert_array_equal(array.waveform, file.waveform)
    assert (array.duration_seconds, array.channels) == (file.duration_seconds, channels)
    np.testing.assert_array_equal(clip_of_array(sound.T, 22_050).waveform, file.waveform)
    assert clip_of_array(sound.T, 22_050).sha256 == array.sha256 != clip_of_array(sound, 22_051).sha256


@pytest.mark.parametrize(
    ("array", "rate", "said"),
    [
        (np.zeros(0), 16_000, "is no sound"),
        (np.zeros((2, 2, 2)), 16_000, "is no sound"),
        (np.array(["a"]), 16_000, "is no sound"),
        (np.ones(16_000), 0, "is no sampling rate"),
        (np.ones(16_000), 16e3, "is no sampling rate"),
        (np.full(16_000, np.nan), 16_000, "NaN"),
        (np.full(16_000, 300.0), 16_000, "full scale"),
        (np.zeros(16_000), 16_000, "silent"),
        (np.ones(100), 16_000, "at least 0.1 s"),
        (np.ones(16_000 * 31), 16_000, "at most 30 s"),
    ],
)
def test_an_array_that_is_no_sound_is_refused(array, rate, said):
    with pytest.raises(AudioError, match=said):
        clip_of_array(array, rate)
