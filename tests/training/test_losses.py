"""Losses against scipy, torch.nn.functional, the metrics of the same name and worked examples."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from copies.labels import label_set
from fitting import loss_of
from scipy import special, stats
from torch.nn import functional as F

from emoprobe.errors import InputError
from emoprobe.metrics.functional import js_divergence, kl_target_pred, vote_nll
from emoprobe.training.losses.ccc import ccc_terms
from emoprobe.training.losses.dirichlet import dirichlet
from emoprobe.training.losses.emd import emd
from emoprobe.training.losses.hard_ce import hard_ce, top_votes
from emoprobe.training.losses.js import js
from emoprobe.training.losses.soft_ce import soft_ce
from emoprobe.training.losses.soft_kl import soft_kl

LABELS = 5
VOTES = torch.tensor(
    [[6, 0, 0, 0, 0], [2, 2, 0, 1, 0], [1, 1, 1, 1, 1], [0, 0, 3, 4, 0], [1, 0, 0, 0, 0], [0, 9, 2, 0, 1]],
    dtype=torch.float64,
)
"""Unanimous, tied, uniform, split, a single rater, many raters."""
TARGET = VOTES / VOTES.sum(dim=-1, keepdim=True)
LOGITS = torch.from_numpy(np.random.default_rng(0).normal(size=VOTES.shape) * 2)
LOG_PROBS = LOGITS.log_softmax(dim=-1)
PROBS = LOG_PROBS.exp()
CONCENTRATION = 1 + torch.from_numpy(np.random.default_rng(1).gamma(2.0, 3.0, size=VOTES.shape))
FORMULAS = {"soft_kl": soft_kl, "soft_ce": soft_ce, "js": js, "hard_ce": hard_ce, "emd": emd, "dirichlet": dirichlet}
OF_LOG_PROBS = [name for name in FORMULAS if name != "dirichlet"]
ORDERED = {"emd": {"ordered": True}}


def assert_close(value, expected, **tolerance):
    np.testing.assert_allclose(np.asarray(value), np.asarray(expected), **{"rtol": 1e-10, "atol": 1e-12, **tolerance})


def test_soft_kl_is_the_relative_entropy_of_scipy_and_the_metric():
    value = soft_kl(LOG_PROBS, TARGET)
    assert_close(value, stats.entropy(TARGET.numpy(), PROBS.numpy(), axis=-1))
    assert_close(value, F.kl_div(LOG_PROBS, TARGET, reduction="none").sum(dim=-1))
    assert_close(value, kl_target_pred(PROBS, TARGET, reduction="none"))
    assert_close(soft_kl(TARGET.log(), TARGET), torch.zeros(len(TARGET)))


def test_soft_ce_is_the_cross_entropy_of_torch():
    assert_close(soft_ce(LOG_PROBS, TARGET), F.cross_entropy(LOGITS, TARGET, reduction="none"))


def test_js_is_the_metric_and_the_square_of_the_distance_of_scipy():
    from scipy.spatial.distance import jensenshannon

    value = js(LOG_PROBS, TARGET)
    assert_close(value, jensenshannon(PROBS.numpy(), TARGET.numpy(), base=2, axis=-1) ** 2)
    assert_close(value, js_divergence(PROBS, TARGET, reduction="none"))


def test_hard_ce_is_the_cross_entropy_with_the_top_vote():
    for row, label in ((0, 0), (3, 3), (4, 0), (5, 1)):
        assert_close(hard_ce(LOG_PROBS, TARGET)[row], F.cross_entropy(LOGITS[row], torch.tensor(label)))


def test_tied_top_votes_share_the_label_equally():
    expected = [[1, 0, 0, 0, 0], [0.5, 0.5, 0, 0, 0], [0.2] * 5, [0, 0, 0, 1, 0], [1, 0, 0, 0, 0], [0, 1, 0, 0, 0]]
    assert_close(top_votes(TARGET), expected)
    assert_close(top_votes(TARGET.float()), expected, atol=1e-7)
    # Sums that differ in the last digit still tie.
    assert_close(top_votes(torch.tensor([[0.1 + 0.2, 0.3, 0.4 - 1e-3]], dtype=torch.float64)), [[0, 0, 1]])
    assert_close(top_votes(torch.tensor([[0.1 + 0.2, 0.3, 0.2, 0.2]], dtype=torch.float64)), [[0.5, 0.5, 0, 0]])


def test_emd_is_half_the_squared_energy_distance_of_scipy():
    levels = np.arange(LABELS)
    for p, t, value in zip(PROBS.numpy(), TARGET.numpy(), emd(LOG_PROBS, TARGET), strict=True):
        assert_close(value, stats.energy_distance(levels, levels, p, t) ** 2 / 2)


def test_emd_grows_with_the_steps_between_the_labels():
    first = torch.tensor([[1.0, 0, 0, 0]])
    others = torch.eye(4)
    assert emd(others.log(), first.expand(4, 4)).tolist() == [0, 1, 2, 3]


def test_dirichlet_likelihood_is_the_dirichlet_multinomial_of_scipy():
    number = VOTES.sum(dim=-1).numpy()
    orders = special.gammaln(number + 1) - special.gammaln(VOTES.numpy() + 1).sum(axis=-1)
    counts = [
        stats.dirichlet_multinomial.logpmf(n.astype(int), a, int(n.sum()))
        for n, a in zip(VOTES.numpy(), CONCENTRATION.numpy(), strict=True)
    ]
    assert_close(dirichlet(CONCENTRATION, VOTES, regulariser=0), -(np.array(counts) - orders) / number)


def test_dirichlet_likelihood_of_a_split_pair_by_hand():
    """Two votes for different labels from a uniform Dirichlet over two: 1/2 times 1/3."""
    votes = torch.tensor([[1.0, 1.0]])
    assert_close(dirichlet(torch.ones(1, 2), votes), [-math.log(1 / 6) / 2], rtol=1e-6)


def test_dirichlet_regulariser_is_the_divergence_from_the_uniform_dirichlet():
    """The divergence from a uniform density is its logarithm's absence of entropy: -H(b) - lnG(K)."""
    misleading = np.where(VOTES > 0, 1.0, CONCENTRATION)
    expected = [-stats.dirichlet.entropy(b) - special.gammaln(LABELS) for b in misleading]
    parts = [dirichlet(CONCENTRATION, VOTES, regulariser=weight) for weight in (0, 1)]
    assert_close(parts[1] - parts[0], expected, rtol=1e-9)


