"""What is a transcriber's own: slots of its prompt, languages, how it reads text, and which checkpoints it refuses."""

# ruff: noqa: F811  # fixtures are imported, and named again as arguments
from __future__ import annotations

import json
import re
import shutil

import pytest
import torch
import transformers
from transcribing import KINDS, SEAMLESS, SLOTTED, TOLERANCE, ask, folders, kind, loaded, plain, plains, sfm  # noqa: F401

from emoprobe.errors import InputError
from emoprobe.models.load import load_transcriber
from emoprobe.models.text import PromptText
from emoprobe.models.transcribers import REFUSED, transcriber_class


@pytest.mark.parametrize("kind", SLOTTED)
def test_the_slot_for_emotion_is_read_where_the_prompt_has_it(sfm, plain, voices):
    assert sfm.classes == ("neutral", "happy", "sad", "angry")
    found = sfm.classify(voices)
    tokenizer = plain.processor.tokenizer
    undefined = tokenizer.convert_tokens_to_ids("<|emo:undefined|>")
    ids = tokenizer.convert_tokens_to_ids([f"<|emo:{name}|>" for name in sfm.classes])
    for i, wave in enumerate(voices):
        inputs = plain.inputs(wave)
        prompt = inputs["decoder_input_ids"][0].tolist()
        inputs["decoder_input_ids"] = torch.tensor([prompt[: prompt.index(undefined)]])
        with torch.no_grad():
            expected = plain.model(**inputs).logits[0, -1, ids].log_softmax(-1)
        torch.testing.assert_close(found[i], expected, atol=TOLERANCE, rtol=0)
    assert found.shape == (3, 4)
    torch.testing.assert_close(found.exp().sum(-1), torch.ones(3))
    torch.testing.assert_close(sfm.classify(voices[1:2])[0], found[1], atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in SLOTTED])
def test_others_have_no_classes(sfm, voices):
    assert sfm.classes == ()
    with pytest.raises(InputError, match="not trained to tell classes apart"):
        sfm.classify(voices)


@pytest.mark.parametrize("kind", SLOTTED)
def test_without_named_emotions_there_are_no_classes(folders, tmp_path, voices, kind):
    folder = tmp_path / "unnamed"
    shutil.copytree(folders[kind], folder)
    text = (folder / "tokenizer.json").read_text()
    (folder / "tokenizer.json").write_text(re.sub(r"<\|emo:(?!undefined)(\w+)\|>", r"<|x:\1|>", text))
    sfm = load_transcriber("tiny", path=folder, device="cpu")
    assert sfm.classes == ()
    with pytest.raises(InputError, match="not trained to tell classes apart"):
        sfm.classify(voices)


@pytest.mark.parametrize("kind", SLOTTED)
def test_language_task_and_punctuation_are_told(folders, loaded, kind):
    def prompt(**told):
        sfm = load_transcriber("tiny", path=folders[kind], device="cpu", **told)
        return sfm.decode(sfm.start_tokens)

    assert "<|en|><|en|><|pnc|>" in prompt()
    assert "<|de|><|de|><|nopnc|>" in prompt(language="de", punctuation=False)
    with pytest.raises(InputError, match=r"(?i)unsupported language.*field model\.language"):
        prompt(language="klingon")
    with pytest.raises(InputError, match="lacks a token of its decoder prompt"):
        prompt(language="fr")  # a language of the class that this tokenizer does not have
    if kind == "canary":
        assert "<|de|><|en|>" in prompt(language="de", task="translate")
    else:
        with pytest.raises(InputError, match="does not translate"):
            prompt(task="translate")


@pytest.mark.parametrize("kind", SLOTTED)
def test_earlier_text_stands_in_its_slot(sfm):
    assert sfm.takes_context
    question = sfm.question(PromptText("The voice", context="the person is sad"), (" sad",))
    assert "<|startofcontext|> the person is sad<|startoftranscript|><|emo:undefined|>" in sfm.decode(question.prefix)


@pytest.mark.parametrize("kind", SEAMLESS)
def test_seamless_is_told_the_language_to_write(folders, kind):
    def prompt(**told):
        sfm = load_transcriber("tiny", path=folders[kind], device="cpu", **told)
        return sfm.tokenizer.convert_ids_to_tokens(list(sfm.start_tokens))

    assert prompt() == prompt(language="eng") == prompt(language="deu", task="translate") == ["</s>", "__eng__"]
    assert prompt(language="deu") == ["</s>", "__deu__"]
    with pytest.raises(InputError, match=r"writes no language 'de' \(field model\.language\)\. Use one of deu, eng"):
        prompt(language="de")


