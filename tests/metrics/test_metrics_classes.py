"""What the torchmetrics classes add: states, contract attributes, the collection."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
import torch

from emoprobe.errors import InputError
from emoprobe.metrics import classes
from emoprobe.metrics.classes import metric_classes, metric_collection
from emoprobe.metrics.functional import METRICS, evaluate, metrics_of

each_class = pytest.mark.parametrize("cls", metric_classes(), ids=lambda cls: cls.__name__)


def tensors(case):
    return tuple(torch.from_numpy(array) for array in (case.pred, case.target, case.votes))


def test_there_is_one_class_for_each_metric_in_the_order_of_the_table():
    assert [cls.definition.name for cls in metric_classes()] == list(METRICS)


@each_class
def test_class_states_the_contract_of_the_table(cls):
    metric, definition = cls(), METRICS[cls.definition.name]
    assert metric.higher_is_better is definition.higher_is_better
    assert metric.is_differentiable is definition.is_differentiable
    assert metric.full_state_update is False
    for bound, attribute in ((definition.lower, metric.plot_lower_bound), (definition.upper, metric.plot_upper_bound)):
        assert attribute == (bound if math.isfinite(bound) else None)


@each_class
def test_forward_gives_the_batch_and_compute_gives_everything(cls, make):
    pred, target, votes = tensors(make(1, 20, 4))
    votes = (votes,) if cls.definition.needs_votes else ()
    metric = cls()
    for part in (slice(0, 8), slice(8, 20)):
        batch = [values[part] for values in (pred, target, *votes)]
        np.testing.assert_allclose(metric(*batch), cls.definition(*batch), atol=1e-12)
    np.testing.assert_allclose(metric.compute(), cls.definition(pred, target, *votes), atol=1e-12)
    metric.reset()
    metric.update(pred[:3], target[:3])
    np.testing.assert_allclose(metric.compute(), cls.definition(pred[:3], target[:3]), atol=1e-12)


@each_class
@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_compute_before_update_is_an_error_that_names_the_metric(cls):
    with pytest.raises(InputError, match=cls.definition.name):
        cls().compute()


@each_class
def test_bad_batch_is_an_error_and_leaves_the_metric_as_it_was(cls, make):
    pred, target, _ = tensors(make(2, 10, 4))
    metric = cls()
    metric.update(pred, target)
    with pytest.raises(InputError, match="not to one"):
        metric.update(pred * 2, target)
    np.testing.assert_allclose(metric.compute(), cls.definition(pred, target), atol=1e-12)


@each_class
def test_class_survives_a_copy_to_another_process(cls, make):
    pred, target, _ = tensors(make(3, 10, 4))
    metric = cls()
    metric.update(pred, target)
    np.testing.assert_allclose(pickle.loads(pickle.dumps(metric)).compute(), metric.compute())


def test_collection_equals_evaluate_over_all_batches(make):
    case = make(4, 50, 6)
    pred, target, votes = tensors(case)
    collection = metric_collection()
    for part in torch.arange(50).split(7):
        collection.update(pred[part], target[part], votes=votes[part])
    values, expected = collection.compute(), evaluate(case.pred, case.target, case.votes)
    assert set(values) == set(metrics_of())
    for name, value in values.items():
        assert value.item() == pytest.approx(expected[name], abs=1e-12, nan_ok=True), name


def test_collection_keeps_metrics_apart_that_were_equal_after_the_first_batch(make):
    case = make(5, 20, 4)
    pred, target, _ = tensors(case)
    collection = metric_collection()
    collection.update(target[:5], target[:5])  # a perfect batch: every distance is zero
    collection.update(pred, target)
    expected = evaluate(np.concatenate([case.target[:5], case.pred]), np.concatenate([case.target[:5], case.target]))
    for name, value in collection.compute().items():
        assert value.item() == pytest.approx(expected[name], abs=1e-12), name


def test_update_does_not_keep_the_graph_of_the_model(make):
    pred, target, _ = tensors(make(6, 10, 4))
    pred.requires_grad_()
    for cls in (classes.JSDivergence, classes.R2PerClass, classes.VoteNLL):
        metric = cls()
        metric.update(pred, target)
        assert not metric.compute().requires_grad
