"""Calibrations by hand, and options that are refused."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import log_softmax

from emoprobe.beliefs.calibrations.base import CALIBRATIONS, make_calibrations
from emoprobe.beliefs.calibrations.contextual import contextual
from emoprobe.beliefs.calibrations.pmi import pmi_forms
from emoprobe.beliefs.calibrations.prior_matching import prior_matching
from emoprobe.beliefs.distributions import pool_forms
from emoprobe.errors import EmoprobeError, InputError
from emoprobe.settings import compose, plain
from emoprobe.system.places import conf_folder

LABELS = ("angry", "sad")


def test_contextual_calibration_is_division_by_the_null_distribution():
    probs, null = np.array([[0.5, 0.3, 0.2]]), np.array([[0.6, 0.2, 0.2], [0.4, 0.4, 0.2]])
    expected = probs / null.mean(axis=0)
    np.testing.assert_allclose(np.exp(contextual(np.log(probs), null)), expected / expected.sum())


def test_pmi_subtracts_before_forms_are_pooled():
    scores, null = np.log([[0.2, 0.1, 0.1]]), np.log([[0.4, 0.1, 0.2]])
    pooled = pool_forms(pmi_forms(scores, null), ["angry", "sad", "sad"], list(LABELS))
    np.testing.assert_allclose(np.exp(pooled), [[0.5, 1.5]])


@pytest.mark.parametrize("prior", [[0.25] * 4, [0.7, 0.1, 0.15, 0.05], [0.5, 0.5, 0.0, 0.0]])
def test_prior_matching_meets_the_prior_with_one_constant_per_label(prior):
    rng = np.random.default_rng(0)
    log_probs = log_softmax(rng.normal(0, 3, (50, 4)), axis=1)
    matched = prior_matching(log_probs, np.array(prior))
    np.testing.assert_allclose(np.exp(matched).mean(axis=0), prior, atol=1e-8)
    possible = np.array(prior) > 0
    shift = (matched - log_probs)[:, possible]
    constants = shift - shift[:, :1]  # up to each row's own normalizer
    np.testing.assert_allclose(constants, np.broadcast_to(constants[0], constants.shape), atol=1e-9)


def test_prior_matching_leaves_failures_alone_and_refuses_the_impossible():
    log_probs = np.log([[0.5, 0.5], [0.9, 0.1]])
    with_failure = np.vstack([log_probs, [np.nan, np.nan]])
    matched = prior_matching(with_failure, np.array([0.5, 0.5]))
    np.testing.assert_allclose(matched[:2], prior_matching(log_probs, np.array([0.5, 0.5])))
    assert np.isnan(matched[2]).all()
    with np.errstate(divide="ignore"), pytest.raises(EmoprobeError, match="did not converge"):
        prior_matching(np.log([[1.0, 0.0], [1.0, 0.0]]), np.array([0.5, 0.5]))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "magic"}, r"'magic' is not one of contextual, .*none, .*vector \(field calibration.x.kind\)"),
        (
            {"kind": "contextual", "null": "music"},
            r"'music' is not one of silence, noise, no_audio.*calibration.x.null",
        ),
        ({"kind": "prior_matching", "prior": "mine"}, r"'mine' is not one of uniform, votes .*calibration.x.prior"),
        ({"kind": "prior_matching", "prior": "votes", "l2": 1.0}, r"no option 'l2' \(field calibration.x.l2\)"),
    ],
)
def test_calibrations_that_do_not_exist_are_refused(fields, message):
    with pytest.raises(InputError, match=message):
        make_calibrations({"x": fields})


def test_every_kind_has_a_file_of_its_name_and_a_config():
    names = [file.stem for file in (conf_folder() / "calibration").glob("*.yaml")]
    made = make_calibrations(plain(compose([f"calibration=[{','.join(sorted(names))}]"]).calibration))
    assert {type(one) for one in made} == set(CALIBRATIONS.values())
    for kind, part in CALIBRATIONS.items():
        assert part.__module__ == f"emoprobe.beliefs.calibrations.{kind}"
