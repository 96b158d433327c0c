"""Load a checkpoint as the SFM it is; the ``model`` configs name these functions."""

from __future__ import annotations

import emoprobe.models.torchaudio  # isort: skip  # noqa: F401  # before transformers

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import transformers
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForMultimodalLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    BitsAndBytesConfig,
)
from transformers.utils import logging as transformers_logging

from emoprobe.errors import InputError
from emoprobe.models import weights
from emoprobe.models.acoustics import read_thresholds
from emoprobe.models.audio_llm import AudioLLM
from emoprobe.models.cascade import Cascade, DescribedChat, Describer
from emoprobe.models.encoder_decoder import EncoderDecoder
from emoprobe.models.families import family_class
from emoprobe.models.families.chat import ChatFamily
from emoprobe.models.place import DTYPES, keep_float32, resolve_device, straight_to
from emoprobe.models.transcribers import transcriber_class
from emoprobe.models.whole_pass import WholePassLLM, read_audio_llm
from emoprobe.options import Words

# Nothing is fetched, and no code that lies beside the weights is run; unless told so, transformers asks in a terminal.
LOCAL: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
# What transformers raises of folders that lack a file, or hold a damaged one or another model's.
UNLOADABLE: tuple[type[Exception], ...] = (OSError, ValueError, KeyError, RuntimeError, ImportError, AttributeError)
UNLOADABLE += (SafetensorError, StrictDataclassError, TypeError)


def load_transcriber(
    name: Annotated[str, Words("a model on the hub (model.name=OWNER/MODEL), or a folder (model.path=FOLDER)")],
    *,
    path: str | Path | None = None,
    revision: str | None = None,
    dtype: Annotated[Literal["float32", "bfloat16"], Words("float32 or bfloat16 (float16 overflows)")] = "float32",
    device: str = "auto",
    language: str = "en",
    task: Literal["transcribe", "translate"] = "transcribe",
    punctuation: bool = True,
    attention: Literal["sdpa", "eager"] = "sdpa",
    context: Literal["window", "clip"] = "window",
) -> EncoderDecoder:
    """Load an encoder-decoder that transcribes: Whisper and those beside it in `emoprobe.models.transcribers`.

    Args:
        name: Hub name such as ``openai/whisper-base``.
        path: Folder of an ordinary transformers checkpoint, instead of the cache, the hub or the data packages.
        revision: Hub revision.
        dtype: ``float32`` or ``bfloat16``.
        device: ``auto``, ``cpu``, ``cuda`` ...
        language: What is spoken, where a checkpoint is told it.
        task: ``transcribe`` or ``translate`` (into English), likewise.
        punctuation: Whether punctuation and capitals are written, likewise.
        attention: transformers' attention implementation; others than these take no tree of tokens.
        context: ``clip`` lets Whisper's encoder hear a clip's own frames and half a second, instead of 30 s.

    Raises:
        WeightsError: The weights are missing or damaged.
        InputError: An option is wrong, or the checkpoint is none that transcribes.
    """
    if dtype not in DTYPES:
        raise InputError(
            f"unknown dtype {dtype!r}", field="model.dtype", remedy="Use float32 or bfloat16 (float16 overflows)."
        )
    keep_float32()
    resolved = weights.resolve(name, path=path, revision=revision)
    needed = "a transformers checkpoint with its processor files"
    with unloadable(resolved.path, name, "a model that transcribes", needed):
        kind = transcriber_class(AutoConfig.from_pretrained(resolved.path, **LOCAL).model_type, resolved.path)
        model_class = getattr(transformers, kind.model_class)
        options = {"dtype": DTYPES[dtype], "attn_implementation": attention} | straight_to(resolve_device(device))
        model = _load(model_class, resolved.path, name, kind.left_out, **options)
        processor = kind.load_processor(resolved.path)
        kind.prepare(model, processor, resolved.path)
    return kind(
        model.to(resolve_device(device)),
        processor,
        name=resolved.name,
        revision=resolved.revision,
        language=language,
        task=task,
        punctuation=punctuation,
        context=context,
    )


