"""How the settings of a folder differ from those that a command gives now, one line each."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from emoprobe.options import shown

NEUTRAL = (
    *("output_dir", "logger", "num_workers", "batch_size", "eval_batch_size", "fit.checkpoint_seconds"),
    *("report", "analysis.figures", "resume", "ckpt", "retry", "keep_going", "optimize", "cache"),
    *("trainer.accelerator", "trainer.devices", "trainer.num_nodes", "trainer.strategy", "trainer.benchmark"),
    *("trainer.deterministic", "trainer.profiler", "trainer.detect_anomaly", "trainer.enable_progress_bar"),
    *("trainer.enable_model_summary", "trainer.log_every_n_steps", "model.device"),
)
"""Options on which no number depends, or none by more than rounding."""
ABSENT = object()


def differences(then: Mapping[str, Any], now: Mapping[str, Any], neutral: Collection[str] = NEUTRAL) -> list[str]:
    """Options whose values differ, each as ``option: 1 then, 2 now``; empty if the same is asked for.

    Args:
        then: Plain values without secrets, as JSON has given them back.
        now: Plain values without secrets.
        neutral: Options that may differ, with all below them.
    """
    before, after = dict(_leaves(then)), dict(_leaves(json.loads(json.dumps(now, default=str))))
    return [
        f"{name}: {_said(before.get(name, ABSENT))} then, {_said(after.get(name, ABSENT))} now"
        for name in dict.fromkeys([*before, *after])
        if before.get(name, ABSENT) != after.get(name, ABSENT) and not is_neutral(name, neutral)
    ]


def is_neutral(name: str, neutral: Collection[str] = NEUTRAL) -> bool:
    """Whether an option is one of these, or below one."""
    return any(f"{name}.".startswith(f"{option}.") for option in neutral)


def _leaves(value: Mapping[str, Any], where: str = "") -> Iterator[tuple[str, Any]]:
    for name, own in value.items():
        place = f"{where}.{name}" if where else str(name)
        if isinstance(own, Mapping) and own:
            yield from _leaves(own, place)
        elif own is not None:  # what is not told is null
            yield place, own


def _said(value: object) -> str:
    return "null" if value is ABSENT else shown(value)
