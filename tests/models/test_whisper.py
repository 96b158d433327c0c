"""Whisper behind the SFM interface, against plain transformers calls on a tiny model of the true class."""

from __future__ import annotations

import copy

import pytest
import torch

from emoprobe.errors import InputError
from emoprobe.models.answering import Question
from emoprobe.models.text import PromptText
from emoprobe.models.tree import build_tree

LABELS = (" angry.", " disgusted.", " sad.", " sadness.")
TOLERANCE = 1e-4  # nats, float32


def waveforms(*seconds: float) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(int(16_000 * s), generator=generator) * 0.1 for s in seconds]


@pytest.fixture(scope="module")
def questions(tiny_whisper):
    return [
        tiny_whisper.question(PromptText("The speaker is feeling"), LABELS),
        tiny_whisper.question(PromptText("The voice sounds"), LABELS),
        tiny_whisper.question(PromptText("", context="the person is sad"), (" angry", " sad", " sadness")),
    ]


def reference_scores(sfm, waves, question):
    """One full forward pass of the whole sequence per clip and continuation."""
    result = []
    for continuation in question.continuations:
        ids = torch.tensor([[*question.prefix, *continuation]])
        rows = []
        for wave in waves:
            with torch.no_grad():
                logits = sfm.model(input_features=sfm.input_features([wave]), decoder_input_ids=ids).logits
            size = len(continuation)
            rows.append(logits.log_softmax(-1)[0, -size - 1 : -1].gather(-1, ids[0, -size:, None])[:, 0])
        result.append(torch.stack(rows))
    return result


@pytest.mark.parametrize("seconds", [(1.0,), (0.5, 2.0, 3.7), (1, 1, 2, 3, 4, 5, 6, 29.9)])
def test_scores_equal_a_plain_forward_pass_at_any_batch_size(tiny_whisper, questions, seconds):
    waves = waveforms(*seconds)
    scores = tiny_whisper.score(tiny_whisper.encode(waves), questions)
    for question, ours in zip(questions, scores, strict=True):
        for expected, found in zip(reference_scores(tiny_whisper, waves, question), ours, strict=True):
            torch.testing.assert_close(found, expected, atol=TOLERANCE, rtol=0)


def test_raw_logits_and_normalizers_are_those_of_a_plain_forward_pass(tiny_whisper, questions):
    waves = waveforms(0.5, 2.0)
    found = tiny_whisper.score_logits(tiny_whisper.encode(waves), questions)
    for question, forms in zip(questions, found, strict=True):
        for continuation, values in zip(question.continuations, forms, strict=True):
            ids = torch.tensor([[*question.prefix, *continuation]])
            for wave, (logits, normalizers) in zip(waves, values, strict=True):
                features = tiny_whisper.input_features([wave])
                plain = tiny_whisper.model(input_features=features, decoder_input_ids=ids).logits.detach()[0]
                plain = plain[-len(continuation) - 1 : -1]
                expected = plain.gather(-1, ids[0, -len(continuation) :, None])[:, 0]
                torch.testing.assert_close(logits, expected, atol=TOLERANCE, rtol=0)
                torch.testing.assert_close(normalizers, plain.logsumexp(-1), atol=TOLERANCE, rtol=0)


def test_scores_do_not_depend_on_order_batch_or_company(tiny_whisper, questions):
    waves = waveforms(1.0, 2.0, 3.0)
    together = tiny_whisper.score(tiny_whisper.encode(waves), questions)
    backwards = tiny_whisper.score(tiny_whisper.encode(waves[::-1]), questions[::-1])[::-1]
    alone = tiny_whisper.score(tiny_whisper.encode(waves[1:2]), questions[:1])
    for i, question in enumerate(questions):
        for j in range(len(question.continuations)):
            torch.testing.assert_close(together[i][j], backwards[i][j].flip(0), atol=TOLERANCE, rtol=0)
    torch.testing.assert_close(together[0][2][1:2], alone[0][2], atol=TOLERANCE, rtol=0)


