"""What is kept of a model's states, and the key of the cache: a hash of all that they depend on beside the sound."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from typing import Literal

import torch

from emoprobe.errors import InputError
from emoprobe.models.answering import Question
from emoprobe.models.base import SpeechFoundationModel
from emoprobe.models.identity import config_of, sample_of_weights
from emoprobe.system.digest import digest_of

FORMAT = 2  # of the files; part of the key
LIBRARIES = ("emoprobe", "torch", "transformers", "soundfile", "soxr")  # what a feature depends on beside the model
STATISTICS = {
    "mean": lambda states: states.mean(0),
    "std": lambda states: states.std(0, correction=0),
    "max": lambda states: states.amax(0),
}
STATE = "state"  # the one kind of a decoder's features: its state at the answer position
DTYPES = {"float32": torch.float32, "float16": torch.float16}


@dataclass(frozen=True)
class FeatureSpec:
    """What is kept of an SFM's states.

    Args:
        source: ``encoder``: states of the clip's own frames; ``decoder``: states at the answer position of a question;
            ``sound``: what the decoder is given of the clip (`SpeechFoundationModel.hear`).
        layers: Layers to keep, in this order; 0 is the input of the first layer. A sound has none.
        kinds: For pooled encoder states some of ``mean``, ``std`` (of the population) and ``max`` over the frames.
        frames: Keep the encoder's states frame by frame instead of pooling them.
        question: What the decoder is asked; its prefix is used, its continuations are not.
        normalised: Layer norm of every encoder state, without weights, before anything is pooled.
        dtype: Of storage, ``float32`` or ``float16``; by default float16 for frames and float32 otherwise.

    Raises:
        InputError: The options do not fit together.
    """

    source: Literal["encoder", "decoder", "sound"]
    layers: tuple[int, ...] = ()
    kinds: tuple[str, ...] = ()
    frames: bool = False
    question: Question | None = None
    dtype: Literal["float32", "float16"] | None = None
    normalised: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(self.layers))
        object.__setattr__(self, "kinds", tuple(self.kinds))
        object.__setattr__(self, "dtype", self.dtype or ("float16" if self.frames else "float32"))
        if self.source not in ("encoder", "decoder", "sound"):
            raise InputError(f"unknown source {self.source!r}", field="source", remedy="Use encoder, decoder or sound.")
        if self.dtype not in DTYPES:
            raise InputError(f"unknown dtype {self.dtype!r}", field="dtype", remedy=f"Use one of {', '.join(DTYPES)}.")
        if self.normalised and self.source != "encoder":
            raise InputError("only encoder states are normalised", field="normalised", remedy="Use source=encoder.")
        if self.source == "sound":
            if self.layers or self.kinds or self.frames or self.question is not None:
                raise InputError(
                    "what the decoder hears has neither layers, kinds, frames nor question", field="source"
                )
            return
        whole = all(isinstance(layer, int) and not isinstance(layer, bool) and layer >= 0 for layer in self.layers)
        if not self.layers or not whole or len(set(self.layers)) < len(self.layers):
            raise InputError(
                f"{list(self.layers)} are not layers", field="layers", remedy="Give each once, as a number from 0 on."
            )
        unknown = [kind for kind in self.kinds if kind not in STATISTICS]
        if unknown or len(set(self.kinds)) < len(self.kinds):
            raise InputError(
                f"{list(self.kinds)} are not statistics", field="kinds", remedy=f"Use some of {', '.join(STATISTICS)}."
            )
        if self.source == "encoder" and (bool(self.kinds) == self.frames or self.question is not None):
            raise InputError(
                "encoder features take either kinds or frames, and no question",
                field="kinds",
                remedy="Give for example kinds=[mean, std], or frames=true.",
            )
        if self.source == "decoder" and (self.kinds or self.frames or self.question is None):
            raise InputError(
                "decoder features take a question, and neither kinds nor frames",
                field="question",
                remedy="Leave kinds and frames out: the state at the answer position is kept as it is.",
            )

    def key(self, sfm: SpeechFoundationModel) -> str:
        """Hash of all that these features of a sound depend on, hexadecimal."""
        return digest_of(self.facts(sfm))[:32]

    def facts(self, sfm: SpeechFoundationModel) -> dict:
        """What goes into the key, field by field.

        The weights and the configuration stand beside the model's name and revision, since a quantised, tuned or
        adapted copy of a model bears the same name.
        """
        facts = {
            "format": FORMAT,
            "source": self.source,
            "layers": list(self.layers),
            "kinds": list(self.kinds),
            "frames": self.frames,
            "question": None if self.question is None else list(self.question.prefix),
            "stored_dtype": self.dtype,
            "model": sfm.name,
            "revision": sfm.revision,
            "dtype": sfm.dtype,
            "sampling_rate": sfm.sampling_rate,
            "weights": sample_of_weights(sfm.model),
            "config": config_of(sfm.model),
            "libraries": {name: version(name) for name in LIBRARIES},
        }
        return facts | {"normalised": True} if self.normalised else facts
