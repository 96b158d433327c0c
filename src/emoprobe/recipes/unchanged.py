"""Whether what a finished run was made of is still what it was, without its model and its sound."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from emoprobe.data.prepare import Item
from emoprobe.errors import InputError, some
from emoprobe.recipes.again import look
from emoprobe.recipes.inputs import prepare_run, read_corpus
from emoprobe.recipes.settings import ProbeSettings, TrainSettings, read_probe, read_train
from emoprobe.recipes.train import make_splits
from emoprobe.run.finding import find_runs
from emoprobe.run.folder import RunFolder
from emoprobe.run.record import LIBRARIES, versions
from emoprobe.run.writing import utterances_frame

if TYPE_CHECKING:
    import pandas as pd
    from omegaconf import DictConfig

OF_INPUTS = {"clips": "its sound files", "votes": "its votes", "files": "the files of its model or head"}


def changes_since(folder: Path, verb: str, config: DictConfig, when: float) -> list[str]:
    """What has changed of all that the numbers of a finished job depend on beside its settings, a line each.

    Library versions; utterances, votes and soft labels as they are read now; files of sound, of weights and of a head
    that are newer than the job or gone.

    Args:
        folder: The job's folder, of a run or of a study.
        verb: ``probe`` or ``train``.
        config: The configuration of the job.
        when: When it began, seconds since 1970.
    """
    runs = [run for run in find_runs(folder)[0] if run.has_results and not run.is_later_analysis]
    if not runs:
        return ["its results are gone"]
    try:
        settings = read_probe(config) if verb == "probe" else read_train(config)
        lines = _versions(runs)
        lines += [f"newer than the run: {file}" for file in _newer(settings, when)]
        run = next((run for run in runs if run.folder == folder), None)
        if run is not None:  # parts of a study check what they take over themselves
            lines += _corpus(run, settings, when) or _inputs(settings)
        return lines
    except InputError as error:  # what it was made of cannot be read any more
        return [str(error)]


def _inputs(settings: ProbeSettings | TrainSettings) -> list[str]:
    """What the digests of the run tell beside, such as files that were replaced by older ones."""
    dataset = settings.dataset
    verb = "train" if isinstance(settings, TrainSettings) else "probe"
    again = look(verb, settings, prepare_run(dataset, read_corpus(dataset), settings.labels))
    then = {} if again.then is None else again.then.inputs
    other = [what for name, what in OF_INPUTS.items() if then.get(name) != again.told.inputs[name]]
    return [f"{what} are not those that it found" for what in other]


def _versions(runs: Sequence[RunFolder]) -> list[str]:
    now = versions()
    then = {
        name: run.record.versions[name]
        for run in runs
        for name in (*LIBRARIES, "python")
        if name in run.record.versions
    }
    return [f"{name} was {known}, is {now[name]}" for name, known in then.items() if now[name] != known]


def _newer(settings: ProbeSettings | TrainSettings, when: float) -> list[Path]:
    """The first newer file of each folder that the model or a head is read from."""
    head = getattr(settings.head, "path", None)
    places = [*_folders(settings.model), *([Path(head)] if head else [])]
    found = (
        next((f for f in sorted(place.rglob("*")) if f.is_file() and f.stat().st_mtime > when), None)
        for place in places
    )
    return [file for file in found if file is not None]


def _folders(node: object) -> Iterator[Path]:
    if isinstance(node, Mapping):
        for own in node.values():
            yield from _folders(own)
    elif isinstance(node, list | tuple):
        for own in node:
            yield from _folders(own)
    elif isinstance(node, str | Path) and (folder := Path(node).expanduser()).is_dir():
        yield folder


def _corpus(run: RunFolder, settings: ProbeSettings | TrainSettings, when: float) -> list[str]:
    dataset, labels = settings.dataset, settings.labels
    prepared = prepare_run(dataset, read_corpus(dataset), labels)
    items: Sequence[Item] = prepared.items
    if isinstance(settings, TrainSettings):
        folds = make_splits(items, dataset, labels, settings.head.members)
        tested = {item.utterance.id for members in folds for item in members[0].test}
        items = [item for item in items if item.utterance.id in tested]
    then = run.utterances
    then = then[then["role"] == "evaluated"].set_index("utterance_id")
    now = utterances_frame(type(prepared)(tuple(items), (), ()), labels, dataset.soft_label).set_index("utterance_id")
    gone = sorted(set(then.index) - set(now.index))
    new = sorted(set(now.index) - set(then.index) - run.skipped)
    lines = [f"no longer in the corpus: {some(gone)}"] if gone else []
    lines += [f"new in the corpus: {some(new)}"] if new else []
    if other := _other_votes(then, now, labels.labels):
        lines.append(f"other votes or soft labels: {some(other)}")
    files = {item.utterance.id: item.utterance.audio for item in items if item.utterance.id in then.index}
    for what, names in _sound(files, when).items():
        lines += [f"sound {what}: {some(names)}"] if names else []
    return lines


def _other_votes(then: pd.DataFrame, now: pd.DataFrame, labels: Sequence[str]) -> list[str]:
    both = then.index.intersection(now.index)
    columns = [f"{kind}_{label}" for kind in ("votes", "target") for label in labels]
    wrong = ((then.loc[both, columns] - now.loc[both, columns]).abs() > 1e-9).any(axis=1)
    return [str(name) for name in both[wrong.to_numpy()]]


def _sound(files: Mapping[str, Path], when: float) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {"newer than the run": [], "gone": []}
    for name, file in files.items():
        try:
            if os.stat(file).st_mtime > when:
                found["newer than the run"].append(name)
        except OSError:
            found["gone"].append(name)
    return found