def load_audio_llm(
    name: Annotated[str, Words("a model on the hub (model.name=OWNER/MODEL), or a folder (model.path=FOLDER)")],
    *,
    path: str | Path | None = None,
    revision: str | None = None,
    dtype: Annotated[
        Literal["auto", "float32", "bfloat16"], Words("auto, float32 or bfloat16 (float16 overflows)")
    ] = "auto",
    device: str = "auto",
    device_map: str | dict | None = None,
    attention: Literal["sdpa", "eager"] = "sdpa",
    quantization: Literal["8bit", "4bit"] | None = None,
) -> AudioLLM | WholePassLLM:
    """Load an audio chat model that transformers supports natively.

    Args:
        name: Hub name such as ``Qwen/Qwen2-Audio-7B-Instruct``.
        path: Folder of an ordinary transformers checkpoint, instead of the cache or the hub.
        revision: Hub revision.
        dtype: ``float32``, ``bfloat16``, or ``auto``: bfloat16 on a GPU, float32 on a CPU.
        device: ``auto``, ``cpu``, ``cuda`` ...; not used with ``device_map``.
        device_map: accelerate's, to spread a model over devices.
        attention: ``sdpa`` or ``eager``: questions are folded with an explicit mask, which other kernels do not take.
        quantization: ``8bit`` or ``4bit`` with bitsandbytes, or None.

    Raises:
        WeightsError: The weights are missing or damaged.
        InputError: An option is wrong, or the checkpoint is no native audio chat model.
    """
    if not name:
        raise InputError(
            "no model is named", field="model.name", remedy="Give model.name=OWNER/MODEL, or model.path=FOLDER."
        )
    options = _chat_options(dtype, device, device_map, attention, quantization)
    keep_float32()
    resolved = weights.resolve(name, path=path, revision=revision)
    needed = "a transformers checkpoint with its processor files"
    with unloadable(resolved.path, name, "an audio chat model", needed):
        config = AutoConfig.from_pretrained(resolved.path, **LOCAL)
        family = family_class(config.model_type)
        options["attn_implementation"] = {"": attention} | dict.fromkeys(family.eager_parts, "eager")
        family.prepare(config)
        model = _load(model_class(family, config), resolved.path, name, family.left_out, config=config, **options)
        model = family.complete(model, resolved.path)
        processor = family.load_processor(resolved.path)
    if device_map is None and quantization is None:
        model = model.to(resolve_device(device))
    sfm = read_audio_llm(model, family(model, processor), name=resolved.name, revision=resolved.revision)
    if quantization is not None:
        sfm.dtype += f"-{quantization}"  # so that no table or resumed run takes it for the model itself
    return sfm


