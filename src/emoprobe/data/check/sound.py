"""The sound files of a corpus: whether all are there and can be decoded, and what they are like."""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import repeat
from pathlib import Path

import numpy as np

from emoprobe.data.check.findings import Finding, Level
from emoprobe.data.sound import mpeg
from emoprobe.data.sound.audio import read_audio
from emoprobe.data.sound.faults import FAULTS
from emoprobe.data.sound.limits import AudioError, AudioLimits
from emoprobe.data.utterance import Corpus, Utterance

SumCheck = Callable[[Path, Mapping[str, str]], Sequence[str]]
SUM_FILES = ("SHA256SUMS", "SHA256SUMS.txt", "sha256sum.txt", "MD5SUMS", "MD5SUMS.txt", "md5sum.txt")
NOTED = ("dead_channel", "clipping")
"""Kinds of `FAULTS` in which a voice is still heard: notes, where others are problems."""
_EVERYTHING = AudioLimits(min_seconds=0.0, max_seconds=86_400.0, allow_silence=True)
_NUMBER = re.compile(r"\d[\d.,]*")
_SUM_LINE = re.compile(r"([0-9a-fA-F]{32}|[0-9a-fA-F]{64}) [ *](.+)")


@dataclass(frozen=True)
class SoundFile:
    """What is known of an utterance's sound file once it was decoded; ``problem`` says why it cannot be used.

    ``note`` says where a file that is decoded whole has more sound than its header says.
    """

    seconds: float = 0.0
    rate: int = 0
    channels: int = 0
    sha256: str = ""
    problem: str = ""
    reason: str = ""
    note: str = ""
    level: float = 0.0
    near_silent: bool = False
    faults: tuple[str, ...] = ()


def inspect(file: Path, near_silent_dbfs: float = AudioLimits.near_silent_dbfs) -> SoundFile:
    """Read, hash and decode a sound file; its level is that at 16 kHz, dBFS."""
    try:
        content = file.read_bytes()
    except OSError:
        return SoundFile(problem="the file is missing or cannot be read", reason="missing_audio")
    try:
        clip = read_audio(file, limits=replace(_EVERYTHING, near_silent_dbfs=near_silent_dbfs))
    except AudioError as error:
        return SoundFile(sha256=hashlib.sha256(content).hexdigest(), problem=error.what, reason=error.reason)
    silent = "" if clip.waveform.any() else "the clip is silent: every sample is zero, or its channels cancel out"
    return SoundFile(
        seconds=clip.duration_seconds,
        rate=clip.original_sampling_rate,
        channels=clip.channels,
        sha256=clip.sha256,
        problem=silent,
        reason="bad_audio" if silent else "",
        note=mpeg.remark(content),
        level=clip.level_dbfs,
        near_silent=clip.near_silent,
        faults=() if silent else clip.faults,
    )


def inspect_all(
    files: Sequence[Path], *, near_silent_dbfs: float, workers: int, progress: bool
) -> Iterable[tuple[Path, SoundFile]]:
    """`inspect` of many files, in order; at most a few are in memory at once."""
    from tqdm import tqdm

    with ThreadPoolExecutor(workers) as pool:
        bar = tqdm(total=len(files), unit="file", desc="Sound", disable=not progress)
        for start in range(0, len(files), 64 * workers):
            part = files[start : start + 64 * workers]
            for file, sound in zip(part, pool.map(inspect, part, repeat(near_silent_dbfs)), strict=True):
                bar.update()
                yield file, sound
        bar.close()


