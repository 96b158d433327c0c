"""What a call of the API says, as a configuration: names choose groups, as on the command line; values fill them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emoprobe.errors import InputError
from emoprobe.labels import LabelSet
from emoprobe.settings import compose

if TYPE_CHECKING:
    from omegaconf import DictConfig

Choice = str | Sequence[str] | None


def configuration(
    name: str,
    groups: Mapping[str, Choice],
    values: Mapping[str, Any],
    overrides: Sequence[str] = (),
) -> DictConfig:
    """A composed configuration.

    Args:
        name: ``probe`` or ``train``.
        groups: Group -> name or names in it; None for the default.
        values: Option -> value, as Python has it.
        overrides: Further ones, as on the command line; they win.

    Raises:
        InputError: There is no such choice or option.
    """
    from omegaconf import OmegaConf, open_dict

    chosen = [f"{group}={_listed(choice)}" for group, choice in groups.items() if choice is not None]
    config = compose([*chosen, *overrides], name)
    own = {override.split("=")[0].lstrip("+~") for override in overrides}
    for option, value in values.items():
        if option in own:
            continue
        with open_dict(config):
            OmegaConf.update(config, option, _plain(value), merge=False, force_add=True)
    return config


def label_choice(labels: str | Sequence[str] | LabelSet | None) -> tuple[str | None, dict[str, Any]]:
    """``(name of a label set, values that stand for one)``: a name, words, or a `LabelSet`."""
    if labels is None or isinstance(labels, str):
        return labels, {}
    if not isinstance(labels, LabelSet):
        words = {label: {"adjective": [label], "noun": [label]} for label in labels}
        return None, {"labels": {"name": "own", "labels": list(labels), "words": words}}
    return None, {"labels": {each.name: getattr(labels, each.name) for each in fields(LabelSet)}}


def prompt_choice(prompt: Choice) -> tuple[Choice, dict[str, Any]]:
    """``(names of prompts, values that stand for one)``: names, or a completion that holds ``{label}``."""
    if isinstance(prompt, str) and "{label}" in prompt:
        return None, {"prompt": {"own": {"template": prompt}}}
    return prompt, {}


def _listed(choice: str | Sequence[str]) -> str:
    names = [choice] if isinstance(choice, str) else list(choice)
    for name in names:
        if not isinstance(name, str) or not name or set(name) & set("[]{},=' \""):
            raise InputError(f"{name!r} is no name of a configuration", remedy="Give names as conf/ has them.")
    return names[0] if isinstance(choice, str) else f"[{','.join(names)}]"


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(each) for each in value]
    return value
