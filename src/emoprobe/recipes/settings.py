"""The settings of a recipe as one typed object, made once of what Hydra has composed; nothing heavy is imported for it.

`read_probe` and `read_train` refuse what is wrong anywhere in a configuration. Commands that need a part of one take
the parts: `read_dataset`, `read_labels`, `read_analysis`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, replace
from typing import Annotated, Any, Literal, TypeVar

from omegaconf import DictConfig
from pydantic import AfterValidator

from emoprobe.analysis.options import AnalysisOptions
from emoprobe.data.split_policy import SPLITS
from emoprobe.errors import InputError
from emoprobe.labels import LabelSet
from emoprobe.metrics.functional import metrics_of
from emoprobe.models.text import check_answers
from emoprobe.options import At, Count, Natural, Part, Place, Seed, Word, options, valid
from emoprobe.prompts.prompt import Prompt, make_prompts
from emoprobe.readout.base import asks, make_readouts
from emoprobe.readout.scoring.nulls import NullInputs
from emoprobe.recipes.fields import (
    Analysis,
    Bundle,
    Calibrations,
    DatasetSettings,
    Head,
    Logger,
    Mapped,
    Minimised,
    Model,
    Prompts,
    Readouts,
)
from emoprobe.recipes.plans import StudySettings, TextAgainstTokensSettings
from emoprobe.run.score_cache import CacheOptions
from emoprobe.settings import Composition, composition, of_another_verb, read_part
from emoprobe.training.answers import AnswersOptions
from emoprobe.training.arguments import check_callbacks, check_fitting, check_scoring, check_scoring_callbacks
from emoprobe.training.options import FitOptions, bundle_options

T = TypeVar("T", "ProbeSettings", "TrainSettings")


@options()
class ProbeSettings:
    """What a probe is told.

    Args:
        model: Node that loads the model.
        labels: The label set.
        dataset: The corpus.
        prompt: Name -> prompt.
        calibration: How label priors are removed, in table order.
        null_inputs: What content-free inputs are scored.
        analysis: What is derived.
        logger: Node of the tracker; its ``_target_`` is null for none.
        trainer: Arguments of Lightning's trainer.
        output_dir: The run folder.
        readout: What is read; nothing if only ``head`` is.
        head: A trained head that is read too.
        callbacks: Name -> node of a callback of Lightning, or null.
        seed: Of everything random.
        batch_size: Clips per forward pass; results do not depend on it.
        num_workers: Processes that decode sound and prepare it for the model ahead; None for 4 at most beside a model
            on a GPU, and none beside one on a CPU. Results do not depend on it.
        report: Whether the run ends in a page.
        table: What is printed at the end: ``short`` (what decides) or ``full`` (all columns and readouts).
        resume: Folder of an earlier run whose finished cells are taken over.
        cache: What is kept between runs.
        retry: ``failed``: what failed before is tried again.
        keep_going: Whether a sweep goes on after a job that failed.
        optimize: Metric of the development clips that a sweeper is told; None for nothing.
        study: Several probes side by side instead of one.
        composed: The whole configuration as plain values, for records and trackers.
    """

    model: Model
    labels: Part[LabelSet]
    dataset: Part[DatasetSettings]
    prompt: Prompts
    calibration: Calibrations
    null_inputs: Part[NullInputs]
    analysis: Analysis
    logger: Logger
    trainer: Annotated[Mapped, AfterValidator(check_scoring)]
    output_dir: Place
    readout: Readouts = ()
    head: Bundle = None
    callbacks: Annotated[Mapped, AfterValidator(check_scoring_callbacks)] = field(default_factory=dict)
    seed: Seed = 0
    batch_size: Count = 8
    num_workers: Natural | None = None
    report: bool = False
    table: Literal["short", "full"] = "short"
    resume: Place | None = None
    cache: Part[CacheOptions] = field(default_factory=CacheOptions)
    retry: Literal["failed"] | None = None
    keep_going: bool = True
    optimize: Word | None = None
    study: Part[TextAgainstTokensSettings] | None = None
    composed: Annotated[Mapped, At("composed")] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.readout and self.head is None:
            make_readouts({})
        check_optimized(self)
        if asks(self.readout):
            check_answers(self.model)
            make_prompts(self.prompt, self.labels)

    @property
    def prompts(self) -> list[Prompt]:
        """The prompts in all their orders; none where no readout asks."""
        return make_prompts(self.prompt, self.labels) if asks(self.readout) else []

    @property
    def derived(self) -> AnalysisOptions:
        """What is derived, with the calibrations."""
        return replace(self.analysis, calibrations=self.calibration)


@options("analysis")
class JudgeSettings:
    """How a training is judged; as of `emoprobe.analysis.options.AnalysisOptions`."""

    failures: Literal["exclude", "uniform"] = "exclude"
    resamples: Natural = 2000
    figures: bool = True


@options()
class TrainSettings:
    """What a training is told; what is not explained here is as of `ProbeSettings`.

    Args:
        prompt: What heads that ask the decoder ask.
        head: What is trained.
        loss: What is minimised.
        answers: What the model is taught to write beside; None for nothing.
        fit: How it is fitted.
        eval_batch_size: Clips evaluated at once; results do not depend on it.
        refit: Whether all clips are trained on too, after the folds: members that each leave another fold out.
        study: Several trainings side by side instead of one.
    """

    model: Model
    labels: Part[LabelSet]
    dataset: Part[DatasetSettings]
    prompt: Prompts
    head: Head
    loss: Minimised
    fit: Part[FitOptions]
    logger: Logger
    trainer: Annotated[Mapped, AfterValidator(check_fitting)]
    output_dir: Place
    callbacks: Annotated[Mapped, AfterValidator(check_callbacks)] = field(default_factory=dict)
    answers: Part[AnswersOptions] | None = None
    analysis: Part[JudgeSettings] = field(default_factory=JudgeSettings)
    seed: Seed = 0
    refit: bool = False
    table: Literal["short", "full"] = "short"
    resume: Place | None = None
    retry: Literal["failed"] | None = None
    keep_going: bool = True
    optimize: Word | None = None
    batch_size: Count = 8
    eval_batch_size: Count = 64
    num_workers: Natural | None = None
    study: Part[StudySettings] | None = None
    composed: Annotated[Mapped, At("composed")] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "loss", self.loss.of(self.labels))
        if self.loss.of_batch and self.fit.batch_size < 2:
            raise InputError(
                f"the {self.loss.name} loss is one of several clips, and one alone teaches nothing",
                field="fit.batch_size",
                remedy="Take larger batches, such as fit.batch_size=64.",
            )
        known = ("loss", *metrics_of(self.labels))
        if self.fit.monitor not in known:
            raise InputError(
                f"{self.fit.monitor!r} is no metric of the labels of {self.labels.name}",
                field="fit.monitor",
                remedy=f"Use one of {', '.join(known)}.",
            )
        check_optimized(self)
        if self.head.asks or self.labels.scale is None:  # else the default prompt is one for emotions
            make_prompts(self.prompt, self.labels)
        if self.dataset.shard is not None:
            raise InputError(
                f"training takes a corpus as a whole and divides it itself, not part {self.dataset.shard} of it",
                field="dataset.shard",
                remedy="Leave dataset.shard=null; the jobs of a training are its folds and seeds.",
            )
        if not self.dataset.control.is_own:
            raise InputError(
                "controls change what a probe is given, not what is trained on",
                field="dataset.control",
                remedy="Leave control=own, and give the trained head to a probe: head=bundle head.path=DIR.",
            )
        if self.dataset.split not in (None, "all"):
            raise InputError(
                f"training takes a corpus as a whole and divides it itself, not the split {self.dataset.split!r}",
                field="dataset.split",
                remedy="Leave dataset.split=all; dataset.partition.kind=official uses the corpus's own split.",
            )

    @property
    def prompts(self) -> list[Prompt]:
        """The prompts in all their orders; none where the head asks nothing."""
        return make_prompts(self.prompt, self.labels) if self.head.asks else []


def check_optimized(settings: ProbeSettings | TrainSettings) -> None:
    """Refuse a value to be optimised that a run does not have, or that clips to be tested would have a part in.

    Raises:
        InputError: It is no metric of the labels, or there is no development part.
    """
    if settings.optimize is None:
        return
    trains = isinstance(settings, TrainSettings)
    known = (*(("loss",) if trains else ()), *metrics_of(settings.labels))
    if settings.optimize not in known:
        raise InputError(
            f"{settings.optimize!r} is no metric of the labels of {settings.labels.name}",
            field="optimize",
            remedy=f"Use one of {', '.join(known)}.",
        )
    if settings.study is not None:
        what, remedy = "a study lays several runs side by side, and none is the one", "Optimise one run of it."
    elif settings.dataset.shard is not None:
        what, remedy = "a part of a corpus says nothing of the whole", "Leave dataset.shard=null."
    elif trains:
        return
    elif settings.dataset.split in SPLITS["test"]:
        what, remedy = "clips to be tested are not chosen by", "Use dataset.split=all, or the development split."
    elif settings.dataset.fold == "all":
        what, remedy = "with all folds, every clip is developed on and tested", "Give one, such as dataset.fold=0."
    else:
        return
    raise InputError(f"{what}: nothing to optimise", field="optimize", remedy=remedy)


def read_probe(config: DictConfig) -> ProbeSettings:
    """The settings of a probe.

    Raises:
        InputError: A value is wrong, an option is unknown, or the configuration is that of a training.
    """
    return probe_settings(composition(config))


def probe_settings(composed: Composition) -> ProbeSettings:
    """`read_probe` of what is resolved already."""
    if _plans(composed, "trained"):
        raise of_another_verb("finetuning_study", "train")
    if composed.values.get("head") is not None:
        bundle_options(composed.values["head"])  # a head to be trained brings options of a training with it
    return _typed(ProbeSettings, composed)


def _plans(composed: Composition, key: str) -> bool:
    """Whether there is a study that says this."""
    study = composed.values.get("study")
    return isinstance(study, Mapping) and key in study


def read_train(config: DictConfig) -> TrainSettings:
    """The settings of a training, or of a study of several.

    What Lightning is given under its own names, by ``trainer`` and ``callbacks``, stands in ``fit`` too: both follow
    ``fit`` unless they are given themselves, and what is recorded is what was done.

    Raises:
        InputError: A value is wrong, or an option is unknown.
    """
    return train_settings(composition(config))


def train_settings(composed: Composition) -> TrainSettings:
    """`read_train` of what is resolved already."""
    if _plans(composed, "parts"):
        raise of_another_verb("text_against_tokens", "probe")
    composed.typed(TrainSettings)
    values = _as_lightning_says(composed.values)
    sources = {**composed.sources, **{f"fit.{ours}": f"trainer.{theirs}" for theirs, ours in LIGHTNING.items()}}
    sources["fit.patience"] = "callbacks.early_stopping.patience"
    sources["fit.monitor"] = "callbacks.model_checkpoint.monitor"
    return _typed(TrainSettings, replace(composed, values=values, sources=sources))


LIGHTNING = {"max_epochs": "max_epochs", "accumulate_grad_batches": "accumulate", "gradient_clip_val": "gradient_clip"}
"""Arguments of Lightning's trainer that options of ``fit`` are other names of."""


