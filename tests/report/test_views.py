"""What a person finds out from the page of a sweep, in a real headless Chromium, on a wide screen and on a phone."""

from __future__ import annotations

import csv
import json
import time

import pytest
from reporting import chromium
from reporting.runs import LABELS, make_human, make_probs, make_record, page_data, write_run, write_sweep

from emoprobe.cli.report import main

PROGRAM = chromium.find()
pytestmark = pytest.mark.skipif(PROGRAM is None, reason="no chromium on PATH and no $CHROMIUM")

SIZE = 60
MODELS = ("some-hub/speech-model-base", "some-hub/speech-model-tiny")
PROMPTS = ("how_does_the_speaker_feel", "how_does_the_voice_sound")
SETTLED = "new Promise((done) => setTimeout(() => requestAnimationFrame(() => requestAnimationFrame(done)), 400))"
READOUTS = "[...document.querySelectorAll('#board-table tbody tr:not(.other)')]"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A sweep of two models and two prompts with a seed each, whose sound has gone."""
    root = tmp_path_factory.mktemp("views")
    human = make_human(SIZE)
    target = human[[f"target_{label}" for label in LABELS]].to_numpy()
    jobs = {}
    for i, (model, prompt) in enumerate((model, prompt) for model in MODELS for prompt in PROMPTS):
        cells = {
            (model, prompt, "label_likelihood", "sum", calibration): (1 - w) * target + w * make_probs(SIZE, seed=i)
            for calibration, w in (("none", 0.3 + 0.1 * i), ("batch", 0.5 - 0.1 * i))
        }
        model_facts = {"name": model, "revision": "r1", "dtype": "float32", "device": "cpu"}
        write_run(
            root / f"runs/{i}",
            human,
            cells,
            record=make_record(model=model_facts),
            audio=[f"/gone/{k}.wav" for k in range(SIZE)],
            more={"intervals": {"js_divergence": [0.01, 0.05]}},
        )
        jobs[str(i)] = [
            f"model={model.rpartition('-')[2]}",
            f"prompt={prompt}",
            f"dataset.max_seconds={10 + 5 * (i % 2)}",
        ]
    write_sweep(root / "runs", ["model=base,tiny", f"prompt={','.join(PROMPTS)}", "dataset.max_seconds=10,15"], jobs)
    (root / "runs/0/judgement").mkdir()
    (root / "runs/0/judgement/strata.csv").write_text("stratum,js_divergence\n=1+1,0.25\n", encoding="utf-8")
    assert main([str(root / "runs"), "-o", str(root / "report"), "--no-figures"]) == 0
    return root / "report/index.html"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium.Browser(PROGRAM, tmp_path_factory.mktemp("chromium") / "profile") as opened:
        yield opened


@pytest.fixture
def wide(browser, page):
    browser.size(1400, 900)
    browser.open(page)
    browser.errors.clear()
    return browser


@pytest.fixture
def phone(browser, page):
    browser.size(400, 900)
    browser.open(page)
    browser.run(SETTLED)
    return browser


def pick(browser, selector: str, value: str) -> None:
    """Choose from a list of options."""
    browser.run(
        f"(() => {{ const list = document.querySelector({json.dumps(selector)}); list.value = {json.dumps(value)};"
        " list.dispatchEvent(new Event('change')); })()"
    )


def test_a_phone_shows_every_number_of_a_row_without_scrolling_sideways(phone):
    assert phone.run("document.documentElement.scrollWidth") <= 400
    boxes = phone.run(
        f"""{READOUTS}.flatMap((row) => [...row.querySelectorAll('td:not(.empty)')].map((cell) => {{
        const box = cell.getBoundingClientRect();
        return [cell.dataset.label || '', cell.textContent, box.left, box.right, box.top, cell.className];
        }}))"""
    )
    assert all(left >= 0 and right <= 400 for _, _, left, right, _, _ in boxes)
    names, numbers = ([box for box in boxes if (kind in box[5])] for kind in ("name", "number"))
    assert {"JS", "BC", "n", "failed", "label mass"} <= {label for label, *_ in numbers}
    first, second = boxes[0][4], numbers[0][4]
    assert [box[4] for box in names if box[4] < second]
    assert second > first  # names above, numbers below
    shown = phone.run(f"getComputedStyle({READOUTS}[0].querySelector('td.lead'), '::before').content")
    assert shown == '"JS"'


def test_words_in_figures_are_large_enough_on_a_phone(phone):
    sizes = phone.run(
        """[...document.querySelectorAll('#dots svg text, #means svg text, #reliability svg text, #clip svg text')]
        .map((text) => parseFloat(getComputedStyle(text).fontSize) * text.getScreenCTM().a / Math.cos(Math.atan2(
          text.getScreenCTM().b, text.getScreenCTM().a)))"""
    )
    assert len(sizes) > 30
    assert min(sizes) >= 10
    widest = phone.run(
        "Math.max(...[...document.querySelectorAll('#dots svg text')].map((t) => t.getBoundingClientRect().right))"
    )
    assert widest <= 400


def test_floors_are_told_from_models_by_shape_and_word(wide):
    heads = wide.run("[...document.querySelectorAll('#dots text.mark')].map((text) => text.textContent)")
    assert {text.rpartition(" ")[0] for text in heads} == {"uniform", "prior", "majority", "one hot of top vote"}
    dashes = wide.run(
        "[...document.querySelectorAll('#dots .legend line')].map((line) => line.getAttribute('stroke-dasharray'))"
    )
    assert len(set(dashes)) == len(heads) == 4
    rows = "[...document.querySelectorAll('#board-table tbody tr{}')]"
    shapes = rows + ".map((row) => row.querySelectorAll('td.range {}').length)"
    assert set(wide.run(shapes.format(":not(.other)", "circle"))) == {1}
    assert set(wide.run(shapes.format(".other", "rect"))) == {1}
    boxes = wide.run(
        "[...document.querySelectorAll('#dots text.mark')].map((text) => text.getBoundingClientRect())"
        ".map((box) => [box.left, box.right, box.top])"
    )
    for i, (left, right, top) in enumerate(boxes):
        assert not any(abs(t - top) < 8 and a < right and b > left for a, b, t in boxes[:i])


def test_names_lose_what_they_share_and_keep_what_tells_them_apart(wide):
    cells = wide.run(
        f"{READOUTS}.map((row) => [...row.querySelectorAll('td.name')].map((c) => [c.textContent, c.title]))"
    )
    assert {name for (name, _), *_ in cells} == {"…base", "…tiny"}
    assert {whole for (_, whole), *_ in cells} == set(MODELS)
    assert {name for _, (name, _), *_ in cells} == {"…speaker_feel", "…voice_sound"}


def test_the_page_says_what_beats_what(wide, page):
    (group,) = page_data(page)["groups"]
    said = "document.querySelector('#conclusion').textContent"
    assert wide.run(said) == group["conclusions"]["js_divergence"]
    assert "beats the prior" in wide.run(said) or "beats the uniform" in wide.run(said)
    pick(wide, "#metric", "wa")
    assert wide.run(said) == group["conclusions"]["wa"] != group["conclusions"]["js_divergence"]


def test_a_page_that_was_moved_says_that_its_sound_is_gone(wide):
    wide.wait("document.querySelector('#clip .gone')?.hidden === false")
    said = wide.run("document.querySelector('#clip .gone').textContent")
    assert said.startswith("The sound of this clip is gone: the page links to ")
    assert ".wav" in said
    assert wide.run("document.querySelector('#clip audio').hidden")


def test_what_varied_in_a_sweep_is_a_column_and_a_filter(wide):
    header = "button[data-key='set:dataset.max_seconds']"
    assert wide.run(f"document.querySelector({json.dumps(header)}) !== null")
    pick(wide, "[id='only-set:dataset.max_seconds']", "15")
    prompts = wide.run(f"{READOUTS}.map((row) => row.querySelectorAll('td.name')[1].title)")
    assert prompts == [PROMPTS[1]] * 4


def test_a_heat_map_has_the_best_readout_of_each_prompt_and_model(wide, page):
    (group,) = page_data(page)["groups"]
    shown = wide.run(
        "[...document.querySelectorAll('#heat tbody tr')].map((row) => [...row.querySelectorAll('td')]"
        ".map((cell) => cell.textContent))"
    )
    readouts = [row for row in group["rows"] if row["kind"] == "readout"]

    def best(prompt, model):
        pair = [r for r in readouts if (r["names"]["prompt"], r["names"]["model"]) == (prompt, model)]
        return f"{min(row['metrics']['js_divergence'] for row in pair):.3f}"

    expected = {best(prompt, model) for prompt in PROMPTS for model in MODELS}
    assert len(shown) == 2
    assert {value for row in shown for value in row} == expected


def test_two_rows_stand_beside_each_other_clip_by_clip(wide):
    second = wide.run("document.querySelector('#clip-second').options[3].value")
    pick(wide, "#clip-second", second)
    wide.wait("document.querySelector('#difference').hidden === false")
    shown = wide.run(
        "[...document.querySelectorAll('#clip-list .clip-row')].map((row) => "
        "parseFloat(row.firstChild.textContent.replace('\u2212', '-')))"
    )
    assert shown == sorted(shown)
    assert shown[0] < 0
    said = wide.run("document.querySelector('#difference').textContent")
    assert said.startswith(f"Of {SIZE} utterances")


def test_a_view_is_sent_as_a_link(wide, page):
    pick(wide, "#metric", "wa")
    pick(wide, "#only-model", MODELS[1])
    pick(wide, "#clip-second", wide.run("document.querySelector('#clip-second').options[3].value"))
    wide.wait("document.querySelector('#difference').hidden === false")
    wide.run("document.querySelectorAll('#clip-list .clip-row')[4].click()")
    view = (
        "JSON.stringify([document.querySelector('#metric').value, document.querySelector('#only-model').value,"
        " document.querySelector('#clip h3').textContent, document.querySelector('#difference').textContent,"
        " [...document.querySelectorAll('#board-table tr')].map((row) => row.textContent + row.ariaSelected)])"
    )
    sent = wide.run(view)
    wide.run(SETTLED)
    address = wide.run("location.href")
    assert "metric=wa" in address
    wide.open(page)
    assert wide.run(view) != sent
    wide.run(f"location.hash = {json.dumps(address.partition('#')[2])}")
    wide.wait(f"{view} === {json.dumps(sent)}")
    wide.run("location.hash = 'group=another&rows=zzz'")
    wide.wait("document.querySelector('#lost').hidden === false")


def test_tables_are_saved_as_csv(wide, page, tmp_path):
    wide.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    wide.run("document.querySelector('[data-csv=leaderboard]').click()")
    file = tmp_path / "made_leaderboard.csv"
    for _ in range(100):
        if file.exists():
            break
        time.sleep(0.05)
    with file.open(encoding="utf-8-sig", newline="") as handle:
        rows = list(csv.DictReader(handle))
    (group,) = page_data(page)["groups"]
    stated = {row["metrics"]["js_divergence"] for row in group["rows"]}
    assert {float(row["js_divergence"]) for row in rows} == stated
    assert {row["model"] for row in rows if row["kind"] == "readout"} == set(MODELS)
    saved = wide.run("document.querySelectorAll('button.csv').length")
    assert saved >= 4


def test_tables_of_the_judgement_are_on_the_page_and_guarded_against_formulas(wide, tmp_path):
    wide.run("document.querySelector('[data-table=strata]').open = true")
    wide.wait("document.querySelectorAll('[data-table=strata] tbody td').length === 3")
    cells = wide.run("[...document.querySelectorAll('[data-table=strata] td')].map((cell) => cell.textContent)")
    assert cells == ["0", "=1+1", "0.25"]
    wide.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    wide.run("document.querySelector('[data-csv=strata]').click()")
    for _ in range(100):
        if list(tmp_path.glob("*.csv")):
            break
        time.sleep(0.05)
    (file,) = tmp_path.glob("*.csv")
    assert file.read_text(encoding="utf-8-sig").splitlines()[1] == "0,'=1+1,0.25"
