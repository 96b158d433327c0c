"""Settings: composed by Hydra, resolved to plain values, checked before anything heavy is imported."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

from omegaconf import DictConfig, OmegaConf

from emoprobe.errors import EmoprobeError, InputError
from emoprobe.system.masking import learn_config
from emoprobe.system.places import conf_folder


def compose(overrides: Sequence[str], name: str = "probe") -> DictConfig:
    """Compose the project's configuration (of ``probe`` or ``train``), outside of an entry point or within one.

    Raises:
        InputError: The configuration folder is missing, or an override is wrong.
    """
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    from emoprobe.system.search_path import search_outside

    search_outside()
    folder = conf_folder()
    if not folder.is_dir():
        raise InputError("the configuration folder is missing", file=folder, remedy="Install emoprobe again.")
    try:
        within = GlobalHydra.instance().is_initialized()
        with nullcontext() if within else initialize_config_dir(str(folder), version_base="1.3"):
            config = hydra_compose(name, overrides=opened(overrides))
    except (HydraException, OmegaConfBaseException) as error:
        said = "; ".join(line.strip() for line in str(error).splitlines() if line.strip())
        raise InputError(f"the configuration cannot be composed: {said}") from error
    learn_config(config)
    return config


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
    from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

    try:
        return OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except MissingMandatoryValue as error:
        key = str(error.full_key)
        raise InputError("a value must be given", field=key, remedy=f"Add {key}=VALUE to the command line.") from error
    except OmegaConfBaseException as error:
        raise InputError(f"the configuration cannot be resolved: {error}") from error


def build(kind: type, values: dict, where: str) -> Any:
    """Make an options object from a config node; an unknown field is the user's error, not a traceback."""
    try:
        return kind(**values)
    except TypeError as error:
        raise InputError(f"malformed options: {error}", field=where) from error


def call(make: Any, where: str) -> Any:
    """Call what a config names; the user's mistakes come out as `EmoprobeError` instead of Hydra's wrapping."""
    from hydra.errors import InstantiationException

    try:
        return make()
    except InstantiationException as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, EmoprobeError):
            cause = cause.__cause__
        if cause is not None:
            raise cause from None
        said = " ".join(str(error).split())
        raise InputError(f"the {where} config cannot be carried out: {said}", field=where) from error
