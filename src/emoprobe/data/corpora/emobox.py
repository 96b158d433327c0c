"""EmoBox (Ma et al. 2024): the labels and folds of 32 corpora in one form."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from emoprobe.data.corpora import register
from emoprobe.data.reading.collection import clip_totals, corpus_folder, list_names
from emoprobe.data.reading.files import (
    RESTORE,
    Harvest,
    RowError,
    SoundFolder,
    json_lines,
    open_root,
    parse_object,
    text_lines,
)
from emoprobe.data.utterance import Corpus, CorpusCard, Utterance
from emoprobe.errors import InputError

WORDS = {
    "amused": "amused",
    "angry": "anger",
    "anxious": "anxious",
    "apologetic": "apologetic",
    "assertive": "assertive",
    "boredom": "boredom",
    "breath": "breath",
    "calm": "calm",
    "concerned": "concerned",
    "contempt": "contempt",
    "disappointment, disapproval": "disappointed",
    "disgust": "disgust",
    "encouraging": "encouraging",
    "enthusiastic": "enthusiastic",
    "excited": "excited",
    "fear": "fear",
    "happy": "happy",
    "neutral": "neutral",
    "other": "other",
    "pain, groan": "pain",
    "pleasure": "pleasure",
    "poker": "poker",
    "sad": "sad",
    "sarcastic": "sarcastic",
    "sleepy": "sleepy",
    "surprise": "surprise",
    "worried": "worried",
}
NO_VOTE = {"no-agreement": "no_agreement", "unknown": "unknown"}  # label -> consensus
# Corpus -> the label set that has its words and no others.
LABEL_SETS = {
    "aesdd": "aesdd5",
    "ased": "ased5",
    "asvpesd": "asvpesd13",
    "cafe": "ekman7",
    "casia": "surprise6",
    "cremad": "basic6",
    "emns": "emns8",
    "emodb": "emodb7",
    "emovdb": "emovdb5",
    "emovo": "ekman7",
    "emozionalmente": "ekman7",
    "enterface": "enterface6",
    "esd": "esd5",
    "iemocap": "iemocap4",
    "jlcorpus": "jl10",
    "m3ed": "ekman7",
    "mead": "msp8",
    "meld": "ekman7",
    "mer2023": "mer6",
    "mesd": "basic6",
    "msppodcast": "msp9",
    "oreau": "ekman7",
    "pavoque": "pavoque5",
    "polish": "polish3",
    "ravdess": "ravdess8",
    "resd": "resd7",
    "savee": "ekman7",
    "shemo": "surprise6",
    "subesco": "ekman7",
    "tess": "ekman7",
    "turevdb": "turev4",
    "urdu": "basic4",
}
CARD = CorpusCard(
    name="emobox",
    title="EmoBox",
    synthetic=False,
    licence="MIT (labels and folds); the sound as each corpus's owner says",
    access="https://github.com/emo-box/EmoBox; the sound from each corpus's owner",
    citation="Ma, Chen, Zhang, Zheng, Chen, Li, Ye, Chen, Hain: EmoBox: Multilingual Multi-corpus Speech Emotion "
    "Recognition Toolkit and Benchmark. Interspeech 2024. arXiv:2406.07162",
    raters="unknown: one label per clip, counted as one vote; for acted corpora it is the emotion that was asked for",
    notes="Labels, not votes: nothing can be said about ambiguity. Of IEMOCAP, excited is counted as happy. The fold "
    "of CREMA-D has the acted labels, and all 91 actors both in training and in test. Clips of MSP-Podcast without "
    "agreement, and those labelled unknown, have no vote. Each corpus has a label set that fits it: "
    + ", ".join(f"{corpus} {labels}" for corpus, labels in LABEL_SETS.items())
    + ".",
    label_sets=tuple(sorted(set(LABEL_SETS.values()))),
    words=tuple(sorted(WORDS.values())),
    splits="1 to 6 folds of train and test; a development part (valid) for M3ED, MELD and MSP-Podcast only; "
    "MER2023 has three test parts (test, test2, test3)",
)
_CLIPS = {
    "aesdd": 604,
    "ased": 2474,
    "asvpesd": 13_964,
    "cafe": 936,
    "casia": 1200,
    "cremad": 7442,
    "emns": 1181,
    "emodb": 535,
    "emovdb": 6887,
    "emovo": 588,
    "emozionalmente": 6902,
    "enterface": 1263,
    "esd": 35_000,
    "iemocap": 5531,
    "jlcorpus": 2400,
    "meld": 13_706,
    "mer2023": 5030,
    "mesd": 862,
    "oreau": 434,
    "polish": 450,
    "ravdess": 1440,
    "resd": 1396,
    "savee": 480,
    "shemo": 2838,
    "subesco": 7000,
    "tess": 2800,
    "turevdb": 1735,
    "urdu": 400,
}
TOTALS = clip_totals({f"EmoBox {corpus}": clips for corpus, clips in _CLIPS.items()}, "the published label files")
# MER2023 has three test sets; the first of them is the one that others call test.
_PARTS = {"train": "train", "valid": "development", "test": "test", "test2": "test2", "test3": "test3"}
# Checked against the numbers of speakers that EmoBox states.
_SPEAKERS = {
    corpus: re.compile(pattern, re.ASCII)
    for corpus, pattern in {
        "ased": r"ased-\w\d-\d\d-\d\d-\d\d-(\d\d)",
        "asvpesd": r"asvpesd-(?:\d\d-){5}(\d+)-",
        "cafe": r"cafe-(\d\d)-",
        "casia": r"casia-\d+-([a-z]+)-",
        "cremad": r"cremad-(\d{4})-",
        "emodb": r"emodb-(\d\d)",
        "emovdb": r"emovdb-([a-z]+)-",
        "emovo": r"emovo-[a-z]+-([fm]\d)-",
        "esd": r"esd-(\d{4})-",
        "iemocap": r"iemocap-(Ses\d\d)[FM]_.*_([FM])[\dX]+$",
        "jlcorpus": r"jlcorpus-((?:fe)?male\d)-",
        "mead": r"mead-([MW]\d{3})-",
        "oreau": r"oreau-(\d\d)",
        "polish": r"polish-([fm]\d)\.",
        "ravdess": r"ravdess-(?:\d\d-){6}(\d\d)",
        "savee": r"savee-([A-Z]{2})-",
        "shemo": r"shemo-([FM]\d\d)",
        "subesco": r"subesco-([FM]_\d\d)_",
        "tess": r"tess-([OY]AF)-",
        "turevdb": r"turevdb-(\d{4})_",
        "urdu": r"urdu-(S[FM]\d+)_",
    }.items()
}
_NUMBERS = {
    "num_frame": "expected_frames",
    "sample_rate": "expected_sample_rate",
    "channel": "expected_channels",
    "length": "expected_seconds",
}


@register("emobox", CARD, TOTALS)
def read_emobox(
    root: str | Path,
    corpus: str,
    fold: int = 1,
    audio_root: str | Path | None = None,
    on_error: Literal["error", "skip"] = "error",
) -> Corpus:
    """Read one fold of one corpus; sound is not decoded and may be missing.

    Args:
        root: The repository, or its ``data`` folder.
        corpus: A corpus's folder, without case: ``cremad``, ``iemocap``, ``meld``, ``ravdess``, ...
        fold: From 1.
        audio_root: Folder below which the sound lies; a path's leading folders may be missing there. The repository if
            None, as its own tools have it.
        on_error: ``error``, or ``skip`` to list bad rows and go on.

    Returns:
        Corpus in the files' order, splits ``train``, ``development`` (of some corpora only), ``test``; one vote per
        clip. ``metadata`` holds the corpus's own code of the label, consensus (``no_agreement``, ``unknown``) where
        there is no vote, and what EmoBox found in the sound file: expected_frames, expected_sample_rate (hertz),
        expected_channels, expected_seconds.

    Raises:
        InputError: The folder is not EmoBox, a file is damaged, or a row is malformed.
    """
    if not isinstance(fold, int) or isinstance(fold, bool) or fold < 1:
        what = f"{fold!r} is not a whole number of at least 1"
        raise InputError(what, field="dataset.official_fold", remedy="Folds are counted from 1.")
    top = open_root(root, CARD)
    folder = corpus_folder(top, CARD, str(corpus), ("fold_1",))
    fits = LABEL_SETS.get(folder.name.lower())
    card = replace(CARD, title=f"EmoBox {folder.name}", label_sets=(fits,) if fits else ())
    harvest = Harvest(card, on_error)
    files = _fold_files(folder, fold)
    labels = _read_labels(folder)
    clips = _Clips(folder.name, labels, _Sounds(_audio_root(top, folder, audio_root)))
    for part, file in files.items():
        for row, value in json_lines(file):
            key = value.get("key") if isinstance(value, dict) else ""
            with harvest.row(key if isinstance(key, str) else ""):
                if isinstance(value, RowError):
                    raise value
                harvest.add(clips.utterance(file, row, value, part), field="key")
    return harvest.corpus(next(iter(files.values())))


def _fold_files(folder: Path, fold: int) -> dict[str, Path]:
    """Part -> its file; of EmoDB, which has every fold in two spellings, the usual one."""
    there = folder / f"fold_{fold}"
    if not os.path.isdir(there):
        folds = sorted(int(name[5:]) for name in list_names(folder) if re.fullmatch(r"fold_\d{1,4}", name, re.ASCII))
        raise InputError(
            f"{folder.name} has no fold {fold}",
            file=there,
            field="dataset.official_fold",
            remedy=f"Use one of {', '.join(map(str, folds))}.",
        )
    found: dict[str, Path] = {}
    for name, part in _PARTS.items():
        for mark in ("_", ""):
            file = there / f"{folder.name}_{name}_fold{mark}{fold}.jsonl"
            if part not in found and os.path.isfile(file):
                found[part] = file
    if "train" not in found and "test" not in found:
        file = there / f"{folder.name}_train_fold_{fold}.jsonl"
        raise InputError("the fold has neither a training nor a test file", file=file, remedy=f"{RESTORE}.")
    return found


def _audio_root(root: Path, folder: Path, audio_root: str | Path | None) -> Path:
    if audio_root is None:
        return root.parent if folder.parent == root and root.name == "data" else root
    sound = Path(os.path.expanduser(audio_root)).absolute()
    if not os.path.isdir(sound):
        raise InputError("the folder does not exist", file=sound, field="dataset.audio_root", remedy="Correct it.")
    return sound


def _read_labels(folder: Path) -> dict[str, str]:
    """The corpus's code -> EmoBox's word, in lower case."""
    names = ("label_map.json", "label_dict.json")
    file = next((folder / name for name in names if os.path.isfile(folder / name)), folder / names[0])
    try:
        value = parse_object("\n".join(line for _, line in text_lines(file)))
        bad = [code for code, word in value.items() if not isinstance(word, str) or not word.strip()]
        if bad or not value:
            raise ValueError(f"the label of {bad[0]!r:.80} is not a word" if bad else "it has no label")
    except InputError:
        raise
    except (ValueError, RecursionError) as error:
        raise InputError(f"the file is damaged: {error!s:.200}", file=file, remedy=f"{RESTORE}.") from None
    return {code: word.strip().lower() for code, word in value.items()}


class _Sounds:
    """Finds sound by its path, or by the longest end of it that exists below a folder."""

    def __init__(self, root: Path) -> None:
        self.root, self.folder = root, SoundFolder(root)
        self._places: dict[str, list[str]] = {}

    def find(self, relative: str, file: Path, row: int) -> Path:
        folder, _, name = relative.rpartition("/")
        parts = [part for part in folder.split("/") if part]
        asked = None
        if os.path.isabs(relative) or ".." in parts:
            asked = self.folder.find(
                relative, file=file, row=row, field="wav"
            )  # which refuses those that leave the root
            parts = [part for part in parts if part != ".."]
        for place in self._existing(tuple(parts)):
            found = self.folder.find(os.path.join(place, name), file=file, row=row, field="wav")
            if os.path.exists(found):
                return found
        return asked or self.folder.find(relative, file=file, row=row, field="wav")

    def _existing(self, parts: tuple[str, ...]) -> list[str]:
        """The ends of a folder's path that exist below the root, the longest first; the root itself comes last."""
        key = "/".join(parts)
        if key not in self._places:
            ends = [os.path.join(*parts[start:]) for start in range(len(parts))]
            self._places[key] = [end for end in ends if os.path.isdir(self.root / end)] + [""]
        return self._places[key]


