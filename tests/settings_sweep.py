"""Every option of a verb's configurations with every kind of value; run as a process of its own, without torch.

    python tests/settings_sweep.py

prints one line per fault: a value that ends in anything but one line which names the option.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from emoprobe.errors import InputError
from emoprobe.recipes.settings import probe_settings, read_probe, read_train, train_settings
from emoprobe.settings import Composition, compose, composition

READ = {"probe": read_probe, "train": read_train}
TYPED = {"probe": probe_settings, "train": train_settings}
HEAVY = ("torch", "lightning", "transformers", "peft", "torchmetrics", "torchaudio", "wandb", "matplotlib")
NAN, INF = float("nan"), float("inf")
WRONG = (None, True, 7, -7, 0.5, NAN, INF, "word", [], ["word"], [None], {"word": 1})
COMPOSITIONS = {
    "probe": (
        "prompt=instruction/chain_of_thought model=qwen2_audio",
        "readout=[sampled_text,layerwise,constrained_text] logger=csv",
        "dataset=iemocap dataset.root=DIR",
        "dataset=manifest dataset.path=FILE calibration=all",
        "head=bundle head.path=DIR calibration=[vector_scaling,pmi]",
        "experiment=text_against_tokens",
    ),
    "train": (
        "",
        "head=lora_probe loss=dirichlet",
        "head=mlp_probe dataset=msp_podcast dataset.root=DIR",
        "experiment=finetuning_study",
    ),
}
FREE = {
    "logger.group": "handed on to wandb.init",
    "callbacks.rich_progress_bar.console_kwargs.stderr": "handed on to rich",
    "dataset.reader.votes_columns": "checked by the reader, against the table",
    "dataset.reader.distribution_columns": "likewise",
}
"""Options that take anything here, and why."""


def options(node: Any, place: str = "") -> Iterator[str]:
    """Every option of a configuration; a list is one, and so is a mapping beside those in it."""
    for key in node:
        own = f"{place}.{key}".lstrip(".")
        yield own
        value = node._get_node(key)
        if OmegaConf.is_dict(value):
            yield from options(value, own)


def faults(name: str, seen: set[str]) -> Iterator[str]:
    """What is wrong with how a verb's options are refused, those seen already left out."""
    for overrides in COMPOSITIONS[name]:
        config = compose([*overrides.split(), "output_dir=out"], name)
        composed = composition(config)
        for place in sorted(set(options(config)) - seen):
            seen.add(place)
            taken = 0
            for value in WRONG:
                try:
                    TYPED[name](changed(config, composed, place, value))
                    taken += 1
                except InputError as error:
                    field = error.field or ""
                    if not (field.startswith(place) or place.startswith(field or "-")):
                        yield f"{place}={value!r} is said to be {field}: {error}"
                    if "\n" in str(error):
                        yield f"{place}={value!r} takes several lines: {error}"
                except Exception as error:
                    yield f"{place}={value!r} ends in {type(error).__name__}: {error}"
            if taken == len(WRONG):
                yield f"{place} takes anything"


def changed(config: DictConfig, composed: Composition, place: str, value: object) -> Composition:
    """A configuration with another value; what no other option takes its value from is changed after resolving."""
    if any(f"{used}.".startswith(f"{place}.") or place.startswith(f"{used}.") for used in composed.used):
        own = config.copy()
        with open_dict(own):
            OmegaConf.update(own, place, value, merge=False)
        return composition(own)
    values = set_in(composed.values, place.split("."), value)
    kept = [option for option in composed.sources if not f"{option}.".startswith(f"{place}.")]
    return replace(composed, values=values, sources={option: composed.sources[option] for option in kept})


def set_in(values: Mapping, parts: list[str], value: object) -> dict:
    """A copy with one value changed."""
    first, *rest = parts
    return {**values, first: set_in(values[first], rest, value) if rest else value}


if __name__ == "__main__":
    met = set(FREE)
    for verb in TYPED:
        for fault in faults(verb, met):
            print(fault)
    print("loaded:", *sorted(set(HEAVY) & set(sys.modules)))
