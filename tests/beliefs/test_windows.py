"""Means over windows, against sums written out."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from scipy.special import log_softmax, logsumexp, softmax

from emoprobe.beliefs.distributions import Distributions, over_labels
from emoprobe.beliefs.reading import Reading
from emoprobe.beliefs.windows import arranged, mean_distributions, mean_scores, over_windows, starts
from emoprobe.errors import InputError

WINDOWS = [("b", 1, 2), ("a", None, None), ("b", 0, 2), ("c", 2, 3), ("c", 0, 3), ("c", 1, 3)]


def table(rows=WINDOWS) -> pa.Table:
    names, window, windows = zip(*rows, strict=True)
    place = list(range(len(rows)))
    return pa.table({"utterance_id": names, "window": window, "windows": windows, "place": place})


def test_rows_stand_by_clip_and_window():
    found = arranged(table(), ["c", "a", "b"], "here")
    assert found["place"].to_pylist() == [4, 5, 3, 1, 2, 0]
    assert starts(found).tolist() == [0, 3, 4]
    plain = table().drop_columns(["window", "windows"]).slice(1, 2)
    assert arranged(plain, ["b", "a"], "here")["place"].to_pylist() == [2, 1]
    assert starts(plain).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("rows", "says"), [(WINDOWS[1:], "every window of 'b'"), (WINDOWS[:3], "was not asked of 'c'")]
)
def test_what_is_missing_is_refused(rows, says):
    with pytest.raises(InputError, match=says):
        arranged(table(rows), ["a", "b", "c"], "here")


def test_distributions_are_averaged_and_failures_stay_failures():
    generator = np.random.default_rng(0)
    logs = log_softmax(generator.normal(0, 3, (7, 4)), axis=1)
    logs[5] = np.nan
    status = ("ok", "ok", "ok", "ok", "ok", "refused", "ok")
    mass, parsed = generator.uniform(0, 1, 7), generator.uniform(0, 1, 7)
    first = np.array([0, 1, 4, 6])  # 1, 3, 2 and 1 windows
    found = mean_distributions(Distributions(logs, status, mass, parsed), first)
    assert found.status == ("ok", "ok", "refused", "ok")
    np.testing.assert_array_equal(found.log_probs[[0, 3]], logs[[0, 6]])
    np.testing.assert_allclose(found.probs[1], np.exp(logs[1:4]).mean(axis=0), rtol=1e-12)
    assert np.isnan(found.log_probs[2]).all()
    np.testing.assert_allclose(found.label_mass, [mass[0], mass[1:4].mean(), mass[4:6].mean(), mass[6]])
    np.testing.assert_allclose(found.share_parsed, [parsed[0], parsed[1:4].mean(), parsed[4:6].mean(), parsed[6]])


def test_scores_of_forms_become_those_of_the_mean_distribution():
    scores = np.random.default_rng(1).normal(-40, 20, (5, 3))
    scores[3] -= 900  # sums that no float holds
    first = np.array([0, 2, 4])
    found = mean_scores(scores, first)
    np.testing.assert_array_equal(found[2], scores[4])
    for clip, rows in ((0, scores[:2]), (1, scores[2:4])):
        np.testing.assert_allclose(softmax(found[clip]), softmax(rows, axis=1).mean(axis=0), rtol=1e-9)
        total = logsumexp(logsumexp(rows, axis=1)) - np.log(2)
        assert logsumexp(found[clip]) == pytest.approx(total)


def test_a_reading_of_windows_is_one_of_clips():
    rows = arranged(table(), ["a", "b", "c"], "here")
    scores = np.random.default_rng(2).normal(size=(6, 2))

    def derive(some: pa.Table) -> Distributions:
        return over_labels(scores[: len(some)], ["x", "y"], ["x", "y"])

    reading = over_windows(
        Reading("v", derive, lambda some: scores[: len(some)], lambda some: list("pqrstu")[: len(some)])
    )
    assert reading.texts is not None
    assert reading.texts(rows) == ["p", "q\nr", "s\nt\nu"]
    expected = [softmax(scores[i:j], axis=1).mean(axis=0) for i, j in ((0, 1), (1, 3), (3, 6))]
    np.testing.assert_allclose(reading.derive(rows).probs, expected)
    nulls = rows.drop_columns(["window", "windows"]).slice(0, 4)
    assert len(reading.derive(nulls).status) == 4
