"""Settings: composed by Hydra, resolved to plain values, checked before anything heavy is imported."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, TypeVar

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from emoprobe.errors import EmoprobeError, InputError
from emoprobe.nodes import TARGET, check_node
from emoprobe.options import check, needed_of, option_names, parts_of, shown, unknown
from emoprobe.system.masking import learn_config
from emoprobe.system.places import conf_folder
from emoprobe.system.search_path import search_outside

T = TypeVar("T")
_MENTIONED = re.compile(r"\$\{(?:oc\.select:)?([A-Za-z_][\w.]*)(?=[}$.,]|\.\$)")
_WHOLE = re.compile(r"\$\{([A-Za-z_][\w.]*)\}")


def compose(overrides: Sequence[str], name: str = "probe") -> DictConfig:
    """Compose the project's configuration (of ``probe`` or ``train``), outside of an entry point or within one.

    Raises:
        InputError: The configuration folder is missing, or an override is wrong.
    """
    try:
        return _compose(overrides, name)
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise refusal(error, overrides, name) from error


def _compose(overrides: Sequence[str], name: str) -> DictConfig:
    search_outside()
    folder = conf_folder()
    if not folder.is_dir():
        raise InputError("the configuration folder is missing", file=folder, remedy="Install emoprobe again.")
    within = GlobalHydra.instance().is_initialized()
    with nullcontext() if within else initialize_config_dir(str(folder), version_base="1.3"):
        config = hydra_compose(name, overrides=opened(overrides))
    learn_config(config)
    return config


def refusal(error: Exception, overrides: Sequence[str], name: str) -> InputError:
    """What Hydra refuses to compose, in one line and in our words.

    Args:
        error: What Hydra raised.
        overrides: The command line.
        name: The configuration, ``probe`` or ``train``.
    """
    search = [each for each in overrides if each.startswith("hydra.searchpath=")]
    for experiment in (each for each in overrides if each.startswith("experiment=")):
        other = {"probe": "train", "train": "probe"}[name]
        if not _composes([*search, experiment], name) and _composes([*search, experiment], other):
            return of_another_verb(experiment.partition("=")[2], other)
    said = str(error).partition("Config search path")[0]
    if found := re.search(r"Could not override '([^']+)'\.\s*(?:To append|No match)", said):
        return _no_such(found[1], overrides, name)
    if found := re.search(r"Could not find '(.+)/(.+?)'\s+Available options in '.+?':\s*(.*)", said, re.DOTALL):
        return unknown(found[2], found[3].split(), found[1], found[1], whole=True)
    found = re.search(r"Error merging override \W*(.+?)=(.+)", said)
    if found and "Cannot merge DictConfig with ListConfig" in str(error.__cause__):
        return InputError(f"{found[2].rstrip('.')} is not a mapping", field=found[1])
    if said.startswith("Config group override must be"):
        for each in OverridesParser.create().parse_overrides(list(overrides)):
            folder = conf_folder() / each.key_or_group
            if folder.is_dir() and not isinstance(each.value(), str | list):
                files = sorted(file.stem for file in folder.glob("*.yaml"))
                return InputError(f"{shown(each.value())} is not one of {', '.join(files)}", field=each.key_or_group)
    causes = [said, *([str(error.__cause__)] if error.__cause__ else [])]
    lines = [line.strip().rstrip(".") for cause in causes for line in cause.splitlines() if line.strip()]
    return InputError(f"the configuration is wrong: {'; '.join(dict.fromkeys(lines))}")


def of_another_verb(experiment: str, verb: str) -> InputError:
    """The error of an experiment that is one of another verb."""
    remedy = f"Use emoprobe {verb} experiment={experiment}."
    return InputError(f"{experiment} is an experiment of emoprobe {verb}", field="experiment", remedy=remedy)


def _composes(overrides: Sequence[str], name: str) -> bool:
    try:
        _compose(overrides, name)
    except (HydraException, OmegaConfBaseException, ValueError):
        return False
    return True


def _no_such(option: str, overrides: Sequence[str], name: str) -> InputError:
    """The error of an option that a configuration does not have, with the nearest one."""
    rest = [each for each in overrides if each.lstrip("+~").partition("=")[0] != option]
    try:
        node: Any = _compose(rest, name)
    except (HydraException, OmegaConfBaseException, ValueError):
        node = _compose((), name)
    where, *inside = "", *option.split(".")
    for part in inside:
        if not isinstance(node, DictConfig) or part not in node:
            return unknown(part, [str(key) for key in node] if isinstance(node, DictConfig) else (), where)
        node, where = node._get_node(part), f"{where}.{part}".lstrip(".")
    return InputError(f"there is no option {option!r}", field=option)


def opened(overrides: Sequence[str]) -> list[str]:
    """Overrides in which any argument of Lightning's trainer and any callback may be named, with a plus or without.

    What Lightning takes is its own affair, so these two nodes are open, whichever of their keys the configuration has.
    """
    return [re.sub(r"^\+?(?=(?:trainer|callbacks)\.)", "++", override) for override in overrides]


def plain(config: Any) -> Any:
    """A config node as plain Python values.

    Raises:
        InputError: A value that must be given is missing.
    """
    if not OmegaConf.is_config(config):
        return config
    try:
        return OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except MissingMandatoryValue as error:
        key = str(error.full_key)
        raise InputError("a value must be given", field=key, remedy=f"Add {key}=VALUE to the command line.") from error
    except OmegaConfBaseException as error:
        said = "; ".join(line.strip().rstrip(".") for line in str(error).splitlines() if line.strip())
        raise InputError(f"the configuration cannot be resolved: {said}") from error


@dataclass(frozen=True)
class Composition:
    """What Hydra has composed, resolved, and where its values come from.

    Args:
        values: Plain Python values.
        sources: Option -> the option that its whole value is taken from: ``dataset.reader.votes`` -> ``dataset.votes``.
        used: Options that others are made of; they may be known to nobody else.
    """

    values: dict[str, Any]
    sources: Mapping[str, str]
    used: frozenset[str]

    def typed(self, kind: type[T], part: str = "") -> T:
        """The values, or a part of them, as an options object; what is wrong is said of the option that a user types.

        A group of which nothing was chosen (``prompt=[]``) is no part of a configuration, and null here.

        Raises:
            InputError: A value is wrong, or an option is unknown.
        """
        values = self.values[part] if part else dict.fromkeys(needed_of(kind)) | self.values
        with self.as_typed():
            return check(
                kind, self._known(kind, values, f"{part}." if part else "") if isinstance(values, dict) else values
            )

    @contextmanager
    def as_typed(self) -> Iterator[None]:
        """Let errors name the option that a user types, where that of the error takes its value from it."""
        try:
            yield
        except InputError as error:
            source = self._source(error.field or "")
            if source is None:
                raise
            raise InputError(
                error.what, file=error.file, row=error.row, field=source, remedy=error.remedy
            ) from error.__cause__

    def _known(self, kind: type, values: Mapping, where: str) -> dict:
        """Values without those that only others are made of."""
        parts, kept = parts_of(kind), {}
        for name, value in values.items():
            place = f"{where}{name}"
            if name in parts and isinstance(value, Mapping):
                kept[name] = self._known(parts[name], value, f"{place}.")
            elif name in option_names(kind) or not (self._is_used(place) or self._is_passed_on(name, values)):
                kept[name] = value
        return kept

    def _is_used(self, place: str) -> bool:
        return any(f"{used}.".startswith(f"{place}.") or place.startswith(f"{used}.") for used in self.used)

    @staticmethod
    def _is_passed_on(name: str, values: Mapping) -> bool:
        """Whether a node beside an option has an argument of its name, which was given there instead."""
        return any(isinstance(own, Mapping) and TARGET in own and name in own for own in values.values())

    def _source(self, place: str) -> str | None:
        at = max((own for own in self.sources if f"{place}.".startswith(f"{own}.")), key=len, default=None)
        if at is None:
            return None
        source = self.sources[at] + place[len(at) :]
        return self._source(source) or source


def composition(config: DictConfig, *parts: str) -> Composition:
    """A configuration resolved.

    Args:
        config: The configuration.
        parts: The only parts of it that are wanted; all if none is named.

    Raises:
        InputError: A value that must be given is missing, or one cannot be resolved.
    """
    raw = OmegaConf.to_container(config, resolve=False)
    sources: dict[str, str] = {}
    used: set[str] = set()

    def look(node: object, place: str) -> None:
        if isinstance(node, dict):
            for name, own in node.items():
                look(own, f"{place}.{name}".lstrip("."))
        elif isinstance(node, list):
            for i, own in enumerate(node):
                look(own, f"{place}[{i}]")
        elif isinstance(node, str):
            used.update(name.rstrip(".") for name in _MENTIONED.findall(node))
            if whole := _WHOLE.fullmatch(node):
                sources[place] = whole[1]

    look(raw, "")
    for name in sorted(used):
        _check_mention(raw, name)
    values = {name: plain(config.get(name)) for name in parts} if parts else plain(config)
    return Composition(values, sources, frozenset(used))


def _check_mention(raw: Any, name: str) -> None:
    """Refuse a value that others take a part of, and that has none."""
    place = ""
    for part in name.split("."):
        if not isinstance(raw, dict):
            if not isinstance(raw, str) or "${" not in raw:
                raise InputError(f"{shown(raw)} is not a mapping", field=place)
            return
        place = f"{place}.{part}".lstrip(".")
        if part not in raw:
            if place != part:
                raise InputError("a value must be given: another option is taken from it", field=place)
            return
        raw = raw[part]


def read_part(config: DictConfig, part: str, kind: type[T]) -> T:
    """One part of a configuration, such as its labels, for a command that needs no more.

    Raises:
        InputError: A value in it is wrong, or an option is unknown.
    """
    return composition(config, part).typed(kind, part)


def read_values(config: DictConfig, part: str) -> Any:
    """The plain values of a part, such as the prompts; null if nothing was chosen."""
    return composition(config, part).values[part]


def read_node(config: DictConfig, part: str) -> dict[str, Any]:
    """A node with a ``_target_``, such as the model, likewise."""
    composed = composition(config, part)
    with composed.as_typed():
        check_node(composed.values[part], part)
    return composed.values[part]


def make(node: Mapping, where: str, **more: object) -> Any:
    """What a node with a ``_target_`` makes.

    Args:
        node: The node, plain values.
        where: The option that holds it, for the error.
        more: Further arguments.

    Raises:
        EmoprobeError: What it calls has refused it.
        InputError: It cannot be called.
    """
    return call(lambda: instantiate(node, _convert_="all", **more), where)


def call(make: Any, where: str) -> Any:
    """Call what a config names; the user's mistakes come out as `EmoprobeError` instead of Hydra's wrapping."""
    try:
        return make()
    except InstantiationException as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, EmoprobeError):
            cause = cause.__cause__
        if cause is not None:
            raise cause from cause.__cause__  # its own, which may be a full disk
        said = " ".join(str(error).split())
        raise InputError(f"the {where} config cannot be carried out: {said}", field=where) from error
