"""Config groups of one's own: a folder that every command searches alike, and what installed packages bring."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import import_module, invalidate_caches
from pathlib import Path

import pytest
from checkout import PROJECT

import emoprobe
from emoprobe.cli import main
from emoprobe.errors import InputError
from emoprobe.run.sweep import expand
from emoprobe.settings import compose
from emoprobe.system.search_path import search, with_folder

LABELS = (
    "name: {name}\nlabels: [bright, dark]\nwords:\n  bright: {{adjective: [bright]}}\n  dark: {{adjective: [dark]}}\n"
)
# What a verb calls with the overrides, and the rest of its command line.
CALLS = {
    "analyse": ("analyse_again", ["RUN"]),
    "floors": ("print_floors", []),
    "doctor": ("admit", []),
    "tokens": ("load", []),
    "export": ("export", ["BUNDLE", "FOLDER"]),
    "data check": ("_read", []),
    "data show": ("_read", []),
}


class Called(BaseException):
    pass


@pytest.fixture
def folder(tmp_path) -> Path:
    """Config groups of a user; the folder's name has what Hydra's grammar needs quoted."""
    conf = tmp_path / "it's, my conf=1"
    (conf / "labels").mkdir(parents=True)
    (conf / "labels" / "mine.yaml").write_text(LABELS.format(name="mine"))
    return conf


@pytest.fixture
def package(tmp_path, monkeypatch) -> Path:
    """An installed package that brings config groups."""
    site = tmp_path / "site"
    (site / "their_package" / "conf" / "labels").mkdir(parents=True)
    for part in (".", "conf"):
        (site / "their_package" / part / "__init__.py").touch()
    (site / "their_package" / "conf" / "labels" / "theirs.yaml").write_text(LABELS.format(name="theirs"))
    (site / "their_package" / "conf" / "labels" / "basic6.yaml").write_text(LABELS.format(name="not ours"))
    information = site / "their_package-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: their-package\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("[emoprobe.conf]\ntheirs = their_package.conf\n")
    monkeypatch.syspath_prepend(site)
    for part in ("their_package", "their_package.conf"):  # of another test, in another folder
        monkeypatch.delitem(sys.modules, part, raising=False)
    invalidate_caches()
    return site


@pytest.mark.parametrize("verb", CALLS)
@pytest.mark.parametrize("way", ["--config-dir", "hydra.searchpath"])
def test_every_command_that_composes_searches_a_folder(verb, way, folder, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    given = ["--config-dir", folder.name] if way == "--config-dir" else [search([str(folder)])]
    name, *sub = verb.split()
    function, positional = CALLS[verb]
    found = []

    def called(*arguments):
        found.extend(part for argument in arguments if isinstance(argument, list) for part in argument)
        found.extend(argument for argument in arguments if isinstance(argument, str))
        raise Called

    monkeypatch.setattr(import_module(f"emoprobe.cli.{name}"), function, called)
    with pytest.raises(Called):
        main([name, *sub, *positional, "labels=mine", *given])
    overrides = [part for part in found if "=" in part]
    assert compose(overrides).labels.name == "mine"
    with pytest.raises(InputError, match="there is no labels 'mine'"):
        compose(["labels=mine"])


@pytest.mark.parametrize("verb", ["probe", "train"])
def test_the_commands_of_hydra_search_a_folder_and_packages(verb, folder, package, console):
    for options in (
        ["--config-dir", str(folder), "labels=mine"],
        [search([str(folder)]), "labels=mine"],
        ["labels=theirs"],
    ):
        done = console(verb, *options, "--cfg", "job", "--package", "labels")
        assert done.status == 0, done.err
        assert f"\nname: {options[-1].partition('=')[2]}\n" in done.out


PARTS = """
import sys
from emoprobe.recipes import parts, study
from emoprobe.settings import compose

def part(verb):
    def run(settings):
        _, *begun = sys.argv[1:]  # of a further process, after the verb
        print("PART", verb, settings.labels.name, compose(begun, verb).labels.name)
        return settings.output_dir
    return run

