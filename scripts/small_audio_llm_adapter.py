"""Make of a trained head what emoprobe_small is made of: the adapter and its card, in the folder that emoprobe ships.

    python scripts/small_audio_llm_adapter.py RUN_DIR/head_fold0 --facts FACTS.json

FACTS.json is an object of what the card says beside: on what it was trained, by which command, to what result.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

import emoprobe.models.small
from emoprobe.errors import InputError
from emoprobe.models.load import load_audio_llm
from emoprobe.models.small.adapter import A, B, write_adapter
from emoprobe.models.small.checkpoints import SMALL_BASE
from emoprobe.training.bundle import Bundle, load_bundle
from emoprobe.training.methods.lora import ADAPTER, WHOLE


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path, help="head folder of a training run with model=emoprobe_small_base")
    parser.add_argument("--facts", type=Path, required=True, help="JSON object")
    parser.add_argument("--out", type=Path, default=Path(str(emoprobe.models.small.__file__)).parent)
    options = parser.parse_args()
    bundle = load_bundle(options.bundle)
    if bundle.facts["model"] != SMALL_BASE.name:
        raise InputError(f"this head was trained for {bundle.facts['model']}, not {SMALL_BASE.name}", field="bundle")
    tensors, scale = adapter_of(bundle)
    model = load_audio_llm(SMALL_BASE.name, dtype="float32", device="cpu", revision=bundle.facts["revision"]).model
    state = {name: value.numpy() for name, value in model.state_dict().items()}
    facts = json.loads(options.facts.read_text(encoding="utf-8"))
    write_adapter(options.out, tensors, scale, state, {"parameters": sum(map(np.size, tensors.values()))} | facts)
    print(f"wrote {len(tensors)} tensors into {options.out}")


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


if __name__ == "__main__":
    main()
