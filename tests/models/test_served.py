"""A served model: the numbers of plain transformers on the processor's own input; one line for all that goes wrong."""

from __future__ import annotations

import json
import re
from pathlib import Path

import httpx
import pytest
import torch
from scoring import write_corpus
from serving import TinyServer, serving

from emoprobe.errors import EmoprobeError, InputError
from emoprobe.models import server as requests
from emoprobe.models.answering import Sampling
from emoprobe.models.load_served import load_served
from emoprobe.models.text import PromptText
from emoprobe.readout.constrained_text import fill_dictionary
from emoprobe.readout.scoring.plan import Plans
from emoprobe.recipes import probe
from emoprobe.recipes.settings import read_probe
from emoprobe.run.folder import open_folder
from emoprobe.run.scores import read_scores
from emoprobe.settings import compose

WORDS = [" happy", " sad", " sadness", " very unhappy indeed"]  # of one token and of several, one beginning another
PROMPTS = [
    PromptText(instruction="How does the speaker feel?", before="The speaker is feeling"),
    PromptText(instruction="Name the emotion.", system="Answer in one word.", audio_first=False),
]
ALL = ["readout=[label_likelihood,generated_text,sampled_text]", "readout.sampled_text.samples=2"]
ALL += [f"readout.{name}.max_new_tokens=3" for name in ("generated_text", "sampled_text")]
ALL += ["prompt=[instruction/single_word,instruction/ranked_list]"]


@pytest.fixture(scope="module")
def tiny(tiny_path) -> TinyServer:
    return TinyServer(tiny_path("qwen2_audio"))


@pytest.fixture
def server(tiny, monkeypatch) -> TinyServer:
    monkeypatch.setattr(requests, "FIRST_PAUSE", 0.001)
    tiny.bodies.clear()
    tiny.version, tiny.models = "0.33.0", {"tiny": str(tiny.folder)}
    tiny.fault, tiny.change = (lambda path, body: None), (lambda answer: answer)
    return tiny


@pytest.fixture
def url(server):
    with serving(server) as address:
        yield address


@pytest.fixture
def waveforms() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(16_000 + 4_000 * i, generator=generator) * 0.1 for i in range(3)]


def plain(server: TinyServer, sfm, prompt: PromptText, waveform: torch.Tensor, answer: list[int]) -> torch.Tensor:
    """Log-probabilities of an answer's tokens, by one forward pass of transformers over the processor's own input."""
    text = server.processor.apply_chat_template(sfm.family.messages(prompt), tokenize=False, add_generation_prompt=True)
    inputs = server.processor(
        text=text + prompt.before, audio=[waveform.numpy()], sampling_rate=16_000, return_tensors="pt"
    )
    ids = torch.cat([inputs["input_ids"], torch.tensor([answer])], 1)
    with torch.no_grad():
        given = {**inputs, "input_ids": ids, "attention_mask": torch.ones_like(ids)}
        logprobs = server.model(**given).logits[0].float().log_softmax(-1)
    at = logprobs[-len(answer) - 1 : -1]
    return at.gather(-1, torch.tensor(answer)[:, None])[:, 0]


def test_scores_are_those_of_plain_transformers(server, url, waveforms):
    sfm = load_served(url, concurrency=8)
    questions = [sfm.question(prompt, WORDS) for prompt in PROMPTS]
    scores = sfm.score(sfm.encode(waveforms), questions)
    for prompt, question, forms in zip(PROMPTS, questions, scores, strict=True):
        for continuation, values in zip(question.continuations, forms, strict=True):
            for clip, waveform in enumerate(waveforms):
                expected = plain(server, sfm, prompt, waveform, list(continuation))
                torch.testing.assert_close(values[clip], expected, atol=1e-4, rtol=0)
    assert {body["max_tokens"] for body in server.bodies} == {1}
    assert not any("prompt_logprobs" in body for body in server.bodies)
    nodes = sum(len({form[:i] for form in q.continuations for i in range(len(form))}) for q in questions)
    assert len(server.bodies) == nodes * len(waveforms)  # a request per node of the trie, and none twice


def test_order_and_number_of_requests_change_nothing(url, waveforms):
    one, many = load_served(url, concurrency=1), load_served(url, concurrency=8)
    questions = [one.question(prompt, WORDS) for prompt in PROMPTS]
    first = one.score(one.encode(waveforms), questions)
    second = many.score(many.encode(waveforms[::-1]), questions[::-1])[::-1]
    for a, b in zip(first, second, strict=True):
        for x, y in zip(a, b, strict=True):
            torch.testing.assert_close(x, y.flip(0), atol=0, rtol=0)


