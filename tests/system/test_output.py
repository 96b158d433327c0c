"""Files appear whole or not at all, also where the disk is full."""

from __future__ import annotations

import json
import subprocess
import sys

import pandas as pd
import pytest

from emoprobe.errors import InputError
from emoprobe.system import output


def names(folder):
    return sorted(file.name for file in folder.iterdir())


BEGIN = """
import sys, time
from pathlib import Path
from emoprobe.system.output import whole
with whole(Path(sys.argv[1])) as temporary:
    temporary.write_text('half of')
    print('begun', flush=True)
    time.sleep(60)
"""


def test_what_is_written_is_what_is_read(tmp_path):
    output.write_json({"a": [1.0, float("nan"), float("-inf")], "ä": None}, tmp_path / "a.json")
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"a": [1, None, "-inf"], "ä": None}
    frame = pd.DataFrame({"word": ["a", 'b "c"', "d\ne"], "n": [1.5, 2.0, float("nan")]})
    output.write_csv(frame, tmp_path / "a.csv")
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "a.csv"), frame)
    output.write_parquet(frame, tmp_path / "a.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "a.parquet"), frame)
    assert names(tmp_path) == ["a.csv", "a.json", "a.parquet"]


def test_halves_of_a_damaged_file_name_are_escaped(tmp_path):
    output.write_text("name \udce4.wav", tmp_path / "a.txt")
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "name \\udce4.wav"


def test_an_error_while_writing_leaves_the_old_file_and_nothing_else(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(KeyError), output.whole(tmp_path / "a.txt") as temporary:
        temporary.write_text("half")
        raise KeyError("power cut")
    message = r"cannot be written: no room \(file .*a\.txt\)\. Make room"
    with pytest.raises(InputError, match=message), output.whole(tmp_path / "a.txt") as temporary:
        temporary.write_text("half")
        raise OSError(28, "no room")
    assert (tmp_path / "a.txt").read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


WRITERS = {
    "a.json": "output.write_json(['x' * 100_000], Path('a.json'))",
    "a.csv": "output.write_csv(pd.DataFrame({'x': ['y' * 100_000]}), Path('a.csv'))",
    "a.parquet": "output.write_parquet(pd.DataFrame({'x': np.random.default_rng(0).random(9_000)}), Path('a.parquet'))",
    "scores.parquet": "scores()",
    "a.png": "figure()",
}
HELPERS = """
import resource, signal, sys
from pathlib import Path
import matplotlib.font_manager
import numpy as np, pandas as pd
from emoprobe.system import output
def figure():
    from matplotlib.figure import Figure
    from emoprobe.report.style import save
    drawn = Figure(figsize=(9, 9))
    drawn.subplots().imshow(np.random.default_rng(0).random((300, 300)))
    save(drawn, Path('a.png'))
def scores():
    from emoprobe.run.scores import ScoreWriter
    with ScoreWriter(Path('.')) as writer:
        writer.write([{'utterance_id': 'u', 'kept_logits': np.random.default_rng(0).random(20_000).tolist()}])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
"""


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_is_one_line_and_leaves_no_cut_file(tmp_path, name):
    """A limit on the size of files stands for the full disk: the system refuses to write on in both cases."""

    code = f"{HELPERS}\nfrom emoprobe.cli.entry import exit_status\nsys.exit(exit_status(lambda: {WRITERS[name]}))"
    (tmp_path / name).write_text("old")
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("error: this file cannot be written: ")
    assert (tmp_path / name).read_text() == "old"
    files = [file.name for file in tmp_path.rglob("*") if file.is_file()]
    assert files == [name]


def test_what_a_killed_process_had_begun_to_write_is_removed(tmp_path):
    begun = subprocess.Popen(
        [sys.executable, "-c", BEGIN, str(tmp_path / "table.csv")], stdout=subprocess.PIPE, text=True
    )
    assert begun.stdout.readline() == "begun\n"
    begun.kill()
    begun.wait()
    begun.stdout.close()
    (tmp_path / ".lock").write_text("")
    assert len(list(tmp_path.iterdir())) == 2
    output.remove_leftovers(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == [".lock"]