@dataclass
class _Clips:
    """Turns the objects of a fold into utterances."""

    corpus: str
    labels: Mapping[str, str]
    sounds: _Sounds
    speaker: re.Pattern | None = field(init=False)

    def __post_init__(self) -> None:
        self.speaker = _SPEAKERS.get(self.corpus.lower())

    def utterance(self, file: Path, row: int, value: Mapping[str, object], part: str) -> Utterance:
        if "start_time" in value or "end_time" in value:
            raise RowError(
                "the clip is a stretch of a longer file, which is not supported",
                file=file,
                row=row,
                field="start_time",
                remedy="Cut the long file into clips, and write a manifest of them (dataset=manifest).",
            )
        key = self._text(file, row, value, "key")
        # The challenge corpus MER2023 names these two otherwise.
        code = self._text(file, row, value, "label" if "label" in value and "emo" not in value else "emo")
        relative = self._text(file, row, value, "audio" if "audio" in value and "wav" not in value else "wav")
        label = self.labels.get(code, code.lower())
        facts: dict[str, str | float] = {"code": sys.intern(code)}
        if label in NO_VOTE:
            facts["consensus"] = NO_VOTE[label]
        for name, fact in _NUMBERS.items():
            if value.get(name) is not None:
                facts[fact] = _number(file, row, name, value[name])
        found = self.speaker.match(key) if self.speaker else None
        return Utterance(
            id=key,
            audio=self.sounds.find(relative, file, row),
            votes={} if label in NO_VOTE else {WORDS.get(label, label): 1.0},
            num_raters=0 if label in NO_VOTE else 1,
            speaker=sys.intern("".join(found.groups())) if found else None,
            split=part,
            metadata=facts,
            file=file,
            row=row,
        )

    @staticmethod
    def _text(file: Path, row: int, value: Mapping[str, object], name: str) -> str:
        text = value.get(name)
        if not isinstance(text, str) or not text.strip():
            what = f"the key {name!r} is missing" if text is None else f"{text!r:.80} is not text"
            raise RowError(what, file=file, row=row, field=name)
        return text.strip()


def _number(file: Path, row: int, name: str, value: object) -> float:
    """A positive number; counts, which are written as floats, become whole."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < 1e12:
        if name == "length":
            return float(value)
        if abs(value - round(value)) <= 1e-3:
            return round(value)
    what = f"{value!r:.80} is not a positive {'number' if name == 'length' else 'whole number'}"
    raise RowError(what, file=file, row=row, field=name)
