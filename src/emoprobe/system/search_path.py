"""What Hydra searches for configs beside emoprobe's own: installed packages and a user's folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path
from hydra.core.config_loader import ConfigLoader
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.plugins.search_path_plugin import SearchPathPlugin

from emoprobe.errors import InputError
from emoprobe.system.places import conf_folder, outside_confs

KEY = "hydra.searchpath"


class OutsideConfs(SearchPathPlugin):
    """Config groups that installed packages bring, see `emoprobe.system.places`."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Append them, if it is emoprobe's own configs that are composed."""
        own = f"file://{conf_folder()}"
        if any(element.path in (own, own.removeprefix("file://")) for element in search_path.get_path()):
            for package, owner in outside_confs().items():
                search_path.append(owner, f"pkg://{package}")


def search_outside() -> None:
    """Let every composition of this process find what installed packages bring.

    Hydra's launchers and sweepers store defaults under the names of emoprobe's presets for them; Hydra would take them
    for schemas of these, and refuse.
    """
    Plugins.instance().register(OutsideConfs)  # the first use of plugins imports them all
    hydra = conf_folder() / "hydra"
    for file in hydra.rglob("*.yaml"):
        node: Any = ConfigStore.instance().repo.get("hydra", {})
        for part in file.relative_to(hydra).parent.parts:
            node = node.get(part, {})
        node.pop(file.name, None)


def with_folder(overrides: Sequence[str], folder: Path) -> list[str]:
    """Overrides by which a folder is searched too, as Hydra's own ``--config-dir`` has it searched.

    Raises:
        InputError: There is no such folder, or ``hydra.searchpath`` is no list.
    """
    if not folder.is_dir():
        raise InputError("there is no such folder", file=folder, field="--config-dir")
    given = [override for override in overrides if override.partition("=")[0] == KEY]
    try:
        searched = OverridesParser.create().parse_override(given[0]).value() if given else []
    except HydraException as error:
        raise InputError(f"not an override: {given[0]}", field=KEY) from error
    if not isinstance(searched, list):
        raise InputError(f"{searched!r} is no list", field=KEY, remedy=f"Give {KEY}=[DIR].")
    others = [override for override in overrides if override not in given]
    return [search([*map(str, searched), f"file://{folder.absolute()}"]), *others]


def searched_by_job() -> list[str]:
    """The override by which another composition searches where this job of Hydra was told to, if it was told."""
    hydra: Any = HydraConfig.get()  # a configuration; its type says the schema
    told = places_told(hydra.runtime.config_sources)
    return [search(told)] if told else []


def places_told(sources: Sequence[Mapping[str, str]]) -> list[str]:
    """What a job or a sweep of Hydra was told to search.

    Args:
        sources: ``hydra.runtime.config_sources`` of it.
    """
    return [
        f"{source['schema']}://{source['path']}"
        for source in sources
        if source["provider"].startswith(("command-line", KEY))
    ]


def make_loader(places: Sequence[str] = ()) -> ConfigLoader:
    """What finds emoprobe's configs, those of installed packages and those of further places.

    Raises:
        InputError: A folder is not there.
    """
    search_outside()
    path = create_config_search_path(str(conf_folder()))
    for place in places:
        folder = Path(place.removeprefix("file://"))
        if place.startswith("file://") and not folder.is_dir():
            raise InputError("the folder of configs is no longer there", file=folder, field=KEY)
        path.append("command-line", place)
    return ConfigLoaderImpl(path)


def search(places: Sequence[str]) -> str:
    """The override that names places to search."""
    quoted = ["'" + place.replace("'", "\\'") + "'" for place in places]
    return f"{KEY}=[{','.join(quoted)}]"
