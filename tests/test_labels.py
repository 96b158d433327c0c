"""Label sets: what is no text, no word or not one's own is refused before it is asked about."""

from __future__ import annotations

import pytest
import yaml

from emoprobe.errors import InputError
from emoprobe.labels import LONGEST, LabelSet, Scale
from emoprobe.options import check
from emoprobe.settings import compose, plain

GOOD = {"happy": {"adjective": ["happy"], "noun": ["happiness"]}, "sad": {"adjective": ["sad"], "noun": ["sadness"]}}


def make(labels=("happy", "sad"), words=GOOD, aliases=None):
    return LabelSet("two", labels, words, aliases or {})


def with_form(*words):
    return GOOD | {"happy": {"adjective": list(words)}}


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("", "is blank"),
        ("  ", "is blank"),
        ("\u200b", "is blank"),
        ("\u00a0", "is blank"),
        ("\u200d\u0301", "is blank"),
        (" happy", "begins or ends with a space"),
        ("happy\n", "begins or ends with a space"),
        ("hap\npy", "invisible or control character"),
        ("hap\tpy", "invisible or control character"),
        ("hap\x00py", "invisible or control character"),
        ("hap\u200bpy", "invisible or control character"),
        ("happy\u202e", "invisible or control character"),
        ("<|im_end|>", "holds a control token"),
        ("happy<|en|>", "holds a control token"),
        ("h" * (LONGEST + 1), "longer than 80 characters"),
        (None, "is not a text.*Quote them"),
        (True, "is not a text.*Quote them"),
        (1, "is not a text.*Quote them"),
        (1.5, "is not a text.*Quote them"),
    ],
)
def test_what_is_no_word_is_refused_wherever_it_stands(word, message):
    with pytest.raises(InputError, match=message):
        make(words=with_form(word))
    with pytest.raises(InputError, match=message):
        make(words=with_form("fine", word))
    with pytest.raises(InputError, match=message):
        make(words=GOOD | {"happy": {"adjective": word}})
    with pytest.raises(InputError, match=message):
        make(words=GOOD | {"happy": {word: ["happy"]}})
    with pytest.raises(InputError, match=message):
        make(labels=("happy", word), words={"happy": {"adjective": ["a"]}, word: {"adjective": ["b"]}})
    with pytest.raises(InputError, match=message):
        make(aliases={word: "happy"})
    if not isinstance(word, str):
        with pytest.raises(InputError, match=message):
            make(aliases={"glad": word})


@pytest.mark.parametrize("word", ["no", "yes", "on", "off", "null", "1", "3.5", "true", "~", ".nan", "0x10", "1e3"])
def test_what_yaml_reads_as_something_else_is_to_be_quoted(word):
    from omegaconf import OmegaConf

    text = "labels: [{0}, fine]\nwords:\n  {0}: {{adjective: [{0}]}}\n  fine: {{adjective: [fine]}}\n"
    if word in ("null", "~"):  # no key of a configuration
        with pytest.raises(InputError, match="Quote them"):
            make(labels=[None, "sad"])
        return
    bare = OmegaConf.to_container(OmegaConf.create(text.format(word)))
    if not isinstance(bare["labels"][0], str):
        with pytest.raises(InputError, match="Quote them"):
            check(LabelSet, {"name": "two", **bare})
    else:
        assert yaml.safe_load(word) == word  # nothing to quote
    quoted = OmegaConf.to_container(OmegaConf.create(text.format(f"'{word}'")))
    assert check(LabelSet, {"name": "two", **quoted}).labels == (word, "fine")


@pytest.mark.parametrize("word", ["no", "null", "1"])
def test_so_are_labels_of_the_command_line(word):
    config = plain(compose(["labels=basic4", f"labels.words.happy.adjective=[{word}]"]).labels)
    if isinstance(config["words"]["happy"]["adjective"][0], str):
        assert check(LabelSet, config).words["happy"]["adjective"] == (word,)
    else:
        with pytest.raises(InputError, match=r"Quote them"):
            check(LabelSet, config)


