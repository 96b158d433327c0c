"""Load the speech encoder of a checkpoint, alone or with its classifier; the ``model`` configs name the function."""

from __future__ import annotations

import emoprobe.models.torchaudio  # isort: skip  # noqa: F401  # before transformers

import importlib
import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import torch
import transformers
from safetensors import safe_open
from transformers import AutoConfig, AutoFeatureExtractor, AutoModel, PreTrainedConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING_NAMES as CLASSIFIERS

from emoprobe.errors import InputError
from emoprobe.models import weights
from emoprobe.models.encoder import Encoder
from emoprobe.models.load import LOCAL, check_weights, read_weights, unloadable
from emoprobe.models.place import DTYPES, keep_float32, resolve_device, straight_to
from emoprobe.options import Words

# Where the encoder lies in the class that config.json names, by transformers' model_type. Of others it is the class
# that transformers gives for the configuration, if that takes sound and nothing else.
PLACES = {
    "canary": "model.encoder",
    "cohere_asr": "model.encoder",
    "granite_speech5_ctc": "encoder",
    "lasr_ctc": "encoder",
    "moonshine": "model.encoder",
    "moonshine_streaming": "model.encoder",
    "nemotron3_5_asr": "encoder",
    "nemotron_asr_streaming": "encoder",
    "parakeet_ctc": "encoder",
    "parakeet_rnnt": "encoder",
    "parakeet_tdt": "encoder",
    "seamless_m4t": "speech_encoder",
    "seamless_m4t_v2": "speech_encoder",
    "speech-encoder-decoder": "encoder",
    "speech_to_text": "model.encoder",
    "speecht5": "speecht5.encoder",
}
ALONE = re.compile(r"Encoder(WithSpeechPrenet)?$")  # classes that are an encoder: one that was saved by itself
RENAMED = ("cohere_asr",)  # only as a whole does transformers know the names of their weights
SOUND = ("input_values", "input_features")
# A vector for masked frames, which are not used (see `Encoder`): many checkpoints were saved without it.
MASK = "masked_spec_embed"
EXTRACTOR_FILES = ("preprocessor_config.json", "processor_config.json")


def load_encoder(
    name: Annotated[str, Words("a model on the hub (model.name=OWNER/MODEL), or a folder (model.path=FOLDER)")],
    *,
    path: str | Path | None = None,
    revision: str | None = None,
    dtype: Annotated[Literal["float32", "bfloat16"], Words("float32 or bfloat16 (float16 overflows)")] = "float32",
    device: str = "auto",
    attention: Annotated[
        Literal["auto", "sdpa", "eager"], Words("auto (sdpa where the class has it), sdpa or eager")
    ] = "auto",
) -> Encoder:
    """Load the speech encoder of a checkpoint.

    Args:
        name: Hub name such as ``microsoft/wavlm-base-plus``.
        path: Folder of an ordinary transformers checkpoint, instead of the cache or the hub.
        revision: Hub revision.
        dtype: ``float32`` or ``bfloat16``.
        device: ``auto``, ``cpu``, ``cuda`` ...
        attention: ``sdpa``, ``eager``, or ``auto``: what the class has.

    Raises:
        WeightsError: The weights are missing or damaged.
        InputError: An option is wrong, the checkpoint has no speech encoder that is known, its preprocessor file is
            missing, or weights of the encoder are missing or unexpected.
    """
    if not name:
        raise InputError(
            "no model is named", field="model.name", remedy="Give model.name=OWNER/MODEL, or model.path=FOLDER."
        )
    if dtype not in DTYPES:
        raise InputError(
            f"unknown dtype {dtype!r}", field="model.dtype", remedy="Use float32 or bfloat16 (float16 overflows)."
        )
    if attention not in ("auto", "sdpa", "eager"):
        raise InputError(f"unknown attention {attention!r}", field="model.attention", remedy="Use auto, sdpa or eager.")
    keep_float32()
    resolved = weights.resolve(name, path=path, revision=revision)
    options: dict[str, Any] = {"dtype": DTYPES[dtype]} | straight_to(resolve_device(device))
    if attention != "auto":
        options["attn_implementation"] = attention
    needed = "a transformers checkpoint of a speech encoder with its preprocessor file"
    with unloadable(resolved.path, name, "a speech encoder", needed):
        config = AutoConfig.from_pretrained(resolved.path, **LOCAL)
        part = _find(config, resolved.path, name)
        _check_extractor(resolved.path, name)
        extractor = AutoFeatureExtractor.from_pretrained(resolved.path, **LOCAL)
        model = _load_part(part, resolved.path, name, **options)
    return Encoder(
        model.to(resolve_device(device)),
        extractor,
        name=resolved.name,
        revision=resolved.revision,
        place=part.inside,
    )


