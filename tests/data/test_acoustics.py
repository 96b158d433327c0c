"""Acoustic descriptors: measures of synthetic voices whose properties are known, and their words."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.signal
import scipy.stats
import soundfile

from emoprobe.data.corpora.demo import read_demo
from emoprobe.data.sound.acoustics import acoustic_facts, fit_thresholds
from emoprobe.data.sound.audio import read_audio
from emoprobe.data.sound.limits import AudioLimits
from emoprobe.data.utterance import Utterance
from emoprobe.errors import InputError
from emoprobe.models.acoustics import NOT_MEASURABLE, Acoustics, Terciles, describe, measure

pytest.importorskip("parselmouth", reason="needs the extra acoustics")

RATE = 16_000
NOTHING = "pitch: not measurable; energy: not measurable; speaking rate: not measurable"


def voice(f0: float | np.ndarray, seconds: float, amplitude: float = 0.3, rate: int = RATE) -> np.ndarray:
    """Harmonics of F0 (constant, or one value a sample) up to 4 kHz, falling by 6 dB an octave; peak ``amplitude``."""
    phase = 2 * np.pi * np.cumsum(np.broadcast_to(f0, round(seconds * rate))) / rate
    samples = sum(np.sin(k * phase) / k for k in range(1, int(4_000 / np.max(f0)) + 1))
    return (amplitude * samples / np.abs(samples).max()).astype(np.float32)


def glide(start: float, end: float, seconds: float) -> np.ndarray:
    """F0 that moves evenly in semitones."""
    return np.geomspace(start, end, round(seconds * RATE))


def syllables(number: int, period: float, length: float = 0.15, f0: float = 120.0) -> np.ndarray:
    """Voiced bursts with smooth ends, one every ``period`` seconds."""
    burst = voice(f0, length) * scipy.signal.windows.hann(round(length * RATE))
    return np.tile(np.pad(burst, (0, round((period - length) * RATE))), number).astype(np.float32)


def silence(seconds: float) -> np.ndarray:
    return np.zeros(round(seconds * RATE), np.float32)


def noise(seconds: float, amplitude: float = 0.3, seed: int = 0) -> np.ndarray:
    return (amplitude * np.random.default_rng(seed).normal(size=round(seconds * RATE))).astype(np.float32)


def decibel(samples: np.ndarray) -> float:
    """Level of the root mean square, re 20 µPa."""
    return float(20 * np.log10(np.sqrt(np.mean(samples.astype(np.float64) ** 2)) / 2e-5))


# --------------------------------------------------------------------------------------------------------------- pitch


@pytest.mark.parametrize("f0", [75, 110, 220, 440, 600])
@pytest.mark.parametrize(
    "make", [voice, lambda f0, s: 0.3 * np.sin(2 * np.pi * f0 * np.arange(round(s * RATE)) / RATE)]
)
def test_pitch_of_a_steady_voice(make: Callable, f0: float):
    found = measure(make(f0, 1.0), RATE)
    assert found.pitch == pytest.approx(f0, rel=0.002)
    assert found.pitch_range == pytest.approx(0, abs=0.05)


@pytest.mark.parametrize(("start", "end"), [(100, 200), (300, 150), (150, 200)])
def test_pitch_of_a_glide(start: float, end: float):
    # Even in semitones: the median is the geometric mean, and the 10th to the 90th percentile are 0.8 of the way.
    found = measure(voice(glide(start, end, 2.0), 2.0), RATE)
    assert found.pitch == pytest.approx(math.sqrt(start * end), rel=0.01)
    assert found.pitch_range == pytest.approx(0.8 * 12 * abs(math.log2(end / start)), abs=0.3)


def test_a_rough_stretch_does_not_halve_the_pitch():
    # Every other period is weaker, so that a tracker without a floor of the clip's own finds 100 Hz.
    rough = voice(200, 0.4) * (1 + 0.5 * np.sin(2 * np.pi * 100 * np.arange(round(0.4 * RATE)) / RATE))
    found = measure(np.concatenate([voice(200, 1.5), rough]).astype(np.float32), RATE)
    assert found.pitch == pytest.approx(200, rel=0.002)
    assert found.pitch_range < 0.1


def test_a_strong_harmonic_is_not_the_pitch():
    # A sixth harmonic far above all others, which a tracker without a ceiling of the clip's own takes for F0.
    bright = voice(100, 0.4) + 1.2 * np.sin(2 * np.pi * 600 * np.arange(round(0.4 * RATE)) / RATE)
    found = measure(np.concatenate([voice(100, 1.5), bright]).astype(np.float32), RATE)
    assert found.pitch == pytest.approx(100, rel=0.002)
    assert found.pitch_range < 0.1


@pytest.mark.parametrize("rate", [8_000, 24_000, 48_000])
def test_the_sampling_rate_does_not_matter(rate: int):
    found, expected = measure(voice(180, 1.0, rate=rate), rate), measure(voice(180, 1.0), RATE)
    assert found.pitch == pytest.approx(180, rel=0.002)
    assert found.intensity == pytest.approx(expected.intensity, abs=0.5)  # 8 kHz does not hold all harmonics


def test_a_few_frames_an_octave_off_do_not_matter():
    samples = np.concatenate([voice(100, 0.1), voice(200, 1.8), voice(400, 0.1)])
    found = measure(samples, RATE)
    assert found.pitch == pytest.approx(200, rel=0.01)
    assert found.pitch_range < 1


def test_silence_around_the_voice_does_not_matter():
    alone = measure(voice(150, 1.0), RATE)
    found = measure(np.concatenate([silence(1.0), voice(150, 1.0), silence(0.5)]), RATE)
    assert found.pitch == pytest.approx(alone.pitch, rel=1e-3)
    assert found.intensity == pytest.approx(alone.intensity, abs=0.5)


@pytest.mark.parametrize("cutoff", [500, 7_900])
@pytest.mark.parametrize("seconds", [0.1, 1.0, 10.0])
def test_noise_has_energy_but_neither_pitch_nor_syllables(seconds: float, cutoff: float):
    samples = scipy.signal.lfilter(*scipy.signal.butter(2, cutoff, fs=RATE), noise(seconds)).astype(np.float32)
    found = measure(samples, RATE)
    assert math.isnan(found.pitch)
    assert math.isnan(found.pitch_range)
    assert math.isnan(found.rate)
    assert found.intensity == pytest.approx(decibel(samples), abs=0.7)


# -------------------------------------------------------------------------------------------------------------- energy


@pytest.mark.parametrize("amplitude", [0.003, 0.1, 1.0, 2.0])
def test_intensity_of_a_sine(amplitude: float):
    samples = (amplitude * np.sin(2 * np.pi * 220 * np.arange(RATE) / RATE)).astype(np.float32)
    assert measure(samples, RATE).intensity == pytest.approx(20 * math.log10(amplitude / math.sqrt(2) / 2e-5), abs=0.1)


def test_louder_by_what_it_was_amplified():
    soft, loud = measure(voice(120, 1.0, 0.05), RATE), measure(voice(120, 1.0, 0.5), RATE)
    assert loud.intensity - soft.intensity == pytest.approx(20, abs=0.01)
    assert (loud.pitch, loud.rate) == (pytest.approx(soft.pitch), pytest.approx(soft.rate))


def test_pauses_with_a_little_noise_do_not_lower_the_intensity():
    samples = np.concatenate([voice(120, 1.0), silence(2.0), voice(120, 1.0)]) + noise(4.0, 1e-3)
    assert measure(samples, RATE).intensity == pytest.approx(decibel(voice(120, 1.0)), abs=0.5)


def test_an_offset_of_the_microphone_does_not_matter():
    samples = voice(120, 1.0)
    assert measure(samples + np.float32(0.2), RATE).intensity == pytest.approx(
        measure(samples, RATE).intensity, abs=0.1
    )


# ---------------------------------------------------------------------------------------------------------------- rate


@pytest.mark.parametrize("period", [0.2, 0.25, 0.4])
def test_rate_of_regular_syllables(period: float):
    found = measure(syllables(10, period), RATE)
    assert found.rate == pytest.approx(10 / (9 * period + 0.15), rel=0.06)


def test_pauses_are_not_speaking_time():
    phrase = syllables(8, 0.25)
    alone = measure(phrase, RATE)
    found = measure(np.concatenate([silence(1.0), phrase, silence(1.5), phrase, silence(1.0)]), RATE)
    assert found.rate == pytest.approx(alone.rate, rel=0.1)


def test_unvoiced_bursts_are_no_syllables():
    syllable = syllables(1, 0.2)
    mixed = np.tile(np.concatenate([syllable, noise(0.1, 0.1), silence(0.1)]), 6)
    plain = np.tile(np.concatenate([syllable, silence(0.2)]), 6)
    # The last burst of noise makes the speech longer, by 0.15 s.
    assert measure(mixed, RATE).rate == pytest.approx(6 / 2.3, rel=0.06)
    assert measure(plain, RATE).rate == pytest.approx(6 / 2.15, rel=0.06)


@pytest.mark.parametrize("depth", [1.0, 4.0])
def test_only_dips_of_two_decibel_part_syllables(depth: float):
    times = np.arange(2 * RATE) / RATE
    gain = 10 ** (-depth * (1 + np.cos(2 * np.pi * 4 * times)) / 2 / 20)  # dips at 0, 0.25, ... 2 s
    found = measure((voice(150, 2.0) * gain).astype(np.float32), RATE)
    assert found.rate == pytest.approx((8 if depth > 2 else 1) / 2.0, rel=0.03)


@pytest.mark.parametrize("f0", [80, 100, 220, 600])
def test_a_steady_tone_is_one_nucleus(f0: float):
    # Its level repeats to the last bit, so its ripples are all equally high.
    samples = (0.3 * np.sin(2 * np.pi * f0 * np.arange(2 * RATE) / RATE)).astype(np.float32)
    assert measure(samples, RATE).rate == pytest.approx(0.5)


# ------------------------------------------------------------------------------------------------------ unusual clips


@pytest.mark.parametrize(
    "samples", [silence(1.0), np.full(RATE, 0.3, np.float32), np.ones(1, np.float32), silence(0.02)]
)
def test_silence_measures_nothing(samples: np.ndarray):
    found = measure(samples, RATE)
    assert all(math.isnan(value) for value in (found.pitch, found.pitch_range, found.intensity, found.rate))


@pytest.mark.parametrize("seconds", [0.1, 0.12, 0.2])
def test_short_clips(seconds: float):
    found = measure(voice(150, seconds), RATE)
    assert found.pitch == pytest.approx(150, rel=0.01)
    assert found.rate == pytest.approx(1 / seconds, rel=0.15)
    assert found.intensity == pytest.approx(decibel(voice(150, seconds)), abs=1)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("seed", range(20))
def test_any_sound_can_be_measured(seed: int):
    generator = np.random.default_rng(seed)
    samples = generator.normal(size=generator.integers(1, 8_000)) * 10 ** generator.uniform(-7, 2)
    samples[: generator.integers(len(samples) + 1)] *= generator.integers(2)
    found = measure(samples.astype(np.float32), RATE)
    for value in (found.pitch, found.pitch_range, found.intensity, found.rate):
        assert math.isnan(value) or value >= 0


# --------------------------------------------------------------------------------------------------- thresholds, words


def sounding(
    pitch: float = math.nan, pitch_range: float = 3.0, intensity: float = 60.0, rate: float = 4.0
) -> Acoustics:
    return Acoustics(pitch, pitch_range, intensity, rate)


def test_thirds():
    values = np.random.default_rng(0).normal(size=300)
    thresholds = fit_thresholds([(None, sounding(100, 3, value, 4)) for value in values])
    words = [thresholds.intensity.word(value) for value in values]
    assert [words.count(word) for word in ("low", "medium", "high")] == [100, 100, 100]
    assert max(values[np.array(words) == "low"]) < min(values[np.array(words) == "medium"])
    assert max(values[np.array(words) == "medium"]) < min(values[np.array(words) == "high"])


def test_clips_that_are_all_alike_are_medium():
    thresholds = fit_thresholds([("s", sounding(123.4, 3.3, 61.7, 4.1))] * 7)
    words = "pitch: medium, moderately varied; energy: medium; speaking rate: medium"
    assert describe(sounding(123.4, 3.3, 61.7, 4.1), thresholds, "s") == words
    assert describe(sounding(123.4, 3.3, 61.7, 4.1), thresholds, None) == words


def test_words():
    thresholds = fit_thresholds([(None, sounding(100 + i, i, 50 + i, 2 + i)) for i in range(9)])
    assert (
        describe(sounding(200, 9, 40, 6), thresholds, None) == "pitch: high, varied; energy: low; speaking rate: medium"
    )
    assert (
        describe(sounding(90, 0, 70, 20), thresholds, None) == "pitch: low, monotone; energy: high; speaking rate: high"
    )
    unvoiced = Acoustics(intensity=54.0)
    words = "pitch: not measurable; energy: medium; speaking rate: not measurable"
    assert describe(unvoiced, thresholds, None) == words
    assert describe(Acoustics(), thresholds, None) == NOTHING


def test_a_voice_is_compared_with_itself():
    clips = [("deep", sounding(hertz)) for hertz in (90, 95, 100, 105, 110, 160)]
    clips += [("bright", sounding(hertz)) for hertz in (200, 210, 220, 230, 240, 160)]
    thresholds = fit_thresholds(clips)
    assert thresholds.speaker_pitch == {"deep": 102.5, "bright": 215}
    assert describe(sounding(160), thresholds, "deep").startswith("pitch: high,")
    assert describe(sounding(160), thresholds, "bright").startswith("pitch: low,")
    assert describe(sounding(160), thresholds, "stranger").startswith("pitch: medium,")
    # Semitones above the own median, of all clips of both.
    semitones = [12 * math.log2(clip.pitch / thresholds.speaker_pitch[speaker]) for speaker, clip in clips]
    expected = scipy.stats.mstats.mquantiles(semitones, (1 / 3, 2 / 3), alphap=1, betap=1)
    np.testing.assert_allclose((thresholds.own_pitch.lower, thresholds.own_pitch.upper), expected)


def test_few_clips_of_a_voice_are_compared_with_the_corpus():
    clips = [("deep", sounding(hertz)) for hertz in (90, 95, 100, 105, 110)]
    clips += [("bright", sounding(hertz)) for hertz in (200, 205, 210, 215)] + [("bright", sounding())]
    thresholds = fit_thresholds(clips)
    assert set(thresholds.speaker_pitch) == {"deep"}
    assert describe(sounding(210), thresholds, "bright").startswith("pitch: high,")
    assert describe(sounding(110), thresholds, "deep").startswith("pitch: high,")
    assert describe(sounding(90), thresholds, "deep").startswith("pitch: low,")
    # Those few do not shift what is high for others.
    alone = fit_thresholds(clips[:5])
    assert alone.own_pitch == thresholds.own_pitch


def test_unmeasurable_clips_do_not_shift_the_thresholds():
    clips = [("s", sounding(100 + i, i, 50 + i, 2 + i)) for i in range(9)]
    assert fit_thresholds(clips) == fit_thresholds([*clips, ("s", Acoustics()), (None, Acoustics())])


def test_a_corpus_without_any_voice():
    thresholds = fit_thresholds([("s", Acoustics(intensity=60.0))] * 6)
    assert thresholds.speaker_pitch == {}
    assert describe(sounding(100), thresholds, "s") == (
        "pitch: not measurable; energy: medium; speaking rate: not measurable"
    )
    assert describe(Acoustics(), fit_thresholds([]), None) == NOTHING
    assert Terciles(math.nan, math.nan).word(1.0) == NOT_MEASURABLE


# ---------------------------------------------------------------------------------------------------------- whole files


@pytest.fixture
def corpus(tmp_path: Path) -> list[Utterance]:
    """Three voiced clips, one of noise, one digital silence, one text, one missing file, one too long."""
    sounds = {
        "low": voice(100, 1.0, 0.03),
        "middle": voice(glide(140, 160, 1.0), 1.0, 0.1),
        "high": voice(glide(150, 350, 1.0), 1.0, 0.9),
        "hiss": noise(1.0, 0.05),
        "silent": silence(1.0),
        "text": None,
        "missing": None,
        "long": voice(120, 3.0),
    }
    for name, samples in sounds.items():
        if samples is not None:
            soundfile.write(tmp_path / f"{name}.wav", samples, RATE, subtype="FLOAT")
    (tmp_path / "text.wav").write_text("This is no sound.")
    return [Utterance(name, tmp_path / f"{name}.wav", {"sad": 1.0}) for name in sounds]


def test_facts_of_files(corpus: list[Utterance]):
    facts = acoustic_facts(corpus, AudioLimits(max_seconds=2.0), progress=False)
    assert list(facts) == ["low", "middle", "high", "hiss"]
    assert facts["low"].startswith("pitch: low, monotone; energy: low;")
    assert facts["middle"].startswith("pitch: medium, moderately varied; energy: medium;")
    assert facts["high"].startswith("pitch: high, varied; energy: high;")
    assert facts["hiss"].startswith("pitch: not measurable; energy:")
    assert facts["hiss"].endswith("speaking rate: not measurable")


def test_facts_of_files_that_the_limits_take(corpus: list[Utterance]):
    limits = AudioLimits(max_seconds=2.0, long_audio="truncate", allow_silence=True)
    facts = acoustic_facts(corpus, limits, progress=False)
    assert list(facts) == ["low", "middle", "high", "hiss", "silent", "long"]
    assert facts["silent"] == NOTHING


def test_facts_are_the_same_every_time(corpus: list[Utterance]):
    facts = acoustic_facts(corpus, progress=False)
    assert acoustic_facts(corpus, progress=False) == facts
    assert acoustic_facts(corpus[::-1], progress=False) == facts


def test_every_file_is_read_once(corpus: list[Utterance], monkeypatch: pytest.MonkeyPatch):
    read = []

    def count(path: Path, *args, **options):
        read.append((path, args, options))
        return read_audio(path, *args, **options)

    monkeypatch.setattr("emoprobe.data.sound.acoustics.read_audio", count)
    acoustic_facts(corpus, progress=False)
    assert [path for path, _, _ in read] == [utterance.audio for utterance in corpus]
    assert {args[0] for _, args, _ in read} == {16_000}


def test_progress_goes_to_stderr(corpus: list[Utterance], capfd: pytest.CaptureFixture):
    acoustic_facts(corpus[:2])
    shown = capfd.readouterr()
    assert shown.out == ""
    assert "2/2" in shown.err
    acoustic_facts(corpus[:2], progress=False)
    assert capfd.readouterr() == ("", "")


def test_nothing_to_measure():
    assert acoustic_facts([], progress=False) == {}


def test_demo_corpus_sounds_as_it_was_made():
    """Synthetic speech with known settings: pitch, amplitude and rate of anger and sadness lie far apart."""
    utterances = read_demo().utterances
    facts = acoustic_facts(utterances, progress=False)
    assert len(facts) == 192
    clear = {u.id: u.metadata["intended_prosody"] for u in utterances if u.metadata["kind"] == "clear"}
    anger, sad = ([facts[name] for name, word in clear.items() if word == emotion] for emotion in ("anger", "sad"))
    assert len(anger) == len(sad) == 8
    assert all("energy: high" in fact and "rate: low" not in fact for fact in anger)
    assert sum("rate: high" in fact for fact in anger) >= 7
    assert all(fact.startswith("pitch: low") and fact.endswith("energy: low; speaking rate: low") for fact in sad)
    assert sum("monotone" in fact for fact in sad) >= 7


def test_rate_of_the_demo_corpus_follows_its_text():
    measured, written = [], []
    for utterance in read_demo().utterances:
        clip = read_audio(utterance.audio)
        measured.append(measure(clip.waveform, RATE).rate)
        words = re.findall("[a-z']+", utterance.transcript.lower())
        # Groups of vowels, without a silent e at the end of a word, and one at least.
        syllables_written = sum(max(1, len(re.findall("[aeiouy]+", word.rstrip("e")))) for word in words)
        written.append(syllables_written / clip.duration_seconds)
    assert scipy.stats.spearmanr(measured, written).statistic > 0.8
    assert np.mean(measured) == pytest.approx(np.mean(written), rel=0.1)


# --------------------------------------------------------------------------------------------------- without the extra


def test_without_praat(corpus: list[Utterance], monkeypatch: pytest.MonkeyPatch, refused):
    monkeypatch.setitem(sys.modules, "parselmouth", None)
    for call in (lambda: measure(voice(100, 1.0), RATE), lambda: acoustic_facts(corpus, progress=False)):
        error = refused(call, "praat-parselmouth", file=None, remedy='pip install "emoprobe[acoustics]"')
        assert isinstance(error, InputError)


def test_importing_the_module_does_not_import_praat():
    code = "import sys, emoprobe.data.sound.acoustics; print('parselmouth' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"
