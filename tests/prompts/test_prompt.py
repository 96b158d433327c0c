"""Prompts and label sets as hashed values."""

from __future__ import annotations

import dataclasses
from collections import Counter
from functools import cache

import pytest
from checkout import PROJECT

from emoprobe.errors import InputError
from emoprobe.labels import LabelSet
from emoprobe.models.text import PromptText
from emoprobe.options import check
from emoprobe.prompts.prompt import FACTS, Prompt, make_prompts
from emoprobe.settings import compose, plain

LABELS = LabelSet(
    "two",
    ("anger", "sad"),
    {"anger": {"adjective": ["angry"], "noun": ["anger"]}, "sad": {"adjective": ["sad"], "noun": ["sadness"]}},
    {"Sadness": "sad"},
)
FOLDER = PROJECT / "conf" / "prompt"
SHIPPED = sorted(file.relative_to(FOLDER).with_suffix("").as_posix() for file in FOLDER.rglob("*.yaml"))
SHIPPED_LABELS = sorted(file.stem for file in (PROJECT / "conf" / "labels").glob("*.yaml"))
OF_POINTS = [option for option in SHIPPED if option.startswith("scale/") or "/scale_" in option]
SCALES = [file.stem for file in (PROJECT / "conf" / "labels").glob("*.yaml") if "\nscale:" in file.read_text()]


def ask(instruction="Which of {labels}?", **fields):
    return Prompt("p", instruction=instruction, family="instruction", **fields)


def label_set(size):
    names = [f"label{i}" for i in range(size)]
    return LabelSet("many", names, {name: {"adjective": [f"word{i}"]} for i, name in enumerate(names)})


@cache
def shipped_labels(option):
    return check(LabelSet, plain(compose([f"labels={option}"]).labels))


@cache
def shipped_config(option):
    return plain(compose([f"prompt={option}"]).prompt)


def shipped(prompt, labels="basic6"):
    return make_prompts(shipped_config(prompt), shipped_labels(labels)), shipped_labels(labels)


# -- completion --------------------------------------------------------------------------------------------------------


def test_template_and_forms_make_the_answers():
    prompt = Prompt("p", "The speaker is feeling {label}.", forms=("adjective", "noun"))
    assert prompt.text(LABELS) == PromptText("The speaker is feeling")
    assert prompt.answers(LABELS) == [
        ("anger", "angry", " angry."),
        ("anger", "anger", " anger."),
        ("sad", "sad", " sad."),
        ("sad", "sadness", " sadness."),
    ]


def test_a_label_inside_brackets_has_no_space_and_a_bare_one_begins_with_it():
    assert Prompt("p", "({label})").answers(LABELS)[0] == ("anger", "angry", "angry)")
    assert Prompt("p", "{label}").answers(LABELS)[0] == ("anger", "angry", " angry")


def test_context_lists_the_labels():
    prompt = Prompt("p", "{label}", context="Choose: {labels}.")
    assert prompt.text(LABELS).context == "Choose: angry, sad."


def test_hash_depends_on_everything_the_model_sees_and_on_nothing_else():
    prompt = Prompt("p", "It is {label}.")
    changed = [
        {"template": "It was {label}."},
        {"context": "Hm."},
        {"forms": ("noun",)},
        {"version": 2},
    ]
    hashes = {dataclasses.replace(prompt, **fields).hash for fields in changed}
    assert len(hashes | {prompt.hash}) == 5
    assert dataclasses.replace(prompt, name="q", source="me").hash == prompt.hash


def test_hashes_of_completion_prompts_stay_what_they_were():
    prompts, _ = shipped("[speaker_feeling,bare_label,caption_tone,context_choices]")
    assert [prompt.hash for prompt in prompts] == [
        *("70a823ce543c3187", "bc86a7c5084a83d4", "eff58f189a7b3220", "6723098e8a8d049a")
    ]


# -- instruction -------------------------------------------------------------------------------------------------------


def test_an_instruction_lists_labels_and_options_and_ends_with_the_stimulus():
    prompt = ask(
        "Of {labels}, which?\n{options}\nSay.",
        forms=("noun", "adjective"),
        stimulus="It matters.",
        system="Be {labels}.",
    )
    assert prompt.text(LABELS) == PromptText(
        instruction="Of anger, sadness, which?\nA. anger\nB. sadness\nSay. It matters.", system="Be anger, sadness."
    )
    assert ask("Which?\n", stimulus="Now.", audio_first=False).text(LABELS) == PromptText(
        instruction="Which?\nNow.", audio_first=False
    )
    assert ask(system="").text(LABELS).system == ""


