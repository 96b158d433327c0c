"""A fine-tuned Whisper that lacks generation settings is asked, and answers, as the whole checkpoint does."""

from __future__ import annotations

import json
import shutil
from types import SimpleNamespace

import pytest
import torch

from emoprobe.checks.tiny.whisper import write
from emoprobe.errors import InputError
from emoprobe.models.load import load_transcriber
from emoprobe.models.text import PromptText
from emoprobe.models.transcribers.whisper import is_multilingual, suppressed_tokens

NEWER = ("is_multilingual", "lang_to_id", "task_to_id", "no_timestamps_token_id", "prev_sot_token_id")


@pytest.fixture(scope="module", params=[True, False], ids=["multilingual", "english"])
def path(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whisper")
    return write(folder, multilingual=request.param)


def edit(file, change):
    settings = json.loads(file.read_text())
    change(settings)
    file.write_text(json.dumps(settings))


def without(*names):
    return lambda settings: [settings.pop(name, None) for name in names]


def force(folder):
    """As checkpoints of 2022 say it: the tokens after the first, by position."""
    tokens = json.loads((folder / "tokenizer.json").read_text())["added_tokens"]
    ids = {token["content"]: token["id"] for token in tokens}
    names = [name for name in ("<|en|>", "<|transcribe|>", "<|notimestamps|>") if name in ids]
    forced = [[place, ids[name]] for place, name in enumerate(names, start=1)]
    edit(folder / "generation_config.json", without(*NEWER))
    edit(folder / "generation_config.json", lambda settings: settings.update(forced_decoder_ids=forced))


def force_in_config(folder):
    force(folder)
    held = json.loads((folder / "generation_config.json").read_text())
    (folder / "generation_config.json").unlink()
    lists = {name: held[name] for name in ("forced_decoder_ids", "suppress_tokens", "begin_suppress_tokens")}
    edit(folder / "config.json", lambda settings: settings.update(lists))


def keep(*names):
    return lambda settings: [settings.pop(name) for name in set(settings) - set(names)]


LACKING = {
    "no file": lambda folder: (folder / "generation_config.json").unlink(),
    "none of the newer settings": lambda folder: edit(folder / "generation_config.json", without(*NEWER)),
    "not whether it is multilingual": lambda folder: edit(folder / "generation_config.json", without(NEWER[0])),
    "only whether it is multilingual": lambda folder: edit(folder / "generation_config.json", without(*NEWER[1:])),
    "ids alone": lambda folder: edit(
        folder / "generation_config.json", keep("eos_token_id", "pad_token_id", "decoder_start_token_id")
    ),
    "lists that are null": lambda folder: edit(
        folder / "generation_config.json",
        lambda settings: settings.update(
            dict.fromkeys((*NEWER, "suppress_tokens", "begin_suppress_tokens", "forced_decoder_ids"))
        ),
    ),
    "an empty file": lambda folder: (folder / "generation_config.json").write_text("{}"),
    "forced tokens": force,
    "forced tokens in config.json": force_in_config,
}


def old_tokenizer(folder, *left_out):
    """As checkpoints of 2022 hold it: byte pairs, and the control tokens in a file of their own."""
    whole = json.loads((folder / "tokenizer.json").read_text())
    words = whole["model"]["vocab"]
    added = {token["content"]: token["id"] for token in whole["added_tokens"] if token["content"] not in words}
    end = dict.fromkeys(("bos_token", "eos_token", "unk_token"), "<|endoftext|>")
    written = {
        "vocab.json": words,
        "added_tokens.json": added,
        "special_tokens_map.json": {**end, "additional_special_tokens": list(added)},
        "tokenizer_config.json": {**end, "tokenizer_class": "WhisperTokenizer", "model_max_length": 1024},
    }
    for name, value in written.items():
        (folder / name).write_text(json.dumps(value))
    pairs = (pair if isinstance(pair, str) else " ".join(pair) for pair in whole["model"]["merges"])
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(pairs) + "\n")
    for name in ("tokenizer.json", *left_out):
        (folder / name).unlink()


def without_settings(folder, *left_out):
    old_tokenizer(folder, *left_out)
    (folder / "generation_config.json").unlink()


LACKING |= {
    "the newer tokenizer's file": old_tokenizer,
    "it and the settings": without_settings,
    "the file of control tokens, which are also listed elsewhere": lambda folder: old_tokenizer(
        folder, "added_tokens.json"
    ),
}


@pytest.mark.parametrize("lacking", LACKING)
def test_it_scores_as_the_full_one(path, tmp_path, voices, lacking):
    folder = tmp_path / "lacking"
    shutil.copytree(path, folder)
    LACKING[lacking](folder)
    full, other = (load_transcriber("tiny", path=p, device="cpu") for p in (path, folder))
    questions = [sfm.question(PromptText("The voice sounds"), (" happy", " sadness")) for sfm in (full, other)]
    assert questions[0] == questions[1]
    assert len(full.start_tokens) == (4 if full.model.generation_config.is_multilingual else 2)
    scores = [sfm.score(sfm.encode(voices), [q])[0] for sfm, q in zip((full, other), questions, strict=True)]
    for a, b in zip(*scores, strict=True):
        assert torch.equal(a, b)
    answer = other.generate(other.encode(voices[:1]), questions[1:], max_new_tokens=4)[0][0]
    assert other.end_token not in answer.tokens
    if lacking in ("none of the newer settings", "forced tokens", "forced tokens in config.json"):
        assert answer.text == full.generate(full.encode(voices[:1]), questions[:1], max_new_tokens=4)[0][0].text