def test_dirichlet_regulariser_spares_evidence_that_raters_bear_out():
    votes = torch.tensor([[3.0, 1, 0, 0]], dtype=torch.float64)

    def penalty(*concentration: float) -> float:
        a = torch.tensor([concentration], dtype=torch.float64)
        return (dirichlet(a, votes, regulariser=1) - dirichlet(a, votes, regulariser=0)).item()

    assert abs(penalty(1, 1, 1, 1)) < 1e-12
    assert abs(penalty(60, 20, 1, 1)) < 1e-12
    assert 0 < penalty(60, 20, 2, 1) < penalty(60, 20, 9, 1)


def test_dirichlet_likelihood_knows_how_much_utterances_differ():
    """Of all strengths with the right mean, the one that the votes were drawn with is the best."""
    rng, truth = np.random.default_rng(0), np.array([5.0, 3, 1, 1])
    votes = torch.from_numpy(np.stack([rng.multinomial(9, p) for p in rng.dirichlet(truth, size=2000)]))
    risk = {
        factor: dirichlet(torch.from_numpy(np.tile(truth * factor, (2000, 1))), votes, regulariser=0).mean()
        for factor in (0.5, 1, 2)
    }
    assert min(risk, key=risk.get) == 1


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_strong_dirichlet_tends_to_the_cross_entropy_of_its_mean(dtype):
    value = dirichlet((PROBS * 1e6).to(dtype), VOTES.to(dtype), regulariser=0)
    assert value.dtype == dtype
    assert_close(value, soft_ce(LOG_PROBS, TARGET), rtol=1e-2)
    assert_close((value * VOTES.sum(dim=-1)).sum() / VOTES.sum(), vote_nll(PROBS, TARGET, VOTES), rtol=1e-3)


@pytest.mark.parametrize("name", OF_LOG_PROBS)
def test_gradients(name):
    assert torch.autograd.gradcheck(lambda x: FORMULAS[name](x, TARGET), LOG_PROBS.clone().requires_grad_())
    assert torch.autograd.gradcheck(
        lambda x: FORMULAS[name](x.log_softmax(dim=-1), TARGET), LOGITS.clone().requires_grad_()
    )


@pytest.mark.parametrize("regulariser", [0.0, 0.3])
def test_gradient_of_the_dirichlet_loss(regulariser):
    assert torch.autograd.gradcheck(
        lambda x: dirichlet(x, VOTES, regulariser=regulariser), CONCENTRATION.clone().requires_grad_()
    )


