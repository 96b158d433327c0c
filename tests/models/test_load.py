"""Checkpoints that would run their own code, or are less than they seem, are refused without a question."""

from __future__ import annotations

import builtins
import contextlib
import json
import shutil

import pytest
import torch

from emoprobe.checks.tiny import TINY
from emoprobe.errors import InputError
from emoprobe.models.load import load_audio_llm, load_cascade, load_transcriber
from emoprobe.models.load_encoder import load_encoder
from emoprobe.models.text import PromptText

CODE = """
from pathlib import Path
Path({marker!r}).touch()
from transformers import {base}
class Foreign({base}):
    model_type = "foreign"
"""
AUTO_MAP = {
    "AutoConfig": "code.Foreign",
    "AutoModel": "code.Foreign",
    "AutoModelForCausalLM": "code.Foreign",
    "AutoModelForSeq2SeqLM": "code.Foreign",
    "AutoModelForSpeechSeq2Seq": "code.Foreign",
    "AutoModelForMultimodalLM": "code.Foreign",
    "AutoProcessor": "code.Foreign",
    "AutoFeatureExtractor": "code.Foreign",
}
FILES = ("config.json", "preprocessor_config.json", "processor_config.json", "generation_config.json")


@pytest.fixture
def marker(tmp_path, monkeypatch):
    """A file that foreign code makes when it runs; whoever is asked whether it may says yes."""

    def asked(*text):
        (tmp_path / "asked").touch()
        return "y"

    monkeypatch.setattr(builtins, "input", asked)
    return tmp_path / "ran"


def change(file, **values):
    settings = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    file.write_text(json.dumps(settings | values), encoding="utf-8")


def foreign(source, folder, marker, base="PreTrainedConfig"):
    """A copy of a checkpoint whose files all name code of their own."""
    shutil.copytree(source, folder)
    code = CODE.format(marker=str(marker), base=base)
    (folder / "code.py").write_text(code)
    (folder / "custom_generate").mkdir()
    (folder / "custom_generate" / "generate.py").write_text(code)
    for name in FILES:
        if (folder / name).exists():
            change(folder / name, auto_map=AUTO_MAP)
    change(folder / "tokenizer_config.json", auto_map={"AutoTokenizer": ["code.Foreign", "code.Foreign"]})
    return folder


def quiet(marker):
    return not marker.exists() and not (marker.parent / "asked").exists()


@pytest.mark.parametrize("load", [load_audio_llm, load_transcriber])
def test_a_foreign_model_is_refused_and_nobody_is_asked(tiny_path, tmp_path, marker, load):
    folder = foreign(tiny_path("qwen2_audio"), tmp_path / "model", marker)
    change(folder / "config.json", model_type="foreign", architectures=["Foreign"])
    with pytest.raises(InputError) as caught:
        load("foreign", path=folder, device="cpu")
    assert quiet(marker)
    assert "trust_remote_code" not in str(caught.value)
    if load is load_audio_llm:
        assert "foreign code is never run" in str(caught.value)


@pytest.mark.parametrize("file", ["preprocessor_config.json", "tokenizer_config.json"])
@pytest.mark.parametrize("family", ["qwen2_audio", "qwen2_5_omni", "granite_speech"])
def test_a_foreign_processor_or_tokenizer_is_never_loaded(tiny_path, tmp_path, marker, family, file):
    folder = foreign(tiny_path(family), tmp_path / "model", marker)
    change(folder / file, processor_class="Foreign", tokenizer_class="Foreign", feature_extractor_type="Foreign")
    (folder / "processor_config.json").unlink(missing_ok=True)
    with contextlib.suppress(InputError):  # some files only repeat what others say
        sfm = load_audio_llm("foreign", path=folder, device="cpu")
        assert type(sfm.family.processor).__module__.startswith(("transformers.", "emoprobe."))
    assert quiet(marker)