def load_cascade(
    name: Annotated[str, Words("a model on the hub (model.name=OWNER/MODEL), or a folder (model.path=FOLDER)")],
    *,
    path: str | Path | None = None,
    revision: str | None = None,
    transcriber: Annotated[
        Mapping[str, Any] | None, Words("null, or what a transcriber is loaded by, such as {name: openai/whisper-base}")
    ] = None,
    acoustics: Annotated[
        Mapping[str, Sequence[float]] | None, Words("null, or a mapping from measures to two numbers each")
    ] = None,
    dtype: Annotated[
        Literal["auto", "float32", "bfloat16"], Words("auto, float32 or bfloat16 (float16 overflows)")
    ] = "auto",
    device: str = "auto",
    device_map: str | dict | None = None,
    attention: Literal["sdpa", "eager"] = "sdpa",
    quantization: Literal["8bit", "4bit"] | None = None,
) -> Cascade:
    """Load a chat LLM, and what describes clips to it.

    Args:
        name: Hub name of the chat LLM, such as ``HuggingFaceTB/SmolLM2-135M-Instruct``.
        path: Its folder, instead of the cache, the hub or the data packages; it is then called by it.
        revision: Its hub revision.
        transcriber: Arguments of `load_transcriber` that are not the cascade's own: ``name``, ``path``, ``revision``,
            ``language``, ``task``, ``punctuation``. None: no words are told.
        acoustics: By measure (``pitch``, ``pitch_range``, ``intensity``, ``rate``) where low ends and high begins, see
            `emoprobe.models.acoustics.Thresholds`. None: nothing is told of the voice.
        dtype: As of `load_audio_llm`; the transcriber's too.
        device: Likewise.
        device_map: As of `load_audio_llm`, for the LLM; the transcriber stays on ``device``.
        attention: As of `load_audio_llm`.
        quantization: As of `load_audio_llm`, for the LLM.

    Raises:
        WeightsError: Weights are missing or damaged.
        InputError: An option is wrong, nothing is to be told, or the checkpoint is no chat LLM.
    """
    if transcriber is None and acoustics is None:
        raise InputError(
            "neither words nor voice are described, so the LLM would know nothing of a clip",
            field="model",
            remedy="Leave out model.transcriber=null or model.acoustics=null.",
        )
    options = _chat_options(dtype, device, device_map, attention, quantization)
    thresholds = None if acoustics is None else read_thresholds(acoustics)
    whisper = None
    if transcriber is not None:
        precision = str(options["dtype"]).removeprefix("torch.")
        named = {"name": str(transcriber.get("path") or transcriber.get("name"))}
        shared = {"dtype": precision, "device": device, "attention": attention}
        whisper = load_transcriber(**{**shared, **transcriber, **named})
    keep_float32()
    name = name if path is None else str(path)
    resolved = weights.resolve(name, path=path, revision=revision)
    with unloadable(resolved.path, name, "a chat LLM", "a transformers checkpoint of a chat LLM with its tokenizer"):
        config = AutoConfig.from_pretrained(resolved.path, **LOCAL)
        if type(config) not in AutoModelForCausalLM._model_mapping:
            raise InputError(
                f"transformers has no text model for model_type {config.model_type!r}",
                field="model",
                remedy="Choose a chat LLM, such as HuggingFaceTB/SmolLM2-135M-Instruct.",
            )
        model = _load(AutoModelForCausalLM, resolved.path, name, **options)
        tokenizer = AutoTokenizer.from_pretrained(resolved.path, **LOCAL)
    if device_map is None and quantization is None:
        model = model.to(resolve_device(device))
    describer = Describer(whisper, thresholds)
    shown, exact = describer.in_words(resolved.name, resolved.revision)
    sfm = Cascade(model, DescribedChat(model, tokenizer, describer), name=shown, revision=exact)
    if quantization is not None:
        sfm.dtype += f"-{quantization}"
    return sfm


def _chat_options(
    dtype: str, device: str, device_map: str | dict | None, attention: str, quantization: str | None
) -> dict[str, Any]:
    """What ``from_pretrained`` is told beside the checkpoint.

    Raises:
        InputError: A value is unknown.
    """
    if attention not in ("sdpa", "eager"):
        raise InputError(f"unknown attention {attention!r}", field="model.attention", remedy="Use sdpa or eager.")
    if dtype == "auto":
        on_gpu = resolve_device(device).type == "cuda" or (device_map is not None and torch.cuda.is_available())
        dtype = "bfloat16" if on_gpu else "float32"
    if dtype not in DTYPES:
        raise InputError(
            f"unknown dtype {dtype!r}", field="model.dtype", remedy="Use auto, float32 or bfloat16 (float16 overflows)."
        )
    options: dict = {"dtype": DTYPES[dtype], "attn_implementation": attention}
    if device_map is not None:
        options["device_map"] = device_map
    elif quantization is None:
        options |= straight_to(resolve_device(device))
    if quantization is not None:
        options |= {"quantization_config": _quantization(quantization, DTYPES[dtype])}
    return options


def model_class(family: type[ChatFamily], config: Any) -> type:
    """The family's class, or for the common form the one that transformers' own tables name."""
    if family.model_class:
        return getattr(transformers, family.model_class)
    for auto in (AutoModelForMultimodalLM, AutoModelForSeq2SeqLM):
        if type(config) in auto._model_mapping:
            return auto
    raise InputError(
        f"transformers has no model that hears and chats for model_type {config.model_type!r}",
        field="model",
        remedy="Choose a native audio chat model; conf/model/ names those that are tested.",
    )


def _quantization(kind: str, compute: torch.dtype) -> BitsAndBytesConfig:
    if kind not in ("8bit", "4bit"):
        raise InputError(f"unknown quantization {kind!r}", field="model.quantization", remedy="Use 8bit, 4bit or null.")
    try:
        return BitsAndBytesConfig(
            load_in_8bit=kind == "8bit", load_in_4bit=kind == "4bit", bnb_4bit_compute_dtype=compute
        )
    except ImportError as error:
        raise InputError(
            f"quantization needs bitsandbytes: {error}",
            field="model.quantization",
            remedy='Install it with pip install "emoprobe[quantization]", or use model.dtype=bfloat16.',
        ) from error


