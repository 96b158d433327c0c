"""What can be trained: each head is a file beside this one, an options class that says what is made of it.

Its fields are the options of a ``head`` config of its name. Torch is imported where a network is built, so that a wrong
option is refused before.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from annotated_types import MinLen

from emoprobe.data.sound.limits import AudioLimits
from emoprobe.errors import InputError
from emoprobe.options import Count, Distinct, Name, Several, Words, options
from emoprobe.registry import Registry, make_part

if TYPE_CHECKING:
    from torch import nn

Layer = int | Literal["first", "middle", "last"]
Layers = Annotated[
    Literal["all"] | Layer | Annotated[Several[Layer], MinLen(1)],
    Words("all, a layer, or a list of layers: numbers, -1 for the last, or first, middle, last"),
]
Kinds = Distinct[Literal["mean", "std", "max"]]


@options("head")
class Trainable(ABC):
    """Something to train: a subclass registers its name in `HEADS`.

    Args:
        name: Name of the head, the readout's in all tables.
        members: Readers trained with seeds of their own whose probabilities are averaged.

    Attributes:
        method: What makes readers of it, a name in `emoprobe.training.methods.base.METHODS`.
        windows: Whether a clip that is heard in windows can be averaged into what it reads.
    """

    method: ClassVar[str]
    windows: ClassVar[bool] = True

    name: Name
    members: Count = 1

    @property
    def asks(self) -> bool:
        """Whether the model is asked a prompt."""
        return True


@options("head")
class ProbeHead(Trainable):
    """A network on states of the frozen SFM; a subclass says which, in `body`.

    Args:
        source: ``encoder``, or ``decoder``: the state at the prompt's answer position.
        pooling: ``stats`` of the layers' frames, or ``attentive``: learned weights over the frames.
        layers: Numbers (0 is the input of the first layer, -1 the last), ``first``, ``middle``, ``last`` or ``all``.
        kinds: Statistics over an encoder's frames.
        combine: Layers side by side (``concat``), or averaged with a learned weight each (``weighted``).
        attention: Hidden size of attentive pooling.
        normalise_layers: Layer norm of every encoder state, without weights, before time is pooled; None where layers
            are averaged, whose scales differ by orders of magnitude in many encoders (as S3PRL can, arXiv 2105.01051).
    """

    method: ClassVar[str] = "probe"

    source: Literal["encoder", "decoder"] = "encoder"
    pooling: Literal["stats", "attentive"] = "stats"
    layers: Layers = "all"
    kinds: Kinds = ("mean",)
    combine: Literal["concat", "weighted"] = "concat"
    attention: Count = 128
    normalise_layers: bool | None = False  # as it was before there was a choice, for heads that do not say

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
        if self.source == "decoder" and self.normalise_layers:
            raise InputError(
                "only encoder states are normalised", field="head.normalise_layers", remedy="Leave it out."
            )

    @property
    def asks(self) -> bool:
        return self.source == "decoder"

    @property
    def normalised(self) -> bool:
        """Whether states are normalised."""
        if self.normalise_layers is None:
            return self.source == "encoder" and self.combine == "weighted"
        return self.normalise_layers

    @abstractmethod
    def body(self, features: int, labels: int) -> nn.Module:
        """From one vector per clip, ``[batch, features]``, to one number per label, ``[batch, labels]``."""


HEADS: Registry[type[Trainable]] = Registry("head", "emoprobe.training.heads")


def check_windows(head: Trainable, limits: AudioLimits) -> None:
    """Refuse to hear clips in windows where a head cannot average them.

    Raises:
        InputError: They are to be.
    """
    if limits.long_audio == "window" and not head.windows:
        raise InputError(
            f"{head.name} tunes the model, which hears a clip in one piece and not in windows",
            field="dataset.audio.long_audio",
            remedy="Use truncate or skip, or head=linear_probe, whose features are averaged over windows.",
        )


def head_options(config: object) -> Trainable:
    """The head that a config names.

    Raises:
        InputError: There is no such head, or a value is wrong.
    """
    return make_part(HEADS, config, "head")
