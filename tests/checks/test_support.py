"""The table of docs/models.md is what a measurement says now, class by class, and it leaves no class out."""

from __future__ import annotations

import re
from importlib.metadata import version
from pathlib import Path

import pytest

from emoprobe.checks import support
from emoprobe.checks.support import (
    END,
    START,
    Support,
    as_markdown,
    as_row,
    left_out,
    measure,
    speech_classes,
    write_table,
)
from emoprobe.checks.tiny import TINY
from emoprobe.checks.verdict import Verdict
from emoprobe.cli.doctor import main
from emoprobe.errors import InputError

PAGE = Path(__file__).parents[2] / "docs" / "models.md"
EXACT = 1e-3  # what the doctor allows in float32; where padding stays below it, it stays there


def printed() -> tuple[dict[str, dict[str, str]], dict[str, str]]:
    """The page's two tables: class -> column -> text, and class -> reason."""
    text = PAGE.read_text(encoding="utf-8").partition(START)[2].partition(END)[0]
    tables = [
        [[cell.strip() for cell in line.split("|")[1:-1]] for line in part.splitlines()]
        for part in text.split("\n\n")
        if "|" in part
    ]
    measured, refused = tables
    columns = measured[0]
    rows = {row[0].strip("`"): dict(zip(columns, row, strict=True)) for row in measured[2:]}
    return rows, {name.strip("`"): reason for name, reason in refused[2:]}


ROWS, REFUSED = printed()
PINNED = re.search(r"^transformers==(\S+)$", (PAGE.parents[1] / "constraints.txt").read_text(), flags=re.MULTILINE)[1]
of_the_pinned_version = pytest.mark.skipif(
    version("transformers") != PINNED, reason=f"the table was measured with transformers {PINNED}"
)


@of_the_pinned_version
def test_every_speech_class_of_transformers_is_in_one_of_the_two_tables():
    shown = {*ROWS, *REFUSED}
    assert sorted(shown) == sorted({*TINY, *left_out()})
    assert not set(speech_classes()) - {name.partition(" ")[0] for name in shown}
    assert {kind: reason for kind, reason in REFUSED.items() if kind not in TINY} == {
        kind: reason for kind, reason in left_out().items() if kind not in TINY
    }
    assert all(len(reason) > 10 for reason in REFUSED.values())


@of_the_pinned_version
@pytest.mark.parametrize("kind", sorted(TINY))
def test_a_row_is_what_is_measured(kind, tmp_path, spectra):
    found = measure(kind, tmp_path)
    assert found.failed == []
    if found.reason:
        assert found.reason == REFUSED[kind]
        return
    row, page = as_row(found), ROWS[kind]
    assert page.keys() == row.keys() - {"failed"}
    for column, text in page.items():
        if re.fullmatch(r"[\d.]+(e-\d+)?", text) and column != "layers":
            # Rounding differs between machines; what is exact stays exact and what is not does not become it.
            assert (float(text) < EXACT) == (float(row[column]) < EXACT), column
        else:
            assert text == row[column], column
    assert list(tmp_path.iterdir()) == []


def test_a_class_that_nobody_knows_is_a_gap(monkeypatch, tmp_path):
    monkeypatch.setattr(support, "speech_classes", lambda: ["whisper", "brand_new"])
    (found,) = support.measure_all(tmp_path, ["brand_new"])
    assert found == Support("brand_new", reason="not measured: this version of emoprobe does not know it")
    with pytest.raises(InputError, match="wavln is no speech class"):
        list(support.measure_all(tmp_path, ["wavln"]))


def test_a_failed_check_is_seen_in_table_and_status(monkeypatch, tmp_path, capsys):
    wrong = Support("x", "encoder", 2, "", [Verdict("encoder states alone", 0.5, 0.1), Verdict("adapters", None)])
    right = Support(
        "y",
        "audio_llm",
        3,
        "tree",
        [Verdict("shared prefix", 2.4e-6, 0.1), Verdict("batch of 1", 0.0, 0.1)],
        together="any",
    )
    assert wrong.failed == ["encoder states alone"]
    text = as_markdown([wrong, right, Support("z", reason="makes | music")])
    assert "| `x` | `encoder` |  |  | 2 | 0.5 |  |  |  |  |  | encoder states alone |" in text
    assert "| `y` | `audio_llm` | tree | any | 3 |  | 2e-6 | 0 |  |  |  |  |" in text
    assert "| `z` | makes \\| music |" in text
    monkeypatch.setattr(support, "measure_all", lambda folder, chosen: iter([wrong]))
    page = tmp_path / "page.md"
    page.write_text(f"before\n{START}\nold\n{END}\nafter\n")
    assert main(["--all", "--write", str(page)]) == 1
    said = capsys.readouterr()
    assert said.err == "x: model=encoder, FAILED: encoder states alone\n"
    assert said.out == as_markdown([wrong])
    assert page.read_text() == f"before\n{START}\n\n{as_markdown([wrong])}\n{END}\nafter\n"
    with pytest.raises(InputError, match="no place for the table"):
        write_table([wrong], tmp_path / "other.md")


def test_one_class_is_measured_by_the_command(capsys):
    assert main(["--all", "wav2vec2", "dac"]) == 0
    out, err = capsys.readouterr()
    assert re.search(r"\| `wav2vec2` \| `wav2vec2` \|  \|  \| 2 \| \d", out)
    assert "| `dac` | codes sound" in out
    assert "wav2vec2: model=wav2vec2, " in err
    assert "checks passed" in err


def test_what_breaks_down_is_a_failed_row_and_the_others_go_on(monkeypatch, tmp_path):
    def broken(folder):
        raise AttributeError(f"no such thing in {folder}")

    monkeypatch.setattr(support, "speech_classes", list)
    monkeypatch.setitem(TINY._parts, "broken", broken)
    found, other = support.measure_all(tmp_path, ["broken", "dac"])
    assert found.failed == ["AttributeError: no such thing in it"]
    assert "| `broken` |  |  |  |" in as_markdown([found])
    assert "AttributeError: no such thing in it |" in as_markdown([found])
    assert other.kind == "dac"
