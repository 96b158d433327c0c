"""A made-up copy of IEMOCAP: five sessions of two actors; session 1 has all that occurs in its label files."""

from __future__ import annotations

import shutil
import zlib
from pathlib import Path

import numpy as np
import soundfile

from copies import Copy, Wrong

HEAD = "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n"
IMPRO = (
    HEAD
    + """\
[6.2901 - 8.2357]\tSes01F_impro01_F000\tneu\t[2.5000, 2.5000, 2.0000]
C-E2:\tNeutral;\t()
C-E3:\tNeutral;\t()
C-E4:\tNeutral;\t()
C-F1:\tHappiness;\t(curious)
A-E3:\tval 3; act 2; dom  2;\t()
A-E4:\tval 2; act 3; dom  2;\t(mildly aggravated but staying polite, attitude)
A-F1:\tval 3; act 2; dom  1;\t()

[10.0100 - 11.3925]\tSes01F_impro01_M000\txxx\t[2.6667, 2.0000, 2.0000]
C-E2:\tNeutral; Frustration;\t()
C-E3:\tFrustration;\t((sharp); "so there": [tense] 'well'; Anger;)
C-E4:\tAnger; Neutral state; Sadness;\t()
C-M1:\tExcited; Surprise;\t()
A-E3:\tval 3; act 2; dom  2;\t()

[14.8872 - 18.0175]\tSes01F_impro01_F001\toth\t[2.3333, 3.0000, 3.3333]
C-E2:\tOther;\t(d\xe9go\xfbt \x85 \xa0)
C-E3:\tExcitement; Fear;\t(first line
Anger; second line)
C-E4:\t\t()
C-E2:\tDisgust;\t()
A-E4:\tval 2; act ; dom  ;\t(no
idea)

[19.2900 - 20.7875]\tSes01F_impro01_M001\tfru\t[2.0000, 3.6667, 3.6667]
C-E2:\tFrustration;\t()
C-E3:\tFrustration;\t()

"""
)
IMPRO_SAID = """\
Ses01F_impro01_M000 [010.0100-011.3925]: Yes.
Ses01F_impro01_F000 [006.2901-008.2357]: Excuse me, caf\xe9?
F: [BREATHING]
Ses01F_impro01_MXX0 [012.0000-013.5000]: Do you have your forms?
Ses01F_impro01_F001 [014.8872-018.0175]: Yeah. [LAUGHTER] Well, here.
"""
SCRIPT = (
    HEAD
    + """\
[0.5500 - 2.1000]\tSes01M_script01_1b_M000\thap\t[4.0000, 3.0000, 3.0000]
C-E1:\tHappiness;\t()
C-E2:\tHappiness; Excited;\t()
C-E4:\tNeutral;\t()
A-E1:\tval 4; act 3; dom  3;\t()

[3.0000 - 4.2500]\tSes01M_script01_1b_F000\tang\t[1.5000, 4.0000, 5.0000]
C-E1:\tAnger;\t()
C-E2:\tAnger;\t()
C-E4:\tDisgust;\t()

"""
)


def _plain(session: int) -> str:
    """A dialogue of six turns, three of each actor, of the four classes; ``exc`` is one of them."""
    codes = (("neu", "Neutral"), ("ang", "Anger"), ("sad", "Sadness"), ("exc", "Excited"), ("hap", "Happiness"))
    codes += (("neu", "Neutral"),)
    text = HEAD
    for turn, (code, word) in enumerate(codes):
        second = codes[(turn + session) % 6][1]
        name = f"Ses0{session}F_impro02_{'FM'[turn % 2]}{turn // 2:03}"
        text += f"[{turn * 3:.4f} - {turn * 3 + 2.5:.4f}]\t{name}\t{code}\t[2.5000, 3.0000, 3.5000]\n"
        text += f"C-E1:\t{word};\t()\nC-E2:\t{word};\t()\nC-E3:\t{second};\t()\nA-E1:\tval 3; act 3; dom  3;\t()\n\n"
    return text


EVALUATIONS = {
    "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt": IMPRO,
    "Session1/dialog/EmoEvaluation/Ses01M_script01_1b.txt": SCRIPT,
} | {f"Session{n}/dialog/EmoEvaluation/Ses0{n}F_impro02.txt": _plain(n) for n in (2, 3, 4, 5)}
LABEL_FILES = tuple(EVALUATIONS)
TRANSCRIPTIONS = {"Session1/dialog/transcriptions/Ses01F_impro01.txt": IMPRO_SAID} | {
    f"Session{n}/dialog/transcriptions/Ses0{n}F_impro02.txt": "".join(
        f"Ses0{n}F_impro02_{'FM'[turn % 2]}{turn // 2:03} [{turn * 3:08.4f}-{turn * 3 + 2.5:08.4f}]: Line {turn}.\n"
        for turn in range(6)
    )
    for n in (2, 3, 4, 5)
}
# Beside the label files lie tables of single raters and, on copies from a Mac, hidden files.
OTHERS = {
    "Session1/dialog/EmoEvaluation/._Ses01F_impro01.txt": "\x00\x05\x16\x07",
    "Session1/dialog/EmoEvaluation/Attribute/Ses01F_impro01_e3_atr.txt": "Ses01F_impro01_F000 :act 2; :val 3; :();\n",
    "Session1/dialog/EmoEvaluation/Categorical/Ses01F_impro01_e2_cat.txt": "Ses01F_impro01_F000 :Anger; ()\n",
    "Session1/dialog/EmoEvaluation/Self-evaluation/Ses01F_impro01_f1_atr.anvil": "<xml/>\n",
}


