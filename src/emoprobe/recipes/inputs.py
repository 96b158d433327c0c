"""What a configuration asks for: a corpus, what is evaluated of it, what is derived."""

from __future__ import annotations

from omegaconf import DictConfig

from emoprobe.analysis.options import AnalysisOptions
from emoprobe.beliefs.calibration import Calibration
from emoprobe.data.prepare import Prepared, prepare
from emoprobe.data.utterance import Corpus
from emoprobe.data.votes import SoftLabelPolicy
from emoprobe.labels import LabelSet
from emoprobe.options import Named, valid
from emoprobe.settings import build, call, plain


def make_options(config: DictConfig) -> AnalysisOptions:
    """Analysis options of a composed configuration."""
    analysis = plain(config.analysis)
    analysis.pop("figures", None)
    calibrations = valid(Named[Calibration], plain(config.calibration), "calibration")
    return AnalysisOptions(calibrations=tuple(calibrations.values()), **analysis)


def read_corpus(config: DictConfig) -> Corpus:
    """Call the corpus reader that the configuration names."""
    from hydra.utils import instantiate

    plain(config.dataset)  # a missing root is reported before the reader is called
    return call(lambda: instantiate(config.dataset.reader, _convert_="all"), "dataset")


def soft_label_policy(config: DictConfig) -> SoftLabelPolicy:
    """How a configuration makes soft labels of votes."""
    return build(SoftLabelPolicy, plain(config.dataset.soft_label), "dataset.soft_label")


def prepare_run(config: DictConfig, corpus: Corpus, labels: LabelSet, missing_audio: str | None = None) -> Prepared:
    """The utterances and targets a configuration asks for."""
    dataset = config.dataset
    return prepare(
        corpus,
        labels,
        soft_label_policy(config),
        split=dataset.split,
        keep=plain(dataset.keep),
        limit=dataset.limit,
        missing_audio=missing_audio or dataset.missing_audio,
        on_error=dataset.on_error,
    )
