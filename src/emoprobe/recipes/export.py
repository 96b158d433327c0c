"""``python -m emoprobe export``: LoRA adapters merged into their base model, as an ordinary transformers checkpoint."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from emoprobe.cli.entry import command
from emoprobe.errors import InputError


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Command line of ``python -m emoprobe export``."""
    parser = argparse.ArgumentParser(
        prog="python -m emoprobe export",
        description="Merge the adapters of a trained bundle into its base model and save the result as an ordinary "
        "transformers checkpoint, which model.path=FOLDER loads.",
        epilog="Example: python -m emoprobe export RUN_DIR/head_fold0 FOLDER model=whisper_base",
    )
    parser.add_argument("bundle", type=Path, help="head folder of a train.py run with head=lora")
    parser.add_argument("folder", type=Path, help="new folder of the checkpoint")
    parser.add_argument("overrides", nargs="*", help="Hydra overrides of the groups model and labels, as for train.py")
    return parser.parse_args(arguments)


def export(bundle_path: Path, folder: Path, overrides: Sequence[str]) -> Path:
    """Write the merged checkpoint and return its folder.

    Raises:
        InputError: The bundle is no adapter of this model, has several members, or the folder is not empty.
    """
    from emoprobe.labels import LabelSet
    from emoprobe.settings import build, call, compose, plain
    from emoprobe.training.bundle import load_bundle

    bundle = load_bundle(bundle_path)
    if bundle.facts["head"]["name"] != "lora":
        raise InputError(
            f"{bundle.facts['head']['name']} stands beside its model and cannot be merged into it",
            file=bundle_path,
            field="bundle",
            remedy="Use it with probe.py head=bundle; only head=lora changes the model itself.",
        )
    if len(bundle.weights) > 1:
        raise InputError(
            f"{len(bundle.weights)} members are {len(bundle.weights)} different models",
            file=bundle_path,
            field="bundle",
            remedy="Train with head.members=1.",
        )
    if folder.exists() and any(folder.iterdir()):
        raise InputError("the folder is not empty", file=folder, field="folder", remedy="Give a new folder.")
    from hydra.utils import instantiate

    config = compose(overrides, "train")
    labels = build(LabelSet, plain(config.labels), "labels")
    sfm = call(lambda: instantiate(config.model, _convert_="all"), "model")
    method = bundle.method(sfm, labels)
    method.restore(bundle.weights[0])
    method.merge().save_pretrained(folder)
    sfm.save_processor(folder)
    return folder


@command()
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    parsed = parse_arguments(arguments)
    print(f"wrote {export(parsed.bundle, parsed.folder, parsed.overrides)}; load it with model.path={parsed.folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
