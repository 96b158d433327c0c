"""The token table of a prompt: the tokenizer's own splits, conflicts shown, ambiguous sets refused."""

from __future__ import annotations

import json
import shutil
from importlib import import_module
from pathlib import Path

import pytest
from rich.console import Console

from emoprobe.checks import tokens
from emoprobe.cli.tokens import joined, main, show
from emoprobe.errors import InputError
from emoprobe.labels import LabelSet
from emoprobe.prompts.prompt import Prompt

BASIC = LabelSet(
    "basic",
    ("anger", "disgust", "sad"),
    {"anger": {"adjective": "angry"}, "disgust": {"adjective": "disgusted"}, "sad": {"adjective": "sad"}},
)
CLASHING = LabelSet(
    "clashing", ("sad", "grief", "happy"), {"sad": {"w": "sad"}, "grief": {"w": "sadness"}, "happy": {"w": "happy"}}
)
VOICE = Prompt("voice", "The voice sounds {label}.")
CHOOSE = Prompt("choose", family="instruction", instruction="How? Choose one of {labels}.")


def checkpoint(family: str, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return import_module(f"emoprobe.checks.tiny.{family}").write(folder)


@pytest.fixture(scope="module")
def qwen_path(tmp_path_factory) -> Path:
    return checkpoint("qwen2_audio", tmp_path_factory.mktemp("qwen2_audio"))


@pytest.fixture(scope="module")
def voxtral_path(tmp_path_factory) -> Path:
    pytest.importorskip("mistral_common")
    return checkpoint("voxtral", tmp_path_factory.mktemp("voxtral"))


def load(path: Path):
    from emoprobe.models.load import load_audio_llm

    return load_audio_llm("tiny", path=path, device="cpu")


@pytest.fixture(scope="module")
def qwen(qwen_path):
    return load(qwen_path)


@pytest.fixture(scope="module")
def voxtral(voxtral_path):
    return load(voxtral_path)


def clashing(template: str = "{label}") -> Prompt:
    return Prompt("clash", template, ("w",), family="instruction", instruction="How?")


def printed(result: tokens.TokenAudit) -> str:
    console = Console(width=160)
    with console.capture() as capture:
        show(result, console)
    return capture.get()


# -- what the table says -----------------------------------------------------------------------------------------------


def test_whisper_pieces_and_ids_are_the_tokenizers(tiny_whisper, tiny_whisper_path):
    from transformers import WhisperTokenizer

    tokenizer = WhisperTokenizer.from_pretrained(tiny_whisper_path)
    result = tokens.audit(tiny_whisper, VOICE, BASIC)
    head = tokenizer(" The voice sounds", add_special_tokens=False).input_ids
    assert [(item.label, item.form) for item in result.forms] == [
        ("anger", "angry"),
        ("disgust", "disgusted"),
        ("sad", "sad"),
    ]
    for item in result.forms:
        bare = tokenizer(f" {item.form}", add_special_tokens=False).input_ids
        whole = tokenizer(f" The voice sounds {item.form}.", add_special_tokens=False).input_ids
        assert item.ids == (*whole[len(head) :], tokenizer.eos_token_id)
        assert item.own == tuple(tokenizer.decode([token]) for token in bare)
        assert (item.tail, item.end) == ((".",), "<|endoftext|>")
        spaceless = tokenizer(f" The voice sounds{item.form}", add_special_tokens=False).input_ids
        expected = tuple(tokenizer.decode([token]) for token in spaceless[len(head) :])
        assert item.others == {"": expected if spaceless[: len(head)] == head else None}
    assert result.spacing == " "
    assert result.sounds is None
    assert result.ending[0].endswith("<|notimestamps|> The voice sounds")
    assert len(result.ending[0]) == tokens.SHOWN


def test_qwen_pieces_and_ids_are_the_tokenizers(qwen, qwen_path):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(qwen_path)
    result = tokens.audit(qwen, CHOOSE, BASIC)
    for item in result.forms:
        bare = tokenizer(item.form, add_special_tokens=False).input_ids
        assert item.ids == (*bare, tokenizer.convert_tokens_to_ids("<|im_end|>"))
        assert item.own == tuple(tokenizer.decode([token]) for token in bare)
        spaced = tokenizer(f" {item.form}", add_special_tokens=False).input_ids
        assert item.others == {" ": tuple(tokenizer.decode([token]) for token in spaced)}
    assert result.forms[1].own == ("disgust", "ed")
    assert (result.spacing, result.sounds) == ("", 1)
    assert result.ending[0].endswith("<|im_start|>assistant\n")


def test_voxtral_pieces_and_ids_are_the_tokenizers(voxtral, voxtral_path):
    from mistral_common.tokens.tokenizers.mistral import MistralTokenizer

    tokenizer = MistralTokenizer.from_file(str(voxtral_path / "tekken.json")).instruct_tokenizer.tokenizer
    result = tokens.audit(voxtral, CHOOSE, BASIC)
    for item in result.forms:
        bare = tokenizer.encode(item.form, bos=False, eos=False)
        assert item.ids == (*bare, tokenizer.eos_id)
        assert item.own == tuple(tokenizer.decode([token]) for token in bare)
    assert (result.sounds, result.forms[0].end) == (1, "</s>")
    assert result.ending[0].endswith("[/INST]")


def test_the_table_shows_what_the_audit_found(qwen):
    lines = printed(tokens.audit(qwen, CHOOSE, BASIC)).splitlines()
    result = tokens.audit(qwen, CHOOSE, BASIC)
    row = next(line for line in lines if line.startswith("disgust"))
    ids = " ".join(map(str, result.forms[1].ids))
    assert row.split() == ["disgust", "disgusted", "disgust|ed", "2", "<|im_end|>", *ids.split(), "·disgust|ed"]
    assert lines[0].startswith("choose ends with '")
    assert lines[0].endswith(r"<|im_end|>\n<|im_start|>assistant\n'")
    prefix = len(result.plan.question.prefix)
    assert f"Prefix of {prefix} tokens, the sound stands in it exactly once; longest continuation 3 tokens." in lines


def test_the_other_spacing_says_where_the_number_of_tokens_differs(tiny_whisper):
    # The tiny vocabulary has words with their space only, so a form without it falls into letters.
    text = printed(tokens.audit(tiny_whisper, Prompt("bare", "{label}"), BASIC))
    assert "s|a|d  (3 instead of 1)" in text
    assert "Forms are written with a space; without a space, 3 of 3 have another number of tokens." in text


def test_a_spacing_that_joins_with_the_prompt_is_not_possible(qwen):
    # "sad" + "ness" are two tokens, "sadnes" does not begin with the first of them.
    labels = LabelSet("odd", ("a", "b"), {"a": {"w": "ger"}, "b": {"w": "sad"}})
    prompt = Prompt("odd", "an {label}", ("w",), family="instruction", instruction="How?")
    result = tokens.audit(qwen, prompt, labels)
    assert [item.others[""] for item in result.forms] == [None, ("sad",)]
    assert "1 cannot be written so" in printed(result)


def test_forms_that_begin_one_another_are_shown(qwen):
    result = tokens.audit(qwen, clashing(), CLASHING)
    assert [(a.form, b.form, only_end) for a, b, only_end in result.conflicts] == [("sad", "sadness", True)]
    assert result.plan.prefix_conflicts() == [("sad", "sadness")]
    assert "The tokens of 'sad' begin 'sadness': the end token tells them apart" in printed(result)
    followed = tokens.audit(qwen, clashing("It is {label}."), CLASHING)
    assert followed.plan.prefix_conflicts() == []
    assert [only_end for _, _, only_end in followed.conflicts] == [False]
    assert "'sadness': the template's text after the label tells them apart" in printed(followed)


def test_a_first_token_of_several_labels_is_shown(qwen):
    result = tokens.audit(qwen, clashing(), CLASHING)
    assert result.shared == {result.forms[0].ids[0]: ("sad", "grief")}
    assert "sad and grief begin with the same token sad (" in printed(result)
    assert tokens.audit(qwen, CHOOSE, BASIC).shared == {}


def test_forms_of_one_label_share_no_first_token_with_another(qwen):
    labels = LabelSet("one", ("sad", "happy"), {"sad": {"w": ("sad", "sadness")}, "happy": {"w": "happy"}})
    result = tokens.audit(qwen, clashing(), labels)
    assert result.shared == {}
    assert "begin 'sadness' (both of one label)" in printed(result)


def test_a_prompt_with_reasoning_has_two_ends(qwen):
    prompt = Prompt("think", family="instruction", instruction="How?", reasoning_tokens=32, answer_cue="Answer:")
    result = tokens.audit(qwen, prompt, BASIC)
    assert result.ending[0].endswith("assistant\n")
    assert result.ending[1] == "\nAnswer:"
    assert r"assistant\n' [up to 32 tokens of the model's own] '\nAnswer:'" in printed(result)
    assert (result.spacing, result.forms[0].own) == (" ", (" angry",))


def test_text_is_never_markup(qwen):
    labels = LabelSet("odd", ("a", "b"), {"a": {"w": "[bold]"}, "b": {"w": "[/red] :smile:"}})
    prompt = Prompt("[red]", "[link] {label}", ("w",), family="instruction", instruction="How [blink]?")
    text = printed(tokens.audit(qwen, prompt, labels))
    assert "[red] ends with" in text
    assert r"[blink]?<|im_end|>\n<|im_start|>assistant\n[link]'" in text
    assert "[bold]" in text
    assert "[/red]·:smile:" in text


def test_parts_of_characters_and_dropped_spaces_are_shown(tiny_whisper):
    ids = tiny_whisper.processor.tokenizer(" é", add_special_tokens=False).input_ids
    assert tokens.pieces(tiny_whisper, tiny_whisper.start_tokens[-1:], ids) == (" ", "�", "�")

    class Dropping:
        """As SentencePiece: the space that begins a text is not decoded."""

        def decode(self, ids):
            return "".join(("<s>", " sad", " ness")[i] for i in ids).lstrip()

    assert tokens.pieces(Dropping(), [0], [1, 2]) == (" sad", " ness")


def test_tokens_are_written_on_one_line():
    assert joined([" sad", "ness\n", "\t"]) == r"·sad|ness\n|\t"


# -- the command -------------------------------------------------------------------------------------------------------


def command(*overrides: str) -> int:
    return main(["model.device=cpu", *overrides])


def test_the_command_prints_every_prompt(tiny_whisper_path, capsys):
    paths = ["model=whisper", f"model.path={tiny_whisper_path}"]
    assert command(*paths, "labels=basic4", "prompt=[voice_sounds,bracketed_label]") == 0
    out = capsys.readouterr().out
    assert out.startswith(f"Model {tiny_whisper_path} (sha256:")
    assert "labels basic4" in out
    assert out.count("Prefix of ") == 2
    assert "bracketed_label ends with" in out


@pytest.mark.parametrize("family", ["qwen2_audio", "voxtral"])
def test_the_command_takes_audio_llms_and_prompts_that_need_facts(family, request, capsys):
    path = request.getfixturevalue("qwen_path" if family == "qwen2_audio" else "voxtral_path")
    prompts = "prompt=[instruction/single_word_all_facts,instruction/probability_dict,instruction/lettered_options]"
    assert command("model=audio_llm", f"model.path={path}", prompts) == 0
    assert capsys.readouterr().out.count("the sound stands in it exactly once") == 3


def test_weights_stay_out_of_memory(qwen_path, qwen):
    pytest.importorskip("accelerate")
    sfm, _, _ = tokens.load(["model=audio_llm", f"model.path={qwen_path}"])
    assert {parameter.device.type for parameter in sfm.model.parameters()} == {"meta"}
    assert tokens.audit(sfm, CHOOSE, BASIC) == tokens.audit(qwen, CHOOSE, BASIC)


def refusal(capsys, *overrides: str) -> str:
    assert command(*overrides) == 1
    return capsys.readouterr().err


def test_forms_with_the_same_tokens_are_refused(qwen_path, tmp_path, capsys):
    shutil.copytree(qwen_path, tmp_path, dirs_exist_ok=True)
    tokenizer = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))
    tokenizer["normalizer"] = {"type": "Lowercase"}
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text(encoding="utf-8"))
    settings |= {"tokenizer_class": "TokenizersBackend"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    forms = ["labels.words.anger.adjective=[angry,Angry]"]
    message = refusal(capsys, "model=audio_llm", f"model.path={tmp_path}", "prompt=instruction/single_word", *forms)
    assert "error: prompt single_word: surface forms 'angry' and 'Angry' have the same tokens" in message
    assert "Drop one of them." in message


def test_a_form_without_tokens_is_refused(qwen_path, capsys):
    overrides = ["model=audio_llm", f"model.path={qwen_path}", "prompt=instruction/single_word"]
    assert command(*overrides, "labels.words.sad.adjective=['']") == 2
    message = capsys.readouterr().err
    assert "error: '' is blank; use another word, or none (field labels.words.sad.adjective)" in message


def test_a_form_of_unknown_tokens_is_refused(qwen_path, tmp_path):
    shutil.copytree(qwen_path, tmp_path, dirs_exist_ok=True)
    tokenizer = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary["<unk>"] = vocabulary.pop("Ã")  # the first byte of é
    tokenizer["model"]["unk_token"] = "<unk>"
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text(encoding="utf-8"))
    settings |= {"unk_token": "<unk>", "tokenizer_class": "TokenizersBackend"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    labels = LabelSet("odd", ("sad", "happy"), {"sad": {"w": "é"}, "happy": {"w": "happy"}})
    sfm = load(tmp_path)
    with pytest.raises(InputError, match="'é' of label 'sad' holds the unknown token") as caught:
        tokens.audit(sfm, clashing(), labels)
    assert caught.value.remedy == "Use another surface form."


def test_a_prompt_without_the_sounds_placeholder_is_refused(qwen_path, tmp_path, capsys):
    shutil.copytree(qwen_path, tmp_path, dirs_exist_ok=True)
    template = (tmp_path / "chat_template.jinja").read_text(encoding="utf-8")
    (tmp_path / "chat_template.jinja").write_text(template.replace("<|AUDIO|>", ""), encoding="utf-8")
    assert command("model=audio_llm", f"model.path={tmp_path}", "prompt=instruction/single_word") == 2  # on loading
    message = capsys.readouterr().err
    assert "0 placeholders for sound" in message
    assert "must write '<|AUDIO|>' once" in message


def test_a_refused_prompt_does_not_hide_the_others(tiny_whisper_path, capsys):
    overrides = ["model=whisper", f"model.path={tiny_whisper_path}", "prompt=[bare_label,bracketed_label]"]
    # In the tiny vocabulary " sadness" is one token.
    assert command(*overrides, "prompt.bare_label.template='A sad{label}'", "labels.words.sad.adjective=[ness]") == 1
    captured = capsys.readouterr()
    assert "error: prompt bare_label: the tokenizer of" in captured.err
    assert "Put a space or another word between the template's text and {label}." in captured.err
    assert "bracketed_label ends with" in captured.out


def test_an_error_of_the_configuration_is_one_line(capsys):
    assert command("prompt=nowhere") == 2
    assert capsys.readouterr().err.startswith("error: there is no prompt 'nowhere' (field prompt)")
