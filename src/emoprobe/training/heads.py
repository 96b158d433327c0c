"""Heads that read an emotion distribution out of frozen features.

A batch is a mapping with one of

* ``stats``: statistics pooled over time, float32 ``[batch, layers, kinds, width]``, the kinds being for
  instance mean, std and max;
* ``frames``: features over time, float32 ``[batch, layers, time, width]``, with ``lengths``, the number of valid
  frames, integer ``[batch]``. What stands after them never matters.

Features are standardised one by one, the layers are combined, time is pooled where it is left, and a linear probe
or a small network gives the distribution. Weights start from torch's global generator: seed it before building.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor, nn

from emoprobe.errors import InputError

Batch = Mapping[str, Tensor]

POOLINGS = ("stats", "attentive")
COMBINE = ("concat", "weighted")
OUTPUTS = ("log_probs", "dirichlet")
ACTIVATIONS: Mapping[str, Callable[[], nn.Module]] = MappingProxyType({"gelu": nn.GELU, "relu": nn.ReLU})


class Standardise(nn.Module):
    """Each feature minus its training mean, divided by its training standard deviation (population, as scikit-learn).

    A feature that is constant in training has the scale infinity and becomes 0, whatever it is later. Before
    :meth:`fit` nothing is changed.

    Args:
        shape: Shape of one observation, that of the buffers ``mean`` and ``scale``; an axis of 1 stands for any size.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("scale", torch.ones(shape))

    @torch.no_grad()
    def fit(self, batches: Iterable[Tensor]) -> None:
        """Set mean and scale from the training features, read once, batch by batch.

        Args:
            batches: Observations, ``[observations, *shape]`` each.

        Raises:
            InputError: There are no observations.
        """
        number, mean, squares = 0, torch.zeros_like(self.mean, dtype=torch.float64), 0.0
        for batch in batches:
            if not len(batch):
                continue
            # Chan et al. 1979: merged deviations from the means; sums of squares would cancel.
            batch = batch.to(mean)
            batch_mean = batch.mean(dim=0)
            total, step = number + len(batch), batch_mean - mean
            squares = squares + (batch - batch_mean).square().sum(dim=0) + step.square() * (number * len(batch) / total)
            mean, number = mean + step * (len(batch) / total), total
        if not number:
            raise InputError("there are no features to standardise by", remedy="Give at least one training utterance.")
        scale = (squares / number).sqrt()
        # A constant leaves a residue of rounding, far below the last digit of the float32 features.
        constant = scale <= 1e-9 * mean.abs()
        self.mean.copy_(mean)
        self.scale.copy_(scale.masked_fill(constant, math.inf))

    def forward(self, features: Tensor) -> Tensor:
        """Standardised features of the same shape.

        Args:
            features: ``[batch, *shape]``.
        """
        return (features.to(self.mean.dtype) - self.mean) / self.scale


class LayerMix(nn.Module):
    """Learned average of layers with one weight each, softmax of free numbers that start equal (SUPERB, 2105.01051).

    Args:
        layers: Number of layers.
    """

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(layers))

    @property
    def weights(self) -> Tensor:
        """Weights of the layers, sum 1, ``[layers]``."""
        return self.logits.softmax(dim=0)

    def forward(self, features: Tensor) -> Tensor:
        """The average, ``[batch, ...]``.

        Args:
            features: ``[batch, layers, ...]``.
        """
        return torch.tensordot(features, self.weights, dims=([1], [0]))


class AttentivePooling(nn.Module):
    """Attentive statistics pooling: weighted mean and standard deviation over time (Okabe et al. 2018, 1803.10963).

    ``e_t = v . tanh(W h_t + b)``, weights ``softmax_t(e)`` over the valid frames. (Their constant
    added to e cancels.)

    Args:
        width: Features per frame.
        hidden: Rows of W.
    """

    def __init__(self, width: int, hidden: int = 128) -> None:
        super().__init__()
        self.score = nn.Sequential(nn.Linear(width, hidden), nn.Tanh(), nn.Linear(hidden, 1, bias=False))

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """Means, then standard deviations, ``[batch, 2 * width]``; NaN for an utterance without frames.

        Args:
            frames: ``[batch, time, width]``.
            lengths: Valid frames of each utterance, 1 to time, ``[batch]``.
        """
        valid = valid_frames(frames.shape[1], lengths).unsqueeze(-1)
        # Padding may hold anything, and 0 times NaN is NaN.
        frames = frames.masked_fill(~valid, 0)
        weights = self.score(frames).masked_fill(~valid, -math.inf).softmax(dim=1)
        mean = (weights * frames).sum(dim=1)
        variance = (weights * (frames - mean.unsqueeze(1)).square()).sum(dim=1)
        # The root has no gradient at 0, where a single frame puts it.
        return torch.cat([mean, variance.clamp(min=1e-12).sqrt()], dim=-1)


