"""Parts of a kind by name: emoprobe's own, one file each, and those that installed packages bring.

A part registers itself where it is written, and nobody else names it::

    READOUTS: Registry[type[Readout]] = Registry("readout", "emoprobe.readout")

    @READOUTS.register("label_likelihood")
    class LabelLikelihood(Readout): ...

A package outside names a module of its own under the entry-point group ``emoprobe.parts``; it is imported before the
first look at any registry, and registers its parts in the same way.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from importlib.metadata import entry_points
from typing import TypeVar

from emoprobe.errors import InputError
from emoprobe.options import check, shown

GROUP = "emoprobe.parts"

T = TypeVar("T")


class Registry(Mapping[str, T]):
    """Parts of one kind, in the order of their names.

    Args:
        kind: What a part is called in errors: ``readout``.
        package: Whose modules hold emoprobe's own parts; all of them are imported at the first look.
    """

    def __init__(self, kind: str, package: str) -> None:
        self.kind, self.package = kind, package
        self._parts: dict[str, T] = {}
        self._complete = False

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator: the part is found by this name.

        Raises:
            ValueError: Another part has the name.
        """

        def add(part: T) -> T:
            if self._parts.setdefault(name, part) is not part:
                raise ValueError(f"there are two parts of the kind {self.kind} with the name {name!r}")
            return part

        return add

    def find(self, name: object, field: str) -> T:
        """The part of a name that a user gave.

        Args:
            name: The name.
            field: The option that holds it, for the error.

        Raises:
            InputError: There is no such part.
        """
        self._load()
        if not isinstance(name, str) or name not in self._parts:
            near = get_close_matches(name, self, n=1) if isinstance(name, str) else []
            remedy = f"Did you mean {near[0]}?" if near else f"Use one of {', '.join(self)}."
            raise InputError(f"unknown {self.kind} {shown(name)}", field=field, remedy=remedy)
        return self._parts[name]

    def __getitem__(self, name: str) -> T:
        self._load()
        return self._parts[name]

    def __iter__(self) -> Iterator[str]:
        self._load()
        return iter(sorted(self._parts))

    def __len__(self) -> int:
        self._load()
        return len(self._parts)

    def _load(self) -> None:
        if self._complete:
            return
        self._complete = True
        package = importlib.import_module(self.package)
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{self.package}.{module.name}")
        load_outside_parts()


def make_part(registry: Registry[type[T]], config: object, field: str) -> T:
    """The part that a config names by its ``name``, made of the config's other values.

    Args:
        registry: Of options classes, see `emoprobe.options.options`.
        config: What stands under the option.
        field: The option, for errors.

    Raises:
        InputError: There is no such part, or a value is wrong.
    """
    if not isinstance(config, Mapping):
        remedy = f"Use one of {', '.join(registry)}."
        raise InputError(f"{shown(config)} is no {registry.kind}", field=field, remedy=remedy)
    return check(registry.find(config.get("name"), f"{field}.name"), config)


_outside: set[str] = set()


def load_outside_parts() -> None:
    """Import the modules that installed packages name under ``emoprobe.parts``, once.

    Raises:
        InputError: Such a module cannot be imported; it says whose it is.
    """
    for point in entry_points(group=GROUP):
        if point.value in _outside:
            continue
        _outside.add(point.value)
        try:
            point.load()
        except Exception as error:
            owner = point.dist.name if point.dist is not None else "an installed package"
            raise InputError(
                f"{owner} brings parts for emoprobe that cannot be imported: {type(error).__name__}: {error}",
                field=point.value,
                remedy=f"Update or uninstall {owner}.",
            ) from error
