"""What was fitted on the votes that it is judged by is never ranked, bold, chosen or drawn as the best, anywhere."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest
from reporting import chromium
from reporting.runs import LABELS, PLAIN, make_human, make_probs, page_data, write_run
from rich.console import Console

from emoprobe.cli.report import main
from emoprobe.report import cell_figures, figures, leaderboard, tables
from emoprobe.report.collect import collect
from emoprobe.run.cell import has_rank, saw_its_votes

SIZE = 40
HUMAN = make_human(SIZE)
TARGET = HUMAN[[f"target_{label}" for label in LABELS]].to_numpy()
SEEN = "evaluated inputs + evaluated votes"
CELLS = {
    (*PLAIN[:4], "training_prior"): TARGET,  # perfect, and no wonder
    (*PLAIN[:4], "none"): 0.3 * TARGET + 0.7 * make_probs(SIZE, seed=1),
    (*PLAIN[:4], "batch"): 0.5 * TARGET + 0.5 * make_probs(SIZE, seed=2),
    (*PLAIN[:4], "temperature"): 0.1 * TARGET + 0.9 * make_probs(SIZE, seed=3),
    (*PLAIN[:2], "generated_text", "parsed", "none"): 0.9 * TARGET + 0.1 * make_probs(SIZE, seed=4, failed=[3]),
}
FITTED = {
    (*PLAIN[:4], "training_prior"): SEEN,
    (*PLAIN[:4], "batch"): "evaluated inputs",
    (*PLAIN[:4], "temperature"): "other speakers' votes (5 folds)",
}
ORDER = ["batch*", "none", "temperature†", "none", "training_prior**"]  # the fourth failed on a clip


@pytest.fixture
def runs(tmp_path):
    write_run(tmp_path / "runs/a", HUMAN, CELLS, fitted=FITTED)
    return tmp_path / "runs"


def rows_of(folder) -> list[dict]:
    return [dict(entry.row) for entry in collect([folder]).groups[0].entries]


@pytest.mark.parametrize(
    ("fitted_on", "seen"),
    [
        ("", False),
        ("evaluated votes", True),
        (SEEN, True),
        ("evaluated inputs", False),
        ("evaluated inputs + training votes", False),
        ("other speakers' votes (5 folds)", False),
        ("other clips' development votes", False),
    ],
)
def test_one_predicate_says_what_has_no_rank(fitted_on, seen):
    assert saw_its_votes(fitted_on) is seen
    row = {"kind": "readout", "num_failed": 0, "fitted_on": fitted_on}
    assert has_rank(row) is not seen
    assert not has_rank(row | {"num_failed": 1})
    assert not has_rank(row | {"kind": "floor"})


def test_the_terminal_and_markdown_tables_print_it_plain(runs):
    rows = rows_of(runs)
    table = tables.metric_table(rows, ["js_divergence", "wa"])
    file = io.StringIO()
    Console(file=file, width=200).print(table)
    assert "fitted on the evaluated clips' votes: no rank" in file.getvalue()
    for column in table.columns[-2:]:
        bold = [i for i, cell in enumerate(column.cells) if str(cell.style) == "bold"]
        assert [rows[i]["calibration"] for i in bold] == ["batch"]
    lines = [line for line in tables.markdown_table(rows).splitlines() if line.startswith("| how")]
    bold = [line.replace(r"\*", "").count("**") > 0 for line in lines]
    assert bold == [row["calibration"] == "batch" for row in rows[: len(lines)]]


def test_leaderboards_rank_the_others_and_say_no_rank(runs, tmp_path):
    assert main([str(runs), "-o", str(tmp_path / "report"), "--no-figures"]) == 0
    lines = [line for line in (tmp_path / "report/leaderboard.md").read_text().splitlines() if line.startswith("| ")]
    names = [name.strip() for name in lines[0].split("|")]
    cells = [[cell.strip() for cell in line.split(" | ")] for line in lines[1:]]
    at = names.index("rank") - 1
    assert [line[at] for line in cells[:5]] == ["1", "2", "3", "no rank", "no rank"]
    assert [line[names.index("calibration") - 1].replace("\\", "") for line in cells[:5]] == ORDER
    assert "**" not in lines[5].replace(r"\*", "")
    text = (tmp_path / "report/leaderboard.tex").read_text()
    (line,) = [line for line in text.splitlines() if "training\\_prior" in line and line.endswith(r"\\")]
    assert "no rank" in line
    assert "textbf" not in line
    with (tmp_path / "report/leaderboard.csv").open() as handle:
        stated = {row["calibration"]: row["has_rank"] for row in csv.DictReader(handle) if row["readout"] == PLAIN[2]}
    assert stated == {"training_prior": "False", "none": "True", "batch": "True", "temperature": "True"}


def test_figures_draw_it_last_and_apart(runs):
    (group,) = collect([runs]).groups
    for figure in (leaderboard.dot_plot(group, "js_divergence"), figures.overview(rows_of(runs), "t")):
        (axes,) = figure.axes
        drawn = [(points.get_label(), points.get_offsets()) for points in axes.collections]
        lowest = {name: sorted(y for _, y in offsets) for name, offsets in drawn}
        assert lowest["** saw the votes it is judged by: no rank"] == [0]
        assert len(lowest["every utterance scored"]) == 3
        assert len(lowest["some without a distribution"]) == 1
        names = {label.get_position()[1]: label.get_text() for label in axes.get_yticklabels()}
        assert names[0].endswith("training_prior**")


def test_the_best_of_a_report_is_never_it(tmp_path, monkeypatch):
    titles = []
    monkeypatch.setattr(cell_figures, "mean_distribution", lambda frame, labels, title, subtitle: titles.append(title))
    monkeypatch.setattr("emoprobe.report.leaderboard.save", lambda figure, path: path)
    write_run(tmp_path / "a", HUMAN, CELLS, fitted=FITTED)
    (group,) = collect([tmp_path / "a"]).groups
    leaderboard.save_figures(group, "js_divergence", tmp_path / "figures")
    (title,) = titles
    assert "batch" in title
    key = (*PLAIN[:4], "training_prior")
    write_run(tmp_path / "b", HUMAN, {key: TARGET}, fitted=FITTED)
    (group,) = collect([tmp_path / "b"]).groups
    drawn = leaderboard.save_figures(group, "js_divergence", tmp_path / "figures")
    assert not any("best" in file.name for file in drawn)


def test_the_page_knows_and_embeds_the_others_first(runs, tmp_path):
    assert main([str(runs), "-o", str(tmp_path / "r"), "--no-figures", "--cells", "4", "--audio", "none"]) == 0
    (group,) = page_data(tmp_path / "r/index.html")["groups"]
    rows = {row["names"]["calibration"]: row for row in group["rows"] if row["names"]["readout"] == PLAIN[2]}
    assert {name: (row["ranked"], row["seen"], row["cell"] is None) for name, row in rows.items()} == {
        "training_prior**": (False, True, True),
        "none": (True, False, False),
        "batch*": (True, False, False),
        "temperature†": (True, False, False),
    }
    assert group["best"]["js_divergence"] == rows["batch*"]["metrics"]["js_divergence"]


ROWS = "[...document.querySelectorAll('#board-table tbody tr')].filter((row) => !row.classList.contains('other'))"


@pytest.mark.skipif(chromium.find() is None, reason="no chromium on PATH and no $CHROMIUM")
@pytest.mark.parametrize("alone", [False, True])
def test_the_browser_ranks_bolds_and_chooses_the_others(alone, tmp_path):
    seen = (*PLAIN[:4], "training_prior")
    write_run(tmp_path / "runs/a", HUMAN, {seen: TARGET} if alone else CELLS, fitted=FITTED)
    assert main([str(tmp_path / "runs"), "-o", str(tmp_path / "r"), "--no-figures", "--audio", "none"]) == 0
    with chromium.Browser(chromium.find(), tmp_path / "profile") as browser:
        browser.size(1380, 900)
        browser.open(tmp_path / "r/index.html")
        text = browser.run(f"{ROWS}.map((row) => row.textContent)")
        places = browser.run(f"{ROWS}.map((row) => row.cells[0].textContent)")
        bold = browser.run(f"{ROWS}.map((row) => row.querySelectorAll('td.best').length)")
        chosen = browser.run("document.querySelector('#board-table tr.chosen').textContent")
        drawn = "document.querySelectorAll('#dots g.dot circle')"
        assert browser.run(f"{drawn}[{drawn}.length - 1].style.fill") == "var(--paper)"
        browser.run("document.querySelector(\"button[data-key='metric:wa']\").click()")
        last = browser.run(f"{ROWS}.at(-1).textContent")
        assert browser.errors == []
    assert "training_prior**" in last or alone
    if alone:
        assert places == ["no rank"]
        assert bold == [0]
        assert "floor" in chosen
    else:
        assert places == ["1", "2", "3", "–", "no rank"]
        assert "training_prior**" in text[-1]
        assert bold[0] > 0
        assert bold[-1] == 0
        assert "batch*" in chosen


def test_a_row_with_failures_shows_what_its_own_clips_are_measured_by(tmp_path):
    own = {"prior": {"js_divergence": 0.31}, "uniform": {"js_divergence": 0.35}}
    failing = {(*PLAIN[:2], "generated_text", "parsed", "none"): make_probs(SIZE, seed=4, failed=[3])}
    more = {"floors": own, "ceiling": {"js_divergence": 0.05}, "share_of_range": {"js_divergence": 0.4}}
    more |= {"range_intervals": {"js_divergence": [0.1, 0.7]}, "doubt": "rough: 12 votes"}
    write_run(tmp_path / "runs/a", HUMAN, failing, more=more)
    assert main([str(tmp_path / "runs"), "-o", str(tmp_path / "r"), "--no-figures", "--audio", "none"]) == 0
    row = next(row for row in page_data(tmp_path / "r/index.html")["groups"][0]["rows"] if row["kind"] == "readout")
    assert row["own"] == own | {"human": {"js_divergence": 0.05}}
    assert row["share_ends"] == {"js_divergence": [0.1, 0.7]}
    assert row["doubt"] == "rough: 12 votes"
    (line,) = json.loads(json.dumps([r for r in rows_of(tmp_path / "runs") if r["kind"] == "readout"]))
    file = io.StringIO()
    Console(file=file, width=260).print(tables.metric_table([line]))
    assert "0.400?" in file.getvalue()
    assert "0.100 0.700" in file.getvalue()
    assert "the ceiling is rough" in file.getvalue()
    narrow = io.StringIO()
    Console(file=narrow, width=150).print(tables.metric_table([line]))
    assert "0.400?" in narrow.getvalue()
    assert "0.100 0.700" not in narrow.getvalue()
    assert np.isfinite(line["metrics"]["js_divergence"])