def test_many_labels_are_asked_for_in_parts(server, url, waveforms):
    sfm = load_served(url)
    question = sfm.question(PROMPTS[0], [" happy"])
    before = question.prefix[-3:]
    tokens = [
        token
        for token in range(len(server.processor.tokenizer))
        if token not in sfm.stop_tokens and sfm.text_tokens(sfm.decode([*before, token])) == (*before, token)
    ][:200]
    assert len(tokens) > 128
    wide = type(question)(question.prefix, tuple((token, sfm.stop_tokens[0]) for token in tokens), question.prompt)
    scores = sfm.score(sfm.encode(waveforms[:1]), [wide])[0]
    expected = [plain(server, sfm, PROMPTS[0], waveforms[0], list(form))[0] for form in wide.continuations[:5]]
    torch.testing.assert_close(torch.stack([form[0, 0] for form in scores[:5]]), torch.stack(expected))


def test_answers_are_greedy_or_drawn_by_their_seeds(server, url, waveforms):
    sfm = load_served(url)
    question = sfm.question(PROMPTS[0])
    context = sfm.encode(waveforms[:2])
    answers = sfm.generate(context, [question], max_new_tokens=5)[0]
    for waveform, answer in zip(waveforms, answers, strict=False):
        text = sfm.family.text(PROMPTS[0])
        inputs = server.processor(text=text, audio=[waveform.numpy()], sampling_rate=16_000, return_tensors="pt")
        made = server.model.generate(**inputs, max_new_tokens=5, do_sample=False)[0, inputs["input_ids"].shape[1] :]
        assert list(answer.tokens) == [token for token in made.tolist() if token not in sfm.stop_tokens]
    drawn = [
        sfm.generate(context, [question], max_new_tokens=5, sampling=Sampling(1.0, [seeds]))[0]
        for seeds in ([1, 2], [1, 2], [3, 4])
    ]
    assert [one.tokens for one in drawn[0]] == [one.tokens for one in drawn[1]]
    assert [one.tokens for one in drawn[0]] != [one.tokens for one in drawn[2]]


def test_a_dictionary_is_filled_in_as_the_model_itself_does(url, waveforms, tiny_llm):
    composed = read_probe(compose(["prompt=instruction/probability_dict", "labels=presence3", "output_dir=o"]))
    filled = []
    for sfm in (load_served(url), tiny_llm("qwen2_audio")):
        (plan,) = Plans(sfm, composed.prompts, composed.labels).shared
        filled.append(fill_dictionary(sfm, sfm.encode(waveforms[:1]), plan))
    assert filled[0] == filled[1]


# -- a run -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus"), count=4)


def run(url: str, corpus: Path, output: Path, *more: str) -> Path:
    own = ["model=vllm", f"model.url={url}"] if url else []
    own += ["dataset=manifest", f"dataset.path={corpus}", f"output_dir={output}"]
    own += ["null_inputs.kinds=[silence,noise]", "null_inputs.noise_draws=1", "null_inputs.seconds=0.5"]
    own += ["prompt=instruction/single_word", "logger=none", "batch_size=3", "analysis.figures=false"]
    own += ["analysis.resamples=20", "calibration=none", "trainer.enable_progress_bar=false"]
    own += [] if any(each.startswith("readout=") for each in more) else ["readout=label_likelihood"]
    return probe.run(read_probe(compose([*own, *more])))


def test_a_run_by_a_server_is_the_run_of_the_model(server, url, corpus, tmp_path, tiny_path):
    told = run(url, corpus, tmp_path / "served", *ALL)
    own = ["model=audio_llm", f"model.path={tiny_path('qwen2_audio')}", "model.device=cpu"]
    local = run("", corpus, tmp_path / "local", *ALL, *own)
    key = ["utterance_id", "input", "draw", "prompt", "readout"]
    a, b = (read_scores(folder).to_pandas().set_index(key).sort_index() for folder in (told, local))
    assert list(a.index) == list(b.index)
    for x, y in zip(a["form_logprobs"], b["form_logprobs"], strict=True):
        if x is not None:
            torch.testing.assert_close(torch.tensor(x), torch.tensor(y), atol=1e-4, rtol=0)
    written = a.index.get_level_values("readout") == "generated_text"
    for column in ("generated_text", "finished", "reasoning"):
        assert a.loc[written, column].equals(b.loc[written, column])
    assert json.loads(a["library_versions"].iloc[0])["engine"] == "vllm 0.33.0"
    assert set(a["model"]) == {"tiny (vllm 0.33.0)"}
    assert set(a["dtype"]) == {"served"}
    assert open_folder(told).record.model.device == url
    with pytest.raises(InputError, match=r"model.* -> "):
        run(url, corpus, tmp_path / "local")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["readout=averaged_logits"], "averaged_logits needs raw logits"),
        (["readout=layerwise"], "layerwise needs the states of every layer"),
        (["null_inputs.kinds=[no_audio]"], r"null_inputs\.kinds"),
        (["cache.scores=CACHE"], "nobody here knows the weights"),
        (["model.served=other"], r"does not serve 'other'.*Name one of tiny"),
        (["model.path=/nowhere"], r"no config\.json"),
        (["model.timeout=0"], r"model\.timeout"),
        (["model.concurrency=0"], r"model\.concurrency"),
    ],
)
def test_what_a_server_cannot_do_is_one_line(url, corpus, tmp_path, more, said):
    more = [each.replace("CACHE", str(tmp_path / "cache")) for each in more]
    with pytest.raises(InputError, match=said):
        run(url, corpus, tmp_path / "run", *more)


