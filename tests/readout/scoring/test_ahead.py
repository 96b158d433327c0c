"""What a model's processor makes of clips ahead, in other processes, gives the numbers that it gives here."""

from __future__ import annotations

import pickle
from dataclasses import replace

import lightning as L
import pytest
import torch

from emoprobe.data.corpora.demo import read_demo
from emoprobe.data.datamodule import SpeechDataModule, workers_beside
from emoprobe.data.sound.limits import AudioLimits
from emoprobe.errors import InputError
from emoprobe.labels import LabelSet
from emoprobe.models.answering import AnsweringModel
from emoprobe.models.load_encoder import load_encoder
from emoprobe.prompts.prompt import make_prompts
from emoprobe.readout.base import make_readouts
from emoprobe.readout.scoring.module import ZeroShotProbe
from emoprobe.readout.scoring.plan import Plans

LABELS = LabelSet("two", ("happy", "sad"), {"happy": {"adjective": ["happy"]}, "sad": {"adjective": ["sad"]}})
ASK = {"family": "instruction", "instruction": "Which of {labels}?"}


@pytest.fixture(scope="module")
def utterances():
    return read_demo().utterances[:5]


def module(sfm):
    return ZeroShotProbe(
        sfm, Plans(sfm, make_prompts({"plain": ASK}, LABELS), LABELS), make_readouts({"label_likelihood": {}})
    )


def rows(sfm, utterances, folder, num_workers, prepare, limits=None):
    limits = limits or AudioLimits()
    data = SpeechDataModule(
        utterances, sfm.sampling_rate, limits, batch_size=2, num_workers=num_workers, prepare=prepare
    )
    trainer = L.Trainer(
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
    )
    return [row for part in trainer.predict(module(sfm), datamodule=data) for row in part]


@pytest.mark.parametrize("family", ["qwen2_audio", "granite_speech", "gemma3n"])
def test_rows_are_the_same_bits_whoever_prepares(tiny_llm, utterances, tmp_path, family, capfd):
    sfm = tiny_llm(family)
    plain = rows(sfm, utterances, tmp_path, 0, None)
    assert len(plain) == 5
    assert rows(sfm, utterances, tmp_path, 0, sfm.prepare_clip) == plain
    assert rows(sfm, utterances, tmp_path, 2, sfm.prepare_clip) == plain
    assert "forked" not in capfd.readouterr().err


def test_windows_are_prepared_each_by_itself(tiny_llm, utterances, tmp_path):
    sfm, limits = tiny_llm("qwen2_audio"), AudioLimits(max_seconds=1.0, long_audio="window")
    plain = rows(sfm, utterances[:2], tmp_path, 0, None, limits)
    assert {row["windows"] for row in plain} <= {2, 3, 4}
    assert rows(sfm, utterances[:2], tmp_path, 2, sfm.prepare_clip, limits) == plain


def test_what_is_prepared_is_what_is_heard(tiny_llm, utterances, tmp_path):
    sfm = tiny_llm("qwen2_audio")
    silent = rows(sfm, utterances, tmp_path, 2, lambda waveform: sfm.prepare_clip(torch.zeros_like(waveform)))
    plain = rows(sfm, utterances, tmp_path, 0, None)
    assert all(a["form_logprobs"] != b["form_logprobs"] for a, b in zip(silent, plain, strict=True))


def test_a_clip_goes_from_process_to_process_as_it_is(tiny_llm, voices):
    clip = tiny_llm("qwen2_audio").prepare_clip(voices[0])
    again = pickle.loads(pickle.dumps(clip))
    assert again.samples == len(voices[0])
    assert [*again.inputs] == [*clip.inputs]
    assert all(torch.equal(again.inputs[name], value) for name, value in clip.inputs.items())


def test_encoders_prepare_too(tmp_path, voices):
    from emoprobe.checks.tiny import TINY

    sfm = load_encoder("tiny", path=TINY["wav2vec2"](tmp_path / "w"), device="cpu")
    with torch.no_grad():
        own = sfm.hear(voices, [2]).states
        ahead = sfm.hear(voices, [2], prepared=[sfm.prepare_clip(voices[0]), None, sfm.prepare_clip(voices[2])]).states
    assert all(torch.equal(a[2], b[2]) for a, b in zip(own, ahead, strict=True))


def test_a_model_that_knows_nothing_of_it_goes_on(tiny_llm, utterances, tmp_path, monkeypatch):
    sfm = tiny_llm("qwen2_audio")
    plain = rows(sfm, utterances, tmp_path, 0, None)
    encode = sfm.encode
    monkeypatch.setattr(sfm, "encode", lambda waveforms: encode(waveforms))
    assert rows(sfm, utterances, tmp_path, 2, lambda waveform: AnsweringModel.prepare_clip(sfm, waveform)) == plain


def test_what_a_processor_refuses_is_said_in_the_main_process(tiny_llm, utterances, tmp_path, monkeypatch):
    sfm = tiny_llm("qwen2_audio")
    whole = sfm.family.inputs

    def refuse(prompt, waveform):
        if len(waveform) == long:
            raise InputError("no such sound", field="model")
        return whole(prompt, waveform)

    data = SpeechDataModule(utterances, sfm.sampling_rate, AudioLimits(), batch_size=5)
    long = len(next(iter(data.predict_dataloader())).clips[-1].waveform)
    monkeypatch.setattr(sfm.family, "inputs", refuse)
    with pytest.raises(InputError, match=r"^no such sound \(field model\)\.$"):
        rows(sfm, utterances, tmp_path, 1, sfm.prepare_clip)


def test_how_many_processes_stand_beside_a_model():
    gpu, cpu = torch.device("cuda"), torch.device("cpu")
    assert workers_beside(None, cpu) == 0
    assert 1 <= workers_beside(None, gpu) <= 4
    assert workers_beside(0, gpu) == 0
    assert workers_beside(3, cpu) == 3


def test_a_batch_without_prepared_clips_is_heard(tiny_llm, utterances):
    sfm = tiny_llm("qwen2_audio")
    data = SpeechDataModule(utterances, sfm.sampling_rate, AudioLimits(), batch_size=5, prepare=sfm.prepare_clip)
    (batch,) = data.predict_dataloader()
    assert all(clip is not None for clip in batch.prepared)
    with torch.no_grad():
        assert module(sfm).predict_step(replace(batch, prepared=())) == module(sfm).predict_step(batch)
