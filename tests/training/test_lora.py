"""LoRA on tiny SFMs of the true classes: against plain PyTorch, and what it must leave alone."""

from __future__ import annotations

import copy
import tempfile
from pathlib import Path

import fitting
import numpy as np
import pytest
import torch

from emoprobe.beliefs.distributions import pool_forms
from emoprobe.data.corpora.demo import read_demo
from emoprobe.data.policy import SoftLabelPolicy
from emoprobe.data.prepare import prepare
from emoprobe.data.sound.limits import AudioLimits
from emoprobe.errors import InputError
from emoprobe.labels import LabelSet
from emoprobe.prompts.prompt import make_prompts
from emoprobe.settings import compose, plain
from emoprobe.training.fit import predict
from emoprobe.training.methods.base import make_method
from emoprobe.training.options import FitOptions

MODELS = ("whisper", "qwen2_audio", "qwen2_5_omni", "qwen3_omni", "voxtral", "granite_speech", "audio_flamingo3")
MODELS += ("phi4_multimodal",)  # is asked in whole passes


def settings(*overrides):
    return plain(compose(["output_dir=unused", *overrides], "train"))


def make(sfm, *overrides, loss=None):
    """A method of its own copy of a model, prepared for ten demo clips, and these."""
    found = settings(*overrides)
    labels = LabelSet(**found["labels"])
    own = sfm.around(copy.deepcopy(sfm.model))
    method = make_method(own, found["head"], labels, make_prompts(found["prompt"], labels), loss)
    items = prepare(read_demo(), labels, SoftLabelPolicy(), limit=10).items
    method.prepare([item.utterance for item in items], AudioLimits(), batch_size=4, progress=False)
    return method, method.clips(items)


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("EMOPROBE_CACHE", str(tmp_path_factory.getbasetemp() / "features"))


@pytest.fixture(params=MODELS)
def sfm(request, tiny_whisper, tiny_llm):
    return tiny_whisper if request.param == "whisper" else tiny_llm(request.param)


OPTIONS = FitOptions(max_epochs=2, batch_size=4, learning_rate=1e-2)


def fit(method, clips, loss=None, options=OPTIONS):
    torch.manual_seed(0)
    reader = method.new(clips)
    with tempfile.TemporaryDirectory() as folder:
        module = fitting.fit(reader, loss or fitting.loss_of(), clips, options, Path(folder), seed=0, eval_batch_size=4)
    return reader, module


def test_every_family_is_tuned_and_left_as_it_was(sfm):
    method, clips = make(sfm, "head=lora", "head.rank=2")
    before = {name: value.clone() for name, value in method.sfm.model.state_dict().items()}
    reader, module = fit(method, clips)
    trained = {name for name, value in reader.named_parameters() if value.requires_grad}
    assert trained
    assert all("lora_" in name for name in trained)
    for name, value in method.sfm.model.state_dict().items():
        if "lora_" not in name:
            torch.testing.assert_close(value, before[name.replace(".base_layer", "")], rtol=0, atol=0)
    assert module.curve[-1]["train_loss"] < module.curve[0]["train_loss"]
    tuned = predict([reader], clips)
    weights = method.weights(reader)
    method.release(reader)
    after = method.sfm.model.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], value) for name, value in before.items())
    again = method.restore(weights)
    torch.testing.assert_close(predict([again], clips, 3), tuned, atol=1e-4, rtol=0)


def test_a_tuned_model_keeps_its_zero_shot_interface(sfm):
    method, clips = make(sfm, "head=lora", "head.rank=2")
    reader, _ = fit(method, clips)
    own = next(clips.in_order(3))["ids"]
    waves = [torch.from_numpy(w) for w in _waves(method, own)]
    scores = method.sfm.score(method.sfm.encode(waves), [method.plan.question])[0]
    forms = torch.stack([tokens.sum(-1) for tokens in scores], dim=-1).double().numpy()
    labels = method.labels.labels
    expected = torch.from_numpy(pool_forms(forms, method.plan.labels, labels)).log_softmax(-1)
    torch.testing.assert_close(predict([reader], clips)[:3], expected, atol=1e-4, rtol=0)


def _waves(method, ids):
    from emoprobe.data.sound.audio import read_audio

    return [read_audio(method.utterances[name].audio, method.sfm.sampling_rate).waveform for name in ids]


