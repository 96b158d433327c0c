"""The names that Lightning's trainer takes are written out, so that they are checked before it is imported."""

from __future__ import annotations

from typing import get_args

from lightning.fabric import connector
from lightning.pytorch.accelerators import AcceleratorRegistry
from lightning.pytorch.strategies import StrategyRegistry

from emoprobe.training.arguments import ACCELERATORS, PRECISIONS, STRATEGIES


def test_every_accelerator_strategy_and_precision_of_lightning_is_known_and_no_other():
    assert set(ACCELERATORS) - {"auto", "gpu"} == set(AcceleratorRegistry.available_accelerators())
    assert set(STRATEGIES) - {"auto"} == set(StrategyRegistry.available_strategies())
    kinds = ("_PRECISION_INPUT_STR", "_PRECISION_INPUT_STR_ALIAS", "_PRECISION_INPUT_INT")
    assert set(PRECISIONS) == {name for kind in kinds for name in get_args(getattr(connector, kind))}