@pytest.mark.parametrize(
    "words", [("happy", "happy"), ("ﬁne", "fine"), ("caf\u00e9", "cafe\u0301")], ids=["same", "ligature", "composed"]
)
def test_forms_that_are_the_same_in_another_spelling_are_refused(words):
    with pytest.raises(InputError, match="occur twice"):
        make(words=with_form(*words))
    forms = {"happy": {"adjective": [words[0]]}, "sad": {"adjective": [words[1]]}}
    with pytest.raises(InputError, match=r"stands for both 'happy'.* and 'sad'"):
        make(words=forms).surface_forms(("adjective",))


def test_case_may_differ_within_a_label_but_not_between_labels():
    assert make(words=with_form("happy", "Happy")).surface_forms(("adjective",))[:2] == (
        ("happy", "happy"),
        ("happy", "Happy"),
    )
    with pytest.raises(InputError, match=r"'Happy' stands for both 'happy' \(written 'happy' there\) and 'sad'"):
        make(words=GOOD | {"sad": {"adjective": ["Happy"]}}).surface_forms(("adjective",))
    with pytest.raises(InputError, match="occur twice"):
        make(labels=("sad", "Sad"), words={"sad": {"adjective": ["a"]}, "Sad": {"adjective": ["b"]}})


def test_an_alias_stands_for_one_label():
    assert make(aliases={"Glad": "happy", "glad": "happy", "Happy": "happy"}).resolve(" GLAD ") == "happy"
    for aliases in ({"Glad": "happy", "glad": "sad"}, {"happy": "sad"}):
        with pytest.raises(InputError, match="stands for both"):
            make(aliases=aliases)
    with pytest.raises(InputError, match="points to 'joy', which is not a label"):
        make(aliases={"glad": "joy"})


@pytest.mark.parametrize("labels", ["happy", ["happy"], [], {"happy": 1, "sad": 2}, None])
def test_a_list_of_two_labels_is_needed(labels):
    with pytest.raises(InputError):
        LabelSet("one", labels, {label: {"adjective": [label]} for label in labels or ()})


@pytest.mark.parametrize("aliases", ["glad", ["glad"]])
def test_aliases_are_a_mapping(aliases):
    with pytest.raises(InputError, match=r"is not a mapping from other words to labels \(field labels.aliases\)"):
        make(aliases=aliases)


@pytest.mark.parametrize("forms", [["happy", "sad"], {"happy": ["happy"], "sad": ["sad"]}, {"happy": GOOD["happy"]}])
def test_forms_belong_to_kinds_and_labels(forms):
    with pytest.raises(InputError):
        make(words=forms)


def test_other_scripts_and_signs_are_words():
    words = ["怒り", "печаль", "می\u200cخندد", "😀", "so-so", "don't know", "¯\\_(ツ)_/¯", "ü" * LONGEST]
    assert make(words=with_form(*words)).words["happy"]["adjective"] == tuple(words)


@pytest.mark.parametrize("points", [("1", "3"), ("2", "1"), ("0.5", "1.5"), ("one", "two"), ("01", "02"), ("-0", "1")])
def test_the_labels_of_a_scale_are_whole_numbers_one_apart(points: tuple[str, ...]):
    words = {point: {"numeral": [point]} for point in points}
    with pytest.raises(InputError, match="one apart and ascending"):
        LabelSet("scale", points, words, scale=Scale("valence", "bad", "good"))


def test_a_scale_has_numbers_and_changes_the_hash():
    points = ("-1", "0", "1")
    words = {point: {"numeral": [point]} for point in points}
    scale = Scale("valence", "bad", "good")
    rated, plain_words = LabelSet("scale", points, words, scale=scale), LabelSet("scale", points, words)
    other = LabelSet("scale", points, words, scale=Scale("arousal", "bad", "good"))
    assert (rated.points, plain_words.points) == ((-1.0, 0.0, 1.0), None)
    assert rated.hash not in (plain_words.hash, other.hash)
