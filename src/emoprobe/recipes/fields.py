"""The types of a recipe's settings: what Hydra has composed as the objects it means, or a line that says why not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator

from emoprobe.analysis.options import AnalysisOptions
from emoprobe.beliefs.calibrations.base import Calibration, make_calibrations
from emoprobe.data.controls import Control
from emoprobe.data.policy import SoftLabelPolicy
from emoprobe.data.shard import Shard, read_shard
from emoprobe.data.sound.limits import AudioLimits
from emoprobe.data.split_policy import SplitPolicy
from emoprobe.errors import InputError
from emoprobe.nodes import TARGET, check_node
from emoprobe.options import Count, Name, Named, Natural, Part, Several, Word, Words, option_names, options
from emoprobe.prompts.prompt import Prompt
from emoprobe.readout.base import Readout, make_reading_options, make_readouts
from emoprobe.training.heads.base import Trainable, head_options
from emoprobe.training.losses.base import Loss, make_loss
from emoprobe.training.options import BundleOptions, bundle_options

Mapped = Mapping[str, Any]


def _node(where: str) -> Callable[[Mapping], Mapping]:
    def checked(node: Mapping) -> Mapping:
        check_node(node, where)
        return node

    return checked


def _check_logger(node: Mapping) -> Mapping:
    if node.get(TARGET) is not None:
        check_node(node, "logger")
    return node


def _read_analysis(given: object) -> object:
    """Options of an analysis, those of single readouts among them."""
    if not isinstance(given, Mapping):
        return given
    own = option_names(AnalysisOptions)
    others = {str(name): value for name, value in given.items() if name not in own}
    return AnalysisOptions(
        calibrations=(),
        readouts=make_reading_options(others, own),
        **{name: value for name, value in given.items() if name in own},
    )


def _some(what: str, example: str) -> Callable[[object], object]:
    """Refuse what is empty: a group of which nothing was chosen."""

    def checked(given: object) -> object:
        if given is None or given == {}:
            raise InputError(f"no {what} was chosen", field=what, remedy=f"Give one, for example {what}={example}.")
        return given

    return checked


Model = Annotated[Mapped, AfterValidator(_node("model"))]
Reader = Annotated[Mapped, AfterValidator(_node("dataset.reader"))]
Logger = Annotated[Mapped, AfterValidator(_check_logger)]
Prompts = Annotated[Named[Prompt], BeforeValidator(_some("prompt", "voice_sounds"))]
Calibrations = Annotated[
    Several[Calibration],
    BeforeValidator(lambda given: make_calibrations(given) if isinstance(given, Mapping) else given),
    BeforeValidator(_some("calibration", "none")),
    Words("a mapping from names to calibrations"),
]
Readouts = Annotated[
    Several[Readout],
    BeforeValidator(lambda given: make_readouts(given) if isinstance(given, Mapping) and given else given or ()),
    Words("a mapping from readouts to their options"),
]
Analysis = Annotated[AnalysisOptions, BeforeValidator(_read_analysis)]
Head = Annotated[
    Trainable, BeforeValidator(lambda given: given if isinstance(given, Trainable) else head_options(given))
]
Minimised = Annotated[Loss, BeforeValidator(lambda given: given if isinstance(given, Loss) else make_loss(given))]
Bundle = Annotated[
    BundleOptions | None,
    BeforeValidator(lambda given: bundle_options(given) if isinstance(given, Mapping) else given),
]
Sharding = Annotated[
    Shard | None, BeforeValidator(read_shard), Words("a part K/N of the corpus, such as 3/64, or null")
]
Fact = Annotated[str | int | float | bool, Words("a value")]
Facts = Annotated[Fact | Several[Fact], Words("a value of that fact, or a list of some")]


@options("dataset")
class DatasetSettings:
    """A corpus, and what of it is used how.

    Args:
        name: Of the configuration.
        reader: Node that reads the corpus.
        split: One split, or ``all``.
        keep: Fact -> values; only clips that have one take part.
        limit: At most so many clips.
        shard: Part ``K/N`` of what would be evaluated, by clip ids, for one job of many; ``emoprobe merge`` makes one
            run of all. Only a probe takes one.
        missing_audio: What becomes of clips without a sound file: ``error`` or ``skip``.
        on_error: What becomes of a bad row or clip, likewise.
        soft_label: From votes to soft labels.
        audio: Which clips are taken.
        control: What is changed of every clip. Only a probe takes one.
        partition: Who trains, develops and tests.
        fold: Which fold is tested, or ``all``.
    """

    name: Name
    reader: Reader
    split: Annotated[Word | None, Words("the name of a split, or all")] = "all"
    keep: Mapping[Word, Facts] = field(default_factory=dict)
    limit: Count | None = None
    shard: Sharding = None
    missing_audio: Literal["error", "skip"] = "error"
    on_error: Literal["error", "skip"] = "error"
    soft_label: Part[SoftLabelPolicy] = field(default_factory=SoftLabelPolicy)
    audio: Part[AudioLimits] = field(default_factory=AudioLimits)
    control: Part[Control] = field(default_factory=Control)
    partition: Part[SplitPolicy] = field(default_factory=SplitPolicy)
    fold: Annotated[Natural | Literal["all"], Words("a whole number of at least 0, or all")] = 0
