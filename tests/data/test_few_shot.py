"""A few training clips: nested, in the labels' shares, by seed and id alone."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from emoprobe.data.few_shot import few_clips, first_clips
from emoprobe.data.splits import Split
from emoprobe.errors import InputError

SIZE = 600
SHARES = np.random.default_rng(0).dirichlet([3.0, 1.5, 0.5], SIZE)


def clips(shares=SHARES, prefix="u") -> tuple:
    made = (
        SimpleNamespace(utterance=SimpleNamespace(id=f"{prefix}{i:04d}"), target=SimpleNamespace(distribution=row))
        for i, row in enumerate(shares)
    )
    return tuple(made)


ITEMS = clips()


def ids(items) -> list[str]:
    return [item.utterance.id for item in items]


def test_smaller_draws_are_inside_larger_ones_and_other_seeds_draw_others():
    draws = {n: set(ids(first_clips(ITEMS, n, 0))) for n in (8, 32, 128, 512)}
    assert [len(found) for found in draws.values()] == [8, 32, 128, 512]
    assert draws[8] < draws[32] < draws[128] < draws[512]
    assert draws[32] != set(ids(first_clips(ITEMS, 32, 1)))
    assert first_clips(ITEMS, SIZE + 1, 0) == ITEMS


def test_a_draw_depends_on_no_order_and_keeps_the_given_one():
    assert set(ids(first_clips(ITEMS[::-1], 40, 3))) == set(ids(first_clips(ITEMS, 40, 3)))
    assert ids(first_clips(ITEMS, 40, 3)) == sorted(ids(first_clips(ITEMS, 40, 3)))


def test_the_labels_keep_their_shares():
    """Of single labels to one clip; of soft ones nearer to all clips' than a plain draw."""
    hard = np.eye(3)[np.random.default_rng(1).choice(3, SIZE, p=[0.6, 0.3, 0.1])]
    for seed in range(5):
        found = sum(item.target.distribution for item in first_clips(clips(hard), 40, seed))
        assert found == pytest.approx(hard.mean(axis=0) * 40, abs=1.01)
    rng = np.random.default_rng(2)
    soft = rng.dirichlet([0.6, 0.3, 0.1], SIZE)

    def error(drawn) -> float:
        return float(np.mean([((soft[rows].mean(axis=0) - soft.mean(axis=0)) ** 2).sum() for rows in drawn]))

    ours = [[int(name[1:]) for name in ids(first_clips(clips(soft), 32, seed))] for seed in range(40)]
    assert error(ours) < 0.6 * error([rng.choice(SIZE, 32, replace=False) for _ in range(400)])


def test_every_clip_is_drawn_as_often():
    often = np.zeros(SIZE)
    for seed in range(100):
        often[[int(name[1:]) for name in ids(first_clips(ITEMS, 60, seed))]] += 1
    assert often.mean() == pytest.approx(10)
    assert often.std() == pytest.approx(np.sqrt(100 * 0.1 * 0.9), rel=0.15)  # binomial: none is preferred


def test_only_training_and_development_are_cut():
    split = Split(ITEMS[:300], ITEMS[300:400], ITEMS[400:], fold=2)
    cut = few_clips(split, 16, 0)
    assert [len(part) for part in (cut.train, cut.development, cut.test)] == [16, 16, 200]
    assert cut.fold == 2
    assert few_clips(split, None, 0) is split
    same = Split(clips(np.eye(3)[[0] * 20]), ITEMS[300:400], ITEMS[400:])
    with pytest.raises(InputError, match="nothing to learn"):
        few_clips(same, 8, 0)