@pytest.mark.parametrize(
    ("fields", "before", "continuation"),
    [
        ({}, "", "angry"),
        ({"template": "{label}."}, "", "angry."),
        ({"template": "The emotion is {label}"}, "The emotion is", " angry"),
        ({"template": "Emotion:\n{label}"}, "Emotion:", "\nangry"),
        ({"template": '{"{label}": 1.0}', "format": "probability_dict"}, '{"', 'angry": 1.0}'),
        ({"reasoning_tokens": 9, "answer_cue": "Answer:"}, "Answer:", " angry"),
        ({"reasoning_tokens": 9, "answer_cue": "Answer: ", "template": "({label})"}, "Answer: (", "angry)"),
    ],
)
def test_an_answer_begins_a_turn_without_a_space_and_continues_what_is_written(fields, before, continuation):
    prompt = ask(**fields)
    assert prompt.text(LABELS).before == before
    assert prompt.answers(LABELS)[0] == ("anger", "angry", continuation)


def test_facts_are_inserted_as_they_are():
    prompt = ask('"{transcript}" after {dialogue}: {labels}?')
    assert prompt.needs == {"transcript", "dialogue"}
    facts = {"transcript": "{labels} {dialogue} \\1 {", "dialogue": "A: {transcript}", "acoustics": "low"}
    assert prompt.text(LABELS, facts).instruction == ('"{labels} {dialogue} \\1 {" after A: {transcript}: angry, sad?')
    assert ask().needs == frozenset()
    assert ask(system="Voice: {acoustics}").needs == {"acoustics"}


@pytest.mark.parametrize("facts", [None, {}, {"transcript": ""}, {"transcript": " \n"}, {"transcript": None}])
def test_a_missing_fact_is_named(facts):
    with pytest.raises(InputError, match=r"'p' needs the transcript.*without \{transcript\}"):
        ask("{transcript}: {labels}?").text(LABELS, facts)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, "single_word"),
        ({"format": "ranked_list"}, "ranked_list"),
        ({"instruction": "{options}?", "answer": "letter"}, "lettered_options"),
        ({"reasoning_tokens": 9, "answer_cue": "Answer:"}, "chain_of_thought"),
        ({"reasoning_tokens": 9, "answer_cue": "Answer:", "format": "percentages"}, "percentages"),
    ],
)
def test_a_prompt_says_how_it_is_answered(fields, expected):
    prompt = ask(**fields)
    assert prompt.answer_format == expected
    assert dataclasses.replace(prompt, format=expected).hash == prompt.hash
    assert dataclasses.replace(prompt, format="open_description").hash != prompt.hash
    assert Prompt("p", "It is {label}.").answer_format == "completion"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"format": "poem"}, "'poem' is not one of .*single_word.*prompt.p.format"),
        ({"format": "completion"}, "answered, not completed"),
        ({"format": "lettered_options"}, "Add answer: letter"),
        ({"template": '{"{label}": 1.0}'}, "does not say how it is answered"),
    ],
)
def test_formats_that_do_not_fit_the_prompt_are_refused(fields, message):
    with pytest.raises(InputError, match=message):
        ask(**fields)


@pytest.mark.parametrize("option", [name for name in SHIPPED if name.startswith("instruction/")])
def test_shipped_instructions_name_their_format(option):
    for name, fields in shipped_config(option).items():
        assert name.removeprefix("scale_").startswith(fields["format"]) or fields["format"] == "number"


def test_other_braces_are_text():
    assert ask('Like {"joy": 0.5, {}} { labels }').text(LABELS).instruction == 'Like {"joy": 0.5, {}} { labels }'


def test_letters_follow_the_order_and_answers_the_labels():
    prompt = ask("{options}\n({labels})", answer="letter", order=(1, 0), template="({label})")
    assert prompt.text(LABELS).instruction == "A. sad\nB. angry\n(sad, angry)"
    assert prompt.answers(LABELS) == [("anger", "B", "B)"), ("sad", "A", "A)")]
    natural = dataclasses.replace(prompt, order=None)
    assert natural.answers(LABELS) == [("anger", "A", "A)"), ("sad", "B", "B)")]


def test_the_alphabet_ends():
    prompt = ask("{options}", answer="letter")
    assert prompt.answers(label_set(26))[-1][1] == "Z"
    with pytest.raises(InputError, match="27 labels are more"):
        prompt.text(label_set(27))
    ask().text(label_set(27))


