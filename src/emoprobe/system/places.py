"""Where emoprobe lies, and its groups of configs."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).parents[1]


def checkout() -> Path | None:
    """The checkout that the running package is part of; None where it is installed as a wheel."""
    root = PACKAGE.parents[1]
    return root if (root / "pyproject.toml").is_file() and root / "src" / "emoprobe" == PACKAGE else None


def conf_folder() -> Path:
    """The folder of emoprobe's own config groups: within the installed package, or in the checkout."""
    inside = PACKAGE / "conf"
    return inside if inside.is_dir() else PACKAGE.parents[1] / "conf"