def test_scores_depend_on_the_sound(tiny_whisper, questions):
    loud, soft = waveforms(2.0)[0], torch.zeros(32_000)
    scores = tiny_whisper.score(tiny_whisper.encode([loud, soft]), questions[:1])[0][0]
    nothing = tiny_whisper.score(tiny_whisper.encode_without_audio(), questions[:1])[0][0]
    assert (scores[0] - scores[1]).abs().max() > 1e-3
    assert (scores[1] - nothing[0]).abs().max() > 1e-3


def test_readers_leave_the_context_as_it_was(tiny_whisper, questions):
    context = tiny_whisper.encode(waveforms(1.0, 2.0))
    before = [(keys.clone(), values.clone()) for keys, values in context.state.pairs]
    first = tiny_whisper.score(context, questions)
    tiny_whisper.generate(context, questions, max_new_tokens=5)
    tiny_whisper.logits(context, questions)
    again = tiny_whisper.score(context, questions)
    for (keys, values), (old_keys, old_values) in zip(context.state.pairs, before, strict=True):
        assert torch.equal(keys, old_keys)
        assert torch.equal(values, old_values)
    assert all(torch.equal(a, b) for x, y in zip(first, again, strict=True) for a, b in zip(x, y, strict=True))


def test_the_clips_keys_and_values_are_shared_not_copied(tiny_whisper):
    context = tiny_whisper.encode(waveforms(1.0))
    cache = context.state.new_cache()
    for (keys, values), layer in zip(context.state.pairs, cache.cross_attention_cache.layers, strict=True):
        assert layer.keys.data_ptr() == keys.data_ptr()
        assert layer.values.data_ptr() == values.data_ptr()
    assert all(cache.is_updated.values())
    assert len(cache.is_updated) == tiny_whisper.model.config.decoder_layers


def test_suppress_lists_never_touch_scores_or_logits(tiny_whisper, questions):
    context = tiny_whisper.encode(waveforms(1.0))
    suppressed = copy.copy(tiny_whisper)
    config = tiny_whisper.model.generation_config
    held = config.suppress_tokens
    before = tiny_whisper.score(context, questions), tiny_whisper.logits(context, questions)
    try:
        config.suppress_tokens = [*held, *questions[0].continuations[0]]
        after = suppressed.score(context, questions), suppressed.logits(context, questions)
    finally:
        config.suppress_tokens = held
    assert torch.equal(before[0][0][0], after[0][0][0])
    assert torch.equal(before[1], after[1])


def test_logits_are_those_of_the_answer_position(tiny_whisper, questions):
    waves = waveforms(1.0, 2.0)
    logits = tiny_whisper.logits(tiny_whisper.encode(waves), questions)
    for i, question in enumerate(questions):
        with torch.no_grad():
            expected = tiny_whisper.model(
                input_features=tiny_whisper.input_features(waves),
                decoder_input_ids=torch.tensor([question.prefix] * 2),
            ).logits[:, -1]
        torch.testing.assert_close(logits[:, i], expected, atol=TOLERANCE, rtol=0)


@pytest.mark.filterwarnings("ignore")
def test_generation_equals_generate_and_keeps_raw_logits(tiny_whisper, questions):
    waves = waveforms(1.0, 2.0, 3.0)
    keep = [(3, 9), (4,), ()]
    answers = tiny_whisper.generate(tiny_whisper.encode(waves), questions, max_new_tokens=9, keep=keep)
    for question, kept, per_clip in zip(questions, keep, answers, strict=True):
        for wave, answer in zip(waves, per_clip, strict=True):
            features = tiny_whisper.input_features([wave])
            expected = tiny_whisper.model.generate(
                features, decoder_input_ids=torch.tensor([question.prefix]), max_new_tokens=9, do_sample=False
            )[0].tolist()
            expected = [token for token in expected if token != tiny_whisper.end_token]
            assert list(answer.tokens) == expected
            with torch.no_grad():
                ids = torch.tensor([[*question.prefix, *answer.tokens]])
                logits = tiny_whisper.model(input_features=features, decoder_input_ids=ids).logits[0]
            positions = logits[len(question.prefix) - 1 :][: len(answer.log_normalizer)]
            torch.testing.assert_close(answer.kept_logits, positions[:, list(kept)], atol=TOLERANCE, rtol=0)
            torch.testing.assert_close(answer.log_normalizer, positions.logsumexp(-1), atol=TOLERANCE, rtol=0)


