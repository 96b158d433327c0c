"""A made-up copy of EmoBox: five corpora with all that its files vary in."""

from __future__ import annotations

import json
from pathlib import Path

from copies import Copy, Wrong
from copies.sound import write_sound

TRAIN = "data/cremad/fold_1/cremad_train_fold_1.jsonl"
TEST = "data/cremad/fold_1/cremad_test_fold_1.jsonl"
LABELS = "data/cremad/label_map.json"
LABEL_FILES = (TRAIN, TEST, LABELS)
SIX = {"ANG": "Angry", "DIS": "Disgust", "FEA": "Fear", "HAP": "Happy", "NEU": "Neutral", "SAD": "Sad"}
CLIPS = {
    TRAIN: ("1001_IEO_ANG_HI", "1001_IEO_SAD_LO", "1002_TIE_HAP_XX", "1002_TIE_NEU_XX", "1003_DFA_FEA_XX"),
    TEST: ("1001_IEO_DIS_MD", "1003_DFA_ANG_XX", "1004_ITS_NEU_XX"),
}


def clip(corpus: str, key: str, wav: str, code: str, **more: object) -> dict[str, object]:
    return {
        "key": f"{corpus}-{key}",
        "dataset": corpus,
        "wav": f"downloads/{corpus}/{wav}",
        "type": "raw",
        "sample_rate": 16000,
        "num_frame": 3200.0,
        "task": "category",
        "length": 0.2,
        "emo": code,
        "channel": 1,
        **more,
    }


def lines(*values: object) -> str:
    return "".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values)


def cremad(name: str) -> dict[str, object]:
    return clip("cremad", name.replace("_", "-"), f"AudioWAV/{name}.wav", name.split("_")[2])


IEMOCAP = {
    "train": (("Ses02M_script01_1_F002", "hap"), ("Ses03F_impro02_M011", "ang")),
    "test": (("Ses01F_impro04_M016", "exc"), ("Ses01F_script01_1_F00X", "neu")),
}
PODCAST = {"valid": ("N", "X"), "test": ("O", "H")}


def files() -> dict[str, str]:
    """Label files by path."""
    made = {name: lines(*(cremad(clip) for clip in clips)) for name, clips in CLIPS.items()}
    made[LABELS] = json.dumps(SIX, indent=4)
    for part, turns in IEMOCAP.items():
        made[f"data/iemocap/fold_1/iemocap_{part}_fold_1.jsonl"] = lines(
            *(
                clip("iemocap", turn, f"Session{turn[4]}/sentences/wav/{turn[:-5]}/{turn}.wav", code)
                for turn, code in turns
            )
        )
    made["data/iemocap/label_map.json"] = json.dumps(
        {"neu": "Neutral", "hap": "Happy", "ang": "Angry", "sad": "Sad", "exc": "Happy"}
    )
    for part, codes in PODCAST.items():
        made[f"data/msppodcast/fold_1/msppodcast_{part}_fold_1.jsonl"] = lines(
            *(clip("msppodcast", f"{part}_{code}", f"Audio/{part}_{code}.wav", code) for code in codes)
        )
    made["data/msppodcast/label_map.json"] = '{"N": "Neutral", "X": "No-agreement", "O": "Other", "H": "Happy"}'
    # EmoDB has every fold in two spellings, and its labels are words.
    emodb = {"train": ("03a01Wa", "anger"), "test": ("08b02La", "boredem")}
    for part, (name, code) in emodb.items():
        made[f"data/emodb/fold_1/emodb_{part}_fold_1.jsonl"] = lines(clip("emodb", name, f"wav/{name}.wav", code))
        made[f"data/emodb/fold_1/emodb_{part}_fold1.jsonl"] = lines({"key": "of an older release"})
    made["data/emodb/label_map.json"] = '{"anger": "Angry", "boredem": "Boredom", "Neutral": "Neutral"}'
    older = {"key": "mer2023-sample_1", "dataset": "mer2023", "audio": "downloads/mer2023/test1/sample_1.avi"}
    older |= {
        "type": "raw",
        "sample_rate": 44100,
        "num_frame": 80640.00000000001,
        "task": "category",
        "label": "worried",
    }
    made["data/mer2023/fold_2/mer2023_test_fold2.jsonl"] = lines(older)
    made["data/mer2023/fold_1/mer2023_test_fold_1.jsonl"] = lines(older)
    made["data/mer2023/label_dict.json"] = '{"worried": "Worried", "happy": "Happy"}'
    long = clip("pavoque", "m0372", "pavoque-poker.flac", "poker", start_time=1917.34, end_time=1925.26)
    made["data/pavoque/fold_1/pavoque_train_fold_1.jsonl"] = lines(long)
    made["data/pavoque/label_map.json"] = '{"poker": "Poker"}'
    return made


