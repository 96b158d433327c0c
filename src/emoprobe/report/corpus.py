"""What the raters of a corpus said, in a table and in a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from emoprobe.data.check.raters import RatingTable, are_people
from emoprobe.data.policy import SoftLabelPolicy
from emoprobe.data.prepare import Item, Prepared
from emoprobe.data.votes import ambiguity, rater_votes
from emoprobe.labels import LabelSet
from emoprobe.metrics.functional import expected, spread
from emoprobe.metrics.raters import agreement, rater_statistics
from emoprobe.report.style import GREY, HUMAN, new_figure, save, tidy

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console


def print_utterances(prepared: Prepared, labels: LabelSet, number: int, *, by_entropy: bool = False) -> None:
    """Print some utterances, evenly spread over the corpus or over the entropies of their soft labels.

    Args:
        prepared: The utterances.
        labels: The label set.
        number: How many.
        by_entropy: Sort by entropy, the clearest first.
    """
    from rich.table import Table

    items = list(prepared.items)
    if by_entropy:
        items.sort(key=lambda item: (ambiguity(item.target.distribution), item.utterance.id))
    number = max(1, min(number, len(items)))
    chosen = [items[i] for i in np.linspace(0, len(items) - 1, number).round().astype(int)]
    table = Table(box=None)
    for name in ("utterance", "speaker", "split", "raters"):
        table.add_column(name, no_wrap=True)
    for label in labels.labels:
        table.add_column(label, justify="right", no_wrap=True)
    if labels.points:
        table.add_column("mean", justify="right", no_wrap=True)
        table.add_column("spread", justify="right", no_wrap=True)
    table.add_column("bits", justify="right", no_wrap=True)
    table.add_column("words spoken")
    for item in chosen:
        utterance, target = item.utterance, item.target
        raters = "?" if target.num_raters is None else f"{target.num_raters:g}"
        cells = [utterance.id, utterance.speaker or "?", utterance.split or "", raters]
        shares = zip(target.votes, target.distribution, strict=True)
        cells += [f"{votes:.3g} ({share:.2f})" if share else "." for votes, share in shares]
        if labels.points:
            cells += [f"{labels.points[0] + float(expected(target.distribution)):.2f}"]
            cells += [f"{float(spread(target.distribution)):.2f}"]
        cells += [f"{ambiguity(target.distribution):.2f}", utterance.transcript or ""]
        table.add_row(*map(_plain, cells))
    _console().print(table)
    left_out = f"; {len(prepared.skipped):,} left out" if prepared.skipped else ""
    print(f"{len(chosen):,} of {len(items):,} utterances{left_out}; votes (share)")


def _console() -> Console:
    """A console that is wide enough where its lines are kept in a file."""
    from rich.console import Console

    console = Console()
    return console if console.is_terminal else Console(width=200)


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape(text.replace("\n", " "))


def raters_frame(table: RatingTable, labels: LabelSet) -> pd.DataFrame:
    """A row per rater, those with most ratings first; see `RaterStatistics` for the columns."""
    import pandas as pd

    rows = []
    for each in rater_statistics(*table, points=labels.points):
        row = {name: value for name, value in vars(each).items() if name != "bias"}
        row |= {"total_bias": each.total_bias}
        rows.append(row | {f"bias_{label}": float(b) for label, b in zip(labels.labels, each.bias, strict=True)})
    frame = pd.DataFrame(rows)
    return frame if labels.scale else frame.drop(columns="mean_difference")


def print_raters(table: RatingTable, frame: pd.DataFrame, labels: LabelSet, number: int) -> None:
    """Print how far the raters agree, and the busiest of them.

    Args:
        table: The ratings.
        frame: As `raters_frame` gives it.
        labels: The label set.
        number: How many raters.
    """
    from rich.table import Table

    found = agreement(*table, points=labels.points)
    print(
        f"{found.num_raters:,} raters, {found.num_ratings:,} ratings; two raters of a clip say the same with a chance "
        f"of {found.observed:.3f}, Krippendorff's alpha {found.alpha:.3f}"
    )
    if not are_people(table):
        print("No rater has rated two clips: nobody knows which ratings are of one person.")
        return
    shown = Table(box=None)
    shown.add_column("rater", no_wrap=True)
    for name in ("ratings", "share", "agreement", "others", *(["above others"] if labels.scale else []), "bias"):
        shown.add_column(name, justify="right", no_wrap=True)
    shown.add_column("says more often | less often than others")
    for _, row in frame.head(max(1, number)).iterrows():
        bias = {label: row[f"bias_{label}"] for label in labels.labels}
        cells = [str(row["rater"]), f"{row['num_ratings']:,}", f"{row['share']:.1%}"]
        cells += [_number(row["agreement"]), _number(row["others"])]
        cells += [f"{row['mean_difference']:+.2f}"] if labels.scale else []
        cells += [_number(row["total_bias"]), _most_and_least(bias)]
        shown.add_row(*map(_plain, cells))
    _console().print(shown)
    print(f"{min(number, len(frame)):,} of {len(frame):,} raters")


def _number(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.3f}"


def _most_and_least(bias: Mapping[str, float]) -> str:
    """The labels at both ends, such as ``sad +.12 | neutral -.09``."""
    ranked = sorted(bias, key=lambda label: -bias[label])
    ends = (ranked[0], ranked[-1])
    return "" if np.isnan(bias[ends[0]]) else " | ".join(f"{label} {bias[label]:+.2f}" for label in ends)


def agreement_between_raters(items: Sequence[Item], labels: LabelSet, policy: SoftLabelPolicy) -> np.ndarray:
    """How labels occur together: the chance that another rater of the same clip says one label, given one says another.

    Pairs of different raters of a clip are counted, ``sum_{r != s} v_r v_s^T``, each clip's pairs weighing alike. Of
    clips of which only shares are known, two raters are taken to be drawn with replacement.

    Returns:
        ``[labels, labels]``, rows (one rater) sum to 1 over columns (another rater); NaN where nobody said it.
    """
    together = np.zeros((len(labels), len(labels)))
    for item in items:
        votes, target = item.target.votes, item.target
        if target.num_raters is None:
            shares = votes / votes.sum()
            together += np.outer(shares, shares)
            continue
        ballots = list(rater_votes(item.utterance, labels, policy).values())
        own = sum(np.outer(v, v) for v in ballots) if ballots else np.diag(votes)
        pairs = np.outer(votes, votes) - own
        if pairs.sum() > 1e-9:
            together += pairs / pairs.sum()
    with np.errstate(invalid="ignore"):
        return together / together.sum(axis=1, keepdims=True)


def save_ambiguity(
    prepared: Prepared, labels: LabelSet, policy: SoftLabelPolicy, folder: Path, title: str
) -> list[Path]:
    """Draw entropies, raters per clip, mean shares and how labels occur together; writes PNG and PDF."""
    items = prepared.items
    shares = np.stack([item.target.distribution for item in items])
    entropy = np.asarray(ambiguity(shares))
    size = len(labels)
    figure = new_figure(9.5, 7.4, f"{title}: what its raters said", f"{len(items):,} clips, label set {labels.name}")
    (left, right), (low_left, low_right) = figure.subplots(2, 2)

    left.hist(entropy, bins=np.linspace(0, np.log2(size), 25), color=HUMAN)
    left.axvline(entropy.mean(), color=GREY, linestyle="--")
    left.set_xlabel(f"entropy of the soft label, bits (mean {entropy.mean():.2f}, at most {np.log2(size):.2f})")
    left.set_ylabel("clips")

    raters = np.array([item.target.num_raters for item in items if item.target.num_raters is not None], float)
    if len(raters):
        values, counts = np.unique(raters.round(), return_counts=True)
        right.bar(values, counts, color=HUMAN)
        right.set_xlabel(f"raters per clip (mean {raters.mean():.2f})")
        right.set_ylabel("clips")
    else:
        right.text(0.5, 0.5, "only shares are known", ha="center", va="center", transform=right.transAxes)

    low_left.bar(range(size), shares.mean(axis=0), color=HUMAN)
    low_left.set_xticks(range(size), labels.labels, rotation=40, ha="right", rotation_mode="anchor", parse_math=False)
    low_left.set_ylabel("mean share of the votes")
    for axes in (left, right, low_left):
        tidy(axes)

    together = agreement_between_raters(items, labels, policy)
    image = low_right.imshow(np.nan_to_num(together), cmap="Blues", vmin=0, vmax=1)
    for i in range(size):
        for j in range(size):
            value = together[i, j]
            colour = "white" if value > 0.6 else "black"
            text = "" if np.isnan(value) else f"{value:.2f}"
            low_right.text(j, i, text, ha="center", va="center", fontsize=7, color=colour)
    low_right.set_xticks(range(size), labels.labels, rotation=40, ha="right", rotation_mode="anchor", parse_math=False)
    low_right.set_yticks(range(size), labels.labels, parse_math=False)
    low_right.set_xlabel("another rater of the same clip says")
    low_right.set_ylabel("where one rater says")
    figure.colorbar(image, ax=low_right, shrink=0.8, label="share")
    return [save(figure, folder / f"ambiguity.{kind}") for kind in ("png", "pdf")]
