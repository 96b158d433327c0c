"""Adapters stand where a pass goes through them, and nowhere else."""

from __future__ import annotations

from importlib import import_module

import pytest
import torch

from emoprobe.checks.tiny import TINY
from emoprobe.errors import InputError
from emoprobe.labels import LabelSet
from emoprobe.models.load_encoder import load_encoder
from emoprobe.settings import compose, read_values
from emoprobe.training.methods.base import make_method
from emoprobe.training.methods.reached import reached

LABELS = LabelSet("two", ("happy", "sad"), {"happy": {"w": "happy"}, "sad": {"w": "sad"}})


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    def make(kind):
        return load_encoder(kind, path=TINY[kind](tmp_path_factory.mktemp(kind)), device="cpu")

    return make


def lora(sfm, *options):
    overrides = ["head=lora_probe", "head.source=encoder", "head.part=encoder", *options]
    return make_method(sfm, read_values(compose(overrides, "train"), "head"), LABELS, ())


def test_wavlm_takes_the_weights_of_its_attention_and_never_calls_the_layers(encoder, capsys):
    sfm = encoder("wavlm")
    capsys.readouterr()
    method = lora(sfm)
    assert {name.rpartition(".")[2] for name in method.targets} == {"intermediate_dense", "output_dense"}
    said = capsys.readouterr().err
    assert said.startswith("note: 6 of 10 modules that match head.target_modules are never called, such as encoder.")
    assert said.count("\n") == 1
    with pytest.raises(InputError, match=r"6 of 6 modules that match .* are never called.* takes their weights"):
        lora(sfm, "head.target_modules='(q|v|out)_proj$'")
    # What is said is true: an adapter there gets no gradient, and one elsewhere does.
    from peft import LoraConfig, LoraModel

    names = [name for name, module in sfm.model.named_modules() if isinstance(module, torch.nn.Linear)]
    both = [name for name in names if name.endswith(("q_proj", "output_dense"))]
    tuner = LoraModel(sfm.model, LoraConfig(r=2, target_modules=both), "default")
    sfm.hear([torch.randn(16000) * 0.1], [2]).states[0][2].square().sum().backward()
    moved = {n.split(".lora_B")[0] for n, p in sfm.model.named_parameters() if "lora_B" in n and p.grad is not None}
    assert {name.rpartition(".")[2] for name in moved} == {"output_dense"}
    tuner.unload()


@pytest.mark.parametrize("kind", ["wav2vec2", "wav2vec2-bert", "parakeet_ctc", "sew-d"])
def test_other_encoders_call_all_that_the_default_adapts(encoder, kind, capsys):
    sfm = encoder(kind)
    capsys.readouterr()
    method = lora(sfm)
    assert len(method.targets) >= 4
    assert capsys.readouterr().err == ""
    everything = [name for name, module in sfm.model.named_modules() if isinstance(module, torch.nn.Linear)]
    assert set(method.targets) <= set(reached(sfm, everything))


def test_what_no_sound_meets_is_left_out_of_an_audio_llm(tmp_path):
    from emoprobe.models.load import load_audio_llm

    path = import_module("emoprobe.checks.tiny.qwen2_audio").write(tmp_path / "qwen")
    sfm = load_audio_llm("qwen", path=path, device="cpu")
    sfm.model.add_module("unused", torch.nn.Linear(2, 2))
    names = [name for name, module in sfm.model.named_modules() if isinstance(module, torch.nn.Linear)]
    from emoprobe.models.text import PromptText

    question = sfm.question(PromptText(instruction="What is the emotion?"), ["happy", "sad"])
    head = {name for name, module in sfm.model.named_modules() if module is sfm.model.get_output_embeddings()}
    assert set(names) - set(reached(sfm, names, question)) - head == {"unused"}
