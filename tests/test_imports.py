"""The one rule of imports: they stand at the top of a file, but for those that are heavy.

An import within a function names a heavy package, or a module of emoprobe that imports one at its top, itself or
through others: that keeps ``import emoprobe`` and ``--help`` light, and nothing else is a reason. And no module changes
what another library does, for it would change it for everybody.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache

import pytest
from test_house import HOUSE, modules

HEAVY = {
    *("torch", "torchaudio", "torchmetrics", "lightning", "transformers", "peft", "accelerate", "bitsandbytes"),
    *("safetensors", "huggingface_hub", "httpx", "ctranslate2", "soundfile", "soxr", "parselmouth", "mistral_common"),
    *("pandas", "pyarrow", "scipy", "matplotlib", "rich", "hydra", "omegaconf", "pydantic", "yaml", "wandb"),
    *("tensorboard", "tqdm", "filelock"),
}
FILES = modules()
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


def for_type_checkers(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def statements(node: ast.AST, *, within: bool) -> Iterator[ast.Import | ast.ImportFrom]:
    """Imports that run with the module or, ``within``, when a function is called; not those for type checkers."""
    for child in ast.iter_child_nodes(node):
        if for_type_checkers(child):
            continue
        if isinstance(child, FUNCTIONS):
            yield from (found for found in ast.walk(child) if within and isinstance(found, ast.Import | ast.ImportFrom))
        elif isinstance(child, ast.Import | ast.ImportFrom):
            yield from () if within else (child,)
        else:
            yield from statements(child, within=within)


def named(statement: ast.Import | ast.ImportFrom) -> set[str]:
    """Modules that a statement imports, emoprobe's with the packages that they are in."""
    if isinstance(statement, ast.Import):
        names = [alias.name for alias in statement.names]
    else:
        base = statement.module or ""
        names = [
            f"{base}.{a.name}" if f"{base}.{a.name}".removeprefix("emoprobe.") in FILES else base
            for a in statement.names
        ]
    found = set(names)
    for name in names:
        if name.startswith("emoprobe"):
            parts = name.split(".")
            found |= {".".join(parts[:i]) for i in range(1, len(parts))}
    return found


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(FILES[module].read_text(encoding="utf-8"))


@cache
def reached(module: str) -> frozenset[str]:
    """Modules that run before this one has."""
    found, waiting = set(), [module]
    while waiting:
        one = waiting.pop()
        if one in FILES:
            new = {n for s in statements(tree(one), within=False) for n in named(s)} - found
            found |= new
            waiting += [name.removeprefix("emoprobe").lstrip(".") for name in new if name.startswith("emoprobe")]
    return frozenset(found)


def is_heavy(name: str) -> bool:
    if name.startswith("emoprobe"):
        module = name.removeprefix("emoprobe").lstrip(".")
        return any(is_heavy(other) for other in reached(module) if not other.startswith("emoprobe"))
    return name.split(".")[0] in HEAVY


@pytest.mark.parametrize("module", sorted(FILES))
def test_an_import_within_a_function_is_heavy(module: str):
    late = [
        f"{FILES[module].relative_to(HOUSE)}:{statement.lineno}: {ast.unparse(statement)}"
        for statement in statements(tree(module), within=True)
        if not any(map(is_heavy, named(statement)))
    ]
    assert not late


@pytest.mark.parametrize("module", sorted(FILES))
def test_no_module_changes_another_library(module: str):
    """No attribute of an imported module or class of another package is set, deleted or patched.

    The command line and the modules that are loaded, in ``sys``, are no library's. ``torch.backends`` holds torch's own
    switches, which it documents to be set.
    """
    assert "unittest" not in FILES[module].read_text(encoding="utf-8")
    foreign = {
        (alias.asname or alias.name).split(".")[0]
        for statement in ast.walk(tree(module))
        if isinstance(statement, ast.Import | ast.ImportFrom)
        for alias in statement.names
        if not any(name.startswith("emoprobe") for name in named(statement))
    } - {"sys"}
    changed = []
    for node in ast.walk(tree(module)):
        targets = node.targets if isinstance(node, ast.Assign | ast.Delete) else []
        targets = [*targets, *([node.target] if isinstance(node, ast.AugAssign | ast.AnnAssign) else [])]
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("setattr", "delattr"):
            targets = [ast.Attribute(node.args[0], "?")]
        for target in targets:
            if ast.unparse(target).startswith("torch.backends."):
                continue
            while isinstance(target, ast.Attribute | ast.Subscript):
                target = target.value
                if isinstance(target, ast.Name) and target.id in foreign:
                    changed.append(f"{FILES[module].relative_to(HOUSE)}:{node.lineno}: {ast.unparse(node)}")
    assert not changed
