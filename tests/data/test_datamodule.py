"""Batches of clips: their order, what is left out, and errors that come out of worker processes whole."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import lightning as L
import numpy as np
import pytest
import soundfile

from emoprobe.data.datamodule import Batch, SpeechDataModule
from emoprobe.data.sound.audio import read_audio
from emoprobe.data.sound.limits import AudioError, AudioLimits
from emoprobe.data.sound.survey import find_faults
from emoprobe.data.utterance import Utterance

RATE = 16_000
SECONDS = {"c": 0.4, "a": 0.8, "e": 0.2, "b": 0.8, "d": 0.6}  # "a" before "b": as long, and first by its id

in_or_out_of_process = pytest.mark.parametrize("num_workers", [0, 1])


class Collector(L.LightningModule):
    """Keeps the batches that reach a predict step."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[Batch] = []

    def predict_step(self, batch: Batch, batch_idx: int) -> list:
        self.batches.append(batch)
        return []


@pytest.fixture
def utterances(tmp_path: Path) -> list[Utterance]:
    """Five clips of noise, 0.2 to 0.8 s long."""
    generator = np.random.default_rng(0)
    for name, seconds in SECONDS.items():
        soundfile.write(tmp_path / f"{name}.wav", generator.uniform(-0.5, 0.5, round(seconds * RATE)), RATE)
    return [Utterance(name, tmp_path / f"{name}.wav", {"sad": 1.0}) for name in SECONDS]


@pytest.fixture
def predict(tmp_path: Path):
    """Runs a trainer over the clips; the batches that arrived stay in the collector, also after an error."""

    def run(collector: Collector, utterances: Sequence[Utterance], limits=None, **options) -> list[Batch]:
        data = SpeechDataModule(utterances, RATE, limits or AudioLimits(), batch_size=2, **options)
        trainer = L.Trainer(
            accelerator="cpu",
            devices=1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=tmp_path,
        )
        trainer.predict(collector, datamodule=data, return_predictions=False)
        return collector.batches

    return run


def ids(batches: Sequence[Batch]) -> list[list[str]]:
    return [[utterance.id for utterance in batch.utterances] for batch in batches]


@in_or_out_of_process
def test_every_clip_once_and_the_longest_first(utterances: list[Utterance], predict, num_workers: int):
    batches = predict(Collector(), utterances, num_workers=num_workers)
    assert ids(batches) == [["a", "b"], ["d", "c"], ["e"]]
    for batch in batches:
        assert (batch.skipped, batch.refusal) == ([], None)
        for utterance, clip in zip(batch.utterances, batch.clips, strict=True):
            expected = read_audio(utterance.audio, RATE)
            assert clip.sha256 == expected.sha256
            np.testing.assert_array_equal(clip.waveform, expected.waveform)


@in_or_out_of_process
def test_bad_clips_are_skipped_and_listed(utterances: list[Utterance], predict, num_workers: int):
    by_name = {utterance.id: utterance.audio for utterance in utterances}
    soundfile.write(by_name["d"], np.zeros(round(SECONDS["d"] * RATE)), RATE)
    by_name["b"].unlink()  # its duration is unknown, so it comes last
    by_name["e"].write_text("This is no sound.")
    batches = predict(Collector(), utterances, num_workers=num_workers, on_error="skip")
    assert ids(batches) == [["a"], ["c"], []]
    skipped = [row for batch in batches for row in batch.skipped]
    assert [(row.id, row.reason) for row in skipped] == [("d", "bad_audio"), ("b", "missing_audio"), ("e", "bad_audio")]
    for row in skipped:
        with pytest.raises(AudioError) as caught:
            read_audio(by_name[row.id], RATE)
        assert (row.message, row.file) == (str(caught.value), str(by_name[row.id]))
    assert all(batch.refusal is None for batch in batches)


def hum(path: Path, seconds: float) -> None:
    """Mains hum at -80 dB."""
    soundfile.write(path, 1e-4 * np.sin(2 * np.pi * 50 * np.arange(round(seconds * RATE)) / RATE), RATE)