def test_loss_and_gradients_are_those_of_plain_pytorch(tiny_whisper):
    """The class's own forward pass with its adapters, teacher forcing, a softmax over the labels and KL by hand."""
    method, clips = make(tiny_whisper, "head=lora", "head.part=all", "head.target_modules=q_proj|fc1", "head.dropout=0")
    torch.manual_seed(0)
    reader = method.new(clips).eval()
    with torch.no_grad():  # fresh adapters are zero on one side
        for name, value in reader.named_parameters():
            if "lora_B" in name:
                value.normal_(std=0.1)
    batch = next(clips.in_order(3))
    assert "waveforms" in batch
    fitting.loss_of()(reader(batch), batch["target"], batch["votes"]).backward()
    ours = {name: value.grad for name, value in reader.named_parameters() if value.requires_grad}
    loss = fitting.loss_of()(reader(batch), batch["target"], batch["votes"])
    reader.zero_grad()

    model, question = method.sfm.model, method.plan.question
    features = method.sfm.input_features([torch.from_numpy(w) for w in batch["waveforms"]])
    columns = []
    for tokens in question.continuations:
        ids = torch.tensor([[*question.prefix, *tokens]] * 3)
        log_probs = model(features, decoder_input_ids=ids).logits.log_softmax(-1)
        at = range(len(question.prefix) - 1, ids.shape[1] - 1)
        columns.append(sum(log_probs[:, place, token] for place, token in zip(at, tokens, strict=True)))
    by_label = [
        torch.stack([c for c, own in zip(columns, method.plan.labels, strict=True) if own == label]).logsumexp(0)
        for label in method.labels.labels
    ]
    log_probs, target = torch.stack(by_label, dim=1).log_softmax(1), batch["target"]
    plain = torch.nn.functional.kl_div(log_probs, target, reduction="batchmean")
    torch.testing.assert_close(loss, plain, atol=1e-5, rtol=0)
    plain.backward()
    found = {name: value.grad for name, value in reader.named_parameters() if value.requires_grad}
    assert set(found) == set(ours)
    assert any("encoder" in name for name in ours)
    for name, value in ours.items():
        torch.testing.assert_close(value, found[name], atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize(
    "options",
    [
        ["head.rslora=true"],
        ["head.dora=true"],
        ["head.gradient_checkpointing=true"],
        ["head.part=encoder", "head.target_modules=fc1"],
        ["head.cache_sound=false"],
    ],
)
@pytest.mark.parametrize("family", ["whisper", "qwen2_audio"])
def test_options(tiny_whisper, tiny_llm, family, options):
    sfm = tiny_whisper if family == "whisper" else tiny_llm(family)
    method, clips = make(sfm, "head=lora", "head.rank=2", "head.dropout=0", *options)
    _, module = fit(method, clips)
    assert np.isfinite(module.curve[-1]["train_loss"])
    assert module.curve[-1]["train_loss"] < module.curve[0]["train_loss"]


def test_gradient_checkpointing_changes_nothing(tiny_whisper):
    losses = []
    for on in ("false", "true"):
        method, clips = make(tiny_whisper, "head=lora", "head.dropout=0", f"head.gradient_checkpointing={on}")
        losses.append([row["train_loss"] for row in fit(method, clips)[1].curve])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_gradient_checkpointing_leaves_no_hooks(tiny_llm):
    method, clips = make(tiny_llm("qwen2_audio"), "head=lora", "head.gradient_checkpointing=true")

    def hooks():
        return [hook for module in method.sfm.model.modules() for hook in module._forward_hooks.values()]

    before = hooks()
    reader = method.new(clips)
    assert len(hooks()) > len(before)
    method.release(reader)
    assert hooks() == before


@pytest.mark.parametrize("source", ["decoder", "encoder"])
@pytest.mark.parametrize("family", ["whisper", "qwen2_audio"])
def test_lora_with_a_probe(tiny_whisper, tiny_llm, family, source):
    sfm = tiny_whisper if family == "whisper" else tiny_llm(family)
    part = [f"head.source={source}", *(["head.part=encoder", "head.target_modules=fc"] if source == "encoder" else [])]
    method, clips = make(sfm, "head=lora_probe", "head.rank=2", *part)
    reader, module = fit(method, clips)
    trained = {name for name, value in reader.named_parameters() if value.requires_grad}
    assert any(name.startswith("head.") for name in trained)
    assert any("lora_" in name for name in trained)
    assert module.curve[-1]["train_loss"] < module.curve[0]["train_loss"]
    tuned, weights = predict([reader], clips), method.weights(reader)
    method.release(reader)
    torch.testing.assert_close(predict([method.restore(weights)], clips, 3), tuned, atol=1e-4, rtol=0)


def test_states_and_head_lie_where_the_model_does(tiny_whisper, monkeypatch):
    """The states of an evaluation come from the CPU, whatever device the model is on."""
    method, clips = make(tiny_whisper, "head=lora_probe", "head.rank=2")
    reader = method.new(clips).to("meta")
    assert {parameter.device.type for parameter in method._head(32).parameters()} == {"meta"}
    monkeypatch.setattr(reader, "_states", lambda batch: torch.zeros(2, 1, 1, 32))
    assert reader({}).device.type == "meta"


def test_dirichlet_needs_a_head(tiny_whisper):
    method, clips = make(tiny_whisper, "head=lora_probe", loss=fitting.loss_of("dirichlet"))
    _, module = fit(method, clips, fitting.loss_of("dirichlet"))
    assert np.isfinite(module.curve[-1]["train_loss"])
    with pytest.raises(InputError, match="no concentration"):
        make(tiny_whisper, "head=lora", loss=fitting.loss_of("dirichlet"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["head.target_modules=attention"], "no linear module of the decoder matches"),
        (["head.target_modules='('"], "no regular expression"),
        (["head.part=middle"], r"'middle' is not one of decoder, encoder, all .*head\.part"),
        (["head.members=0"], "members"),
        (["head=lora_probe", "head.source=encoder"], "only decoder modules are adapted"),
        (["prompt=whisper_all"], "one prompt"),
    ],
)
def test_mistakes_are_named(tiny_whisper, options, message):
    with pytest.raises(InputError, match=message):
        make(tiny_whisper, "head=lora", *options)


def test_weights_that_do_not_fit_leave_the_model_as_it_was(tiny_whisper):
    method, clips = make(tiny_whisper, "head=lora", "head.rank=2")
    reader = method.new(clips)
    weights = method.weights(reader)
    method.release(reader)
    names = list(method.sfm.model.state_dict())
    weights.pop(next(iter(weights)))
    with pytest.raises(InputError, match="do not fit: missing"):
        method.restore(weights)
    assert list(method.sfm.model.state_dict()) == names