def test_hash_of_an_instruction_covers_what_reaches_the_model():
    prompt = ask("{options}: {labels}?")
    changed = [
        {"template": "It is {label}"},
        {"forms": ("noun",)},
        {"version": 2},
        {"instruction": "{options}, {labels}?"},
        {"stimulus": "Now."},
        {"system": ""},
        {"system": "Be kind."},
        {"audio_first": False},
        {"answer": "letter"},
        {"order": (1, 0)},
        {"reasoning_tokens": 9, "answer_cue": "Answer:"},
        {"reasoning_tokens": 8, "answer_cue": "Answer:"},
        {"reasoning_tokens": 8, "answer_cue": "So:"},
    ]
    hashes = {dataclasses.replace(prompt, **fields).hash for fields in changed}
    assert len(hashes | {prompt.hash}) == len(changed) + 1
    for same in (
        {"name": "q"},
        {"source": "me"},
        {"order": (0, 1)},
        {"instruction": "{options}:", "stimulus": "{labels}?"},
    ):
        assert dataclasses.replace(prompt, **same).hash == prompt.hash


# -- orders ------------------------------------------------------------------------------------------------------------


def orders(count, size):
    fields = {"family": "instruction", "instruction": "{labels}", "orders": count}
    return make_prompts({"p": fields}, label_set(size))


@pytest.mark.parametrize("count", [6, "all"])
def test_as_many_orders_as_labels_put_every_label_once_in_every_position(count):
    prompts = orders(count, 6)
    assert [prompt.name for prompt in prompts] == [f"p@{i}" for i in range(6)]
    assert {prompt.base for prompt in prompts} == {"p"}
    assert prompts[0].order == (0, 1, 2, 3, 4, 5)
    for place in zip(*(prompt.order for prompt in prompts), strict=True):
        assert sorted(place) == list(range(6))
    assert len({prompt.text(label_set(6)).instruction for prompt in prompts}) == 6


@pytest.mark.parametrize(("count", "size"), [(2, 6), (3, 6), (3, 4), (5, 8)])
def test_fewer_orders_are_different_and_spread(count, size):
    prompts = orders(count, size)
    assert len(prompts) == count
    first = [prompt.order[0] for prompt in prompts]
    gaps = Counter((b - a) % size for a, b in zip(first, first[1:] + first[:1], strict=True))
    assert max(gaps) - min(gaps) <= 1
    assert prompts == orders(count, size)


def test_one_order_keeps_its_name():
    (prompt,) = orders(1, 4)
    assert prompt.name == prompt.base == "p"


def test_an_order_of_another_label_set_is_refused():
    with pytest.raises(InputError, match="order is one of 3 labels, the set has 2"):
        ask(order=(2, 1, 0)).text(LABELS)


# -- mistakes ----------------------------------------------------------------------------------------------------------

ASK = {"family": "instruction", "instruction": "Which of {labels}?"}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "no prompt"),
        ({"p": {"template": "no slot"}}, "exactly once"),
        ({"p": {}}, "exactly once"),
        ({"p": {"template": "{label} {label}"}}, "exactly once"),
        (
            {"p": {"template": "{label}", "family": "chatty"}},
            "'chatty' is not one of completion, instruction .*family",
        ),
        ({"p": {"template": "{label}", "tone": "x"}}, "no option 'tone' .*prompt.p.tone.*answer_cue"),
        ({"p": {"template": "{label}", "forms": []}}, "at least one kind"),
        ({"p": {"template": None}}, "null is not a text .*prompt.p.template"),
        ({"p": None}, r"null is not a mapping of .*template.* \(field prompt.p\)"),
        ({"p": {"template": "{label}"}, "q": {"template": "{label}"}}, "say the same"),
        ({"p@1": {"template": "{label}"}}, "cannot hold '@'"),
        ({"p": {"template": "{label}", "instruction": "Which?"}}, "cannot have the field instruction"),
        ({"p": {"template": "{label}", "audio_first": False}}, "cannot have the field audio_first"),
        ({"p": {"template": "{label}", "orders": 2}}, "cannot have the field orders"),
        ({"p": {"family": "instruction"}}, "needs an instruction"),
        ({"p": {**ASK, "template": "no slot"}}, "exactly once"),
        ({"p": {**ASK, "context": "Hm."}}, "has no context"),
        ({"p": {**ASK, "instruction": "{label} {mood} {labels}"}}, r"placeholder \{label\}, \{mood\}.*\{acoustics\}"),
        ({"p": {**ASK, "stimulus": "{mood}"}}, r"unknown placeholder \{mood\}"),
        ({"p": {**ASK, "system": "{mood}"}}, r"unknown placeholder \{mood\}"),
        ({"p": {**ASK, "answer": "number"}}, "'number' is not one of form, letter .*prompt.p.answer"),
        ({"p": {**ASK, "answer": "letter"}}, "gives none"),
        ({"p": {**ASK, "orders": 0}}, "0 is not a whole number of at least 1 or 'all' .*prompt.p.orders"),
        ({"p": {**ASK, "orders": "some"}}, "'some' is not a whole number .*prompt.p.orders"),
        ({"p": {**ASK, "orders": 3}}, "3 orders of 2 labels"),
        ({"p": {**ASK, "orders": 2, "instruction": "Which?"}}, "lists no labels"),
        ({"p": {**ASK, "orders": 2, "order": [1, 0]}}, "exclude each other"),
        ({"p": {**ASK, "order": [1, 1]}}, "exactly once"),
        ({"p": {**ASK, "reasoning_tokens": 5}}, "belong together"),
        ({"p": {**ASK, "answer_cue": "So:"}}, "belong together"),
        ({"p": {**ASK, "reasoning_tokens": -1, "answer_cue": "So:"}}, "-1 is not a whole number .*reasoning_tokens"),
        ({"p": ASK, "q": {**ASK, "orders": 2}}, "'p' and 'q@0' say the same"),
    ],
)
def test_malformed_prompts_are_refused(config, message):
    with pytest.raises(InputError, match=message):
        make_prompts(config, LABELS)


