"""A made-up nEMO: six clips of three speakers in its table."""

from __future__ import annotations

from pathlib import Path

from copies import Copy, Wrong
from copies.sound import write_sound

TABLE = "data.tsv"
ROWS = (
    "WR0_surprised_64.wav\tsurprised\tUcho wykrywa dźwięki.\tucho wykrywa dźwięki\t        WR0\tmale\t23",
    "WR0_anger_1.wav\tanger\tSłucham.\tsłucham\t        WR0\tmale\t23",
    "EB0_neutral_13.wav\tneutral\tInteresuje mnie historia.\tinteresuje mnie historia\t        EB0\tfemale\t27",
    "EB0_happiness_2.wav\thappiness\tTak.\ttak\t        EB0\tfemale\t27",
    "KS0_fear_10.wav\tfear\tKupiłem nową szafę.\tkupiłem nową szafę\t        KS0\tmale\t23",
    "KS0_sadness_4.wav\tsadness\tNie.\tnie\t        KS0\tmale\t23",
)


def write(root: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)
    header = "file_id\temotion\traw_text\tnormalized_text\tspeaker_id\tgender\tage"
    (root / TABLE).write_text("\n".join((header, *ROWS, "")), encoding="utf-8")
    for row in ROWS:
        write_sound(root / "samples" / row.split("\t")[0])


COPIES = (
    Copy(
        "nemo",
        write,
        said="""
            WR0_surprised_64 | WR0 | - | surprise=1
            WR0_anger_1 | WR0 | - | anger=1
            EB0_neutral_13 | EB0 | - | neutral=1
            EB0_happiness_2 | EB0 | - | happy=1
            KS0_fear_10 | KS0 | - | fear=1
            KS0_sadness_4 | KS0 | - | sad=1
        """,
        label_files=(TABLE,),
        needed=(TABLE,),
        examples=100,
        columns={TABLE: ("file_id", "emotion", "raw_text", "speaker_id", "gender", "age")},
        again=(TABLE, 2, 2),
        wrong=tuple(
            Wrong(TABLE, old, new, what, field, "WR0_anger_1", reason=reason)
            for old, new, what, field, reason in (
                ("1.wav\tanger", "1.wav\trage", "'rage' is none of anger, fear", "emotion", "bad_votes"),
                ("WR0_anger_1.wav", " ", "the field is empty", "file_id", "bad_row"),
                (
                    "słucham\t        WR0\tmale\t23",
                    "słucham\t        WR0\tmale\tx",
                    "'x' is not an age",
                    "age",
                    "bad_row",
                ),
            )
        ),
        path=(TABLE, "WR0_anger_1.wav"),
        sound=("WR0_anger_1", "samples/WR0_anger_1.wav"),
        sound_field="file_id",
        absent=TABLE,
    ),
)
