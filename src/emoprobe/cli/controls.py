"""``emoprobe controls``: what a finished probe's beliefs follow, sound or words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from emoprobe.cli.arguments import make_parser
from emoprobe.cli.entry import command


@command
def main(arguments: Sequence[str]) -> int:
    """Run the command; returns its exit status."""
    parser = make_parser(
        "controls",
        "A finished probe again with one channel of every clip changed at a time (sound shuffled in time, sound or "
        "words of another clip, acoustics in words that contradict the sound, silence, no sound), and a table of what "
        "the beliefs follow, with paired tests. One control alone: emoprobe probe control=sound_shuffled.",
        "RUN_DIR",
        "RUN_DIR --only sound_shuffled silence -o CONTROLS_DIR",
    )
    parser.add_argument("run", type=Path, metavar="RUN_DIR", help="folder of a finished run of emoprobe probe")
    parser.add_argument("--only", nargs="+", metavar="CONTROL", help="names of conf/control (default: all that apply)")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="settings of every control's run")
    parser.add_argument("--resamples", type=int, default=1000, help="of speakers, for intervals (default: %(default)s)")
    parser.add_argument("--no-figures", action="store_true", help="draw nothing")
    parser.add_argument("-o", "--output", type=Path, help="where to write (default: RUN_DIR/controls)")
    parsed = parser.parse_args(arguments)

    from emoprobe.recipes.controls import run_controls

    output = parsed.output or parsed.run / "controls"
    run_controls(parsed.run, output, parsed.only, parsed.set, resamples=parsed.resamples, figures=not parsed.no_figures)
    return 0
