"""The console command: its verbs, what they answer without work, and how light that is."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from checkout import PROJECT

from emoprobe.cli import VERBS, main
from emoprobe.cli.entry import exit_status

NAMES = [name for verbs in VERBS.values() for name in verbs]
HYDRAS = ("probe", "train")  # their help is Hydra's, which lists the options of every group
HEAVY = {"torch", "transformers", "lightning", "pandas", "pyarrow", "matplotlib", "wandb", "scipy"}


def run(*arguments: str, code: str = "sys.exit(main())") -> subprocess.CompletedProcess:
    program = f"import sys; sys.argv = ['emoprobe', *{list(arguments)!r}]\nfrom emoprobe.cli import main\n{code}"
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False, cwd=PROJECT.parent
    )


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_the_verbs_are_listed_by_task(arguments, capsys):
    assert main(arguments) == 0
    out = capsys.readouterr().out
    for task, verbs in VERBS.items():
        listed = out.split(f"\n{task}:\n")[1].split("\n\n")[0]
        assert [line.split()[0] for line in listed.splitlines()] == list(verbs)
    assert set(NAMES) == {
        *("probe", "train", "analyse", "judge", "compare", "fuse", "report", "doctor", "tokens", "data", "floors"),
        *("export", "sweep", "merge", "cache", "export-results", "drift", "patch", "controls"),
    }


@pytest.mark.parametrize("name", ["", *NAMES])
def test_help_says_what_a_verb_does_and_loads_nothing_heavy(name):
    code = (
        "status = None\ntry: status = main()\nexcept SystemExit as end: status = end.code\n"
        f"assert not status, status\nprint('HEAVY', sorted({HEAVY} & set(sys.modules)))"
    )
    done = run(*filter(None, [name]), "--help", code=code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "HEAVY []"
    if name in HYDRAS:
        assert f"emoprobe {name}" in done.stdout
        for group in ("model", "dataset", "prompt", "logger"):
            assert f"\n  {group} " in done.stdout
        assert "whisper_base" in done.stdout
    else:
        assert done.stdout.startswith(f"usage: emoprobe {name}".rstrip())


def test_an_unknown_verb_is_one_line(capsys):
    assert main(["analyze", "RUN"]) == 2
    assert capsys.readouterr().err == (
        "error: emoprobe has no command 'analyze'. Did you mean analyse? emoprobe --help lists them.\n"
    )
    assert main(["frobnicate"]) == 2
    assert "Did you mean" not in capsys.readouterr().err


def test_a_command_line_that_is_wrong_ends_with_2():
    for arguments in (["judge"], ["report", "--audio", "loud", "x"], ["probe", "model=nothing"], ["floors", "--what"]):
        done = run(*arguments)
        assert done.returncode == 2, (arguments, done.stderr)
        assert "Traceback" not in done.stderr


RICH = "from emoprobe.cli.entry import exit_status; from rich.console import Console; import sys; "
RICH += "sys.exit(exit_status(Console().print, 'a table'))"


@pytest.mark.parametrize(
    ("arguments", "unbuffered"),
    [
        (["-m", "emoprobe", "--help"], ""),
        (["-m", "emoprobe", "--help"], "1"),
        (["-m", "emoprobe", "probe", "--help"], ""),
        (["-m", "emoprobe", "data", "card"], "1"),
        (["-c", RICH], ""),
    ],
)
def test_a_pipe_whose_reader_has_gone_ends_it_quietly(arguments, unbuffered):
    environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}
    command = [sys.executable, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 141  # as if SIGPIPE had ended it


def test_a_pipe_that_breaks_elsewhere_keeps_its_traceback():
    def worker_has_gone():
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        exit_status(worker_has_gone)


def test_the_version_is_that_of_the_package(capsys):
    from importlib.metadata import version

    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"emoprobe {version('emoprobe')}\n"


def test_python_m_and_the_scripts_of_a_checkout_are_the_same():
    ways = [["-m", "emoprobe", "probe", "--help"], ["probe.py", "--help"]]
    shown = [subprocess.run([sys.executable, *way], cwd=PROJECT, capture_output=True, check=True) for way in ways]
    assert shown[0].stdout == shown[1].stdout == run("probe", "--help").stdout.encode()