def write(root: Path) -> None:
    """Write the copy, with a fifth of a second of noise per turn."""
    for name, text in (EVALUATIONS | TRANSCRIPTIONS | OTHERS).items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text.encode("latin-1"))
    for name, text in EVALUATIONS.items():
        for line in text.split("\n"):
            if line.startswith("["):
                dialogue, turn = Path(name).stem, line.split("\t")[1]
                sound = root / name.split("/")[0] / "sentences" / "wav" / dialogue / f"{turn}.wav"
                sound.parent.mkdir(parents=True, exist_ok=True)
                noise = np.random.default_rng(zlib.crc32(turn.encode())).normal(0, 0.1, 3200)
                soundfile.write(sound, noise.clip(-1, 1), 16000)


FIRST = "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt"
SAID_FIRST = "Session1/dialog/transcriptions/Ses01F_impro01.txt"
SAID = """
    Ses01F_impro01_F000 | Ses01F | - | neutral neutral neutral happy!
    Ses01F_impro01_M000 | Ses01M | - | neutral+frustration frustration anger+neutral+sad excited+surprise!
    Ses01F_impro01_F001 | Ses01F | - | other excited+fear disgust@1
    Ses01F_impro01_M001 | Ses01M | - | frustration frustration
    Ses01M_script01_1b_M000 | Ses01M | - | happy happy+excited neutral
    Ses01M_script01_1b_F000 | Ses01F | - | anger anger disgust
"""


def _said(session: int) -> str:
    """What `_plain` writes."""
    words = ("neutral", "anger", "sad", "excited", "happy", "neutral")
    return "".join(
        f"Ses0{session}F_impro02_{'FM'[turn % 2]}{turn // 2:03} | Ses0{session}{'FM'[turn % 2]} | - | "
        f"{word} {word} {words[(turn + session) % 6]}\n"
        for turn, word in enumerate(words)
    )


def _thin(root: Path) -> None:
    for session in (2, 3, 4, 5):
        shutil.rmtree(root / f"Session{session}")


HEADER = "[30.0000 - 31.0000]\tSes01F_impro01_F009\tneu\t[2.0000, 3.0000, 4.0000]\n"
# Before the first turn.
WRONG = tuple(
    Wrong(
        FIRST,
        "[6.2901",
        text + "\n[6.2901",
        what,
        field,
        reason=reason,
        row=row,
        listed=text.split("[30.0000 - 31.0000]\t")[1].split("\t")[0] if name is ... else name,
    )
    for text, row, what, field, reason, name in (
        ("x" + HEADER, 3, "is not [START - END], turn", None, "bad_row", ""),
        (HEADER.replace("30.0000 -", "30.0000"), 3, "is not [START - END]", None, "bad_row", ""),
        (HEADER.replace(", 4.0000", ""), 3, "is not [START - END]", None, "bad_row", ""),
        (HEADER.replace("4.0000", "nan"), 3, "is not [START - END]", None, "bad_row", ""),
        (HEADER.replace("3.0000", "1" * 400 + ".0"), 3, "is not [START - END]", None, "bad_row", ""),
        ("C-E1:\tAnger;\t()\n", 3, "is not [START - END]", None, "bad_row", ""),
        (HEADER.replace("_F009", "_X009"), 3, "not a turn of Ses01F_impro01:", "TURN_NAME", "bad_row", ...),
        (HEADER.replace("impro01", "impro02"), 3, "not a turn of Ses01F_impro01:", "TURN_NAME", "bad_row", ...),
        (HEADER + "D-E1:\tAnger;\t()\n", 4, "neither a turn nor a rater's line", None, "bad_row", ...),
        (HEADER + "C-E1:\tAnger;\t()\njunk\n", 5, "'junk' is neither a turn", None, "bad_row", ...),
        (HEADER + "C-E1:\tAnger;\n", 4, "is not C-RATER: label", None, "bad_votes", ...),
        (HEADER + "C-E1\tAnger;\t()\n", 4, "is not C-RATER: label", None, "bad_votes", ...),
        (HEADER + "C-X1:\tAnger;\t()\n", 4, "'X1' is neither an outside rater", "rater", "bad_votes", ...),
        (HEADER + "C-E\u00b2:\tAnger;\t()\n", 4, "is neither an outside rater", "rater", "bad_votes", ...),
    )
)
AGAIN = HEADER.replace("F009", "F000")
WRONG += (
    Wrong(
        FIRST,
        "[10.0100",
        AGAIN + "\n[10.0100",
        "was there before, in row 3",
        None,
        reason="duplicate_id",
        listed="Ses01F_impro01_F000",
    ),
)

COPIES = (
    Copy(
        "iemocap",
        write,
        said=SAID + "".join(map(_said, (2, 3, 4, 5))),
        label_files=LABEL_FILES,
        damaged=(*LABEL_FILES[:2], SAID_FIRST),
        thin=_thin,
        separator=b"\t",
        encoding="latin-1",
        any_bytes=LABEL_FILES,
        again=(FIRST, 3, 9),
        wrong=WRONG,
        other=(
            FIRST,
            "C-E2:\tNeutral;",
            "C-E2:\t Boredom ;",
            "Ses01F_impro01_F000 | Ses01F | - | boredom neutral neutral happy!",
        ),
        sound=("Ses01F_impro01_F001", "Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F001.wav"),
        absent="Session1/dialog/EmoEvaluation or Session2/dialog/EmoEvaluation",
        partition=("leave_one_out", "session"),
    ),
)
