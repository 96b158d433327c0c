"""``emoprobe export-results``: a finished run in the formats of leaderboards."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from emoprobe.cli.arguments import make_parser
from emoprobe.cli.entry import command
from emoprobe.recipes.export_results import export_results
from emoprobe.report.exports import EXPORTS


@command
def main(arguments: Sequence[str]) -> int:
    """Run the command; returns its exit status."""
    parser = make_parser(
        "export-results",
        "Write the results of a finished run, with 95 % intervals, as others read them: hf, the evaluation results of "
        "a model's repository on the Hugging Face hub; every_eval_ever, the record of that database. Readouts fitted "
        "on the votes that they are judged by are left out.",
        "RUN --format every_eval_ever --organization 'My Lab'",
        "RUN --format hf --dataset-id OWNER/CORPUS --cells readout=label_likelihood,calibration=none",
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a finished run, or a later analysis in one")
    parser.add_argument("--format", required=True, metavar="FORMAT", help=" or ".join(EXPORTS))
    parser.add_argument("-o", "--output", type=Path, help="folder to write to (default: RUN/exports/FORMAT)")
    parser.add_argument(
        "--cells",
        action="append",
        default=[],
        metavar="KEY=VALUE,...",
        help="readouts of this prompt, readout, variant or calibration only; several times for a choice of them",
    )
    parser.add_argument(
        "--metric",
        action="append",
        default=[],
        help="only this metric; several times for more (default: hf the headline metric, every_eval_ever all)",
    )
    parser.add_argument("--model-id", metavar="OWNER/MODEL", help="public name of the model (default: the run's)")
    parser.add_argument("--dataset-id", metavar="OWNER/NAME", help="the corpus on the Hugging Face hub")
    parser.add_argument("--task-id", help="hf: the benchmark's name of the metric (default: the metric's name)")
    parser.add_argument("--organization", default="unknown", help="every_eval_ever: who ran it (default: %(default)s)")
    parser.add_argument(
        "--relationship",
        choices=("first_party", "third_party", "collaborative", "other"),
        default="other",
        help="every_eval_ever: what you are to the model's makers (default: %(default)s)",
    )
    parsed = parser.parse_args(arguments)

    files = export_results(
        parsed.run,
        parsed.output or parsed.run / "exports" / parsed.format,
        parsed.format,
        cells=parsed.cells,
        metrics=parsed.metric,
        model_id=parsed.model_id,
        dataset_id=parsed.dataset_id,
        task_id=parsed.task_id,
        organization=parsed.organization,
        relationship=parsed.relationship,
    )
    for file in files:
        print(f"Written: {file}")
    return 0
