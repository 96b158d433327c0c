"""Prompts and label sets as hashed values."""

from __future__ import annotations

import dataclasses

import pytest

from emoprobe.errors import InputError
from emoprobe.labels import LabelSet
from emoprobe.prompts import Prompt, make_prompts

LABELS = LabelSet(
    "two",
    ("anger", "sad"),
    {"anger": {"adjective": ["angry"], "noun": ["anger"]}, "sad": {"adjective": ["sad"], "noun": ["sadness"]}},
    {"Sadness": "sad"},
)


def test_template_and_forms_make_the_answers():
    prompt = Prompt("p", "The speaker is feeling {label}.", forms=("adjective", "noun"))
    assert prompt.text(LABELS).before == "The speaker is feeling"
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


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "no prompt"),
        ({"p": {"template": "no slot"}}, "exactly once"),
        ({"p": {"template": "{label} {label}"}}, "exactly once"),
        ({"p": {"template": "{label}", "family": "chatty"}}, "unknown prompt family"),
        ({"p": {"template": "{label}", "tone": "x"}}, "malformed"),
        ({"p": {"template": "{label}", "forms": []}}, "at least one kind"),
        ({"p": {"template": "{label}"}, "q": {"template": "{label}"}}, "say the same"),
    ],
)
def test_malformed_prompts_are_refused(config, message):
    with pytest.raises(InputError, match=message):
        make_prompts(config)


def test_missing_forms_are_named():
    with pytest.raises(InputError, match="no surface form of kind verb"):
        Prompt("p", "{label}", forms=("verb",)).answers(LABELS)


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
