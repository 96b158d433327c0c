"""The page in a real headless Chromium: what a person sees, clicks, types and hears."""

from __future__ import annotations

import json

import numpy as np
import pytest
import soundfile
from reporting import chromium
from reporting.runs import LABELS, PLAIN, TEXT, make_human, make_probs, make_record, write_run
from scipy.spatial.distance import jensenshannon

from emoprobe.cli.report import main

PROGRAM = chromium.find()
pytestmark = pytest.mark.skipif(PROGRAM is None, reason="no chromium on PATH and no $CHROMIUM")

SIZE = 3_000
HOSTILE = "<img src=x onerror='window.hacked=1'><script>window.hacked=1</script></script>\u2028 & \"quoted\""
CALIBRATIONS = ("none", "batch", "contextual")
ROWS = "document.querySelectorAll('#board-table tbody tr')"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A report of two groups; clip 0 is hostile, and the sound of some clips is embedded."""
    root = tmp_path_factory.mktemp("browser")
    human = make_human(SIZE)
    human.loc[0, ["utterance_id", "transcript", "speaker"]] = ["aaa " + HOSTILE, HOSTILE, HOSTILE]
    paths = [str(root / f"{i}.wav") for i in range(SIZE)]
    for i, path in enumerate(paths[:60]):
        soundfile.write(path, 0.2 * np.sin(np.arange(8_000) * (0.03 + i / 4_000)), 16_000)
    target = human[[f"target_{label}" for label in LABELS]].to_numpy()
    cells = {
        (*PLAIN[:4], name): (1 - w) * target + w * make_probs(SIZE, seed=i)
        for i, (name, w) in enumerate(zip(CALIBRATIONS, (0.3, 0.6, 0.9), strict=True))
    }
    failing = make_probs(SIZE, seed=9, failed=range(1, SIZE, 50))
    cells |= {TEXT: failing, (HOSTILE, *TEXT[1:]): failing}
    texts = {
        key: [HOSTILE if i == 0 else f"It sounds sad {i}." for i in range(SIZE)] for key in cells if key[2] == TEXT[2]
    }
    more = {"intervals": {"js_divergence": [0.01, 0.05]}, "share_of_range": {"js_divergence": 0.625}}
    known = paths[:60] + [""] * (SIZE - 60)
    write_run(root / "runs/a", human, cells, audio=known, texts=texts, more=more)
    small = make_human(60, seed=5)
    record = make_record(split="other", corpus={"name": "x", "title": HOSTILE, "synthetic": True})
    write_run(root / "runs/b", small, {PLAIN: make_probs(60, seed=3)}, record=record, audio=paths[:60])
    assert main([str(root / "runs"), "-o", str(root / "report"), "--no-figures", "--audio", "embed", "80"]) == 0
    return root / "report/index.html"


@pytest.fixture(scope="module")
def browser(page, tmp_path_factory):
    with chromium.Browser(PROGRAM, tmp_path_factory.mktemp("chromium") / "profile") as opened:
        opened.size(1380, 900)
        yield opened


@pytest.fixture
def fresh(browser, page):
    """The page, just opened; nothing may have gone wrong when the test is over."""
    browser.scheme("light")
    browser.errors.clear()
    browser.requests.clear()
    browser.open(page)
    yield browser
    assert browser.errors == []
    assert browser.run("window.hacked") is None
    outside = [address for address in browser.requests if not address.startswith(("data:", "blob:"))]
    assert outside == [page.resolve().as_uri()]


def column(browser, header: str) -> list[str]:
    """Texts of a column of the leaderboard, by the start of its header, for readouts only."""
    return browser.run(
        f"""(() => {{
        const heads = [...document.querySelectorAll('#board-table thead th')];
        const at = heads.findIndex((head) => head.textContent.startsWith({json.dumps(header)}));
        const rows = [...{ROWS}].filter((row) => !row.classList.contains('other'));
        const text = (cell) => [...cell.childNodes].find((node) => node.nodeType === 3) || cell.lastChild;
        return rows.map((row) => text(row.cells[at])?.textContent ?? '');
        }})()"""
    )


def click(browser, selector: str) -> None:
    browser.run(f"document.querySelector({json.dumps(selector)}).click()")


# Typing is waited for, and what follows is drawn with the next frames.
DRAWN = "new Promise((done) => setTimeout(() => requestAnimationFrame(() => requestAnimationFrame(done)), 300))"


def type_into(browser, selector: str, text: str) -> None:
    """Focus a field and type, with real key events."""
    browser.run(f"document.querySelector({json.dumps(selector)}).focus()")
    browser.call("Input.insertText", text=text)
    browser.run(DRAWN)


def test_rows_are_ranked_and_say_where_floors_lie(fresh):
    values = [float(value) for value in column(fresh, "JS")]
    assert values[:3] == sorted(values[:3])
    assert column(fresh, "#") == ["1", "2", "3", "–", "–"]
    assert [value == "0" for value in column(fresh, "failed")] == [True, True, True, False, False]
    kinds = fresh.run(f"[...{ROWS}].filter((row) => row.classList.contains('other')).map((row) => row.textContent)")
    assert any("floor: uniform" in text for text in kinds)
    assert len(kinds) == 4
    marks = fresh.run(f"{ROWS}[0].querySelectorAll('td.range line').length")
    assert marks == 1 + 4  # the range, four marks
    assert fresh.run(f"[...{ROWS}].filter((row) => row.querySelector('td.range path')).length") == 1  # the interval
    assert column(fresh, "range") == ["0.625", "", "", "", ""]
    assert "0.010 … 0.050" in fresh.run("document.querySelector('#board-table').textContent")


def test_a_click_on_a_header_sorts_and_a_second_one_turns_it_round(fresh):
    click(fresh, "button[data-key='metric:wa']")
    head = "document.querySelector(\"button[data-key='metric:wa']\").closest('th').getAttribute('aria-sort')"
    assert fresh.run(head) == "descending"  # higher is better
    values = [float(value) for value in column(fresh, "WA")]
    assert values[:3] == sorted(values[:3], reverse=True)
    assert fresh.run("document.querySelector('#metric').value") == "wa"
    assert fresh.run("document.activeElement.dataset.key") == "metric:wa"
    fresh.key("Enter")  # the header is a button, and keeps the focus
    assert fresh.run(head) == "ascending"
    values = [float(value) for value in column(fresh, "WA")]
    assert values[:3] == sorted(values[:3])
    assert fresh.run("document.querySelectorAll('#board-table th[aria-sort=ascending]').length") == 1
    click(fresh, "button[data-key='name:calibration']")
    names = column(fresh, "calibration")
    assert names == sorted(names)


def test_filters_leave_the_rows_asked_for(fresh):
    type_into(fresh, "#filter", "batch label")
    assert column(fresh, "calibration") == ["batch"]
    fresh.run(
        "(() => { const f = document.querySelector('#filter'); f.value = ''; f.dispatchEvent(new Event('input')); })()"
    )
    fresh.run(DRAWN)
    assert len(column(fresh, "calibration")) == 5
    fresh.run(
        "(() => { const s = document.querySelector('#only-readout'); s.value = 'generated_text';"
        " s.dispatchEvent(new Event('change')); })()"
    )
    assert column(fresh, "readout") == ["generated_text"] * 2
    assert "2 of 5 readouts" in fresh.run("document.querySelector('#board-status').textContent")


def test_rows_are_chosen_with_the_keyboard_and_the_figures_follow(fresh):
    assert fresh.run(f"[...{ROWS}].filter((row) => row.tabIndex === 0).length") == 1
    fresh.run(f"{ROWS}[0].focus()")
    fresh.key("ArrowDown")
    fresh.key("Enter")
    chosen = "[...document.querySelectorAll('tr[aria-selected=true]')].map((row) => row.rowIndex)"
    assert fresh.run(chosen) == [2]
    fresh.key("ArrowDown")
    fresh.key(" ")
    assert fresh.run(chosen) == [2, 3]
    fresh.wait("document.querySelectorAll('#selection .chip').length === 3")
    fresh.wait("document.querySelectorAll('#means rect').length === 12")  # four labels, raters and two rows
    assert fresh.run("document.querySelectorAll('#reliability polyline').length") == 2
    fresh.wait("document.querySelectorAll('#clip svg rect').length === 12")


def test_the_list_of_utterances_holds_only_what_is_seen(fresh):
    rows = "document.querySelectorAll('#clip-list .clip-row').length"
    assert 5 < fresh.run(rows) < 60
    assert fresh.run("document.querySelector('#clip-list').scrollHeight") >= SIZE * 46
    first = "document.querySelector('#clip-list .clip-row').getAttribute('aria-posinset')"
    assert fresh.run(first) == "1"
    fresh.run("document.querySelector('#clip-list').scrollTop = 50000")
    fresh.wait(f"Number({first}) > 1000")
    assert fresh.run(rows) < 60
    fresh.run("document.querySelector('#clip-list').focus()")
    fresh.key("End")
    assert fresh.run("document.querySelector('#clip-list [aria-selected=true]').getAttribute('aria-posinset')") == str(
        SIZE
    )
    assert fresh.run("document.querySelector('#clip-list').getAttribute('aria-activedescendant')").startswith("clip-")


def test_utterances_come_by_disagreement_and_can_be_searched_and_narrowed(fresh):
    shown = (
        "[...document.querySelectorAll('#clip-list .clip-row')].map((row) => parseFloat(row.firstChild.textContent))"
    )
    values = fresh.run(shown)
    assert values == sorted(values, reverse=True)
    status = "document.querySelector('#clip-status').textContent"
    type_into(fresh, "#clip-search", "clip_00042")
    assert fresh.run(status).startswith("1 of 3,000")
    assert fresh.run("document.querySelector('#clip h3').textContent") == "clip_00042"
    fresh.run(
        "(() => { const field = document.querySelector('#clip-search'); field.value = '';"
        " field.dispatchEvent(new Event('input')); })()"
    )
    type_into(fresh, "#clip-low", "1.9")
    fresh.wait(f"!{status}.startsWith('3,000 of')")
    entropies = fresh.run(
        "[...document.querySelectorAll('#clip-list .clip-row')].map((row) => parseFloat(row.children[2].textContent))"
    )
    assert entropies
    assert min(entropies) >= 1.9


def test_the_bars_of_a_clip_are_its_votes_and_predictions(fresh, page):
    import pandas as pd

    type_into(fresh, "#clip-search", "clip_00042")
    fresh.wait("document.querySelector('#clip h3').textContent === 'clip_00042'")
    frame = pd.read_parquet(page.parents[1] / "runs/a/predictions.parquet").query("utterance_id == 'clip_00042'")
    row = frame[frame["calibration"] == "none"].iloc[0]  # of the lowest divergence
    shown = fresh.run("[...document.querySelectorAll('#clip svg text.faint')].map((text) => text.textContent)")
    votes = [f"{row[f'target_{name}']:.3f} ({row[f'votes_{name}']:g} vote" for name in LABELS]
    assert [text.removesuffix(")").removesuffix("s") for text in shown[::2]] == votes
    assert [float(text) for text in shown[1::2]] == pytest.approx([row[f"p_{name}"] for name in LABELS], abs=6e-4)
    js = fresh.run("document.querySelector('#clip strong').parentNode.textContent")
    p, t = (row[[f"{kind}_{name}" for name in LABELS]].to_numpy(float) for kind in ("p", "target"))
    assert f"JS {jensenshannon(p, t, base=2) ** 2:.3f}" in js


def test_hostile_texts_are_shown_as_texts(fresh):
    fresh.run(
        f"[...{ROWS}].find((row) => row.textContent.includes('onerror') && row.textContent.includes('generated_text'))"
        ".click()"
    )
    type_into(fresh, "#clip-search", "aaa")
    fresh.wait("document.querySelector('#clip h3').textContent.startsWith('aaa')")  # the search waits for the typist
    assert fresh.run("document.querySelector('#clip h3').textContent") == "aaa " + HOSTILE
    texts = fresh.run("[...document.querySelectorAll('#clip blockquote')].map((quote) => quote.textContent)")
    assert texts == [HOSTILE, HOSTILE]
    assert HOSTILE in fresh.run("document.querySelector('#board-table').textContent")
    assert fresh.run("document.querySelectorAll('img').length") == 0
    assert fresh.run("document.querySelectorAll('script').length") == 2
    assert HOSTILE in fresh.run("document.querySelector('#synthetic').textContent")


def test_an_embedded_clip_plays(fresh):
    fresh.run("[...document.querySelectorAll('#clip-controls label')].at(-1).querySelector('input').click()")
    status = fresh.run("document.querySelector('#clip-status').textContent")
    assert status.startswith("60 of 3,000")
    fresh.wait("document.querySelector('#clip audio')?.readyState >= 1")
    assert fresh.run("document.querySelector('#clip audio').duration") == pytest.approx(0.5, abs=0.05)
    assert fresh.run("document.querySelector('#clip audio').src.slice(0, 20)") == "data:audio/wav;base6"
    assert (
        fresh.run("document.querySelector('#clip audio').play().then(() => 'plays', (error) => String(error))")
        == "plays"
    )
    fresh.wait("document.querySelector('#clip audio').currentTime > 0")


def test_a_linked_clip_plays_from_its_file(page, browser, tmp_path):
    linked = tmp_path / "linked"
    root = page.parents[1]
    assert main([str(root / "runs/b"), "-o", str(linked), "--no-figures"]) == 0
    browser.errors.clear()
    browser.open(linked / "index.html")
    fetched = "document.querySelector('#clip audio').play().then(() => 'plays', (error) => String(error))"
    assert browser.run(fetched) == "plays"
    assert browser.run("document.querySelector('#clip audio').src").startswith(root.as_uri())
    assert browser.errors == []


def test_groups_are_apart_and_say_why(fresh):
    assert "never ranked or averaged together" in fresh.run("document.querySelector('#notes').textContent")
    assert fresh.run("document.querySelectorAll('#groups button').length") == 2
    click(fresh, "#groups button:nth-child(2)")
    fresh.wait("document.querySelector('#clip-status').textContent.startsWith('60 of 60')")
    assert len(column(fresh, "readout")) == 1
    assert "SYNTHETIC" in fresh.run("document.querySelector('#about').textContent")


def test_a_script_that_gets_in_does_not_run(fresh):
    refused = fresh.run(
        "(() => { try { document.body.innerHTML = '<b>x</b>'; } catch (error) { return error.name; } })()"
    )
    assert refused == "TypeError"
    blocked = fresh.run(
        "(() => { const s = document.createElement('script'); try { s.textContent = 'window.hacked = 1'; "
        "document.body.append(s); } catch (error) { return error.name; } return 'added'; })()"
    )
    assert blocked == "TypeError"
    assert fresh.run("window.hacked") is None
    # what the browser itself reports of the refusals is what this test wants
    assert fresh.errors
    assert all("The action has been blocked" in error for error in fresh.errors), fresh.errors
    fresh.errors.clear()


@pytest.mark.parametrize(("scheme", "theme"), [("light", None), ("dark", None), ("light", "dark"), ("dark", "light")])
def test_dark_and_light_follow_the_system_and_the_button(fresh, scheme, theme):
    fresh.scheme(scheme)
    for _ in range({None: 0, "dark": 1, "light": 2}[theme]):
        click(fresh, "#theme")
    paper = fresh.run("getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(255, 255, 255)") == ((theme or scheme) == "light")


def test_everything_fits_a_narrow_window_and_paper(fresh):
    fresh.size(420, 900)
    fresh.run(DRAWN)
    assert fresh.run("document.documentElement.scrollWidth") <= 420
    fresh.size(1380, 900)
    fresh.scheme("light", "print")
    assert fresh.run("getComputedStyle(document.querySelector('#board-controls')).display") == "none"
    assert fresh.run("getComputedStyle(document.querySelector('#board-scroll')).overflowX") == "visible"
    fresh.scheme("light")