@pytest.mark.parametrize("name", OF_LOG_PROBS)
def test_labels_that_nobody_chose_and_the_head_excludes_do_no_harm(name):
    """Excluded labels have the log-probability minus infinity; far from the target, probabilities underflow."""
    logits = torch.tensor([[0.0, 1.0, -math.inf], [900.0, 0.0, -math.inf]], dtype=torch.float64, requires_grad=True)
    target = torch.tensor([[0.25, 0.75, 0], [0, 1, 0]], dtype=torch.float64)
    value = FORMULAS[name](logits.log_softmax(dim=-1), target)
    without = FORMULAS[name](logits[:, :2].log_softmax(dim=-1), target[:, :2])
    assert_close(value.detach(), without.detach())
    (gradient,) = torch.autograd.grad(value.sum(), logits)
    (expected,) = torch.autograd.grad(without.sum(), logits)
    assert torch.isfinite(gradient[:, :2]).all()
    assert_close(gradient[:, :2], expected[:, :2])


def test_a_voted_label_with_probability_zero():
    target, log_probs = torch.tensor([[0.5, 0.5]]), torch.tensor([[0.0, -math.inf]])
    assert soft_kl(log_probs, target).item() == math.inf
    assert soft_ce(log_probs, target).item() == math.inf
    assert_close(js(log_probs, target), js_divergence(torch.tensor([[1.0, 0.0]]), target), rtol=1e-6)


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize("where", ["output", "target"])
def test_nan_stays_nan(name, where):
    """Also beside a share of zero, and only in its own utterance."""
    output = (CONCENTRATION if name == "dirichlet" else LOG_PROBS).clone()
    target, votes = TARGET.clone(), VOTES.clone()
    broken = {"output": (output,), "target": (target, votes)}[where]
    for values in broken:
        values[0, 1] = math.nan
    arguments = (output, votes) if name == "dirichlet" else (output, target)
    assert torch.isnan(FORMULAS[name](*arguments)).tolist() == [True] + [False] * 5
    assert torch.isnan(loss_of(name, **ORDERED.get(name, {}))(output, target, votes))


def test_no_votes_at_all_have_no_dirichlet_likelihood():
    assert torch.isnan(dirichlet(torch.ones(1, 3), torch.zeros(1, 3))).all()


# The dataclass.


def test_the_default_is_the_mean_soft_kl():
    loss = loss_of()
    assert loss.of_head == "log_probs"
    assert not loss.needs_votes
    assert_close(loss(LOG_PROBS, TARGET), soft_kl(LOG_PROBS, TARGET).mean())
    assert loss.fit(TARGET) is loss


def test_dirichlet_wants_the_concentration_and_votes():
    loss = loss_of("dirichlet", regulariser=0.5)
    assert loss.of_head == "concentration"
    assert loss.needs_votes
    expected = dirichlet(CONCENTRATION, VOTES, regulariser=0.5).mean()
    assert_close(loss(CONCENTRATION, TARGET, VOTES), expected)
    with pytest.raises(InputError, match="needs vote counts"):
        loss(CONCENTRATION, TARGET)


def test_label_smoothing_is_that_of_torch():
    loss = loss_of("soft_ce", label_smoothing=0.1)
    assert_close(loss(LOG_PROBS, TARGET), F.cross_entropy(LOGITS, TARGET, label_smoothing=0.1))
    hard = loss_of("hard_ce", label_smoothing=0.1)(LOG_PROBS[3:], TARGET[3:])
    assert_close(hard, F.cross_entropy(LOGITS[3:], torch.tensor([3, 0, 1]), label_smoothing=0.1))


def test_label_smoothing_of_emo_superb():
    one_hot = torch.tensor([[1.0, 0, 0, 0]], dtype=torch.float64)
    log_probs = LOG_PROBS[:1, :4].log_softmax(dim=-1)
    value = loss_of("soft_ce", label_smoothing=0.05 * 4 / 3)(log_probs, one_hot)
    assert_close(value, soft_ce(log_probs, torch.tensor([[0.95, *[0.05 / 3] * 3]], dtype=torch.float64)).mean())


def test_temperature_sharpens_or_flattens_the_votes_and_keeps_zeros():
    target = torch.tensor([[0.8, 0.2, 0.0]], dtype=torch.float64)
    log_probs = LOG_PROBS[:1, :3].log_softmax(dim=-1)
    for temperature, expected in ((0.5, [16 / 17, 1 / 17, 0]), (2, [2 / 3, 1 / 3, 0])):
        value = loss_of("soft_ce", temperature=temperature)(log_probs, target)
        assert_close(value, soft_ce(log_probs, torch.tensor([expected], dtype=torch.float64)).mean())
    cold = loss_of("soft_ce", temperature=1e-3)(LOG_PROBS, TARGET)
    assert_close(cold, loss_of("hard_ce")(LOG_PROBS, TARGET))


