"""What the raters of a corpus said, in a table and in a figure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from emoprobe.data.policy import SoftLabelPolicy
from emoprobe.data.prepare import Item, Prepared
from emoprobe.data.votes import ambiguity, rater_votes
from emoprobe.labels import LabelSet
from emoprobe.report.style import GREY, HUMAN, new_figure, save, tidy


def print_utterances(prepared: Prepared, labels: LabelSet, number: int, *, by_entropy: bool = False) -> None:
    """Print some utterances, evenly spread over the corpus or over the entropies of their soft labels.

    Args:
        prepared: The utterances.
        labels: The label set.
        number: How many.
        by_entropy: Sort by entropy, the clearest first.
    """
    from rich.console import Console
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
    table.add_column("bits", justify="right", no_wrap=True)
    table.add_column("words spoken")
    for item in chosen:
        utterance, target = item.utterance, item.target
        raters = "?" if target.num_raters is None else f"{target.num_raters:g}"
        cells = [utterance.id, utterance.speaker or "?", utterance.split or "", raters]
        shares = zip(target.votes, target.distribution, strict=True)
        cells += [f"{votes:.3g} ({share:.2f})" if share else "." for votes, share in shares]
        cells += [f"{ambiguity(target.distribution):.2f}", utterance.transcript or ""]
        table.add_row(*map(_plain, cells))
    console = Console()
    if not console.is_terminal:
        console = Console(width=200)
    console.print(table)
    left_out = f"; {len(prepared.skipped):,} left out" if prepared.skipped else ""
    print(f"{len(chosen):,} of {len(items):,} utterances{left_out}; votes (share)")


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape(text.replace("\n", " "))


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
