"""The real path once: models from the data packages, against plain transformers."""

from __future__ import annotations

import pytest
import torch

pytestmark = pytest.mark.real_weights


@pytest.fixture(scope="module")
def whisper_base(real_cache):
    from emoprobe.models import weights
    from emoprobe.models.load import load_transcriber

    found = weights.resolve("openai/whisper-base", cache_dir=real_cache, sources=("package",))
    return load_transcriber("openai/whisper-base", path=found.path, device="cpu")


def small_model(name, real_cache):
    """The small audio LLM by a name, and the same folder as transformers loads it: model and processor."""
    from transformers import AutoProcessor, Qwen2AudioForConditionalGeneration

    from emoprobe.models import weights
    from emoprobe.models.load import load_audio_llm

    folder = weights.resolve(name, cache_dir=real_cache).path
    model = Qwen2AudioForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
    sfm = load_audio_llm(name, path=folder, device="cpu")
    return sfm, model, AutoProcessor.from_pretrained(folder)


@pytest.fixture(scope="module")
def small(real_cache):
    return small_model("emoprobe/small", real_cache)


@pytest.fixture(scope="module")
def waves():
    from emoprobe.data.corpora.demo import read_demo
    from emoprobe.data.sound.audio import read_audio

    return [torch.from_numpy(read_audio(utterance.audio).waveform) for utterance in read_demo().utterances[:2]]


def test_scores_of_every_prompt_equal_plain_forward_passes(whisper_base, waves):
    from emoprobe.labels import LabelSet
    from emoprobe.options import check
    from emoprobe.prompts.prompt import make_prompts
    from emoprobe.readout.scoring.plan import make_plan
    from emoprobe.settings import compose, plain

    config = compose(["prompt=whisper_all"])
    labels = check(LabelSet, plain(config.labels))
    prompts = make_prompts(plain(config.prompt), labels)
    plans = [make_plan(whisper_base, prompt, labels) for prompt in prompts]
    scores = whisper_base.score(whisper_base.encode(waves), [plan.question for plan in plans])
    features = whisper_base.input_features(waves[:1])
    with torch.no_grad():
        states = whisper_base.model.model.encoder(features)
    worst = 0.0
    for plan, ours in zip(plans, scores, strict=True):
        for continuation, found in list(zip(plan.question.continuations, ours, strict=True))[::4]:
            ids = torch.tensor([[*plan.question.prefix, *continuation]])
            with torch.no_grad():
                logits = whisper_base.model(encoder_outputs=states, decoder_input_ids=ids).logits.log_softmax(-1)
            size = len(continuation)
            expected = logits[0, -size - 1 : -1].gather(-1, ids[0, -size:, None])[:, 0]
            worst = max(worst, (found[0] - expected).abs().max().item())
    assert worst < 1e-3


def test_bfloat16_is_near_float32_also_without_sound(whisper_base, waves):
    import copy

    from emoprobe.labels import LabelSet
    from emoprobe.options import check
    from emoprobe.prompts.prompt import make_prompts
    from emoprobe.readout.scoring.plan import make_plan
    from emoprobe.settings import compose, plain

    config = compose(["prompt=whisper_all"])
    labels = check(LabelSet, plain(config.labels))
    prompts = make_prompts(plain(config.prompt), labels)
    questions = [make_plan(whisper_base, prompt, labels).question for prompt in prompts]
    half = whisper_base.around(copy.deepcopy(whisper_base.model).to(torch.bfloat16))

    def sums(sfm, context):
        return torch.cat([values.sum(-1) for row in sfm.score(context, questions) for values in row])

    nothing = sums(half, half.encode_without_audio()) - sums(whisper_base, whisper_base.encode_without_audio())
    clip = sums(half, half.encode(waves[:1])) - sums(whisper_base, whisper_base.encode(waves[:1]))
    assert nothing.abs().max() < 0.6  # 2.8 with the sum through the layers in bfloat16
    assert clip.abs().max() < 0.6


@pytest.mark.filterwarnings("ignore")
def test_text_is_what_generate_writes(whisper_base, waves):
    from emoprobe.models.text import PromptText

    question = whisper_base.question(PromptText())
    ours = whisper_base.generate(whisper_base.encode(waves), [question], max_new_tokens=32)[0]
    expected = whisper_base.model.generate(whisper_base.input_features(waves), language="en", task="transcribe")
    texts = whisper_base.processor.batch_decode(expected, skip_special_tokens=True)
    assert [answer.text for answer in ours] == texts
    assert all(answer.finished for answer in ours)
    assert len(" ".join(texts).split()) > 4  # it heard words


