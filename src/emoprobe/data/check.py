"""Check a copy of a corpus in one pass: every sound file, every vote, the splits, and the published totals."""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from emoprobe.data import mpeg
from emoprobe.data.audio import AudioError, AudioLimits, read_audio
from emoprobe.data.prepare import Prepared
from emoprobe.data.utterance import Corpus, Total, Utterance
from emoprobe.data.votes import ambiguity
from emoprobe.labels import LabelSet
from emoprobe.metrics.functional.ties import top_labels
from emoprobe.system.output import write_json, write_rows

SUM_FILES = ("SHA256SUMS", "SHA256SUMS.txt", "sha256sum.txt", "MD5SUMS", "MD5SUMS.txt", "md5sum.txt")
SHOWN = 5  # names printed per finding; the report's files have all
_NUMBER = re.compile(r"\d[\d.,]*")
_SUM_LINE = re.compile(r"([0-9a-fA-F]{32}|[0-9a-fA-F]{64}) [ *](.+)")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Args:
        level: ``ok``, ``note`` (worth knowing), or ``problem``.
        subject: What was looked at.
        what: What was found.
        items: The utterances, files or speakers concerned.
    """

    level: Literal["ok", "note", "problem"]
    subject: str
    what: str
    items: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sound:
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


def inspect(file: Path) -> Sound:
    """Read, hash and decode a sound file; its level is that at 16 kHz, dBFS."""
    try:
        content = file.read_bytes()
    except OSError:
        return Sound(problem="the file is missing or cannot be read", reason="missing_audio")
    try:
        clip = read_audio(file, limits=AudioLimits(min_seconds=0.0, max_seconds=86_400.0, allow_silence=True))
    except AudioError as error:
        return Sound(sha256=hashlib.sha256(content).hexdigest(), problem=error.what, reason=error.reason)
    silent = "" if clip.waveform.any() else "the clip is silent: every sample is zero, or its channels cancel out"
    return Sound(
        seconds=clip.duration_seconds,
        rate=clip.original_sampling_rate,
        channels=clip.channels,
        sha256=clip.sha256,
        problem=silent,
        reason="bad_audio" if silent else "",
        note=mpeg.remark(content),
        level=clip.level_dbfs,
    )


def inspect_all(files: Sequence[Path], *, workers: int, progress: bool) -> Iterable[tuple[Path, Sound]]:
    """`inspect` of many files, in order; at most a few are in memory at once."""
    from tqdm import tqdm

    with ThreadPoolExecutor(workers) as pool:
        bar = tqdm(total=len(files), unit="file", desc="Sound", disable=not progress)
        for start in range(0, len(files), 64 * workers):
            part = files[start : start + 64 * workers]
            for file, sound in zip(part, pool.map(inspect, part), strict=True):
                bar.update()
                yield file, sound
        bar.close()


def check_corpus(
    corpus: Corpus,
    prepared: Prepared,
    labels: LabelSet,
    *,
    root: Path | None = None,
    totals: Sequence[Total] = (),
    check_sound: Callable[[Path, Mapping[str, str]], Sequence[str]] | None = None,
    missing_audio: Literal["error", "skip"] = "error",
    limits: AudioLimits | None = None,
    sound: bool = True,
    workers: int = 2,
    progress: bool = True,
) -> list[Finding]:
    """All findings on a copy of a corpus.

    Args:
        corpus: As its reader gives it.
        prepared: Its targets, made without looking for sound.
        labels: Label set of the targets.
        root: Top folder, for files of checksums.
        totals: Published numbers.
        check_sound: Of the corpus's module: compares SHA-256 sums by file stem with published ones.
        missing_audio: Whether missing sound is a problem (``error``) or only counted (``skip``).
        limits: Durations that a run would take.
        sound: Whether to read the sound files.
        workers: Threads that read sound.
        progress: Whether to show a progress bar.
    """
    findings = _rows(corpus)
    if sound:
        findings += _sounds(corpus, root, check_sound, missing_audio, limits or AudioLimits(), workers, progress)
    findings += _votes(corpus, prepared, labels)
    findings += _speakers(corpus)
    return findings + [finding for total in totals for finding in _total(total, corpus)]


def _rows(corpus: Corpus) -> list[Finding]:
    count = f"{len(corpus.utterances):,} utterances"
    if not corpus.skipped:
        return [Finding("ok", "label files", f"{count}, every row readable")]
    reasons = ", ".join(f"{n:,} {reason}" for reason, n in Counter(row.reason for row in corpus.skipped).items())
    first = corpus.skipped[0].message
    ids = tuple(row.id or f"row {row.row}" for row in corpus.skipped)
    return [Finding("problem", "label files", f"{count}; left out: {reasons}; the first: {first}", ids)]


def _sounds(
    corpus: Corpus,
    root: Path | None,
    check_sound: Callable | None,
    missing_audio: str,
    limits: AudioLimits,
    workers: int,
    progress: bool,
) -> list[Finding]:
    by_file: dict[Path, Utterance] = {utterance.audio: utterance for utterance in corpus.utterances}
    names: dict[Path, list[str]] = defaultdict(list)
    for utterance in corpus.utterances:
        names[utterance.audio].append(utterance.id)
    defects = corpus.card.defects
    seconds, rates, channels = [], Counter(), Counter()
    bad: dict[str, list[str]] = defaultdict(list)
    twins: dict[str, list[str]] = defaultdict(list)
    hashes: dict[str, str] = {}
    lengths: list[str] = []
    quiet: list[str] = []
    notes: dict[str, list[str]] = defaultdict(list)
    for file, sound in inspect_all(list(by_file), workers=workers, progress=progress):
        utterance = by_file[file]
        if sound.problem:
            problem = "missing_audio" if sound.reason == "missing_audio" else sound.problem
            # Those that differ in numbers alone are told of together.
            kind = next((known for known in bad if _NUMBER.sub("", known) == _NUMBER.sub("", problem)), problem)
            bad[kind].append(utterance.id)
        elif sound.level < limits.near_silent_dbfs:
            quiet.append(utterance.id)
        if sound.sha256:
            hashes[str(file)] = sound.sha256
        if not sound.rate:
            continue
        if sound.note:
            notes[sound.note].append(utterance.id)
        seconds.append(sound.seconds)
        rates[f"{sound.rate:,} Hz"] += 1
        channels[f"{sound.channels} channel{'s' if sound.channels > 1 else ''}"] += 1
        # Official layouts may say several things of one clip; in a user's own data that is one clip counted twice.
        twins[sound.sha256] += [utterance.id] if corpus.card.words else names[file]
        expected = utterance.metadata.get("expected_frames")
        if expected is not None and round(sound.seconds * sound.rate) != expected:
            lengths.append(utterance.id)
        if not limits.min_seconds <= sound.seconds <= limits.max_seconds:
            bad[f"outside {limits.min_seconds:g} to {limits.max_seconds:g} s (dataset.audio)"].append(utterance.id)
    findings = []
    missing = bad.pop("missing_audio", [])
    there = len(by_file) - len(missing)
    level = "ok" if not missing else "problem" if missing_audio == "error" else "note"
    found = f"{there:,} of {len(by_file):,} files are there" + (f", {len(missing):,} missing" if missing else "")
    findings.append(Finding(level, "sound files", found, tuple(missing)))
    if seconds:
        spread = (
            f"{min(seconds):.2f} to {max(seconds):.2f} s, mean {np.mean(seconds):.2f} s, {sum(seconds) / 3600:.2f} h"
        )
        findings.append(Finding("ok", "durations", spread))
        findings.append(Finding("ok" if len(rates) == 1 else "note", "sampling rates", _in_words(rates)))
        findings.append(Finding("ok" if len(channels) == 1 else "note", "channels", _in_words(channels)))
    for problem, ids in bad.items():
        known = [name for name in ids if name in defects]
        note = " (a published defect)" if len(known) == len(ids) else ""
        findings.append(Finding("note" if note else "problem", "sound", f"{len(ids):,}: {problem}{note}", tuple(ids)))
    if quiet:
        known = all(name in defects for name in quiet)
        what = f"{len(quiet):,}: near-silent, below {limits.near_silent_dbfs:g} dBFS (dataset.audio.near_silent)"
        level = "note" if known or limits.near_silent == "skip" else "problem"
        findings.append(Finding(level, "sound", what + (" (a published defect)" if known else ""), tuple(quiet)))
    findings += [Finding("note", "sound", f"{len(ids):,}: {note}", tuple(ids)) for note, ids in notes.items()]
    same = [tuple(sorted(ids)) for ids in twins.values() if len(ids) > 1]
    for ids in same:
        known = all(name in defects for name in ids)
        what = f"the same bytes: {' = '.join(ids)}" + (" (a published defect)" if known else "")
        findings.append(Finding("note" if known else "problem", "identical files", what, ids))
    if lengths:
        what = f"{len(lengths):,} files have another length than the tables say"
        findings.append(Finding("problem", "lengths", what, tuple(lengths)))
    return findings + _checksums(root, hashes, check_sound)


def _checksums(root: Path | None, hashes: Mapping[str, str], check_sound: Callable | None) -> list[Finding]:
    findings = []
    if check_sound is not None and hashes and root is not None:
        wrong = tuple(check_sound(root, {Path(name).stem: digest for name, digest in hashes.items()}))
        what = f"{len(wrong):,} differ from the official release" if wrong else "as officially released"
        findings.append(Finding("problem" if wrong else "ok", "published checksums", what, wrong))
    for name in SUM_FILES if root is not None else ():
        if (root / name).is_file():
            findings.append(_sum_file(root, root / name, hashes))
    return findings


def _sum_file(root: Path, file: Path, hashes: Mapping[str, str]) -> Finding:
    """Compare with a file as ``sha256sum`` and ``md5sum`` write it, as far as it speaks of sound."""
    wrong, checked = [], 0
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
        match = _SUM_LINE.fullmatch(line.strip())
        path = root / match[2] if match else None
        if path is None or str(path) not in hashes:
            continue
        checked += 1
        found = hashes[str(path)] if len(match[1]) == 64 else hashlib.md5(path.read_bytes()).hexdigest()
        if found != match[1].lower():
            wrong.append(match[2])
    level = "problem" if wrong else "ok" if checked else "note"
    return Finding(level, file.name, f"{checked:,} sound files compared, {len(wrong):,} differ", tuple(wrong))


def _votes(corpus: Corpus, prepared: Prepared, labels: LabelSet) -> list[Finding]:
    findings = []
    left_out = prepared.skipped[len(corpus.skipped) :]
    for reason in dict.fromkeys(row.reason for row in left_out):
        rows = [row for row in left_out if row.reason == reason]
        level = "problem" if reason in ("bad_votes", "outside_label_set") else "note"
        what = f"{len(rows):,} utterances left out: {reason}; the first: {rows[0].message}"
        findings.append(Finding(level, "soft labels", what, tuple(row.id for row in rows)))
    targets = [item.target for item in prepared.items]
    votes = np.stack([target.votes for target in targets])
    shares = np.stack([target.distribution for target in targets])
    if all(target.num_raters is not None for target in targets):
        raters = np.array([target.num_raters for target in targets], float)
        what = f"{raters.min():g} to {raters.max():g} per clip, mean {raters.mean():.2f}; {votes.sum():,.6g} votes"
        findings.append(Finding("ok", "raters", what))
    else:
        findings.append(Finding("note", "raters", "only shares of votes are known of some or all clips"))
    outside = sum(target.outside_votes for target in targets)
    if outside:
        findings.append(Finding("note", "votes outside the labels", f"{outside:,.6g}"))
    tops = top_labels(shares)
    tied, unanimous = int((tops.sum(axis=1) > 1).sum()), int((votes > 0).sum(axis=1).__eq__(1).sum())
    findings.append(Finding("ok", "labels", "; ".join(_label_counts(labels, votes, tops))))
    entropy = f"mean entropy {ambiguity(shares).mean():.3f} bits, {tied:,} tied for the top, {unanimous:,} unanimous"
    findings.append(Finding("ok", "ambiguity", entropy))
    return findings


def _label_counts(labels: LabelSet, votes: np.ndarray, tops: np.ndarray) -> list[str]:
    alone = tops & (tops.sum(axis=1, keepdims=True) == 1)
    return [
        f"{label} {votes[:, i].sum():,.6g} votes, top of {alone[:, i].sum():,}" for i, label in enumerate(labels.labels)
    ]


def _speakers(corpus: Corpus) -> list[Finding]:
    speakers: dict[str, set[str]] = defaultdict(set)
    clips: Counter[str] = Counter()
    unknown = 0
    for utterance in corpus.utterances:
        split = utterance.split or "no split"
        clips[split] += 1
        unknown += utterance.speaker is None
        if utterance.speaker is not None:
            speakers[split].add(utterance.speaker)
    everyone = set().union(*speakers.values())
    parts = [f"{split}: {count:,} clips of {len(speakers[split]):,}" for split, count in sorted(clips.items())]
    findings = [Finding("ok", "speakers", f"{len(everyone):,} in all; {'; '.join(parts)}")]
    if unknown:
        findings.append(Finding("note", "speakers", f"{unknown:,} clips of unknown speakers"))
    shared = {name: [split for split in sorted(speakers) if name in speakers[split]] for name in everyone}
    # Several test sets may share speakers with each other, not with what is trained on.
    shared = {name: splits for name, splits in shared.items() if len({_part(split) for split in splits}) > 1}
    if shared:
        what = f"{len(shared):,} speakers are in more than one split"
        items = tuple(f"{name}: {', '.join(splits)}" for name, splits in sorted(shared.items()))
        findings.append(Finding("problem", "speaker overlap", what, items))
    elif len(clips) > 1:
        findings.append(Finding("ok", "speaker overlap", "no speaker is in two splits"))
    return findings


def _part(split: str) -> str:
    return "test" if split.lower().startswith("test") else split


def _total(total: Total, corpus: Corpus) -> list[Finding]:
    found = total.count(corpus)
    source = f" ({total.source})" if total.source else ""
    if found is None:
        return []
    if found == total.expected:
        return [Finding("ok", "published total", f"{total.what}: {found:,}{source}")]
    what = f"{total.what}: {found:,} here, {total.expected:,} published{source}"
    return [Finding("problem", "published total", what)]


def _in_words(counts: Counter[str]) -> str:
    return ", ".join(f"{name}: {count:,}" for name, count in counts.most_common())


def print_findings(findings: Sequence[Finding]) -> None:
    """A line per finding, with the first few names."""
    marks = {"ok": "ok     ", "note": "note   ", "problem": "PROBLEM"}
    for finding in findings:
        print(f"{marks[finding.level]}  {finding.subject}: {finding.what}")
        if finding.items and finding.level != "ok" and finding.subject != "identical files":
            more = f", and {len(finding.items) - SHOWN:,} more" if len(finding.items) > SHOWN else ""
            print(f"         {', '.join(finding.items[:SHOWN])}{more}")


def save_findings(findings: Sequence[Finding], folder: Path) -> list[Path]:
    """``check.json``, and ``check.csv`` with a row for every item concerned."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json([asdict(finding) for finding in findings], folder / "check.json")
    rows = [
        [finding.level, finding.subject, finding.what, item] for finding in findings for item in finding.items or ("",)
    ]
    write_rows(["level", "subject", "what", "item"], rows, folder / "check.csv")
    return [folder / "check.json", folder / "check.csv"]