def test_missing_forms_are_named():
    with pytest.raises(InputError, match="no surface form of kind verb"):
        Prompt("p", "{label}", forms=("verb",)).answers(LABELS)


# -- shipped prompts ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("labels", SHIPPED_LABELS)
@pytest.mark.parametrize("option", SHIPPED)
def test_every_shipped_prompt_works_for_every_label_set(option, labels):
    if (option in OF_POINTS) != (labels in SCALES):
        with pytest.raises(InputError, match=r"asks for (a point of a scale|an emotion), and the labels of"):
            shipped(option, labels)
        return
    prompts, chosen = shipped(option, labels)
    for prompt in prompts:
        text = prompt.text(chosen, dict.fromkeys(FACTS, "A fact."))
        answers = prompt.answers(chosen)
        assert tuple(dict.fromkeys(label for label, _, _ in answers)) == chosen.labels
        assert len({continuation for _, _, continuation in answers}) == len(answers)
        assert "{" not in text.instruction + text.context
        assert bool(text.instruction) == (prompt.family == "instruction")


def test_variants_ask_what_their_base_asks():
    for base in ("instruction/single_word", "instruction/probability_dict"):
        (plain,), _ = shipped(base)
        for option in SHIPPED:
            if option.startswith(f"{base}_"):
                (variant,), _ = shipped(option)
                assert variant.instruction.endswith(plain.instruction)
                assert (variant.template, variant.answer) == (plain.template, plain.answer)
                assert variant.stimulus or variant.needs
                assert plain.hash != variant.hash
    (plain,), _ = shipped("instruction/lettered_options")
    permuted, labels = shipped("instruction/lettered_options_permuted")
    assert len(permuted) == len(labels)
    assert permuted[0].hash == plain.hash


def test_all_formats_holds_every_format_once():
    prompts, _ = shipped("instruction/all_formats")
    extra = ("_stimulus", "_transcript", "_dialogue", "_acoustics", "_facts", "_permuted")
    singles = {
        option.removeprefix("instruction/")
        for option in SHIPPED
        if option.startswith("instruction/") and "/all_" not in option and not option.endswith(extra)
        if option not in OF_POINTS
    }
    assert {prompt.name for prompt in prompts} == singles
    assert all(prompt.needs == frozenset() for prompt in prompts)


def test_both_sets_of_prompts_for_points_hold_every_one():
    found = {prompt.name: prompt for option in ("scale/all", "instruction/scale_all") for prompt in of_points(option)}
    singles = {option.rpartition("/")[2] for option in OF_POINTS} - {"all", "scale_all"}
    assert set(found) == singles
    assert {prompt.answer_format for prompt in found.values()} == {
        *("completion", "number", "probability_dict", "chain_of_thought")
    }


# -- points of a scale -------------------------------------------------------------------------------------------------


def of_points(option, labels="valence5", **fields):
    config = {name: {**prompt, **fields} for name, prompt in shipped_config(option).items()}
    return make_prompts(config, shipped_labels(labels))