@pytest.mark.parametrize("name", ["openai/whisper-base", "openai/whisper-tiny.en"])
def test_what_generation_settings_are_made_of_without_their_file(name, tmp_path):
    from emoprobe.models import weights
    from emoprobe.models.load import load_transcriber
    from emoprobe.models.transcribers.whisper import suppressed_tokens

    found = weights.resolve(name, cache_dir=tmp_path, sources=("package",))
    full = load_transcriber(name, path=found.path, device="cpu")
    published = full.model.generation_config
    suppressed, at_first = suppressed_tokens(full.processor.tokenizer)
    assert (suppressed, at_first) == (sorted(published.suppress_tokens), published.begin_suppress_tokens)
    (found.path / "generation_config.json").unlink()
    assert load_transcriber(name, path=found.path, device="cpu").start_tokens == full.start_tokens


def chat_inputs(processor, instruction, wave, answer=()):
    """The processor's inputs of the chat with the sound, and the beginning of an answer."""
    messages = [{"role": "user", "content": [{"type": "audio"}, {"type": "text", "text": instruction}]}]
    text = processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    inputs = processor(text=text, audio=[wave.numpy()], sampling_rate=16_000, return_tensors="pt")
    ids = torch.cat([inputs["input_ids"], torch.tensor([answer], dtype=torch.long)], dim=1)
    return {**inputs, "input_ids": ids, "attention_mask": torch.ones_like(ids)}


def test_the_small_audio_llm_scores_as_a_plain_forward_pass(small, waves):
    from emoprobe.labels import LabelSet
    from emoprobe.options import check
    from emoprobe.prompts.prompt import make_prompts
    from emoprobe.readout.scoring.plan import make_plan
    from emoprobe.settings import compose, plain

    sfm, model, processor = small
    config = compose(["prompt=instruction/single_word"])
    labels = check(LabelSet, plain(config.labels))
    [prompt] = make_prompts(plain(config.prompt), labels)
    question = make_plan(sfm, prompt, labels).question
    [scores] = sfm.score(sfm.encode(waves), [question])
    worst = 0.0
    for continuation, found in list(zip(question.continuations, scores, strict=True))[::3]:
        for wave, values in zip(waves, found, strict=True):
            with torch.no_grad():
                logits = model(**chat_inputs(processor, question.prompt.instruction, wave, continuation)).logits
            size, ids = len(continuation), torch.tensor(continuation)[:, None]
            expected = logits[0, -size - 1 : -1].log_softmax(-1).gather(-1, ids)[:, 0]
            worst = max(worst, (values - expected).abs().max().item())
    assert worst < 1e-3


def test_the_small_audio_llm_writes_what_generate_writes(small, waves):
    from emoprobe.models.text import PromptText

    sfm, model, processor = small
    instruction = "How does the speaker feel?"
    [answers] = sfm.generate(sfm.encode(waves), [sfm.question(PromptText(instruction=instruction))], max_new_tokens=12)
    for wave, answer in zip(waves, answers, strict=True):
        inputs = chat_inputs(processor, instruction, wave)
        written = model.generate(**inputs, max_new_tokens=12)[0, inputs["input_ids"].shape[1] :]
        assert answer.text == processor.tokenizer.decode(written, skip_special_tokens=True)
        assert answer.text.strip()


def logit_readings(sfm, waves, prompt, names):
    """Rows of the averaged logits of a shipped prompt about waveforms, and readings of them by name."""
    import pyarrow as pa

    from emoprobe.labels import LabelSet
    from emoprobe.options import check
    from emoprobe.prompts.prompt import make_prompts
    from emoprobe.readout.averaged_logits import AveragedLogits, AveragedLogitsOptions
    from emoprobe.readout.scoring.plan import make_plan
    from emoprobe.readout.scoring.read import read
    from emoprobe.run.scores import schema
    from emoprobe.settings import compose, plain

    config = compose([f"prompt={prompt}"])
    labels = check(LabelSet, plain(config.labels))
    [prompt] = make_prompts(plain(config.prompt), labels)
    plan = make_plan(sfm, prompt, labels)
    clips = read(sfm, sfm.encode(waves), [plan], [AveragedLogits()], [str(i) for i in range(len(waves))])
    rows = pa.Table.from_pylist([row for clip in clips for row in clip], schema=schema())
    return plan, rows, [one.derive(rows) for one in AveragedLogits.read(rows, labels, AveragedLogitsOptions(names))]


