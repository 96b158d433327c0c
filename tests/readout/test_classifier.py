"""What the classes of a checkpoint stand for: by their names where these say it, by an explicit map, or not at all."""

from __future__ import annotations

import shlex
from types import SimpleNamespace

import pytest

from emoprobe.errors import InputError
from emoprobe.labels import LabelSet
from emoprobe.readout.base import make_readouts
from emoprobe.readout.classifier import Classifier, match
from emoprobe.settings import compose, plain, read_part


def labels(name: str) -> LabelSet:
    return read_part(compose([f"labels={name}"]), "labels", LabelSet)


def model(*classes: str) -> SimpleNamespace:
    return SimpleNamespace(name="tiny", classes=classes)


@pytest.mark.parametrize(
    ("name", "classes", "expected"),
    [
        ("iemocap4", "neu hap ang sad", "neutral happy anger sad"),
        ("iemocap4", "Neutral Happy Angry SAD exc", "neutral happy anger sad happy"),
        (
            "iemocap9",
            "ang dis exc fea fru hap neu sad sur",
            "anger disgust excited fear frustration happy neutral sad surprise",
        ),
        (
            "ravdess8",
            "angry calm disgust fearful happy neutral sad surprised",
            "anger calm disgust fear happy neutral sad surprise",
        ),
        ("ravdess8", "cal sur", "calm surprise"),
        ("msp8", "contempt fear happiness", "contempt fear happy"),
        ("emodb7", "boredom anxiety", "boredom -"),
        ("basic6", "calm ha LABEL_0 f happy-sad", "- - - - -"),
    ],
)
def test_a_class_is_known_by_its_label_its_words_and_its_usual_short_form(name, classes, expected):
    found = match(classes.split(), labels(name))
    assert [found.get(each, "-") for each in classes.split()] == expected.split()


def test_a_short_form_of_two_labels_is_none():
    two = LabelSet(
        "two",
        ("disgust", "disappointed"),
        {"disgust": {"noun": ["disgust"]}, "disappointed": {"noun": ["disappointment"]}},
    )
    assert match(["dis", "disg", "Disgust"], two) == {"disg": "disgust", "Disgust": "disgust"}


def test_what_is_given_wins_and_the_rest_is_matched():
    readout = Classifier(map={"cal": None, "hap": "neutral"}).of(
        model("ang", "neu", "hap", "cal", "joy", "sad"), labels("iemocap4")
    )
    expected = {"ang": "anger", "neu": "neutral", "hap": "neutral", "cal": None, "joy": "happy", "sad": "sad"}
    assert readout.map == expected
    assert list(readout.map) == list(expected)
    assert readout.notes() == [
        "readout classifier reads ang as anger, neu as neutral, hap as neutral, joy as happy, sad as sad; left out: cal"
    ]


def test_a_class_without_a_label_ends_in_a_line_to_paste():
    own = model("ang", "neu", "hap", "happy, but sad", "sad", "0", "a:b=[c]{d}(e)")
    with pytest.raises(InputError) as caught:
        Classifier().of(own, labels("iemocap4"))
    text = str(caught.value)
    assert "\n" not in text
    assert "no label for happy, but sad, 0, a:b=[c]{d}(e) (field readout.classifier.map)" in text
    assert "(anger, happy, neutral, sad)" in text
    start = text.index("'readout.classifier.map")
    (override,) = shlex.split(text[start : text.rindex("'") + 1])
    (readout,) = make_readouts(plain(compose(["readout=classifier", override]).readout))
    expected = {"ang": "anger", "neu": "neutral", "hap": "happy", "sad": "sad"}
    assert readout.of(own, labels("iemocap4")).map == {name: expected.get(name) for name in own.classes}


def test_names_that_no_command_line_can_hold_are_given_as_a_config():
    with pytest.raises(InputError, match=r'classifier: \{map: \{"生气": null, .* in a file of CONFIG_DIR/readout'):
        Classifier().of(model("生气", "happy", "neutral", "sad", "ang"), labels("iemocap4"))


@pytest.mark.parametrize(
    ("given", "classes", "message"),
    [
        (None, ("ang", "hap", "neu"), r"no class for sad .*choose other labels=NAME"),
        ({"sad": None}, ("ang", "hap", "neu", "sad"), r"no class for sad"),
        ({"sorrow": "sad"}, ("ang", "hap", "neu", "sad"), r"tiny has no class 'sorrow' .*are ang, hap, neu, sad"),
        ({"sad": "sorrow"}, ("ang", "hap", "neu", "sad"), r"'sorrow' is no label of iemocap4 .*map\.sad"),
        (None, (), r"tiny has no classes of its own .*field readout"),
    ],
)
def test_what_cannot_be_mapped_is_refused(given, classes, message):
    with pytest.raises(InputError, match=message):
        Classifier(map=given).of(model(*classes), labels("iemocap4"))


def test_a_map_of_something_else_is_refused_before_anything_is_loaded():
    for wrong in ("[ang,sad]", "{ang:{a:b}}", "anger"):
        with pytest.raises(InputError, match=r"field readout\.classifier\.map"):
            make_readouts(plain(compose(["readout=classifier", f"readout.classifier.map={wrong}"]).readout))