def write(root: Path) -> None:
    for name, text in files().items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    for clips in CLIPS.values():
        for name in clips:
            write_sound(root / "downloads/cremad/AudioWAV" / f"{name}.wav")


GOOD = cremad("1001_IEO_ANG_HI")
WRONG = tuple(
    Wrong(
        TRAIN,
        json.dumps(GOOD),
        value if isinstance(value, str) else json.dumps(value),
        what,
        field,
        "cremad-1001-IEO-ANG-HI",
    )
    for value, what, field in (
        ("{", "not a JSON object", None),
        ("[]", "not a JSON object", None),
        ({k: v for k, v in GOOD.items() if k != "key"}, "the key 'key' is missing", "key"),
        ({**GOOD, "key": 7}, "7 is not text", "key"),
        ({**GOOD, "key": " "}, "' ' is not text", "key"),
        ({**GOOD, "emo": None}, "the key 'emo' is missing", "emo"),
        ({**GOOD, "wav": ["a.wav"]}, "is not text", "wav"),
        ({**GOOD, "wav": "a\nb.wav"}, "holds a control character", "wav"),
        ({**GOOD, "num_frame": "3200"}, "'3200' is not a positive whole number", "num_frame"),
        ({**GOOD, "num_frame": 3200.5}, "3200.5 is not a positive whole number", "num_frame"),
        ({**GOOD, "num_frame": float("nan")}, "nan is not a positive whole number", "num_frame"),
        ({**GOOD, "sample_rate": -1}, "-1 is not a positive whole number", "sample_rate"),
        ({**GOOD, "channel": True}, "True is not a positive whole number", "channel"),
        ({**GOOD, "length": 10**400}, "is not a positive number", "length"),
    )
)

COPIES = (
    Copy(
        "emobox",
        write,
        said="""
            cremad-1001-IEO-ANG-HI | 1001 | train | anger=1
            cremad-1001-IEO-SAD-LO | 1001 | train | sad=1
            cremad-1002-TIE-HAP-XX | 1002 | train | happy=1
            cremad-1002-TIE-NEU-XX | 1002 | train | neutral=1
            cremad-1003-DFA-FEA-XX | 1003 | train | fear=1
            cremad-1001-IEO-DIS-MD | 1001 | test | disgust=1
            cremad-1003-DFA-ANG-XX | 1003 | test | anger=1
            cremad-1004-ITS-NEU-XX | 1004 | test | neutral=1
        """,
        label_files=LABEL_FILES,
        needed=(LABELS,),
        again=(TRAIN, 1, 1),
        wrong=WRONG,
        other=(LABELS, '"Sad"', '"Gloomy "', "cremad-1001-IEO-SAD-LO | 1001 | train | gloomy=1"),
        path=(TRAIN, "downloads/cremad/AudioWAV/1001_IEO_ANG_HI.wav"),
        sound=("cremad-1001-IEO-ANG-HI", "downloads/cremad/AudioWAV/1001_IEO_ANG_HI.wav"),
        absent="data/cremad/fold_1 or cremad/fold_1",
        options={"corpus": "cremad"},
        overrides=("dataset.corpus=cremad",),
        sound_field="wav",
    ),
)
