"""One layer is enough where a model's layers cannot be kept together, since widths differ or only the last is there."""

from __future__ import annotations

import pytest

from emoprobe.data.corpora.demo import read_demo
from emoprobe.data.policy import SoftLabelPolicy
from emoprobe.data.prepare import prepare
from emoprobe.data.sound.limits import AudioLimits
from emoprobe.errors import InputError
from emoprobe.labels import LabelSet
from emoprobe.prompts.prompt import make_prompts
from emoprobe.settings import compose, plain
from emoprobe.training.methods.base import make_method


@pytest.fixture
def probe(tmp_path, monkeypatch):
    """A linear probe of a model with its states of four demo clips."""
    monkeypatch.setenv("EMOPROBE_CACHE", str(tmp_path))

    def make(sfm, *overrides):
        found = plain(compose(["output_dir=unused", "head=linear_probe", *overrides], "train"))
        labels = LabelSet(**found["labels"])
        method = make_method(sfm, found["head"], labels, make_prompts(found["prompt"], labels), None)
        items = prepare(read_demo(), labels, SoftLabelPolicy(), limit=4).items
        method.prepare([item.utterance for item in items], AudioLimits(), batch_size=4, progress=False)
        return method

    return make


@pytest.mark.parametrize("family", ["fun_asr_nano", "vibevoice_asr"])
def test_layers_of_different_widths(probe, tiny_llm, family):
    sfm = tiny_llm(family)
    with pytest.raises(InputError, match="have different widths"):
        probe(sfm, "head.layers=all")
    method = probe(sfm, "head.layers=[-1]")
    (one, *_) = method.loaded.values()
    assert one.shape[0] == 1
    clip = next(iter(method.features.ids))
    assert method.spec.layers == method.layers == (sfm.num_encoder_layers,)
    assert method.inputs([clip])["stats"].isfinite().all()


def test_a_decoder_of_which_only_the_last_layer_is_there(probe, tiny_llm):
    sfm = tiny_llm("gemma3n")
    with pytest.raises(InputError, match="has no decoder layer 0"):
        probe(sfm, "head.source=decoder", "head.layers=all")
    assert probe(sfm, "head.source=decoder", "head.layers=[-1]").layers == (sfm.num_decoder_layers,)
