"""Where emoprobe lies, and where the groups of configs lie: its own, and those that installed packages bring.

A package brings config groups (``model/mine.yaml``) as data of a package ``my_package.conf``, which it names under the
entry-point group ``emoprobe.conf``. They are found after emoprobe's own and before a user's ``--config-dir``.
"""

from __future__ import annotations

from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path

from emoprobe.errors import InputError

PACKAGE = Path(__file__).parents[1]
GROUP = "emoprobe.conf"


def checkout() -> Path | None:
    """The checkout that the running package is part of; None where it is installed as a wheel."""
    root = PACKAGE.parents[1]
    return root if (root / "pyproject.toml").is_file() and root / "src" / "emoprobe" == PACKAGE else None


def conf_folder() -> Path:
    """The folder of emoprobe's own config groups: within the installed package, or in the checkout."""
    inside = PACKAGE / "conf"
    return inside if inside.is_dir() else PACKAGE.parents[1] / "conf"


def outside_confs() -> dict[str, str]:
    """Packages of config groups that installed packages bring, each with the name of who brings it.

    Raises:
        InputError: Such a package is not there.
    """
    found = {}
    for point in sorted(entry_points(group=GROUP)):
        owner = point.dist.name if point.dist is not None else "an installed package"
        try:
            there = find_spec(point.value) is not None
        except ImportError:
            there = False
        if not there:
            raise InputError(
                f"{owner} names config groups for emoprobe that are not there",
                field=point.value,
                remedy=f"Update or uninstall {owner}.",
            )
        found[point.value] = owner
    return found
