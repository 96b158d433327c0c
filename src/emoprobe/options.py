"""Options: described once, as typed data classes, and refused in one line that says option, value and what is right.

A data class under `options` checks what it is made of, from a configuration and from Python alike: no text is taken for
a number, no number for a truth value, no NaN for a bound::

    @options("dataset.audio")
    class AudioLimits:
        min_seconds: NotNegative = 0.1
        long_audio: Literal["refuse", "truncate"] = "refuse"

    AudioLimits(long_audio="cut")
    # InputError: 'cut' is not one of refuse, truncate (field dataset.audio.long_audio).

What one field cannot say, such as that two fit each other, stands in ``__post_init__`` and raises `InputError` itself.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import MISSING, field, fields, is_dataclass
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, dataclass_transform, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Le, Lt, MinLen
from pydantic import AfterValidator, BeforeValidator, ConfigDict, Strict, TypeAdapter, ValidationError, WrapValidator
from pydantic import dataclasses as checked
from pydantic_core import core_schema

from emoprobe.errors import InputError

T = TypeVar("T")
LONGEST = 80  # characters of a value that an error repeats
MISREAD = "YAML reads no, yes, on, off, null and numbers as something else than text. Quote them, for example 'no'."
CONFIG = ConfigDict(strict=True, allow_inf_nan=False, extra="forbid", arbitrary_types_allowed=True)


class Words(str):
    """In an annotation: what is right, where the type's own words do not say it."""


class At(str):
    """In an annotation: the option's name where it is not that of its field; the field itself is no option."""


class OneOf:
    """In an annotation: one of the names of a collection, such as a registry, that is looked at when it is needed."""

    def __init__(self, names: Collection[str]) -> None:
        self.names = names

    def __get_pydantic_core_schema__(self, source: Any, handler: Callable) -> core_schema.CoreSchema:
        def known(value: str) -> str:
            if value not in self.names:
                raise ValueError
            return value

        return core_schema.no_info_after_validator_function(known, handler(source))


