"""Check a copy of a corpus in one pass: every sound file, every vote, the splits, and the published totals."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from emoprobe.data.check.findings import Finding, Level
from emoprobe.data.check.raters import find_agreement
from emoprobe.data.check.sound import SumCheck, check_sounds
from emoprobe.data.policy import SoftLabelPolicy
from emoprobe.data.prepare import Prepared
from emoprobe.data.sound.limits import AudioLimits
from emoprobe.data.utterance import Corpus, Total
from emoprobe.data.votes import ambiguity
from emoprobe.labels import LabelSet
from emoprobe.metrics.functional.ties import top_labels


def check_corpus(
    corpus: Corpus,
    prepared: Prepared,
    labels: LabelSet,
    *,
    root: Path | None = None,
    totals: Sequence[Total] = (),
    check_sound: SumCheck | None = None,
    policy: SoftLabelPolicy | None = None,
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
        policy: By which the targets were made; the default one if None.
        missing_audio: Whether missing sound is a problem (``error``) or only counted (``skip``).
        limits: Durations that a run would take.
        sound: Whether to read the sound files.
        workers: Threads that read sound.
        progress: Whether to show a progress bar.
    """
    findings = _rows(corpus)
    if sound:
        findings += check_sounds(
            corpus,
            root=root,
            check_sound=check_sound,
            missing_audio=missing_audio,
            limits=limits or AudioLimits(),
            workers=workers,
            progress=progress,
        )
    findings += _votes(corpus, prepared, labels)
    findings += find_agreement(prepared.items, labels, policy or SoftLabelPolicy())
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


def _votes(corpus: Corpus, prepared: Prepared, labels: LabelSet) -> list[Finding]:
    findings = []
    left_out = prepared.skipped[len(corpus.skipped) :]
    for reason in dict.fromkeys(row.reason for row in left_out):
        rows = [row for row in left_out if row.reason == reason]
        level: Level = "problem" if reason in ("bad_votes", "outside_label_set") else "note"
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
    entropy = f"mean entropy {np.mean(ambiguity(shares)):.3f} bits, {tied:,} tied for the top, {unanimous:,} unanimous"
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
