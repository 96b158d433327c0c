"""A made-up data set as the hub has them: Parquet files of two splits, sound inside, votes of raters beside."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from copies import Copy
from copies.sound import sound_bytes, write_sound

TRAIN = "data/train-00000-of-00001.parquet"
TEST = "data/test-00000-of-00001.parquet"
LABEL_FILES = (TRAIN, TEST)
NAMES = ("anger", "happy", "neutral", "sad")
NOTED = {"info": {"features": {"label": {"names": list(NAMES), "_type": "ClassLabel"}, "speaker": {"dtype": "string"}}}}


def table(keys: list[str], labels: list[object], **more: list) -> pa.Table:
    """Rows with sound and labels, as ``datasets`` writes them."""
    audio = [{"bytes": sound_bytes(key), "path": f"{key}.wav"} for key in keys]
    form = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    speakers = [key.split("_")[0] for key in keys]
    made = pa.table({"audio": pa.array(audio, form), "label": labels, "speaker": speakers, **more})
    return made.replace_schema_metadata({"huggingface": json.dumps(NOTED)})


def write(root: Path) -> None:
    (root / "data").mkdir(parents=True, exist_ok=True)
    pq.write_table(table(["s1_a", "s1_b", "s2_a", "s2_b"], [0, 3, 2, 1], age=[20, 20, None, 31]), root / TRAIN)
    pq.write_table(table(["s3_a", "s3_b"], [3, -1]), root / TEST)
    (root / "README.md").write_text("---\nlicense: unknown\n---\n")


def thin(root: Path) -> None:
    """Without sound, damage often hits what pyarrow must understand."""
    for file in LABEL_FILES:
        whole = pq.read_table(root / file)
        audio = pa.array([{"bytes": b"RIFF", "path": f"{key}.wav"} for key in whole["speaker"].to_pylist()])
        names = pa.array([path["path"].removesuffix(".wav") for path in whole["audio"].to_pylist()])
        pq.write_table(whole.drop(["audio"]).append_column("audio", audio).append_column("id", names), root / file)


def write_arrow(file: Path, made: pa.Table, *, stream: bool = True) -> None:
    """As ``datasets`` saves to disk."""
    file.parent.mkdir(parents=True, exist_ok=True)
    new = pa.ipc.new_stream if stream else pa.ipc.new_file
    with new(str(file), made.schema) as writer:
        writer.write_table(made, max_chunksize=2)


ROWS = [{"id": f"u{i}", "audio": f"sound/{i}.wav", "label": i % 3, "speaker": f"s{i % 3 * i % 5}"} for i in range(6)]


def write_text(root: Path, name: str) -> None:
    """A table of text, with sound beside."""
    lines = [",".join(ROWS[0]), *(",".join(map(str, row.values())) for row in ROWS)]
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(
        "\n".join(map(json.dumps, ROWS) if name.endswith("jsonl") else lines) + "\n", encoding="utf-8"
    )
    for row in ROWS:
        write_sound(root / row["audio"])


def _text(name: str) -> Copy:
    return Copy(
        "huggingface",
        lambda root: write_text(root, name),
        said="\n".join(f"u{i} | {ROWS[i]['speaker']} | train | {('sad', 'happy', 'anger')[i % 3]}=1" for i in range(6)),
        variant=name,
        label_files=(name,),
        needed=(name,),
        again=(name, 2, 2),
        path=(name, "sound/3.wav"),
        sound=("u3", "sound/3.wav"),
        sound_field="audio",
        place="dataset.path",
        options={"label_names": ["sad", "happy", "anger"]},
        overrides=("dataset.label_names=[sad,happy,anger]",),
        holds=lambda utterance: sum(utterance.votes.values()) == (utterance.num_raters or 0),
    )


def _arrow(stream: bool) -> Copy:
    file = "train/data-00000-of-00001.arrow"

    def write(root: Path) -> None:
        made = table(["s1_a", "s1_b", "s2_a", "s3_a"], [0, 3, 1, 2]).drop(["audio"])
        made = made.append_column("audio", pa.array([{"bytes": b"RIFF", "path": f"{i}.wav"} for i in "abcd"]))
        write_arrow(root / file, made, stream=stream)

    return Copy(
        "huggingface",
        write,
        said="a | s1 | train | anger=1\nb | s1 | train | sad=1\nc | s2 | train | happy=1\nd | s3 | train | neutral=1",
        variant="arrow_stream" if stream else "arrow_file",
        label_files=(file,),
        needed=(file,),
        examples=500,
        encoding=None,
        sound_beside=False,
        place="dataset.path",
    )


def _ratings() -> Copy:
    """One row per rating, the sound of a clip in each of its rows."""
    file = "train-00000-of-00001.parquet"

    def write(root: Path) -> None:
        keys = ["s1_a", "s1_a", "s2_a", "s3_b", "s1_a", "s2_b", "s1_b", "s3_a"]
        made = table(keys, [0, 3, 1, 2, -1, 0, 1, 3], rater=["r1", "r2", "r1", None, "r3", "r2", "r2", "r1"])
        root.mkdir(parents=True, exist_ok=True)
        pq.write_table(made.append_column("valence", pa.array([1.0, 2.0, 5.0, 4.0, 3.0, None, 2.5, 1.0])), root / file)

    return Copy(
        "huggingface",
        write,
        said="""
            s1_a | s1 | train | anger sad
            s2_a | s2 | train | happy
            s3_b | s3 | train | neutral
            s2_b | s2 | train | anger
            s1_b | s1 | train | happy
            s3_a | s3 | train | sad
        """,
        variant="ratings",
        label_files=(file,),
        needed=(file,),
        examples=200,
        encoding=None,
        sound_beside=False,
        place="dataset.path",
        options={"scales": {"valence": [1, 5]}},
        overrides=("dataset.scales={valence: [1,5]}", "dataset.fold=1"),
    )


COPIES = (
    _ratings(),
    Copy(
        "huggingface",
        write,
        said="""
            s3_a | s3 | test | sad=1
            s3_b | s3 | test |
            s1_a | s1 | train | anger=1
            s1_b | s1 | train | sad=1
            s2_a | s2 | train | neutral=1
            s2_b | s2 | train | happy=1
        """,
        label_files=LABEL_FILES,
        thin=thin,
        examples=500,
        encoding=None,
        sound_beside=False,
        place="dataset.path",
        overrides=("dataset.fold=1",),
    ),
    _arrow(stream=True),
    _arrow(stream=False),
    _text("train.csv"),
    _text("train.jsonl"),
)
