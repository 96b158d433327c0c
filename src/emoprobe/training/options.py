"""What can be said of a training: how it is fitted, what it minimises, what is trained. Needs no torch."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal

from annotated_types import MinLen
from pydantic import AfterValidator

from emoprobe.errors import InputError
from emoprobe.metrics.functional import METRICS
from emoprobe.options import (
    Count,
    Distinct,
    NotNegative,
    OneOf,
    Positive,
    Several,
    ShareBelowOne,
    Words,
    check,
    options,
)


def _expression(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{pattern!r} is no regular expression: {error}") from error
    return pattern


Metric = Literal["loss"] | Annotated[str, OneOf(METRICS)]
Layer = int | Literal["first", "middle", "last"]
Layers = Annotated[
    Literal["all"] | Layer | Annotated[Several[Layer], MinLen(1)],
    Words("all, a layer, or a list of layers: numbers, -1 for the last, or first, middle, last"),
]
Kinds = Distinct[Literal["mean", "std", "max"]]
Expression = Annotated[str, AfterValidator(_expression)]


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

    def factor(self, step: int, steps: int) -> float:
        """Learning rate of a step, as a share of the highest."""
        rise = self.warmup * steps
        if step < rise:
            return (step + 1) / (rise + 1)
        if self.schedule == "constant":
            return 1.0
        done = (step - rise) / max(1.0, steps - rise)
        return 1 - done if self.schedule == "linear" else (1 + math.cos(math.pi * done)) / 2


@options("loss")
class LossOptions:
    """What is minimised; see `emoprobe.training.losses.Loss`.

    Args:
        name: A key of `emoprobe.training.losses.LOSSES`.
        temperature: The target becomes ``t_k^(1/temperature)``, normalised: below 1 sharper, above 1 flatter over the
            labels that have votes. The prediction is not touched.
        label_smoothing: The target (of ``hard_ce``: the top vote) becomes ``(1 - s) t_k + s / K``, as in torch. The
            0.05 of EMO-SUPERB, which leaves a one-hot label 0.95, is ``s = 0.05 K / (K - 1)`` here.
        class_balance: Weigh an utterance by ``sum_k t_k / prior_k``, the prior being the mean training target.
        rater_weight: Weigh an utterance by the number of its votes (``count``), its root (``sqrt``) or not (``none``).
        regulariser: Weight of the second term of ``dirichlet``; the other losses have none.
        ordered: The labels stand in a meaningful order, which ``emd`` needs.

    Raises:
        InputError: A value is wrong, or does not fit the loss.
    """

    name: Literal["soft_kl", "soft_ce", "js", "hard_ce", "emd", "dirichlet"] = "soft_kl"
    temperature: Positive = 1.0
    label_smoothing: ShareBelowOne = 0.0
    class_balance: bool = False
    rater_weight: Literal["none", "count", "sqrt"] = "none"
    regulariser: NotNegative = 0.05
    ordered: bool = False

    def __post_init__(self) -> None:
        if self.name == "emd" and not self.ordered:
            raise InputError(
                "the earth mover's distance needs labels in a meaningful order",
                field="loss.name",
                remedy="Set loss.ordered=true if the labels are levels of one scale; else choose another loss.",
            )
        if self.name in ("hard_ce", "dirichlet") and self.temperature != 1:
            raise InputError(
                f"a target temperature has no effect on {self.name}",
                field="loss.temperature",
                remedy="Leave it at 1.",
            )
        if self.name == "dirichlet" and self.label_smoothing:
            raise InputError(
                "vote counts are not smoothed", field="loss.label_smoothing", remedy="Leave it at 0 for dirichlet."
            )

    @property
    def of_head(self) -> Literal["log_probs", "concentration"]:
        """Which field of a head's output the loss is computed from."""
        return "concentration" if self.name == "dirichlet" else "log_probs"

    @property
    def needs_votes(self) -> bool:
        """Whether vote counts are needed beside the target."""
        return self.name == "dirichlet" or self.rater_weight != "none"