@dataclass
class _Heard:
    """What the sound of a corpus has shown so far, file by file.

    Args:
        corpus: The corpus.
        limits: Durations and levels that a run would take.
    """

    corpus: Corpus
    limits: AudioLimits

    def __post_init__(self) -> None:
        self.names: dict[Path, list[str]] = defaultdict(list)  # of all utterances of a file
        for utterance in self.corpus.utterances:
            self.names[utterance.audio].append(utterance.id)
        self.seconds: list[float] = []
        self.rates: Counter[str] = Counter()
        self.channels: Counter[str] = Counter()
        self.bad: dict[str, list[str]] = defaultdict(list)  # ids by problem
        self.missing: list[str] = []
        self.quiet: list[str] = []
        self.faults: dict[str, list[str]] = defaultdict(list)  # ids by kind
        self.long: list[str] = []
        self.notes: dict[str, list[str]] = defaultdict(list)
        self.twins: dict[str, list[str]] = defaultdict(list)  # ids by hash
        self.hashes: dict[str, str] = {}  # by file
        self.lengths: list[str] = []

    def add(self, utterance: Utterance, sound: SoundFile) -> None:
        """Take in a file."""
        if sound.reason == "missing_audio":
            self.missing.append(utterance.id)
        elif sound.problem:
            # Those that differ in numbers alone are told of together.
            alike = (known for known in self.bad if _NUMBER.sub("", known) == _NUMBER.sub("", sound.problem))
            self.bad[next(alike, sound.problem)].append(utterance.id)
        elif sound.near_silent:
            self.quiet.append(utterance.id)
        for kind in sound.faults:
            self.faults[kind].append(utterance.id)
        if sound.sha256:
            self.hashes[str(utterance.audio)] = sound.sha256
        if sound.rate:
            self._add_decoded(utterance, sound)

    def _add_decoded(self, utterance: Utterance, sound: SoundFile) -> None:
        if sound.note:
            self.notes[sound.note].append(utterance.id)
        self.seconds.append(sound.seconds)
        self.rates[f"{sound.rate:,} Hz"] += 1
        self.channels[f"{sound.channels} channel{'s' if sound.channels > 1 else ''}"] += 1
        # Official layouts may say several things of one clip; in a user's own data that is one clip counted twice.
        self.twins[sound.sha256] += [utterance.id] if self.corpus.card.words else self.names[utterance.audio]
        expected = utterance.metadata.get("expected_frames")
        if expected is not None and round(sound.seconds * sound.rate) != expected:
            self.lengths.append(utterance.id)
        shortest, longest = self.limits.min_seconds, self.limits.max_seconds
        if sound.seconds > longest:
            self.long.append(utterance.id)
        elif sound.seconds < shortest:
            self.bad[f"shorter than {shortest:g} s (dataset.audio.min_seconds)"].append(utterance.id)

    def findings(self, missing_audio: str) -> list[Finding]:
        """Everything in order; see `emoprobe.data.check.check_corpus` for ``missing_audio``."""
        return [*self._files(missing_audio), *self._formats(), *self._problems(), *self._comparisons()]

    def _files(self, missing_audio: str) -> list[Finding]:
        count, missing = len(self.names), len(self.missing)
        level: Level = "ok" if not missing else "problem" if missing_audio == "error" else "note"
        found = f"{count - missing:,} of {count:,} files are there" + (f", {missing:,} missing" if missing else "")
        return [Finding(level, "sound files", found, tuple(self.missing))]

    def _formats(self) -> list[Finding]:
        seconds = self.seconds
        if not seconds:
            return []
        spread = f"{min(seconds):.2f} to {max(seconds):.2f} s, mean {np.mean(seconds):.2f} s"
        return [
            Finding("ok", "durations", f"{spread}, {sum(seconds) / 3600:.2f} h"),
            Finding("ok" if len(self.rates) == 1 else "note", "sampling rates", _in_words(self.rates)),
            Finding("ok" if len(self.channels) == 1 else "note", "channels", _in_words(self.channels)),
        ]

    def _problems(self) -> list[Finding]:
        findings = []
        for problem, ids in self.bad.items():
            known = self._published(ids)
            findings.append(
                Finding("note" if known else "problem", "sound", f"{len(ids):,}: {problem}{known}", tuple(ids))
            )
        if self.quiet:
            limits, known = self.limits, self._published(self.quiet)
            what = (
                f"{len(self.quiet):,}: near-silent, below {limits.near_silent_dbfs:g} dBFS (dataset.audio.near_silent)"
            )
            level: Level = "note" if known or limits.near_silent == "skip" else "problem"
            findings.append(Finding(level, "sound", what + known, tuple(self.quiet)))
        if self.long:
            limits, known = self.limits, self._published(self.long)
            others = ", ".join(choice for choice in ("truncate", "window", "skip") if choice != limits.long_audio)
            what = f"longer than {limits.max_seconds:g} s (dataset.audio.long_audio={limits.long_audio}; or {others})"
            longer: Level = "problem" if limits.long_audio == "refuse" and not known else "note"
            findings.append(Finding(longer, "sound", f"{len(self.long):,}: {what}{known}", tuple(self.long)))
        for kind in FAULTS:
            if self.faults[kind]:
                ids = self.faults[kind]
                # A voice in one channel, or clipped, is still a voice.
                heard = kind in (*NOTED, *self.limits.leave_out) or bool(self._published(ids))
                what = f"{len(ids):,}: {kind}: {FAULTS[kind]}{self._published(ids)}"
                findings.append(Finding("note" if heard else "problem", "sound", what, tuple(ids)))
        return findings + [
            Finding("note", "sound", f"{len(ids):,}: {what}", tuple(ids)) for what, ids in self.notes.items()
        ]

    def _comparisons(self) -> list[Finding]:
        findings = []
        for ids in [tuple(sorted(ids)) for ids in self.twins.values() if len(ids) > 1]:
            known = self._published(ids)
            what = f"the same bytes: {' = '.join(ids)}{known}"
            findings.append(Finding("note" if known else "problem", "identical files", what, ids))
        if self.lengths:
            what = f"{len(self.lengths):,} files have another length than the tables say"
            findings.append(Finding("problem", "lengths", what, tuple(self.lengths)))
        return findings

    def _published(self, ids: Sequence[str]) -> str:
        """Words for what is wrong with these, if all of them are known for it."""
        return " (a published defect)" if all(name in self.corpus.card.defects for name in ids) else ""


