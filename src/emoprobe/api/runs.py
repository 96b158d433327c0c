"""Corpora, and runs on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emoprobe.api.choices import Choice, configuration, label_choice, prompt_choice
from emoprobe.api.models import Model
from emoprobe.data.ballots import count_votes
from emoprobe.data.policy import SoftLabelPolicy
from emoprobe.data.utterance import Corpus
from emoprobe.errors import InputError
from emoprobe.labels import LabelSet
from emoprobe.recipes.judge import judge, read_table
from emoprobe.run.folder import RunFolder

if TYPE_CHECKING:
    import pandas as pd


class Run(RunFolder):
    """A finished run: ``.scores``, ``.predictions``, ``.metrics`` and ``.utterances`` are data frames.

    Every one of them is checked against the run's seal when it is read.
    """

    def judge(self, **options: Any) -> dict[str, pd.DataFrame]:
        """What the means hide, by stratum, prompt and channel; tables and figures are written into the run too.

        Args:
            options: Of `emoprobe.recipes.judge.judge`: ``output``, ``facts``, ``resamples``, ``figures``.
        """
        folder = judge(self.folder, **options)
        return {file.stem: read_table(file) for file in sorted(folder.glob("*.csv"))}

    def report(self, output: str | Path | None = None, **options: Any) -> Path:
        """Write one offline page with tables and figures for print; returns the page.

        Args:
            output: Its folder; ``report`` within the run by default.
            options: Of `emoprobe.report.write.write_report`.
        """
        from emoprobe.report.write import write_report

        return write_report([self.folder], self.folder / "report" if output is None else Path(output), **options)

    def __str__(self) -> str:
        return f"{self!r}\n{self.metrics.to_string(index=False, float_format='{:.3f}'.format, max_colwidth=30)}"


@dataclass(frozen=True)
class LoadedCorpus:
    """A corpus that was read, and how.

    Args:
        choice: Its name among the ``dataset`` configs.
        options: What else was chosen, such as ``root`` and ``votes``.
        corpus: Its utterances with their votes.
    """

    choice: str
    options: Mapping[str, Any]
    corpus: Corpus

    def __repr__(self) -> str:
        return f"LoadedCorpus({self.corpus.card.title!r}, {len(self.corpus.utterances):,} utterances)"

    def __len__(self) -> int:
        return len(self.corpus.utterances)

    def to_frame(self) -> pd.DataFrame:
        """One row per utterance: id, sound file, speaker, split, transcript, number of raters, ``votes_WORD``.

        Single ratings are counted by the default soft-label policy.
        """
        import pandas as pd

        rows = []
        for each in self.corpus.utterances:
            row: dict[str, Any] = {
                "utterance_id": each.id,
                "audio": str(each.audio),
                "speaker": each.speaker,
                "split": each.split,
            }
            votes, raters = count_votes(each, SoftLabelPolicy())
            row |= {"transcript": each.transcript, "num_raters": raters}
            rows.append(row | {f"votes_{word}": count for word, count in votes.items()})
        return pd.DataFrame(rows)


def load_corpus(name: str = "demo", **options: Any) -> LoadedCorpus:
    """Read a corpus: who said what about which clip. No sound is decoded yet.

    Args:
        name: One of the ``dataset`` configs, such as ``cremad`` or ``manifest``; also those of installed packages.
        options: Its options: ``root``, ``path``, ``votes``, ``split``, ...

    Raises:
        InputError: There is no such corpus or option, or a file of it is wrong.
    """
    from emoprobe.recipes.inputs import read_corpus
    from emoprobe.recipes.settings import read_dataset

    config = configuration("probe", {"dataset": name}, {f"dataset.{key}": value for key, value in options.items()})
    return LoadedCorpus(name, options, read_corpus(read_dataset(config)))


def probe(
    model: Model | str = "whisper_base",
    corpus: LoadedCorpus | str = "demo",
    *,
    prompt: Choice = None,
    labels: str | Sequence[str] | LabelSet | None = None,
    readout: Choice = None,
    calibration: Choice = None,
    logger: str | None = None,
    output_dir: str | Path | None = None,
    overrides: Sequence[str] = (),
) -> Run:
    """Ask a model about every clip of a corpus and judge its answers: ``emoprobe probe``.

    Args:
        model: A loaded model, which several calls may share, or the name of one.
        corpus: A corpus that was read, or the name of one.
        prompt: Names of prompts, or a completion that holds ``{label}``.
        labels: Name of a label set, words, or a `LabelSet`.
        readout: Names of readouts.
        calibration: Names of calibrations.
        logger: Name of a tracker.
        output_dir: Run folder; a new one under ``outputs`` by default. A folder of the same run goes on.
        overrides: Further options as on the command line, such as ``dataset.limit=100``.

    Raises:
        InputError: What is asked for cannot be; one line says what is right.
    """
    from emoprobe.recipes.probe import run

    prompt_names, own_prompt = prompt_choice(prompt)
    groups = {"prompt": prompt_names, "readout": readout, "calibration": calibration}
    return _run(run, "probe", model, corpus, labels, groups, own_prompt, logger, output_dir, overrides)


def train(
    model: Model | str = "whisper_base",
    corpus: LoadedCorpus | str = "demo",
    *,
    head: str | None = None,
    loss: str | None = None,
    prompt: Choice = None,
    labels: str | Sequence[str] | LabelSet | None = None,
    logger: str | None = None,
    output_dir: str | Path | None = None,
    overrides: Sequence[str] = (),
) -> Run:
    """Train a head on a model with soft labels, and judge it on clips of other speakers: ``emoprobe train``.

    Args:
        model: A loaded model, which several calls may share, or the name of one.
        corpus: A corpus that was read, or the name of one.
        head: Name of a head: ``linear_probe``, ``mlp_probe``, ``lora``, ...
        loss: Name of a loss.
        prompt: Name of a prompt, of heads that ask the decoder.
        labels: As of `probe`.
        logger: As of `probe`.
        output_dir: As of `probe`.
        overrides: As of `probe`.

    Raises:
        InputError: What is asked for cannot be; one line says what is right.
    """
    from emoprobe.recipes.train import run

    prompt_names, own_prompt = prompt_choice(prompt)
    groups = {"head": head, "loss": loss, "prompt": prompt_names}
    return _run(run, "train", model, corpus, labels, groups, own_prompt, logger, output_dir, overrides)


def open_run(folder: str | Path) -> Run:
    """A finished run, or one that died; what is read of it is checked.

    Args:
        folder: The run folder, or that of a later analysis inside one.

    Raises:
        InputError: The folder holds no run.
    """
    run = Run(Path(folder))
    _ = run.record
    return run


def _run(
    recipe: Callable[..., Path],
    name: str,
    model: Model | str,
    corpus: LoadedCorpus | str,
    labels: str | Sequence[str] | LabelSet | None,
    groups: dict[str, Any],
    values: dict[str, Any],
    logger: str | None,
    output_dir: str | Path | None,
    overrides: Sequence[str],
) -> Run:
    from emoprobe.recipes.settings import read_probe, read_train

    label_name, own_labels = label_choice(labels)
    folder = Path("outputs", datetime.now().strftime("%Y-%m-%d/%H-%M-%S-%f")) if output_dir is None else output_dir
    groups = groups | {"labels": label_name, "logger": logger}
    values = values | own_labels | {"output_dir": str(Path(folder).absolute())}
    loaded: dict[str, Any] = {}
    for kind, given in (("model", model), ("dataset", corpus)):
        if isinstance(given, str):
            groups[kind] = given
        else:
            groups[kind] = given.choice
            values |= {f"{kind}.{key}": value for key, value in given.options.items()}
    if isinstance(model, Model):
        loaded["sfm"] = model.sfm
    if isinstance(corpus, LoadedCorpus):
        loaded["corpus"] = corpus.corpus
    config = configuration(name, groups, values, overrides)
    settings = read_probe(config) if name == "probe" else read_train(config)
    if settings.study is not None:
        raise InputError(
            "a study is several runs, and this is one", field="study", remedy=f"Use the command: emoprobe {name} ..."
        )
    return open_run(recipe(settings, **loaded))
