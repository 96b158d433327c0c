"""Heads: shapes, independence of padding and batch, and gradients against plain numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fitting import loss_of, make_head
from scipy import special
from sklearn.preprocessing import StandardScaler
from torch import nn

from emoprobe.errors import InputError
from emoprobe.labels import LabelSet
from emoprobe.prompts.prompt import Prompt
from emoprobe.training.feature_head import AttentivePooling, Head, LayerMix, Standardise
from emoprobe.training.heads.base import HEADS, ProbeHead
from emoprobe.training.methods.base import make_method

BATCH, LAYERS, KINDS, WIDTH, LABELS, TIME = 7, 3, 2, 4, 5, 9
SIZES = {"layers": LAYERS, "kinds": KINDS, "width": WIDTH, "num_labels": LABELS}
LENGTHS = torch.tensor([9, 1, 5, 3, 9, 7, 2])

EVERY = [
    {"name": name, "pooling": pooling, "combine": combine, "output": output}
    for name in HEADS
    if issubclass(HEADS[name], ProbeHead)
    for pooling in ("stats", "attentive")
    for combine in ("concat", "weighted")
    for output in ("log_probs", "dirichlet")
]
every_head = pytest.mark.parametrize("config", EVERY, ids=["-".join(config.values()) for config in EVERY])


def make_batch(seed: int = 0) -> dict[str, torch.Tensor]:
    rng = np.random.default_rng(seed)
    return {
        "stats": torch.from_numpy(rng.normal(3, 2, size=(BATCH, LAYERS, KINDS, WIDTH)).astype(np.float32)),
        "frames": torch.from_numpy(rng.normal(3, 2, size=(BATCH, LAYERS, TIME, WIDTH)).astype(np.float32)),
        "lengths": LENGTHS,
    }


def build(config: dict, seed: int = 0) -> Head:
    """A head with random weights, also of its layers, in evaluation mode, standardised on random features."""
    torch.manual_seed(seed)
    head = make_head(config, **SIZES)
    if head.features.mix is not None:
        nn.init.normal_(head.features.mix.logits)
    batch = make_batch(seed)
    head.fit([batch])
    return head.eval()


def rows(batch: dict, index) -> dict:
    return {key: value[index] for key, value in batch.items()}


@every_head
def test_every_head_gives_distributions_and_trains_all_its_weights(config):
    head, batch = build(config).train(), make_batch(1)
    log_probs = head(batch)
    assert log_probs.shape == (BATCH, LABELS)
    assert log_probs.dtype == torch.float32
    torch.testing.assert_close(log_probs.exp().sum(dim=-1), torch.ones(BATCH))
    # Not the plain sum: log-probabilities near uniform would hide missing gradients.
    (log_probs * torch.randn(BATCH, LABELS, generator=torch.Generator().manual_seed(0))).sum().backward()
    for name, parameter in head.named_parameters():
        assert parameter.grad.abs().sum() > 0, name


@every_head
def test_an_utterance_does_not_depend_on_its_batch(config):
    head, batch = build(config), make_batch(1)
    whole = head(batch)
    order = torch.tensor([3, 0, 6, 2, 5, 1, 4])
    torch.testing.assert_close(head(rows(batch, order)), whole[order])
    for i in range(BATCH):
        torch.testing.assert_close(head(rows(batch, slice(i, i + 1))), whole[i : i + 1])


@pytest.mark.parametrize("combine", ["concat", "weighted"])
@pytest.mark.parametrize("filling", [0.0, 1e4, float("nan")])
def test_padding_does_not_matter(combine, filling):
    head, batch = build({"name": "linear_probe", "pooling": "attentive", "combine": combine}), make_batch(1)
    expected = torch.cat(
        [head({"frames": batch["frames"][[i], :, :n], "lengths": LENGTHS[[i]]}) for i, n in enumerate(LENGTHS)]
    )
    frames = torch.cat([batch["frames"], torch.zeros(BATCH, LAYERS, 4, WIDTH)], dim=2)
    padding = torch.arange(TIME + 4) >= LENGTHS[:, None]
    frames = frames.transpose(1, 2).masked_fill(padding[:, :, None, None], filling).transpose(1, 2)
    padded = {"frames": frames.requires_grad_(), "lengths": LENGTHS}
    torch.testing.assert_close(head(padded), expected)
    (gradient,) = torch.autograd.grad(head(padded).square().sum(), frames)
    assert torch.isfinite(gradient).all()
    assert (gradient.transpose(1, 2)[padding] == 0).all()

    fitted = make_head({"name": "linear_probe", "pooling": "attentive"}, **SIZES)
    fitted.fit([{"frames": frames.detach(), "lengths": LENGTHS}])
    valid = batch["frames"].transpose(1, 2)[torch.arange(TIME) < LENGTHS[:, None]]
    torch.testing.assert_close(fitted.features.standardise.mean.squeeze(1), valid.mean(dim=0))
    torch.testing.assert_close(fitted.features.standardise.scale.squeeze(1), valid.std(dim=0, correction=0))


def test_a_missing_number_in_the_features_shows():
    for pooling, key in (("stats", "stats"), ("attentive", "frames")):
        head, batch = build({"name": "linear_probe", "pooling": pooling}), make_batch(1)
        batch[key][0, 1, 0, 2] = float("nan")
        assert torch.isnan(head(batch)).any(dim=-1).tolist() == [True] + [False] * (BATCH - 1)


# Standardisation.


def test_standardisation_is_that_of_scikit_learn():
    features = make_batch()["stats"]
    scaler = StandardScaler().fit(features.flatten(1).double().numpy())
    standardise = Standardise(LAYERS, KINDS, WIDTH)
    standardise.fit(features.split(3))
    np.testing.assert_allclose(standardise.mean.flatten(), scaler.mean_, rtol=1e-6)
    np.testing.assert_allclose(standardise.scale.flatten(), scaler.scale_, rtol=1e-6)
    new = make_batch(1)["stats"]
    np.testing.assert_allclose(standardise(new).flatten(1), scaler.transform(new.flatten(1)), rtol=1e-4, atol=1e-5)


def test_standardisation_keeps_a_small_spread_on_a_large_mean():
    rng = np.random.default_rng(0)
    values = torch.from_numpy(1e4 + rng.normal(size=(1000, 1)).astype(np.float32)).float()
    standardise = Standardise(1)
    standardise.fit(values.split(7))
    np.testing.assert_allclose(standardise.scale, values.double().std(dim=0, correction=0), rtol=1e-6)


@pytest.mark.parametrize("constant", [0.0, 0.1, -1e5 / 3, 1e-20])
def test_a_constant_feature_becomes_zero(constant):
    features = torch.randn(50, 2, generator=torch.Generator().manual_seed(0))
    features[:, 0] = constant
    standardise = Standardise(2)
    standardise.fit(features.split(7))
    assert (standardise(features)[:, 0] == 0).all()
    assert standardise(torch.tensor([[5.0, 0.0]]))[0, 0] == 0
    np.testing.assert_allclose(standardise(features)[:, 1].std(correction=0), 1, rtol=1e-5)


def test_one_training_utterance_is_constant_and_none_is_an_error():
    head = make_head({"name": "linear_probe"}, **SIZES)
    head.fit([{"stats": make_batch()["stats"][:1]}])
    log_probs = head(make_batch(1))
    torch.testing.assert_close(log_probs, log_probs[:1].expand_as(log_probs))
    with pytest.raises(InputError, match="no features to standardise by"):
        head.fit([{"stats": make_batch()["stats"][:0]}])


def test_fitting_in_batches_is_fitting_at_once():
    for config in ({"name": "linear_probe"}, {"name": "linear_probe", "pooling": "attentive"}):
        batch, cut = make_batch(), make_head(config, **SIZES)
        cut.fit({name: values[i : i + 2] for name, values in batch.items()} for i in range(0, len(LENGTHS), 2))
        standardise = build(config).features.standardise
        torch.testing.assert_close(cut.features.standardise.state_dict(), standardise.state_dict())


# Parts.


def test_mix_of_one_layer_is_that_layer():
    features = make_batch()["stats"][:, :1]
    torch.testing.assert_close(LayerMix(1)(features), features[:, 0], rtol=0, atol=0)


def test_mix_starts_as_the_mean_and_follows_its_weights():
    features, mix = make_batch()["frames"], LayerMix(LAYERS)
    torch.testing.assert_close(mix(features), features.mean(dim=1))
    with torch.no_grad():
        mix.logits.copy_(torch.tensor([0.2, 0.3, 0.5]).log() + 4)
    expected = sum(weight * features[:, i] for i, weight in enumerate((0.2, 0.3, 0.5)))
    torch.testing.assert_close(mix(features), expected)
    torch.testing.assert_close(mix.weights, torch.tensor([0.2, 0.3, 0.5]))


def test_weighted_head_on_one_layer_is_the_concat_head():
    stats = make_batch()["stats"][:, :1]
    heads = []
    for combine in ("concat", "weighted"):
        torch.manual_seed(0)
        heads.append(make_head({"name": "linear_probe", "combine": combine}, **SIZES | {"layers": 1}))
        heads[-1].fit([{"stats": stats}])
    torch.testing.assert_close(heads[0]({"stats": stats}), heads[1]({"stats": stats}))


def test_attention_weights_by_hand():
    """Okabe et al., frame by frame in numpy."""
    torch.manual_seed(0)
    pool, frames = AttentivePooling(WIDTH, 6).double(), make_batch()["frames"][:, 0].double()
    (w, b, v) = (parameter.detach().numpy() for parameter in pool.parameters())
    for pooled, clip, length in zip(pool(frames, LENGTHS).detach(), frames.numpy(), LENGTHS, strict=True):
        clip = clip[:length]
        alpha = special.softmax([(v @ np.tanh(w @ frame + b)).item() for frame in clip])
        mean = np.average(clip, axis=0, weights=alpha)
        std = np.sqrt(np.maximum(np.average(clip**2, axis=0, weights=alpha) - mean**2, 1e-12))
        np.testing.assert_allclose(pooled, np.concatenate([mean, std]), rtol=1e-6, atol=1e-7)


def test_even_attention_is_the_mean_and_standard_deviation_of_the_valid_frames():
    pool, frames = AttentivePooling(WIDTH), make_batch()["frames"][:, 0]
    nn.init.zeros_(pool.score[-1].weight)
    pooled = pool(frames, LENGTHS)
    torch.testing.assert_close(pooled[2, :WIDTH], frames[2, :5].mean(dim=0))
    torch.testing.assert_close(pooled[2, WIDTH:], frames[2, :5].std(dim=0, correction=0))
    torch.testing.assert_close(pooled[1, WIDTH:], torch.full((WIDTH,), 1e-6))


def test_gradient_of_attentive_pooling():
    torch.manual_seed(0)
    pool, frames = AttentivePooling(WIDTH, 3).double(), make_batch()["frames"][:4, 0, :5].double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: pool(x, LENGTHS[:4].clamp(max=5)), frames)


# Heads.


def test_linear_probe_and_soft_kl_are_logistic_regression():
    """Values and gradients against the closed form in numpy: d loss / d score = (p - t) / batch."""
    head, batch = build({"name": "linear_probe"}), make_batch()
    target = torch.from_numpy(np.random.default_rng(2).dirichlet(np.full(LABELS, 0.5), size=BATCH)).float()
    target[0] = torch.tensor([0, 0.5, 0.5, 0, 0])
    loss = loss_of("soft_kl")(head(batch), target)
    loss.backward()

    x = StandardScaler().fit_transform(batch["stats"].flatten(1).double())
    weight, bias = (parameter.detach().double().numpy() for parameter in (head.body.weight, head.body.bias))
    p, t = special.softmax(x @ weight.T + bias, axis=1), target.double().numpy()
    np.testing.assert_allclose(head(batch).exp().detach(), p, rtol=1e-5)
    np.testing.assert_allclose(loss.item(), special.rel_entr(t, p).sum(axis=1).mean(), rtol=1e-5)
    np.testing.assert_allclose(head.body.weight.grad, (p - t).T @ x / BATCH, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(head.body.bias.grad, (p - t).mean(axis=0), rtol=1e-4, atol=1e-6)


def test_order_of_the_features_in_concat_is_layer_kind_width():
    head, batch = make_head({"name": "linear_probe"}, **SIZES), make_batch()
    expected = torch.cat([batch["stats"][:, i, j] for i in range(LAYERS) for j in range(KINDS)], dim=1)
    torch.testing.assert_close(head.features(batch), expected)


def test_mlp_by_hand():
    torch.manual_seed(0)
    config = {"name": "mlp_probe", "hidden": 8, "depth": 2, "activation": "relu", "layer_norm": True}
    head = make_head(config, **SIZES).eval()
    values, batch = head.state_dict(), make_batch()
    x = batch["stats"].flatten(1)
    for linear, norm in ((0, 1), (4, 5)):
        x = x @ values[f"body.{linear}.weight"].T + values[f"body.{linear}.bias"]
        x = (x - x.mean(dim=1, keepdim=True)) / (x.var(dim=1, correction=0, keepdim=True) + 1e-5).sqrt()
        x = (x * values[f"body.{norm}.weight"] + values[f"body.{norm}.bias"]).clamp(min=0)
    x = x @ values["body.8.weight"].T + values["body.8.bias"]
    torch.testing.assert_close(head(batch), x - x.logsumexp(dim=1, keepdim=True))


def test_dropout_works_in_training_only():
    head, batch = build({"name": "mlp_probe", "dropout": 0.5}), make_batch()
    torch.testing.assert_close(head(batch), head(batch), rtol=0, atol=0)
    head.train()
    assert not torch.equal(head(batch), head(batch))


def test_noise_has_its_deviation_on_standardised_features_in_training_only():
    sizes = {"layers": 1, "kinds": 1, "width": 40_000, "num_labels": 2}
    config = {"name": "mlp_probe", "hidden": 1, "dropout": 0.0}
    torch.manual_seed(0)
    head = make_head(config | {"noise": 0.3}, **sizes)
    seen = []
    next(module for module in head.body if isinstance(module, torch.nn.Linear)).register_forward_hook(
        lambda module, given, output: seen.append(given[0])
    )
    batch = {"stats": torch.randn(2, 1, 1, 40_000)}
    head.train()(batch)
    head.eval()(batch)
    added = seen[0] - seen[1]
    torch.testing.assert_close(seen[1], batch["stats"].flatten(1))  # nothing is standardised yet
    assert added.std() == pytest.approx(0.3, rel=0.02)
    assert added.mean() == pytest.approx(0, abs=0.01)
    assert list(make_head(config | {"noise": 0.0}, **sizes).state_dict()) == list(
        make_head(config, **sizes).state_dict()
    )


def test_dirichlet_log_probs_are_those_of_its_mean():
    head, batch = build({"name": "mlp_probe", "output": "dirichlet"}), make_batch(1)
    concentration = head.concentration(batch)
    assert (concentration >= 1).all()
    torch.testing.assert_close(head(batch).exp(), torch.distributions.Dirichlet(concentration).mean)
    scores = head.body(head.features(batch))
    np.testing.assert_allclose(concentration.detach().numpy(), 1 + np.logaddexp(0, scores.detach().numpy()), rtol=1e-6)


def test_a_softmax_head_has_no_concentration():
    with pytest.raises(InputError, match="no concentration"):
        build({"name": "linear_probe"}).concentration(make_batch())


@every_head
def test_state_dict_round_trip(config, tmp_path):
    head, batch = build(config), make_batch(1)
    torch.save(head.state_dict(), tmp_path / "head.pt")
    other = make_head(config, **SIZES).eval()
    other.load_state_dict(torch.load(tmp_path / "head.pt", weights_only=True))
    torch.testing.assert_close(other(batch), head(batch), rtol=0, atol=0)
    assert {"features.standardise.mean", "features.standardise.scale"} <= set(head.state_dict())


def test_the_same_seed_gives_the_same_head():
    first, second, third = (build({"name": "mlp_probe"}, seed) for seed in (0, 0, 1))
    torch.testing.assert_close(first.state_dict(), second.state_dict())
    assert not torch.equal(first.body[0].weight, third.body[0].weight)


# Configs and wrong inputs.


def test_make_head_passes_the_options_on():
    head = make_head(
        {"name": "mlp_probe", "hidden": 6, "dropout": 0.1, "depth": 2, "activation": "relu", "layer_norm": True},
        **SIZES,
    )
    kinds = [type(module) for module in head.body]
    assert kinds == [nn.Linear, nn.LayerNorm, nn.ReLU, nn.Dropout] * 2 + [nn.Linear]
    assert (head.body[0].in_features, head.body[0].out_features) == (LAYERS * KINDS * WIDTH, 6)
    assert head.body[3].p == 0.1
    attentive = make_head({"name": "linear_probe", "pooling": "attentive", "attention": 11}, **SIZES)
    assert attentive.features.pool.score[0].out_features == 11


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, r"unknown head null.*head\.name\).*linear_probe"),
        ({"name": "svm"}, r"unknown head 'svm'.*head\.name\).*mlp_probe"),
        ({"name": "linear_probe", "hidden": 3}, r"no option 'hidden' .*head\.hidden"),
        ({"name": "linear_probe", "width": 3}, "no option 'width'"),
        ({"name": "mlp_probe", "pooling": "max"}, r"'max' is not one of stats, attentive .*head\.pooling"),
        ({"name": "mlp_probe", "combine": "sum"}, r"head\.combine"),
        ({"name": "mlp_probe", "output": "logits"}, r"head\.output"),
        ({"name": "mlp_probe", "activation": "tanh"}, r"head\.activation"),
        ({"name": "mlp_probe", "hidden": 0}, r"head\.hidden"),
        ({"name": "mlp_probe", "depth": 1.5}, r"head\.depth"),
        ({"name": "mlp_probe", "attention": True}, r"head\.attention"),
        ({"name": "mlp_probe", "dropout": 1.0}, r"head\.dropout"),
    ],
)
def test_configs_that_make_no_sense(config, message):
    with pytest.raises(InputError, match=message):
        make_head(config, **SIZES)


def test_features_that_do_not_fit_the_head():
    head, batch = build({"name": "linear_probe"}), make_batch()
    with pytest.raises(InputError, match=r"\[7, 2, 2, 4\], not \[batch, 3, 2, 4\]"):
        head({"stats": batch["stats"][:, :2]})
    with pytest.raises(InputError, match="no 'stats', only"):
        head({"frames": batch["frames"], "lengths": LENGTHS})
    attentive = build({"name": "linear_probe", "pooling": "attentive"})
    with pytest.raises(InputError, match="no 'lengths'"):
        attentive({"frames": batch["frames"]})
    with pytest.raises(InputError, match="no 'lengths'"):
        attentive.fit([{"frames": batch["frames"]}])
    with pytest.raises(InputError, match=r"not \[batch, 3, time, 4\]"):
        attentive({"frames": batch["frames"][..., :3], "lengths": LENGTHS})


@pytest.mark.parametrize(
    ("said", "normalised"),
    [
        ({}, False),  # a head that does not say was trained before there was a choice
        ({"normalise_layers": None}, False),
        ({"normalise_layers": None, "combine": "weighted"}, True),
        ({"normalise_layers": False, "combine": "weighted"}, False),
        ({"normalise_layers": True}, True),
        ({"normalise_layers": None, "combine": "weighted", "source": "decoder"}, False),
    ],
)
def test_layers_are_normed_before_a_learned_mix_unless_a_head_says_otherwise(said, normalised, tiny_whisper):
    labels = LabelSet("two", ("happy", "sad"), {word: {"adjective": (word,)} for word in ("happy", "sad")})
    config = {"name": "linear_probe", "layers": "all", **said}
    method = make_method(tiny_whisper, config, labels, [Prompt("voice", "The voice sounds {label}.")])
    assert method.options.normalised is normalised
    assert method.spec.normalised is normalised
    assert method.config["normalise_layers"] is normalised  # which the bundle keeps
    with pytest.raises(InputError, match="only encoder states are normalised"):
        make_method(tiny_whisper, {"name": "linear_probe", "source": "decoder", "normalise_layers": True}, labels, [])
