"""What a configuration asks for: a corpus, what is evaluated of it, what is derived."""

from __future__ import annotations

from omegaconf import DictConfig

from emoprobe.analysis.options import AnalysisOptions
from emoprobe.beliefs.calibrations.base import make_calibrations
from emoprobe.data.prepare import Prepared, prepare
from emoprobe.data.utterance import Corpus
from emoprobe.data.votes import SoftLabelPolicy
from emoprobe.labels import LabelSet
from emoprobe.options import option_names
from emoprobe.readout.base import make_reading_options
from emoprobe.settings import build, call, plain


def make_options(config: DictConfig) -> AnalysisOptions:
    """Analysis options of a composed configuration."""
    analysis = plain(config.analysis)
    analysis.pop("figures", None)
    own = option_names(AnalysisOptions)
    readouts = make_reading_options({name: analysis.pop(name) for name in [*analysis] if name not in own}, own)
    return AnalysisOptions(calibrations=make_calibrations(plain(config.calibration)), readouts=readouts, **analysis)


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
