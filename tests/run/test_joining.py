"""Parts are joined into the same table, whoever wrote them, in one go or in many."""

from __future__ import annotations

import random

import pyarrow as pa
import pytest

from emoprobe.run.scores import ScoreWriter, read_scores


def rows_of(clip: int) -> list[dict]:
    own = {"utterance_id": f"u{clip:02}", "input": "clip", "draw": 0, "duration_seconds": 9.0 - clip // 3, "model": "m"}
    asked = [{"prompt": prompt, "readout": "label_likelihood"} for prompt in ("p", "q")]
    return [own | one | {"form_logprobs": [float(clip)]} for one in asked]


OF_ALL = {"draw": 0, "model": "m"}
NULLS = [
    OF_ALL
    | {"utterance_id": "", "input": kind, "duration_seconds": 3.0, "prompt": prompt, "readout": "label_likelihood"}
    for kind in ("silence", "noise")
    for prompt in ("p", "q")
]
HEAD = [rows_of(clip)[0] | {"prompt": "-", "readout": "mine", "form_logprobs": None} for clip in range(20)]


def written(folder, sessions: list[list[list[list[int]]]]) -> pa.Table:
    """The table of sessions, each of ranks, each of batches of clips."""
    with ScoreWriter(folder) as first:
        first.write(NULLS)
        for ranks in sessions:
            writers = [ScoreWriter(folder, rank) for rank in range(len(ranks))]
            steps = [(rank, batch) for rank, batches in enumerate(ranks) for batch in batches]
            for rank, batch in sorted(steps, key=lambda step: random.Random(str(step)).random()):
                writers[rank].write([row for clip in batch for row in rows_of(clip)])
        first.write(HEAD)
    return read_scores(folder)


def batches(clips: list[int], size: int) -> list[list[int]]:
    return [clips[i : i + size] for i in range(0, len(clips), size)]


CLIPS = list(range(20))
WAYS = {
    "other batches": [[batches(CLIPS, 3)]],
    "two processes": [[batches(CLIPS[0::2], 4), batches(CLIPS[1::2], 4)]],
    "three, one has died": [[batches(CLIPS[0::3], 2), batches(CLIPS[1::3], 2), []], [[CLIPS[2::3]]]],
    "interrupted, then in two": [[batches(CLIPS[:7], 2)], [batches(CLIPS[7::2], 4), batches(CLIPS[8::2], 4)]],
    "clip by clip, from the end": [[batches(CLIPS[::-1], 1)]],
}


@pytest.mark.parametrize("name", WAYS)
def test_the_table_is_that_of_one_process(name, tmp_path):
    alone = written(tmp_path / "alone", [[batches(CLIPS, 4)]])
    assert alone["utterance_id"].to_pylist()[4:44:2] == [f"u{clip:02}" for clip in CLIPS]  # as they were scored
    assert alone["readout"].to_pylist()[-20:] == ["mine"] * 20
    assert written(tmp_path / "other", WAYS[name]).equals(alone)
