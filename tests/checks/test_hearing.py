"""The doctor of models that only hear passes sound ones and catches each way of breaking one."""

from __future__ import annotations

import copy

import pytest
import torch

from emoprobe.checks.doctor import examine
from emoprobe.checks.tiny import TINY
from emoprobe.cli.doctor import main
from emoprobe.models.load_encoder import load_encoder

CHECKS = {
    "encoder states alone against among other clips",
    "encoder states against the class's own pass",
    "the clip against silence",
    "the clip against noise",
    "the clip against another clip",
    "padding with a mask, which is not done",
    "bfloat16 against float32",
    "adapters: the training pass against the scoring one",
}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return TINY["wav2vec2 (classifier)"](tmp_path_factory.mktemp("wav2vec2"))


@pytest.fixture
def sfm(path):
    return copy.copy(load_encoder("tiny", path=path, device="cpu"))


def failed(verdicts):
    return {verdict.check for verdict in verdicts if not verdict.passed}


def break_hear(sfm, monkeypatch, change):
    """Let ``hear`` hand out other states: ``change(states, clip's number)``."""
    hear = type(sfm).hear

    def broken(self, waveforms, layers=()):
        heard = hear(self, waveforms, layers)
        heard.states = [{k: change(v, i) for k, v in one.items()} for i, one in enumerate(heard.states)]
        return heard

    monkeypatch.setattr(type(sfm), "hear", broken)


def test_a_sound_model_passes(sfm, voices):
    verdicts = examine(sfm, voices)
    assert failed(verdicts) == set()
    assert {verdict.check for verdict in verdicts} == CHECKS | {"its own classes alone against among other clips"}
    assert all(verdict.applies for verdict in verdicts)
    padded = next(verdict for verdict in verdicts if verdict.check.startswith("padding"))
    assert padded.difference > 0.1  # group norm over time: this is why clips are never padded


def test_states_that_depend_on_the_other_clips(sfm, voices, monkeypatch):
    break_hear(sfm, monkeypatch, lambda states, clip: states + 0.1 * clip)
    assert failed(examine(sfm, voices, other_dtype=False)) == {"encoder states alone against among other clips"}


def test_states_that_are_not_the_class_s(sfm, voices, monkeypatch):
    break_hear(sfm, monkeypatch, lambda states, clip: states * 1.1)
    assert failed(examine(sfm, voices, other_dtype=False)) == {"encoder states against the class's own pass"}


def test_a_frame_too_few(sfm, voices, monkeypatch):
    # What is there is right, so that only another reading of the class can tell.
    break_hear(sfm, monkeypatch, lambda states, clip: states[clip:])
    assert "encoder states alone against among other clips" in failed(examine(sfm, voices, other_dtype=False))


def test_a_deaf_model(sfm, voices, monkeypatch):
    # Its states vary, and as good as not with the sound.
    waves = torch.arange(32) * torch.linspace(0, 1, 1000)[:, None]
    break_hear(sfm, monkeypatch, lambda states, clip: waves[: len(states)].sin() + 1e-6 * states)
    wrong = failed(examine(sfm, voices, other_dtype=False))
    assert {"the clip against silence", "the clip against noise"} <= wrong


def test_gradients_that_do_not_flow(sfm, voices, monkeypatch):
    break_hear(sfm, monkeypatch, lambda states, clip: states.detach().requires_grad_())
    assert failed(examine(sfm, voices, other_dtype=False)) == {"adapters: the training pass against the scoring one"}


def test_the_model_is_left_as_it_was(sfm, voices):
    before = {name: value.clone() for name, value in sfm.model.state_dict().items()}
    examine(sfm, voices)
    after = sfm.model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_command(path, capsys):
    assert main(["model=encoder", f"model.path={path}", "model.device=cpu"]) == 0
    out = capsys.readouterr().out
    assert "hears and does not answer" in out
    assert out.count("passed") == len(CHECKS) + 1
    assert "told only" in out
