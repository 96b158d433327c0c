"""Post-hoc scaling beside scikit-learn, plain optimisers and data made from the model itself."""

from __future__ import annotations

import numpy as np
import pytest
from posthoc_cases import FITS, KINDS, clips, kl
from scipy.optimize import approx_fprime, minimize, minimize_scalar
from scipy.special import log_softmax, softmax

from emoprobe.beliefs import posthoc
from emoprobe.beliefs.calibrations.prior_matching import prior_matching
from emoprobe.errors import EmoprobeError, InputError

NO_PENALTY = {"temperature": {"l2": 0.0}, "vector": {"l2": 0.0, "scale_l2": 0.0}}
NO_PENALTY["matrix"] = NO_PENALTY["vector"]


def calibrated(kind, log_probs, target, **options):
    return posthoc.apply(FITS[kind](log_probs, target, **options), log_probs)


# -- the fits ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_the_gradient_is_that_of_finite_differences(kind):
    log_probs, target = clips(labels=3, number=40)
    size = {"temperature": 1, "vector": 6, "matrix": 12}[kind]
    for seed in range(3):
        at = np.random.default_rng(seed).normal(0.5, 1, size)
        arguments = (kind, log_probs, target, 0.7, 0.3)
        numeric = approx_fprime(at, lambda x, a=arguments: posthoc.objective(x, *a)[0], 1e-7)
        np.testing.assert_allclose(posthoc.objective(at, *arguments)[1], numeric, atol=2e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_the_objective_is_the_mean_kl_divergence_plus_what_the_module_says(kind):
    log_probs, target = clips(labels=3, number=50)
    rng = np.random.default_rng(1)
    weight, bias = {
        "temperature": (0.6 * np.eye(3), np.zeros(3)),
        "vector": (np.diag([0.5, 1.0, 2.0]), rng.normal(size=3)),
        "matrix": (rng.normal(size=(3, 3)), rng.normal(size=3)),
    }[kind]
    at = {
        "temperature": [0.6],
        "vector": [*np.diag(weight), *bias],
        "matrix": [*weight.ravel(), *bias],
    }[kind]
    diagonal = np.diag(weight)
    apart = {
        "temperature": 0.0,
        "vector": 3 * np.var(diagonal),
        "matrix": sum(weight[i, j] ** 2 for i in range(3) for j in range(3) if i != j),
    }[kind]
    penalty = 0.7 / 100 * (apart + (bias**2).sum()) + 0.3 / 100 * np.mean(diagonal**2)
    expected = kl(target, log_softmax(log_probs @ weight.T + bias, axis=1)) + penalty
    assert posthoc.objective(np.array(at), kind, log_probs, target, 0.7, 0.3)[0] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("true", [0.25, 1.0, 3.0])
def test_temperature_is_that_of_a_bounded_search_and_of_scikit_learn(true):
    from sklearn.calibration import _TemperatureScaling

    log_probs, target = clips(truth=lambda log: log_softmax(log / true, axis=1), votes=5)
    fitted = posthoc.temperature_scaling(log_probs, target, l2=0)

    def loss(log_t):
        return kl(target, log_softmax(log_probs / np.exp(log_t), axis=1))

    best = minimize_scalar(loss, bounds=(-5, 5), method="bounded", options={"xatol": 1e-10})
    assert fitted.temperature == pytest.approx(np.exp(best.x), rel=1e-5)
    # A soft label is as many hard ones as there are votes.
    each = np.repeat(log_probs, 4, axis=0)
    reference = _TemperatureScaling().fit(each, np.tile(np.arange(4), len(target)), target.ravel())
    assert fitted.temperature == pytest.approx(1 / reference.beta_, rel=1e-3)


@pytest.mark.parametrize(("kind", "number"), [("temperature", 20_000), ("vector", 20_000), ("matrix", 60_000)])
def test_data_from_the_model_itself_need_no_scaling(kind, number):
    log_probs, target = clips(number=number, sharpness=1.5, votes=20)
    fitted = FITS[kind](log_probs, target, **NO_PENALTY[kind])
    if kind == "temperature":
        assert fitted.temperature == pytest.approx(1, abs=0.01)
    np.testing.assert_allclose(np.exp(posthoc.apply(fitted, log_probs)), np.exp(log_probs), atol=0.01)


@pytest.mark.parametrize("kind", ["vector", "matrix"])
def test_the_parameters_that_made_the_data_are_found(kind):
    rng = np.random.default_rng(3)
    weight = np.diag([0.5, 1.0, 1.5]) + (rng.normal(0, 0.3, (3, 3)) if kind == "matrix" else 0)
    bias = np.array([0.8, -0.5, 0.1])
    made = {"labels": 3, "number": 30_000, "votes": 20, "truth": lambda log: log_softmax(log @ weight.T + bias, axis=1)}
    log_probs, target = clips(**made)
    expected = softmax(log_probs @ weight.T + bias, axis=1)
    np.testing.assert_allclose(np.exp(calibrated(kind, log_probs, target)), expected, atol=0.02)
    assert np.abs(np.exp(log_probs) - expected).max() > 0.2
    assert np.abs(np.exp(calibrated("temperature", log_probs, target)) - expected).max() > 0.1


def test_matrix_scaling_without_penalty_is_scikit_learns_logistic_regression():
    from sklearn.linear_model import LogisticRegression

    log_probs, target = clips(number=200, labels=3, votes=5)
    model = LogisticRegression(C=np.inf, tol=1e-10, max_iter=10_000)
    each, label = np.repeat(log_probs, 3, axis=0), np.tile(np.arange(3), len(target))
    model.fit(each, label, sample_weight=target.ravel())
    ours = np.exp(calibrated("matrix", log_probs, target, **NO_PENALTY["matrix"]))
    np.testing.assert_allclose(ours, model.predict_proba(log_probs), atol=1e-5)


def test_the_penalty_of_a_scale_is_scikit_learns():
    """Of two labels one penalised weight is left: ridge logistic regression without intercept on log p1 - log p0."""
    from sklearn.linear_model import LogisticRegression

    log_probs, target = clips(number=60, labels=2, votes=3)
    spread = np.sqrt(np.mean((log_probs - log_probs.mean(axis=1, keepdims=True)) ** 2))
    odds = (log_probs[:, 1] - log_probs[:, 0])[:, None] / spread
    model = LogisticRegression(C=1 / 5.0, fit_intercept=False, tol=1e-12, max_iter=10_000)
    model.fit(np.repeat(odds, 2, axis=0), np.tile([0, 1], len(target)), sample_weight=target.ravel())
    ours = np.exp(calibrated("temperature", log_probs, target, l2=5.0))
    np.testing.assert_allclose(ours, model.predict_proba(odds), atol=1e-6)


@pytest.mark.parametrize("kind", ["vector", "matrix"])
@pytest.mark.parametrize("l2", [0.01, 1.0, 30.0])
def test_no_other_optimiser_finds_less(kind, l2):
    """A search that is given no gradient, over the penalised objective written out anew in unscaled parameters."""
    log_probs, target = clips(number=24, labels=3, votes=4, sharpness=4)
    spread = np.sqrt(np.mean((log_probs - log_probs.mean(axis=1, keepdims=True)) ** 2))

    def value(weight, bias):
        scaled = weight * spread
        diagonal = np.diag(scaled)
        apart = (
            ((diagonal - diagonal.mean()) ** 2).sum() if kind == "vector" else (scaled**2).sum() - (diagonal**2).sum()
        )
        penalty = (l2 * (apart + (bias**2).sum()) + 0.1 * (diagonal**2).mean()) / 48
        return kl(target, log_softmax(log_probs @ weight.T + bias, axis=1)) + penalty

    def unpacked(x):
        return (np.diag(x[:3]) if kind == "vector" else x[:-3].reshape(3, 3)), x[-3:]

    fitted = FITS[kind](log_probs, target, l2=l2)
    start = np.concatenate([np.ones(3) if kind == "vector" else np.eye(3).ravel(), np.zeros(3)])
    found = minimize(lambda x: value(*unpacked(x)), start, method="BFGS", options={"gtol": 1e-7})
    assert value(fitted.weight, fitted.bias) == pytest.approx(found.fun, abs=1e-7)
    assert value(fitted.weight, fitted.bias) <= found.fun + 1e-10
    other = log_softmax(log_probs @ unpacked(found.x)[0].T + unpacked(found.x)[1], axis=1)
    np.testing.assert_allclose(np.exp(posthoc.apply(fitted, log_probs)), np.exp(other), atol=1e-4)


def test_each_kind_fits_at_least_as_well_as_the_one_it_contains():
    log_probs, target = clips(seed=5, truth=lambda log: log_softmax(0.3 * log[:, ::-1] + 0.7 * log, axis=1))
    losses = [kl(target, calibrated(kind, log_probs, target, **NO_PENALTY[kind])) for kind in KINDS]
    assert kl(target, log_probs) > losses[0] > losses[1] > losses[2]


def test_a_strong_penalty_leaves_temperature_scaling_of_a_vector_and_a_diagonal_of_a_matrix():
    log_probs, target = clips(seed=2, truth=lambda log: log_softmax(log / 2 + [1, 0, 0, -1], axis=1))
    np.testing.assert_allclose(
        calibrated("vector", log_probs, target, l2=1e9), calibrated("temperature", log_probs, target), atol=1e-4
    )
    matrix = posthoc.matrix_scaling(log_probs, target, l2=1e9)
    np.testing.assert_allclose(matrix.weight, np.diag(np.diag(matrix.weight)), atol=1e-5)
    np.testing.assert_allclose(matrix.bias, 0, atol=1e-5)
    assert np.ptp(np.diag(matrix.weight)) > 0.01


@pytest.mark.parametrize("kind", KINDS)
def test_soft_labels_count_and_not_their_top_label_alone(kind):
    log_probs, target = clips(votes=3)
    hard = np.eye(4)[target.argmax(axis=1)]
    of_soft, of_hard = (calibrated(kind, log_probs, labels) for labels in (target, hard))
    assert kl(target, of_soft) < kl(target, of_hard) - 0.01


@pytest.mark.parametrize("kind", KINDS)
def test_predictions_against_the_votes_become_the_uniform_or_the_prior(kind):
    log_probs, _ = clips(number=400, labels=3)
    target = np.eye(3)[(log_probs.argmin(axis=1))]
    if kind == "temperature":
        fitted = posthoc.temperature_scaling(log_probs, target)
        assert fitted.temperature == np.inf
        np.testing.assert_array_equal(np.exp(posthoc.apply(fitted, log_probs)), np.full((400, 3), 1 / 3))
    else:  # of single weights the votes decide, also against the model
        assert kl(target, calibrated(kind, log_probs, target)) < kl(target, np.full((400, 3), -np.log(3))) / 2


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_the_result_does_not_depend_on_the_units_of_a_temperature(kind, scale):
    """Log-probabilities of two labels at any sharpness: the same ranking gives the same calibrated distributions."""
    odds = np.random.default_rng(0).normal(size=60)
    target = np.random.default_rng(1).dirichlet([2, 2], 60)
    found = calibrated(kind, log_softmax(np.stack([odds, -odds], axis=1) * scale, axis=1), target)
    assert np.isfinite(found).all()
    if kind == "temperature":
        expected = calibrated(kind, log_softmax(np.stack([odds, -odds], axis=1), axis=1), target)
        np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_extreme_inputs_end_in_distributions(kind):
    log_probs, target = clips(number=40, sharpness=500.0)
    for rows in (log_probs, np.full((40, 4), -np.log(4)), np.tile([0.0, -1e4, -1e4, -1e4], (40, 1))):
        found = calibrated(kind, rows, target)
        np.testing.assert_allclose(np.exp(found).sum(axis=1), 1, rtol=1e-12)
    perfect = np.eye(4)[log_probs.argmax(axis=1)]  # separated without an error
    found = calibrated(kind, log_probs, perfect)
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(found.argmax(axis=1), log_probs.argmax(axis=1))
    assert kl(perfect, found) < 0.2


def test_a_weaker_penalty_lets_separated_clips_grow_sharper():
    log_probs, _ = clips(number=40)
    perfect = np.eye(4)[log_probs.argmax(axis=1)]
    temperatures = [posthoc.temperature_scaling(log_probs, perfect, l2=l2).temperature for l2 in (10, 1, 0.1, 1e-3)]
    assert temperatures == sorted(temperatures, reverse=True)
    assert temperatures[-1] < temperatures[0] / 5


@pytest.mark.parametrize("kind", KINDS)
def test_labels_in_another_order_give_the_same(kind):
    log_probs, target = clips(number=80)
    order = [2, 0, 3, 1]
    np.testing.assert_allclose(
        calibrated(kind, log_probs[:, order], target[:, order]),
        calibrated(kind, log_probs, target)[:, order],
        atol=1e-5,
    )


# -- zeros, failures, wrong input --------------------------------------------------------------------------------------


def test_rows_with_a_zero_are_mixed_with_the_uniform_and_no_others():
    rows = np.log(np.array([[0.5, 0.3, 0.2], [0.999998, 1e-6, 1e-6], [1e-12, 0.5, 0.5]]))
    zero = np.array([[0.0, -np.inf, -np.inf], [np.log(0.5), np.log(0.5), -np.inf]])
    found = posthoc.without_zeros(np.concatenate([rows, zero]), 0.03)
    np.testing.assert_array_equal(found[:3], rows)
    np.testing.assert_allclose(np.exp(found[3:]), [[0.98, 0.01, 0.01], [0.495, 0.495, 0.01]])
    with pytest.raises(InputError, match=r"2 distributions hold a probability of zero.*floor"):
        posthoc.without_zeros(zero, 0.0)
    assert posthoc.without_zeros(rows, 0.0) is rows


@pytest.mark.parametrize("kind", KINDS)
def test_written_answers_get_the_confidence_that_they_deserve(kind):
    rng = np.random.default_rng(0)
    said = rng.integers(0, 3, 600)
    right = rng.random(600) < 0.7
    target = np.eye(3)[np.where(right, said, (said + 1) % 3)]
    with np.errstate(divide="ignore"):
        answers = np.log(np.eye(3)[said])
    found = np.exp(calibrated(kind, answers, target))
    np.testing.assert_allclose(found[np.arange(600), said].mean(), right.mean(), atol=0.01)
    if kind == "matrix":  # the wrong answers are always for the next label's sake
        np.testing.assert_allclose(found[np.arange(600), (said + 1) % 3].mean(), 1 - right.mean(), atol=0.02)


@pytest.mark.parametrize("kind", KINDS)
def test_clips_without_a_distribution_take_no_part_and_get_none(kind):
    log_probs, target = clips(number=60)
    gaps = log_probs.copy()
    gaps[::3] = np.nan
    fitted = FITS[kind](gaps, target)
    there = ~np.isnan(gaps).any(axis=1)
    alone = FITS[kind](log_probs[there], target[there])
    np.testing.assert_array_equal(fitted.weight, alone.weight)
    found = posthoc.apply(fitted, gaps)
    np.testing.assert_array_equal(np.isnan(found).all(axis=1), ~there)
    np.testing.assert_array_equal(found[there], posthoc.apply(alone, log_probs[there]))


@pytest.mark.parametrize("kind", KINDS)
def test_what_cannot_be_fitted_on_is_refused(kind):
    fit = FITS[kind]
    log_probs, target = clips(number=8)
    fit(log_probs, target)
    gap = log_probs.copy()
    gap[0] = np.nan
    for rows in (log_probs[:7], gap):
        with pytest.raises(InputError, match=r"7 clips .* too few .* 4 labels .*at least 8"):
            fit(rows, target[: len(rows)])
    for wrong, message in (
        ((log_probs, target[:, :3]), "do not fit"),
        ((log_probs, target * 2), "not distributions"),
        ((log_probs, -target), "not distributions"),
        ((log_probs, np.full_like(target, np.nan)), "not distributions"),
        ((np.full_like(log_probs, np.inf), target), "infinite"),
    ):
        with pytest.raises(InputError, match=message):
            fit(*wrong)
    for option, value in (("l2", -1.0), ("l2", np.nan), ("floor", 1.0), ("floor", -0.1), ("l2", "much")):
        with pytest.raises(InputError, match=rf"is not a number .* \(field {option}\)"):
            fit(log_probs, target, **{option: value})


# -- prior matching ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [1.0, 7.0])
def test_a_prior_of_single_precision_or_of_counts_is_matched(scale):
    log_probs, _ = clips(number=100, labels=6)
    prior = np.random.default_rng(0).dirichlet(np.ones(6)).astype(np.float32)
    assert abs(prior.astype(np.float64).sum() - 1) > 1e-9
    found = prior_matching(log_probs, prior * np.float32(scale))
    exact = prior.astype(np.float64)
    np.testing.assert_allclose(np.exp(found).mean(axis=0), exact / exact.sum(), atol=2e-7)


@pytest.mark.parametrize("prior", [[0, 0, 0], [0.5, 0.5], [-0.1, 0.6, 0.5], [np.nan, 0.5, 0.5]])
def test_what_is_no_prior_is_refused(prior):
    with pytest.raises(InputError, match="no prior of 3 labels"):
        prior_matching(np.log(np.full((4, 3), 1 / 3)), np.array(prior))


def test_a_label_that_is_never_predicted_cannot_be_matched():
    with np.errstate(divide="ignore"):
        never = np.log(np.array([[0.5, 0.5, 0.0]] * 3))
    with pytest.raises(EmoprobeError, match="no probability in any prediction"):
        prior_matching(never, np.full(3, 1 / 3))
