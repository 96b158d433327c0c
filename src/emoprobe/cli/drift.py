"""``emoprobe drift``: what adapters changed in their model, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from emoprobe.cli.arguments import add_overrides, make_parser, overrides_of
from emoprobe.cli.entry import command


@command
def main(arguments: Sequence[str]) -> int:
    """Run the command; returns its exit status."""
    parser = make_parser(
        "drift",
        "Compare a model before and after its trained adapters on the same clips, layer by layer: likeness of states "
        "(linear CKA) and distance between beliefs.",
        "RUN_DIR/head_fold0 model=whisper_base dataset=cremad dataset.root=DIR dataset.limit=200 -o FOLDER",
    )
    parser.add_argument("bundle", type=Path, help="head folder of a training with head=lora or head=lora_probe")
    add_overrides(parser, "model=... labels=..., as they were trained with, and dataset=... dataset.limit=...")
    parser.add_argument("--resamples", type=int, default=2000, help="of speakers, for intervals (default: %(default)s)")
    parser.add_argument("--no-figures", action="store_true", help="draw nothing")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder to write to")
    parsed = parser.parse_intermixed_args(arguments)

    options = {"resamples": parsed.resamples, "figures": not parsed.no_figures}
    from emoprobe.recipes.drift import drift

    drift(parsed.bundle, parsed.output, overrides_of(parsed), **options)
    return 0