def on_chat(answer):
    return lambda path, body: answer if body is not None else None


BAD_KEY = {"error": {"message": "bad key"}}
TOO_LONG = {"error": {"message": "too long"}}


def on_models(answer):
    return lambda path, body: answer if path.endswith("/models") else None


FAULTS = {
    "a wrong key": (lambda path, body: (401, BAD_KEY), InputError, r"refuses the key.*model\.api_key"),
    "no api": (lambda path, body: (404, {"detail": "Not Found"}), InputError, r"no server of vLLM's kind.*404"),
    "html": (lambda path, body: (200, b"<html>"), InputError, "another language than JSON"),
    "no list": (on_models((200, {"object": "list"})), InputError, "lists no models"),
    "no version": (lambda path, body: (404, {}) if path == "/version" else None, InputError, "no server of vLLM's"),
    "refused": (on_chat((400, TOO_LONG)), EmoprobeError, "refuses the request: 400 too long"),
    "busy for ever": (on_chat((503, {"error": "busy"})), EmoprobeError, "did not answer in 3 attempts: 503 busy"),
    "too many": (on_chat((429, b"slow down")), EmoprobeError, "in 3 attempts: 429 slow down"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_faults_of_a_server_are_one_line(server, url, corpus, tmp_path, name):
    server.fault, kind, said = FAULTS[name]
    with pytest.raises(kind, match=said) as error:
        run(url, corpus, tmp_path / "run", "model.retries=2")
    assert "\n" not in str(error.value)


def without(*names: str):
    return lambda answer: {name: value for name, value in answer.items() if name not in names}


def edited(path: list, value):
    def change(answer: dict) -> dict:
        answer = json.loads(json.dumps(answer))
        place = answer
        for name in path[:-1]:
            place = place[name]
        place[path[-1]] = value
        return answer

    return change


FIRST = ["choices", 0, "logprobs", "content", 0, "top_logprobs"]
CHANGES = {
    "no prompt tokens": (without("prompt_token_ids"), r"does not tell the tokens that the model is given.*vLLM 0\.26"),
    "other prompt tokens": (edited(["prompt_token_ids", 3], 7), "other tokens than its processor"),
    "no choices": (without("choices"), "does not tell log-probabilities"),
    "no logprobs": (edited(["choices", 0, "logprobs"], None), "does not tell log-probabilities"),
    "names for tokens": (edited([*FIRST, 0, "token"], "happy"), "log-probabilities by token id"),
    "other tokens": (edited(FIRST, [{"token": "token_id:5", "logprob": -1.0}]), "tokens that are asked for"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_answers_that_are_not_to_the_question_are_refused(server, url, corpus, tmp_path, name):
    server.change, said = CHANGES[name]
    with pytest.raises(InputError, match=said):
        run(url, corpus, tmp_path / "run", "readout=label_likelihood", "prompt=instruction/single_word")


def scored_as(value):
    """What a server says, with another score of each token."""

    def change(answer: dict) -> dict:
        for told in answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"]:
            told["logprob"] = value(told["logprob"])
        return answer

    return change


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (lambda score: score + 30.0, "gives logits"),  # --logprobs-mode raw_logits
        (lambda score: -0.1, "gives logits"),  # each may be a log-probability, not all of them
        (lambda score: float("nan"), "not a finite number"),
        (lambda score: float("inf"), "not a finite number"),
    ],
)
def test_scores_that_are_no_log_probabilities_are_refused(server, url, corpus, tmp_path, value, said):
    server.change = scored_as(value)
    with pytest.raises(InputError, match=rf"{said}.*--logprobs-mode raw_logprobs"):
        run(url, corpus, tmp_path / "run")


def test_a_label_that_cannot_be_sent_in_parts_is_refused_before_the_run(url):
    with pytest.raises(InputError, match="read as other tokens when this part of it is sent as text"):
        load_served(url).question(PROMPTS[0], [" happy", " \N{CRYING FACE}"])


def test_a_password_in_the_address_is_refused_and_not_written(url, corpus, tmp_path, console, monkeypatch):
    monkeypatch.chdir(tmp_path)
    address = url.replace("http://", "http://me:sesame@")
    done = console("probe", "model=vllm", f"model.url={address}", "dataset=manifest", f"dataset.path={corpus}")
    assert done.status == 2
    assert "holds a name or password" in done.err
    assert "sesame" not in done.out + done.err
    assert not any(b"sesame" in file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())


def test_a_score_that_is_no_number_ends_the_run(server, url, corpus, tmp_path):
    def change(answer: dict) -> dict:
        for told in answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"]:
            told["logprob"] = -9999.0 if len(server.bodies) > 40 else told["logprob"]
        return answer

    server.change = change
    with pytest.raises(EmoprobeError, match="not a finite number"):
        run(url, corpus, tmp_path / "run", "readout=label_likelihood", "prompt=instruction/single_word", "batch_size=1")


def test_what_passes_is_tried_again_and_the_key_is_sent(server, url, corpus, tmp_path):
    seen = []

    def fault(path: str, body: dict | None):
        if body is not None:
            seen.append(body["authorization"])
            if len(seen) % 3 == 1:
                return 503, {"error": "busy"}
        return None

    server.fault = fault
    folder = run(url, corpus, tmp_path / "run", "readout=label_likelihood", "model.api_key=sesame")
    assert set(seen) == {"Bearer sesame"}
    assert open_folder(folder).record.num_scored == 4
    assert not any("sesame" in file.read_text(errors="replace") for file in folder.rglob("*.json"))


def test_a_clip_that_is_not_answered_is_left_out_and_tried_again_when_asked(server, url, corpus, tmp_path):
    length = 16_000 * 0.8  # of the second clip, by which the server knows it

    def fault(path: str, body: dict | None):
        if body is None:
            return None
        parts = [p for m in body["messages"] if not isinstance(m["content"], str) for p in m["content"]]
        size = max(len(part["input_audio"]["data"]) for part in parts if part["type"] == "input_audio") * 3 / 4
        return (400, {"error": {"message": "this one I refuse"}}) if abs(size - 4 * length) < 200 else None

    server.fault = fault
    asked = ["readout=label_likelihood", "dataset.on_error=skip", "prompt=instruction/single_word"]
    folder = run(url, corpus, tmp_path / "run", *asked)
    assert open_folder(folder).record.num_scored == 3
    assert "u1,unanswered,the server refuses the request: 400 this one I refuse" in (folder / "skipped.csv").read_text()
    server.fault = lambda path, body: None
    assert open_folder(run(url, corpus, tmp_path / "run", *asked)).record.num_scored == 3
    assert open_folder(run(url, corpus, tmp_path / "run", *asked, "retry=failed")).record.num_scored == 4


def test_a_server_that_changes_in_the_middle_is_noticed(server, url, corpus, tmp_path):
    def fault(path: str, body: dict | None):
        if len(server.bodies) > 60:
            server.version = "0.34.0"
        return None

    server.fault = fault
    with pytest.raises(EmoprobeError, match=r"version 0\.33\.0, and now .*0\.34\.0"):
        run(url, corpus, tmp_path / "run", "readout=label_likelihood", "batch_size=1")
    server.fault = lambda path, body: None
    server.version = "0.34.0"
    with pytest.raises(InputError, match=r"other scores|another"):
        run(url, corpus, tmp_path / "run", "readout=label_likelihood", "batch_size=1")


def test_no_server_at_all(corpus, tmp_path):
    for url in ("http://127.0.0.1:9/v1", "localhost:8000", "http://nowhere.invalid/v1"):
        with pytest.raises(InputError, match=r"model\.url"):
            run(url, corpus, tmp_path / "run", "model.retries=0")


def test_training_and_states_are_refused(url):
    sfm = load_served(url)
    with pytest.raises(InputError, match="is with a server"):
        sfm.hear([torch.zeros(16_000)])
    with pytest.raises(InputError, match="is with a server"):
        sfm.logits(sfm.encode([torch.zeros(16_000)]), [])


@pytest.mark.slow
def test_the_doctor_compares_with_transformers(server, url, console):
    done = console("doctor", "model=vllm", f"model.url={url}", "prompt=instruction/single_word")
    assert done.status == 0, done.out + done.err
    assert re.search(r"passed\s+the server against transformers\s+\d\.\d+e-\d+", done.out)
    with torch.no_grad():
        weight = server.model.get_output_embeddings().weight
        before = weight.clone()
        weight.mul_(3.0)  # a server with other weights
    try:
        done = console("doctor", "model=vllm", f"model.url={url}", "prompt=instruction/single_word")
    finally:
        with torch.no_grad():
            weight.copy_(before)
    assert done.status == 1
    assert re.search(r"FAILED\s+the server against transformers", done.out)
    assert httpx.get(url.replace("/v1", "/version")).json() == {"version": "0.33.0"}
