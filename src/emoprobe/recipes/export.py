"""LoRA adapters merged into their base model, as an ordinary transformers checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from emoprobe.errors import InputError


def export(bundle_path: Path, folder: Path, overrides: Sequence[str]) -> Path:
    """Write the merged checkpoint and return its folder.

    Raises:
        InputError: The bundle is no adapter of this model, has several members, or the folder is not empty.
    """
    from emoprobe.recipes.settings import read_labels
    from emoprobe.settings import compose, make, read_node
    from emoprobe.training.bundle import load_bundle

    bundle = load_bundle(bundle_path)
    if bundle.facts["head"]["name"] != "lora":
        raise InputError(
            f"{bundle.facts['head']['name']} stands beside its model and cannot be merged into it",
            file=bundle_path,
            field="bundle",
            remedy="Use it with emoprobe probe head=bundle; only head=lora changes the model itself.",
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
    config = compose(overrides, "train")
    labels = read_labels(config)
    sfm = make(read_node(config, "model"), "model")
    method = bundle.method(sfm, labels)
    method.restore(bundle.weights[0])
    method.merge().save_pretrained(folder)
    sfm.save_processor(folder)
    return folder