def check_sounds(
    corpus: Corpus,
    *,
    root: Path | None,
    check_sound: SumCheck | None,
    missing_audio: str,
    limits: AudioLimits,
    workers: int,
    progress: bool,
) -> list[Finding]:
    """All findings on the sound files of a corpus; see `emoprobe.data.check.check_corpus`."""
    heard = _Heard(corpus, limits)
    by_file = {utterance.audio: utterance for utterance in corpus.utterances}
    found = inspect_all(list(by_file), near_silent_dbfs=limits.near_silent_dbfs, workers=workers, progress=progress)
    for file, sound in found:
        heard.add(by_file[file], sound)
    return heard.findings(missing_audio) + _checksums(root, heard.hashes, check_sound)


def _checksums(root: Path | None, hashes: Mapping[str, str], check_sound: SumCheck | None) -> list[Finding]:
    if root is None:
        return []
    findings = []
    if check_sound is not None and hashes:
        wrong = tuple(check_sound(root, {Path(name).stem: digest for name, digest in hashes.items()}))
        what = f"{len(wrong):,} differ from the official release" if wrong else "as officially released"
        findings.append(Finding("problem" if wrong else "ok", "published checksums", what, wrong))
    return findings + [_sum_file(root, root / name, hashes) for name in SUM_FILES if (root / name).is_file()]


def _sum_file(root: Path, file: Path, hashes: Mapping[str, str]) -> Finding:
    """Compare with a file as ``sha256sum`` and ``md5sum`` write it, as far as it speaks of sound."""
    wrong, checked = [], 0
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
        match = _SUM_LINE.fullmatch(line.strip())
        if match is None or str(root / match[2]) not in hashes:
            continue
        checked += 1
        path = root / match[2]
        found = hashes[str(path)] if len(match[1]) == 64 else hashlib.md5(path.read_bytes()).hexdigest()
        if found != match[1].lower():
            wrong.append(match[2])
    level: Level = "problem" if wrong else "ok" if checked else "note"
    return Finding(level, file.name, f"{checked:,} sound files compared, {len(wrong):,} differ", tuple(wrong))


def _in_words(counts: Counter[str]) -> str:
    return ", ".join(f"{name}: {count:,}" for name, count in counts.most_common())
