"""A made-up copy of CREMA-D with the answers of single raters: four actors, two clips each."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import soundfile

from copies import Copy, Wrong
from emoprobe.data.utterance import Utterance

# Clip -> answers to voice, face and both; rater i gives answer i.
ANSWERS = {
    "1001_IEO_NEU_XX": ("NNNH", "NN", "DNN"),
    "1001_IEO_HAP_LO": ("FFHN", "HH", "HHN"),
    "1002_DFA_ANG_XX": ("AAAA", "AD", "AAA"),
    "1002_TIE_SAD_XX": ("SNSN", "SS", "SSN"),
    "1003_ITS_FEA_XX": ("FFS", "FD", "FF"),
    "1003_WSI_DIS_XX": ("DDA", "DD", "DDD"),
    "1004_IOM_HAP_XX": ("HHN", "HH", "HH"),
    "1004_TAI_NEU_XX": ("NNS", "NN", "NNN"),
}
# The first click of these took over 10 s: (clip, mode, answer); they are not in the vote table.
SLOW = [("1001_IEO_NEU_XX", 1, "A"), ("1001_IEO_NEU_XX", 3, "A"), ("1002_DFA_ANG_XX", 1, "D")]
SAME_RATER = ("1003_ITS_FEA_XX", 1)  # the first rater answers twice
WITHOUT_LEVEL = ("1003_WSI_DIS_XX", 1)
MORE_VOTES = ("1004_IOM_HAP_XX", 1)  # the vote table counts one sad voice vote that nobody gave
LABEL_FILES = (
    "processedResults/tabulatedVotes.csv",
    "finishedResponses.csv",
    "finishedEmoResponses.csv",
    "VideoDemographics.csv",
)
LETTERS = "ADFHNS"
MEANS = ["meanEmoResp", *(f"mean{e}Resp" for e in ("Anger", "Disgust", "Fear", "Happy", "Neutral", "Sad"))]
MEANS += ["medianEmoResp"]
VOTES_HEADER = ["", *LETTERS, "fileName", "numResponses", "agreement", "emoVote", *MEANS, *(f"{m}Norm" for m in MEANS)]
RESPONSES_HEADER = (
    ",localid,pos,ans,ttr,queryType,numTries,clipNum,questNum,subType,clipName,sessionNums,respEmo,respLevel,dispEmo,"
    "dispVal,dispLevel"
)
FIRST_CLICKS_HEADER = ",localid,sessionNums,queryType,questNum,pos,ttr,numTries,clipNum,clipName"
ACTORS = [
    ["ActorID", "Age", "Sex", "Race", "Ethnicity"],
    [1001, 51, "Male", "Caucasian", "Not Hispanic"],
    [1002, 21, "Female", "Caucasian", "Not Hispanic"],
    [1003, 37, "Female", "African American", "Hispanic"],
]


def write(root: Path) -> None:
    """Write the copy below a folder."""
    (root / "AudioWAV").mkdir(parents=True, exist_ok=True)
    (root / "processedResults").mkdir(exist_ok=True)
    for number, name in enumerate(ANSWERS):
        suffix = ".WAV" if name == "1002_TIE_SAD_XX" else ".wav"
        samples = np.random.default_rng(number).normal(0, 0.05, 3_200)
        soundfile.write(root / "AudioWAV" / (name + suffix), samples, 16_000, format="WAV")
    responses, first_clicks = _answers()
    _write_table(root / "processedResults" / "tabulatedVotes.csv", [VOTES_HEADER, *_votes()])
    _write_table(root / "finishedResponses.csv", [RESPONSES_HEADER.split(","), *responses])
    _write_table(root / "finishedEmoResponses.csv", [FIRST_CLICKS_HEADER.split(","), *first_clicks])
    _write_table(root / "VideoDemographics.csv", ACTORS)


def _votes() -> list[list[object]]:
    rows = []
    for mode in (1, 2, 3):
        for number, (name, answers) in enumerate(ANSWERS.items(), start=1):
            answer = answers[mode - 1] + ("S" if (name, mode) == MORE_VOTES else "")
            counts = [answer.count(letter) for letter in LETTERS]
            top = ":".join(letter for letter in LETTERS if answer.count(letter) == max(counts))
            levels = [(letter, level(rater)) for rater, letter in enumerate(answer, 1)]
            given = [[number for said, number in levels if said == letter] for letter in LETTERS]
            means = [sum(numbers) / len(numbers) if numbers else -1 for numbers in given]
            means = [sum(number for _, number in levels) / len(answer), *means, 50]
            share = max(counts) / len(answer)
            rows.append([f"{mode}{number:05}", *counts, name, len(answer), share, top, *means, *means])
    return rows


def level(rater: int) -> int:
    """How strong a rater finds every emotion."""
    return 40 + 10 * rater


def _answers() -> tuple[list[list[object]], list[list[object]]]:
    """Rows of the final answers and of the first clicks, rater by rater as the official files have them."""
    given = []  # rater, clip, mode, answer, ms to the first click
    for name, answers in ANSWERS.items():
        for mode, letters in enumerate(answers, start=1):
            raters = [1, 1, 2] if (name, mode) == SAME_RATER else range(1, 9)
            given += [(rater, name, mode, letter, 2_345) for rater, letter in zip(raters, letters, strict=False)]
    given += [(9, name, mode, letter, 12_345) for name, mode, letter in SLOW]
    names = list(ANSWERS)
    responses, first_clicks = [], []
    for index, (rater, name, mode, letter, time) in enumerate(sorted(given), start=1):
        clip, acted, shown = names.index(name) + 1, name[9], name[13]
        given_level = letter if (name, mode) == WITHOUT_LEVEL else str(level(rater))
        answer = letter if given_level == letter else f"{letter}_{given_level}"
        row = [str(3 * index), f"SSI_11320{rater:05}", index, answer, str(time + 900), mode, 0, clip, index, 4, name]
        responses.append([*row, 3_000 + rater, letter, given_level, acted, 50, shown])
        first_clicks.append([str(index), row[1], 3_000 + rater, mode, index, index, str(time), 0, clip, name])
    return responses, first_clicks


def _write_table(file: Path, rows: list[list[object]]) -> None:
    """As R writes it: text is quoted, numbers are not."""
    with file.open("w", newline="", encoding="utf-8") as handle:
        csv.writer(handle, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n").writerows(rows)


def _holds(utterance: Utterance) -> bool:
    return utterance.audio.parent.name == "AudioWAV" and (
        bool(utterance.ratings) or sum(utterance.votes.values()) == utterance.num_raters
    )


# Without one of its answers a clip has the votes of the table.
WRONG_ANSWERS = tuple(
    Wrong(LABEL_FILES[1], old, new, what, field, "1001_IEO_HAP_LO", "fear=2 happy=1 neutral=1", reason)
    for old, new, what, field, reason in (
        ('LO",3001,"F"', 'LO",3001,"X"', "'X' begins none of anger, disgust", "respEmo", "bad_votes"),
        ('LO",3001,"F"', 'LO",3001,"fury"', "'fury' begins none of", "respEmo", "bad_votes"),
        (
            '"F_50","3245",1,0,2,1,4,"1001_IEO_HAP_LO",3001,"F"',
            '"","3245",1,0,2,1,4,"1001_IEO_HAP_LO",3001,""',
            "'' begins none of",
            "respEmo",
            "bad_votes",
        ),
        ('"3245",1,', '"3245",4,', "'4' is none of 1, 2, 3", "queryType", "bad_row"),
        ('"SSI_1132000001",1,', '" ",1,', "'' is not a rater", "localid", "bad_row"),
        ('"SSI_1132000001",1,', '"nan",1,', "'nan' is not a rater", "localid", "bad_row"),
        ('"1001_IEO_HAP_LO",3001', '"1001_IEO_HAP",3001', "'1001_IEO_HAP' is not ACTOR_", "clipName", "bad_row"),
        (',"L"\n', "\n", "16 fields and the header 17", None, "bad_row"),
    )
)
WRONG_FACTS = (
    Wrong(LABEL_FILES[2], '"2","SSI', '"2",7,"SSI', "11 fields", None),
    Wrong(LABEL_FILES[3], '21,"Female"', '21,"?"', "'?' is not Male or Female", "Sex", skips=False),
    Wrong(LABEL_FILES[3], "1002,21", '1002,"²1"', "'²1' is not", "Age", skips=False),
    Wrong(LABEL_FILES[3], ',21,"Female","Caucasian","Not Hispanic"', "", "1 fields", None, skips=False),
)

COPIES = (
    Copy(
        "cremad",
        write,
        said="""
            1001_IEO_NEU_XX | 1001 | - | neutral neutral neutral happy
            1001_IEO_HAP_LO | 1001 | - | fear fear happy neutral
            1002_DFA_ANG_XX | 1002 | - | anger anger anger anger
            1002_TIE_SAD_XX | 1002 | - | sad neutral sad neutral
            1003_ITS_FEA_XX | 1003 | - | fear fear@1 sad
            1003_WSI_DIS_XX | 1003 | - | disgust disgust anger
            1004_IOM_HAP_XX | 1004 | - | happy=2 neutral=1 sad=1
            1004_TAI_NEU_XX | 1004 | - | neutral neutral sad
        """,
        label_files=LABEL_FILES,
        needed=LABEL_FILES[:1],
        columns={
            LABEL_FILES[0]: ("", *LETTERS, "fileName", "numResponses"),
            LABEL_FILES[1]: ("localid", "queryType", "clipName", "questNum", "sessionNums", "respEmo"),
            LABEL_FILES[2]: ("sessionNums", "queryType", "questNum", "ttr"),
            LABEL_FILES[3]: ("ActorID", "Age", "Sex", "Race", "Ethnicity"),
        },
        again=(LABEL_FILES[0], 2, 2),
        wrong=(*WRONG_ANSWERS, *WRONG_FACTS),
        sound=("1001_IEO_HAP_LO", "AudioWAV/1001_IEO_HAP_LO.wav"),
        absent="processedResults/tabulatedVotes.csv",
        holds=_holds,
    ),
)