def _as_lightning_says(values: dict[str, Any]) -> dict[str, Any]:
    trainer, callbacks, fit = dict(values["trainer"]), values.get("callbacks") or {}, dict(values["fit"])
    for theirs in ("max_epochs", "accumulate_grad_batches"):
        if trainer.get(theirs) is None:
            trainer[theirs] = fit[LIGHTNING[theirs]]
        fit[LIGHTNING[theirs]] = trainer[theirs]
    clip = trainer.get("gradient_clip_val")
    fit["gradient_clip"] = 0.0 if clip is None else clip
    if patience := (callbacks.get("early_stopping") or {}).get("patience"):
        fit["patience"] = patience
    part, _, metric = str((callbacks.get("model_checkpoint") or {}).get("monitor")).partition("/")
    if part == "dev":
        fit["monitor"] = metric
    return values | {"fit": fit, "trainer": trainer, "callbacks": callbacks}


def _typed(kind: type[T], composed: Composition) -> T:
    return replace(composed.typed(kind), composed=composed.values)


def read_labels(config: DictConfig) -> LabelSet:
    """The label set of a configuration, for a command that needs no more."""
    return read_part(config, "labels", LabelSet)


def read_dataset(config: DictConfig) -> DatasetSettings:
    """The corpus, likewise."""
    return read_part(config, "dataset", DatasetSettings)


def read_analysis(config: DictConfig) -> AnalysisOptions:
    """What is derived, with its calibrations, likewise."""
    values = composition(config, "analysis", "calibration").values
    calibrations = valid(Calibrations, values["calibration"], "calibration")
    return replace(valid(Analysis, values["analysis"], "analysis"), calibrations=calibrations)