class FeatureReader(nn.Module):
    """From a batch to one vector per utterance: standardise, combine layers, pool time.

    Args:
        layers: Layers in a batch.
        kinds: Statistics per layer; not used by attentive pooling.
        width: Features per layer.
        pooling: ``stats``, or ``attentive`` for ``frames``.
        combine: ``concat`` puts the layers side by side, ``weighted`` averages them by :class:`LayerMix`; both before
            time is pooled.
        attention: Hidden size of attentive pooling.

    Raises:
        InputError: An option is unknown or out of range.
    """

    def __init__(
        self,
        layers: int,
        kinds: int,
        width: int,
        *,
        pooling: str = "stats",
        combine: str = "concat",
        attention: int = 128,
    ) -> None:
        super().__init__()
        _check_choice(pooling, POOLINGS, field="head.pooling")
        _check_choice(combine, COMBINE, field="head.combine")
        _check_count(attention, field="head.attention")
        self.layers, self.kinds, self.width = layers, kinds, width
        blocks = 1 if combine == "weighted" else layers
        self.mix = LayerMix(layers) if combine == "weighted" else None
        if pooling == "attentive":
            self.standardise = Standardise(layers, 1, width)
            self.pool = AttentivePooling(blocks * width, attention)
            self.out_features = 2 * blocks * width
        else:
            self.standardise = Standardise(layers, kinds, width)
            self.pool = None
            self.out_features = blocks * kinds * width

    def fit(self, batches: Iterable[Batch]) -> None:
        """Standardise by the training features, read once, batch by batch; padding does not count.

        Args:
            batches: Batches as :meth:`forward` takes them.

        Raises:
            InputError: The features are missing, none, or not those that the head was built for.
        """
        self.standardise.fit(self._observations(batch) for batch in batches)

    def _observations(self, batch: Batch) -> Tensor:
        self._check(batch)
        if self.pool is None:
            return batch["stats"]
        frames = batch["frames"].transpose(1, 2)
        return frames[valid_frames(frames.shape[1], batch["lengths"])].unsqueeze(2)

    def forward(self, batch: Batch) -> Tensor:
        """One vector per utterance, ``[batch, out_features]``.

        Raises:
            InputError: The batch lacks the features or has others than the head was built for.
        """
        self._check(batch)
        if self.pool is None:
            stats = self.standardise(batch["stats"])
            return (stats if self.mix is None else self.mix(stats)).flatten(start_dim=1)
        frames = self.standardise(batch["frames"])
        frames = frames.transpose(1, 2).flatten(start_dim=2) if self.mix is None else self.mix(frames)
        return self.pool(frames, batch["lengths"])

    def _check(self, batch: Batch) -> None:
        needed = ("stats",) if self.pool is None else ("frames", "lengths")
        for key in needed:
            if key not in batch:
                raise InputError(
                    f"the batch has no {key!r}, only {sorted(batch)}",
                    field="head.pooling",
                    remedy="Use pooling `stats` for pooled statistics, `attentive` for frames with their lengths.",
                )
        features = batch[needed[0]]
        expected = [self.layers, self.kinds if self.pool is None else "time", self.width]
        wrong = features.ndim != 4 or any(
            size != want for size, want in zip(features.shape[1:], expected, strict=True) if want != "time"
        )
        if wrong:
            raise InputError(
                f"the features have the shape {list(features.shape)}, not [batch, {', '.join(map(str, expected))}]",
                field=needed[0],
                remedy="Give the layers and statistics that the head was built for.",
            )


class Head(nn.Module):
    """Features to a distribution over labels.

    Args:
        features: Gives one vector per utterance.
        body: From that vector to one number per label, ``[batch, labels]``.
        output: ``log_probs`` for a softmax of these numbers; ``dirichlet`` for the concentration ``1 + softplus(.)``.

    Raises:
        InputError: The output is unknown.
    """

    def __init__(self, features: FeatureReader, body: nn.Module, output: str = "log_probs") -> None:
        super().__init__()
        _check_choice(output, OUTPUTS, field="head.output")
        self.features, self.body, self.output = features, body, output

    def fit(self, batches: Iterable[Batch]) -> None:
        """Set the standardisation (the weights are an optimiser's work); see :meth:`FeatureReader.fit`."""
        self.features.fit(batches)

    def forward(self, batch: Batch) -> Tensor:
        """Log-probabilities of the labels (natural logarithm), of a Dirichlet its mean's, ``[batch, labels]``.

        Raises:
            InputError: The batch lacks the features or has others than the head was built for.
        """
        if self.output == "dirichlet":
            return dirichlet_mean(self.concentration(batch))
        # In at least float32, also where mixed precision computes the body in half precision.
        return _full(self.body(self.features(batch))).log_softmax(dim=-1)

    def concentration(self, batch: Batch) -> Tensor:
        """Parameters of the Dirichlet, at least 1, ``[batch, labels]``.

        Raises:
            InputError: The head has no Dirichlet output, or the batch is wrong as in :meth:`forward`.
        """
        if self.output != "dirichlet":
            raise InputError(
                f"a head with the output {self.output!r} has no concentration",
                field="head.output",
                remedy="Build it with output=dirichlet.",
            )
        return 1 + nn.functional.softplus(_full(self.body(self.features(batch))))