@in_or_out_of_process
def test_near_silent_clips_are_kept_skipped_or_refused(utterances: list[Utterance], predict, num_workers: int):
    by_name = {utterance.id: utterance.audio for utterance in utterances}
    hum(by_name["d"], SECONDS["d"])
    batches = predict(Collector(), utterances, num_workers=num_workers)
    pairs = [pair for batch in batches for pair in zip(batch.utterances, batch.clips, strict=True)]
    assert {utterance.id: clip.near_silent for utterance, clip in pairs} == {name: name == "d" for name in "abcde"}
    for on_error in ("error", "skip"):
        limits = AudioLimits(near_silent="skip")
        batches = predict(Collector(), utterances, num_workers=num_workers, limits=limits, on_error=on_error)
        assert sorted(name for names in ids(batches) for name in names) == ["a", "b", "c", "e"]
        (row,) = [row for batch in batches for row in batch.skipped]
        assert (row.id, row.reason, row.file) == ("d", "near_silent", str(by_name["d"]))
    limits = AudioLimits(near_silent="error")
    with pytest.raises(AudioError, match="near-silent"):
        predict(Collector(), utterances, num_workers=num_workers, limits=limits)
    batches = predict(Collector(), utterances, num_workers=num_workers, limits=limits, on_error="skip")
    assert [row.reason for batch in batches for row in batch.skipped] == ["near_silent"]


def test_finding_near_silent_clips(utterances: list[Utterance]):
    by_name = {utterance.id: utterance.audio for utterance in utterances}
    hum(by_name["b"], 0.5)
    by_name["c"].unlink()
    assert find_faults(utterances, RATE, AudioLimits())[0] == {"below_dbfs": -70.0, "utterances": ["b"]}
    assert find_faults(utterances, RATE, AudioLimits(near_silent_dbfs=-90.0))[0]["utterances"] == []
    assert find_faults(utterances, RATE, AudioLimits(near_silent="skip"))[0]["utterances"] == []


@in_or_out_of_process
@pytest.mark.parametrize("damage", ["missing", "text", "silent", "short"])
def test_a_bad_clip_ends_the_run_with_its_own_error(
    utterances: list[Utterance], predict, num_workers: int, damage: str
):
    bad = next(utterance for utterance in utterances if utterance.id == "e").audio
    if damage == "missing":
        bad.unlink()
    elif damage == "text":
        bad.write_text("This is no sound.")
    else:
        soundfile.write(bad, np.zeros(round((0.05 if damage == "short" else 0.2) * RATE)), RATE)
    with pytest.raises(AudioError) as expected:
        read_audio(bad, RATE)
    collector = Collector()
    with pytest.raises(AudioError) as caught:
        predict(collector, utterances, num_workers=num_workers)
    # Batches before the bad one are done by then.
    assert ids(collector.batches) == [["a", "b"], ["d", "c"]]
    assert str(caught.value) == str(expected.value)
    for field in ("what", "reason", "file", "row", "field", "remedy"):
        assert getattr(caught.value, field) == getattr(expected.value, field)


@in_or_out_of_process
def test_a_clip_that_the_model_would_not_hear_is_too_short(utterances: list[Utterance], predict, num_workers: int):
    needed = round(0.5 * RATE)
    batches = predict(Collector(), utterances, num_workers=num_workers, on_error="skip", min_samples=needed)
    assert [name for batch in ids(batches) for name in batch] == ["a", "b", "d"]
    skipped = [row for batch in batches for row in batch.skipped]
    assert {(row.id, row.reason, row.file) for row in skipped} == {
        (name, "too_short", str(utterances[i].audio)) for i, name in ((0, "c"), (2, "e"))
    }
    with pytest.raises(AudioError, match=r"lasts 0\.4000 s and the model needs 0\.5 s .*c\.wav"):
        predict(Collector(), utterances, num_workers=num_workers, min_samples=needed)


def test_a_batch_with_a_bad_clip_is_not_predicted(utterances: list[Utterance], predict):
    soundfile.write(utterances[0].audio, np.zeros(round(SECONDS["c"] * RATE)), RATE)
    collector = Collector()
    with pytest.raises(AudioError, match="silent"):
        predict(collector, utterances)
    assert ids(collector.batches) == [["a", "b"]]