def test_generation_stops_at_the_end_token_of_each_row(tiny_whisper):
    """The end token is made the winner of every position; only the first one suppresses it."""
    sfm = copy.copy(tiny_whisper)
    sfm.model = copy.deepcopy(tiny_whisper.model)
    with torch.no_grad():
        sfm.model.proj_out.weight[sfm.end_token] = 1.0
        sfm.model.model.decoder.layer_norm.bias += 5.0
    question = sfm.question(PromptText("The voice sounds"))
    answer = sfm.generate(sfm.encode(waveforms(1.0)), [question], max_new_tokens=9, keep=[(1,)])[0][0]
    assert answer.finished
    assert len(answer.tokens) == 1
    assert answer.kept_logits.shape == (2, 1)  # the position that chose the end is kept too


def test_bfloat16_is_close_to_float32(tiny_whisper, tiny_whisper_path, questions):
    from emoprobe.models.load import load_transcriber

    half = load_transcriber("tiny", path=tiny_whisper_path, dtype="bfloat16", device="cpu")
    waves = waveforms(1.0, 2.0)
    full = tiny_whisper.score(tiny_whisper.encode(waves), questions)
    rough = half.score(half.encode(waves), questions)
    assert rough[0][0].dtype == torch.float32
    worst = max((a - b).abs().max() for x, y in zip(full, rough, strict=True) for a, b in zip(x, y, strict=True))
    assert 0 < worst < 0.5  # eight bits of mantissa through a random model whose logits span about 20 nats


def test_bfloat16_keeps_what_is_added_to_large_channels(tiny_whisper_path, questions):
    # As in real checkpoints: channels of the sum through the layers are far larger than what is added to them.
    from emoprobe.models.load import load_transcriber

    full = load_transcriber("tiny", path=tiny_whisper_path, device="cpu")
    with torch.no_grad():
        for layer, sign in zip(full.decoder.layers, (1, -1), strict=True):
            layer.fc2.weight[:8] = 0
            layer.fc2.bias[:8] = sign * 4096.0
    rounded = copy.deepcopy(full.model).to(torch.bfloat16)
    half, exact = full.around(rounded), full.around(copy.deepcopy(rounded).to(torch.float32))  # the same weights

    def scores(sfm):
        return torch.cat([v for row in sfm.score(sfm.encode_without_audio(), questions) for v in row], dim=-1)

    difference = (scores(half) - scores(exact)).abs().max()
    assert 0 < difference < 0.1  # 0.9 where the sum is kept in bfloat16


@torch.no_grad()
def test_encoder_states_are_of_the_clips_own_frames(tiny_whisper):
    waves = waveforms(1.0, 2.5)
    heard = tiny_whisper.hear(waves, (0, 2))
    states = tiny_whisper.model.model.encoder(tiny_whisper.input_features(waves)).last_hidden_state
    for i, frames in enumerate((50, 125)):  # 20 ms a frame
        assert {layer: own.shape for layer, own in heard.states[i].items()} == dict.fromkeys((0, 2), (frames, 32))
        torch.testing.assert_close(heard.states[i][2], states[i, :frames])
        torch.testing.assert_close(heard.sounds[i], states[i])  # the decoder is given all 30 s


def test_decoder_states_are_those_of_the_last_prefix_token(tiny_whisper, questions):
    waves = waveforms(1.0, 2.0)
    found = tiny_whisper.hidden_states(tiny_whisper.encode(waves), question=questions[0])
    with torch.no_grad():
        expected = tiny_whisper.model(
            input_features=tiny_whisper.input_features(waves),
            decoder_input_ids=torch.tensor([questions[0].prefix] * 2),
            output_hidden_states=True,
        ).decoder_hidden_states
    assert len(found) == len(expected)
    for layer, states in found.items():
        torch.testing.assert_close(states, expected[layer][:, -1], atol=1e-4, rtol=0)