def test_a_label_set_fills_in_what_its_scale_is():
    (prompt,) = of_points("scale/scale_voice")
    assert prompt.text(shipped_labels("valence5")).before == (
        "On a scale from 1 (very negative) to 5 (very positive), the valence of the speaker's voice is"
    )
    assert prompt.answers(shipped_labels("valence5"))[2] == ("3", "3", " 3.")
    (other,) = of_points("scale/scale_voice", "arousal7")
    assert "from 1 (very calm) to 7 (very active), the arousal" in other.text(shipped_labels("arousal7")).before
    assert prompt.hash != other.hash
    (instructed,) = of_points(
        "instruction/scale_ends", "dominance5", system="{dimension}!", stimulus="Up to {highest}."
    )
    text = instructed.text(shipped_labels("dominance5"))
    assert text.instruction == (
        "How does the speaker in this recording sound, judging by the voice? 1 means very weak, 5 means very strong. "
        "Choose one of 1, 2, 3, 4, 5 and write only that number. Up to 5."
    )
    assert (text.system, instructed.answer_format) == ("dominance!", "number")


def test_the_ends_are_called_as_the_label_slot_takes_them():
    labels = dataclasses.replace(shipped_labels("valence5"), forms=("word",))
    (prompt,) = make_prompts(shipped_config("scale/scale_voice"), labels)
    assert prompt.text(labels).before.startswith("On a scale from one (very negative) to five (very positive)")
    assert prompt.answers(labels)[-1] == ("5", "five", " five.")
    both = dataclasses.replace(labels, forms=("numeral", "word"))
    (prompt,) = make_prompts(shipped_config("scale/scale_voice"), both)
    assert prompt.text(both).before.startswith("On a scale from 1 ")
    assert [word for _, word, _ in prompt.answers(both)][:3] == ["1", "one", "2"]


def test_a_prompt_may_name_its_dimension_itself():
    own = {"mine": {"template": "Negative or positive, from 1 to 5? {label}", "forms": ["numeral"]}}
    with pytest.raises(InputError, match=r"'mine' asks for an emotion.*points of valence.*dimension: valence"):
        make_prompts(own, shipped_labels("valence5"))
    own["mine"]["dimension"] = "valence"
    (prompt,) = make_prompts(own, shipped_labels("valence5"))
    assert prompt.answer_format == "completion"
    assert prompt.hash == dataclasses.replace(prompt, dimension="").hash
    with pytest.raises(InputError, match=r"'mine' asks for valence, and the labels of arousal5 are points of arousal"):
        make_prompts(own, shipped_labels("arousal5"))
    with pytest.raises(InputError, match=r"'mine' asks for a point of a scale, and the labels of basic6 are none"):
        make_prompts(own, shipped_labels("basic6"))
    asked = ask("Valence from 1 to 5?", dimension="valence", forms=("numeral",))
    assert asked.answer_format == "number"


@pytest.mark.parametrize("form", ["single_word", "percentages", "ranked_list", "open_description"])
def test_formats_that_read_no_points_are_refused(form):
    with pytest.raises(InputError, match=rf"the format {form} are not read as points.*number, probability_dict"):
        of_points("instruction/scale_number", format=form)
    with pytest.raises(InputError, match="labels of basic6 are none"):
        make_prompts(
            {"mine": {"family": "instruction", "instruction": "?", "format": "number"}}, shipped_labels("basic6")
        )


# -- label sets --------------------------------------------------------------------------------------------------------


def test_label_sets():
    assert LABELS.resolve(" SADNESS ") == "sad"
    assert LABELS.resolve("joy") is None
    other = dataclasses.replace(LABELS, labels=("sad", "anger"))
    assert other.hash != LABELS.hash
    assert dataclasses.replace(LABELS, name="x", aliases={}).hash == LABELS.hash


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"labels": ("anger",), "forms": {"anger": {}}}, "at least two"),
        ({"labels": ("anger", "Anger")}, "occur twice"),
        ({"labels": ("anger", "joy")}, "differ in"),
        ({"aliases": {"joy": "happy"}}, "not a label"),
    ],
)
def test_malformed_label_sets_are_refused(fields, message):
    with pytest.raises(InputError, match=message):
        dataclasses.replace(LABELS, **fields)


def test_a_form_of_two_labels_is_refused():
    labels = LabelSet("x", ("a", "b"), {"a": {"noun": ["same"]}, "b": {"noun": ["same"]}})
    with pytest.raises(InputError, match="stands for both"):
        labels.surface_forms(("noun",))