def test_class_balance_weighs_by_target_over_prior():
    """Worked example: priors 3/4 and 1/4; weights (4/3, 4/3, 4/3, 4) / 2."""
    targets = torch.tensor([[1.0, 0], [1, 0], [1, 0], [0, 1]], dtype=torch.float64)
    loss = loss_of("soft_ce", class_balance=True).fit(targets)
    assert_close(loss.utterance_weights(targets), [2 / 3, 2 / 3, 2 / 3, 2])
    log_probs = LOG_PROBS[:4, :2].log_softmax(dim=-1)
    per_class = F.cross_entropy(
        log_probs, targets.argmax(dim=-1), weight=torch.tensor([2 / 3, 2.0], dtype=torch.float64)
    )
    assert_close(loss(log_probs, targets), per_class)
    # A soft label gets a mixture of the weights.
    assert_close(loss.utterance_weights(torch.tensor([[0.5, 0.5]])), [4 / 3], rtol=1e-6)


@pytest.mark.parametrize(("rater_weight", "root"), [("count", 1.0), ("sqrt", 0.5)])
def test_rater_weights(rater_weight, root):
    loss = loss_of("soft_ce", rater_weight=rater_weight).fit(TARGET, VOTES)
    number = np.array([6.0, 5, 5, 7, 1, 12]) ** root
    assert_close(loss.utterance_weights(TARGET, VOTES), number / number.mean())
    assert_close(loss(LOG_PROBS, TARGET, VOTES), np.average(soft_ce(LOG_PROBS, TARGET), weights=number))


def test_weights_by_count_give_the_likelihood_of_all_votes():
    loss = loss_of("soft_ce", rater_weight="count").fit(TARGET, VOTES)
    assert_close(loss(LOG_PROBS, TARGET, VOTES), vote_nll(PROBS, TARGET, VOTES))


@pytest.mark.parametrize("name", FORMULAS)
def test_weights_have_mean_one_in_training_however_batches_are_cut(name):
    loss = loss_of(name, class_balance=True, rater_weight="sqrt", **ORDERED.get(name, {})).fit(TARGET, VOTES)
    assert_close(loss.utterance_weights(TARGET, VOTES).mean(), 1)
    output = CONCENTRATION if name == "dirichlet" else LOG_PROBS
    whole = loss(output, TARGET, VOTES)
    single = [loss(output[i : i + 1], TARGET[i : i + 1], VOTES[i : i + 1]) for i in range(len(TARGET))]
    assert_close(np.mean(single), whole)


def test_float_targets_and_outputs_need_not_agree():
    assert loss_of()(LOG_PROBS.float(), TARGET).dtype == torch.float32


def test_weights_that_are_not_fitted_are_an_error():
    with pytest.raises(InputError, match="not fitted"):
        loss_of(class_balance=True)(LOG_PROBS, TARGET)
    with pytest.raises(InputError, match="needs vote counts"):
        loss_of(rater_weight="count").fit(TARGET)


def test_a_label_without_training_votes_cannot_be_balanced():
    with pytest.raises(InputError, match=r"positions \[4\]"):
        loss_of(class_balance=True).fit(TARGET[[0, 1, 3]])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "mse"}, r"unknown loss 'mse' .*loss\.name.*soft_kl"),
        ({"rater_weight": "log"}, r"'log' is not one of none, count, sqrt.*loss\.rater_weight"),
        ({"temperature": 0}, r"^0 is not a number above 0 .*loss\.temperature"),
        ({"temperature": math.nan}, r"^nan is not a number above 0 .*loss\.temperature"),
        ({"label_smoothing": 1.0}, r"1.0 is not a number from 0 to below 1 .*loss\.label_smoothing"),
        ({"name": "dirichlet", "regulariser": -1}, r"-1 is not a number of at least 0 .*loss\.regulariser"),
        ({"name": "ccc", "distribution_weight": -1}, r"-1 is not a number of at least 0 .*distribution_weight"),
        ({"name": "ccc", "points": [1, 2]}, r"no option 'points' .*loss\.points"),
        ({"name": "hard_ce", "temperature": 2}, "no effect on hard_ce"),
        ({"name": "dirichlet", "label_smoothing": 0.1}, r"no option 'label_smoothing' .*loss\.label_smoothing"),
        ({"name": "dirichlet", "temperature": 2}, r"no option 'temperature' .*loss\.temperature"),
    ],
)
def test_options_that_make_no_sense(options, message):
    with pytest.raises(InputError, match=message):
        loss_of(**options)