@pytest.mark.parametrize(
    "family", ["qwen2_audio", "qwen2_5_omni", "voxtral", "granite_speech", "audio_flamingo3", "moss"]
)
def test_native_models_are_loaded_without_the_code_beside_them(tiny_path, tmp_path, marker, family):
    sfm = load_audio_llm("native", path=foreign(tiny_path(family), tmp_path / "model", marker), device="cpu")
    assert type(sfm.model).__module__.startswith("transformers.")
    assert type(sfm.family.tokenizer).__module__.startswith(("transformers.", "tokenizers."))
    assert quiet(marker)


def test_a_native_whisper_is_loaded_without_the_code_beside_it(tiny_whisper_path, tmp_path, marker):
    sfm = load_transcriber("native", path=foreign(tiny_whisper_path, tmp_path / "model", marker), device="cpu")
    assert type(sfm.model).__module__.startswith("transformers.")
    assert quiet(marker)


def test_pickled_weights_are_not_looked_at(tiny_whisper_path, tmp_path):
    from emoprobe.errors import WeightsError

    folder = tmp_path / "pickled"
    shutil.copytree(tiny_whisper_path, folder)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(WeightsError, match="Pickled weights are not loaded"):
        load_transcriber("pickled", path=folder)


@pytest.mark.parametrize("weights", ["adapter_model.bin", "adapter_model.safetensors"])
def test_an_adapter_beside_a_model_is_refused(tiny_whisper_path, tmp_path, weights):
    folder = tmp_path / "adapted"
    shutil.copytree(tiny_whisper_path, folder)
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "base_model_name_or_path": "/else"}))
    (folder / weights).write_bytes(b"")
    with pytest.raises(InputError, match="adapter beside it"):
        load_transcriber("adapted", path=folder)


@pytest.mark.parametrize("written", ["{", "[]", "\xff"])
@pytest.mark.parametrize("load", [load_audio_llm, load_transcriber])
def test_generation_settings_that_cannot_be_read_are_not_taken_for_none(
    tiny_path, tiny_whisper_path, tmp_path, load, written
):
    folder = tmp_path / "model"
    shutil.copytree(tiny_whisper_path if load is load_transcriber else tiny_path("qwen2_audio"), folder)
    (folder / "generation_config.json").write_bytes(written.encode("latin-1"))
    with pytest.raises(InputError, match=r"generation settings cannot be read .*generation_config\.json"):
        load("damaged", path=folder, device="cpu")


@pytest.mark.parametrize("load", [load_audio_llm, load_transcriber])
def test_cut_weights_are_named(tiny_path, tiny_whisper_path, tmp_path, load):
    folder = tmp_path / "model"
    shutil.copytree(tiny_whisper_path if load is load_transcriber else tiny_path("qwen2_audio"), folder)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:2000])
    with pytest.raises(InputError, match="cut could not be loaded"):
        load("cut", path=folder, device="cpu")


@pytest.mark.parametrize(
    ("template", "what"),
    [
        ("{% if %}", "its chat template cannot be used: Expected an expression"),
        ("{{ a.b.c }}", "its chat template cannot be used: 'a' is undefined"),
        ("{{ raise_exception('no system turn') }}", "its chat template cannot be used: no system turn"),
        ("hello {{ messages[0].role }}", "the rendered prompt has 0 placeholders for sound"),
    ],
)
def test_a_chat_template_that_cannot_be_used_is_named(tiny_path, tmp_path, template, what):
    folder = tmp_path / "model"
    shutil.copytree(tiny_path("qwen2_audio"), folder)
    (folder / "chat_template.jinja").write_text(template)
    with pytest.raises(InputError, match=what):
        load_audio_llm("broken", path=folder, device="cpu").question(PromptText(instruction="What?"), ["happy"])


