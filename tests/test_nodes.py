"""What a node calls is read from its source, and nothing is imported for it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from emoprobe.errors import InputError
from emoprobe.nodes import check_arguments, check_node, kin, signature_of

WHISPER = "emoprobe.models.load.load_transcriber"
STOPPING = "lightning.pytorch.callbacks.EarlyStopping"


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ({"_target_": WHISPER, "name": "x", "dtyp": "float32"}, "no option 'dtyp' (field n.dtyp). Did you mean dtype?"),
        ({"_target_": WHISPER, "name": "x", "device": 3}, "3 is not a text (field n.device)."),
        ({"_target_": WHISPER}, "a value must be given (field n.name). Give +n.name=VALUE."),
        (
            {"_target_": STOPPING, "monitor": "dev/loss", "patience": "long"},
            "'long' is not a whole number (field n.p",
        ),
        ({"_target_": STOPPING, "monitor": {"_target_": WHISPER}}, "a value must be given (field n.monitor.name)."),
        ({"_target_": "nowhere.at.all"}, "there is no package of 'nowhere.at.all' (field n._target_)."),
        ({"_target_": None}, "{_target_: null} names nothing to call (field n). Give n._target_=MODULE.NAME"),
        ({"name": "x"}, "{name: 'x'} names nothing to call (field n)."),
        ("whisper", "'whisper' names nothing to call (field n)."),
    ],
)
def test_a_wrong_node_is_refused(node, message):
    with pytest.raises(InputError) as refused:
        check_node(node, "n")
    assert message in str(refused.value)


def test_what_cannot_be_known_is_left_to_the_call():
    check_node({"_target_": WHISPER, "name": "x", "_convert_": "all"}, "n")
    check_node({"_target_": WHISPER, "_partial_": True}, "n")
    check_node({"_target_": STOPPING, "_args_": ["dev/loss"]}, "n")
    check_node({"_target_": "lightning.pytorch.loggers.WandbLogger", "entity": "me"}, "n")  # it takes any argument
    check_node({"_target_": "math.sqrt", "anything": 1}, "n")  # not written in Python
    check_node({"_target_": "emoprobe.nowhere.f"}, "n")
    assert signature_of("math.sqrt") is None


def test_the_arguments_of_the_trainer_are_those_of_lightning():
    import inspect

    import lightning

    trainer = signature_of("lightning.Trainer")
    assert list(trainer.parameters) == list(inspect.signature(lightning.Trainer.__init__).parameters)[1:]
    with pytest.raises(InputError, match=r"no option 'max_epoch' \(field trainer.max_epoch\). Did you mean max_epochs"):
        check_arguments({"max_epoch": 3}, trainer, "trainer")


def test_what_a_loader_returns_is_read_with_all_that_it_derives_from():
    assert kin("emoprobe.models.load_encoder.load_encoder") == ("Encoder", "SpeechFoundationModel")
    answers = kin("emoprobe.models.load.load_cascade")
    assert answers[0] == "Cascade"
    assert answers[-2:] == ("AnsweringModel", "SpeechFoundationModel")
    assert kin("emoprobe.models.encoder.Encoder") == ("Encoder", "SpeechFoundationModel")
    assert kin("math.sqrt") == kin("emoprobe.nowhere.f") == kin("lightning.Trainer.nothing") == ()


def test_nothing_is_imported():
    code = (
        "import sys; from emoprobe.nodes import *\n"
        f"for name in ({WHISPER!r}, {STOPPING!r}, 'lightning.Trainer'): assert signature_of(name).parameters\n"
        "assert kin('emoprobe.models.load_encoder.load_encoder')\n"
        "print(sorted({'torch', 'lightning', 'transformers', 'emoprobe.models'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == "[]"
