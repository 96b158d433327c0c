"""``emoprobe fuse``: one distribution per utterance out of those of two runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from emoprobe.cli.arguments import make_parser
from emoprobe.cli.entry import command
from emoprobe.recipes.fuse import fuse_runs


@command
def main(arguments: Sequence[str]) -> int:
    """Run the command; returns its exit status."""
    parser = make_parser(
        "fuse",
        "Fuse the distributions of two runs on the utterances they share, with a weight fitted on the development "
        "part's votes, or else on other speakers' votes, and write the result as a run folder.",
        "RUN_A RUN_B -o DIR --cell-b readout=label_likelihood,calibration=none",
    )
    parser.add_argument("run_a", type=Path, metavar="RUN_A", help="folder of a run, or of an analysis inside one")
    parser.add_argument("run_b", type=Path, metavar="RUN_B", help="the other, of the same corpus and label set")
    parser.add_argument("-o", "--output", type=Path, required=True, help="new folder of the result")
    for name in "ab":
        parser.add_argument(
            f"--cell-{name}",
            default="",
            metavar="KEY=VALUE,...",
            help=f"which cell of RUN_{name.upper()}: model, prompt, readout, variant, calibration, as far as needed",
        )
    parser.add_argument(
        "--pool",
        choices=("geometric", "arithmetic"),
        default="geometric",
        help="how they are fused (default: %(default)s)",
    )
    parser.add_argument("--folds", type=int, default=5, help="folds of speakers without a development part")
    parser.add_argument("--seed", type=int, default=0, help="which speakers go together")
    parser.add_argument(
        "--floor",
        type=float,
        default=0.01,
        help="share of the uniform distribution in distributions with a probability of zero (default: %(default)s)",
    )
    parser.add_argument("--no-figures", action="store_true", help="draw nothing")
    parsed = parser.parse_args(arguments)

    fuse_runs(
        parsed.run_a,
        parsed.run_b,
        parsed.output,
        cells=(parsed.cell_a, parsed.cell_b),
        pool=parsed.pool,
        folds=parsed.folds,
        seed=parsed.seed,
        floor=parsed.floor,
        figures=not parsed.no_figures,
    )
    return 0