class Part(NamedTuple):
    """What is loaded of a checkpoint.

    Args:
        model_class: The class to load.
        config: Its configuration.
        prefix: How the names of its weights begin in the file; empty where transformers finds that out by itself.
        inside: Name of the encoder inside it; empty where it is the encoder.
        taken: Name of the encoder inside it if that alone is kept.
    """

    model_class: Any
    config: PreTrainedConfig
    prefix: str = ""
    inside: str = ""
    taken: str = ""


def _find(config: PreTrainedConfig, path: Path, name: str) -> Part:
    """The encoder of a checkpoint, with its classifier if it has one that transformers knows.

    Raises:
        InputError: There is none.
    """
    architecture = (config.architectures or [""])[0]
    known = _class(architecture, config)
    if ALONE.search(architecture) and known is not None and known.main_input_name in SOUND:
        return Part(known, config)
    if CLASSIFIERS.get(config.model_type) == architecture:
        return Part(known, config, inside="encoder" if config.model_type == "whisper" else known.base_model_prefix)
    if config.model_type in PLACES and known is not None:
        with torch.device("meta"):
            modules = dict(known(config).named_modules())
        place = PLACES[config.model_type]
        for prefix in (place, place.removeprefix(f"{known.base_model_prefix}.")):
            if prefix in modules and "TextPrenet" not in type(modules[prefix]).__name__:
                if config.model_type in RENAMED:
                    return Part(known, config, taken=prefix)
                return Part(type(modules[prefix]), modules[prefix].config, prefix=prefix)
    elif type(config) in AutoModel._model_mapping and not (config.sub_configs or config.is_encoder_decoder):
        plain: Any = AutoModel._model_mapping[type(config)]
        if plain.main_input_name in SOUND:
            return Part(plain, config)
    raise InputError(
        f"{name} has no speech encoder that is known by itself (model_type {config.model_type!r}, {architecture})",
        file=path / "config.json",
        field="model",
        remedy="Use model=whisper for a Whisper and model=audio_llm for an audio LLM; docs/models.md lists encoders.",
    )


def _class(architecture: str, config: PreTrainedConfig) -> Any:
    """The class of transformers that a configuration names; None where there is none."""
    try:
        models = importlib.import_module(type(config).__module__.replace(".configuration_", ".modeling_"))
    except ImportError:
        models = transformers
    return getattr(models, architecture, getattr(transformers, architecture, None))


def _check_extractor(path: Path, name: str) -> None:
    """Refuse a folder that does not say how its sound is prepared.

    Raises:
        InputError: There is no preprocessor file.
    """
    single, joint = (path / file for file in EXTRACTOR_FILES)
    if single.is_file() or (
        joint.is_file() and {"feature_extractor", "audio_processor"} & set(json.loads(joint.read_text("utf-8")))
    ):
        return
    raise InputError(
        f"{name} has no preprocessor file, which says how its sound is prepared (sampling rate, normalisation, mask)",
        file=single,
        field="model",
        remedy="Copy it from the checkpoint that this one was made of.",
    )


def _load_part(part: Part, path: Path, name: str, **options: Any) -> Any:
    """The encoder with all of its weights; those that lie outside it are other models' business.

    Raises:
        InputError: Weights of the encoder are missing or mismatched, or some that stand among them have no place in it.
    """
    if part.prefix:
        options["key_mapping"] = {rf"^{re.escape(part.prefix)}\.": ""}
    model, report = read_weights(part.model_class, path, name, config=part.config, **options)
    found = {kind: set(keys) for kind, keys in report.items()}
    for key in found["missing_keys"]:
        if key.rpartition(".")[2] == MASK:  # random numbers would be other ones in every process, for the feature cache
            model.get_parameter(key).data.zero_()
    for kind in ("missing_keys", "unexpected_keys"):
        found[kind] = {key for key in found[kind] if key.rpartition(".")[2] != MASK}
    if not (part.inside or part.taken):
        prefix = f"{part.prefix or part.model_class.base_model_prefix}."
        others = _modules_outside(prefix, path)
        found["unexpected_keys"] = {
            key for key in found["unexpected_keys"] if key.startswith(prefix) or key.partition(".")[0] not in others
        }
    check_weights(found, part.model_class, path, name)
    if part.prefix and hasattr(model, "_weight_conversions"):
        del model._weight_conversions  # or it would be saved under the names that it had in its class
    return model.get_submodule(part.taken)


def _modules_outside(prefix: str, path: Path) -> set[str]:
    """How the names of weights outside the encoder begin; there are none where the file holds an encoder only."""
    names: set[str] = set()
    for file in path.glob("*.safetensors"):
        with safe_open(file, "pt") as content:
            names |= set(content.keys())
    if not any(name.startswith(prefix) for name in names):
        return set()
    return {name.partition(".")[0] for name in names if not name.startswith(prefix)}
