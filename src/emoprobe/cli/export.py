"""``emoprobe export``: trained adapters merged into their base model, as an ordinary transformers checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from emoprobe.cli.arguments import add_overrides, make_parser, overrides_of
from emoprobe.cli.entry import command
from emoprobe.recipes.export import export


@command
def main(arguments: Sequence[str]) -> int:
    """Run the command; returns its exit status."""
    parser = make_parser(
        "export",
        "Merge the adapters of a trained bundle into its base model and save the result as an ordinary transformers "
        "checkpoint, which model.path=FOLDER loads.",
        "RUN_DIR/head_fold0 FOLDER model=whisper_base",
    )
    parser.add_argument("bundle", type=Path, help="head folder of a training run with head=lora")
    parser.add_argument("folder", type=Path, help="new folder of the checkpoint")
    add_overrides(parser, "model=... labels=..., as they were trained with")
    parsed = parser.parse_intermixed_args(arguments)

    folder = export(parsed.bundle, parsed.folder, overrides_of(parsed))
    print(f"wrote {folder}; load it with model.path={folder}")
    return 0
