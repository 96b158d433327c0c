"""Nodes with a ``_target_``: what a configuration has called by name. What they call is read here, and not imported.

The signature of the function or class that a node names is its list of options. It is taken from the source file, so
that a misspelt argument, or a value of the wrong type, is refused before torch, transformers or Lightning are loaded.
What cannot be found out in this way is left to the call.
"""

from __future__ import annotations

import ast
import collections.abc
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any

from emoprobe.errors import InputError
from emoprobe.options import Count, Natural, Positive, Words, shown, unknown, valid

TARGET = "_target_"
HYDRA = ("_args_", "_convert_", "_partial_", "_recursive_")
"""What else Hydra takes beside the arguments."""
KNOWN = (
    vars(typing)
    | vars(collections.abc)
    | {
        **{"Path": Path, "_PATH": str | Path, "Words": Words},
        **{"Count": Count, "Natural": Natural, "Positive": Positive},
    }
)
"""Names that an annotation may be made of; others are not looked into."""


@dataclass(frozen=True)
class Parameter:
    """An argument that can be given by name.

    Args:
        wanted: Its annotation; ``Any`` where it cannot be read.
        needed: Whether it has no default.
    """

    wanted: Any
    needed: bool


@dataclass(frozen=True)
class Signature:
    """The arguments of a function or class.

    Args:
        parameters: By name.
        open: Whether it takes others too.
    """

    parameters: Mapping[str, Parameter]
    open: bool


def check_node(node: object, where: str, given: tuple[str, ...] = ()) -> None:
    """Refuse a node that names nothing, or gives it what it does not take.

    Args:
        node: The node, plain values.
        where: The option that holds it.
        given: Arguments that the caller will add.

    Raises:
        InputError: It is no node, or an argument is unknown, missing or of the wrong type.
    """
    if not isinstance(node, Mapping) or not isinstance(node.get(TARGET), str):
        remedy = f"Give {where}.{TARGET}=MODULE.NAME and its arguments."
        raise InputError(f"{shown(node)} names nothing to call", field=where, remedy=remedy)
    target = node[TARGET]
    if not _spec(target.partition(".")[0]):
        remedy = "Install the package, or name what an installed one holds."
        raise InputError(f"there is no package of {target!r}", field=f"{where}.{TARGET}", remedy=remedy)
    signature = signature_of(target)
    if signature is not None:
        check_arguments({name: value for name, value in node.items() if name not in (TARGET, *HYDRA)}, signature, where)
        missing = [name for name, own in signature.parameters.items() if own.needed and name not in (*node, *given)]
        if missing and "_args_" not in node and not node.get("_partial_"):
            remedy = f"Give +{where}.{missing[0]}=VALUE."
            raise InputError("a value must be given", field=f"{where}.{missing[0]}", remedy=remedy)


def check_arguments(values: Mapping, signature: Signature, where: str) -> None:
    """Refuse arguments that a signature does not have, or that are of another type; nodes among them are checked too.

    Raises:
        InputError: An argument is unknown or wrong.
    """
    for name, value in values.items():
        if name not in signature.parameters:
            if not signature.open:
                raise unknown(str(name), list(signature.parameters), where)
        elif isinstance(value, Mapping) and TARGET in value:
            check_node(value, f"{where}.{name}")
        else:
            valid(signature.parameters[name].wanted, value, f"{where}.{name}")


@lru_cache(maxsize=64)
def signature_of(target: str) -> Signature | None:
    """The signature of a dotted name, read from its source; None where there is no source that says it."""
    _, found = _find(*_module(target))
    if isinstance(found, ast.ClassDef):
        found = next(
            (each for each in found.body if isinstance(each, ast.FunctionDef) and each.name == "__init__"), None
        )
        skip = 1
    else:
        skip = 0
    if found is None:
        return None
    listed = [*found.args.posonlyargs, *found.args.args]
    needed = len(listed) - len(found.args.defaults)
    parameters = {
        own.arg: Parameter(_annotation(own.annotation), i < needed) for i, own in enumerate(listed) if i >= skip
    }
    for own, default in zip(found.args.kwonlyargs, found.args.kw_defaults, strict=True):
        parameters[own.arg] = Parameter(_annotation(own.annotation), default is None)
    return Signature(parameters, found.args.kwarg is not None)


@lru_cache(maxsize=64)
def kin(target: str) -> tuple[str, ...]:
    """Names of the class that a function says it returns, or of a class, and of all that it derives from.

    Empty where the sources do not say all of them.
    """
    module, found = _find(*_module(target))
    if isinstance(found, ast.FunctionDef) and isinstance(found.returns, ast.Name):
        module, found = _find(module, found.returns.id)
    return _kin(module, found) if isinstance(found, ast.ClassDef) else ()


def _kin(module: str, node: ast.ClassDef) -> tuple[str, ...]:
    names = [node.name]
    for base in node.bases:
        if isinstance(base, ast.Name) and base.id == "ABC":
            continue
        place, found = _find(module, base.id) if isinstance(base, ast.Name) else ("", None)
        above = _kin(place, found) if isinstance(found, ast.ClassDef) else ()
        if not above:
            return ()
        names += above
    return tuple(names)


@lru_cache(maxsize=64)
def _spec(module: str) -> ModuleSpec | None:
    """Where a module lies; no package around it is imported."""
    parent, _, _ = module.rpartition(".")
    if not parent:
        return PathFinder.find_spec(module)
    around = _spec(parent)
    if around is None or around.submodule_search_locations is None:
        return None
    return PathFinder.find_spec(module, list(around.submodule_search_locations))


def _module(target: str) -> tuple[str, str]:
    """The longest beginning of a dotted name that is a module, and what follows."""
    parts = target.split(".")
    for i in range(len(parts) - 1, 0, -1):
        if _spec(".".join(parts[:i])):
            return ".".join(parts[:i]), ".".join(parts[i:])
    return "", target


def _find(module: str, name: str, hops: int = 4) -> tuple[str, ast.ClassDef | ast.FunctionDef | None]:
    """The definition of a name and its module, through the modules that import it from another."""
    spec = _spec(module) if module else None
    if spec is None or not spec.origin or not spec.origin.endswith(".py") or not hops:
        return module, None
    for node in ast.parse(Path(spec.origin).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
            return module, None if any(not _keeps(each) for each in node.decorator_list) else node
        if isinstance(node, ast.ImportFrom) and not node.level and node.module:
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return _find(node.module, alias.name, hops - 1)
    return module, None


def _keeps(decorator: ast.expr) -> bool:
    """Whether a decorator keeps the signature."""
    called = decorator.func if isinstance(decorator, ast.Call) else decorator
    name = called.attr if isinstance(called, ast.Attribute) else called.id if isinstance(called, ast.Name) else ""
    return name in ("register", "_defaults_from_env_vars", "rank_zero_experiment")


def _annotation(node: ast.expr | None) -> Any:
    if node is None:
        return Any
    try:
        return eval(ast.unparse(node), dict(KNOWN))  # names of types alone
    except Exception:
        return Any