parts.probing.run, parts.recipe.run = part("probe"), part("train")
study.open_folder = lambda folder: sys.exit(0)
from emoprobe.cli import main
sys.argv[0] = "emoprobe"
sys.exit(main())
"""


@pytest.mark.parametrize("way", ["--config-dir", "hydra.searchpath"])
def test_parts_of_a_study_search_where_it_does(way, folder, tmp_path):
    given = ["--config-dir", folder.name] if way == "--config-dir" else [search([str(folder)])]
    options = ["experiment=finetuning_study", "study.seeds=[0]", "labels=mine", f"hydra.run.dir={tmp_path / 'run'}"]
    command = [sys.executable, "-c", PARTS, "train", *options, "logger=none", *given]
    environment = os.environ | {"PYTHONPATH": str(PROJECT / "src")}
    done = subprocess.run(
        command, cwd=folder.parent, capture_output=True, text=True, timeout=120, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    parts = [line.split()[1:] for line in done.stdout.splitlines() if line.startswith("PART")]
    assert parts == [["probe", "mine", "mine"], *[["train", "mine", "mine"]] * 5]


def test_what_a_package_brings_stands_beside_what_is_there(package):
    assert compose(["labels=theirs"]).labels.name == "theirs"
    assert compose(["labels=basic6"], "train").labels.name == "basic6"  # and takes the place of nothing
    assert ["labels=theirs"] in expand(["labels=glob(*)"])


def test_a_model_of_a_package_is_loaded_by_its_plain_function(package, tiny_whisper_path):
    conf = package / "their_package" / "conf" / "model"
    conf.mkdir()
    (conf / "__init__.py").touch()
    (conf / "their_model.yaml").write_text("_target_: their_package.load\npath: ???\n")
    source = (
        "from emoprobe.models import load as of\n\ndef load(path): return of.load_transcriber('theirs', path=path)\n"
    )
    (package / "their_package" / "__init__.py").write_text(source)
    model = emoprobe.load_model("their_model", path=tiny_whisper_path)
    assert model.sfm.name == "theirs"


def test_a_package_whose_configs_are_not_there_is_named(package):
    (package / "their_package-1.0.dist-info" / "entry_points.txt").write_text(
        "[emoprobe.conf]\nx = their_package.gone\n"
    )
    with pytest.raises(InputError, match=r"their-package names config groups .*field their_package\.gone") as caught:
        compose([])
    assert caught.value.remedy == "Update or uninstall their-package."


def test_other_programs_that_use_hydra_are_left_alone(package, tmp_path):
    from hydra import compose as their_compose
    from hydra import initialize_config_dir

    compose([])
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "main.yaml").write_text("a: 1\n")
    with initialize_config_dir(str(tmp_path / "other"), version_base="1.3"):
        # no group, but a value like any other
        assert dict(their_compose("main", overrides=["+labels=theirs"])) == {"a": 1, "labels": "theirs"}


def test_a_folder_is_added_to_a_search_path(folder, tmp_path):
    overrides = with_folder(["labels=mine", "hydra.searchpath=[/elsewhere]"], folder)
    assert compose(overrides).labels.name == "mine"
    assert overrides[1:] == ["labels=mine"]
    assert "/elsewhere" in overrides[0]
    for wrong, message in (("hydra.searchpath=3", "3 is no list"), ("hydra.searchpath=[", "not an override")):
        with pytest.raises(InputError, match=message):
            with_folder([wrong], folder)
    with pytest.raises(InputError, match="there is no such folder"):
        with_folder([], tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("verb", "other", "experiment"),
    [
        ("probe", "train", "finetuning_study"),
        ("train", "probe", "demo_study"),
        ("train", "probe", "token_logits_matter"),
    ],
)
def test_an_experiment_of_the_other_command_is_named(verb, other, experiment, capsys, monkeypatch):
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    assert main([verb, f"experiment={experiment}"]) == 2
    error = capsys.readouterr().err
    assert error == (
        f"error: {experiment} is an experiment of emoprobe {other} (field experiment). "
        f"Use emoprobe {other} experiment={experiment}.\n"
    )


def test_an_experiment_of_ones_own_is_one_of_a_command_too(folder, capsys):
    (folder / "experiment").mkdir()
    own = "# @package _global_\ndefaults: [override /loss: js, override /labels: mine]\n"
    (folder / "experiment" / "mine.yaml").write_text(own)
    assert main(["probe", "--config-dir", str(folder), "experiment=mine"]) == 2
    assert "mine is an experiment of emoprobe train" in capsys.readouterr().err


def test_a_mistake_beside_an_experiment_is_named_itself(capsys):
    assert main(["probe", "experiment=demo_study", "bach_size=3"]) == 2
    assert "bach_size" in capsys.readouterr().err