def demo_waves(*ids):
    """Clips of the demo corpus by their ids."""
    from emoprobe.data.corpora.demo import read_demo
    from emoprobe.data.sound.audio import read_audio

    found = {utterance.id: utterance.audio for utterance in read_demo().utterances}
    return [torch.from_numpy(read_audio(found[name]).waveform) for name in ids]


def test_the_end_tokens_position_makes_ratios_of_whispers_logits_undefined(whisper_base):
    """Over 64 clips of the demo corpus it does so 42 times with the position of the end and 10 times without."""
    waves = demo_waves("spk09_clear", "spk09_conflict", "spk09_mild", "spk11_clear")
    names = ("raw_logit_ratio", "raw_logit_ratio_without_end")
    _, _, (whole, without) = logit_readings(whisper_base, waves, "speaker_feeling", names)
    assert whole.status == ("undefined", "undefined", "ok", "undefined")
    assert without.status == ("ok", "ok", "ok", "undefined")


@torch.no_grad()
def test_a_label_is_read_where_it_stands_in_a_sentence(real_cache):
    """Before its training the small audio LLM answers in sentences."""
    sfm, model, processor = small_model("emoprobe/small-base", real_cache)
    [wave] = demo_waves("spk11_conflict_4")
    plan, rows, [found] = logit_readings(sfm, [wave], "instruction/single_word", ("softmax_label",))
    text, tokens = rows["generated_text"][0].as_py(), rows["generated_tokens"][0].as_py()
    assert text == "The speaker in this recording feels angry."
    written = processor.tokenizer(" angry", add_special_tokens=False).input_ids[0]
    before = tokens[: tokens.index(written)]
    logits = model(**chat_inputs(processor, plan.free.prompt.instruction, wave, before)).logits[0, -1]
    ids = [processor.tokenizer(f" {form}", add_special_tokens=False).input_ids[0] for form in plan.forms]
    torch.testing.assert_close(torch.tensor(found.probs[0]), logits[ids].double().softmax(-1), atol=1e-4, rtol=0)
    assert plan.labels[int(found.probs[0].argmax())] == "anger"


@pytest.mark.filterwarnings("ignore")
@torch.no_grad()
def test_a_cascade_is_what_plain_transformers_makes_of_its_words(whisper_base, real_cache, waves, monkeypatch):
    pytest.importorskip("parselmouth", reason="needs the extra acoustics")
    pytest.importorskip("gguf", reason="needs the extra smollm2")
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from emoprobe.models.load import load_cascade
    from emoprobe.models.text import PromptText
    from emoprobe.models.weights import resolve
    from emoprobe.settings import compose, plain

    monkeypatch.setenv("EMOPROBE_CACHE", str(real_cache))
    node = plain(compose(["model=cascade"]).model)
    sfm = load_cascade(**{name: value for name, value in node.items() if name != "_target_"} | {"device": "cpu"})
    assert sfm.name == "whisper-base + voice in words > SmolLM2-135M-Instruct (text only)"
    ids = whisper_base.model.generate(whisper_base.input_features(waves), language="en", task="transcribe")
    texts = [" ".join(text.split()) for text in whisper_base.processor.batch_decode(ids, skip_special_tokens=True)]
    context = sfm.encode(waves)
    assert [told.splitlines()[0] for told in context.told] == [f'The words spoken are: "{text}"' for text in texts]

    path = resolve(node["name"], cache_dir=real_cache).path
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(path)
    instruction = "How does the speaker feel: angry, happy or sad? Answer with that one word only."
    question = sfm.question(PromptText(instruction=instruction), ["angry", "happy", "sad"])
    scores = sfm.score(context, [question])[0]
    answers = sfm.generate(context, [question], max_new_tokens=12)[0]
    for clip, told in enumerate(context.told):
        lines = ["The recording is not played to you but described in words.", told, "Nothing else is known of it."]
        chat = [{"role": "user", "content": "\n".join(lines) + f"\n\n{instruction}"}]
        prompt = tokenizer(tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)).input_ids
        for continuation, values in zip(question.continuations, scores, strict=True):
            size = len(continuation)
            logits = model(torch.tensor([[*prompt, *continuation]])).logits[0, -size - 1 : -1].log_softmax(-1)
            expected = logits.gather(-1, torch.tensor(continuation)[:, None])[:, 0]
            torch.testing.assert_close(values[clip], expected, atol=1e-4, rtol=0)
        written = model.generate(torch.tensor([prompt]), do_sample=False, max_new_tokens=12)[0, len(prompt) :].tolist()
        assert list(answers[clip].tokens) == written[: len(answers[clip].tokens)]
        assert len(answers[clip].tokens) >= min(len(written) - 1, 1)
