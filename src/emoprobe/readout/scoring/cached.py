"""Keys of the score cache: all that a row of the score table can depend on, field by field.

*Model*: its class, the exact revision of all that it is made of, its weights as they are loaded, its configurations,
precision, attention kernels and kind of device, how much its encoder is given beside a clip, and the versions of the
libraries that compute. *Cell*: what was heard (the samples), what was asked (prompt, tokens, labels), what was read.
Neither batch, order, other prompts and readouts, names of files, clips and prompts nor the number of processes is in
it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from emoprobe.errors import InputError
from emoprobe.models.answering import AnsweringModel
from emoprobe.models.base import SpeechFoundationModel
from emoprobe.models.identity import config_of, sha256_of_weights
from emoprobe.readout.base import AnswerReadout, Readout
from emoprobe.readout.scoring.plan import PromptPlan
from emoprobe.run.cell import NO_PROMPT
from emoprobe.run.score_cache import ScoreCache
from emoprobe.run.scores import SCHEMA_VERSION
from emoprobe.system.digest import digest_of

FORMAT = 1  # of the keys; part of them


def facts_of(sfm: SpeechFoundationModel, library_versions: str) -> dict[str, Any]:
    """All facts about a model that its scores depend on.

    Args:
        sfm: The model.
        library_versions: Of the libraries that compute, as JSON.
    """
    config, generation = getattr(sfm.model, "config", None), getattr(sfm.model, "generation_config", None)
    return {
        "format": FORMAT,
        "schema": SCHEMA_VERSION,
        "class": f"{type(sfm).__module__}.{type(sfm).__qualname__}",
        "revision": sfm.revision,
        "weights": sha256_of_weights(sfm.model),
        "config": config_of(sfm.model),
        "attention": str(getattr(config, "_attn_implementation", None)),
        "generation": None if generation is None else generation.to_json_string(ignore_metadata=True),
        "dtype": sfm.dtype,
        "device": sfm.model.device.type,
        "sampling_rate": sfm.sampling_rate,
        "context": str(getattr(sfm, "context", None)),
        "libraries": library_versions,
        "parts": [facts_of(part, library_versions) for part in sfm.parts],
    }


def open_cache(root: Path, sfm: SpeechFoundationModel, library_versions: str) -> ScoreCache:
    """The cells of a model in a cache.

    Raises:
        InputError: It cannot be written, or nobody knows what the model's weights are.
    """
    if isinstance(sfm, AnsweringModel) and sfm.served:
        raise InputError(
            f"nobody here knows the weights of {sfm.name}, and scores are kept by them",
            field="cache.scores",
            remedy="Use cache.scores=null with a served model; resume=RUN takes over what a run has.",
        )
    called = {"model": sfm.name, "revision": sfm.revision, "dtype": sfm.dtype, "libraries": library_versions}
    return ScoreCache(root, facts_of(sfm, library_versions), called)


def named_again(sfm: SpeechFoundationModel, plan: PromptPlan | None) -> dict[str, str]:
    """What a run calls the model and the prompt of a cell, which the cache does not keep."""
    prompt = NO_PROMPT if plan is None else plan.prompt.name
    return {"model": sfm.name, "model_revision": sfm.revision, "prompt": prompt}


def heard_sha256(waveform: Tensor | None) -> str:
    """SHA-256 of the float32 samples that the model is given; empty where it hears nothing."""
    return "" if waveform is None else hashlib.sha256(waveform.numpy().tobytes()).hexdigest()


def cell_keys(
    heard: str, sound: str, cells: Sequence[tuple[PromptPlan | None, Readout]], label_set_hash: str
) -> list[str]:
    """Keys of what is read of one sound.

    Args:
        heard: `heard_sha256` of it.
        sound: Its name, of which the seeds of draws are made.
        cells: Tokenised prompts, None where nothing is asked, each with a readout.
        label_set_hash: Of the run's label set.
    """
    keys = []
    for plan, readout in cells:
        facts: dict[str, Any] = {
            "heard": heard,
            "readout": readout.name,
            "options": readout.options(None if plan is None else plan.prompt),
            "labels": label_set_hash,
        }
        if plan is not None:
            facts |= {"prompt": plan.prompt.hash, "question": plan.question_hash, "forms": list(plan.forms)}
        if isinstance(readout, AnswerReadout) and not readout.greedy:
            facts["draws"] = sound
        keys.append(digest_of(facts))
    return keys
