"""What a run was told, ``settings.json`` in its folder, and in what other settings differ from it.

Settings are of three kinds: those that scores depend on, which a folder holds one choice of; those that only what is
derived from the scores depends on, which is then made anew without a model; and all others, which change nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

from emoprobe.errors import InputError
from emoprobe.run import files
from emoprobe.system.masking import masked
from emoprobe.system.output import write_json

PLACES = ("device", "device_map", "url")
"""Options of a model that say where it is: no score depends on them by more than rounding."""

NEUTRAL = (
    *("accelerator", "devices", "num_nodes", "strategy", "benchmark", "deterministic", "profiler", "detect_anomaly"),
    *("enable_progress_bar", "enable_model_summary", "log_every_n_steps"),
)
"""Arguments of Lightning's trainer on which no number depends, or none by more than rounding."""

WATCHING = (
    *("RichProgressBar", "TQDMProgressBar", "RichModelSummary", "ModelSummary"),
    *("LearningRateMonitor", "DeviceStatsMonitor", "ThroughputMonitor"),
)
"""Callbacks of Lightning that only look."""

SAME = {
    "trainer.max_epochs": "fit.max_epochs",
    "trainer.accumulate_grad_batches": "fit.accumulate",
    "trainer.gradient_clip_val": "fit.gradient_clip",
    "callbacks.early_stopping.patience": "fit.patience",
}
"""Options of Lightning that are set by one of ours, which is named instead."""

LONGEST = 60  # characters of a value that are shown


class Difference(NamedTuple):
    """A setting that is another one now.

    Args:
        option: Its name, as it is given on the command line.
        before: Its value then, in words.
        now: Its value now.
    """

    option: str
    before: str
    now: str

    def __str__(self) -> str:
        return f"{self.option}: {self.before} -> {self.now}"


def asked(verb: str, settings: Mapping) -> dict:
    """All settings that the scores of a run depend on, as JSON gives them back, without secrets.

    Which clips a probe scores, and which votes they have, is none of them: what is there already is compared clip by
    clip.

    Args:
        verb: ``probe`` or ``train``.
        settings: The whole configuration, plain values.
    """
    found = _of_training(settings) if verb == "train" else _of_probe(settings)
    return json.loads(json.dumps(masked(found), default=str))


def of_job(verb: str, settings: Mapping) -> dict:
    """All settings that a job of a sweep is known by, likewise: those of its scores, and which clips it scores."""
    more = {name: settings.get(name) for name in ("dataset", "study")}
    return asked(verb, settings) | json.loads(json.dumps(masked(more), default=str))


def derived(verb: str, settings: Mapping) -> dict:
    """All settings that only what is derived from the scores depends on, likewise."""
    names = ("analysis", "refit") if verb == "train" else ("analysis", "calibration", "report")
    return json.loads(json.dumps(masked({name: settings.get(name) for name in names}), default=str))


def _of_probe(settings: Mapping) -> dict:
    names = ("labels", "prompt", "readout", "head", "null_inputs", "seed")
    audio = (settings.get("dataset") or {}).get("audio")
    dataset = {"audio": audio, **_control_of(settings)}
    return {"model": _model_of(settings), **{name: settings.get(name) for name in names}, "dataset": dataset}


def _control_of(settings: Mapping) -> dict:
    """The control of a run that has one."""
    control = (settings.get("dataset") or {}).get("control") or {}
    return {} if control.get("name", "own") == "own" else {"control": control}


def _model_of(settings: Mapping) -> dict:
    return {name: value for name, value in (settings.get("model") or {}).items() if name not in PLACES}


def _of_training(settings: Mapping) -> dict:
    fit = {name: value for name, value in (settings.get("fit") or {}).items() if name != "checkpoint_seconds"}
    names = ("labels", "prompt", "dataset", "head", "loss", "answers", "seed")
    trainer = {name: value for name, value in (settings.get("trainer") or {}).items() if name not in NEUTRAL}
    callbacks = {
        name: node
        for name, node in (settings.get("callbacks") or {}).items()
        if node is not None and str(node.get("_target_")).rpartition(".")[2] not in WATCHING
    }
    more = {"model": _model_of(settings), "fit": fit, "trainer": trainer, "callbacks": callbacks}
    return {name: settings.get(name) for name in names} | more


def differences(before: Mapping, now: Mapping, place: str = "") -> list[Difference]:
    """In what two configurations differ, a line per setting; one that only follows another is not named beside it.

    Args:
        before: Plain values, without secrets.
        now: Likewise.
        place: Of which option they are the values; all by default.
    """
    found = {each.option: each for each in _differences(before, now, place)}
    return [each for each in found.values() if not _follows(each, found)]


def _differences(before: Any, now: Any, place: str) -> Iterator[Difference]:
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for name in dict.fromkeys([*before, *now]):
            yield from _differences(before.get(name), now.get(name), f"{place}.{name}".lstrip("."))
    elif before != now:
        yield Difference(place, _in_words(before), _in_words(now))


def _in_words(value: Any) -> str:
    if value is None:
        return "null"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def _follows(each: Difference, found: Mapping[str, Difference]) -> bool:
    """Whether a difference is that of another option, which this one takes its value from."""
    group, _, rest = each.option.partition(".")
    leaf = each.option.rpartition(".")[2]
    others = [SAME.get(each.option), f"{group}.{leaf}" if "." in rest else None]
    return any(other in found and found[other][1:] == each[1:] for other in others if other is not None)


@dataclass(frozen=True, kw_only=True)
class Told:
    """What a run was told, and what it found.

    Args:
        verb: ``probe`` or ``train``.
        settings: Its whole configuration, without secrets.
        inputs: Digests of what it found: ``clips`` and their sound files, their ``votes``, the ``files`` of its model.
        finished: Whether nothing is left to be done.
    """

    verb: str
    settings: Mapping[str, Any]
    inputs: Mapping[str, str]
    finished: bool = False

    @property
    def asked(self) -> dict:
        """See `asked`."""
        return asked(self.verb, self.settings)

    @property
    def derived(self) -> dict:
        """See `derived`."""
        return derived(self.verb, self.settings)

    @property
    def plain(self) -> dict[str, Any]:
        """The settings as they are written: as JSON gives them back, without secrets."""
        return json.loads(json.dumps(masked(self.settings), default=str))

    def write(self, folder: Path) -> None:
        """Write it into a run folder.

        Raises:
            InputError: It cannot be written.
        """
        own = {each.name: getattr(self, each.name) for each in fields(self)}
        write_json(own | {"settings": self.plain}, folder / files.SETTINGS)


def read_told(folder: Path) -> Told | None:
    """What the run of a folder was told; None where no file says so."""
    try:
        found = json.loads((folder / files.SETTINGS).read_text(encoding="utf-8"))
        told = Told(**{each.name: found[each.name] for each in fields(Told)})
        _ = told.asked, told.derived, dict(told.inputs)
        return told
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def other_settings(what: str, folder: Path, found: Sequence[object]) -> InputError:
    """The error of a folder that belongs to another run.

    Args:
        what: It holds, for one sentence.
        folder: The folder.
        found: In what it differs, a line each.
    """
    told = "".join(f"\n  {each}" for each in found)
    remedy = "Choose another folder with hydra.run.dir=DIR" + (f"; what differs:{told}" if told else ".")
    return InputError(f"this output folder holds {what}", file=folder, field="hydra.run.dir", remedy=remedy)