class LinearProbe(Head):
    """Multinomial logistic regression on the features; for the first arguments see :class:`FeatureReader`.

    Args:
        labels: Number of labels.
        output: ``log_probs`` or ``dirichlet``.
    """

    def __init__(
        self,
        layers: int,
        kinds: int,
        width: int,
        labels: int,
        *,
        pooling: str = "stats",
        combine: str = "concat",
        output: str = "log_probs",
        attention: int = 128,
    ) -> None:
        features = FeatureReader(layers, kinds, width, pooling=pooling, combine=combine, attention=attention)
        super().__init__(features, nn.Linear(features.out_features, labels), output)


class MLPProbe(Head):
    """A small network on the features; for the first arguments see :class:`FeatureReader`.

    Args:
        labels: Number of labels.
        output: ``log_probs`` or ``dirichlet``.
        hidden: Units of each hidden layer.
        dropout: Share of hidden units dropped in training, 0 to below 1.
        depth: Number of hidden layers.
        activation: ``gelu`` or ``relu``.
        layer_norm: Normalise each hidden layer before its activation.

    Raises:
        InputError: An option is unknown or out of range.
    """

    def __init__(
        self,
        layers: int,
        kinds: int,
        width: int,
        labels: int,
        *,
        pooling: str = "stats",
        combine: str = "concat",
        output: str = "log_probs",
        attention: int = 128,
        hidden: int = 256,
        dropout: float = 0.3,
        depth: int = 1,
        activation: str = "gelu",
        layer_norm: bool = False,
    ) -> None:
        _check_count(hidden, field="head.hidden")
        _check_count(depth, field="head.depth")
        _check_choice(activation, ACTIVATIONS, field="head.activation")
        if not 0 <= dropout < 1:
            raise InputError(
                f"the dropout is {dropout}", field="head.dropout", remedy="Give a number from 0 to below 1."
            )
        features = FeatureReader(layers, kinds, width, pooling=pooling, combine=combine, attention=attention)
        blocks: list[nn.Module] = []
        for size in [features.out_features, *[hidden] * (depth - 1)]:
            blocks += [nn.Linear(size, hidden), *([nn.LayerNorm(hidden)] if layer_norm else [])]
            blocks += [ACTIVATIONS[activation](), nn.Dropout(dropout)]
        super().__init__(features, nn.Sequential(*blocks, nn.Linear(hidden, labels)), output)


HEADS: Mapping[str, type[Head]] = MappingProxyType({"linear_probe": LinearProbe, "mlp_probe": MLPProbe})
"""Every head by the name that a config gives it."""


def make_head(config: Mapping[str, object], *, layers: int, kinds: int, width: int, num_labels: int) -> Head:
    """The head that a config describes, for features of the given shape.

    Args:
        config: ``name`` (a key of :data:`HEADS`) and the keyword-only arguments of that class.
        layers: Layers in a batch.
        kinds: Statistics per layer.
        width: Features per layer.
        num_labels: Number of labels.

    Raises:
        InputError: The name or an option is unknown, or a value does not fit.
    """
    name = config.get("name")
    _check_choice(name, HEADS, field="head.name")
    head = HEADS[name]
    parameters = inspect.signature(head).parameters.values()
    known = [parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY]
    options = {key: value for key, value in config.items() if key != "name"}
    for option in options:
        if option not in known:
            raise InputError(
                f"the head {name!r} has no option {option!r}",
                field=f"head.{option}",
                remedy=f"Its options are {known}.",
            )
    return head(layers, kinds, width, num_labels, **options)


def dirichlet_mean(concentration: Tensor) -> Tensor:
    """Log-probabilities of a Dirichlet's mean, ``[batch, labels]``.

    Args:
        concentration: Its parameters, ``[batch, labels]``.
    """
    return concentration.log() - concentration.sum(dim=-1, keepdim=True).log()


def _full(values: Tensor) -> Tensor:
    return values.float() if values.dtype in (torch.bfloat16, torch.float16) else values


def valid_frames(time: int, lengths: Tensor) -> Tensor:
    """Which frames are not padding, boolean ``[batch, time]``.

    Args:
        time: Frames in the batch.
        lengths: Valid frames of each utterance, ``[batch]``.
    """
    return torch.arange(time, device=lengths.device) < lengths.unsqueeze(-1)


def _check_choice(value: object, choices: Iterable[str], *, field: str) -> None:
    if value not in (known := list(choices)):
        raise InputError(f"{value!r} is unknown", field=field, remedy=f"Choose one of {known}.")


def _check_count(value: object, *, field: str) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InputError(f"{value!r} is not a whole number above 0", field=field, remedy="Give 1 or more.")
