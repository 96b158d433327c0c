"""Answers in words: what is written of votes, and how models of the true classes are taught it."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import fitting
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from training.test_lora import OPTIONS, make, settings

from emoprobe.errors import InputError
from emoprobe.labels import LabelSet
from emoprobe.options import check
from emoprobe.prompts.answers import FORMATS, parse_answer
from emoprobe.prompts.prompt import make_prompts
from emoprobe.training.answers import AnswersOptions, TaughtAnswers
from emoprobe.training.fit import predict
from emoprobe.training.methods.base import make_method

LLMS = ("qwen2_audio", "qwen2_5_omni", "qwen3_omni", "voxtral", "granite_speech", "audio_flamingo3")
WORDS = ("angry", "disgusted", "fearful", "happy", "neutral", "sad")
SHARES = st.lists(st.integers(0, 12), min_size=6, max_size=6).filter(any)


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("EMOPROBE_CACHE", str(tmp_path_factory.getbasetemp() / "features"))


def options(*overrides):
    return check(AnswersOptions, settings("answers=all_formats", *overrides)["answers"])


def basic6():
    return LabelSet(**settings()["labels"])


def read(text, form):
    pairs = list(zip(WORDS, WORDS, strict=True))
    return parse_answer(text, WORDS, pairs, answer_format=form, finished=True)


@pytest.mark.parametrize("form", ["probability_dict", "percentages"])
@given(SHARES, st.sampled_from([0.01, 0.02, 0.05, 0.1, 0.2, 0.25]))
def test_written_shares_are_read_back(form, votes, step):
    shares = np.array(votes) / sum(votes)
    parsed = read(FORMATS[form].write(shares.tolist(), WORDS, 0.0, step), form)
    assert parsed.status == "ok"
    assert sum(parsed.shares) == pytest.approx(1)
    np.testing.assert_allclose(parsed.shares, shares, atol=step)
    np.testing.assert_allclose(np.array(parsed.shares) / step, np.round(np.array(parsed.shares) / step), atol=1e-9)


@given(SHARES)
def test_a_ranking_orders_the_labels_by_share(votes):
    shares = np.array(votes) / sum(votes)
    text = FORMATS["ranked_list"].write(shares.tolist(), WORDS, 0.0)
    listed = [line.split(". ")[1] for line in text.splitlines()]
    steps = [dict(zip(WORDS, shares, strict=True))[word] for word in listed]
    assert all(first >= second - 0.05 for first, second in pairwise(steps))
    assert read(text, "ranked_list").shares is not None


@given(SHARES)
def test_a_word_is_drawn_as_often_as_its_share(votes):
    shares = np.array(votes) / sum(votes)
    draws = (np.arange(2000) + 0.5) / 2000
    texts = [FORMATS["single_word"].write(shares.tolist(), WORDS, draw) for draw in draws]
    found = [texts.count(word) / len(texts) for word in WORDS]
    np.testing.assert_allclose(found, shares, atol=1e-3)
    assert {WORDS[np.argmax(read(text, "single_word").shares)] for text in set(texts)} == set(texts)


def test_an_example_of_each_format():
    shares = (0.5, 0.0, 0.1, 0.0, 0.4, 0.0)
    assert FORMATS["probability_dict"].write(shares, WORDS, 0.0) == '{"angry": 0.5, "neutral": 0.4, "fearful": 0.1}'
    assert FORMATS["probability_dict"].write(shares, WORDS, 0.0, 0.25) == '{"angry": 0.5, "neutral": 0.5}'
    assert FORMATS["percentages"].write(shares, WORDS, 0.0) == "angry: 50%\nneutral: 40%\nfearful: 10%"
    assert FORMATS["ranked_list"].write(shares, WORDS, 0.0) == "1. angry\n2. neutral\n3. fearful"
    assert json.loads(FORMATS["probability_dict"].write((1, 1, 1, 0, 0, 0), WORDS, 0.0)) == {
        "angry": 0.35,
        "disgusted": 0.35,
        "fearful": 0.3,
    }


@pytest.mark.parametrize("share", [0.25, 0.5, 1 / 3, 0.1, 0.9])
def test_steps_of_answers_are_as_many_as_asked_for(share):
    own = options(f"answers.share={share}")
    turns = [own.turn(step) for step in range(1000)]
    taught = [turn for turn in turns if turn is not None]
    assert taught == list(range(len(taught)))
    assert len(taught) == pytest.approx(1000 * share, abs=1)


@pytest.mark.parametrize("family", LLMS)
def test_likelihoods_are_those_of_plain_transformers(tiny_llm, family):
    """One forward pass of the class on its processor's own input with the answer's tokens behind."""
    sfm, taught = tiny_llm(family), None
    taught = TaughtAnswers(sfm, options(), basic6())
    generator = torch.Generator().manual_seed(0)
    waves = [torch.randn(length, generator=generator) * 0.1 for length in (9000, 16000, 12345)]
    shares = [(0.5, 0.5, 0, 0, 0, 0), (0, 0, 0, 0, 1, 0), (0.1, 0.2, 0.3, 0.4, 0, 0)]
    for turn in range(4):
        question, answers = taught.tokens(turn, taught.texts(turn, shares, (0.1, 0.5, 0.9)))
        with torch.no_grad():
            found = sfm.teacher_forced(sfm.hear(waves).sounds, question, answers)
        for value, wave, answer in zip(found, waves, answers, strict=True):
            logits = sfm.reference(wave, question, answer[:-1])[-len(answer) :]
            plain = logits.log_softmax(-1)[range(len(answer)), list(answer)].mean()
            assert value.item() == pytest.approx(plain.item(), abs=1e-4)


def taught_method(sfm, *overrides):
    method, clips = make(sfm, "head=lora", "head.rank=4", *overrides)
    prompts = make_prompts(settings("prompt=instruction/single_word")["prompt"], method.labels)
    again = make_method(method.sfm, method.config, method.labels, prompts, method.loss, options("answers.share=0.5"))
    again.prepare(list(method.utterances.values()), method.limits, batch_size=4, progress=False)
    return again, clips


@pytest.mark.parametrize("family", ["qwen2_audio", "granite_speech"])
def test_a_model_learns_to_write_and_to_hold(tiny_llm, family, tmp_path):
    whole = {"qwen2_audio": "multi_modal_projector", "granite_speech": "projector"}[family]
    method, _ = taught_method(tiny_llm(family), f"head.whole_modules={whole}")
    assert not method.frozen_encoder
    clips = method.clips(method_items(method))
    before = {name: value.clone() for name, value in method.sfm.model.state_dict().items()}
    torch.manual_seed(0)
    reader = method.new(clips)
    module = fitting.fit(
        reader,
        fitting.loss_of(),
        clips,
        OPTIONS,
        tmp_path,
        seed=0,
        eval_batch_size=4,
        answers=method.answers,
    )
    first, last = module.curve[0], module.curve[-1]
    assert last["train_loss"] < first["train_loss"]
    assert last["answers_loss"] < first["answers_loss"]
    weights, tuned = method.weights(reader), predict([reader], clips)
    named = [name for name in weights if name.startswith("whole.")]
    assert named
    assert any(not torch.equal(weights[name], before[name.removeprefix("whole.")]) for name in named)
    method.release(reader)
    after = method.sfm.model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    torch.testing.assert_close(predict([method.restore(weights)], clips, 3), tuned, atol=1e-4, rtol=0)


def method_items(method):
    from emoprobe.data.corpora.demo import read_demo
    from emoprobe.data.policy import SoftLabelPolicy
    from emoprobe.data.prepare import prepare

    return prepare(read_demo(), method.labels, SoftLabelPolicy(), limit=10).items


def test_gradients_of_a_projector_are_those_of_plain_pytorch(tiny_llm):
    method, _ = taught_method(tiny_llm("qwen2_audio"), "head.whole_modules=multi_modal_projector", "head.dropout=0")
    clips = method.clips(method_items(method))
    reader = method.new(clips)
    batch = next(clips.in_order(2))
    reader.written(batch, 1, (0.5, 0.5)).sum().backward()
    projector = method.sfm.model.model.multi_modal_projector.linear
    ours = projector.weight.grad.clone()
    reader.zero_grad()
    texts = method.taught.texts(1, batch["target"].tolist(), (0.5, 0.5))
    question, answers = method.taught.tokens(1, texts)
    for wave, answer in zip(batch["waveforms"], answers, strict=True):
        inputs = method.sfm.family.inputs(question.prompt, torch.from_numpy(wave))
        inputs["input_ids"] = torch.cat([inputs["input_ids"], torch.tensor([answer[:-1]])], dim=1)
        inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
        logits = method.sfm.model(**inputs).logits[0, -len(answer) :].log_softmax(-1)
        logits[range(len(answer)), list(answer)].mean().backward()
    torch.testing.assert_close(ours, projector.weight.grad, atol=1e-6, rtol=1e-3)


@pytest.mark.parametrize(
    ("head", "wrong"),
    [("linear_probe", "stands beside the model"), ("lora_probe", "stands beside the model")],
)
def test_what_stands_beside_the_model_teaches_it_nothing(tiny_llm, head, wrong):
    sfm, found = tiny_llm("qwen2_audio"), settings(f"head={head}", "prompt=instruction/single_word")
    with pytest.raises(InputError, match=wrong):
        make_method(sfm, found["head"], basic6(), make_prompts(found["prompt"], basic6()), answers=options())


def test_a_model_that_transcribes_is_taught_no_answers(tiny_whisper):
    with pytest.raises(InputError, match="cannot follow an instruction"):
        TaughtAnswers(tiny_whisper, options(), basic6()).tokens(0, ["sad"])
    with pytest.raises(InputError, match="follows no instructions"):
        tiny_whisper.teacher_forced([], None, [])


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["answers.share=0"], "answers.share"),
        (["answers.share=1"], "answers.share"),
        (["answers.weight=0"], "answers.weight"),
        (["answers.step=0.3"], "answers.step"),
        (["+prompt/instruction@answers.prompts=lettered_options"], "lettered_options"),
        (["+prompt/instruction@answers.prompts=single_word_transcript"], "nobody knows"),
        (["answers=all_formats", "answers.prompts=null"], "answers.prompts"),
    ],
)
def test_wrong_options_are_refused_in_a_line(overrides, said):
    with pytest.raises(InputError, match=said):
        options(*overrides)


@pytest.mark.parametrize(("pattern", "said"), [("nothing_of_the_sort", "no module"), ("q_proj", "adapted and trained")])
def test_whole_modules_that_cannot_be(tiny_llm, pattern, said):
    with pytest.raises(InputError, match=said):
        make(tiny_llm("qwen2_audio"), "head=lora", f"head.whole_modules={pattern}", "prompt=instruction/single_word")


def test_a_run_with_answers_goes_the_whole_way(tmp_path, console):
    """Command, curves, bundle, export of what came out."""
    from emoprobe.checks.tiny.qwen2_audio import write

    folder, run = write(tmp_path / "model"), tmp_path / "run"
    asked = ["model=audio_llm", f"model.path={folder}", "prompt=instruction/single_word"]
    fit = ["head=lora", "head.rank=2", "head.part=all", "head.whole_modules=multi_modal_projector", "fit.max_epochs=2"]
    rest = ["answers=all_formats", "dataset.limit=15", "logger=none", "analysis.figures=false", f"hydra.run.dir={run}"]
    assert console("train", *asked, *fit, *rest).status == 0
    curves = (run / "learning_curves.csv").read_text().splitlines()
    assert "answers_loss" in curves[0]
    out = Path(tmp_path / "merged")
    assert console("export", run / "head_fold0", out, *asked).status == 0
    facts = json.loads((run / "head_fold0" / "head.json").read_text())
    assert facts["answers"]["share"] == 0.25
    assert any("multi_modal_projector" in name for name in facts["whole_parameters"])
    assert (out / "model.safetensors").is_file()
