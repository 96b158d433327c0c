"""Verbalizers: which words stand for the labels of any set, asked for by `labels.forms=...`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from checkout import PROJECT
from copies.labels import label_set
from scipy.special import logsumexp
from scoring import config, write_corpus

from emoprobe.errors import InputError
from emoprobe.labels import LabelSet
from emoprobe.prompts.prompt import make_prompts
from emoprobe.recipes import probe as probing
from emoprobe.recipes.settings import read_probe
from emoprobe.report.collect import collect
from emoprobe.run.folder import open_folder
from emoprobe.run.record import Record
from emoprobe.settings import compose

SETS = sorted(file.stem for file in (PROJECT / "conf" / "labels").glob("*.yaml"))
VERBALIZERS = [["adjective"], ["noun"], ["label"], ["prompt"], ["capitalised"], ["label_capitalised"]]
VERBALIZERS += [["noun_capitalised"], ["prompt", "capitalised"], ["adjective", "noun", "adjective_capitalised"]]
WORDS = {"happy": {"adjective": ["happy"], "noun": ["joy", "Glück"]}, "sad": {"adjective": ["sad"], "noun": ["sorrow"]}}


def settings(*overrides: str):
    return read_probe(compose([*overrides, "output_dir=out"]))


@pytest.fixture(scope="module")
def asked() -> dict[tuple[bool, str], dict]:
    """Prompts by whether they ask for a number, and by who is asked."""
    sets = {
        (False, "whisper"): ("basic6", "prompt=whisper_all"),
        (False, "instructed"): ("basic6", "prompt=instruction/all_formats"),
        (True, "whisper"): ("valence5", "prompt=scale/all"),
        (True, "instructed"): ("valence5", "prompt=instruction/scale_all"),
    }
    return {key: settings(f"labels={labels}", prompts).prompt for key, (labels, prompts) in sets.items()}


@pytest.mark.parametrize("who", ["whisper", "instructed"])
@pytest.mark.parametrize("labels", SETS)
def test_every_label_set_has_words_for_every_prompt_of_every_verbalizer(labels, who, asked):
    plain = label_set(labels)
    prompts = asked[plain.scale is not None, who]
    for names in VERBALIZERS:
        if plain.scale is not None:  # the kinds of a scale are numerals and words
            names = [name.replace("adjective", "numeral").replace("noun", "word") for name in names]
        found = replace(plain, forms=tuple(names))
        assert found.hash == plain.hash  # what is judged is the same
        for before, prompt in zip(make_prompts(prompts, plain), make_prompts(prompts, found), strict=True):
            suffix = "+" + "+".join(names)
            assert prompt.name == "@".join([before.base + suffix, *before.name.split("@")[1:]])
            assert (prompt.hash == before.hash) == (found.kinds_of(before.forms) == before.forms)
            words = found.surface_forms(prompt.forms)
            assert {label for label, _ in words} == set(found.labels)
            if names == ["capitalised"]:
                capital = [(label, word[0].upper() + word[1:]) for label, word in plain.surface_forms(before.forms)]
                assert list(words) == capital
            if names == ["label"]:
                assert list(words) == [(label, label) for label in plain.labels]


@pytest.mark.parametrize("names", ["capitalised", "[prompt,capitalised]"])
def test_a_verbalizer_is_chosen_on_the_command_line(names):
    found = settings(f"labels.forms={names}")
    assert found.labels == replace(settings().labels, forms=tuple(names.strip("[]").split(",")))


def test_kinds_of_word_add_up_and_the_first_is_listed():
    labels = LabelSet("two", ("happy", "sad"), WORDS, {}, ("noun", "capitalised"))
    asked = {"family": "instruction", "instruction": "Which of {labels}?"}
    (prompt,) = make_prompts({"p": asked}, labels)
    assert (prompt.name, prompt.forms) == ("p+noun+capitalised", ("noun", "adjective_capitalised"))
    assert labels.surface_forms(prompt.forms) == (
        *(("happy", word) for word in ("joy", "Glück", "Happy")),
        *(("sad", word) for word in ("sorrow", "Sad")),
    )
    assert prompt.text(labels).instruction == "Which of joy, sorrow?"  # the model is asked for what is scored
    plain = make_prompts({"p": asked}, LabelSet("two", ("happy", "sad"), WORDS))[0]
    assert plain.name == "p"
    assert plain.text(labels).instruction == "Which of happy, sad?"


def test_a_set_of_its_own_kind_means_that_one():
    words = {label: {"adjective": [label], "capitalised": [f"{label.upper()}!"]} for label in ("happy", "sad")}
    labels = LabelSet("two", ("happy", "sad"), words, {}, "capitalised")
    assert labels.surface_forms(labels.kinds_of(("adjective",))) == (("happy", "HAPPY!"), ("sad", "SAD!"))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["labels.forms=adverb"], r"label 'anger' has no surface form of kind adverb \(field labels.forms\). It has "),
        (
            ["labels.forms=[]"],
            r"\[\] is not a kind of word, such as adjective, or a list of some or null \(field labels.forms",
        ),
        (
            ["labels.forms=3"],
            r"3 is not a kind of word, such as adjective, or a list of some or null \(field labels.forms\)",
        ),
        (["labels.forms=[noun,noun]"], r"'noun' is given twice \(field labels.forms\)"),
        (
            ["labels.forms=noun", "labels.words.sad.noun=[Anger]"],
            r"surface form 'Anger' stands for both 'anger' \(written 'anger' there\) and 'sad' \(field labels.forms\)",
        ),
    ],
)
def test_what_is_no_verbalizer_is_refused_before_a_model_is_loaded(overrides, message):
    with pytest.raises(InputError, match=message) as error:
        settings(*overrides)
    assert "\n" not in str(error.value)


SHORT = ("prompt=bare_label", "calibration=none", "dataset.split=test")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def runs(corpus, tiny_whisper_path, tmp_path_factory) -> dict[str, Path]:
    """One corpus, asked in four ways."""
    root = tmp_path_factory.mktemp("runs")
    asked = {"plain": (), "adjective": ("labels.forms=adjective",), "capital": ("labels.forms=capitalised",)}
    asked["both"] = ("labels.forms=[prompt,capitalised]",)
    return {
        name: probing.run(config(tiny_whisper_path, corpus, root / name, *SHORT, *of)) for name, of in asked.items()
    }


def rows_of_clips(folder: Path) -> pd.DataFrame:
    """Rows of the label likelihoods of clips in the score table."""
    return open_folder(folder).scores.query("readout == 'label_likelihood' and input == 'clip'")


def test_the_record_and_the_table_say_which_words_were_asked_for(runs):
    rows = {name: open_folder(folder).scores for name, folder in runs.items()}
    assert {name: of["prompt"].unique().tolist() for name, of in rows.items()} == {
        "plain": ["bare_label"],
        "adjective": ["bare_label+adjective"],
        "capital": ["bare_label+capitalised"],
        "both": ["bare_label+prompt+capitalised"],
    }
    assert list(rows["capital"]["forms"].iloc[0])[:3] == ["Angry", "Disgusted", "Fearful"]
    asked = {name: json.loads((folder / "run.json").read_text())["labels"]["forms"] for name, folder in runs.items()}
    assert asked == {
        "plain": None,
        "adjective": ["adjective"],
        "capital": ["capitalised"],
        "both": ["prompt", "capitalised"],
    }
    assert open_folder(runs["both"]).labels.forms == ("prompt", "capitalised")


def test_probabilities_of_several_forms_add_up_and_the_label_mass_shows_which_are_used(runs):
    scores, mass = {}, {}
    for name, folder in runs.items():
        rows = open_folder(folder).scores.query("readout == 'label_likelihood'")
        rows = rows.sort_values(["input", "draw", "utterance_id"])
        scores[name], mass[name] = np.stack(rows["form_logprobs"]), rows["log_label_mass"].to_numpy()
    np.testing.assert_array_equal(scores["plain"], scores["adjective"])
    alone = np.stack([scores["plain"], scores["capital"]], axis=2).reshape(len(scores["plain"]), -1)
    np.testing.assert_allclose(scores["both"], alone, atol=1e-4)
    np.testing.assert_allclose(mass["both"], logsumexp([mass["plain"], mass["capital"]], axis=0), atol=1e-4)
    metrics = pd.read_csv(runs["capital"] / "metrics.csv")
    shown = metrics.loc[metrics["readout"] == "label_likelihood", ["prompt", "mean_label_mass"]].iloc[0]
    clips = rows_of_clips(runs["capital"])
    assert shown.tolist() == ["bare_label+capitalised", pytest.approx(np.exp(clips["log_label_mass"]).mean(), abs=1e-6)]


def test_a_report_ranks_the_verbalizers_of_a_sweep_together(runs):
    (group,) = collect([runs["plain"].parent]).groups
    prompts = {entry.row["prompt"] for entry in group.entries if entry.row["kind"] == "readout"}
    assert prompts >= {"bare_label", "bare_label+capitalised", "bare_label+prompt+capitalised"}


def test_scores_of_other_words_are_not_taken_over(runs, corpus, tiny_whisper_path, tmp_path, capsys):
    asked = (tiny_whisper_path, corpus)
    probing.run(config(*asked, tmp_path / "new", *SHORT, "labels.forms=noun", f"resume={runs['plain']}"))
    assert "taken over" not in capsys.readouterr().out
    probing.run(config(*asked, tmp_path / "same", *SHORT, "labels.forms=adjective", f"resume={runs['plain']}"))
    assert "taken over from an earlier run: 5 of 5" in capsys.readouterr().out  # the same words under another name
    with pytest.raises(InputError, match="scores of another configuration"):
        probing.run(config(*asked, tmp_path / "new", *SHORT, "labels.forms=capitalised"))


def test_a_record_of_before_words_were_called_so_is_read(runs, tmp_path):
    record = json.loads((runs["plain"] / "run.json").read_text())
    record["labels"]["forms"] = record["labels"].pop("words")
    found = Record.from_json(record)
    assert found.labels == open_folder(runs["plain"]).labels
    assert found.identity == open_folder(runs["capital"]).record.identity