class _Part:
    """In an annotation: a mapping is made the options class that is asked for, by its own constructor."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Callable) -> core_schema.CoreSchema:
        def make(value: object) -> object:
            return check(source, value) if isinstance(value, Mapping) else value

        return core_schema.no_info_before_validator_function(make, handler(source))


def _distinct(values: Sequence[T]) -> Sequence[T]:
    for i, value in enumerate(values):
        if value in values[:i]:
            raise ValueError(f"{shown(value)} is given twice")
    return values


def _as_text(value: object) -> object:
    return str(value) if type(value) is int else value


def _name_parts(values: object) -> object:
    if not isinstance(values, Mapping):
        return values
    for name, own in values.items():
        if isinstance(own, Mapping) and "name" in own:
            raise ValueError(f"{name} has a name; leave {name}.name out")
    return {name: {"name": name, **own} if isinstance(own, Mapping) else own for name, own in values.items()}


# Whole numbers stay whole where any number is right: what is recorded is what was written.
AS_WRITTEN = WrapValidator(lambda value, valid: (valid(value), value)[1])

Number = Annotated[float, AS_WRITTEN]
Positive = Annotated[float, Gt(0), AS_WRITTEN]
NotNegative = Annotated[float, Ge(0), AS_WRITTEN]
Share = Annotated[float, Ge(0), Le(1), AS_WRITTEN]
ShareBelowOne = Annotated[float, Ge(0), Lt(1), AS_WRITTEN]
Count = Annotated[int, Ge(1)]
Natural = Annotated[int, Ge(0)]
Seed = Annotated[int, Ge(0), Le(2**32 - 1)]
Name = Annotated[str, MinLen(1)]
Word = Annotated[str, BeforeValidator(_as_text)]  # of a corpus, where YAML may take it for a number
Place = Annotated[Path, Strict(False)]
Several = Annotated[tuple[T, ...], Strict(False)]
Distinct = Annotated[tuple[T, ...], Strict(False), AfterValidator(_distinct)]
Part = Annotated[T, _Part()]
Named = Annotated[Mapping[str, Annotated[T, _Part()]], BeforeValidator(_name_parts)]


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def options(where: str = "") -> Callable[[type[T]], type[T]]:
    """Decorator: a frozen data class that refuses wrong values with `InputError`.

    Args:
        where: Where its fields stand among the settings, ``dataset.audio``; ``{name}`` is the value of its own field.
    """

    def decorate(cls: type[T]) -> type[T]:
        made: Any = checked.dataclass(cls, frozen=True, config=CONFIG)
        validate = made.__init__

        def __init__(self: Any, *args: object, **values: object) -> None:  # noqa: N807
            names = [each.name for each in fields(made)]
            given = {**dict(zip(names, args, strict=False)), **values}
            if len(args) + len(values) > len(given):
                raise TypeError(f"{made.__name__} is given a field twice, or more fields than it has")
            try:
                validate(self, **given)
            except ValidationError as error:
                raise _refusal(error, made, _place(made, given)) from None

        made.__init__ = __init__
        made.__options_where__ = where
        return made

    return decorate


def check(kind: type[T], values: object, where: str | None = None) -> T:
    """Make an options object of what a configuration says.

    Args:
        kind: A class under `options`.
        values: Its fields; anything but a mapping is refused.
        where: Name of the mapping for the error, where the class does not say it.

    Raises:
        InputError: A field is unknown, missing or wrong.
    """
    if not isinstance(values, Mapping):
        place = getattr(kind, "__options_where__", None) if where is None else where
        raise InputError(f"{shown(values)} is not {right(kind)}", field=place or None)
    known = option_names(kind)
    for name in values:
        if name not in known:
            raise unknown(
                str(name),
                known,
                _place(kind, values) if where is None else where,
            )
    return kind(**values)


def valid(wanted: Any, value: T, place: str) -> T:
    """A single value, if it is what an annotation asks for.

    Args:
        wanted: ``Count``, ``Literal["error", "skip"]``, ...
        value: The value.
        place: The option's name for the error.

    Raises:
        InputError: It is not.
    """
    try:
        return _adapter(wanted).validate_python(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise _wrong(first, wanted, place, first["loc"]) from None


@lru_cache(maxsize=256)
def _adapter(wanted: Any) -> TypeAdapter:
    return TypeAdapter(wanted, config=None if is_dataclass(_taken_apart(wanted)[0]) else CONFIG)


@lru_cache(maxsize=256)
def _hints(kind: type) -> Mapping[str, Any]:
    return get_type_hints(kind, include_extras=True)


def option_names(kind: type) -> Sequence[str]:
    """The fields of an options class that a configuration can give."""
    return _option_names(kind)


@lru_cache(maxsize=256)
def _option_names(kind: type) -> Sequence[str]:
    hints = _hints(kind)
    own = [each.name for each in fields(kind) if each.init]
    return [name for name in own if not any(isinstance(extra, At) for extra in _taken_apart(hints[name])[2])]


def needed_of(kind: type) -> list[str]:
    """The fields of an options class without a default."""
    return [each.name for each in fields(kind) if each.default is MISSING and each.default_factory is MISSING]


@lru_cache(maxsize=256)
def parts_of(kind: type) -> Mapping[str, type]:
    """The fields of an options class that are options classes themselves."""
    hints = _hints(kind)
    own = {name: _taken_apart(hints[name])[0] for name in option_names(kind)}
    return {name: part for name, part in own.items() if hasattr(part, "__options_where__")}


def unknown(
    name: str, known: Collection[str], where: str = "", what: str = "option", *, whole: bool = False
) -> InputError:
    """The error of a name that nobody knows, with the nearest one that is known.

    Args:
        name: The name.
        known: All names.
        where: The option that holds it.
        what: What it is a name of.
        whole: Whether it is the value of ``where`` rather than an option in it.
    """
    near = get_close_matches(name, known, n=1)
    remedy = f"Did you mean {near[0]}?" if near else f"There are {', '.join(known)}." if known else "There are none."
    place = where if whole else f"{where}.{name}".lstrip(".")
    return InputError(f"there is no {what} {name!r}", field=place, remedy=remedy)


def shown(value: object) -> str:
    """A value as a person would write it on the command line: ``null``, ``true``, ``[1, 'a']``, text in quotes."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        text = "{" + ", ".join(f"{name}: {shown(own)}" for name, own in value.items()) + "}"
    elif isinstance(value, list | tuple):
        text = "[" + ", ".join(map(shown, value)) + "]"
    else:
        text = repr(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def _place(kind: Any, values: Mapping) -> str:
    return kind.__options_where__.format_map({"name": "NAME", **values})


def _refusal(error: ValidationError, kind: type, where: str) -> InputError:
    """The first thing that is wrong with the fields of an options class, as an error for the user."""
    first = error.errors(include_url=False)[0]
    if not first["loc"]:
        return first["ctx"]["error"]  # of __post_init__
    name, *inside = first["loc"]
    if first["type"] == "unexpected_keyword_argument":
        return unknown(str(name), option_names(kind), where)
    wanted = _hints(kind)[str(name)]
    at = next((str(extra) for extra in _taken_apart(wanted)[2] if isinstance(extra, At)), None)
    return _wrong(first, wanted, at or f"{where}.{name}".lstrip("."), inside)


def _wrong(first: Any, wanted: Any, place: str, inside: Sequence[int | str]) -> InputError:
    """The error of one value, or of what is ``inside`` it."""
    if first["type"] in ("missing", "missing_argument"):
        return InputError("a value must be given", field=place, remedy=f"Give {right(wanted)}: {place}=VALUE.")
    for part in inside:
        origin, args, _ = _taken_apart(wanted)
        if origin is tuple and isinstance(part, int):
            wanted = args[0]
        elif origin is Mapping and "[key]" in inside:
            wanted = args[0]
            break
        elif origin is Mapping:
            wanted, place = args[1], f"{place}.{part}"
        else:
            break
    cause, value = (first.get("ctx") or {}).get("error"), first["input"]
    if isinstance(cause, InputError):
        return cause
    if cause is not None and str(cause):
        return InputError(str(cause), field=place)
    kind, _, extras = _taken_apart(wanted)
    misread = kind is str and isinstance(value, bool | int | float | None)
    misread = misread and not any(isinstance(extra, Words) for extra in extras)
    near = get_close_matches(value, _choices(wanted), n=1) if isinstance(value, str) else []
    remedy = MISREAD if misread else f"Did you mean {near[0]}?" if near else None
    return InputError(f"{shown(value)} is not {right(wanted)}", field=place, remedy=remedy)


def _choices(wanted: Any) -> list[str]:
    """The words that an annotation takes, where it takes no others."""
    origin, args, extras = _taken_apart(wanted)
    named = [name for extra in extras if isinstance(extra, OneOf) for name in extra.names]
    if origin is Union:
        return [*named, *(name for arg in args for name in _choices(arg))]
    return [*named, *(str(arg) for arg in args)] if origin is Literal else named


def _taken_apart(wanted: Any) -> tuple[Any, tuple[Any, ...], tuple[Any, ...]]:
    """Origin, arguments and metadata of an annotation; the origin of a plain type is itself, of any union ``Union``."""
    extras: tuple[Any, ...] = ()
    while get_origin(wanted) is Annotated:
        wanted, *more = get_args(wanted)
        extras = (*more, *extras)
    origin = get_origin(wanted)
    return Union if origin is types.UnionType else origin or wanted, get_args(wanted), extras


def right(wanted: Any) -> str:
    """What an annotation takes, in words: ``a whole number of at least 1``."""
    origin, args, extras = _taken_apart(wanted)
    choices = [extra for extra in extras if isinstance(extra, OneOf)]
    if choices:
        return f"one of {', '.join(choices[-1].names)}"
    said = [extra for extra in extras if isinstance(extra, Words)]
    if said:
        return said[-1]
    if origin is Union:
        each = [right(arg) for arg in args if arg not in (type(None), Literal[""])]
        return " or ".join([*each, "null"] if type(None) in args else each)
    if origin is Literal:
        return f"one of {', '.join(dict.fromkeys(map(str, args)))}" if len(args) > 1 else shown(args[0])
    if origin is tuple:
        item = right(args[0]).removeprefix("a ").removeprefix("one ")
        some = "some " if item.startswith("of ") else ""
        return f"a list of {'at least one ' if any(isinstance(extra, MinLen) for extra in extras) else some}{item}"
    if origin is Mapping:
        return f"a mapping from {right(args[0])} to {right(args[1])}"
    if isinstance(origin, type) and is_dataclass(origin):
        return f"a mapping of {', '.join(option_names(origin))}" if option_names(origin) else "an empty mapping"
    if origin in (int, float):
        return f"a {'whole ' if origin is int else ''}number{_range(extras)}"
    return {bool: "true or false", str: "a text", Path: "a path"}.get(
        origin, f"a {getattr(origin, '__name__', origin)}"
    )


def _range(extras: Sequence[Any]) -> str:
    low = next((each for each in extras if isinstance(each, Ge | Gt)), None)
    high = next((each for each in extras if isinstance(each, Le | Lt)), None)
    up_to = None if high is None else str(high.le) if isinstance(high, Le) else f"below {high.lt}"
    if low is None:
        return "" if up_to is None else f" up to {up_to}" if isinstance(high, Le) else f" {up_to}"
    least = low.ge if isinstance(low, Ge) else low.gt
    if up_to is None:
        return f" of at least {least}" if isinstance(low, Ge) else f" above {least}"
    return f" from {least} to {up_to}" if isinstance(low, Ge) else f" above {least}, to {up_to}"