@options("head")
class LinearProbeOptions:
    """One linear layer on states of the frozen SFM.

    Args:
        name: ``linear_probe``.
        source: ``encoder``, or ``decoder``: the state at the prompt's answer position.
        pooling: ``stats`` of the layers' frames, or ``attentive``: learned weights over the frames.
        layers: Numbers (0 is the input of the first layer, -1 the last), ``first``, ``middle``, ``last`` or ``all``.
        kinds: Statistics over an encoder's frames.
        combine: Layers side by side (``concat``), or averaged with a learned weight each (``weighted``).
        members: Heads trained with seeds of their own whose probabilities are averaged.
        attention: Hidden size of attentive pooling.
    """

    name: Literal["linear_probe", "mlp_probe"]
    source: Literal["encoder", "decoder"]
    pooling: Literal["stats", "attentive"] = "stats"
    layers: Layers = "all"
    kinds: Kinds = ()
    combine: Literal["concat", "weighted"] = "concat"
    members: Count = 1
    attention: Count = 128

    def __post_init__(self) -> None:
        if self.source == "decoder" and self.pooling == "attentive":
            raise InputError(
                "there are no frames to attend to at the decoder's answer position",
                field="head.pooling",
                remedy="Use head.source=encoder, or head.pooling=stats.",
            )
        if self.source == "encoder" and self.pooling == "stats" and not self.kinds:
            raise InputError(
                "no statistic of the frames is named", field="head.kinds", remedy="Give some of mean, std, max."
            )


@options("head")
class MLPProbeOptions(LinearProbeOptions):
    """A small network on the same states.

    Args:
        hidden: Units of each hidden layer.
        depth: Number of hidden layers.
        dropout: Share of hidden units dropped in training.
        activation: ``gelu`` or ``relu``.
        layer_norm: Normalise each hidden layer before its activation.
    """

    hidden: Count = 256
    depth: Count = 1
    dropout: ShareBelowOne = 0.3
    activation: Literal["gelu", "relu"] = "gelu"
    layer_norm: bool = False


@options("head")
class LoraOptions:
    """Adapters in the SFM, read through the label likelihoods of the prompt.

    Args:
        name: ``lora``.
        part: Where modules are adapted; a frozen encoder hears every clip only once.
        target_modules: Regular expression that is found in the names of the adapted linear modules.
        rank: Of the adapters.
        alpha: Their scale.
        dropout: Share of an adapter's inputs dropped in training.
        rslora: Scale by the root of the rank (arXiv 2312.03732).
        dora: Adapt direction and magnitude apart (arXiv 2402.09353).
        gradient_checkpointing: Compute activations twice rather than keep them.
        cache_sound: Keep a frozen encoder's output on disk.
        sound_dtype: In which precision.
        members: As of `LinearProbeOptions`.
    """

    name: Literal["lora", "lora_probe"]
    part: Literal["decoder", "encoder", "all"]
    target_modules: Expression
    rank: Count
    alpha: Positive
    dropout: ShareBelowOne = 0.0
    rslora: bool = False
    dora: bool = False
    gradient_checkpointing: bool = False
    cache_sound: bool = True
    sound_dtype: Literal["float32", "float16"] = "float32"
    members: Count = 1


@options("head")
class LoraProbeOptions(LoraOptions):
    """Adapters in the SFM and a linear head, trained together.

    Args:
        source: As of `LinearProbeOptions`.
        layers: Of the encoder, as there.
        kinds: Of the encoder, as there.
    """

    source: Literal["encoder", "decoder"] = "decoder"
    layers: Layers = (-1,)
    kinds: Kinds = ("mean", "std")


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


HEADS: Mapping[str, type] = MappingProxyType(
    {
        "linear_probe": LinearProbeOptions,
        "mlp_probe": MLPProbeOptions,
        "lora": LoraOptions,
        "lora_probe": LoraProbeOptions,
    }
)
"""What can be said of each head that can be trained, by its name."""


def head_options(config: object) -> Any:
    """The options of the head that a config names.

    Raises:
        InputError: There is no such head, or a value is wrong.
    """
    if not isinstance(config, Mapping) or config.get("name") not in HEADS:
        given = config.get("name") if isinstance(config, Mapping) else config
        raise InputError(f"{given!r} cannot be trained", field="head.name", remedy=f"Use one of {', '.join(HEADS)}.")
    return check(HEADS[config["name"]], config)


def bundle_options(config: object) -> BundleOptions:
    """The trained head that a config of a probe names.

    Raises:
        InputError: It names a head that is to be trained, or a value is wrong.
    """
    if isinstance(config, Mapping) and config.get("name") in HEADS:
        raise InputError(
            f"emoprobe probe trains nothing, and {config['name']!r} is a head to be trained",
            field="head",
            remedy="Use emoprobe train, then emoprobe probe head=bundle head.path=RUN_DIR/head_fold0.",
        )
    return check(BundleOptions, config)