@pytest.mark.parametrize("kind", SEAMLESS)
def test_of_a_whole_seamless_what_makes_speech_is_left_out(folders, loaded, tmp_path, kind, voices):
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "whole"
    shutil.copytree(folders[kind], folder)
    weights = load_file(folder / "model.safetensors")
    further = {f"{part}.some.weight": torch.ones(2) for part in ("text_encoder", "t2u_model", "vocoder")}
    save_file(weights | further, folder / "model.safetensors", metadata={"format": "pt"})
    sfm = load_transcriber("whole", path=folder, device="cpu")
    questions = ask(sfm)
    expected = loaded[kind].score(loaded[kind].encode(voices), questions)
    assert torch.equal(sfm.score(sfm.encode(voices), questions)[0][0], expected[0][0])
    save_file(weights | {"speech_encoder.some.weight": torch.ones(2)}, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match="unexpected_keys"):
        load_transcriber("whole", path=folder, device="cpu")


@pytest.mark.parametrize("kind", ["moonshine", "moonshine_streaming", *SEAMLESS])
def test_others_have_no_slot_for_earlier_text(sfm):
    assert not sfm.takes_context
    with pytest.raises(InputError, match="no slot for the transcript of preceding speech"):
        sfm.question(PromptText("The voice", context="the person is sad"), (" sad",))


@pytest.mark.parametrize(
    ("prompt", "texts", "message"),
    [
        (PromptText("The voice sounds"), ("",), "has no token"),
        (PromptText("sad " * 1100), (" sad",), "tokens and"),
        (PromptText(instruction="How does it sound?"), (" sad",), "cannot follow an instruction"),
    ],
)
def test_questions_that_cannot_be_asked_are_refused(sfm, prompt, texts, message):
    with pytest.raises(InputError, match=message):
        sfm.question(prompt, texts)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "whisper"])
def test_text_is_tokenised_as_it_stands(sfm):
    tokens = sfm.tokenizer.convert_ids_to_tokens
    assert tokens(sfm.text_tokens(" sadness.")) == ["▁sad", "ness", "."]
    assert tokens(sfm.text_tokens(".")) == ["."]
    assert tokens(sfm.text_tokens("sad")) == ["s", "a", "d"]  # no space that the text does not have
    assert sfm.text_tokens("") == ()
    more = sfm.extend(sfm.question(PromptText("The voice")), sfm.text_tokens(" is"), " sad", (" or",))
    assert tokens(more.prefix[-4:]) == ["▁The", "▁voice", "▁is", "▁sad"]
    assert tokens(more.continuations[0][:-1]) == ["▁or"]


def test_what_is_no_transcriber_is_named(tmp_path, tiny_path):
    with pytest.raises(InputError, match="'qwen2_audio' is no encoder-decoder that transcribes") as caught:
        load_transcriber("other", path=tiny_path("qwen2_audio"), device="cpu")
    assert "model=audio_llm" in str(caught.value)
    for model_type, reason in REFUSED.items():
        with pytest.raises(InputError, match=re.escape(reason)):
            transcriber_class(model_type, tmp_path)


def test_every_class_of_transformers_that_transcribes_is_asked_or_refused_or_chats():
    known = transformers.models.auto.modeling_auto.MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES
    chats = {"fun_asr_nano", "granite_speech", "granite_speech_plus", "qwen3_asr", "vibevoice", "vibevoice_asr"}
    chats |= {"voxtral", "voxtral_realtime"}
    no_text = {"dia", "pop2piano"}
    assert set(known) == {*KINDS, *REFUSED, *chats, *no_text}


@pytest.mark.parametrize("kind", ["canary"])
def test_a_canary_without_its_chat_template_is_refused(folders, tmp_path, kind):
    folder = tmp_path / "silent"
    shutil.copytree(folders[kind], folder)
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(InputError, match="no chat template"):
        load_transcriber("silent", path=folder, device="cpu")


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "whisper"])
def test_missing_or_foreign_processor_files_are_named(folders, tmp_path, kind):
    folder = tmp_path / "bare"
    shutil.copytree(folders[kind], folder)
    (folder / "tokenizer.json").rename(tmp_path / "tokenizer.json")
    with pytest.raises(InputError, match=r"has no tokenizer\.json"):
        load_transcriber("bare", path=folder, device="cpu")
    (tmp_path / "tokenizer.json").rename(folder / "tokenizer.json")
    file = next(
        folder / name for name in ("processor_config.json", "preprocessor_config.json") if (folder / name).exists()
    )
    settings = json.loads(file.read_text())
    file.unlink()
    with pytest.raises(InputError, match=r"has no preprocessor_config\.json"):
        load_transcriber("bare", path=folder, device="cpu")
    if kind in SLOTTED:
        settings.get("feature_extractor", settings)["feature_size"] = 64
        file.write_text(json.dumps(settings))
        with pytest.raises(InputError, match="makes 64 mel bands and the model takes 80"):
            load_transcriber("bare", path=folder, device="cpu")


def test_seamless_v2_is_refused_where_its_class_looks_at_masked_frames(folders):
    with pytest.raises(InputError, match=r"eager attention \(field model\.attention\)\. Use model\.attention=sdpa"):
        load_transcriber("tiny", path=folders["seamless_m4t_v2"], device="cpu", attention="eager")