def test_the_size_of_real_vocabularies_tells_the_language(tiny_whisper):
    # Real English-only tokenizers have the tokens of languages and tasks too.
    tokenizer = tiny_whisper.processor.tokenizer
    for size, expected in ((51_864, False), (51_865, True), (51_866, True)):
        config = SimpleNamespace(vocab_size=size)
        model = SimpleNamespace(generation_config=SimpleNamespace(), config=config)
        assert is_multilingual(model, tokenizer) is expected


def test_what_is_never_written_is_what_is_not_spoken(tiny_whisper):
    tokenizer = tiny_whisper.processor.tokenizer
    suppressed, at_first = suppressed_tokens(tokenizer)
    texts = {tokenizer.decode([token]) for token in suppressed}
    assert {"(", "]", "<|startoftranscript|>", "<|translate|>", "<|nospeech|>"} <= texts
    assert not {"a", ".", ",", "<|endoftext|>"} & texts
    assert at_first == [*tokenizer(" ", add_special_tokens=False).input_ids, tiny_whisper.end_token]


TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt")


def remove(*names):
    return lambda folder: [(folder / name).unlink() for name in names]


def shift(folder):
    """A tokenizer that has one control token more than the model, before the others."""
    old_tokenizer(folder, "added_tokens.json")
    names = ["<|further|>", *json.loads((folder / "special_tokens_map.json").read_text())["additional_special_tokens"]]
    edit(folder / "special_tokens_map.json", lambda settings: settings.update(additional_special_tokens=names))


def settle(file, **values):
    return lambda folder: edit(folder / file, lambda settings: settings.update(values))


WRONG = {
    "no tokenizer": (remove(*TOKENIZER), r"has no tokenizer\.json"),
    "half a tokenizer": (remove("tokenizer.json", "merges.txt"), r"has no merges\.txt"),
    "no control tokens": (
        lambda folder: old_tokenizer(folder, "added_tokens.json", "special_tokens_map.json"),
        r"the tokenizer has no token <\|startoftranscript\|>.*added_tokens\.json",
    ),
    "control tokens at other places": (shift, r"the tokenizer has <\|\w+\|> at \d+, where the model has another"),
    "no front end": (remove("preprocessor_config.json"), r"has no preprocessor_config\.json"),
    "another front end": (
        settle("preprocessor_config.json", feature_size=128),
        r"makes 128 mel bands and the model takes 80 .*preprocessor_config\.json.*feature_size",
    ),
    "a front end without its window": (settle("preprocessor_config.json", chunk_length=None), "could not be loaded"),
    "a damaged front end": (
        lambda folder: (folder / "preprocessor_config.json").write_text("{"),
        r"cannot be read as a JSON object .*preprocessor_config\.json",
    ),
    "a damaged tokenizer": (
        lambda folder: (folder / "tokenizer_config.json").write_text("[]"),
        r"cannot be read as a JSON object .*tokenizer_config\.json",
    ),
    "a list that is none": (
        settle("generation_config.json", suppress_tokens="x"),
        r"the list holds something else .*generation_config\.json, field suppress_tokens",
    ),
    "a list of another vocabulary": (
        settle("generation_config.json", begin_suppress_tokens=[99_999]),
        r"the list holds something else .*generation_config\.json, field begin_suppress_tokens",
    ),
    "no type of model": (lambda folder: edit(folder / "config.json", without("model_type")), "could not be loaded"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_damaged_one_is_refused_in_one_line_that_names_the_file(path, tmp_path, wrong):
    folder = tmp_path / "damaged"
    shutil.copytree(path, folder)
    change, message = WRONG[wrong]
    change(folder)
    with pytest.raises(InputError, match=message) as caught:
        load_transcriber("damaged", path=folder, device="cpu")
    error = caught.value
    assert "\n" not in str(error)
    assert str(folder) in str(error.file)
    assert error.field not in (None, "model.language")
    assert error.remedy


@pytest.mark.parametrize("left", [("config.json",), ()], ids=["with the model's config", "by itself"])
def test_an_adapter_alone_is_called_one_and_how_it_is_merged(path, tmp_path, left):
    """As peft saves a fine-tuned Whisper; some trainers put the model's config and tokenizer beside it."""
    folder = tmp_path / "adapter"
    shutil.copytree(path, folder)
    for name in {"config.json", "model.safetensors"} - set(left):
        (folder / name).unlink()
    settings = {"peft_type": "LORA", "base_model_name_or_path": "openai/whisper-base"}
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    (folder / "adapter_model.safetensors").write_bytes(b"")
    with pytest.raises(InputError, match=r"is only an adapter of openai/whisper-base.*merge_and_unload") as caught:
        load_transcriber("tuned", path=folder, device="cpu")
    assert caught.value.file == folder / "adapter_config.json"