@pytest.mark.parametrize(
    ("name", "message"),
    [("emd", r"meaningful order.*basic6.*loss\.ordered"), ("ccc", r"one of numbers.*basic6.*labels=valence5")],
)
def test_losses_of_scales_are_refused_where_there_is_none(name, message):
    with pytest.raises(InputError, match=message):
        loss_of(name).of(label_set("basic6"))
    assert loss_of(name).of(label_set("valence5")).name == name
    assert loss_of("emd", ordered=True).of(label_set("basic6")).ordered
    assert loss_of().of(label_set("basic6")) == loss_of()


def lin(x, y, weights=None):
    """Lin's coefficient by numpy's weighted moments over n."""
    (xx, xy), (_, yy) = np.cov(np.asarray(x), np.asarray(y), ddof=0, aweights=weights)
    gap = np.average(x, weights=weights) - np.average(y, weights=weights)
    return 2 * xy / (xx + yy + gap**2)


def test_ccc_is_that_of_numpy_and_of_torchmetrics():
    from torchmetrics.functional import concordance_corrcoef

    rng = np.random.default_rng(5)
    x, y = torch.from_numpy(rng.normal(3, 1, 4000)), torch.from_numpy(rng.normal(2.5, 2, 4000))
    y = y + 0.7 * x
    assert_close(1 - ccc_terms(x, y).mean(), lin(x, y))
    assert_close(1 - ccc_terms(x, y).mean(), concordance_corrcoef(x, y), rtol=1e-3)  # over n, there over n - 1
    weights = torch.from_numpy(rng.gamma(2, 1, 4000))
    weights = weights / weights.mean()
    assert_close(1 - (weights * ccc_terms(x, y, weights)).mean(), lin(x, y, weights))
    assert_close(1 - ccc_terms(y, y).mean(), 1)
    assert ccc_terms(y[:1], y[:1]).tolist() == [0]
    assert ccc_terms(x[:1], y[:1]).tolist() == pytest.approx([1])
    assert ccc_terms(torch.ones(3), torch.ones(3)).tolist() == [0, 0, 0]


@pytest.mark.parametrize("weight", [0, 0.5])
def test_the_ccc_loss_is_of_expected_values_with_a_share_of_the_divergence(weight):
    loss = loss_of("ccc", distribution_weight=weight).of(label_set("valence5"))
    points = np.arange(1, 6)
    x, y = PROBS.numpy() @ points, TARGET.numpy() @ points
    assert_close(loss(LOG_PROBS, TARGET), 1 - lin(x, y) + weight * soft_kl(LOG_PROBS, TARGET).mean())
    counted = replace(loss, rater_weight="count").fit(TARGET, VOTES)
    shares = VOTES.sum(-1).numpy() / VOTES.sum(-1).mean().item()
    expected = 1 - lin(x, y, shares) + weight * np.mean(shares * soft_kl(LOG_PROBS, TARGET).numpy())
    assert_close(counted(LOG_PROBS, TARGET, VOTES), expected)


def test_the_gradient_of_the_ccc_loss_is_that_of_the_formula():
    """Of ``1 - 2 cov / (var + var + gap^2)``, written down as it stands, and of finite differences."""
    loss = loss_of("ccc", distribution_weight=0).of(label_set("valence5"))
    points = torch.arange(1.0, 6, dtype=torch.float64)

    def formula(logits):
        x, y = logits.softmax(-1) @ points, TARGET @ points
        covariance = ((x - x.mean()) * (y - y.mean())).mean()
        return 1 - 2 * covariance / (x.var(correction=0) + y.var(correction=0) + (x.mean() - y.mean()) ** 2)

    (expected,) = torch.autograd.grad(formula(own := LOGITS.clone().requires_grad_()), own)
    (found,) = torch.autograd.grad(loss(own.log_softmax(-1), TARGET), own)
    assert_close(found, expected, atol=1e-14)
    assert torch.autograd.gradcheck(lambda x: loss(x.log_softmax(-1), TARGET), own)


def test_a_ccc_loss_without_its_scale_is_an_error():
    with pytest.raises(ValueError, match="needs their scale"):
        loss_of("ccc")(LOG_PROBS, TARGET)


def test_shapes_that_would_broadcast_are_an_error():
    with pytest.raises(InputError, match="field target"):
        loss_of()(LOG_PROBS, TARGET[:1])
    with pytest.raises(InputError, match="field votes"):
        loss_of("dirichlet")(CONCENTRATION, TARGET, VOTES[:1])
