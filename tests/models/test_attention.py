"""Decoders that a token tree cannot be asked of are refused, and windows are never exceeded in silence."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import pytest
import torch
import transformers
from tiny.plain import chat_logits
from transformers import DynamicCache

from emoprobe.errors import InputError
from emoprobe.models.attention import attention_window, check_cache
from emoprobe.models.audio_llm import AudioLLM
from emoprobe.models.text import PromptText

PROMPT = PromptText(instruction="What is the emotion? Answer with one word.")
SMALL = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}


def decoder(name, **options):
    config = getattr(transformers, f"{name}Config")(**SMALL | options)
    return SimpleNamespace(config=config, _is_stateful=getattr(transformers, f"{name}Model")._is_stateful)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("Lfm2", {"layer_types": ["conv", "full_attention"]}),
        ("Qwen3Next", {"layer_types": ["linear_attention", "full_attention"]}),
        ("Mamba", {}),
        ("Jamba", {}),
        ("FalconH1", {}),
        ("RecurrentGemma", {}),
        ("NemotronH", {}),
        ("Llama4Text", {"layer_types": ["chunked_attention", "full_attention"]}),
    ],
)
def test_states_that_run_along_the_sequence_are_refused(name, options):
    with pytest.raises(InputError, match="cannot be asked as a token tree"):
        attention_window(decoder(name, **options), "the model")


def test_plain_decoders_have_no_window_and_others_their_own():
    assert attention_window(decoder("Qwen2"), "m") is None
    assert attention_window(decoder("Llama"), "m") is None
    assert attention_window(decoder("Mistral", sliding_window=9), "m") == 9
    both = {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": 7}
    assert attention_window(decoder("Gemma2", **both), "m") == 7


def test_a_cache_without_keys_of_every_layer_is_refused():
    keys = torch.zeros(1, 2, 5, 4)
    cache = DynamicCache()
    cache.update(keys, keys, 0)
    check_cache(cache, 1, 5, "m")
    for layers, positions in ((2, 5), (1, 6)):
        with pytest.raises(InputError, match="cannot be asked as a token tree"):
            check_cache(cache, layers, positions, "m")


def windowed(sfm, window):
    """The model with sliding windows in two of its layers."""
    model = copy.deepcopy(sfm.model)
    config = model.get_decoder().config
    config.layer_types = ["sliding_attention", "full_attention", "sliding_attention"]
    config.sliding_window, config.use_sliding_window = window, True
    for layer, kind in zip(model.get_decoder().layers, config.layer_types, strict=True):
        layer.self_attn.sliding_window = window if kind == "sliding_attention" else None
        layer.self_attn.layer_type = layer.attention_type = kind
    model.get_decoder().has_sliding_layers = True
    return AudioLLM(model, type(sfm.family)(model, sfm.family.processor), name="windowed", revision="")


def test_within_its_window_a_model_is_read_exactly_and_beyond_refused(tiny_llm, voices):
    sfm = tiny_llm("qwen2_audio")
    length = len(sfm.question(PROMPT).prefix) - 1 + len(sfm.encode(voices[:1]).state.tokens[0])
    narrow = windowed(sfm, length // 2)
    with torch.no_grad():  # the window does what it says
        assert not torch.allclose(chat_logits(narrow, PROMPT, voices[0])[-1], chat_logits(sfm, PROMPT, voices[0])[-1])
    question = narrow.question(PROMPT, ["happy", "sad"])
    for ask in (
        lambda: narrow.score(narrow.encode(voices[:1]), [question]),
        lambda: narrow.answer(narrow.hear(voices[:1]).sounds, question),
        lambda: narrow.generate(narrow.encode(voices[:1]), [question], max_new_tokens=2),
    ):
        with pytest.raises(InputError, match="look back"):
            ask()
    wide = windowed(sfm, length + 2)
    values = wide.score(wide.encode(voices[:1]), [question])[0][0][0]
    expected = chat_logits(wide, PROMPT, voices[0])[-1].log_softmax(-1)[question.continuations[0][0]]
    torch.testing.assert_close(values[0], expected, atol=1e-4, rtol=0)


def test_a_model_that_tells_its_decoder_more_than_embeddings_is_refused(tiny_llm, voices):
    sfm = copy.copy(tiny_llm("qwen2_audio"))
    sfm.model = copy.deepcopy(sfm.model)
    sfm.family = type(sfm.family)(sfm.model, sfm.family.processor)
    forward = sfm.family.decoder.forward
    # As a model does that also hands over what it looked up for every token and layer.
    sfm.family.decoder.forward = lambda *args, per_layer_inputs=None, **options: forward(*args, **options)
    call = type(sfm.family.decoder).__call__

    class Telling(type(sfm.family.decoder)):
        def __call__(self, *args, **options):
            return call(self, *args, per_layer_inputs=torch.ones(1), **options)

    sfm.family.decoder.__class__ = Telling
    with pytest.raises(InputError, match="per_layer_inputs, so it cannot be asked"):
        sfm.encode(voices[:1])
