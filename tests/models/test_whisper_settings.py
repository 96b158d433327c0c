"""A fine-tuned Whisper that lacks generation settings is asked, and answers, as the whole checkpoint does."""

from __future__ import annotations

import json
import shutil
from types import SimpleNamespace

import pytest
import torch

from emoprobe.checks.tiny.whisper import write
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


LACKING = {
    "no file": lambda folder: (folder / "generation_config.json").unlink(),
    "none of the newer settings": lambda folder: edit(folder / "generation_config.json", without(*NEWER)),
    "not whether it is multilingual": lambda folder: edit(folder / "generation_config.json", without(NEWER[0])),
    "only whether it is multilingual": lambda folder: edit(folder / "generation_config.json", without(*NEWER[1:])),
    "an empty file": lambda folder: (folder / "generation_config.json").write_text("{}"),
    "forced tokens": force,
    "forced tokens in config.json": force_in_config,
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
