"""``emoprobe compare``: paired tests between readouts of one or several runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from emoprobe.cli.arguments import make_parser
from emoprobe.cli.entry import command
from emoprobe.recipes.compare import compare_runs, print_comparisons
from emoprobe.system.output import write_csv


@command
def main(arguments: Sequence[str]) -> int:
    """Run the command; returns its exit status."""
    parser = make_parser(
        "compare",
        "Paired permutation tests between all readouts of the given runs, exchanging whole speakers, with p-values "
        "adjusted for all comparisons (Holm), 95 % intervals and effect sizes.",
        "RUN_A RUN_B --cells calibration=none",
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run folders of the same corpus and labels")
    parser.add_argument(
        "--cells",
        action="append",
        default=[],
        metavar="KEY=VALUE,...",
        help="keep cells of this model, prompt, readout, variant or calibration; several times for a choice of them",
    )
    parser.add_argument("--metric", help="what is compared (default: js_divergence; of a scale, ccc)")
    parser.add_argument("--resamples", type=int, default=2000, help="exchanges and resamples (default: %(default)s)")
    parser.add_argument("-o", "--output", type=Path, help="CSV file to write")
    parsed = parser.parse_args(arguments)

    frame = compare_runs(parsed.runs, parsed.cells, parsed.metric, resamples=parsed.resamples)
    print_comparisons(frame)
    if parsed.output is not None:
        parsed.output.parent.mkdir(parents=True, exist_ok=True)
        write_csv(frame, parsed.output)
        print(f"Written: {parsed.output}")
    return 0
