"""A researcher's own small corpus: three speakers, sound, and a manifest of vote counts with everything optional."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile

from copies import Copy

MANIFEST = """\
utterance_id,path,speaker,split,transcript,dialogue,age,votes_anger,votes_happy,votes_sad
u1,audio/anna_1.wav,anna,train,"Oh, no!","A: It broke.
B: ""Again""?",31,3,0,1
u2,audio/anna_2.wav,anna,train,Fine.,,31,0,2,0
u3,audio/bob_1.wav,bob,development,Why?,,,1,1,1
u4,audio/bob_2.wav,bob,development,Nobody voted.,,,0,0,0

u5,audio/caro_1.wav,caro,test,Grüße!,,27,0,4,1
u6,audio/caro_2.wav,caro,test,,,27,0,0,2
"""
LABEL_FILES = ("manifest.csv",)


def write(root: Path) -> None:
    """Write the copy below a folder."""
    (root / "audio").mkdir(parents=True, exist_ok=True)
    names = ("anna_1.wav", "anna_2.WAV", "bob_1.wav", "bob_2.wav", "caro_1.wav", "caro_2.wav")
    for number, name in enumerate(names):
        samples = np.random.default_rng(number).normal(0, 0.05, 3_200)
        soundfile.write(root / "audio" / name, samples, 16_000, format="WAV")
    (root / "manifest.csv").write_text(MANIFEST, encoding="utf-8")


# The other forms: a line per row, the words of raters or shares.
FORMS = {
    "manifest.tsv": (
        "path\tspeaker\tratings\nsound/a.wav\tann\tsad;happy\nsound/b.wav\tbob\tsad\nsound/c.wav\tcaro\thappy;sad;sad\n"
    ),
    "manifest.jsonl": (
        '{"path": "sound/a.wav", "speaker": "ann", "votes": {"sad": 1, "happy": 1}}\n'
        '{"path": "sound/b.wav", "speaker": "bob", "votes": {"sad": 1}}\n'
        '{"path": "sound/c.wav", "speaker": "caro", "votes": {"happy": 1, "sad": 2}}\n'
    ),
    "manifest.parquet": None,
    # One row per rating, as a spreadsheet saves it.
    "ratings.tsv": (
        "path\tspeaker\trater\temotion\tsecondary\tweight\tvalence\n"
        "sound/a.wav\tann\tr1\tsad\thappy\t1\t1,5\n"
        "sound/b.wav\tbob\tr1\tsad\t\t0,5\t2\n"
        "sound/a.wav\tann\tr2\thappy|sad\t\t1\t\n"
        "sound/c.wav\tcaro\tr2\thappy\t\t1\t6\n"
        "sound/c.wav\tcaro\t\tsad\t\t1\t4\n"
        "sound/a.wav\tann\tr1\thappy\t\t1\t3\n"
    ),
}


def _form(name: str) -> Copy:
    text = FORMS[name]

    def write(root: Path) -> None:
        (root / "sound").mkdir(parents=True, exist_ok=True)
        for number, clip in enumerate("abc"):
            soundfile.write(root / f"sound/{clip}.wav", np.random.default_rng(number).normal(0, 0.05, 3_200), 16_000)
        if text is not None:
            (root / name).write_text(text, encoding="utf-8")
        else:
            columns = {"path": [f"sound/{clip}.wav" for clip in "abc"], "speaker": ["ann", "bob", "caro"]}
            votes = {"votes_sad": [1, 1, 2], "votes_happy": [1, 0, 1]}
            pq.write_table(pa.table(columns | votes), root / name)

    said = {
        "manifest.tsv": ("sad happy", "sad", "happy sad sad"),
        "manifest.jsonl": ("sad=1 happy=1", "sad=1", "happy=1 sad=2"),
        "manifest.parquet": ("sad=1 happy=1", "sad=1", "sad=2 happy=1"),
        "ratings.tsv": ("sad(happy) happy+sad happy@1", "sad", "happy sad"),
    }[name]
    speakers = ("ann", "bob", "caro")
    return Copy(
        "manifest",
        write,
        said="\n".join(f"sound/{'abc'[i]} | {speakers[i]} | - | {words}" for i, words in enumerate(said)),
        variant="ratings" if name == "ratings.tsv" else name.partition(".")[2],
        label_files=(name,),
        needed=(name,),
        encoding=None if text is None else "utf-8",
        options={"scales": {"valence": [1, 7]}} if name == "ratings.tsv" else {},
        path=None if text is None else (name, "sound/b.wav"),
        sound=("sound/b", "sound/b.wav"),
        at=name,
        place="dataset.path",
        overrides=("dataset.fold=2", *(["dataset.scales={valence: [1,7]}"] if name == "ratings.tsv" else [])),
        holds=lambda utterance: all(0 <= count <= 1e9 for count in utterance.votes.values()),
    )


COPIES = (
    Copy(
        "manifest",
        write,
        said="""
            u1 | anna | train | anger=3 sad=1
            u2 | anna | train | happy=2
            u3 | bob | development | anger=1 happy=1 sad=1
            u4 | bob | development |
            u5 | caro | test | happy=4 sad=1
            u6 | caro | test | sad=2
        """,
        label_files=LABEL_FILES,
        needed=LABEL_FILES,
        columns={LABEL_FILES[0]: ("path",)},
        again=(LABEL_FILES[0], 4, 4),
        path=(LABEL_FILES[0], "audio/bob_1.wav"),
        sound=("u3", "audio/bob_1.wav"),
        at="manifest.csv",
        place="dataset.path",
        holds=lambda utterance: all(0 <= count <= 1e9 for count in utterance.votes.values()),
    ),
    *map(_form, FORMS),
)
