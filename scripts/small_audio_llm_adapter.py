"""Make of trained heads what emoprobe_small is made of: the adapter and its card, in the folder that emoprobe ships.

    python scripts/small_audio_llm_adapter.py RUN_DIR/head_fold0 [LATER_RUN/head_fold0 ...] --facts FACTS.json

Each later head was trained on the model that emoprobe export has made of those before it; that is checked. FACTS.json
is an object of what the card says beside: on what it was trained, by which commands, to what result.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import emoprobe.models.small
from emoprobe.errors import InputError
from emoprobe.models.audio_llm import AudioLLM
from emoprobe.models.load import load_audio_llm
from emoprobe.models.small.adapter import A, B, write_adapter
from emoprobe.models.small.checkpoints import SMALL_BASE
from emoprobe.prompts.prompt import make_prompts
from emoprobe.recipes.settings import read_labels
from emoprobe.settings import compose
from emoprobe.training.bundle import Bundle, load_bundle
from emoprobe.training.feature_spec import sample_of_weights
from emoprobe.training.methods.base import make_method
from emoprobe.training.methods.lora import ADAPTER, WHOLE


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundles", type=Path, nargs="+", help="head folders, the first with model=emoprobe_small_base")
    parser.add_argument("--facts", type=Path, required=True, help="JSON object")
    parser.add_argument("--out", type=Path, default=Path(str(emoprobe.models.small.__file__)).parent)
    options = parser.parse_args()
    first, *later = (load_bundle(folder) for folder in options.bundles)
    if first.facts["model"] != SMALL_BASE.name:
        raise InputError(f"this head was trained for {first.facts['model']}, not {SMALL_BASE.name}", field="bundles")
    sfm = load_audio_llm(SMALL_BASE.name, dtype="float32", device="cpu")
    state = {name: value.numpy().copy() for name, value in sfm.model.state_dict().items()}
    check_chain(sfm, [first, *later])
    tensors, scale = joined([adapter_of(bundle) for bundle in (first, *later)])
    facts = json.loads(options.facts.read_text(encoding="utf-8"))
    write_adapter(options.out, tensors, scale, state, {"parameters": sum(map(np.size, tensors.values()))} | facts)
    print(f"wrote {len(tensors)} tensors into {options.out}")


def check_chain(sfm: AudioLLM, bundles: Sequence[Bundle]) -> None:
    """Refuse a head that was trained on other weights than those that the heads before it make.

    Raises:
        InputError: There is one.
    """
    labels = read_labels(compose([], "train"))
    for bundle in bundles:
        if bundle.facts["model_weights"] != sample_of_weights(sfm.model):
            raise InputError("it was trained on other weights", file=bundle.folder, field="bundles")
        method = make_method(sfm, bundle.facts["head"], labels, make_prompts(bundle.facts["prompt_config"], labels))
        method.restore(bundle.weights[0])
        method.merge()


def adapter_of(bundle: Bundle) -> tuple[dict[str, np.ndarray], float]:
    """A head's tensors by the names of `emoprobe.models.small.adapter`, float16, and the scale of its products.

    Raises:
        InputError: It is more than low-rank products and whole tensors.
    """
    head = bundle.facts["head"]
    [weights] = bundle.weights
    tensors = {
        name.removeprefix(ADAPTER).removeprefix(WHOLE): value.numpy().astype(np.float16)
        for name, value in weights.items()
    }
    others = [n for n in weights if not (n.startswith(WHOLE) or (n.startswith(ADAPTER) and n.endswith((A, B))))]
    if others:
        raise InputError(f"{others[0]} is neither a low-rank product nor a whole tensor", field="bundle")
    return tensors, head["alpha"] / (head["rank"] ** 0.5 if head["rslora"] else head["rank"])


def joined(adapters: Sequence[tuple[dict[str, np.ndarray], float]]) -> tuple[dict[str, np.ndarray], float]:
    """Adapters one after the other as one: products add up, so their factors stand side by side.

    Raises:
        InputError: Their scales differ, or a later one replaces a tensor.
    """
    (tensors, scale), *later = adapters
    for more, other in later:
        if other != scale or not all(name.endswith((A, B)) for name in more):
            raise InputError(
                "heads of one scale (alpha / rank), of which the first alone trains whole modules, can join"
            )
        for name, value in more.items():
            axis = 0 if name.endswith(A) else 1
            tensors[name] = np.concatenate([tensors[name], value], axis) if name in tensors else value
    return tensors, scale


if __name__ == "__main__":
    main()
