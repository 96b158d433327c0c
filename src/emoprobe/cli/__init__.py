"""The console command: a file per verb, which parses, calls a recipe and says where the results lie."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import version

from emoprobe.cli.entry import exit_status

VERBS = {
    "Read out": {
        "probe": "what a model believes, zero-shot or with a trained head, about every clip of a corpus",
        "merge": "one run out of the parts of dataset.shard=1/N, 2/N, ...",
        "tokens": "what exactly is scored of every label after every prompt",
        "cache": "what a score cache holds, whether it is whole, and room in it",
        "doctor": "whether a model hears, and every shortcut is exact",
    },
    "Train": {
        "train": "a head on the frozen model, or adapters in it, with soft labels",
        "export": "trained adapters merged into their model, as an ordinary checkpoint",
    },
    "Understand": {
        "analyse": "other calibrations and analyses of a finished run, without its model",
        "drift": "what adapters changed in their model, layer by layer",
        "patch": "how far a belief goes along with another clip's sound, layer by layer",
        "controls": "what a probe's beliefs follow, sound or words: one channel changed at a time",
        "judge": "what the means of a run hide, by stratum, prompt and channel",
        "compare": "paired tests between readouts of one or several runs",
        "fuse": "one distribution out of those of two runs",
        "sweep": "what became of the jobs of a sweep, and their table",
        "report": "runs and sweeps as one offline page, with tables and figures for print",
        "export-results": "a run's results with intervals, as the hub and leaderboards read them",
    },
    "Corpora": {
        "data": "cards, the check of a copy, what its raters said",
        "floors": "floors and human ceiling of a corpus, from its votes alone",
    },
}
"""Every verb with what it gives, by task; `emoprobe.cli` holds a module of its name, with ``_`` for ``-``."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Call the verb that the first argument names; returns its exit status."""
    verb, *rest = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    known = [name for verbs in VERBS.values() for name in verbs]
    if verb in ("-h", "--help"):
        return exit_status(print, overview())
    if verb == "--version":
        return exit_status(print, f"emoprobe {version('emoprobe')}")
    if verb not in known:
        near = get_close_matches(verb, known, 1)
        meant = f" Did you mean {near[0]}?" if near else ""
        print(f"error: emoprobe has no command {verb!r}.{meant} emoprobe --help lists them.", file=sys.stderr)
        return 2
    return import_module(f"emoprobe.cli.{verb.replace('-', '_')}").main(rest)


def overview() -> str:
    """All verbs by task."""
    lines = [
        "usage: emoprobe COMMAND ...",
        "",
        "Read what a speech foundation model believes about an emotion, and compare it with the votes of raters.",
    ]
    for task, verbs in VERBS.items():
        lines += ["", f"{task}:", *(f"  {verb:<15} {gives}" for verb, gives in verbs.items())]
    return "\n".join([*lines, "", "emoprobe COMMAND --help tells more; emoprobe --version tells the version."])
