"""What all heads on features share: they read an emotion distribution out of frozen states.

A batch is a mapping with one of

* ``stats``: statistics pooled over time, float32 ``[batch, layers, kinds, width]``, the kinds being for
  instance mean, std and max;
* ``frames``: features over time, float32 ``[batch, layers, time, width]``, with ``lengths``, the number of valid
  frames, integer ``[batch]``. What stands after them never matters.

Features are standardised one by one, the layers are combined, time is pooled where it is left, and the body of a head
(`emoprobe.training.heads`) gives the distribution. Weights start from torch's global generator: seed it before
building.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from emoprobe.errors import InputError
from emoprobe.training.heads.base import ProbeHead

Batch = Mapping[str, Tensor]


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
        number, mean = 0, torch.zeros_like(self.mean, dtype=torch.float64)
        squares = torch.zeros_like(mean)
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


class Noise(nn.Module):
    """Gaussian noise on features in training: a penalty on how fast the output changes (Bishop 1995).

    Args:
        scale: Its standard deviation.
    """

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, features: Tensor) -> Tensor:
        """Features of the same shape; in evaluation as they are."""
        return features + self.scale * torch.randn_like(features) if self.training else features


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
        self.layers, self.kinds, self.width = layers, kinds, width
        blocks = 1 if combine == "weighted" else layers
        self.mix = LayerMix(layers) if combine == "weighted" else None
        self.pool: AttentivePooling | None = None
        if pooling == "attentive":
            self.standardise = Standardise(layers, 1, width)
            self.pool = AttentivePooling(blocks * width, attention)
            self.out_features = 2 * blocks * width
        else:
            self.standardise = Standardise(layers, kinds, width)
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
    """

    def __init__(self, features: FeatureReader, body: nn.Module, output: str = "log_probs") -> None:
        super().__init__()
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


def make_head(
    options: ProbeHead, *, layers: int, kinds: int, width: int, num_labels: int, output: str = "log_probs"
) -> Head:
    """The head that options describe, for features of the given shape.

    Args:
        options: One of `emoprobe.training.heads`.
        layers: Layers in a batch.
        kinds: Statistics per layer.
        width: Features per layer.
        num_labels: Number of labels.
        output: See `Head`.
    """
    features = FeatureReader(
        layers, kinds, width, pooling=options.pooling, combine=options.combine, attention=options.attention
    )
    return Head(features, options.body(features.out_features, num_labels), output)


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