@contextmanager
def unloadable(path: Path, name: str, what: str, needed: str) -> Iterator[None]:
    """Let what transformers says of a folder that it cannot load come out as the user's error."""
    try:
        yield
    except InputError:
        raise
    except UNLOADABLE as error:
        _refuse_code(error, path, name)
        said = " ".join(str(error).strip().partition("\n\n")[0].split())  # the rest is advice on transformers
        raise InputError(
            f"{name} could not be loaded as {what}: {said}",
            file=path,
            field="model",
            remedy=f"Give the folder of {needed}, or another model config.",
        ) from error


def _refuse_code(error: Exception, path: Path, name: str) -> None:
    """Say what a checkpoint that brings its own code needs; transformers would advise to trust it."""
    if "trust_remote_code" in str(error) or "custom code" in str(error):
        raise InputError(
            f"{name} needs code of its own (auto_map in its folder), and foreign code is never run",
            file=path,
            field="model",
            remedy="Choose a model that transformers supports natively; conf/model/ names those that are tested.",
        ) from error


def _refuse_adapter(path: Path, name: str) -> None:
    """An adapter would be applied or left out by whether peft is installed, and its base is not looked at."""
    file = path / "adapter_config.json"
    if not file.is_file():
        return
    kind = json.loads((path / "config.json").read_text(encoding="utf-8")).get("model_type")
    if not family_class(str(kind)).has_adapter or not (path / "adapter_model.safetensors").is_file():
        raise InputError(
            f"{name} is a model with an adapter beside it",
            file=file,
            field="model",
            remedy="Merge it (peft: merge_and_unload) and save the whole model, or remove the adapter's files.",
        )


def _refuse_broken_settings(path: Path) -> None:
    """transformers takes generation settings that it cannot read for none, and goes on with its own."""
    file = path / "generation_config.json"
    try:
        readable = not file.is_file() or isinstance(json.loads(file.read_text(encoding="utf-8")), dict)
    except ValueError:
        readable = False
    if not readable:
        raise InputError("the generation settings cannot be read", file=file, field="model", remedy="Restore the file.")


def read_weights(cls: Any, path: Path, name: str, **options: Any) -> tuple[Any, dict[str, set]]:
    """A model, and which weights did not fit (``missing_keys``, ``unexpected_keys``, ``mismatched_keys``).

    The libraries' progress bars, and their tables of weights that did not fit, stay out.
    """
    _refuse_adapter(path, name)
    _refuse_broken_settings(path)
    shown, verbosity = transformers_logging.is_progress_bar_enabled(), transformers_logging.get_verbosity()
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    try:
        return cls.from_pretrained(path, use_safetensors=True, output_loading_info=True, **LOCAL, **options)
    finally:
        transformers_logging.set_verbosity(verbosity)
        if shown:
            transformers_logging.enable_progress_bar()


def check_weights(report: Mapping[str, Iterable], cls: type, path: Path, name: str) -> None:
    """Refuse a model whose weights did not all come from the checkpoint, or not all of its.

    Raises:
        InputError: Some did not fit.
    """
    wrong = {
        kind: sorted(report[kind]) for kind in ("missing_keys", "unexpected_keys", "mismatched_keys") if report[kind]
    }
    if wrong:
        raise InputError(f"the weights of {name} do not fit {cls.__name__}: {wrong}", file=path, field="model")


def _load(cls: Any, path: Path, name: str, left_out: str = "", **options: Any) -> Any:
    """A model whose weights all came from the checkpoint.

    Args:
        cls: The model's class.
        path: The checkpoint's folder.
        name: The model's name, for errors.
        left_out: Weights of the checkpoint that the model does without, as a regular expression.
        options: Of ``from_pretrained``.
    """
    model, report = read_weights(cls, path, name, **options)
    if left_out:
        report["unexpected_keys"] = {key for key in report["unexpected_keys"] if not re.match(left_out, key)}
    check_weights(report, cls, path, name)
    return model
