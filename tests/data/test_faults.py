"""What is wrong with how a clip sounds: told by stated levels, whatever the container, and of clean sound nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from emoprobe.data.corpora.demo import read_demo
from emoprobe.data.sound.audio import clip_of_array, read_audio
from emoprobe.data.sound.faults import FAULTS
from emoprobe.data.sound.limits import AudioError, AudioLimits
from emoprobe.errors import InputError

RATE = 16_000
STEP = 2.0**-15


def voice(seconds: float = 1.2, peak: float = 0.3, rate: int = RATE) -> np.ndarray:
    t = np.arange(round(seconds * rate)) / rate
    phase = 2 * np.pi * np.cumsum(140 + 25 * np.sin(2 * np.pi * 2.3 * t)) / rate
    wave = sum(np.sin(k * phase) / k for k in range(1, 9)) * (0.55 + 0.45 * np.sin(2 * np.pi * 3.1 * t))
    return peak * wave / np.abs(wave).max()


def dither(size: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(-1, 2, size) * STEP


VOICE = voice()
SIZE = len(VOICE)
OTHER = np.random.default_rng(1).normal(0, 0.1, SIZE)
SOUNDS = {
    "clean": (VOICE, ()),
    "loud": (voice(peak=0.99), ()),
    "stereo": (np.stack([VOICE, 0.6 * VOICE + 0.3 * OTHER], axis=1), ()),
    "unlike channels": (np.stack([VOICE, OTHER], axis=1), ()),
    "same channels": (np.stack([VOICE, VOICE], axis=1), ()),
    "eight microphones": (np.random.default_rng(2).normal(0, 0.1, (SIZE, 8)), ()),
    "offset": (VOICE + 0.011, ("offset",)),
    "negative offset": (VOICE - 0.2, ("offset",)),
    "small offset": (VOICE + 0.009, ()),
    "offset of one channel": (np.stack([VOICE, VOICE + 0.03], axis=1), ("offset",)),
    "offsets that cancel": (np.stack([VOICE + 0.1, VOICE - 0.1], axis=1), ()),
    "antiphase": (np.stack([VOICE, dither(SIZE) - VOICE], axis=1), ("antiphase",)),
    "antiphase with offset": (np.stack([VOICE + 0.2, dither(SIZE) - VOICE], axis=1), ("offset", "antiphase")),
    "nearly antiphase": (np.stack([VOICE, -0.85 * VOICE], axis=1), ("antiphase",)),
    "half antiphase": (np.stack([VOICE, -0.5 * VOICE], axis=1), ()),
    "antiphase of four": (np.stack([VOICE, -VOICE, VOICE, dither(SIZE) - VOICE], axis=1), ("antiphase",)),
    "dead channel": (np.stack([VOICE, 0 * VOICE], axis=1), ("dead_channel",)),
    "hissing channel": (np.stack([dither(SIZE), VOICE], axis=1), ("dead_channel",)),
    "dead channels of eight": (np.stack([VOICE] + [0 * VOICE] * 7, axis=1), ("dead_channel",)),
    "soft channel": (np.stack([VOICE, 0.02 * VOICE], axis=1), ()),
    "clipped": (np.clip(voice(peak=2.0), -1, 1 - STEP), ("clipping",)),
    "clipped in one channel": (np.stack([np.clip(voice(peak=2.0), -1, 1 - STEP), VOICE], axis=1), ("clipping",)),
    "touches full scale": (np.where(np.arange(SIZE) % 4000 == 0, 1 - STEP, VOICE), ()),
}


@pytest.mark.parametrize("name", SOUNDS)
@pytest.mark.parametrize(("kind", "subtype"), [("wav", "PCM_16"), ("wav", "FLOAT"), ("flac", "PCM_24")])
def test_each_fault_is_found_where_it_is_and_nowhere_else(tmp_path: Path, name: str, kind: str, subtype: str):
    samples, faults = SOUNDS[name]
    soundfile.write(tmp_path / f"a.{kind}", samples, RATE, subtype=subtype)
    clip = read_audio(tmp_path / f"a.{kind}")
    assert clip.faults == faults
    # It is found, and nothing else is done: what is heard is the mean of the channels.
    heard, _ = soundfile.read(tmp_path / f"a.{kind}", dtype="float32", always_2d=True)
    np.testing.assert_array_equal(clip.waveform, heard.mean(axis=1, dtype=np.float32))


def test_faults_are_of_the_file_s_own_samples(tmp_path: Path):
    soundfile.write(tmp_path / "a.wav", np.clip(voice(peak=2.0, rate=44_100), -1, 1 - STEP), 44_100)
    assert read_audio(tmp_path / "a.wav").faults == ("clipping",)  # which resampling rounds off
    samples = np.clip(voice(peak=2.0), -1, 1 - STEP)
    assert clip_of_array((samples * 32768).astype(np.int16), RATE).faults == ("clipping",)


def test_clean_speech_has_none():
    for utterance in read_demo().utterances:
        clip = read_audio(utterance.audio)
        assert (clip.faults, clip.near_silent) == ((), False), utterance.id


@pytest.mark.parametrize("name", [name for name, (_, faults) in SOUNDS.items() if faults])
def test_faulty_clips_are_left_out_where_that_is_wished(tmp_path: Path, name: str, refused):
    samples, faults = SOUNDS[name]
    path = tmp_path / "a.wav"
    soundfile.write(path, samples, RATE)
    limits = AudioLimits(leave_out=(faults[-1],))
    error = refused(
        lambda: read_audio(path, limits=limits),
        FAULTS[faults[-1]],
        file=path,
        field="dataset.audio.leave_out",
        remedy="dataset.audio.leave_out",
        reason=faults[-1],
    )
    assert isinstance(error, AudioError)
    assert limits.leaves_out(error, "error")
    assert not AudioLimits().leaves_out(error, "error")
    others = tuple(set(FAULTS) - set(faults))
    assert read_audio(path, limits=AudioLimits(leave_out=others)).faults == faults


def test_unknown_faults_are_refused():
    with pytest.raises(InputError, match=r"'hum' .*offset, antiphase, dead_channel, clipping .*leave_out"):
        AudioLimits(leave_out=("hum",))


def test_a_few_steps_are_no_speech_however_large_a_step_is(tmp_path: Path):
    noise = np.random.default_rng(0).integers(-1, 2, SIZE)
    for subtype, step in (("PCM_U8", 2.0**-7), ("PCM_16", STEP), ("PCM_24", 2.0**-23)):
        soundfile.write(tmp_path / "a.wav", noise * step, RATE, subtype=subtype)
        clip = read_audio(tmp_path / "a.wav")
        assert clip.near_silent, subtype
        assert (clip.level_dbfs > -70) == (subtype == "PCM_U8")  # where the level alone does not tell
        with pytest.raises(AudioError, match=r"near-silent: its level is .* dBFS"):
            read_audio(tmp_path / "a.wav", limits=AudioLimits(near_silent="error"))
    soundfile.write(tmp_path / "a.wav", voice(peak=0.05), RATE, subtype="PCM_U8")
    assert not read_audio(tmp_path / "a.wav").near_silent
    # There is no step in floats, and no such level where none is wished.
    soundfile.write(tmp_path / "a.wav", noise * 2.0**-7, RATE, subtype="FLOAT")
    assert not read_audio(tmp_path / "a.wav").near_silent
    soundfile.write(tmp_path / "a.wav", noise * STEP, RATE)
    assert not read_audio(tmp_path / "a.wav", limits=AudioLimits(near_silent_dbfs=float("-inf"))).near_silent
