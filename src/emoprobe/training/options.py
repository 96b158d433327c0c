"""How a reader is fitted, and which trained one is read. Needs no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Literal

from annotated_types import MinLen

from emoprobe.errors import InputError
from emoprobe.metrics.functional import METRICS
from emoprobe.options import (
    Count,
    NotNegative,
    OneOf,
    Positive,
    ShareBelowOne,
    Words,
    check,
    options,
)
from emoprobe.training.heads.base import HEADS

Metric = Literal["loss"] | Annotated[str, OneOf(METRICS)]


@options("fit")
class FitOptions:
    """How a reader is fitted.

    Args:
        max_epochs: Most epochs.
        batch_size: Utterances per step, over all processes.
        learning_rate: Of AdamW.
        weight_decay: Of AdamW.
        schedule: ``cosine`` (to zero over ``max_epochs``), ``linear`` (likewise) or ``constant``.
        warmup: Share of all steps in which the learning rate rises from zero.
        patience: Epochs without a better development score before fitting stops.
        monitor: The development metric, or ``loss``.
        gradient_clip: Largest gradient norm; 0 for none.
        accumulate: Batches per optimiser step.
        l2: Penalty ``l2 / 2`` times the sum of squares of all weight matrices, added to the loss. Unlike the decoupled
            ``weight_decay`` it is scaled by AdamW as the loss is, and holds a probe on thousands of features back.
        checkpoint_seconds: Least time between two checkpoints to resume from.
        max_clips: Most clips that a head is trained on, and as many at most to choose its epoch by; all where it is
            None. Which ones depends on the run's seed; those of a smaller number are among those of a larger one.
    """

    max_epochs: Count = 100
    batch_size: Count = 64
    learning_rate: Positive = 1e-3
    weight_decay: NotNegative = 1e-2
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    warmup: ShareBelowOne = 0.0
    patience: Count = 15
    monitor: Metric = "js_divergence"
    gradient_clip: NotNegative = 1.0
    accumulate: Count = 1
    l2: NotNegative = 0.0
    checkpoint_seconds: NotNegative = 30.0
    max_clips: Count | None = None

    def factor(self, step: int, steps: float) -> float:
        """Learning rate of a step, as a share of the highest."""
        rise = self.warmup * steps
        if step < rise:
            return (step + 1) / (rise + 1)
        if self.schedule == "constant":
            return 1.0
        done = (step - rise) / max(1.0, steps - rise)
        return 1 - done if self.schedule == "linear" else (1 + math.cos(math.pi * done)) / 2


@options("head")
class BundleOptions:
    """A trained head or adapter, read beside the zero-shot readouts.

    Args:
        name: ``bundle``.
        path: A head folder of a training run.
        seen: What becomes of clips and speakers that it was trained on: ``leave_out``, or ``evaluate``.
    """

    name: Literal["bundle"]
    path: Annotated[str, MinLen(1), Words("the head folder of a training run, such as RUN_DIR/head_fold0")]
    seen: Literal["leave_out", "evaluate"] = "leave_out"


def bundle_options(config: object) -> BundleOptions:
    """The trained head that a config of a probe names.

    Raises:
        InputError: It names a head that is to be trained, or a value is wrong.
    """
    name = config.get("name") if isinstance(config, Mapping) else None
    if isinstance(name, str) and name in HEADS:
        raise InputError(
            f"emoprobe probe trains nothing, and {name!r} is a head to be trained",
            field="head",
            remedy="Use emoprobe train, then emoprobe probe head=bundle head.path=RUN_DIR/head_fold0.",
        )
    return check(BundleOptions, config)