def test_convolutions_on_a_gpu_are_not_shortened(tiny_whisper_path, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    load_transcriber("tiny", path=tiny_whisper_path, device="cpu")
    assert not torch.backends.cudnn.allow_tf32


@pytest.mark.parametrize("family", ["qwen2_audio", "voxtral"])
def test_an_audio_llm_without_tokenizer_files_is_told_so(tiny_path, tmp_path, family):
    # transformers makes up an empty tokenizer and blames truncation.
    bare = shutil.copytree(tiny_path(family), tmp_path / family)
    for name in ("tokenizer.json", "tokenizer.model", "tekken.json", "vocab.json", "merges.txt"):
        (bare / name).unlink(missing_ok=True)
    with pytest.raises(InputError, match=r"the checkpoint has no tokenizer\.json, without which no text is read"):
        load_audio_llm("bare", path=bare, device="cpu")


def test_what_transformers_says_in_several_lines_is_said_in_one(tiny_path, tmp_path):
    copied = shutil.copytree(tiny_path("qwen2_audio"), tmp_path / "other")
    config = json.loads((copied / "config.json").read_text())
    (copied / "config.json").write_text(json.dumps(config | {"model_type": "nonsense"}))
    with pytest.raises(InputError, match=r"could not be loaded as an audio chat model: .*nonsense") as raised:
        load_audio_llm("other", path=copied, device="cpu")
    assert "\n" not in str(raised.value)
    assert "pip install" not in str(raised.value)


class Read(BaseException):
    """Stands for the weights, which are not read."""


@pytest.fixture
def told(monkeypatch):
    """What ``from_pretrained`` would be told; nothing is loaded."""
    found = {}

    def stop(cls, path, name, **options):
        found.update(options)
        raise Read

    monkeypatch.setattr("emoprobe.models.load.read_weights", stop)
    monkeypatch.setattr("emoprobe.models.load_encoder.read_weights", stop)
    return found


@pytest.fixture(params=["audio LLM", "transcriber", "cascade", "encoder"])
def load(request, tiny_path, tiny_whisper_path, tiny_chat_path, tmp_path):
    """Loads a model of a kind onto a device."""
    if request.param == "cascade":
        pytest.importorskip("parselmouth")
    chat = {
        "name": "",
        "path": tiny_chat_path("llama"),
        "acoustics": dict.fromkeys(("pitch", "pitch_range", "intensity", "rate"), (1, 2)),
    }
    return {
        "audio LLM": lambda **where: load_audio_llm("tiny", path=tiny_path("qwen2_audio"), **where),
        "transcriber": lambda **where: load_transcriber("tiny", path=tiny_whisper_path, **where),
        "cascade": lambda **where: load_cascade(**chat, **where),
        "encoder": lambda **where: load_encoder("tiny", path=TINY["wav2vec2"](tmp_path / "encoder"), **where),
    }[request.param]


def test_weights_are_read_straight_onto_the_device(load, told):
    with pytest.raises(Read):
        load(device="cuda:1", dtype="bfloat16")
    assert told["device_map"] == {"": torch.device("cuda:1")}
    assert told["dtype"] == torch.bfloat16


def test_on_a_cpu_nothing_is_mapped(load, told):
    with pytest.raises(Read):
        load(device="cpu")
    assert "device_map" not in told


def test_a_map_of_one_s_own_and_a_quantiser_place_weights_themselves(tiny_path, told, monkeypatch):
    path = tiny_path("qwen2_audio")
    with pytest.raises(Read):
        load_audio_llm("tiny", path=path, device="cuda", device_map="auto")
    assert told.pop("device_map") == "auto"
    monkeypatch.setattr("emoprobe.models.load._quantization", lambda kind, compute: kind)
    with pytest.raises(Read):
        load_audio_llm("tiny", path=path, device="cuda", quantization="4bit")
    assert "device_map" not in told


def test_what_is_read_by_a_map_of_one_device_is_the_model(tiny_path, tiny_llm, monkeypatch):
    monkeypatch.setattr("emoprobe.models.load.straight_to", lambda device: {"device_map": {"": device}})
    mapped = load_audio_llm("tiny", path=tiny_path("granite_speech"), device="cpu")
    own = tiny_llm("granite_speech").model.state_dict()
    assert all(torch.equal(value, own[name]) for name, value in mapped.model.state_dict().items())
    assert not any(hasattr(module, "_hf_hook") for module in mapped.model.modules())
    assert load_audio_llm("tiny", path=tiny_path("granite_speech"), device="meta").model.device.type == "meta"
