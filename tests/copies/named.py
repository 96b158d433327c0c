"""Made-up copies of the corpora whose files say by their names what is felt: ESD, TESS, SAVEE and others."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from copies import Copy
from copies.sound import write_sound

TESS = (
    "OAF_angry/OAF_back_angry.wav",
    "OAF_Fear/OAF_back_fear.wav",
    "OAF_neutral/OA_bite_neutral.wav",
    "OAF_Pleasant_surprise/OAF_bite_ps.wav",
    "YAF_disgust/YAF_dog_disgust.wav",
    "YAF_happy/YAF_dog_happy.wav",
    "YAF_pleasant_surprised/YAF_back_ps.wav",
    "YAF_sad/YAF_bite_sad.wav",
)
SAVEE = (
    "AudioData/DC/DC_a01.wav",
    "AudioData/DC/n30.wav",
    "AudioData/JE/su15.wav",
    "AudioData/JE/d02.wav",
    "AudioData/JK/sa03.wav",
    "AudioData/KL/f04.wav",
    "AudioData/KL/h05.wav",
)
EMOVO = ("f1/dis-f1-b1.wav", "f1/gio-f1-d2.wav", "f2/neu-f2-n5.wav", "f2/pau-f2-l1.wav", "m1/rab-m1-b2.wav")
EMOVO += ("m1/sor-m1-l4.wav", "m1/tri-m1-n1.wav")
SUBESCO = tuple(
    f"SUBESCO/{name}.wav"
    for name in (
        "F_01_OISHI_S_1_ANGRY_1",
        "F_01_OISHI_S_10_SAD_5",
        "F_02_MONIKA_S_2_DISGUST_3",
        "F_02_MONIKA_S_3_FEAR_2",
        "M_10_EVAN_S_4_HAPPY_1",
        "M_10_EVAN_S_5_NEUTRAL_1",
        "M_10_EVAN_S_6_SURPRISE_1",
    )
)
SHEMO = ("female/F03S02.wav", "female/F03A01.wav", "female/F21N37.wav", "male/M01W01.wav", "male/M01H02.wav")
SHEMO += ("male/M02F01.wav",)
ESD = (
    "0001/Angry/0001_000351.wav",
    "0001/Neutral/0001_000051.wav",
    "0011/Happy/test/0011_000721.wav",
    "0011/Sad/evaluation/0011_001057.wav",
    "0012/Surprise/train/0012_001451.wav",
    "0012/Angry/train/0012_000700.wav",
)
SHEMO_TEXTS = {
    "F03S02": ("sad", "نمی\u200cدانم"),
    "F21N37": ("neutral", "سلام"),
    "M02F01": ("fear", "کمک"),
    "M77A01": ("anger", "نه"),
}
ESD_TEXTS = {
    "0001/0001.txt": "0001_000051\t打远一看\t中立\r\n0001_000351\t你好\t生气\r\n",
    "0011/0011.txt": "0011_000721\tI say neither yea nor nay.\tHappy\n0011_001057\tdamaged\n0011_001058\tNo.\tSad\n",
}


def writer(files: tuple[str, ...], texts: Mapping[str, bytes] | None = None) -> Callable[[Path], None]:
    """Writes sound, and files of text."""

    def write(root: Path) -> None:
        for file in files:
            write_sound(root / file)
        for file, content in (texts or {}).items():
            (root / file).write_bytes(content)

    return write


def shemo_texts() -> bytes:
    clips = {
        name: {"speaker_id": name[:3], "gender": "female" if name[0] == "F" else "male", "emotion": emotion}
        | {"transcript": text, "ipa": "?"}
        for name, (emotion, text) in SHEMO_TEXTS.items()
    }
    return json.dumps(clips, ensure_ascii=False, indent=1).encode()


COPIES = (
    Copy(
        "tess",
        writer(TESS),
        said="""
            OAF_back_angry | OAF | - | anger=1
            OAF_back_fear | OAF | - | fear=1
            OAF_bite_neutral | OAF | - | neutral=1
            OAF_bite_ps | OAF | - | surprise=1
            YAF_back_ps | YAF | - | surprise=1
            YAF_bite_sad | YAF | - | sad=1
            YAF_dog_disgust | YAF | - | disgust=1
            YAF_dog_happy | YAF | - | happy=1
        """,
        sound=("OAF_back_angry", "OAF_angry/OAF_back_angry.wav"),
        listed_by_sound=True,
        absent="OAF_angry/OAF_back_angry.wav",
        partition=("kfold", "target_word"),
    ),
    Copy(
        "savee",
        writer(SAVEE),
        said="""
            DC_a01 | DC | - | anger=1
            DC_n30 | DC | - | neutral=1
            JE_d02 | JE | - | disgust=1
            JE_su15 | JE | - | surprise=1
            JK_sa03 | JK | - | sad=1
            KL_f04 | KL | - | fear=1
            KL_h05 | KL | - | happy=1
        """,
        # The id says the speaker, and the name of the file does not.
        sound=("DC_a01", "AudioData/DC/DC_a01.wav"),
        listed_by_sound=True,
        absent="AudioData/DC/a01.wav",
        partition=("leave_one_out", "speaker"),
    ),
    Copy(
        "emovo",
        writer(EMOVO),
        said="""
            dis-f1-b1 | f1 | - | disgust=1
            gio-f1-d2 | f1 | - | happy=1
            neu-f2-n5 | f2 | - | neutral=1
            pau-f2-l1 | f2 | - | fear=1
            rab-m1-b2 | m1 | - | anger=1
            sor-m1-l4 | m1 | - | surprise=1
            tri-m1-n1 | m1 | - | sad=1
        """,
        sound=("dis-f1-b1", "f1/dis-f1-b1.wav"),
        listed_by_sound=True,
        absent="f1/dis-f1-b1.wav",
        partition=("leave_one_out", "speaker"),
    ),
    Copy(
        "subesco",
        writer(SUBESCO),
        said="""
            F_01_OISHI_S_10_SAD_5 | F_01 | - | sad=1
            F_01_OISHI_S_1_ANGRY_1 | F_01 | - | anger=1
            F_02_MONIKA_S_2_DISGUST_3 | F_02 | - | disgust=1
            F_02_MONIKA_S_3_FEAR_2 | F_02 | - | fear=1
            M_10_EVAN_S_4_HAPPY_1 | M_10 | - | happy=1
            M_10_EVAN_S_5_NEUTRAL_1 | M_10 | - | neutral=1
            M_10_EVAN_S_6_SURPRISE_1 | M_10 | - | surprise=1
        """,
        sound=("F_02_MONIKA_S_3_FEAR_2", "SUBESCO/F_02_MONIKA_S_3_FEAR_2.wav"),
        listed_by_sound=True,
        absent="F_01_OISHI_S_1_ANGRY_1.wav",
    ),
    Copy(
        "shemo",
        writer(SHEMO, {"shemo.json": shemo_texts()}),
        said="""
            F03A01 | F03 | - | anger=1
            F03S02 | F03 | - | sad=1
            F21N37 | F21 | - | neutral=1
            M01H02 | M01 | - | happy=1
            M01W01 | M01 | - | surprise=1
            M02F01 | M02 | - | fear=1
        """,
        label_files=("shemo.json",),
        examples=100,
        sound=("M02F01", "male/M02F01.wav"),
        listed_by_sound=True,
        absent="female/F03S02.wav",
    ),
    Copy(
        "esd",
        writer(ESD, {file: text.encode() for file, text in ESD_TEXTS.items()}),
        said="""
            0001_000051 | 0001 | train | neutral=1
            0001_000351 | 0001 | development | anger=1
            0011_000721 | 0011 | test | happy=1
            0011_001057 | 0011 | development | sad=1
            0012_000700 | 0012 | train | anger=1
            0012_001451 | 0012 | train | surprise=1
        """,
        label_files=tuple(ESD_TEXTS),
        examples=100,
        separator=b"\t",
        any_bytes=tuple(ESD_TEXTS),
        sound=("0011_000721", "0011/Happy/test/0011_000721.wav"),
        listed_by_sound=True,
        absent="0011/Angry/0011_000351.wav",
    ),
)