def test_question_splits_where_the_answer_begins(tiny_whisper):
    question = tiny_whisper.question(PromptText("The voice sounds"), (" sad.", " sadness."))
    tokenizer = tiny_whisper.processor.tokenizer
    names = ["<|startoftranscript|>", "<|en|>", "<|transcribe|>", "<|notimestamps|>"]
    assert list(question.prefix[:4]) == tokenizer.convert_tokens_to_ids(names)
    for continuation, text in zip(question.continuations, (" sad.", " sadness."), strict=True):
        assert continuation[-1] == tiny_whisper.end_token
        assert tokenizer.decode([*question.prefix[4:], *continuation[:-1]]) == " The voice sounds" + text


@pytest.mark.parametrize(
    ("prompt", "texts", "message"),
    [
        (PromptText("The sp"), ("eaker",), "joins"),
        (PromptText("The voice sounds"), ("",), "has no token"),
        (PromptText("sad " * 60), (" sad",), "tokens and"),
        (PromptText("The voice <|endoftext|> sounds"), (" sad",), "would take for a control token"),
        (PromptText("The voice", context="he <|translate|> said"), (" sad",), "would take for a control token"),
        (PromptText("The voice sounds"), (" <|en|>",), "would take for a control token"),
    ],
)
def test_questions_that_cannot_be_asked_are_refused(tiny_whisper, prompt, texts, message):
    with pytest.raises(InputError, match=message):
        tiny_whisper.question(prompt, texts)


def test_what_cannot_be_heard_or_loaded_is_refused(tiny_whisper, tiny_whisper_path):
    from emoprobe.models.load import load_transcriber

    with pytest.raises(InputError, match="30 s"):
        tiny_whisper.encode(waveforms(31.0))
    for length in (0, 1, 399):
        with pytest.raises(InputError, match=f"clip 1 of the batch has {length} samples and tiny needs 400"):
            tiny_whisper.encode([*waveforms(1.0), torch.ones(length)])
    with pytest.raises(InputError, match="no encoder layer 7"):
        tiny_whisper.hear(waveforms(1.0), (7,))
    with pytest.raises(InputError, match="unknown dtype"):
        load_transcriber("tiny", path=tiny_whisper_path, dtype="float16")
    with pytest.raises(InputError, match="no token"):
        load_transcriber("tiny", path=tiny_whisper_path, language="klingon")


def test_a_checkpoint_with_missing_weights_is_refused(tiny_whisper_path, tmp_path):
    import shutil

    from safetensors.torch import load_file, save_file

    from emoprobe.models.load import load_transcriber

    folder = tmp_path / "broken"
    shutil.copytree(tiny_whisper_path, folder)
    state = load_file(folder / "model.safetensors")
    state.pop("model.decoder.layers.0.fc1.weight")
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match="missing_keys"):
        load_transcriber("broken", path=folder)


def test_tree_holds_every_shared_prefix_once():
    questions = [Question((1, 2), ((3, 9), (3, 4, 9))), Question((1, 5), ((3, 9),)), Question((7,), ((9,),))]
    tree = build_tree(questions)
    paths = []
    for node, parent in enumerate(tree.parents):
        paths.append((*(paths[parent] if parent >= 0 else ()), tree.tokens[node]))
        assert tree.depths[node] == len(paths[node]) - 1
    assert paths == [(1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), (1, 5), (1, 5, 3), (7,)]
    assert tree.ends == (1, 4, 6)
    assert tree.rows == (((1, 2), (1, 2, 3)), ((4, 5),), ((6,),))
    seen = tree.ancestors()
    for i, path in enumerate(paths):
        for j, other in enumerate(paths):
            assert seen[i, j] == (path[: len(other)] == other)
